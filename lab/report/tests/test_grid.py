# SPDX-License-Identifier: MIT
# Copyright mpsched contributors

from __future__ import annotations

import json
import math
import tomllib
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from mpslab import charts, grid, plan, text
from mpslab.document import grouped
from mpslab.grid import Pair
from mpslab.keep import Outcome
from mpslab.plan import PlanError, Scenario
from tests import fake, test_cli, test_page
from tests.test_page import html, outcome, tree

FILE = Path(__file__).resolve().parents[2] / "scenarios" / "grid.toml"
SVG = "{http://www.w3.org/2000/svg}"


def variants() -> list[tuple[Pair, str]]:
    """As the names in the scenario file have it."""
    found = [grid.parse(f"grid/{one['name']}") for one in tomllib.loads(FILE.read_text())["variant"]]
    return [one for one in found if one is not None]


def pairs() -> list[Pair]:
    return list(dict.fromkeys(pair for pair, _ in variants()))


def scenarios(*more: str) -> list[Scenario]:
    names = [f"grid/{pair}-{first}" for pair, first in variants()]
    return [Scenario(name, "Requests", ("quick", "slow")) for name in [*names, *more]]


def grids(*documents: object) -> list[grid.Grid]:
    outcomes = [outcome(one) for one in documents]  # type: ignore[arg-type]
    return grid.grids(grouped([one.key for one in outcomes], outcomes, {}))


class Choice(unittest.TestCase):
    def test_names_say_what_the_file_sets(self) -> None:
        for one in tomllib.loads(FILE.read_text())["variant"]:
            with self.subTest(one["name"]):
                known = grid.parse(f"grid/{one['name']}")
                assert known is not None
                values = one["set"]
                self.assertEqual(known[1], values["network.first"])
                self.assertEqual(
                    dataclass_values(known[0]),
                    [values[f"path.{path}.{key}"] for path in ("quick", "slow") for key in ("rate_mbit", "delay_ms")],
                )

    def test_there_are_36_pairs_each_with_both_paths_first(self) -> None:
        self.assertEqual(len(pairs()), 36)
        self.assertEqual(sorted(variants()), sorted((pair, first) for pair in pairs() for first in grid.FIRSTS))

    def test_quick_is_the_smaller_delay_and_of_equal_ones_the_larger_rate(self) -> None:
        for pair in pairs():
            self.assertLessEqual((pair.quick_ms, -pair.quick_mbit), (pair.slow_ms, -pair.slow_mbit), pair)

    def test_pairs_cover_what_the_grid_is_for(self) -> None:
        rates = {rate for pair in pairs() for rate in (pair.quick_mbit, pair.slow_mbit)}
        delays = {delay for pair in pairs() for delay in (pair.quick_ms, pair.slow_ms)}
        self.assertEqual((min(rates), max(rates), min(delays), max(delays)), (0.3, 50, 5, 200))
        self.assertEqual(sorted({pair.delay_ratio for pair in pairs()}), [1, 2, 4, 10, 20, 40])
        for ratio in (2, 4, 10, 20, 40):
            # With each relation of delays: the quick path has the larger rate, an equal one, the smaller one.
            signs = {math.copysign(1, d) if (d := one.quick_mbit - one.slow_mbit) else 0 for one in pairs() if one.delay_ratio == ratio}
            self.assertEqual(signs, {-1, 0, 1}, ratio)
        most = max(max(one.quick_mbit / one.slow_mbit, one.slow_mbit / one.quick_mbit) for one in pairs())
        self.assertAlmostEqual(most, 28.7, 1)

    def test_a_part_is_spread_over_the_grid_and_within_every_larger_one(self) -> None:
        before: set[Pair] = set()
        for count in range(1, 37):
            chosen = grid.spread(pairs(), count)
            self.assertEqual(len(chosen), count)
            self.assertLess(before, set(chosen))
            self.assertEqual(chosen, grid.spread(list(reversed(pairs())), count)[::-1])
            before = set(chosen)
        self.assertEqual(grid.spread(pairs(), 99), pairs())
        nine = grid.spread(pairs(), 9)
        self.assertGreaterEqual(len({one.delay_ratio for one in nine}), 4)
        self.assertEqual({one.quick_mbit < one.slow_mbit for one in nine}, {True, False})
        # Nothing is far from all of them; from the first nine in the file something is, by 5.
        self.assertLess(max(min(math.dist(a.place, b.place) for b in nine) for a in pairs()), 2)

    def test_a_part_keeps_both_firsts_and_other_scenarios(self) -> None:
        chosen = grid.part(scenarios("S4"), 5)
        self.assertEqual(len(chosen), 11)
        self.assertIn("S4", [one.name for one in chosen])
        for bad, count in (([Scenario("S4")], 5), (scenarios(), 0), (scenarios(), -1)):
            with self.assertRaises(PlanError):
                grid.part(bad, count)

    def test_other_names_are_not_of_the_grid(self) -> None:
        for name in ("S4", "grid", "grid/20@5-quick", "S6/20@5+5@100-quick", "grid/20@5+5@100-first"):
            self.assertFalse(grid.of_grid(name), name)


