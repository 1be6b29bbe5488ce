# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Judges what a VM brought back: `mpsched probe --json`. Test binaries are judged as everywhere (tests/mpstest/results.py)."""

from __future__ import annotations

import dataclasses
import json

from .catalog import Kernel


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
