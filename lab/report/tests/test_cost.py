# SPDX-License-Identifier: MIT
# Copyright mpsched contributors

from __future__ import annotations

import io
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from mpslab import cost, plan
from mpslab.plan import Scenario
from tests import test_cli

BULK = Scenario("S1", network_s=10.0, megabits=400.0)
KEYS = plan.keys(["7.2"], [BULK], {"S1": ["default"]}, [1, 2, 3])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Estimates(unittest.TestCase):
    def history(self, content: str = "{}") -> cost.History:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        file = Path(folder.name) / "costs.json"
        file.write_text(content)
        return cost.History(file)

    def test_what_never_ran_costs_what_its_rates_and_sizes_say(self) -> None:
        found = cost.estimate(KEYS, 3, 2, 1, {"S1": BULK}, self.history())
        each = cost.BOOT_S + 400 * cost.MEGABIT_S + 10 * cost.NETWORK_S
        self.assertAlmostEqual(found.cpu_s, 3 * each)
        self.assertIn("3 runs in 3 VMs: about 46 s of CPU time (by their rates and sizes: none like them", str(found))
        self.assertIn("about 23 s with 2 side by side", str(found))

    def test_what_ran_costs_what_it_took(self) -> None:
        history = self.history('{"7.2 S1 alone": [100, 1, 90], "7.2 S1 steered": [1]}')
        found = cost.estimate(KEYS, 3, 2, 1, {"S1": BULK}, history)
        self.assertEqual((found.cpu_s, found.measured), (270, 3))
        self.assertIn("by what earlier ones took", str(found))

    def test_a_policy_costs_more_than_the_kernel_alone(self) -> None:
        keys = plan.keys(["7.2"], [BULK], {"S1": ["default", "alone:a", "auto"]}, [1])
        found = cost.estimate(keys, 3, 2, 1, {"S1": BULK}, self.history()).by_key
        self.assertEqual(found[keys[0]], found[keys[1]])
        self.assertAlmostEqual(found[keys[2]] - found[keys[0]], cost.VERIFY_S)

    def test_runs_that_share_a_vm_share_its_boot(self) -> None:
        alone = cost.estimate(KEYS, 3, 1, 1, {"S1": BULK}, self.history()).cpu_s
        shared = cost.estimate(KEYS, 1, 1, 3, {"S1": BULK}, self.history()).cpu_s
        self.assertAlmostEqual(alone - shared, 2 * cost.BOOT_S)

    def test_a_damaged_history_is_none(self) -> None:
        for damage in ("", "[]", '{"7.2 S1 alone": 5}', '{"7.2 S1 alone": ["x", null]}', "\x00"):
            self.assertIsNone(self.history(damage).median_s(KEYS[0]), damage)

    def test_only_much_is_asked_for(self) -> None:
        small = cost.Estimate({KEYS[0]: cost.BIG_CPU_S}, 0, 1, 1)
        big = cost.Estimate({KEYS[0]: cost.BIG_CPU_S + 1}, 0, 1, 1)
        for answer, agreed in (("y\n", True), ("yes\n", True), ("\n", False), ("no\n", False), ("", False)):
            asked = Terminal()
            self.assertEqual(cost.agreed(big, False, asked, Terminal(answer)), agreed, repr(answer))
            self.assertIn("go on? [y/N]", asked.getvalue())
        silent = Terminal()
        self.assertTrue(cost.agreed(small, False, silent, Terminal("n\n")))
        self.assertTrue(cost.agreed(big, True, silent, Terminal("n\n")))
        self.assertEqual(silent.getvalue(), "")

    def test_without_a_terminal_nobody_agrees(self) -> None:
        big = cost.Estimate({KEYS[0]: 1e6}, 0, 1, 1)
        self.assertFalse(cost.agreed(big, False, io.StringIO(), io.StringIO("y\n")))
        self.assertFalse(cost.agreed(big, False, Terminal(), io.StringIO("y\n")))


class Command(test_cli.Fixture):
    def test_a_big_run_is_told_and_not_begun_without_yes(self) -> None:
        with mock.patch.object(cost, "BIG_CPU_S", 20.0):
            words = ["S4", "--policy", "default", "--seeds", "9", "--out", str(self.folder / "out")]
            code, _, err = self.lab(*words)
            self.assertEqual((code, self.boots), (2, []))
            self.assertIn("9 runs in 9 VMs: about 45 s of CPU time", err)
            self.assertIn("--yes", err)
            self.assertEqual(self.lab(*words, "--yes")[0], 0)
            # What is left is what counts.
            self.assertEqual(self.lab(*words[:4], "10", *words[5:])[0], 0)

    def test_the_next_run_knows_what_this_one_took(self) -> None:
        first = self.boot

        def boot(executor, job, stop):  # type: ignore[no-untyped-def]
            result = first(executor, job, stop)
            result.cpu_s = 30.0
            return result

        self.boot = boot  # type: ignore[method-assign]
        words = ["S4", "--policy", "default", "--out"]
        self.lab(*words, str(self.folder / "one"), "--seeds", "2")
        _, _, err = self.lab(*words, str(self.folder / "two"), "--seeds", "3")
        self.assertIn("3 runs in 3 VMs: about 1 min 30 s of CPU time (by what earlier ones took)", err)
