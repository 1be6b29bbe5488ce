# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""./run lab report."""

from __future__ import annotations

import json
import unittest
from pathlib import Path
from typing import Any

from mpslab import combine, keep
from mpslab.keep import Outcome
from mpslab.plan import Key
from tests import fake, test_cli


def outcome(policy: str = "weighted", seed: int = 1, *, time_ms: float = 10.0, **more: Any) -> Outcome:
    params, digest = more.pop("params", ()), more.pop("object", "")
    key = Key("7.2", "S4", policy, seed, params, digest)
    document = fake.document("S4", policy, seed, metrics={"completion_ms": time_ms})
    return Outcome(key, document, **({"commit": "a" * 40, "dirty": False, "build": "b1"} | more))


class Distinct(unittest.TestCase):
    def names(self, *outcomes: Outcome) -> list[str]:
        return [one.key.policy for one in combine.distinct(outcomes)]

    def test_the_same_run_in_two_places_counts_once(self) -> None:
        self.assertEqual(self.names(outcome(), outcome(), outcome(seed=2)), ["weighted", "weighted"])

    def test_a_failed_run_gives_way_to_one_that_went_well(self) -> None:
        (one,) = combine.distinct([outcome(what="it hung"), outcome()])
        self.assertTrue(one.ok)

    def test_one_name_for_two_things_becomes_two(self) -> None:
        self.assertEqual(self.names(outcome(params=("lead_bytes=5",)), outcome()), ["weighted [lead_bytes=5]", "weighted [no -s]"])
        self.assertEqual(self.names(outcome(object="11"), outcome(object="22")), ["weighted [object 11]", "weighted [object 22]"])
        self.assertEqual(
            self.names(outcome(), outcome(commit="c" * 40, dirty=True, build="b2")),
            ["weighted [aaaaaaaaa]", "weighted [ccccccccc+changes]"],
        )
        self.assertEqual(self.names(outcome(), outcome(build="b2")), ["weighted [build b1]", "weighted [build b2]"])
        # A commit to the docs makes no other programs.
        self.assertEqual(self.names(outcome(), outcome(seed=2, commit="c" * 40, dirty=True)), ["weighted", "weighted"])

    def test_the_kernel_alone_is_the_same_whoever_measured_it(self) -> None:
        self.assertEqual(self.names(outcome("default"), outcome("default", 2, build="b2")), ["default", "default"])


class Command(test_cli.Fixture):
    def report(self, *words: str) -> tuple[int, str, str]:
        return self.lab_words("report", *words, "-o", str(self.folder / "all"))

    def everything(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "all" / "results.json").read_text()))

    def folder_of(self, name: str, *outcomes: Outcome) -> str:
        for one in outcomes:
            keep.save(self.folder / name, one)
        return str(self.folder / name)

    def test_folders_become_one_report(self) -> None:
        one = self.folder_of("a", outcome("default", time_ms=20.0))
        two = self.folder_of("b", outcome("weighted"), outcome("weighted", 2))
        code, shown, err = self.report(one, two)
        self.assertEqual(code, 0, err)
        self.assertRegex(shown, r"\n  weighted +2 .* 0\.50 ")
        self.assertEqual([one["policy"] for one in self.everything()["summary"]], ["default", "weighted"])
        self.assertIn("<!DOCTYPE html>", (self.folder / "all" / "report.html").read_text())
        self.assertEqual(self.boots, [])

    def test_a_report_can_be_put_into_another_one(self) -> None:
        self.report(self.folder_of("a", outcome("default"), outcome(what="it broke", seed=3)))
        self.assertEqual(len(self.everything()["runs"]), 2)
        more = self.folder_of("b", outcome("weighted"))
        code, _, err = self.report(str(self.folder / "all" / "results.json"), more)
        self.assertEqual((code, len(self.everything()["runs"])), (0, 3), err)

    def test_what_the_program_printed_is_a_result(self) -> None:
        file = self.folder / "printed.json"
        document = fake.document("S4", "mine", 3, metrics={"completion_ms": 1.0})
        document["policy"] |= {"kind": "mpsched", "params": {"x": "1"}, "sha256": "ab" * 32, "file": "./mine.bpf.o"}
        file.write_text(json.dumps(document) + "\n" + json.dumps(fake.document("S1")) + "\n")
        code, _, err = self.report(str(file))
        self.assertEqual(code, 0, err)
        keys = [Key(**(run["key"] | {"params": tuple(run["key"]["params"])})) for run in self.everything()["runs"]]
        self.assertEqual(keys, [Key("7.2", "S1", "default", 1), Key("7.2", "S4", "mine", 3, ("x=1",), "abababababab")])

    def test_what_holds_no_result_is_told(self) -> None:
        (self.folder / "text").write_text("hello")
        (self.folder / "number").write_text("5")
        (self.folder / "object").write_text('{"a": 1}')
        (self.folder / "empty").mkdir()
        for name in ("text", "number", "object", "empty", "nowhere"):
            code, _, err = self.report(str(self.folder / name))
            self.assertEqual(code, 2, name)
            self.assertIn(str(Path(self.folder / name)), err)
