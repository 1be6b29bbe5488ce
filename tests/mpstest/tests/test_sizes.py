# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""A function fits on a screen and a file does one job, or CONTRIBUTING.md says why not."""

from __future__ import annotations

import re
import unittest
from pathlib import Path

from mpstest import sizes

ROOT = Path(__file__).resolve().parents[3]
HEADING = "### What is longer, and why"


def reasons(page: str) -> dict[str, str]:
    """The rows of the table below HEADING: what is longer, and why. A row may name several."""
    found = {}
    section = page.partition(f"\n{HEADING}\n")[2].partition("\n## ")[0]
    for names, reason in re.findall(r"^\| (`.*?`) \| (.*?) \|$", section, re.MULTILINE):
        for name in re.findall(r"`(.*?)`", names):
            found[name] = reason.strip()
    return found


class Tree(unittest.TestCase):
    """The table and the tree."""

    longMessage = False  # the message tells it all

    long: dict[str, int]
    reasons: dict[str, str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.long = {}
        for path in sizes.tracked(ROOT):
            cls.long.update(sizes.long_ones(ROOT, path))
        cls.reasons = reasons((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))

    def test_what_is_longer_than_a_screen_or_one_job_has_a_reason(self) -> None:
        bare = [f"{name} ({lines} lines)" for name, lines in self.long.items() if not self.reasons.get(name)]
        self.assertFalse(
            bare,
            f"more than {sizes.MOST_LINES_OF_A_FUNCTION} lines (a function) or {sizes.MOST_LINES_OF_A_FILE} (a file). Split it, or "
            f"give the reason in CONTRIBUTING.md, '{HEADING.lstrip('# ')}':\n  " + "\n  ".join(bare),
        )

    def test_a_reason_is_given_only_for_what_is_long(self) -> None:
        stale = [name for name in self.reasons if name not in self.long]
        self.assertFalse(stale, "short enough, or gone: take the row out of CONTRIBUTING.md:\n  " + "\n  ".join(stale))


class Measure(unittest.TestCase):
    """What counts as a function, and how long it is."""

    def names(self, text: str) -> dict[str, int]:
        return {one.name: one.lines for one in sizes.c_functions(text)}

    def test_functions_of_c_and_cpp_are_found_by_their_braces(self) -> None:
        self.assertEqual(
            self.names(
                "namespace a {\n"
                "struct Sum : T {\n"
                "    int twice(int x) const noexcept { return 2 * x; }\n"
                "    Sum() : a_{1}, b_(2) {\n    }\n"
                "};\n"
                "constexpr int table[] = {f(1), g(2),\n h(3)};\n"
                "template <class T>\n"
                "Result<void> Network::build(T &&t, S s = {}) {\n"
                "    const auto inner = [&](int y) {\n        return y;\n    };\n"
                "    if (x) {\n    }\n"
                "}\n"
                "} // namespace a\n"
            ),
            {"twice": 1, "Sum": 2, "Network::build": 8},
        )

    def test_braces_in_comments_literals_and_directives_open_nothing(self) -> None:
        self.assertEqual(
            self.names(
                "#define OPEN(x) \\\n    do { x\n"
                "/* { */ // {\n"
                "int f(void)\n{\n"
                "    puts(\"{\\\"{\"); putchar('{'); n = 1'000'000;\n"
                '    say(R"x({{{)x");\n'
                "    return 0;\n"
                "}\n"
                "int g(void)\n{\n}\n"
            ),
            {"f": 6, "g": 3},
        )

    def test_a_test_case_is_named_by_its_sentence_and_a_bpf_program_by_its_name(self) -> None:
        self.assertEqual(
            self.names(
                'TEST_CASE("it is; (so) {said}", "[x]") {\n}\n'
                'SEC("struct_ops")\nvoid BPF_PROG(on_ack, struct sock *sk)\n{\n}\n'
                "__noinline int mps_act(struct mps_conn *conn)\n{\n}\n"
            ),
            {"it is. .so. .said.": 2, "on_ack": 4, "mps_act": 3},
        )

    def test_functions_of_python_and_of_the_shell_are_found(self) -> None:
        python = sizes.python_functions("class A:\n    def f(self):\n        return (\n            1)\n")
        self.assertEqual([(one.name, one.line, one.lines) for one in python], [("f", 2, 3)])
        shell = sizes.shell_functions("a() {\n    if x; then\n        y\n    fi\n}\nb() (\n)\n")
        self.assertEqual([(one.name, one.line, one.lines) for one in shell], [("a", 1, 5), ("b", 6, 2)])
