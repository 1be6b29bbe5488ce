# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""No loop goes over a part of what a call returns: before C++23's P2718 (g++ 15) the whole is gone at the first turn, and the loop checks nothing."""

from __future__ import annotations

import re
import unittest
from pathlib import Path

from mpstest import sizes

ROOT = Path(__file__).resolve().parents[3]
LOOP = re.compile(r"\bfor \((?:[^;{}()]|\([^;{}()]*\))* : (?P<what>(?:[^;{}]|\{[^;{}]*\})*?)\)\s*(?:\{|\n)")
# A call, and behind it what hands out a part of what it returned by reference.
CALL = re.compile(r"(?P<name>\w+)\((?:[^()]|\([^()]*\))*\)(?:\.(?:at|front|back|items)\(|\[)")
# These do not make what they hand out.
PARTS = {"at", "front", "back", "items"}


def loops_over_parts(text: str) -> list[str]:
    """What such loops in C++ go over."""
    return [
        found["what"]
        for found in LOOP.finditer(text)
        if any(call["name"] not in PARTS for call in CALL.finditer(found["what"]))
    ]


class Loops(unittest.TestCase):
    """The tree, and what is told apart."""

    def test_no_loop_of_the_tree_is_over_a_part_of_what_a_call_returns(self) -> None:
        bad = [
            f"{path}: {what}"
            for path in sizes.tracked(ROOT)
            if path.suffix in {".cpp", ".hpp"}
            for what in loops_over_parts((ROOT / path).read_text(encoding="utf-8"))
        ]
        self.assertEqual([], bad)

    def test_the_whole_and_what_has_a_name_may_be_gone_over(self) -> None:
        self.assertEqual(['json("a").at("b")'], loops_over_parts('for (const auto &x : json("a").at("b"))\n    f(x);'))
        self.assertEqual(['json({"a"})["b"]'], loops_over_parts('for (const auto &x : json({"a"})["b"])\n    f(x);'))
        self.assertEqual(["state()[0]"], loops_over_parts("for (const auto &x : state()[0]) {\n"))
        for fine in ("json(1)", 'all.at("a").at("b")', "all.back()[0]", 'f(x.at("a"))'):
            self.assertEqual([], loops_over_parts(f"for (const auto &x : {fine}) {{\n"))
        self.assertEqual([], loops_over_parts('for (const Json all = json("a"); const Json &x : all.at("b"))\n'))
