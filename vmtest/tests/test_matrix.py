# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""run-matrix without VMs: what it would run, and how it judges what came back."""

import contextlib
import io
import json
import os
import re
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from mpsvm import matrix, runner, status, verdict
from mpsvm.status import VmError

CATALOG = """
[[kernel]]
name = "6.1"
image = "/nowhere"
expect = ["mptcp"]
[[kernel]]
name = "7.2"
image = "/nowhere"
expect = ["mptcp"]
[[skip]]
test = "needs a moon"
reason = "there is none"
[[exclude]]
test = "slow_test"
reason = "too slow for 6.1"
kernels = ["6.1"]
[[exclude]]
test = "a case that *"
reason = "no such thing in a VM"
[smoke]
kernels = ["7.2"]
tests = ["quick_test"]
"""
CASES = ["works", "needs a moon", "a case that hangs"]
BINARY = "#!/bin/sh\nprintf '%s\\n' " + " ".join(f"'{case}'" for case in CASES) + "\n"


def document(**changes: Any) -> bytes:
    values = {"complete": True, "passed": ["works"], "failed": [], "skipped": [], "running": ""}
    return json.dumps(values | changes).encode()


def usual(binary: str, script: str) -> bytes:
    """What a binary writes that is asked to run these cases and does: one of them skips."""
    line = next(line for line in script.splitlines() if f"tests/{binary}" in line and "MPS_TEST_RESULT" in line)
    cases = [case for case in CASES if case in line] or CASES
    skipped = [{"name": case, "reason": "no moon"} for case in cases if case == "needs a moon"]
    return document(passed=[case for case in cases if case != "needs a moon"], skipped=skipped)


PROBE = json.dumps({"features": [{"name": "mptcp", "answer": "available", "detail": ""}]}).encode()


def green(job: runner.Job) -> runner.Result:
    """What a VM gives in which everything passes."""
    names = [word for word in ("quick_test", "slow_test") if f"== {word}" in job.words[0]]
    files = {f"{name}.json": usual(name, job.words[0]) for name in names}
    if "probe --json" in job.words[0]:
        files[matrix.PROBE_FILE] = PROBE
    notes = [("ended", name, "0") for name in names] + [("up", "12.5", "2.5")]
    return runner.Result(verdict.Verdict(status.OK, 0), "", files, notes, 1.0, 0.5)


