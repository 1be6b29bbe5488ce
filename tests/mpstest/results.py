# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Judges what test binaries report in their result files (tests/support/main.cpp), not their exit status alone: a binary that
crashes, hangs, ends early or runs nothing has failed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

TIMEOUT_STATUSES = (124, 137)  # of timeout(1)
CPU_LIMIT_STATUS = 152  # 128 + SIGXCPU


@dataclasses.dataclass(frozen=True)
class TestBinary:
    """A line of bin/tests/manifest.txt. `alone`: it measures what an equal beside it would spoil."""

    tier: str
    name: str
    limit_s: int
    alone: bool = False

    __test__ = False


@dataclasses.dataclass
class Tally:
    """Test cases. Each failure and skip is a line for people; `ran` are the names of all that were told, `failed` of those
    that failed in a binary that ran to its end.
    """

    passed: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    failed: list[str] = dataclasses.field(default_factory=list)
    skips: list[str] = dataclasses.field(default_factory=list)
    ran: set[str] = dataclasses.field(default_factory=set)

    def add(self, other: Tally) -> None:
        """Adds another one's cases."""
        self.passed += other.passed
        self.failures += other.failures
        self.failed += other.failed
        self.skips += other.skips
        self.ran |= other.ran


@dataclasses.dataclass(frozen=True)
class Rules:
    """Which cases may skip, who says so, and which must have been run. `may_be_empty`: cases were asked for by a part of
    their names, so a binary without any has not failed.
    """

    may_skip: Callable[[str], bool]
    said_by: str
    wanted: Sequence[str] = ()
    may_be_empty: bool = False


def read_manifest(text: str) -> list[TestBinary]:
    """The test binaries of a build. Raises ValueError for a line that is none."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            words = line.split()
            if len(words) not in (3, 4) or not words[2].isdecimal() or words[3:] not in ([], ["alone"]):
                raise ValueError(f"line {number} of the manifest is not 'tier name seconds [alone]': {line}")
            found.append(TestBinary(words[0], words[1], int(words[2]), len(words) == 4))
    return found


def _document(data: bytes | None) -> dict[str, Any] | None:
    try:
        document = json.loads(data or b"")
        texts = [*document["passed"], *document["failed"], document["running"]]
        texts += [one[key] for one in document["skipped"] for key in ("name", "reason")]
        if not all(isinstance(text, str) for text in texts) or not isinstance(document["complete"], bool):
            return None
    except (ValueError, KeyError, TypeError):
        return None
    return document  # type: ignore[no-any-return]


def _unfinished(status: int | None, ended: str, limit_s: int) -> str:
    if status == CPU_LIMIT_STATUS:
        return f"took more than {limit_s} s of CPU time"
    if status in TIMEOUT_STATUSES:
        return f"took longer than {limit_s} s"
    return f"ended before its end ({ended})"


def judge(where: str, data: bytes | None, status: int | None, limit_s: int, rules: Rules) -> Tally:
    """The tally of one run of a binary: `where` begins each line about it, `data` is its result file (None: it wrote none),
    `status` that of timeout(1) around it (None: it was never told), `limit_s` the time it had.
    """
    ended = "the VM ended first" if status is None else f"exit status {status}"
    document = _document(data)
    tally = Tally()
    if document is None:
        tally.failures.append(f"{where}: wrote no result file ({ended})")
        return tally
    tally.passed = len(document["passed"])
    tally.failures += [f"{where}: {name}" for name in document["failed"]]
    for one in document["skipped"]:
        line = f"{where}: {one['name']}: {one['reason']}"
        if rules.may_skip(one["name"]):
            tally.skips.append(line)
        else:
            tally.failures.append(f"{line} ({rules.said_by} does not allow this skip)")
    tally.ran = {*document["passed"], *document["failed"], *(one["name"] for one in document["skipped"])}
    if document["complete"]:
        tally.failed = document["failed"]
    if not document["complete"]:
        during = f", in: {document['running']}" if document["running"] else ""
        tally.failures.append(f"{where}: {_unfinished(status, ended, limit_s)}{during}")
    elif status != 0 and not tally.failures and tally.ran:
        tally.failures.append(f"{where}: {ended} although no test case failed")
    elif not tally.ran and not rules.may_be_empty:
        tally.failures.append(f"{where}: ran no test case")
    else:
        tally.failures += [f"{where}: {name}: was not run" for name in rules.wanted if name not in tally.ran]
    return tally
