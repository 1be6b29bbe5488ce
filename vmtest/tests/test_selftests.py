# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The kernel's selftests: what their reports say, and when mpsched has made something worse."""

import contextlib
import io
import os
import tempfile
import unittest
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from mpsvm import catalog, here, kselftest, runner, selftests, status, store, verdict
from mpsvm.catalog import TestRule
from mpsvm.kselftest import Report
from mpsvm.status import VmError

OUTPUT = """01 balanced bwidth      7376 max 7906       [ OK ]
ok, this line is none

TAP version 13
1..4
ok 1 - simult_flows: balanced bwidth # time=7556ms
not ok 2 - simult_flows:   unbalanced  bwidth # time=24397ms
ok 3 - simult_flows: unbalanced bwidth # IGNORE Flaky time=1ms
ok 4 - mptcp_connect: nft # SKIP
"""


class Reports(unittest.TestCase):
    def test_subtests_are_read_with_their_verdicts(self) -> None:
        self.assertEqual(
            {
                "simult_flows: balanced bwidth": "ok",
                "simult_flows: unbalanced bwidth": "not ok",
                "simult_flows: unbalanced bwidth (2)": "skip",
                "mptcp_connect: nft": "skip",
            },
            kselftest.parse(OUTPUT),
        )

    def test_what_passed_and_does_not_any_more_is_worse(self) -> None:
        before = Report({"a": "ok", "b": "not ok", "c": "skip", "d": "ok"}, 1)
        self.assertEqual([], kselftest.worse(before, before))
        self.assertEqual([], kselftest.worse(before, Report({"a": "ok", "b": "ok", "c": "not ok", "d": "ok"}, 1)))
        self.assertEqual(["d: absent"], kselftest.worse(before, Report({"a": "ok", "b": "ok", "c": "ok"}, 1)))
        self.assertEqual(["a: not ok"], kselftest.worse(before, Report({"a": "not ok", "d": "ok"}, 1)))

    def test_a_script_that_fails_or_hangs_as_a_whole_is_worse(self) -> None:
        before = Report({"a": "ok"}, 0)
        self.assertEqual(["did not end", "a: absent"], kselftest.worse(before, Report({}, None)))
        self.assertEqual(1, len(kselftest.worse(before, Report({"a": "ok"}, 1))))

    def test_counters_are_summed_over_namespaces(self) -> None:
        self.assertEqual(7, selftests._counted(b'{"decided": 3, "single": 9}\n{\n "decided": 4\n}\n', "decided"))
        self.assertEqual(0, selftests._counted(b"mpsched: nothing is attached\n", "decided"))


