# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Which sources were measured."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

# In the environment: the build folder that was made before this command.
BUILT = "MPS_LAB_BUILT"


@dataclasses.dataclass(frozen=True, order=True)
class Origin:
    """A commit, and whether tracked files differed from it."""

    commit: str = ""  # "" if it is not known
    dirty: bool | None = None

    def __str__(self) -> str:
        if not self.commit:
            return "an unknown commit"
        return self.commit[:12] + (" with changes that were not committed" if self.dirty else "")


def _said(words: Sequence[str]) -> str | None:
    """What a program prints, None if it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def is_built(build: Path) -> bool:
    """Whether a build folder is of the present sources: ./run lab has just built it.

    ninja -n cannot tell: what is globbed with CONFIGURE_DEPENDS always looks out of date to it.
    """
    told = os.environ.get(BUILT)
    return told is not None and Path(told) == build


def of(folder: Path) -> Origin:
    """Of the work tree around a folder; nothing is known where there is none."""
    git = ["git", "-C", str(folder)]
    commit = _said([*git, "rev-parse", "HEAD"])
    if not commit:
        return Origin()
    changes = _said([*git, "status", "--porcelain", "--untracked-files=no"])
    return Origin(commit, None if changes is None else bool(changes))
