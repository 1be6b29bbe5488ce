# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The scanner of kernel logs, on logs in fixtures/."""

import datetime
import unittest
from pathlib import Path

from mpsvm import splat
from mpsvm.catalog import Allowance

FIXTURES = Path(__file__).parent / "fixtures"
TODAY = datetime.date(2026, 6, 1)


def found(name: str) -> list[splat.Splat]:
    return splat.find((FIXTURES / f"{name}.log").read_text().splitlines())


def kinds(name: str) -> list[str]:
    return [one.kind for one in found(name)]


class Scanner(unittest.TestCase):
    def test_a_clean_boot_has_none(self) -> None:
        self.assertEqual([], [one.headline for one in found("clean")])

    def test_a_warning_is_one_splat_named_by_its_best_line(self) -> None:
        (one,) = found("warn")
        self.assertEqual("warning", one.kind)
        self.assertTrue(one.headline.startswith("WARNING: CPU: 0 PID: 412 at net/mptcp/subflow.c:1522"))
        self.assertIn("  tcp_data_queue+0x2b1/0xe20".strip(), " ".join(one.lines))
        self.assertNotIn("promiscuous", " ".join(one.lines))

    def test_kasan(self) -> None:
        self.assertEqual(["sanitizer"], kinds("kasan"))

    def test_an_oops_that_panics_is_one_splat(self) -> None:
        self.assertEqual(["bug"], kinds("oops"))

    def test_several_splats_are_told_apart(self) -> None:
        self.assertEqual(["warning", "rcu", "refcount", "hung"], kinds("multi"))

    def test_lockdep(self) -> None:
        self.assertEqual(["lockdep", "lockdep"], kinds("lockdep"))

    def test_a_splat_that_was_cut_off_counts(self) -> None:
        self.assertEqual(["trace"], kinds("truncated"))

    def test_time_stamps_and_priorities_do_not_matter(self) -> None:
        for line in ("BUG: x", "[    1.0] BUG: x", "<4>[   11.123456] BUG: x", "[   11.123456][  T33] BUG: x"):
            self.assertEqual(["bug"], [one.kind for one in splat.find([line])], line)

    def test_every_kind_of_line_is_known(self) -> None:
        for line in (
            "general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP",
            "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [lab_test:100]",
            "UBSAN: array-index-out-of-bounds in net/core/dev.c:5:1",
            "list_add corruption. prev->next should be next",
            "unregister_netdevice: waiting for veth0 to become free. Usage count = 1",
            "lab_test invoked oom-killer: gfp_mask=0x140cca",
            "rcu: rcu_preempt kthread starved for 2500 jiffies!",
            "BUG: scheduling while atomic: swapper/0/0/0x00000100",
            "veth0: hw csum failure",
            "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b",
            "verifier bug: REG INVARIANTS VIOLATION",
        ):
            self.assertEqual(1, len(splat.find([f"[   1.000000] {line}"])), line)


class AllowList(unittest.TestCase):
    def allowance(self, **changes: object) -> Allowance:
        values: dict[str, object] = {
            "pattern": r"net/mptcp/subflow\.c",
            "reason": "fixed upstream, not in Debian yet",
            "expires": datetime.date(2026, 12, 31),
        }
        return Allowance(**(values | changes))  # type: ignore[arg-type]

    def excused(self, allowance: Allowance, kernel: str = "6.12") -> splat.Splat:
        (one,) = found("warn")
        splat.excuse([one], [allowance], kernel, TODAY)
        return one

    def test_an_allowance_excuses(self) -> None:
        self.assertFalse(self.excused(self.allowance()).fatal)

    def test_it_matches_anywhere_in_the_splat(self) -> None:
        self.assertFalse(self.excused(self.allowance(pattern="tcp_data_queue")).fatal)

    def test_another_pattern_does_not_excuse(self) -> None:
        self.assertTrue(self.excused(self.allowance(pattern="net/sched")).fatal)

    def test_on_its_last_day_it_still_excuses(self) -> None:
        self.assertFalse(self.excused(self.allowance(expires=TODAY)).fatal)

    def test_when_it_has_expired_the_splat_is_fatal_and_says_so(self) -> None:
        expired = self.allowance(expires=TODAY - datetime.timedelta(days=1))
        one = self.excused(expired)
        self.assertTrue(one.fatal)
        self.assertIs(expired, one.expired)

    def test_it_may_be_for_other_kernels_only(self) -> None:
        self.assertTrue(self.excused(self.allowance(kernels=("7.2",))).fatal)
        self.assertFalse(self.excused(self.allowance(kernels=("7.2",)), "7.2").fatal)

    def test_it_excuses_one_splat_not_all(self) -> None:
        splats = found("multi")
        splat.excuse(splats, [self.allowance(pattern="netif_rx")], "6.12", TODAY)
        self.assertEqual([False, True, True, True], [one.fatal for one in splats])


class Taint(unittest.TestCase):
    def test_letters(self) -> None:
        self.assertEqual("W", splat.taint_letters(512))
        self.assertEqual("OE", splat.taint_letters(0x3000))


if __name__ == "__main__":
    unittest.main()
