# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Result files of test binaries, and what the probe says."""

import json
import unittest
from collections.abc import Sequence

from mpstest.results import Rules, Tally, TestBinary, judge, read_manifest
from mpsvm import results
from mpsvm.catalog import Kernel


def document(**changes: object) -> bytes:
    values: dict[str, object] = {
        "binary": "lab_test", "complete": True, "passed": ["a", "b"], "failed": [], "skipped": [], "running": "",
    }  # fmt: skip
    return json.dumps(values | changes).encode()


class Binaries(unittest.TestCase):
    def judged(
        self, data: bytes | None, status: int | None = 0, *, may_skip: Sequence[str] = (), wanted: Sequence[str] = ()
    ) -> Tally:
        rules = Rules(lambda name: name in may_skip, "the list", wanted)
        return judge("7.2: lab_test", data, status, 180, rules)

    def test_green(self) -> None:
        tally = self.judged(document())
        self.assertEqual((2, [], []), (tally.passed, tally.failures, tally.skips))

    def test_failures_are_named(self) -> None:
        self.assertEqual(["7.2: lab_test: c"], self.judged(document(failed=["c"]), 1).failures)

    def test_what_cannot_be_believed_is_a_failure(self) -> None:
        for data, exit_status, complaint in (
            (None, 0, "no result file"),
            (None, None, "the VM ended first"),
            (b"{", 0, "no result file"),
            (b'{"passed": 3}', 0, "no result file"),
            (document(complete="yes"), 0, "no result file"),
            (document(complete=False, running="c"), 139, r"ended before its end \(exit status 139\), in: c"),
            (document(complete=False, running="c"), None, "the VM ended first"),
            (document(complete=False, running="c"), 124, "longer than 180 s, in: c"),
            (document(complete=False, running="c"), 152, "more than 180 s of CPU time, in: c"),
            (document(), 3, "exit status 3 although no test case failed"),
            (document(), None, "the VM ended first although"),
            (document(passed=[]), 4, "ran no test case"),
        ):
            self.assertRegex("\n".join(self.judged(data, exit_status).failures), complaint)

    def test_a_wanted_case_that_was_not_run(self) -> None:
        data = document(passed=["a"], failed=["b"])
        self.assertEqual(
            ["7.2: lab_test: b", "7.2: lab_test: c: was not run"],
            self.judged(data, 1, wanted=["a", "b", "c"]).failures,
        )

    def test_skips_need_a_rule(self) -> None:
        data = document(skipped=[{"name": "needs a moon", "reason": "no moon"}])
        self.assertIn("the list does not allow", self.judged(data).failures[0])
        tally = self.judged(data, may_skip=["needs a moon"])
        self.assertEqual(([], 1), (tally.failures, len(tally.skips)))


class Manifest(unittest.TestCase):
    def test_lines(self) -> None:
        self.assertEqual(
            [TestBinary("e2e", "lab_test", 180, alone=True), TestBinary("bpf", "quick", 9)],
            read_manifest("# tier name timeout_s [alone]\ne2e lab_test 180 alone\nbpf quick 9\n"),
        )

    def test_a_bad_line(self) -> None:
        for line in ("e2e lab_test", "e2e lab_test soon", "e2e lab_test 180 beside"):
            with self.assertRaisesRegex(ValueError, "line 1"):
                read_manifest(line + "\n")


class Probe(unittest.TestCase):
    KERNEL = Kernel("6.1", expect=("mptcp",), expect_missing=("tcx",))

    def judged(self, **answers: str) -> results.Capabilities:
        features = [{"name": name, "answer": answer, "detail": ""} for name, answer in answers.items()]
        return results.judge_probe(self.KERNEL, json.dumps({"features": features}).encode())

    def test_as_expected(self) -> None:
        self.assertEqual(
            ([], 2), (lambda c: (c.failures, c.as_expected))(self.judged(mptcp="available", tcx="missing"))
        )

    def test_an_expected_capability_that_is_not_found_fails(self) -> None:
        for answer in ("missing", "unknown"):
            self.assertIn("mptcp is " + answer, self.judged(mptcp=answer, tcx="missing").failures[0])
        self.assertIn("unheard of", self.judged(tcx="missing").failures[0])

    def test_one_that_came_unexpectedly_fails_so_that_the_file_is_kept_true(self) -> None:
        self.assertIn("tcx is available", self.judged(mptcp="available", tcx="available").failures[0])

    def test_one_that_the_file_does_not_name_is_remarked(self) -> None:
        self.assertEqual(1, len(self.judged(mptcp="available", tcx="missing", new="available").remarks))

    def test_no_answer_fails(self) -> None:
        for data in (None, b"", b"{}", b'{"features": [1]}'):
            self.assertTrue(results.judge_probe(self.KERNEL, data).failures)


if __name__ == "__main__":
    unittest.main()
