# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""From what was seen of a VM's run to the status to exit with. No I/O: everything comes in as arguments."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence

from . import qemu, splat, status
from .catalog import Allowance
from .control import Record, parse_kmsg


@dataclasses.dataclass
class Observed:
    """What the host saw."""

    qemu_status: int | None  # None: we ended it
    records: list[Record] = dataclasses.field(default_factory=list)
    console: str = ""
    qemu_messages: str = ""
    timed_out: bool = False
    output_limited: bool = False
    boot_limit_s: float = 0.0
    timeout_s: float = 0.0
    cpu_limited: bool = False  # timeout_s is of CPU time


@dataclasses.dataclass
class Verdict:
    """What vmtest exits with, and what it says on standard error."""

    status: int
    command_status: int | None = None
    messages: list[str] = dataclasses.field(default_factory=list)
    splats: list[splat.Splat] = dataclasses.field(default_factory=list)
    show_console: bool = False
    never_began: bool = False  # the kernel ended before anything of the job ran


def judge(seen: Observed, kernel: str, allow: Sequence[Allowance], today: datetime.date) -> Verdict:
    """The verdict over a run of `kernel`."""
    by_kind: dict[str, Record] = {record.words[0]: record for record in seen.records}
    log, check_trouble = _kernel_log(seen, by_kind)
    splats = splat.find(log)
    splat.excuse(splats, allow, kernel, today)
    verdict = _ending(seen, by_kind)
    verdict.splats = splats
    for one in splats:
        verdict.messages += _describe(one)
    if verdict.command_status is None:
        return verdict

    taint = int(by_kind["taint"].words[1]) if _number(by_kind.get("taint")) else -1
    bad = any(one.fatal for one in splats)
    if check_trouble:
        verdict.messages.append(f"the kernel's log could not be checked: {check_trouble}")
        bad = True
    if taint < 0:
        verdict.messages.append("the guest did not tell whether its kernel is tainted")
        bad = True
    elif taint and not (splats and not taint & ~splat.EXCUSABLE_TAINT):
        verdict.messages.append(f"the kernel is tainted: {splat.taint_letters(taint)} ({taint})")
        bad = True
    if bad and verdict.status == status.OK:
        verdict.status = status.SPLAT
    return verdict


def _number(record: Record | None) -> bool:
    return record is not None and len(record.words) == 2 and record.words[1].isdecimal()


def _kernel_log(seen: Observed, by_kind: dict[str, Record]) -> tuple[list[str], str]:
    """The lines to look for splats in, and why they are not all there ("" if they are)."""
    console = seen.console.replace("\r", "").splitlines()
    record = by_kind.get("kmsg")
    if record is None:
        return console, "the guest did not send it"
    log = parse_kmsg(record.body)
    if not log.whole:
        return [*log.lines, *console], "its beginning or parts of it were overwritten"
    return log.lines, ""


def _ending(seen: Observed, by_kind: dict[str, Record]) -> Verdict:
    """How the VM ended."""
    module = by_kind.get("module")
    if module is not None:
        return Verdict(
            status.MODULE, messages=[f"module {' '.join(module.words[1:2])} could not be loaded: "
                                     f"{' '.join(module.words[2:]) or 'no reason given'}"], show_console=True,
        )  # fmt: skip
    if "begin" not in by_kind:
        return _not_booted(seen)
    if seen.output_limited:
        return Verdict(status.OUTPUT_LIMIT, messages=["the command wrote too much (--output-limit); the VM was ended"])
    told = by_kind.get("status")
    if seen.timed_out:
        what = "after its end was told" if told else "not finished"
        unit = " of CPU time" if seen.cpu_limited else ""
        return Verdict(
            status.TIMEOUT,
            messages=[f"time-out: {what} after {seen.timeout_s:g} s{unit}; the VM was ended"],
            show_console=True,
        )
    if not _number(told) or seen.qemu_status != qemu.DONE_STATUS:
        panicked = "Kernel panic" in seen.console
        what = "the guest panicked" if panicked else "the guest ended without telling a status (reset or power-off)"
        if seen.qemu_status not in (0, qemu.DONE_STATUS):
            what += f"; QEMU ended with status {seen.qemu_status}: {seen.qemu_messages.strip()[-400:]}"
        return Verdict(status.GUEST_DIED, messages=[what], show_console=True)
    assert told is not None
    own = int(told.words[1])
    verdict = Verdict(status.of_command(own), command_status=own)
    if own in status.RESERVED:
        verdict.messages.append(f"the command ended with status {own}, which vmtest needs itself")
    return verdict


def _not_booted(seen: Observed) -> Verdict:
    if seen.qemu_status == 1:
        what = f"QEMU refused: {seen.qemu_messages.strip()[-800:] or 'it said nothing'}"
    elif seen.timed_out:
        what = f"the kernel did not come up within {seen.boot_limit_s:g} s of CPU time"
    elif seen.qemu_status == qemu.DONE_STATUS:
        what = "the guest found no way to talk to us"
    elif seen.qemu_status == 0:
        what = "the kernel was reset or panicked before /init ran"
    else:
        what = f"QEMU ended with status {seen.qemu_status}: {seen.qemu_messages.strip()[-800:]}"
    return Verdict(status.CANNOT_RUN, messages=[what], show_console=True, never_began=seen.qemu_status == 0)


def _describe(one: splat.Splat) -> list[str]:
    if one.allowed_by is not None:
        return [f"kernel {one.kind}, allowed until {one.allowed_by.expires} ({one.allowed_by.reason}): {one.headline}"]
    lines = [f"kernel {one.kind}: {one.headline}"]
    if one.expired is not None:
        lines.append(f"  an allowance for it expired on {one.expired.expires}: {one.expired.reason}")
    return lines + [f"  | {line}" for line in one.lines[:40]]
