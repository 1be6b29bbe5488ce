# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""From runs to the numbers of the report: one row for each policy in each scenario, over all its seeds. No I/O."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from .plan import DEFAULT
from .result import Requests, Run

BASELINE = DEFAULT
LESS = 0.95  # of the baseline: a scenario in which a policy is not as good


@dataclasses.dataclass(frozen=True)
class Metric:
    """One of lab/RESULTS.md's metrics, as people should see it."""

    key: str
    label: str
    unit: str
    more_is_better: bool = False


METRICS = {
    one.key: one
    for one in (
        Metric("completion_ms", "completion", "ms"),
        Metric("goodput_mbit", "goodput", "Mbit/s", more_is_better=True),
        Metric("message_delay_ms", "delay", "ms"),
        Metric("video_mbit", "video rate", "Mbit/s", more_is_better=True),
        Metric("video_stall_ms", "stalls", "ms"),
        Metric("late", "late", ""),
        Metric("longest_gap_ms", "longest gap", "ms"),
        Metric("recovery_ms", "recovery", "ms"),
        Metric("out_of_order_bytes_mean", "out of order", "bytes"),
        Metric("out_of_order_wait_ms", "wait for order", "ms"),
        Metric("out_of_order_segments", "out-of-order segments", ""),
        Metric("reinjected_bytes", "reinjected", "bytes"),
        Metric("energy_j", "energy", "J"),
        Metric("flips", "flips", ""),
        Metric("wakes", "wakes", ""),
        Metric("flips_per_s", "flips/s", "1/s"),
        Metric("wakes_per_s", "wakes/s", "1/s"),
    )
}

# What a scenario is mainly about: the first of these that was measured.
MAIN = {
    "requests": ("completion_ms",),
    "stream": ("message_delay_ms", "goodput_mbit"),
    "video": ("video_mbit", "completion_ms"),
    "bulk": ("goodput_mbit", "completion_ms"),
}


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that so many percent of the values do not exceed. None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def median(values: Iterable[float | None]) -> float | None:
    """The middle one, or between the two in the middle. None are left out."""
    ordered = sorted(value for value in values if value is not None)
    if not ordered:
        return None
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """None are left out, and so is what is not positive. None if nothing is left."""
    logs = [math.log(value) for value in values if value is not None and value > 0]
    return math.exp(sum(logs) / len(logs)) if logs else None


def ratio(value: float | None, base: float | None) -> float | None:
    """value / base where both are known and base is not 0."""
    return None if value is None or not base else value / base


@dataclasses.dataclass(frozen=True)
class Size:
    """The requests of one size, over all seeds."""

    size_bytes: int
    times_ms: tuple[float, ...]
    bound_ms: float | None
    p50_ms: float | None
    p90_ms: float | None
    spread_ms: tuple[float, float]  # least and greatest p50 of a seed
    tcp_bound_ms: float | None = None  # with the windows that there were: any segment on any path …
    burst_bound_ms: float | None = None  # … or in the kernel's bursts

    @property
    def of_tcp(self) -> float | None:
        """How many times what TCP's windows allowed."""
        return ratio(self.p50_ms, self.tcp_bound_ms)

    @property
    def of_bursts(self) -> float | None:
        """How many times what they allowed in bursts."""
        return ratio(self.p50_ms, self.burst_bound_ms)


