# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Runs the tests of the project's Python parts (vmtest/self-test, lab/self-test, tests/self-test).

Tests in a module test_vm start VMs. Those run side by side, one a CPU (MPS_VM_JOBS: another number), and all are finished when
the last line tells the sums.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import resource
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


def everyday(method: Method) -> Method:
    """Marks a test with VMs that ./run test affords (--few-vms): one that shows much with few boots, some 4 s of a CPU each."""
    method.everyday = True  # type: ignore[attr-defined]
    return method


def is_everyday(test: unittest.TestCase) -> bool:
    """Whether a test is marked."""
    return getattr(getattr(test, test.id().rpartition(".")[2], None), "everyday", False)


class Result(unittest.TestResult):
    """Prints a line for each test, and counts."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.passed = self.failed = 0
        self._part = part
        self._now = threading.local()  # of the test that this thread runs: started, verdict
        self._lock = threading.RLock()

    def startTest(self, test: unittest.TestCase) -> None:
        with self._lock:
            super().startTest(test)
            self._now.started, self._now.verdict = time.monotonic(), "ok"

    def stopTest(self, test: unittest.TestCase) -> None:
        with self._lock:
            super().stopTest(test)
            verdict, took_s = self._now.verdict, time.monotonic() - self._now.started
            self.passed += verdict == "ok"
            self.failed += verdict == "FAIL"
            print(f"  {verdict:<4} {took_s:8.3f} s  {name(self._part, test)}", flush=True)

    def _fail(self, text: str) -> None:
        self._now.verdict = "FAIL"
        print(text, flush=True)

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        with self._lock:
            super().addError(test, err)
            self._fail(self.errors[-1][1])
            if not isinstance(test, unittest.TestCase):
                # setUpClass and the like come without startTest and stopTest.
                self.failed += 1

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        with self._lock:
            super().addFailure(test, err)
            self._fail(self.failures[-1][1])

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._fail(f"{subtest}: {err[1]}")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        super().addUnexpectedSuccess(test)
        self._fail("succeeded unexpectedly")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        with self._lock:
            super().addSkip(test, reason)
            self._now.verdict = "skip"
            print(f"       skipped: {reason}", flush=True)


def name(part: str, test: unittest.TestCase) -> str:
    """'vmtest splat: a clean boot has none' from tests.test_splat.Scanner.test_a_clean_boot_has_none."""
    words = test.id().split(".")
    return f"{part} {words[1].removeprefix('test_')}: {words[-1].removeprefix('test_').replace('_', ' ')}"


def flat(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """The tests of a suite of suites."""
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from flat(one)
        else:
            yield one


def _has_vm(test: unittest.TestCase) -> bool:
    """Whether it starts VMs. Such a test only starts other programs, so threads do not disturb each other."""
    return ".test_vm." in test.id()


def main(part: str, folder: Path) -> int:
    """Runs the tests below `folder`. Returns the exit status: 0 all passed, 1 some failed, 4 none ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    vms = parser.add_mutually_exclusive_group()
    vms.add_argument("--without-vm", action="store_true", help="leave out what starts VMs")
    vms.add_argument("--few-vms", action="store_true", help="of what starts VMs only what is marked as an everyday test")
    parser.add_argument("pattern", metavar="PATTERN", nargs="*", help="part of a test's name")
    asked = parser.parse_args()

    found = unittest.TestLoader().discover(str(folder / "tests"), top_level_dir=str(folder))
    chosen = [test for test in flat(found) if all(pattern in name(part, test) for pattern in asked.pattern)]
    result = Result(part)
    # As a suite, which calls setUpClass and the like.
    unittest.TestSuite(test for test in chosen if not _has_vm(test)).run(result)
    if not asked.without_vm:
        jobs = int(os.environ.get("MPS_VM_JOBS", os.cpu_count() or 1))
        with concurrent.futures.ThreadPoolExecutor(max_workers=jobs) as pool:
            booting = [test for test in chosen if _has_vm(test) and (is_everyday(test) or not asked.few_vms)]
            list(pool.map(lambda test: test.run(result), booting))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{used.ru_utime + used.ru_stime:.0f} s of CPU")
    print(f"{result.passed} passed, {result.failed} failed, {len(result.skipped)} skipped")
    return 1 if result.failed else 0 if result.testsRun else 4
