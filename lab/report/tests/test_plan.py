# SPDX-License-Identifier: MIT
# Copyright mpsched contributors

from __future__ import annotations

import unittest

from mpslab import plan
from mpslab.plan import Key, PlanError, Scenario

LISTED = [
    Scenario("S1", "two equal paths", ("left", "right"), 12.0),
    Scenario("S4", "requests", ("fast", "slow"), 50.0),
    Scenario("S17/rcvbuf-1M", "one", ("fast", "slow")),
    Scenario("S17/rcvbuf-6M", "six", ("fast", "slow")),
]


class Scenarios(unittest.TestCase):
    def names(self, *words: str) -> list[str]:
        return [one.name for one in plan.scenarios(LISTED, words)]

    def test_an_id_is_all_its_variants(self) -> None:
        self.assertEqual(self.names("S17"), ["S17/rcvbuf-1M", "S17/rcvbuf-6M"])

    def test_a_variant_is_only_itself(self) -> None:
        self.assertEqual(self.names("S17/rcvbuf-6M"), ["S17/rcvbuf-6M"])

    def test_a_number_is_another_name_of_the_same(self) -> None:
        listed = [Scenario("video/slow", number="S6"), Scenario("video/quick", number="S6"), Scenario("grid/a")]
        for words, expected in (
            (["S6"], ["video/slow", "video/quick"]),
            (["s6/quick"], ["video/quick"]),
            (["S6/q*"], ["video/quick"]),
            (["video"], ["video/slow", "video/quick"]),
        ):
            self.assertEqual([one.name for one in plan.scenarios(listed, words)], expected)

    def test_a_pattern_and_all_and_lower_case(self) -> None:
        self.assertEqual(self.names("S1*"), ["S1", "S17/rcvbuf-1M", "S17/rcvbuf-6M"])
        self.assertEqual(len(self.names("all")), 4)
        self.assertEqual(self.names("s4"), ["S4"])

    def test_none_comes_twice(self) -> None:
        self.assertEqual(self.names("S4", "S4", "all"), ["S4", "S1", "S17/rcvbuf-1M", "S17/rcvbuf-6M"])

    def test_an_unknown_one_is_an_error_that_names_similar_ones(self) -> None:
        with self.assertRaises(PlanError) as caught:
            self.names("S17/rcvbuf-2M")
        self.assertIn("S17/rcvbuf-2M", caught.exception.what)
        self.assertIn("S17/rcvbuf-1M", caught.exception.next)

    def test_an_unknown_one_without_similar_ones_lists_all(self) -> None:
        with self.assertRaises(PlanError) as caught:
            self.names("bulk-transfer-over-sand")
        for name in ("S1", "S4", "S17"):
            self.assertIn(name, caught.exception.next)


class Policies(unittest.TestCase):
    KNOWN = ("default", "weighted", "smallest-delay")

    def test_commas_and_repetition_are_the_same(self) -> None:
        one = plan.policies(self.KNOWN, LISTED[:1], ["default,weighted"])
        two = plan.policies(self.KNOWN, LISTED[:1], ["default", "weighted", "default"])
        self.assertEqual(one, two)
        self.assertEqual(one, {"S1": ["default", "weighted"]})

    def test_alone_is_each_path_of_each_scenario(self) -> None:
        found = plan.policies(self.KNOWN, LISTED[:2], ["alone"])
        self.assertEqual(found, {"S1": ["alone:left", "alone:right"], "S4": ["alone:fast", "alone:slow"]})

    def test_one_path_alone_is_only_for_scenarios_that_have_it(self) -> None:
        found = plan.policies(self.KNOWN, LISTED[:2], ["default", "alone:fast"])
        self.assertEqual(found, {"S1": ["default"], "S4": ["default", "alone:fast"]})

    def test_a_path_that_no_scenario_has_is_an_error(self) -> None:
        with self.assertRaisesRegex(PlanError, "no.*path|path 'quick'"):
            plan.policies(self.KNOWN, LISTED, ["alone:quick"])

    def test_an_unknown_policy_is_an_error_with_a_proposal(self) -> None:
        with self.assertRaises(PlanError) as caught:
            plan.policies(self.KNOWN, LISTED, ["weigthed"])
        self.assertIn("weighted", caught.exception.next)

    def test_no_policy_is_an_error(self) -> None:
        with self.assertRaises(PlanError):
            plan.policies(self.KNOWN, LISTED, [","])


class Seeds(unittest.TestCase):
    def test_a_number_a_range_and_a_list(self) -> None:
        self.assertEqual(plan.seeds("3"), [1, 2, 3])
        self.assertEqual(plan.seeds("4-6"), [4, 5, 6])
        self.assertEqual(plan.seeds("7,1-2,7"), [7, 1, 2])

    def test_nonsense_is_an_error(self) -> None:
        for text in ("", "0", "x", "3-1", "-2", "1,", "4294967296-4294967297", "1-"):
            with self.subTest(text), self.assertRaises(PlanError):
                plan.seeds(text)


class Keys(unittest.TestCase):
    def test_every_combination_comes_once(self) -> None:
        keys = plan.keys(["6.1", "7.2"], LISTED[:2], {"S1": ["default"], "S4": ["default", "weighted"]}, [1, 2])
        self.assertEqual(len(keys), 2 * 3 * 2)
        self.assertEqual(len(set(keys)), len(keys))

    def test_no_two_keys_share_a_file(self) -> None:
        names = ("a:b", "a_b", "a/b", "A_b", "..", ".", "a b", "é", "a~b")
        keys = [Key("7.2", scenario, policy, 1) for scenario in names for policy in names]
        keys += [Key("7.2", "S4", "weighted", 1, ("x=1",)), Key("7.2", "S4", "weighted", 1, ("x=2",))]
        files = {key.file for key in keys}
        self.assertEqual(len(files), len(keys))
        for file in files:
            self.assertFalse({"..", ".", ""} & set(file.split("/")), file)

    def test_groups_hold_everything_and_begin_with_the_longest(self) -> None:
        keys = plan.keys(["7.2"], LISTED[:2], {"S1": ["default"], "S4": ["default"]}, [1, 2, 3])
        groups = plan.groups(keys, 2, {"S1": 12.0, "S4": 50.0})
        self.assertEqual(sorted(key for group in groups for key in group), sorted(keys))
        self.assertEqual([len(group) for group in groups], [2, 2, 2])
        self.assertEqual({key.scenario for key in groups[0]}, {"S4"})

    def test_a_group_has_one_kernel(self) -> None:
        keys = plan.keys(["6.1", "7.2"], LISTED[:1], {"S1": ["default"]}, [1, 2, 3])
        for group in plan.groups(keys, 4, {}):
            self.assertEqual(len({key.kernel for key in group}), 1)
