# SPDX-License-Identifier: MIT
# Copyright mpsched contributors

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from mpslab import cli, execute, keep, origin
from mpslab.keep import Outcome
from mpslab.plan import Key
from mpsvm import guest, runner
from mpsvm import cli as vm_cli
from tests import fake
from tests.test_execute import came, keys_of

LIST = [
    {"name": "S4", "id": "S4", "variant": None, "title": "Requests", "paths": ["fast", "slow"]},
    {"name": "S17/one", "id": "S17", "variant": "one", "title": "Buffers", "paths": ["fast", "slow"]},
]
POLICIES = [{"name": "default", "params": {}}, {"name": "weighted", "params": {"lead_bytes": 16384}}]

# A policy's object is what `policy show` says of it; a source is compiled by copying it.
MPSCHED = f"""case "$*" in
"policy list --json") cat <<'E'
{json.dumps(POLICIES)}
E
;;
"policy show "*) cat "$3" ;;
"policy build "*) if grep -q mistake "$3"; then echo "x.c:1: error: a mistake" >&2; exit 1; fi; cp "$3" "$5" ;;
esac"""


class Fixture(unittest.TestCase):
    """The command line with a build folder of scripts, and without VMs."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "build" / "bin").mkdir(parents=True)
        self.program("mpsched-lab", f"cat <<'E'\n{json.dumps(LIST)}\nE")
        self.program("mpsched", MPSCHED)
        (self.folder / "kernels.toml").write_text('[[kernel]]\nname = "7.2"\nimage = "/vmlinux"\n')
        self.boots: list[Key] = []
        self.checks: list[runner.Job] = []
        self.refused = ""  # what the verifier says of policies of files
        self.vms = 0
        self.broken: set[str] = set()

    def program(self, name: str, script: str) -> None:
        path = self.folder / "build" / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def policy(self, file: str, name: str, sha256: str = "abcdef0123456789", **params: int) -> str:
        """A file with a policy in it; returns its path."""
        path = self.folder / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps([{"name": name, "sha256": sha256, "params": params, "builtin": False}]))
        return str(path)

    def boot(self, _executor: execute.Executor, job: runner.Job, stop: threading.Event) -> runner.Result:
        keys = keys_of(job)
        if not keys:
            return self.checked(job)
        self.boots += keys
        self.vms += 1
        if keys[0].policy in self.broken:
            return came(keys, told=[1], out=[fake.failed("it broke", "mend it")])
        return came(keys)

    def checked(self, job: runner.Job) -> runner.Result:
        """A VM that only loads policies."""
        self.checks.append(job)
        result = came([])
        for number in range(job.words[0].count("mpsched use ")):
            result.notes.append(("checked", str(number), "1" if self.refused else "0"))
            result.files[str(number)] = self.refused.encode()
        return result

    def lab(self, *words: str) -> tuple[int, str, str]:
        return self.lab_words(*words, "--build", str(self.folder / "build"), "--kernels", str(self.folder / "kernels.toml"))

    def lab_words(self, *line: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
            mock.patch.object(execute.Executor, "_boot", self.boot_method()), mock.patch.object(guest, "base"),
        ):  # fmt: skip
            try:
                code = cli.main(list(line))
            except SystemExit as left:
                code = int(left.code or 0)
        return code, out.getvalue(), err.getvalue()

    def boot_method(self):  # type: ignore[no-untyped-def]
        test = self

        def boot(executor: execute.Executor, job: runner.Job, stop: threading.Event) -> runner.Result:
            return test.boot(executor, job, stop)

        return boot


class Command(Fixture):
    def test_list_shows_scenarios_policies_and_kernels(self) -> None:
        code, out, _ = self.lab("--list")
        self.assertEqual(code, 0)
        for word in ("S17/one", "Requests", "weighted", "alone:PATH", "7.2"):
            self.assertIn(word, out)

    def test_what_is_unknown_is_a_usage_error_that_names_what_there_is(self) -> None:
        for words, what, known in (
            (["S5"], "no scenario 'S5'", "S4"),
            (["S4", "--policy", "wieghted"], "no policy 'wieghted'", "weighted"),
            (["S4", "--kernel", "2.4"], "no kernel '2.4'", "7.2"),
            (["S4", "--policy", "alone:warp"], "path 'warp'", "fast slow"),
            (["S4", "--seeds", "many"], "--seeds many", "range"),
            ([], "No scenario", "--list"),
            (["S4", "-s", "x"], "KEY=VALUE", ""),
            (["S4", "--jobs", "0"], "positive", ""),
        ):
            with self.subTest(words):
                code, out, err = self.lab(*words)
                self.assertEqual(code, 2)
                self.assertIn(what, err)
                self.assertIn(known, err)
                self.assertEqual(self.boots, [])

    def test_without_a_build_the_next_step_is_told(self) -> None:
        (self.folder / "build" / "bin" / "mpsched-lab").unlink()
        code, _, err = self.lab("S4")
        self.assertEqual(code, 2)
        self.assertIn("./run build", err)

    def test_an_older_build_is_told(self) -> None:
        self.program("mpsched-lab", "echo 'no such command: list' >&2; exit 2")
        code, _, err = self.lab("S4")
        self.assertEqual(code, 2)
        self.assertIn("no such command", err)

    def test_a_run_leaves_table_json_and_report(self) -> None:
        out = self.folder / "out"
        code, shown, err = self.lab("S4", "--policy", "default,weighted", "--seeds", "2", "--out", str(out))
        self.assertEqual(code, 0, err)
        self.assertEqual(len(self.boots), 4)
        self.assertIn("weighted", shown)
        self.assertIn("4 ok, 0 failed", shown)
        self.assertRegex(shown, r"\n16 s of network time in \d+ s of wall time \([\d.]+ times as fast\)\n")
        self.assertIn("4/4", err)
        document = json.loads((out / "results.json").read_text())
        self.assertEqual(len(document["runs"]), 4)
        self.assertEqual([one["policy"] for one in document["summary"]], ["default", "weighted"])
        self.assertIn("<!DOCTYPE html>", (out / "report.html").read_text())
        self.assertEqual([path.name for path in out.rglob(".*")], [])

    def test_results_tell_the_commit_of_what_was_just_built(self) -> None:
        words = ["S4", "--policy", "default", "--seeds", "1"]
        here = origin.of(guest.REPOSITORY)
        for folder, told, commit in (("a", "", None), ("b", str(self.folder / "build"), here.commit or None)):
            with mock.patch.dict(os.environ, {origin.BUILT: told}):
                self.lab(*words, "--out", str(self.folder / folder))
            document = json.loads((self.folder / folder / "results.json").read_text())
            self.assertEqual([one["commit"] for one in document["measured"]], [commit])
            self.assertEqual(document["runs"][0]["commit"], commit)

    def test_what_is_there_is_not_run_again(self) -> None:
        words = ["S4", "--policy", "default", "--out", str(self.folder / "out")]
        self.lab(*words, "--seeds", "2")
        self.boots.clear()
        code, shown, err = self.lab(*words, "--seeds", "3")
        self.assertEqual((code, [one.seed for one in self.boots]), (0, [3]))
        self.assertIn("3 ok", shown)
        self.assertIn("2 of them already", err)
        self.lab(*words, "--seeds", "3", "--again")
        self.assertEqual(len(self.boots), 4)

    def test_results_of_another_build_are_told(self) -> None:
        words = ["S4", "--policy", "default", "--seeds", "1", "--out", str(self.folder / "out")]
        self.lab(*words)
        self.program("mpsched", f"# newer\n{MPSCHED}")
        _, _, err = self.lab(*words)
        self.assertIn("another build", err)

    def test_a_failed_run_is_reported_and_run_again_the_next_time(self) -> None:
        self.broken = {"weighted"}
        words = ["S4", "--policy", "default,weighted", "--seeds", "1", "--out", str(self.folder / "out")]
        code, shown, err = self.lab(*words)
        self.assertEqual(code, 1)
        self.assertIn("1 ok, 1 failed", shown)
        self.assertIn("it broke\n    mend it", shown)
        self.assertIn("FAILED: it broke", err)
        self.broken, self.boots = set(), []
        self.assertEqual(self.lab(*words)[0], 0)
        self.assertEqual([one.policy for one in self.boots], ["weighted"])

    def test_damaged_results_are_run_again(self) -> None:
        out = self.folder / "out"
        words = ["S4", "--policy", "default", "--seeds", "1", "--out", str(out)]
        self.lab(*words)
        (file,) = (out / "runs").rglob("*.json")
        for damage in (b"", b"{}", b"[1]", b"\xff", file.read_bytes()[:-40]):
            file.write_bytes(damage)
            self.boots.clear()
            self.assertEqual(self.lab(*words)[0], 0)
            self.assertEqual(len(self.boots), 1)

    def test_an_interrupt_reports_what_there_is_and_how_to_go_on(self) -> None:
        test_boot = self.boot

        def boot(_e: object, job: runner.Job, stop: threading.Event) -> runner.Result:
            if keys_of(job)[0].seed == 1:
                return came(keys_of(job))
            stop.wait(10)
            raise runner.Stopped

        self.boot = boot  # type: ignore[method-assign]
        out = self.folder / "out"
        calls = []

        def tick(display: object) -> None:
            calls.append(1)
            if len(list((out / "runs").rglob("*.json"))) == 1:
                raise vm_cli.Interrupted(130)

        with mock.patch("mpslab.progress.Display.tick", tick):
            words = ["S4", "--policy", "default", "--seeds", "4", "--jobs", "2", "--out", str(out)]
            code, shown, err = self.lab(*words, "--again")
        self.assertEqual(code, 130)
        self.assertIn("1 ok, 0 failed, 3 not run", shown)
        self.assertIn(f"To go on: ./run lab {' '.join(words)} --build", err)
        self.assertIn("3 not run", (out / "report.html").read_text())
        # What was there is reported, and the command that was told goes on.
        self.boot = test_boot  # type: ignore[method-assign]
        self.assertEqual((self.lab(*words)[0], sorted(one.seed for one in self.boots)), (0, [2, 3, 4]))

    def test_a_folder_that_cannot_be_made_is_told(self) -> None:
        (self.folder / "file").write_text("")
        code, _, err = self.lab("S4", "--out", str(self.folder / "file" / "out"))
        self.assertEqual(code, 2)
        self.assertIn("Not a directory", err)


class Kept(unittest.TestCase):
    def test_an_outcome_comes_back_as_it_was(self) -> None:
        one = Outcome(Key("7.2", "S4", "weighted", 3, ("x=1",)), {"a": 1}, "broke", "mend", "words", "7.2.1", 3.25, 1.5, "abc")
        other = Outcome.from_json(json.loads(json.dumps(one.to_json())))
        other.reused = False
        self.assertEqual(one, other)

    def test_a_file_under_a_wrong_name_is_not_believed(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            one, other = Key("7.2", "S4", "default", 1), Key("7.2", "S4", "default", 2)
            keep.save(folder, Outcome(one, fake.document()))
            (folder / keep.RUNS / one.file).rename(folder / keep.RUNS / other.file)
            self.assertEqual(keep.load(folder, [one, other]), {})
