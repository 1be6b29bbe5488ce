# SPDX-License-Identifier: MIT
# Copyright mpsched contributors

from __future__ import annotations

import io
import unittest

from mpslab import plan, progress, result, session, stats, text
from mpslab.keep import Outcome
from mpslab.plan import Key
from tests import fake


class Numbers(unittest.TestCase):
    def test_numbers_have_three_digits(self) -> None:
        for value, shown in ((0, "0"), (0.0123, "0.0123"), (1.0, "1"), (9.996, "10"), (53.04, "53"), (164.2, "164"), (-2.5, "-2.5")):
            self.assertEqual(text.significant(value), shown)

    def test_units_fit_the_size(self) -> None:
        self.assertEqual(text.milliseconds(52.44), "52.4 ms")
        self.assertEqual(text.milliseconds(12_345), "12.3 s")
        self.assertEqual([text.size(n) for n in (1, 1000, 100_000, 1_000_000)], ["1 B", "1 KB", "100 KB", "1 MB"])
        self.assertEqual([text.duration(n) for n in (4.4, 125, 4210)], ["4 s", "2 min 05 s", "1 h 10 min"])

    def test_what_is_unknown_is_a_dash(self) -> None:
        for shown in (text.milliseconds(None), text.size(None), text.factor(None), text.rate(None), text.per_second(None)):
            self.assertEqual(shown, "-")


class Table(unittest.TestCase):
    def groups(self) -> list[stats.Group]:
        runs: dict[str, dict[str, list[result.Run]]] = {}
        for run in result.each(fake.everything()):
            runs.setdefault(run.scenario, {}).setdefault(run.policy, []).append(run)
        return [stats.group("7.2", name, "", mine, {"weighted": 1}) for name, mine in runs.items()]

    def test_each_policy_has_one_row_in_each_scenario(self) -> None:
        shown = text.report(self.groups()[:1]).splitlines()
        self.assertEqual(sum(line.strip().startswith("weighted ") for line in shown), 2)  # and one by size
        self.assertTrue(any("3, 1 failed" in line for line in shown))

    def test_columns_are_aligned(self) -> None:
        lines = text.aligned([("policy", ["a", "bbb"]), ("p50", ["10 ms", "-"])])
        self.assertEqual(lines, ["policy    p50", "a       10 ms", "bbb         -"])

    def test_columns_without_any_value_are_left_away(self) -> None:
        titles = [title for title, _ in text.columns(self.groups()[0])]
        self.assertIn("p50", titles)
        self.assertNotIn("video Mbit/s", titles)

    def test_rows_without_results_are_dashes(self) -> None:
        group = stats.group("7.2", "S1", "", {"default": []}, {"default": 2})
        self.assertIn("0, 2 failed", text.report([group]))

    def test_nothing_is_an_empty_report(self) -> None:
        self.assertEqual(text.report([]), "")

    def test_several_scenarios_have_an_overview(self) -> None:
        shown = text.report(self.groups())
        self.assertRegex(shown, r"\n  policy +scenarios  × default  below 0\.95  least +in\n")
        self.assertRegex(shown, r"\n  weighted +\d+ +\d")
        self.assertNotIn("All scenarios", text.report(self.groups()[:1]))

    def test_an_outcome_in_a_few_words(self) -> None:
        outcome = Outcome(Key("7.2", "S4", "default", 1), document=fake.everything()[0])
        self.assertRegex(session.short(outcome), r"^completion \d+(\.\d+)? ms, 1\.\d\d of bound$")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Progress(unittest.TestCase):
    KEYS = plan.keys(["7.2"], [plan.Scenario("S1"), plan.Scenario("S4")], {"S1": ["default"], "S4": ["default"]}, [1, 2])

    def test_before_the_first_end_nothing_is_known(self) -> None:
        self.assertIsNone(progress.Estimate(self.KEYS, 2, {}).remaining_s({}))

    def test_before_the_first_end_it_is_what_was_expected(self) -> None:
        estimate = progress.Estimate(self.KEYS, 2, dict.fromkeys(self.KEYS, 10.0))
        self.assertAlmostEqual(estimate.remaining_s({}) or 0, 20.0)

    def test_the_rest_is_shared_by_the_vms(self) -> None:
        estimate = progress.Estimate(self.KEYS, 2, {})
        estimate.ended(self.KEYS[0], 10.0)
        self.assertAlmostEqual(estimate.remaining_s({}) or 0, 15.0)

    def test_time_that_runs_have_had_counts(self) -> None:
        estimate = progress.Estimate(self.KEYS, 1, {})
        estimate.ended(self.KEYS[0], 10.0)
        self.assertAlmostEqual(estimate.remaining_s({self.KEYS[1]: 4.0}) or 0, 26.0)

    def test_unseen_scenarios_are_scaled_by_what_was_expected(self) -> None:
        estimate = progress.Estimate(self.KEYS, 1, {key: {"S1": 10.0, "S4": 40.0}[key.scenario] for key in self.KEYS})
        estimate.ended(self.KEYS[0], 5.0)
        self.assertAlmostEqual(estimate.remaining_s({}) or 0, 5.0 + 2 * 20.0)

    def test_at_the_end_nothing_is_left(self) -> None:
        estimate = progress.Estimate(self.KEYS[:1], 1, {})
        estimate.ended(self.KEYS[0], 5.0)
        self.assertEqual(estimate.remaining_s({}), 0.0)

    def display(self, out: io.StringIO) -> None:
        display = progress.Display(out, self.KEYS, 2, {}, lambda: 0.0, total=6)
        display.started(self.KEYS[0])
        display.ended(self.KEYS[0], 7.0, "it broke", failed=True)
        display.tick()
        display.close()

    def test_a_file_gets_plain_lines(self) -> None:
        out = io.StringIO()
        self.display(out)
        self.assertNotIn("\x1b", out.getvalue())
        self.assertNotIn("\r", out.getvalue())
        self.assertRegex(out.getvalue(), r"^3/6  S1 default seed 1 \(7.2\) .* FAILED: it broke; about 10 s left\n$")

    def test_a_terminal_gets_a_line_that_is_taken_away(self) -> None:
        out = Terminal()
        self.display(out)
        self.assertIn("1 failed", out.getvalue())
        self.assertTrue(out.getvalue().endswith("\r\x1b[K"))
