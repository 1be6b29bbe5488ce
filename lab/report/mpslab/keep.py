# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The results folder: one file for each run, so that what is there need not be run again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .plan import Key

FORMAT = 1
RUNS = "runs"
EVERYTHING = "results.json"
REPORT = "report.html"


@dataclasses.dataclass
class Outcome:
    """What came of one run."""

    key: Key
    document: dict[str, Any] | None = None  # as mpsched-lab printed it
    what: str = ""  # why it failed; "" if it did not
    hint: str = ""
    output: str = ""  # the end of its standard error
    release: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0  # of this machine's CPUs
    build: str = ""  # digest of the programs
    commit: str = ""  # of the sources, "" if not known; and whether they had changes of their own
    dirty: bool | None = None
    policy: dict[str, Any] = dataclasses.field(default_factory=dict)  # file, sha256, params: all that were in force
    reused: bool = False

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return not self.what

    def to_json(self) -> dict[str, Any]:
        """For the file, and for the one with everything."""
        return {
            "format": FORMAT,
            "key": self.key.document(),
            "status": "ok" if self.ok else "failed",
            "error": None if self.ok else {"what": self.what, "hint": self.hint, "output": self.output},
            "release": self.release,
            "wall_s": round(self.wall_s, 3),
            "cpu_s": round(self.cpu_s, 3),
            "build": self.build,
            "commit": self.commit or None,
            "dirty": self.dirty,
            "policy": self.policy,
            "result": self.document,
        }

    @staticmethod
    def from_json(value: Any) -> Outcome:
        """Raises ValueError for anything else."""
        try:
            key, error = value["key"], value["error"]
            if value["format"] != FORMAT:
                raise ValueError(f"format {value['format']!r}")
            return Outcome(
                key=Key(
                    key["kernel"], key["scenario"], key["policy"], key["seed"], tuple(key["params"]), key.get("object", "")
                ),
                document=value["result"],
                what=error["what"] if error else "",
                hint=error["hint"] if error else "",
                output=error["output"] if error else "",
                release=value["release"],
                wall_s=value["wall_s"],
                cpu_s=value.get("cpu_s", 0.0),
                build=value["build"],
                # Not there in results of before.
                commit=value.get("commit") or "",
                dirty=value.get("dirty"),
                policy=value.get("policy") or {},
                reused=True,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a kept result: {error!r}") from None


def write(path: Path, text: str) -> None:
    """Replaces a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def save(folder: Path, outcome: Outcome) -> None:
    """Keeps a result, also a failed one: it tells why."""
    write(folder / RUNS / outcome.key.file, json.dumps(outcome.to_json()) + "\n")


def load(folder: Path, wanted: Sequence[Key]) -> dict[Key, Outcome]:
    """The results that are there and went well. What cannot be read is not there."""
    found = {}
    for key in wanted:
        try:
            outcome = Outcome.from_json(json.loads((folder / RUNS / key.file).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue
        if outcome.ok and outcome.key == key:
            found[key] = outcome
    return found


def digest(files: Sequence[Path]) -> str:
    """What was built: changes when a program or a BPF object does."""
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(file.name.encode() + b"\0")
        with open(file, "rb") as opened:
            total.update(hashlib.file_digest(opened, "sha256").digest())
    return total.hexdigest()[:16]
