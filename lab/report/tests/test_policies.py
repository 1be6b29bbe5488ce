# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Policies of one's own, and which policy gets which parameter."""

from __future__ import annotations

import json
import unittest
from typing import Any

from mpslab import programs
from mpslab.plan import PlanError
from mpslab.programs import Policy
from tests import test_cli
from tests.test_execute import came, keys_of


class Files(test_cli.Fixture):
    def setUp(self) -> None:
        super().setUp()
        self.results = self.folder / "out"
        self.loaded = "abcdef0123456789"  # the digest that runs bring home

    def boot(self, _executor, job, stop):  # type: ignore[no-untyped-def]
        keys = keys_of(job)
        if not keys:
            return self.checked(job)
        self.boots += keys
        result = came(keys)
        for name, data in list(result.files.items()):
            document = json.loads(data)
            if document["policy"]["name"] == "mine":
                document["policy"] |= {"sha256": self.loaded, "params": {"max_cost": "7"}}
            result.files[name] = json.dumps(document).encode()
        return result

    def runs(self) -> list[dict[str, Any]]:
        return list(json.loads((self.results / "results.json").read_text())["runs"])

    def test_an_object_is_measured_beside_others_under_its_own_name(self) -> None:
        file = self.policy("elsewhere/x.bpf.o", "mine", max_cost=100, other=1)
        code, shown, err = self.lab("S4", "--policy", f"default,{file}", "--seeds", "1", "--out", str(self.results))
        self.assertEqual(code, 0, err)
        self.assertEqual({one.policy for one in self.boots}, {"default", "mine"})
        self.assertRegex(shown, r"\n  mine +1 ")
        (mine,) = [one for one in self.runs() if one["key"]["policy"] == "mine"]
        self.assertEqual(mine["policy"], {"file": file, "sha256": self.loaded, "params": {"max_cost": "7", "other": "1"}})
        self.assertEqual(len(list((self.results / "policies").glob("mine-*.bpf.o"))), 1)

    def test_a_source_is_compiled(self) -> None:
        file = self.policy("x.bpf.c", "mine")
        code, _, err = self.lab("S4", "--policy", file, "--seeds", "1", "--out", str(self.results))
        self.assertEqual((code, [one.policy for one in self.boots]), (0, ["mine"]), err)

    def test_a_source_with_a_mistake_is_told_in_the_compilers_words(self) -> None:
        (self.folder / "x.bpf.c").write_text("mistake")
        code, _, err = self.lab("S4", "--policy", str(self.folder / "x.bpf.c"))
        self.assertEqual(code, 1)
        self.assertIn("x.c:1: error: a mistake", err)

    def test_two_files_with_one_name_are_refused_and_the_same_file_twice_is_not(self) -> None:
        one, two = self.policy("a/x.bpf.c", "mine", "11"), self.policy("b/x.bpf.c", "mine", "22")
        code, _, err = self.lab("S4", "--policy", f"{one},{two}")
        self.assertEqual((code, self.boots), (2, []))
        self.assertIn(f"{one} and {two} both call themselves 'mine'", err)
        self.loaded = "11"
        code, _, err = self.lab("S4", "--policy", f"{one},{one}", "--seeds", "1", "--out", str(self.results))
        self.assertEqual((code, len(self.boots)), (0, 1), err)

    def test_a_file_that_calls_itself_like_a_built_in_policy_is_refused(self) -> None:
        code, _, err = self.lab("S4", "--policy", self.policy("x.bpf.o", "weighted"))
        self.assertEqual(code, 2)
        self.assertIn("calls itself 'weighted'", err)

    def test_what_is_no_policy_is_told(self) -> None:
        file = self.folder / "x.o"
        file.write_text('{"error": {"what": "x.o is no BPF object", "hint": "make one"}}')
        code, _, err = self.lab("S4", "--policy", str(file))
        self.assertEqual(code, 1)
        self.assertIn("no BPF object", err)
        code, _, err = self.lab("S4", "--policy", "./nowhere.bpf.o")
        self.assertEqual(code, 2)
        self.assertIn("no such file", err)

    def test_a_policy_that_does_not_load_fails_before_anything_runs(self) -> None:
        self.refused = "the kernel's verifier refused it: R1 unbounded memory access"
        file = self.policy("x.bpf.o", "mine")
        code, _, err = self.lab("S4", "--policy", f"default,{file}", "--seeds", "9", "--out", str(self.results))
        self.assertEqual((code, self.boots, len(self.checks)), (1, [], 1))
        self.assertIn("'mine' does not load on kernel 7.2", err)
        self.assertIn("R1 unbounded memory access", err)

    def test_a_new_version_of_a_file_is_run_again(self) -> None:
        words = ["S4", "--seeds", "1", "--out", str(self.results), "--policy"]
        self.lab(*words, self.policy("x.bpf.o", "mine"))
        self.lab(*words, self.policy("x.bpf.o", "mine"))
        self.assertEqual((len(self.boots), len(self.checks)), (1, 1))
        self.loaded = "fedcba9876543210"
        code, _, err = self.lab(*words, self.policy("x.bpf.o", "mine", self.loaded))
        self.assertEqual((code, len(self.boots)), (0, 2), err)

    def test_a_result_of_another_object_is_a_failure(self) -> None:
        file = self.policy("x.bpf.o", "mine", "1111")
        code, shown, _ = self.lab("S4", "--policy", file, "--seeds", "1", "--out", str(self.results))
        self.assertEqual(code, 1)
        self.assertIn("another object of mine", shown)


class Parameters(unittest.TestCase):
    KNOWN = {
        "default": Policy("default", {}),
        "weighted": Policy("weighted", {"lead_bytes": 1}),
        "auto": Policy("auto", {"margin_pct": 1}),
    }
    ALL = ("default", "alone:fast", "weighted", "auto")

    def test_a_parameter_goes_to_the_policies_that_have_it(self) -> None:
        found = programs.params(["lead_bytes=5", "dwell_us=0"], self.ALL, self.KNOWN)
        self.assertEqual(found, {"weighted": ["lead_bytes=5", "dwell_us=0"], "auto": ["dwell_us=0"]})

    def test_one_that_no_chosen_policy_has_is_an_error_that_names_those_there_are(self) -> None:
        with self.assertRaises(PlanError) as caught:
            programs.params(["lead_bytes=5"], ["default", "auto"], self.KNOWN)
        self.assertIn("auto: margin_pct", caught.exception.next)
        with self.assertRaises(PlanError):
            programs.params(["dwell_us=5"], ["default", "alone:fast"], self.KNOWN)

    def test_a_name_is_no_file(self) -> None:
        self.assertEqual([programs.is_file(word) for word in ("auto", "alone:fast", "x.o", "./x", "x.bpf.c")],
                         [False, False, True, True, True])  # fmt: skip
