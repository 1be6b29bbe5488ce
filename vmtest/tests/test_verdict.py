# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Verdicts over runs: every status, from what the host may have seen."""

import datetime
import unittest
from pathlib import Path

from mpsvm import qemu, status, verdict
from mpsvm.catalog import Allowance
from mpsvm.control import Record

TODAY = datetime.date(2026, 6, 1)
CLEAN = b"6,0,0,-;Linux version 6.12\n6,1,5,-;all is well\n"
WARNED = CLEAN + b"4,2,6,-;WARNING: CPU: 0 PID: 1 at net/mptcp/pm.c:1 f+0x0/0x1\n"


def seen(
    *,
    told: str | None = "0",
    kmsg: bytes | None = CLEAN,
    taint: str | None = "0",
    qemu_status: int | None = qemu.DONE_STATUS,
    begin: bool = True,
    **more: object,
) -> verdict.Observed:
    records = [Record(("begin", "6.12"))] if begin else []
    if taint is not None:
        records.append(Record(("taint", taint)))
    if kmsg is not None:
        records.append(Record(("kmsg",), kmsg))
    if told is not None:
        records.append(Record(("status", told)))
    return verdict.Observed(qemu_status=qemu_status, records=records, timeout_s=5, **more)  # type: ignore[arg-type]


def judge(observed: verdict.Observed, *allow: Allowance) -> verdict.Verdict:
    return verdict.judge(observed, "6.12", allow, TODAY)


class Statuses(unittest.TestCase):
    def check(self, wanted: int, observed: verdict.Observed, message: str = "") -> verdict.Verdict:
        judged = judge(observed)
        self.assertEqual(wanted, judged.status, judged.messages)
        self.assertIn(message, "\n".join(judged.messages))
        return judged

    def test_the_commands_own(self) -> None:
        for code in (0, 1, 2, 68, 119, 126, 127, 137, 255):
            self.check(code, seen(told=str(code)))

    def test_reserved_ones_are_remapped_and_told(self) -> None:
        for code in (69, 120, 121, 122, 123, 124, 125):
            self.check(status.REMAPPED, seen(told=str(code)), f"ended with status {code}")

    def test_a_warning_fails_a_green_run(self) -> None:
        self.check(status.SPLAT, seen(kmsg=WARNED), "net/mptcp/pm.c")

    def test_a_failed_command_keeps_its_status_and_the_warning_is_told(self) -> None:
        self.check(3, seen(told="3", kmsg=WARNED), "net/mptcp/pm.c")

    def test_taint_without_a_splat(self) -> None:
        self.check(status.SPLAT, seen(taint="512"), "tainted: W (512)")

    def test_a_check_that_cannot_run_fails(self) -> None:
        self.check(status.SPLAT, seen(kmsg=None), "could not be checked")
        self.check(status.SPLAT, seen(kmsg=b""), "could not be checked")
        self.check(status.SPLAT, seen(kmsg=b"6,7,1,-;late\n"), "overwritten")
        self.check(status.SPLAT, seen(taint=None), "tainted")
        self.check(status.SPLAT, seen(taint="x"), "tainted")

    def test_a_splat_that_only_the_console_has(self) -> None:
        self.check(status.SPLAT, seen(kmsg=None, console="[ 1.0] BUG: gone\r\n"), "BUG: gone")

    def test_time_out(self) -> None:
        self.check(status.TIMEOUT, seen(told=None, qemu_status=None, timed_out=True), "time-out")

    def test_a_guest_that_hangs_after_its_status_was_told(self) -> None:
        self.check(status.TIMEOUT, seen(qemu_status=None, timed_out=True), "after its end")

    def test_panic(self) -> None:
        dead = seen(told=None, qemu_status=0, kmsg=None, console="[ 1.0] Kernel panic - not syncing: x\n")
        self.check(status.GUEST_DIED, dead, "panicked")

    def test_power_off_or_reset(self) -> None:
        self.check(status.GUEST_DIED, seen(told=None, qemu_status=0), "without telling")

    def test_a_status_without_the_proper_end_does_not_count(self) -> None:
        self.check(status.GUEST_DIED, seen(told="0", qemu_status=0))
        self.check(status.GUEST_DIED, seen(told="0", qemu_status=1, qemu_messages="disk full"), "disk full")

    def test_the_proper_end_without_a_status_does_not_count(self) -> None:
        self.check(status.GUEST_DIED, seen(told=None))
        self.check(status.GUEST_DIED, seen(told="-1"))

    def test_qemu_killed_by_somebody(self) -> None:
        self.check(status.GUEST_DIED, seen(told=None, qemu_status=-9), "-9")

    def test_module(self) -> None:
        observed = seen(told=None, kmsg=None, taint=None)
        observed.records.append(Record(("module", "veth", "bad", "format")))
        self.check(status.MODULE, observed, "veth could not be loaded: bad format")

    def test_output_limit(self) -> None:
        self.check(status.OUTPUT_LIMIT, seen(told=None, qemu_status=None, output_limited=True), "--output-limit")

    def test_not_booted(self) -> None:
        for observed, message in (
            (seen(begin=False, told=None, qemu_status=1, qemu_messages="no PVH note"), "no PVH note"),
            (seen(begin=False, told=None, qemu_status=0), "before /init"),
            (seen(begin=False, told=None, qemu_status=None, timed_out=True), "did not come up"),
            (seen(begin=False, told=None, qemu_status=-6, qemu_messages="assertion"), "assertion"),
        ):
            self.check(status.CANNOT_RUN, observed, message)

    def test_only_a_kernel_that_ends_while_it_boots_never_began(self) -> None:
        for qemu_status, never_began in ((0, True), (1, False), (-6, False)):
            judged = judge(seen(begin=False, told=None, qemu_status=qemu_status))
            self.assertEqual(never_began, judged.never_began)
        self.assertFalse(judge(seen(told=None, qemu_status=0)).never_began)


class Allowances(unittest.TestCase):
    def allowance(self, expires: datetime.date) -> Allowance:
        return Allowance("net/mptcp/pm", "known, fixed in the next release", expires)

    def test_an_allowed_warning_and_its_taint_are_green_and_told(self) -> None:
        judged = judge(seen(kmsg=WARNED, taint="512"), self.allowance(TODAY))
        self.assertEqual(status.OK, judged.status, judged.messages)
        self.assertIn("fixed in the next release", judged.messages[0])

    def test_it_does_not_excuse_other_taints(self) -> None:
        self.assertEqual(status.SPLAT, judge(seen(kmsg=WARNED, taint="4608"), self.allowance(TODAY)).status)

    def test_an_expired_one_does_not_excuse(self) -> None:
        judged = judge(seen(kmsg=WARNED), self.allowance(TODAY - datetime.timedelta(days=1)))
        self.assertEqual(status.SPLAT, judged.status)
        self.assertIn("expired on 2026-05-31", "\n".join(judged.messages))


class Table(unittest.TestCase):
    def test_every_status_is_in_the_table_that_help_and_readme_show(self) -> None:
        text = status.help_text()
        for code in status.RESERVED:
            self.assertRegex(text, rf"\b{code}\b")

    def test_the_readme_has_the_same_table(self) -> None:
        readme = (Path(__file__).parent.parent / "README.md").read_text()
        for code, meaning in status.TABLE:
            self.assertIn(f"| {code} | {meaning} |", readme)


if __name__ == "__main__":
    unittest.main()