@dataclasses.dataclass
class Row:
    """One policy in one scenario on one kernel."""

    policy: str
    runs: list[Run]
    failed: int
    main: Metric | None
    values: dict[str, float]  # by metric: the median over the seeds
    spreads: dict[str, tuple[float, float]]  # by metric: least and greatest over the seeds
    p50_ms: float | None  # over several sizes: the geometric mean of each size's
    p90_ms: float | None
    of_bound: float | None
    of_baseline: float | None = None
    of_tcp: float | None = None  # over the sizes: geometric means; None if one of them has none
    of_bursts: float | None = None
    sizes: tuple[Size, ...] = ()
    size_of_baseline: dict[int, float] = dataclasses.field(default_factory=dict)
    shares: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def value(self) -> float | None:
        """The main metric."""
        return self.values.get(self.main.key) if self.main else None

    @property
    def spread(self) -> tuple[float, float] | None:
        """Least and greatest of the main metric."""
        return self.spreads.get(self.main.key) if self.main else None

    @property
    def typical(self) -> Run | None:
        """The run in the middle, by the main metric."""
        if not self.runs:
            return None
        key = self.main.key if self.main else ""
        return sorted(self.runs, key=lambda run: run.metrics.get(key, 0.0))[(len(self.runs) - 1) // 2]


@dataclasses.dataclass
class Group:
    """One scenario on one kernel."""

    kernel: str
    scenario: str
    title: str
    rows: list[Row]

    @property
    def main(self) -> Metric | None:
        """What its policies are compared by."""
        return next((row.main for row in self.rows if row.main), None)

    @property
    def example(self) -> Run | None:
        """Any run of it, for what is the same in all: paths, workload."""
        return next((run for row in self.rows for run in row.runs), None)


def goodness(metric: Metric | None, value: float | None) -> float | None:
    """A ratio turned so that more is better: how many times as good."""
    if metric is None or value is None or value <= 0:
        return None
    return value if metric.more_is_better else 1 / value


def _main(runs: Sequence[Run]) -> Metric | None:
    for run in runs:
        for key in MAIN.get(run.workload, tuple(METRICS)):
            if key in run.metrics:
                return METRICS[key]
    return None


def _sizes(runs: Sequence[Run]) -> tuple[Size, ...]:
    pooled: dict[int, list[float]] = {}
    asked: dict[int, list[Requests]] = {}
    middles: dict[int, list[float]] = {}
    for run in runs:
        for one in run.requests:
            if (middle := percentile(one.times_ms, 50)) is not None:
                middles.setdefault(one.size_bytes, []).append(middle)
            pooled.setdefault(one.size_bytes, []).extend(one.times_ms)
            asked.setdefault(one.size_bytes, []).append(one)
    return tuple(
        Size(
            size_bytes=size,
            times_ms=tuple(times),
            bound_ms=median(one.bound_ms for one in asked[size]),
            tcp_bound_ms=median(one.tcp_bound_ms for one in asked[size]),
            burst_bound_ms=median(one.burst_bound_ms for one in asked[size]),
            p50_ms=percentile(times, 50),
            p90_ms=percentile(times, 90),
            spread_ms=(min(middles[size]), max(middles[size])),
        )
        for size, times in sorted(pooled.items())
        if times
    )


def _mean_of_all(ratios: Sequence[float | None]) -> float | None:
    return None if not ratios or None in ratios else geometric_mean(ratios)


def row(policy: str, runs: Sequence[Run], failed: int) -> Row:
    """What a policy did in a scenario."""
    main = _main(runs)
    by_metric = {key: [run.metrics[key] for run in runs if key in run.metrics] for key in METRICS}
    values = {key: found for key, mine in by_metric.items() if (found := median(mine)) is not None}
    sizes = _sizes(runs)
    if sizes:
        p50_ms = geometric_mean(size.p50_ms for size in sizes)
        p90_ms = geometric_mean(size.p90_ms for size in sizes)
    else:
        times = [run.metrics["completion_ms"] for run in runs if "completion_ms" in run.metrics]
        p50_ms, p90_ms = percentile(times, 50), percentile(times, 90)
    names = dict.fromkeys(path.name for run in runs for path in run.paths)
    shares = {
        name: share
        for name in names
        if (share := median(path.share for run in runs for path in run.paths if path.name == name)) is not None
    }
    return Row(
        policy=policy,
        runs=list(runs),
        failed=failed,
        main=main,
        values=values,
        spreads={key: (min(mine), max(mine)) for key, mine in by_metric.items() if mine},
        p50_ms=p50_ms,
        p90_ms=p90_ms,
        of_bound=median(run.ratios.get(main.key) for run in runs) if main else None,
        of_tcp=_mean_of_all([size.of_tcp for size in sizes]),
        of_bursts=_mean_of_all([size.of_bursts for size in sizes]),
        sizes=sizes,
        shares=shares,
    )


def group(kernel: str, scenario: str, title: str, runs: Mapping[str, Sequence[Run]], failed: Mapping[str, int]) -> Group:
    """The rows of a scenario, with their ratios to the baseline. The keys of `runs` give the order."""
    rows = [row(policy, mine, failed.get(policy, 0)) for policy, mine in runs.items()]
    base = next((one for one in rows if one.policy == BASELINE), None)
    for one in rows:
        if base is None or one.main != base.main:
            continue
        one.of_baseline = ratio(one.value, base.value)
        base_sizes = {size.size_bytes: size.p50_ms for size in base.sizes}
        for size in one.sizes:
            found = ratio(size.p50_ms, base_sizes.get(size.size_bytes))
            if found is not None:
                one.size_of_baseline[size.size_bytes] = found
    return Group(kernel, scenario, title, rows)


@dataclasses.dataclass(frozen=True)
class Summary:
    """A policy over all scenarios."""

    policy: str
    cells: int  # with a ratio to the baseline
    mean_of_baseline: float | None  # of how many times as good; geometric
    less: int  # scenarios with less than LESS times
    worst: float | None  # least times as good
    worst_in: str
    mean_of_bound: float | None


def summaries(groups: Sequence[Group]) -> list[Summary]:
    """One for each policy, in the order of their first appearance."""
    found = []
    for policy in dict.fromkeys(one.policy for each in groups for one in each.rows):
        against: list[tuple[float, str]] = []
        bound: list[float | None] = []
        for each in groups:
            mine = next((one for one in each.rows if one.policy == policy), None)
            if mine is None:
                continue
            bound.append(goodness(mine.main, mine.of_bound))
            good = goodness(mine.main, mine.of_baseline)
            if good is not None:
                against.append((good, each.scenario))
        worst = min(against, default=(None, ""))
        found.append(
            Summary(
                policy=policy,
                cells=len(against),
                mean_of_baseline=geometric_mean(good for good, _ in against),
                less=sum(good < LESS for good, _ in against),
                worst=worst[0],
                worst_in=worst[1],
                mean_of_bound=geometric_mean(bound),
            )
        )
    return found
