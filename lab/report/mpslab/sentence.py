# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""What came out, in one sentence. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from . import grid, stats, text
from .plan import ALONE
from .stats import BASELINE, Group, Row

MOST = 4  # policies that a sentence names


def _compared(row: Row) -> bool:
    return bool(row.runs) and row.policy != BASELINE and not row.policy.startswith(f"{ALONE}:")


def _overlap(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    return one is not None and other is not None and one[0] <= other[1] and other[0] <= one[1]


def _shown(row: Row) -> str:
    unit = f" {row.main.unit}" if row.main and row.main.unit == "Mbit/s" else ""
    return (text.value(row.main, row.value) if row.main else text.NONE) + unit


def _against(row: Row, base: Row) -> str:
    """One policy beside the kernel alone."""
    compared = f"{text.factor(row.of_baseline)} times that"
    if len(row.runs) > 1 and len(base.runs) > 1 and _overlap(row.spread, base.spread):
        compared = "no difference beyond the spread over seeds"
    return f"{_shown(row)} under {row.policy} ({compared})"


def _several(parts: Sequence[str], rest: int) -> str:
    shown = [*parts, f"and {rest} more" if rest > 0 else ""]
    return ", ".join(one for one in shown if one)


def _one(group: Group) -> str:
    main = group.main
    rows = [row for row in group.rows if _compared(row) and row.main == main and row.value is not None]
    base = next((row for row in group.rows if row.policy == BASELINE and row.runs), None)
    if main is None:
        return ""
    if base is None or base.value is None:
        ordered = sorted(rows, key=lambda row: -(stats.goodness(main, row.value) or 0.0))
        if not ordered:
            return ""
        parts = [f"{_shown(row)} under {row.policy}" for row in ordered[:MOST]]
        return f"In {group.scenario} {main.label} is {_several(parts, len(ordered) - MOST)}."
    ordered = sorted(rows, key=lambda row: -(stats.goodness(main, row.of_baseline) or 0.0))
    words = f"In {group.scenario} {main.label} is {_shown(base)} with the kernel alone"
    if not ordered:
        return words + "."
    return f"{words}, {_several([_against(row, base) for row in ordered[:MOST]], len(ordered) - MOST)}."


def _many(groups: Sequence[Group]) -> str:
    found = [
        one for one in stats.summaries(groups)
        if one.cells and one.mean_of_baseline is not None and one.policy != BASELINE and not one.policy.startswith(f"{ALONE}:")
    ]  # fmt: skip
    ordered = sorted(found, key=lambda one: -(one.mean_of_baseline or 0.0))
    if not ordered:
        return ""
    scenarios = max(one.cells for one in ordered)
    parts = [
        f"{one.policy} is {text.factor(one.mean_of_baseline)} times as good as {BASELINE} "
        + (f"(in {one.cells} of them, " if one.cells < scenarios else "(")
        + f"at worst {text.factor(one.worst)}, in {one.worst_in})"
        for one in ordered[:MOST]
    ]
    return f"In the geometric mean of {text.count_of(scenarios, 'scenario')}, {_several(parts, len(ordered) - MOST)}."


def _grids(groups: Sequence[Group]) -> str:
    parts = []
    for one in grid.grids(groups):
        quick, slow = (one.mean_of_default(first) for first in grid.FIRSTS)
        if one.policy != BASELINE and (quick is not None or slow is not None):
            parts.append(
                f"{one.policy} takes {text.factor(quick)} of {BASELINE}'s time with the quick path first and "
                f"{text.factor(slow)} with the slow one first, and is above {grid.WORSE:g} in {len(one.worse)} of "
                f"{text.count_of(len(one.cells), 'cell')}"
            )
    return f"On the grid {_several(parts[:MOST], len(parts) - MOST)}." if parts else ""


def sentence(groups: Sequence[Group]) -> str:
    """"" if nothing can be said."""
    of_grid, others = grid.split(groups)
    others = [group for group in others if group.main]
    said = [_grids(of_grid)] if of_grid else []
    said.append(_one(others[0]) if len(others) == 1 else _many(others))
    seeds = {run.seed for group in groups for row in group.rows for run in row.runs}
    if len(seeds) == 1 and any(said):
        said.append("It is one seed: small differences mean nothing.")
    return " ".join(one for one in said if one)
