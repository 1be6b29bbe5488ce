# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Judges what test binaries report in their result files (tests/support/main.cpp), by the rules of tests/run-tests:
a binary that crashes, hangs, ends early or runs nothing has failed. Also judges `mpsched probe --json`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from .catalog import Kernel, TestRule

TIMEOUT_STATUSES = (124, 137)  # of timeout(1)


@dataclasses.dataclass(frozen=True)
class TestBinary:
    """A line of bin/tests/manifest.txt."""

    tier: str
    name: str
    limit_s: int

    __test__ = False


@dataclasses.dataclass
class Tally:
    """Test cases. Each failure and skip is a line for people."""

    passed: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    skips: list[str] = dataclasses.field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Adds another one's cases."""
        self.passed += other.passed
        self.failures += other.failures
        self.skips += other.skips


def read_manifest(text: str) -> list[TestBinary]:
    """The test binaries of a build. Raises ValueError for a line that is none."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            words = line.split()
            if len(words) != 3 or not words[2].isdecimal():
                raise ValueError(f"line {number} of the manifest is not 'tier name seconds': {line}")
            found.append(TestBinary(words[0], words[1], int(words[2])))
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


def judge(
    kernel: str,
    binary: TestBinary,
    data: bytes | None,
    exit_status: int | None,
    rules: Sequence[TestRule],
    wanted: Sequence[str] = (),
) -> Tally:
    """The tally of one binary on one kernel: `data` is its result file (None: it wrote none), `exit_status` that of
    timeout(1) around it (None: it was never told), `rules` the skips that are allowed. Each case in
    `wanted` must have been run.
    """
    where = f"{kernel}: {binary.name}"
    ended = "the VM ended first" if exit_status is None else f"exit status {exit_status}"
    document = _document(data)
    tally = Tally()
    if document is None:
        tally.failures.append(f"{where}: wrote no result file ({ended})")
        return tally
    tally.passed = len(document["passed"])
    tally.failures += [f"{where}: {name}" for name in document["failed"]]
    for one in document["skipped"]:
        line = f"{where}: {one['name']}: {one['reason']}"
        if any(rule.matches(kernel, one["name"]) for rule in rules):
            tally.skips.append(line)
        else:
            tally.failures.append(f"{line} (kernels.toml does not allow this skip)")
    ran = len(document["passed"]) + len(document["failed"]) + len(document["skipped"])
    during = f", in: {document['running']}" if document["running"] else ""
    if not document["complete"]:
        if exit_status in TIMEOUT_STATUSES:
            tally.failures.append(f"{where}: took longer than {binary.limit_s} s{during}")
        else:
            tally.failures.append(f"{where}: ended before its end ({ended}){during}")
    elif exit_status != 0 and not tally.failures and ran > 0:
        tally.failures.append(f"{where}: {ended} although no test case failed")
    elif ran == 0:
        tally.failures.append(f"{where}: ran no test case")
    else:
        told = {*document["passed"], *document["failed"], *(one["name"] for one in document["skipped"])}
        tally.failures += [f"{where}: {name}: was not run" for name in wanted if name not in told]
    return tally


@dataclasses.dataclass
class Capabilities:
    """How a kernel's capabilities compare with what is expected of them."""

    expected: int
    as_expected: int
    failures: list[str]
    remarks: list[str]


def judge_probe(kernel: Kernel, data: bytes | None) -> Capabilities:
    """Compares the document of `mpsched probe --json` with kernels.toml."""
    expected = len(kernel.expect) + len(kernel.expect_missing)
    found = Capabilities(expected, 0, [], [])
    try:
        features = json.loads(data or b"")["features"]
        answers = {one["name"]: (one["answer"], one.get("detail", "")) for one in features}
    except (ValueError, KeyError, TypeError):
        found.failures.append(f"{kernel.name}: 'mpsched probe --json' gave no usable answer")
        return found
    for names, wanted in ((kernel.expect, "available"), (kernel.expect_missing, "missing")):
        for name in names:
            answer, detail = answers.get(name, ("unheard of by this mpsched", ""))
            if answer == wanted:
                found.as_expected += 1
            else:
                found.failures.append(
                    f"{kernel.name}: capability {name} is {answer}, kernels.toml expects: {wanted}"
                    + (f" ({detail})" if detail else "")
                )
    for name in answers:
        if name not in kernel.expect and name not in kernel.expect_missing:
            found.remarks.append(f"{kernel.name}: kernels.toml does not say whether to expect {name}")
    return found
