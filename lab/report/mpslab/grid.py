# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The grid: pairs of paths × sizes × which path is first. What its names mean, parts of it, and its sums. No I/O."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

from . import stats
from .plan import PlanError, Scenario
from .stats import Group

ID = "grid"
QUICK, SLOW = "quick", "slow"
FIRSTS = (QUICK, SLOW)
# "Clearly worse than the kernel": a cell whose time is more than so many times that of default.
WORSE = 1.05
# Runs in one VM. More would save little of the boots, and progress comes when a VM ends.
PER_VM = 6

_NAME = re.compile(rf"{ID}/([\d.]+)@([\d.]+)\+([\d.]+)@([\d.]+)-({QUICK}|{SLOW})")


@dataclasses.dataclass(frozen=True, order=True)
class Pair:
    """Two paths; quick is the one with the smaller delay, of equal delays the one with the larger rate."""

    quick_mbit: float
    quick_ms: float
    slow_mbit: float
    slow_ms: float

    def __str__(self) -> str:
        return f"{self.quick_mbit:g}@{self.quick_ms:g}+{self.slow_mbit:g}@{self.slow_ms:g}"

    @property
    def delay_ratio(self) -> float:
        """At least 1."""
        return self.slow_ms / self.quick_ms

    @property
    def place(self) -> tuple[float, float, float]:
        """Where it is among the others: how its delays and rates relate, and how fast it is altogether; logarithms."""
        return (
            math.log(self.delay_ratio),
            math.log(self.quick_mbit / self.slow_mbit),
            # Between 2 and 70 Mbit/s: the relations matter more.
            math.log(self.quick_mbit + self.slow_mbit) / 2,
        )


def parse(scenario: str) -> tuple[Pair, str] | None:
    """The pair, and which path is first, of a scenario's name; None if it is not of the grid."""
    found = _NAME.fullmatch(scenario)
    if not found:
        return None
    return Pair(*(float(word) for word in found.groups()[:4])), found[5]


def of_grid(scenario: str) -> bool:
    """Whether a scenario is a part of the grid."""
    return parse(scenario) is not None


def spread(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """So many of them, far from each other, in their order. The same every time; a larger part has the smaller in it."""
    left = list(dict.fromkeys(pairs))
    if count >= len(left):
        return left
    middle = [stats.median(one.place[axis] for one in left) or 0.0 for axis in range(3)]
    chosen = [min(left, key=lambda one: (math.dist(one.place, middle), one))]
    while len(chosen) < count:
        chosen.append(
            max(
                (one for one in left if one not in chosen),
                key=lambda one: (min(math.dist(one.place, other.place) for other in chosen), one),
            )
        )
    return [one for one in left if one in chosen]


def part(chosen: Sequence[Scenario], count: int) -> list[Scenario]:
    """Only `count` pairs of the grid; other scenarios stay. Raises PlanError if there is no grid."""
    known = {one.name: found for one in chosen if (found := parse(one.name))}
    if not known:
        raise PlanError("--pairs is for the grid, which was not chosen.", f"For example: ./run lab {ID} --pairs 9")
    if count < 1:
        raise PlanError(f"--pairs {count}: at least one pair is needed.")
    wanted = set(spread([pair for pair, _ in known.values()], count))
    return [one for one in chosen if one.name not in known or known[one.name][0] in wanted]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One size on one pair with one path first, under one policy."""

    pair: Pair
    first: str
    size_bytes: int
    p50_ms: float | None
    bound_ms: float | None
    default_ms: float | None
    tcp_bound_ms: float | None = None

    @property
    def of_bound(self) -> float | None:
        """How many times what is possible; less is better."""
        return stats.ratio(self.p50_ms, self.bound_ms)

    @property
    def of_default(self) -> float | None:
        """How many times what the kernel alone takes; less is better."""
        return stats.ratio(self.p50_ms, self.default_ms)


@dataclasses.dataclass
class Grid:
    """One policy on one kernel over the whole grid, or what there is of it."""

    kernel: str
    policy: str
    cells: list[Cell]
    failed: int  # runs

    @property
    def pairs(self) -> list[Pair]:
        """In the order of the plan."""
        return list(dict.fromkeys(cell.pair for cell in self.cells))

    @property
    def sizes(self) -> list[int]:
        """Ascending."""
        return sorted({cell.size_bytes for cell in self.cells})

    def mean_of_bound(self, first: str) -> float | None:
        """The geometric mean of the ratio to the bound where that path is first."""
        return stats.geometric_mean(cell.of_bound for cell in self.cells if cell.first == first)

    def mean_of_tcp(self, first: str) -> float | None:
        """The geometric mean of the ratio to what TCP's windows allowed where that path is first."""
        return stats.geometric_mean(
            stats.ratio(cell.p50_ms, cell.tcp_bound_ms) for cell in self.cells if cell.first == first
        )

    def mean_of_default(self, first: str) -> float | None:
        """The geometric mean of the ratio to default where that path is first."""
        return stats.geometric_mean(cell.of_default for cell in self.cells if cell.first == first)

    @property
    def worst_of_bound(self) -> Cell | None:
        """The cell that is the farthest from what is possible."""
        return max((c for c in self.cells if c.of_bound is not None), key=lambda c: c.of_bound or 0.0, default=None)

    @property
    def worse(self) -> list[Cell]:
        """The cells that are clearly worse than default, the worst first."""
        found = [cell for cell in self.cells if (cell.of_default or 0.0) > WORSE]
        return sorted(found, key=lambda cell: -(cell.of_default or 0.0))

    @property
    def worst_of_default(self) -> Cell | None:
        """The cell with the largest ratio to default."""
        known = [cell for cell in self.cells if cell.of_default is not None]
        return max(known, key=lambda cell: cell.of_default or 0.0, default=None)


def grids(groups: Sequence[Group]) -> list[Grid]:
    """One for each kernel and policy, in the order of their first appearance; groups of other scenarios are left out."""
    found: dict[tuple[str, str], Grid] = {}
    for group in groups:
        known = parse(group.scenario)
        if known is None:
            continue
        pair, first = known
        base = _times(group, stats.BASELINE)
        for row in group.rows:
            mine = found.setdefault((group.kernel, row.policy), Grid(group.kernel, row.policy, [], 0))
            mine.failed += row.failed
            mine.cells += [
                Cell(pair, first, size.size_bytes, size.p50_ms, size.bound_ms, base.get(size.size_bytes), size.tcp_bound_ms)
                for size in row.sizes
            ]
    return list(found.values())


def _times(group: Group, policy: str) -> Mapping[int, float | None]:
    row = next((row for row in group.rows if row.policy == policy), None)
    return {size.size_bytes: size.p50_ms for size in row.sizes} if row else {}


def split(groups: Sequence[Group]) -> tuple[list[Group], list[Group]]:
    """Those of the grid, and the others."""
    return [one for one in groups if of_grid(one.scenario)], [one for one in groups if not of_grid(one.scenario)]
