# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Which sources were measured."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path


@dataclasses.dataclass(frozen=True, order=True)
class Origin:
    """A commit, and whether tracked files differed from it."""

    commit: str = ""  # "" if it is not known
    dirty: bool | None = None

    def __str__(self) -> str:
        if not self.commit:
            return "an unknown commit"
        return self.commit[:12] + (" with changes that were not committed" if self.dirty else "")


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def of(folder: Path) -> Origin:
    """Of the work tree around a folder; nothing is known where there is none."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return Origin()
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return Origin(commit, None if changes is None else bool(changes))