def dataclass_values(pair: Pair) -> list[float]:
    return [pair.quick_mbit, pair.quick_ms, pair.slow_mbit, pair.slow_ms]


PAIR, OTHER = "20@5+5@100", "1.7@20+0.7@20"


class Sums(unittest.TestCase):
    def setUp(self) -> None:
        self.documents = [
            fake.of_grid(PAIR, "quick", "default", {1000: (20, 10), 4000: (80, 20)}),
            fake.of_grid(PAIR, "quick", "auto", {1000: (10, 10), 4000: (84, 20)}),
            fake.of_grid(PAIR, "slow", "default", {1000: (90, 10), 4000: (80, 20)}),
            fake.of_grid(PAIR, "slow", "auto", {1000: (40, 10), 4000: (85, 20)}),
            fake.of_grid(OTHER, "slow", "auto", {1000: (50, 10)}),
        ]

    def test_means_are_geometric_and_for_each_path_first(self) -> None:
        default, auto = grids(*self.documents)
        self.assertEqual((default.policy, auto.policy), ("default", "auto"))
        self.assertAlmostEqual(default.mean_of_bound("quick") or 0, math.sqrt(2 * 4))
        self.assertAlmostEqual(auto.mean_of_bound("quick") or 0, math.sqrt(1 * 4.2))
        self.assertAlmostEqual(auto.mean_of_bound("slow") or 0, (4 * 4.25 * 5) ** (1 / 3))
        # A cell whose default did not run has no part in it.
        self.assertAlmostEqual(auto.mean_of_default("slow") or 0, math.sqrt(40 / 90 * 85 / 80))

    def test_worst_cells_and_those_clearly_worse_than_default(self) -> None:
        _, auto = grids(*self.documents)
        worst = auto.worst_of_bound
        assert worst is not None
        self.assertEqual((str(worst.pair), worst.first, worst.size_bytes), (OTHER, "slow", 1000))
        # 84 of 80 is exactly the limit, 85 is above.
        self.assertEqual([(one.first, one.size_bytes) for one in auto.worse], [("slow", 4000)])
        self.assertEqual(auto.worst_of_default, auto.worse[0])

    def test_the_terminal_gets_a_summary_and_no_table_for_each_run(self) -> None:
        outcomes = [outcome(one) for one in [*self.documents, fake.document("S4", metrics={"completion_ms": 3.0})]]
        shown = text.report(grouped([one.key for one in outcomes], outcomes, {}))
        self.assertIn("auto: worst of bound 5.00 (1 KB, 1.7@20+0.7@20, slow first)", shown)
        self.assertIn("    1.06 (4 KB, 20@5+5@100, slow first)", shown)
        self.assertEqual(shown.count("Requests over 36 pairs"), 0)
        self.assertIn("S4", shown)
        line = next(line.split() for line in shown.splitlines() if line.split()[:2] == ["auto", "5"])
        self.assertEqual(line, ["auto", "5", "2.05", "4.40", "0.72", "0.69", "1"])

    def test_a_grid_of_failed_runs_can_be_told(self) -> None:
        key = plan.Key("7.2", f"grid/{PAIR}-quick", "auto", 1)
        groups = grouped([key], [Outcome(key, what="it hung")], {})
        self.assertIn("1 failed", text.report(groups))
        self.assertEqual(grid.grids(groups)[0].failed, 1)


