# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""./run lab --check PAGE: runs the commands beneath tables of a page again, and compares."""

from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from mpsvm import cli

from . import document, grid, stats, tables, text
from .plan import PlanError, Scenario
from .result import Run
from .session import FAILED, OK, Plan, Session, say, tell_files
from .stats import Group, Row
from .tables import Claim, Table

T = TypeVar("T")

_SIZE = re.compile(r"(p90 )?(\d+(?:\.\d+)?) (B|KB|MB|GB)")
_BYTES = {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9}
_BY_LABEL = {metric.label: key for key, metric in stats.METRICS.items()}
_SHARE = "share of "
_DERIVED: dict[str, Callable[[Row], float | None]] = {
    # In packets and by wakes.
    "bits changed": lambda row: stats.median(_sum(run, "flips", "wakes") for run in row.runs),
    "of bound": lambda row: row.of_bound,
    "of default": lambda row: row.of_baseline,
    "p50": lambda row: row.p50_ms,
    "p90": lambda row: row.p90_ms,
}
_OF_GRID: dict[str, Callable[[grid.Grid], float | None]] = {
    "cells": lambda one: float(len(one.cells)),
    f"of bound, {grid.QUICK} first": lambda one: one.mean_of_bound(grid.QUICK),
    f"of bound, {grid.SLOW} first": lambda one: one.mean_of_bound(grid.SLOW),
    f"of default, {grid.QUICK} first": lambda one: one.mean_of_default(grid.QUICK),
    f"of default, {grid.SLOW} first": lambda one: one.mean_of_default(grid.SLOW),
    f"above {grid.WORSE:g}": lambda one: float(len(one.worse)),
    "worst of bound": lambda one: one.worst_of_bound.of_bound if one.worst_of_bound else None,
    "worst of default": lambda one: one.worst_of_default.of_default if one.worst_of_default else None,
}


def _sum(run: Run, *keys: str) -> float | None:
    values = [run.metrics.get(key) for key in keys]
    return None if None in values else sum(value for value in values if value is not None)


def read(page: Path) -> list[Table]:
    """Raises PlanError."""
    try:
        return tables.parse(page.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"--check {page}: {getattr(error, 'strerror', None) or error}") from None


def choose(found: Sequence[Table], wanted: str | None, page: Path) -> list[Table]:
    """Those of --table, or all that can be repeated. Raises PlanError."""
    if wanted is None:
        repeatable = [table for table in found if table.lab]
        if not repeatable:
            raise PlanError(
                f"{page} has no table with a ./run lab command beneath it.", "--check PAGE --list shows its tables."
            )
        return repeatable
    chosen = []
    for word in wanted.split(","):
        table = next((one for one in found if str(one.number) == word.strip()), None)
        if table is None:
            raise PlanError(f"--table {word}: {page} has tables 1 to {len(found)}.", "--check PAGE --list shows them.")
        if not table.lab:
            raise PlanError(f"--table {word}: it cannot be repeated by ./run lab ({table.state}).")
        chosen.append(table)
    return chosen


def print_list(found: Sequence[Table]) -> None:
    """What --list shows of a page."""
    for table in found:
        print(f"{table.number:>2}  line {table.line:<5} {table.heading or '(no heading)'}: {table.state}")
        for words in table.lab:
            print(f"    {shlex.join([*tables.LAB, *words])}  (within {table.tolerance_pct:g} %)")


def by_name(claims: Iterable[Claim], scenarios: Iterable[Scenario]) -> list[Claim]:
    """With a scenario's own name where a row has its number."""
    names = {one.number: one.id for one in scenarios if one.number}
    found = []
    for claim in claims:
        number, slash, variant = claim.scenario.partition("/")
        found.append(dataclasses.replace(claim, scenario=names.get(number, number) + slash + variant))
    return found


def known(claim: Claim) -> None:
    """Raises PlanError if no run could ever tell it."""
    name = claim.quantity
    if claim.scenario == grid.ID:
        if name not in _OF_GRID:
            raise PlanError(f"'{name}' of the grid is no quantity.", f"There are: {'; '.join(_OF_GRID)}.")
    elif not (_SIZE.fullmatch(name) or name.startswith(_SHARE) or name in _DERIVED or name in _BY_LABEL):
        raise PlanError(
            f"'{name}' of {claim.scenario or 'the scenario'} is no quantity.",
            f"There are sizes (100 KB, p90 100 KB), {_SHARE}PATH, {', '.join([*_DERIVED, *_BY_LABEL])}.",
        )


def quantity(row: Row, name: str) -> float | None:
    """A number of a scenario's row, in ms, bytes, Mbit/s or %."""
    if size := _SIZE.fullmatch(name):
        wanted = round(float(size[2]) * _BYTES[size[3]])
        mine = next((one for one in row.sizes if one.size_bytes == wanted), None)
        return None if mine is None else mine.p90_ms if size[1] else mine.p50_ms
    if name.startswith(_SHARE):
        share = row.shares.get(name.removeprefix(_SHARE))
        return None if share is None else share * 100
    if name in _DERIVED:
        return _DERIVED[name](row)
    return row.values.get(_BY_LABEL[name])


def measured(claim: Claim, groups: Sequence[Group]) -> float | None:
    """What the runs say of a claim that is known; None if they do not. Raises PlanError if it may be several."""
    column = claim.column
    if claim.scenario == grid.ID:
        grids = [one for one in grid.grids(groups) if one.policy == column.policy and column.kernel in ("", one.kernel)]
        return _OF_GRID[claim.quantity](_only(grids, claim)) if grids else None
    mine = [
        group for group in groups
        if claim.scenario in ("", group.scenario, group.scenario.partition("/")[0]) and column.kernel in ("", group.kernel)
    ]  # fmt: skip
    if not mine:
        return None
    group = _only(mine, claim)
    row = next((row for row in group.rows if row.policy == column.policy), None)
    return quantity(row, claim.quantity) if row is not None and row.runs else None