class Runs(unittest.TestCase):
    """Whole runs, whose VMs answer at once."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.program = self.folder / "build" / "bin" / "mpsched"
        self.program.parent.mkdir(parents=True)
        self.program.write_text("one build")
        self.library = self.folder / "build" / "lib" / "libmpsched.so.1"
        self.library.parent.mkdir()
        self.library.write_text("one build")
        self.booted: list[str] = []
        self.broken = ""
        self.stats = b'{"decided": 5}'

    def run_selftests(self, *words: str, test: str = "mptcp_join") -> tuple[int, list[str]]:
        """Status and standard output."""

        def run(job: runner.Job, *_: Any, **__: Any) -> runner.Result:
            attached = "--policy" in job.words[0]
            self.booted.append("with" if attached else "without")
            verdict_of_a = "not ok" if attached and self.broken else "ok"
            files = {"output": f"ok 1 - a\n{verdict_of_a} 2 - b\n".encode(), "stats": self.stats}
            return runner.Result(verdict.Verdict(status.OK, 0), "", files, [("ended", "t", "0")], 1.0, 0.5)

        @contextlib.contextmanager
        def ready(*_: Any, **__: Any) -> Iterator[mock.Mock]:
            yield mock.Mock(tree=())

        out = io.StringIO()
        sources = self.folder / "selftests" / "7.2" / "tools" / "testing" / "selftests" / "net"
        with (
            mock.patch.dict(os.environ, {"MPS_VM_CACHE": str(self.folder / "cache")}),
            mock.patch.object(runner, "run", run),
            mock.patch.object(store, "ready", ready),
            mock.patch.object(kselftest, "fetch", return_value=sources),
            mock.patch.object(selftests, "tools", return_value=[]),
            mock.patch.object(selftests.guest, "base"),
            mock.patch.object(selftests.guest, "libraries", return_value=[self.library, Path("/lib/libc.so.6")]),
            mock.patch.object(selftests.guest, "built", return_value=[]),
            mock.patch.object(selftests.shutil, "which", return_value="/usr/bin/qemu"),
            contextlib.redirect_stdout(out),
        ):
            line = ["--build", str(self.folder / "build"), "--policy", "auto", "--mode", "tc", test, *words]
            return selftests.main(line), out.getvalue().splitlines()

    def test_what_was_run_with_the_same_files_is_not_run_again(self) -> None:
        code, first = self.run_selftests()
        self.assertEqual((0, "2 passed, 0 failed, 0 skipped"), (code, first[-1]))
        self.assertEqual(["with", "without"], sorted(self.booted))
        code, again = self.run_selftests()
        self.assertEqual((0, first[-1], 2), (code, again[-1], len(self.booted)))
        self.assertIn("kept from before", "\n".join(again))
        self.run_selftests("--fresh")
        self.assertEqual(4, len(self.booted))
        self.run_selftests("--seed", "2")
        self.assertEqual(6, len(self.booted))

    def test_a_run_in_which_mpsched_met_no_connection_says_nothing(self) -> None:
        for test, enough, nothing in (
            ("mptcp_join", b'{"decided": 5}', b'{"single": 5}'),
            ("mptcp_connect", b'{"single": 5}', b'{"seen": 5}'),
        ):
            self.stats = nothing
            self.assertEqual("2 passed, 1 failed, 0 skipped", self.run_selftests("--fresh", test=test)[1][-1])
            self.stats = enough
            self.assertEqual("2 passed, 0 failed, 0 skipped", self.run_selftests("--fresh", test=test)[1][-1])

    def test_on_this_machine_what_got_worse_is_run_once_more_and_fails_if_it_is_worse_again(self) -> None:
        for worse_runs, expected in ((1, "2 passed, 0 failed, 0 skipped"), (2, "1 passed, 1 failed, 0 skipped")):
            attached: list[list[str]] = []

            def run(_: Path, words: Sequence[str], attach: str, *___: Any) -> here.Outcome:
                attached.extend([[*words, attach]] if attach else [])
                bad = bool(attach) and len(attached) <= worse_runs
                first = b"" if words[1:] else b"ok 1 - mptcp_join: a\n"
                second = f"{'not ok' if bad else 'ok'} 2 - mptcp_join: b with (brackets)\n".encode()
                return here.Outcome(first + second, b"", self.stats, int(bad))

            with mock.patch.object(here, "run", run), mock.patch.object(here, "check"):
                self.assertEqual(expected, self.run_selftests("--here", "--jobs", "1", "--fresh")[1][-1])
                options = "--policy auto --mode tc"
                self.assertEqual([["mptcp_join", options], ["mptcp_join", "b with (brackets)", options]], attached)
                if worse_runs == 1:
                    # What passed then is kept.
                    self.assertEqual(expected, self.run_selftests("--here")[1][-1])
                    self.assertEqual(2, len(attached))
            self.assertEqual([], self.booted)

    def test_what_shows_nothing_without_netem_is_skipped_on_a_machine_that_has_none(self) -> None:
        def run(_: Path, words: Sequence[str], *___: Any) -> here.Outcome:
            return here.Outcome(f"ok 1 - {words[0]}: a\n".encode(), b"", self.stats, 0)

        for netem, expected in ((True, "1 passed, 0 failed, 0 skipped"), (False, "0 passed, 0 failed, 1 skipped")):
            with mock.patch.object(here, "run", run), mock.patch.object(here, "check"), mock.patch.object(here, "has_netem", lambda: netem):
                self.assertEqual(expected, self.run_selftests("--here", "--fresh", test="simult_flows")[1][-1])

    def test_what_is_excused_is_not_run_again(self) -> None:
        runs: list[str] = []

        def run(_: Path, __: Sequence[str], attach: str, *___: Any) -> here.Outcome:
            runs.append(attach)
            output = f"{'not ok' if attach else 'ok'} 1 - mptcp_join: a\n"
            return here.Outcome(output.encode(), b"", self.stats, int(bool(attach)))

        differences = self.folder / "differences.toml"
        differences.write_text('[[differs]]\ntest = "mptcp_join: a"\nreason = "known"\n')
        with mock.patch.object(here, "run", run), mock.patch.object(here, "check"):
            self.run_selftests("--here", "--jobs", "1", "--differences", str(differences))
        self.assertEqual(2, len(runs))

    def test_only_some_can_be_run_again(self) -> None:
        lines = ["mptcp_join: a b: not ok", "mptcp_join: c (2): absent"]
        self.assertEqual(["a b", "c"], kselftest.words_for("mptcp_join", lines))
        self.assertEqual([], kselftest.words_for("mptcp_join", ["did not end", *lines]))
        self.assertEqual([], kselftest.words_for("simult_flows", ["simult_flows: a: not ok"]))

    def test_another_build_is_run_and_compared_with_what_was_kept_without_mpsched(self) -> None:
        self.run_selftests()
        self.booted.clear()
        self.library.write_text("another build")
        self.broken = "yes"
        code, out = self.run_selftests()
        self.assertEqual(["with"], self.booted)
        self.assertEqual((1, "1 passed, 1 failed, 0 skipped"), (code, out[-1]))
        self.assertIn("  7.2: mptcp_join (auto, tc): b: not ok", out)


class Differences(unittest.TestCase):
    def test_the_listed_ones_can_be_read_and_name_real_kernels_and_tests(self) -> None:
        kernels = {kernel.name for kernel in catalog.load().kernels}
        for one in selftests.read_differences(selftests.DIFFERENCES):
            self.assertTrue(one.rule.reason)
            self.assertLessEqual(set(one.rule.kernels), kernels)
            self.assertIn(one.rule.test.partition(":")[0], selftests.TESTS)

    def test_one_is_for_its_policies_and_modes_only(self) -> None:
        one = selftests.Difference(TestRule("simult_flows: unbalanced*", "as told"), ("weighted",), ("tc",))
        name = "simult_flows: unbalanced bwidth"
        self.assertTrue(one.excuses("7.2", selftests.Setup("weighted", "tc"), name))
        self.assertFalse(one.excuses("7.2", selftests.Setup("auto", "tc"), name))
        self.assertFalse(one.excuses("7.2", selftests.Setup("weighted", "native"), name))
        self.assertFalse(one.excuses("7.2", selftests.Setup("weighted", "tc"), "simult_flows: balanced bwidth"))

    def test_one_for_a_check_excuses_nothing_where_another_failed_as_well(self) -> None:
        output = (
            "072 single address, backup\n      mp_prio rx client    [FAIL] got 1 MP_PRIO[s] RX expected 0\n"
            "073 single address\n      mp_prio rx client    [FAIL] got 2\n      join Rx    [FAIL] see above\n"
            "074 other  with port\n[FAIL] client exit code 2, server 2\n"
        )
        failed = kselftest.failed_checks("mptcp_join", output)
        self.assertEqual(
            {
                "mptcp_join: single address, backup": ["mp_prio rx client"],
                "mptcp_join: single address": ["mp_prio rx client", "join Rx"],
                "mptcp_join: other": [""],
            },
            failed,
        )
        one = selftests.Difference(TestRule("mptcp_join: *", "it counts ours"), check="mp_prio rx *")
        excused = [name for name, checks in failed.items() if one.excuses("7.2", selftests.Setup("auto", "tc"), name, checks)]
        self.assertEqual(["mptcp_join: single address, backup"], excused)
        self.assertFalse(one.excuses("7.2", selftests.Setup("auto", "tc"), "mptcp_join: single address", ()))

    def test_one_without_a_reason_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "selftests.toml"
            file.write_text('[[differs]]\ntest = "x"\n')
            with self.assertRaises(VmError):
                selftests.read_differences(file)