class Page(test_page.Checked):
    def test_each_policy_has_one_map_of_each_kind(self) -> None:
        times = {1000: (21.0, 20.0), 10_000: (40.0, 39.0), 4_000_000: (1.2e6, 1e6)}
        slower = {size: (1.2 * time, bound) for size, (time, bound) in times.items()}
        documents = [
            fake.of_grid(str(pair), first, policy, slower if policy == "auto" else times)
            for pair, first in variants()
            for policy in ("default", "auto")
        ]
        root = self.check(html([outcome(one) for one in documents]))
        maps = [one for one in root.iter(f"{SVG}svg") if "heat" in (one.get("class") or "")]
        self.assertEqual(len(maps), 3, "of default only the one against the bound")
        for one in maps:
            cells = [each for each in one.iter(f"{SVG}rect") if (each.get("class") or "").startswith("cell")]
            self.assertEqual(len(cells), 36 * 2 * 3)
            self.assertEqual(len([e for e in one.iter(f"{SVG}text") if e.get("class") == "blocktitle"]), 6)
        over = [e for e in root.iter(f"{SVG}text") if "over" in (e.get("class") or "").split()]
        self.assertEqual({one.text for one in over}, {"1.20"})
        self.assertEqual(len(over), 36 * 2 * 3)
        hints = [e.text or "" for e in maps[1].iter(f"{SVG}title")]
        self.assertTrue(any("4 MB, 20@5+5@100, slow first: 1.20 × default" in hint for hint in hints))
        sections = [one.get("id") for one in root.iter("section")]
        self.assertEqual(sections, ["grid", "measured"])

    def test_what_nothing_is_compared_with_has_no_colours_for_it(self) -> None:
        for policies, scales in ((["default"], 1), (["default", "auto"], 2)):
            documents = [fake.of_grid(PAIR, "slow", policy, {1000: (40, 10)}) for policy in policies]
            root = self.check(html([outcome(one) for one in documents]))
            self.assertEqual(len([e for e in root.iter("p") if "steps" in (e.get("class") or "")]), scales)

    def test_a_part_of_the_grid_beside_another_scenario(self) -> None:
        documents = [fake.of_grid(PAIR, "slow", "auto", {1000: (40, 10)}), fake.document(metrics={"completion_ms": 1.0})]
        text_ = html([outcome(one) for one in documents])
        self.check(text_)
        self.assertEqual([one.get("id") for one in tree(text_).iter("section")], ["grid", "overview", "s0", "measured"])

    def test_a_map_without_cells_can_be_drawn(self) -> None:
        ElementTree.fromstring(charts.block_map([], [], "empty"))

    def test_numbers_fit_their_cells(self) -> None:
        self.assertEqual([text.brief(n) for n in (None, 0.354, 1.6, 9.994, 9.996, 99.94, 99.96, 1234)],
                         ["-", "0.35", "1.60", "9.99", "10.0", "99.9", "100", "1234"])  # fmt: skip


class Command(test_cli.Fixture):
    def setUp(self) -> None:
        super().setUp()
        listed = [{"name": one.name, "title": one.title, "paths": list(one.paths)} for one in scenarios("S4")]
        self.program("mpsched-lab", f"cat <<'E'\n{json.dumps(listed)}\nE")

    def test_default_runs_as_well_once_and_several_runs_share_a_vm(self) -> None:
        out = self.folder / "out"
        code, shown, _ = self.lab("grid", "--pairs", "4", "--policy", "weighted", "--out", str(out))
        self.assertEqual(code, 0)
        self.assertEqual(len(self.boots), 4 * 2 * 2)
        self.assertEqual(self.vms, 3)
        self.assertEqual({one.policy for one in self.boots}, {"default", "weighted"})
        document = json.loads((out / "results.json").read_text())
        self.assertEqual([(one["policy"], one["pairs"]) for one in document["grid"]], [("default", 0), ("weighted", 0)])

    def test_all_is_all_but_the_grid(self) -> None:
        self.lab("all", "--policy", "default", "--seeds", "1", "--out", str(self.folder / "out"))
        self.assertEqual([one.scenario for one in self.boots], ["S4"])

    def test_a_baseline_is_taken_and_not_run(self) -> None:
        first = self.folder / "first"
        self.lab("grid", "--pairs", "2", "--out", str(first))
        self.assertEqual(len(self.boots), 4)
        self.boots.clear()
        self.program("mpsched", f"# newer\n{test_cli.MPSCHED}")
        words = ["grid", "--pairs", "2", "--policy", "weighted", "--baseline", str(first), "--again"]
        code, shown, err = self.lab(*words, "--out", str(self.folder / "second"))
        self.assertEqual((code, {one.policy for one in self.boots}), (0, {"weighted"}))
        self.assertIn("8 ok", shown)
        self.assertIn(f"or {first}", err)
        self.assertNotIn("another build", err)
        # Runs of another seed are not there.
        self.boots.clear()
        self.lab(*words, "--seeds", "2-2", "--out", str(self.folder / "third"))
        self.assertEqual({one.policy for one in self.boots}, {"default", "weighted"})

    def test_mistakes_are_told(self) -> None:
        for words, what, known in (
            (["grid", "--baseline", str(self.folder / "none")], "no results", "--out"),
            (["S4", "--pairs", "3"], "for the grid", "./run lab grid"),
            (["grid", "--pairs", "0"], "at least one", ""),
            (["grid", "--per-vm", "0"], "positive", ""),
        ):
            with self.subTest(words):
                code, _, err = self.lab(*words)
                self.assertEqual((code, self.boots), (2, []))
                self.assertIn(what, err)
                self.assertIn(known, err)

    def test_the_list_has_one_line_for_the_grid(self) -> None:
        _, shown, _ = self.lab("--list")
        self.assertEqual(len([line for line in shown.splitlines() if line.startswith("grid")]), 1)
        self.assertIn("S4", shown)
