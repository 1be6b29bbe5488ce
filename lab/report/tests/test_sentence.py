# SPDX-License-Identifier: MIT
# Copyright mpsched contributors

from __future__ import annotations

import unittest
from collections.abc import Sequence
from typing import Any

from mpslab import result, stats, text
from mpslab.sentence import sentence
from tests import fake


def group(scenario: str, times: dict[str, Sequence[float]], **more: Any) -> stats.Group:
    """From policy -> completion by seed."""
    runs = {
        policy: [
            result.parse(fake.document(scenario, policy, seed, metrics={"completion_ms": time}, **more))
            for seed, time in enumerate(mine, 1)
        ]
        for policy, mine in times.items()
    }
    return stats.group("7.2", scenario, "", runs, {})


class Sentence(unittest.TestCase):
    def test_the_best_comes_first(self) -> None:
        said = sentence([group("S4", {"default": [100, 100], "slow": [200, 200], "quick": [50, 50], "alone:a": [1, 1]})])
        self.assertEqual(said, "In S4 completion is 100 ms with the kernel alone, 50 ms under quick (0.50 times that), "
                               "200 ms under slow (2.00 times that).")  # fmt: skip

    def test_what_is_within_the_spread_is_no_difference(self) -> None:
        said = sentence([group("S4", {"default": [90, 110], "same": [80, 91], "less": [80, 89]})])
        self.assertIn("85.5 ms under same (no difference beyond the spread over seeds)", said)
        self.assertIn("84.5 ms under less (0.84 times that)", said)

    def test_one_seed_is_told(self) -> None:
        self.assertIn("It is one seed", sentence([group("S4", {"default": [100], "quick": [50]})]))

    def test_without_the_kernel_alone_there_are_only_values(self) -> None:
        self.assertEqual(sentence([group("S4", {"a": [9, 9], "b": [7, 7]})]), "In S4 completion is 7 ms under b, 9 ms under a.")

    def test_over_several_scenarios_it_is_the_mean_and_the_worst(self) -> None:
        said = sentence([group("S4", {"default": [100, 100], "x": [50, 50]}), group("S5", {"default": [100, 100], "x": [125, 125]})])
        self.assertEqual(said, "In the geometric mean of 2 scenarios, x is 1.26 times as good as default (at worst 0.80, in S5).")

    def test_a_policy_that_ran_in_fewer_scenarios_says_so(self) -> None:
        said = sentence([group("S4", {"default": [1, 1], "x": [1, 1], "y": [2, 2]}), group("S5", {"default": [1, 1], "x": [1, 1]})])
        self.assertIn("y is 0.50 times as good as default (in 1 of them, at worst 0.50, in S4)", said)

    def test_of_nothing_nothing_is_said(self) -> None:
        self.assertEqual(sentence([]), "")
        self.assertEqual(sentence([group("S4", {"default": []})]), "")

    def test_many_policies_are_not_all_named(self) -> None:
        said = sentence([group("S4", {"default": [100, 100]} | {f"p{n}": [n + 1.0, n + 1.0] for n in range(9)})])
        self.assertIn("and 5 more", said)


class Spread(unittest.TestCase):
    def test_both_ends_with_one_unit(self) -> None:
        ms, mbit = stats.METRICS["completion_ms"], stats.METRICS["goodput_mbit"]
        self.assertEqual(text.spread(ms, (81.2, 85.1)), "81.2..85.1 ms")
        self.assertEqual(text.spread(ms, (900, 12000)), "900 ms..12 s")
        self.assertEqual(text.spread(ms, (5, 5)), "5 ms")
        self.assertEqual(text.spread(mbit, (5, 6)), "5..6")
        self.assertEqual(text.spread(ms, None), "-")

    def test_tables_show_it_where_there_are_several_seeds(self) -> None:
        self.assertIn("completion by seed", text.report([group("S4", {"default": [81.2, 85.1]})]))
        self.assertIn("81.2..85.1 ms", text.report([group("S4", {"default": [81.2, 85.1]})]))
        self.assertNotIn("by seed  ", text.report([group("S4", {"default": [81.2]})]))
