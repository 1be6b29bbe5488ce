# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The kernel's selftests: what their reports say, and when mpsched has made something worse."""

import tempfile
import unittest
from pathlib import Path

from mpsvm import catalog, kselftest, selftests
from mpsvm.catalog import TestRule
from mpsvm.kselftest import Report
from mpsvm.status import VmError

OUTPUT = """01 balanced bwidth      7376 max 7906       [ OK ]
ok, this line is none

TAP version 13
1..4
ok 1 - simult_flows: balanced bwidth # time=7556ms
not ok 2 - simult_flows:   unbalanced  bwidth # time=24397ms
ok 3 - simult_flows: unbalanced bwidth # IGNORE Flaky time=1ms
ok 4 - mptcp_connect: nft # SKIP
"""


class Reports(unittest.TestCase):
    def test_subtests_are_read_with_their_verdicts(self) -> None:
        self.assertEqual(
            {
                "simult_flows: balanced bwidth": "ok",
                "simult_flows: unbalanced bwidth": "not ok",
                "simult_flows: unbalanced bwidth (2)": "skip",
                "mptcp_connect: nft": "skip",
            },
            kselftest.parse(OUTPUT),
        )

    def test_what_passed_and_does_not_any_more_is_worse(self) -> None:
        before = Report({"a": "ok", "b": "not ok", "c": "skip", "d": "ok"}, 1)
        self.assertEqual([], kselftest.worse(before, before))
        self.assertEqual([], kselftest.worse(before, Report({"a": "ok", "b": "ok", "c": "not ok", "d": "ok"}, 1)))
        self.assertEqual(["d: absent"], kselftest.worse(before, Report({"a": "ok", "b": "ok", "c": "ok"}, 1)))
        self.assertEqual(["a: not ok"], kselftest.worse(before, Report({"a": "not ok", "d": "ok"}, 1)))

    def test_a_script_that_fails_or_hangs_as_a_whole_is_worse(self) -> None:
        before = Report({"a": "ok"}, 0)
        self.assertEqual(["did not end", "a: absent"], kselftest.worse(before, Report({}, None)))
        self.assertEqual(1, len(kselftest.worse(before, Report({"a": "ok"}, 1))))

    def test_decisions_are_summed_over_namespaces(self) -> None:
        self.assertEqual(7, selftests._decisions(b'{"decided": 3, "seen": 9}\n{\n "decided": 4\n}\n'))
        self.assertEqual(0, selftests._decisions(b"mpsched: nothing is attached\n"))


class Differences(unittest.TestCase):
    def test_the_listed_ones_can_be_read_and_name_real_kernels_and_tests(self) -> None:
        kernels = {kernel.name for kernel in catalog.load().kernels}
        for one in selftests.read_differences(selftests.DIFFERENCES):
            self.assertTrue(one.rule.reason)
            self.assertLessEqual(set(one.rule.kernels), kernels)
            self.assertIn(one.rule.test.partition(":")[0], selftests.TESTS)

    def test_one_is_for_its_policies_and_modes_only(self) -> None:
        one = selftests.Difference(TestRule("simult_flows: unbalanced*", "as told"), ("weighted",), ("tc",))
        name = "simult_flows: unbalanced bwidth"
        self.assertTrue(one.excuses("7.2", selftests.Setup("weighted", "tc"), name))
        self.assertFalse(one.excuses("7.2", selftests.Setup("auto", "tc"), name))
        self.assertFalse(one.excuses("7.2", selftests.Setup("weighted", "native"), name))
        self.assertFalse(one.excuses("7.2", selftests.Setup("weighted", "tc"), "simult_flows: balanced bwidth"))

    def test_one_without_a_reason_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "selftests.toml"
            file.write_text('[[differs]]\ntest = "x"\n')
            with self.assertRaises(VmError):
                selftests.read_differences(file)