class Matrix(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        tests = self.folder / "build" / "bin" / "tests"
        tests.mkdir(parents=True)
        for name in ("quick_test", "slow_test", "unit_test"):
            (tests / name).write_text(BINARY)
            (tests / name).chmod(0o755)
        (tests / "manifest.txt").write_text("unit unit_test 9\nbpf quick_test 10\ne2e slow_test 20\n")
        (self.folder / "kernels.toml").write_text(CATALOG)
        self.jobs: list[runner.Job] = []

    def run_matrix(self, *words: str, vm: Callable[[runner.Job], runner.Result] = green) -> tuple[int, str]:
        """Status and standard output of run-matrix whose VMs answer as `vm` says."""

        def run(job: runner.Job, *_: Any, **__: Any) -> runner.Result:
            self.jobs.append(job)
            return vm(job)

        out = io.StringIO()
        line = ["--build", str(self.folder / "build"), "--kernels-file", str(self.folder / "kernels.toml"), *words]
        with (
            mock.patch.object(runner, "run", run),
            mock.patch.object(matrix.guest, "base"),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            return matrix.main(line), out.getvalue()

    def test_green(self) -> None:
        code, out = self.run_matrix()
        self.assertEqual(0, code, out)
        # 6.1: quick, probe. 7.2: quick, slow, quick again in real time, probe. Excluded: slow on 6.1, and a case
        # of quick on both and of slow on 7.2. Another one skips itself wherever it is run.
        self.assertEqual("6 passed, 0 failed, 8 skipped", out.splitlines()[-1])
        self.assertRegex(out, r"6\.1 +1 of 1 +2 +0 +3 +1 +10 ")
        self.assertIn("6.1: slow_test: too slow for 6.1", out)
        self.assertIn("7.2: slow_test: a case that hangs: no such thing in a VM", out)

    def test_what_is_run(self) -> None:
        self.run_matrix("--jobs", "1")
        self.assertEqual(
            ["7.2 slow", "6.1 quick", "7.2 quick", "7.2 quick"],
            [f"{job.kernel.name} {'slow' if 'slow_test' in job.words[0] else 'quick'}" for job in self.jobs],
        )
        self.assertEqual([(True, 1), (True, 1), (True, 1), (False, 2)], [(j.virtual_time, j.smp) for j in self.jobs])
        self.assertIn("""'"works","needs a moon"'""", self.jobs[0].words[0])
        self.assertFalse(any("unit_test" in job.words[0] for job in self.jobs))

    def test_real_time_alone_and_all_but_it_are_the_whole(self) -> None:
        def sums(*words: str) -> list[int]:
            return [int(word) for word in re.findall(r"\d+", self.run_matrix(*words)[1].splitlines()[-1])]

        whole = sums()
        self.jobs.clear()
        alone = sums("--smoke")
        self.assertEqual([False], [job.virtual_time for job in self.jobs])
        self.assertEqual(whole, [a + b for a, b in zip(alone, sums("--no-smoke"), strict=True)])
        with self.assertRaises(SystemExit):
            self.run_matrix("--smoke", "--no-smoke")

    def test_one_kernel_and_a_filter_for_binaries_or_cases(self) -> None:
        self.assertEqual(0, self.run_matrix("7.2", "--filter", "slow")[0])
        self.assertEqual(["7.2"], [job.kernel.name for job in self.jobs])
        self.jobs.clear()
        self.run_matrix("7.2", "--filter", "moon")
        self.assertEqual(2, len(self.jobs))
        for job in self.jobs:
            self.assertRegex(job.words[0], """(quick|slow)_test '"needs a moon"'""")
        self.assertEqual(1, self.run_matrix("--filter", "nonsense")[0])

    def core(self, *patterns: str) -> None:
        """Makes these the core."""
        (self.folder / "kernels.toml").write_text(f"core = {json.dumps(patterns)}\n" + CATALOG)

    def test_only_the_core_is_run_unless_asked(self) -> None:
        self.core("slow_test", "needs *")
        code, out = self.run_matrix("7.2", "--no-smoke")
        self.assertEqual(0, code, out)
        self.assertIn("--all runs 1 test cases more", out)
        self.assertEqual(2, len(self.jobs))
        (quick,) = [job.words[0] for job in self.jobs if "quick_test" in job.words[0]]
        self.assertIn("""quick_test '"needs a moon"'""", quick)
        (slow,) = [job.words[0] for job in self.jobs if "slow_test" in job.words[0]]
        self.assertIn("""slow_test '"works","needs a moon"'""", slow)
        self.jobs.clear()
        out = self.run_matrix("7.2", "--no-smoke", "--all")[1]
        self.assertNotIn("--all", out)
        self.assertTrue(any("""quick_test '"works","needs a moon"'""" in job.words[0] for job in self.jobs))

    def test_a_kernel_may_have_a_core_of_its_own(self) -> None:
        self.core("works")
        catalog = self.folder / "kernels.toml"
        catalog.write_text(catalog.read_text().replace('name = "7.2"', 'name = "7.2"\ncore = ["needs *"]'))
        self.run_matrix("--no-smoke")
        quick = {job.kernel.name: job.words[0] for job in self.jobs if "quick_test" in job.words[0]}
        self.assertIn("""quick_test '"works"'""", quick["6.1"])
        self.assertIn("""quick_test '"works","needs a moon"'""", quick["7.2"])
        self.assertIn("MPS_TEST_FEW_RIGS", quick["7.2"])
        self.jobs.clear()
        self.run_matrix("--no-smoke", "--all")
        self.assertNotIn("MPS_TEST_FEW_RIGS", self.jobs[0].words[0])

    def test_a_pattern_of_the_core_that_matches_nothing_fails(self) -> None:
        self.core("slow_test", "works", "works no more")
        code, out = self.run_matrix()
        self.assertEqual(1, code)
        self.assertIn("'works no more' in core matches no test", out)

    def test_a_case_that_was_asked_for_and_not_run(self) -> None:
        self.core("works", "needs *")
        self.check_failure(self.changed(quick_test=document(passed=["works"])), "quick_test: needs a moon: was not run")

    def test_names_with_commas_quotes_and_backslashes(self) -> None:
        self.assertEqual(r'''"a\, b","c\"d\\e"''', matrix.spec(["a, b", 'c"d\\e']))

    def changed(self, **files: bytes | None) -> Callable[[runner.Job], runner.Result]:
        """VMs as `green`, but with these result files."""

        def vm(job: runner.Job) -> runner.Result:
            result = green(job)
            for name, data in files.items():
                if data is None:
                    result.files.pop(f"{name}.json", None)
                elif f"{name}.json" in result.files:
                    result.files[f"{name}.json"] = data
            return result

        return vm

    def check_failure(self, vm: Callable[[runner.Job], runner.Result], complaint: str) -> None:
        code, out = self.run_matrix("7.2", "--no-smoke", vm=vm)
        self.assertEqual(1, code, out)
        self.assertIn(complaint, out)
        self.assertNotIn(" 0 failed", out.splitlines()[-1])

    def test_a_failed_case(self) -> None:
        self.check_failure(self.changed(slow_test=document(failed=["x"])), "7.2: slow_test: x")

    def test_a_binary_that_reported_nothing(self) -> None:
        self.check_failure(self.changed(quick_test=None), "7.2: quick_test: wrote no result file")

    def test_a_capability_that_is_not_found(self) -> None:
        self.check_failure(self.changed(probe=b'{"features": []}'), "capability mptcp is unheard of")
        self.check_failure(self.changed(probe=None), "gave no usable answer")

    def test_a_kernel_warning_fails_though_all_cases_passed(self) -> None:
        def vm(job: runner.Job) -> runner.Result:
            result = green(job)
            result.verdict = verdict.Verdict(status.SPLAT, 0, ["kernel warning: WARNING: at net/x.c"])
            return result

        self.check_failure(vm, "vmtest status 122: kernel warning: WARNING: at net/x.c")

    def test_a_panic_loses_only_what_had_not_ended(self) -> None:
        def vm(job: runner.Job) -> runner.Result:
            result = green(job)
            if "quick_test" in job.words[0]:
                result.files = {matrix.PROBE_FILE: PROBE}
                result.notes = []
                result.verdict = verdict.Verdict(status.GUEST_DIED, None, ["the guest panicked"])
            return result

        code, out = self.run_matrix("7.2", "--no-smoke", vm=vm)
        self.assertEqual(1, code)
        self.assertIn("7.2: quick_test: wrote no result file (the VM ended first)", out)
        self.assertIn("vmtest status 125: the guest panicked", out)
        self.assertEqual("2 passed, 2 failed, 3 skipped", out.splitlines()[-1])

    def test_a_vm_that_could_not_run_is_a_failure(self) -> None:
        def vm(job: runner.Job) -> runner.Result:
            raise VmError("QEMU is missing.")

        self.check_failure(vm, "7.2: e2e: QEMU is missing.")
        self.check_failure(vm, "7.2: no test case passed")

    def test_a_kernel_that_cannot_be_fetched_fails_and_the_others_run(self) -> None:
        catalog = CATALOG.replace('image = "/nowhere"', 'suite = "x"\npackages = ["linux"]', 1)
        (self.folder / "kernels.toml").write_text(catalog)
        trouble = VmError("apt-get update failed for the suite x: no network", "Is the archive reachable?")
        with mock.patch.object(matrix.store, "ready", side_effect=trouble):
            code, out = self.run_matrix()
            self.assertEqual(1, code)
            self.assertIn("6.1: no kernel, so nothing ran: apt-get update failed for the suite x: no network", out)
            self.assertEqual({"7.2"}, {job.kernel.name for job in self.jobs})
            code, out = self.run_matrix("6.1")
            self.assertEqual((status.CANNOT_RUN, "0 passed, 1 failed, 0 skipped"), (code, out.splitlines()[-1]))

    def test_without_fetching_a_kernel_that_is_not_there_fails_at_once(self) -> None:
        catalog = CATALOG.replace('image = "/nowhere"', 'suite = "x"\npackages = ["linux"]', 1)
        (self.folder / "kernels.toml").write_text(catalog)
        with mock.patch.dict(os.environ, {"MPS_VM_CACHE": str(self.folder / "cache")}):
            code, out = self.run_matrix("--no-fetch")
        self.assertEqual(1, code)
        self.assertIn("6.1: no kernel, so nothing ran: Kernel 6.1 is not in the cache (absent)", out)
        self.assertEqual({"7.2"}, {job.kernel.name for job in self.jobs})

    def test_an_exclusion_that_matches_nothing_fails(self) -> None:
        text = CATALOG + '[[exclude]]\ntest = "a test of old"\nreason = "gone"\n'
        (self.folder / "kernels.toml").write_text(text)
        code, out = self.run_matrix()
        self.assertEqual(1, code)
        self.assertIn("[[exclude]] of 'a test of old' matches no test", out)

    def test_usage(self) -> None:
        self.assertEqual(status.USAGE, self.run_matrix("9.9")[0])
        code, out = self.run_matrix("--tier", "nonsense")
        self.assertEqual((status.CANNOT_RUN, "0 passed, 1 failed, 0 skipped"), (code, out.splitlines()[-1]))
        os.unlink(self.folder / "build" / "bin" / "tests" / "slow_test")
        self.assertEqual(status.CANNOT_RUN, self.run_matrix()[0])


if __name__ == "__main__":
    unittest.main()
