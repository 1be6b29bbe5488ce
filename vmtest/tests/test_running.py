# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""tests/run-tests, with programs that write the result files of test binaries."""

import json
import subprocess
import tempfile
import unittest
from collections.abc import Mapping, Sequence
from pathlib import Path

RUN_TESTS = Path(__file__).resolve().parents[2] / "tests" / "run-tests"

# Its cases are named in `cases`; those in `failing` fail until they are asked for by name, those in `broken` always.
BINARY = r"""#!/usr/bin/env python3
import json, os, pathlib, re, sys
here = pathlib.Path(sys.argv[0])
plan = json.loads(here.with_suffix(".plan").read_text())
with here.with_suffix(".calls").open("a") as calls:
    print(*sys.argv[1:], file=calls)
chosen = [re.sub(r"\\(.)", r"\1", name) for name in re.split(r"(?<!\\),", sys.argv[1])] if sys.argv[1:] else plan["cases"]
failed = [name for name in chosen if name in plan["broken"] or not sys.argv[1:] and name in plan["failing"]]
passed = [name for name in chosen if name not in failed]
document = {"complete": True, "passed": passed, "failed": failed, "skipped": [], "running": ""}
pathlib.Path(os.environ["MPS_TEST_RESULT"]).write_text(json.dumps(document))
sys.exit(bool(failed))
"""


class SecondAttempts(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.build = Path(folder.name)
        self.tests = self.build / "bin" / "tests"
        self.tests.mkdir(parents=True)

    def run_tests(self, lines: Sequence[str], plans: Mapping[str, str], *words: str) -> tuple[int, str]:
        (self.tests / "manifest.txt").write_text("\n".join(lines) + "\n")
        for name, plan in plans.items():
            (self.tests / name).write_text(BINARY)
            (self.tests / name).chmod(0o755)
            (self.tests / f"{name}.plan").write_text(plan)
        command = [str(RUN_TESTS), str(self.build), "--allowed-skips", "/dev/null", *words]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        return ended.returncode, ended.stdout + ended.stderr

    def calls(self, name: str) -> list[str]:
        return (self.tests / f"{name}.calls").read_text().splitlines()

    def test_a_spoilt_measurement_is_repeated_and_named(self) -> None:
        plan = r'{"cases": ["a, [b]", "c"], "failing": ["a, [b]"], "broken": []}'
        status, text = self.run_tests(["e2e traffic 60 alone"], {"traffic": plan})
        self.assertEqual(0, status, text)
        self.assertEqual(["", r"a\, \[b\]"], self.calls("traffic"))
        self.assertIn("Passed at the second attempt:\n  traffic: a, [b]\n", text)
        self.assertTrue(text.endswith("\n2 passed, 0 failed, 0 skipped\n"), text)

    def test_what_fails_twice_has_failed(self) -> None:
        plan = '{"cases": ["a", "b"], "failing": ["b"], "broken": ["a"]}'
        status, text = self.run_tests(["e2e traffic 60 alone"], {"traffic": plan})
        self.assertEqual(1, status, text)
        self.assertTrue(text.endswith("\n1 passed, 1 failed, 0 skipped\n"), text)

    def test_a_failure_that_calculates_stays_one(self) -> None:
        plan = '{"cases": ["a"], "failing": ["a"], "broken": []}'
        status, text = self.run_tests(["unit x 60", "bpf y 60"], {"x": plan.replace('"a"', '"a", "b"', 1), "y": plan})
        self.assertEqual(1, status, text)
        self.assertIn("Passed at the second attempt:\n  y: a\n", text)
        self.assertTrue(text.endswith("\n2 passed, 1 failed, 0 skipped\n"), text)

    def test_nothing_else_is_repeated(self) -> None:
        failing = '{"cases": ["a"], "failing": ["a"], "broken": []}'
        good = '{"cases": ["a"], "failing": [], "broken": []}'
        names = json.dumps([f"case {i}" for i in range(11)])
        many = f'{{"cases": {names}, "failing": {names}, "broken": []}}'
        for what, lines, plans, words in (
            ("calculates", ["unit x 60", "e2e y 60 alone"], {"x": failing, "y": good}, []),
            ("too many", ["e2e x 60 alone"], {"x": many}, []),
            ("asked for by name", ["e2e x 60 alone"], {"x": failing}, ["x"]),
        ):
            with self.subTest(what):
                status, text = self.run_tests(lines, plans, *words)
                self.assertEqual(1, status, text)
                self.assertNotIn("second attempt", text)


if __name__ == "__main__":
    unittest.main()
