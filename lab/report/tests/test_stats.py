# SPDX-License-Identifier: MIT
# Copyright mpsched contributors

from __future__ import annotations

import unittest
from typing import Any

from mpslab import result, stats
from tests import fake


def run(**more: Any) -> result.Run:
    return result.parse(fake.document(**more))


def sizes(**times: list[float]) -> list[dict[str, Any]]:
    return [{"bytes": int(size[1:]), "times_ms": values, "bound_ms": 5.0} for size, values in times.items()]


class Numbers(unittest.TestCase):
    def test_a_percentile_is_one_of_the_values(self) -> None:
        values = [5.0, 1.0, 4.0, 2.0, 3.0]
        self.assertEqual(stats.percentile(values, 50), 3.0)
        self.assertEqual(stats.percentile(values, 90), 5.0)
        self.assertEqual(stats.percentile(values, 100), 5.0)
        self.assertEqual(stats.percentile(values, 0), 1.0)
        self.assertEqual(stats.percentile([7.0], 99), 7.0)
        self.assertIsNone(stats.percentile([], 50))

    def test_the_median_leaves_unknown_values_out(self) -> None:
        self.assertEqual(stats.median([3.0, None, 1.0, 2.0]), 2.0)
        self.assertEqual(stats.median([1.0, 2.0]), 1.5)
        self.assertIsNone(stats.median([None]))

    def test_the_geometric_mean_of_a_ratio_and_its_inverse_is_one(self) -> None:
        self.assertAlmostEqual(stats.geometric_mean([4.0, 0.25]) or 0, 1.0)
        self.assertIsNone(stats.geometric_mean([None, 0.0]))

    def test_a_ratio_to_nothing_is_unknown(self) -> None:
        self.assertIsNone(stats.ratio(1.0, 0.0))
        self.assertIsNone(stats.ratio(1.0, None))
        self.assertEqual(stats.ratio(1.0, 2.0), 0.5)

    def test_goodness_is_more_when_a_time_is_less(self) -> None:
        self.assertEqual(stats.goodness(stats.METRICS["completion_ms"], 0.5), 2.0)
        self.assertEqual(stats.goodness(stats.METRICS["goodput_mbit"], 0.5), 0.5)
        self.assertIsNone(stats.goodness(None, 1.0))
        self.assertIsNone(stats.goodness(stats.METRICS["goodput_mbit"], 0.0))


class Rows(unittest.TestCase):
    def test_times_of_all_seeds_are_pooled_by_size(self) -> None:
        row = stats.row(
            "default",
            [run(requests=sizes(b1000=[1.0, 2.0])), run(seed=2, requests=sizes(b1000=[3.0], b2000=[8.0]))],
            0,
        )
        self.assertEqual([(one.size_bytes, one.p50_ms) for one in row.sizes], [(1000, 2.0), (2000, 8.0)])
        self.assertAlmostEqual(row.p50_ms or 0, 4.0)  # geometric

    def test_the_main_metric_follows_the_workload(self) -> None:
        both = {"goodput_mbit": 30.0, "completion_ms": 5.0, "message_delay_ms": 7.0}
        for workload, key in (
            ("bulk", "goodput_mbit"), ("requests", "completion_ms"), ("stream", "message_delay_ms"),
        ):  # fmt: skip
            row = stats.row("default", [run(workload=workload, metrics=both)], 0)
            self.assertEqual(row.main, stats.METRICS[key])

    def test_values_are_medians_over_seeds(self) -> None:
        runs = [run(seed=n, workload="bulk", metrics={"goodput_mbit": value}) for n, value in enumerate((9.0, 1.0, 5.0))]
        row = stats.row("default", runs, 0)
        self.assertEqual(row.value, 5.0)
        self.assertEqual(row.spread, (1.0, 9.0))
        self.assertEqual(row.typical.seed if row.typical else None, 2)

    def test_ratios_to_what_windows_allow_are_means_over_the_sizes_and_need_all_of_them(self) -> None:
        def row(*bounds: float | None) -> stats.Row:
            requests = [
                {"bytes": 1000 * n, "times_ms": [8.0], "bound_ms": 1.0, "tcp_bound_ms": bound, "burst_bound_ms": 4.0}
                for n, bound in enumerate(bounds, 1)
            ]
            return stats.row("default", [run(requests=requests, metrics={"completion_ms": 8.0})], 0)

        self.assertAlmostEqual(row(2.0, 8.0).of_tcp or 0, 2.0)  # 4 and 1
        self.assertAlmostEqual(row(2.0, 8.0).of_bursts or 0, 2.0)
        self.assertIsNone(row(2.0, None).of_tcp)

    def test_a_policy_whose_runs_all_failed_is_an_empty_row(self) -> None:
        row = stats.row("default", [], 3)
        self.assertEqual((row.main, row.value, row.p50_ms, row.typical, row.failed), (None, None, None, None, 3))


class Groups(unittest.TestCase):
    def make(self, **goodput: float) -> stats.Group:
        runs = {
            policy: [run(policy=policy, workload="bulk", metrics={"goodput_mbit": value}, ratios={"goodput_mbit": value / 40})]
            for policy, value in goodput.items()
        }
        return stats.group("7.2", "S1", "", runs, {})

    def test_ratios_are_to_the_default_policy(self) -> None:
        group = self.make(default=20.0, weighted=30.0)
        self.assertEqual([row.of_baseline for row in group.rows], [1.0, 1.5])
        self.assertEqual([row.of_bound for row in group.rows], [0.5, 0.75])

    def test_without_default_there_is_no_ratio_to_it(self) -> None:
        self.assertEqual([row.of_baseline for row in self.make(weighted=30.0).rows], [None])

    def test_ratios_by_size_need_the_size_in_both(self) -> None:
        group = stats.group("7.2", "S4", "", {
            "default": [run(requests=sizes(b1000=[10.0]), metrics={"completion_ms": 10.0})],
            "weighted": [run(requests=sizes(b1000=[5.0], b2000=[1.0]), metrics={"completion_ms": 5.0})],
        }, {})  # fmt: skip
        self.assertEqual(group.rows[1].size_of_baseline, {1000: 0.5})

    def test_the_summary_names_the_worst_scenario(self) -> None:
        one, two = self.make(default=20.0, weighted=30.0), self.make(default=20.0, weighted=10.0)
        two.scenario = "S2"
        found = {summary.policy: summary for summary in stats.summaries([one, two])}
        self.assertEqual((found["weighted"].worst, found["weighted"].worst_in), (0.5, "S2"))
        self.assertAlmostEqual(found["weighted"].mean_of_baseline or 0, 0.75**0.5)
        self.assertEqual((found["weighted"].less, found["default"].less), (1, 0))

    def test_a_summary_of_failed_runs_is_empty(self) -> None:
        group = stats.group("7.2", "S1", "", {"default": []}, {"default": 2})
        (found,) = stats.summaries([group])
        self.assertEqual((found.cells, found.worst, found.mean_of_bound), (0, None, None))