def _only(found: Sequence[T], claim: Claim) -> T:
    if len(found) > 1:
        raise PlanError(
            f"'{claim.what}' may be several: the command has more than one such scenario or kernel.",
            "Name the variant (blackhole-requests/backup), or the kernel in the column (`auto` on 6.1).",
        )
    return found[0]


@dataclasses.dataclass(frozen=True)
class Compared:
    """A documented number beside what was measured now."""

    claim: Claim
    value: float | None
    good: bool

    @property
    def deviation(self) -> str:
        """In per cent of what is documented."""
        if self.value is None:
            return "not measured"
        documented = self.claim.number.value
        difference = self.value - documented
        return f"{difference / documented * 100:+.1f} %" if documented else f"{difference:+.3g}"


def compare(table: Table, groups: Sequence[Group], claims: Iterable[Claim]) -> list[Compared]:
    """Raises PlanError."""
    found = []
    for claim in claims:
        value = measured(claim, groups)
        good = value is not None and claim.number.agrees(value, table.tolerance_pct)
        found.append(Compared(claim, value, good))
    return found


def tell(page: Path, table: Table, found: Sequence[Compared]) -> int:
    """Prints a table's comparison; returns how many numbers are not as documented."""
    bad = sum(not one.good for one in found)
    print(f"\n{page} table {table.number} (line {table.line}), {table.heading}: within {table.tolerance_pct:g} %")
    shown = [
        ("what", [one.claim.what for one in found]),
        ("policy", [str(one.claim.column) for one in found]),
        ("documented", [one.claim.number.shown for one in found]),
        ("measured", [text.NONE if one.value is None else text.significant(one.value, 4) for one in found]),
        ("deviation", [one.deviation for one in found]),
        ("", ["" if one.good else "<- not as documented" for one in found]),
    ]
    for line in text.aligned(shown):
        print(f"  {line}")
    print(f"  {text.count_of(len(found), 'number')} compared, {bad} not as documented")
    return bad


def _plan_of(table: Table, words: Sequence[str], session: Session, parser: argparse.ArgumentParser) -> Plan:
    """Of a command beneath a table. How and where to run is this command line's business."""
    try:
        options = parser.parse_args(list(words))
    except SystemExit:
        raise PlanError(f"table {table.number} (line {table.line}): ./run lab {shlex.join(words)} is no command.") from None
    own = session.options
    options.build, options.kernels, options.jobs, options.timeout = own.build, own.kernels, own.jobs, own.timeout
    options.baseline = None
    return session.plan(options)


def _merged(plans: Sequence[Plan]) -> Plan:
    return Plan(
        kernels=list({kernel.name: kernel for one in plans for kernel in one.kernels}.values()),
        scenarios=list({scenario.name: scenario for one in plans for scenario in one.scenarios}.values()),
        wanted=list(dict.fromkeys(key for one in plans for key in one.wanted)),
        policies={name: policy for one in plans for name, policy in one.policies.items()},
        params={name: params for one in plans for name, params in one.params.items()},
        per_vm=plans[0].per_vm,
    )


def main(options: argparse.Namespace, words: Sequence[str], parser: Callable[[], argparse.ArgumentParser]) -> int:
    """Returns the status to exit with. Raises PlanError and VmError."""
    page: Path = options.check
    found = read(page)
    if options.list:
        print_list(found)
        return OK
    if options.scenarios or options.policy or options.seeds or options.kernel or options.params:
        raise PlanError("--check takes scenarios, policies, seeds and kernels from the page.", "Leave them out.")
    chosen = choose(found, options.table, page)
    with Session(options, words) as session:
        plans = {table.number: [_plan_of(table, one, session, parser()) for one in table.lab] for table in chosen}
        claims = {}
        for table in chosen:
            scenarios = [one for plan in plans[table.number] for one in plan.scenarios]
            names = [name for one in scenarios for name in (one.name, one.other_name) if name]
            claims[table.number] = by_name(table.claims([*names, grid.ID]), scenarios)
            for claim in claims[table.number]:
                known(claim)
            if not claims[table.number]:
                raise PlanError(
                    f"table {table.number} (line {table.line}) has no number under a policy.",
                    "CONTRIBUTING.md tells how such tables are written.",
                )
        every = [one for mine in plans.values() for one in mine]
        interrupted = _run(session, every)
        bad = 0
        for table in chosen:
            merged = _merged(plans[table.number])
            groups = document.grouped(merged.wanted, session.outcomes(merged.wanted), merged.titles())
            bad += tell(page, table, compare(table, groups, claims[table.number]))
        return _end(session, _merged(every), bad, interrupted)


def _run(session: Session, plans: Sequence[Plan]) -> cli.Interrupted | None:
    """All of them; runs that several tables have are made once. How many share a VM changes what they measure."""
    for per_vm in dict.fromkeys(one.per_vm for one in plans):
        interrupted = session.run(_merged([one for one in plans if one.per_vm == per_vm]))
        if interrupted is not None:
            return interrupted
    return None


def _end(session: Session, merged: Plan, bad: int, interrupted: cli.Interrupted | None) -> int:
    outcomes = session.outcomes(merged.wanted)
    session.write(merged)
    for outcome in outcomes:
        if not outcome.ok:
            print(f"  failed: {outcome.key}: {outcome.what}")
    print()
    tell_files(session.out)
    if interrupted is not None:
        say(f"interrupted; the VMs were ended. To go on: {session.again()}")
        return interrupted.code
    return FAILED if bad else OK
