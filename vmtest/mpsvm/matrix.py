# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""run-matrix: the test binaries of a build in every kernel, several VMs side by side."""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import fnmatch
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mpstest.results import Rules, Tally, TestBinary, judge, read_manifest

from . import cache, catalog, cli, guest, results, runner, status, store
from .arch import ALL, AMD64, Arch
from .catalog import Catalog, Kernel, TestRule
from .status import VmError

# The emulated CPU is some ten times slower than ours, so a test gets more of the guest's time than it has here. Wall
# time is something else again: idle guest time takes none, busy guest time a multiple.
GUEST_FACTOR = 3
# Less than what the emulated CPU can carry. It costs wall time by the packet, so not more than shows what is to be shown.
PATH_MBIT = 16
WALL_FACTOR = 3
PROBE_FILE = "probe.json"
COLOURS = re.compile(rb"\x1b\[[0-9;]*m")


@dataclasses.dataclass(frozen=True)
class Unit:
    """What one VM does."""

    kernel: Kernel
    title: str
    tests: tuple[TestBinary, ...]
    cases: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)  # by binary; none: all of them
    probe: bool = False
    smp: int = 0  # 0: virtual time
    cables: int = 0

    @property
    def weight(self) -> int:
        """For the order: the longest first."""
        return sum(test.limit_s for test in self.tests)


@dataclasses.dataclass
class Outcome:
    """What came of a unit."""

    unit: Unit
    tally: Tally
    release: str = ""
    capabilities: results.Capabilities | None = None
    wall_s: float = 0.0
    guest_s: float = 0.0
    busy_s: float = 0.0  # of these; in virtual time 10^9 instructions each, so it does not depend on this machine
    cpu_s: float = 0.0
    log: Path | None = None


def case_names(binary: Path, arch: Arch) -> list[str]:
    """The test cases of a binary, asked for here. Raises VmError."""
    # Catch2 2 and 3 spell it differently; 2 ends with the number of cases as its status.
    for words in (["--list-test-names-only"], ["--list-tests", "--verbosity", "quiet"]):
        try:
            done = subprocess.run([*arch.runner, binary, *words], capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise VmError(f"{binary.name} could not list its test cases: {error}") from None
        names = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        if names and not done.stderr:
            return names
    raise VmError(f"{binary.name} could not list its test cases.")


def spec(cases: Sequence[str]) -> str:
    """Catch2's way to write "one of these"; to it a comma ends a name even between quotes."""
    return ",".join('"' + re.sub(r'([\\\\",])', r"\\\1", name) + '"' for name in cases)


def script(unit: Unit, build: Path, *, everything: bool = True) -> str:
    """The guest's side: runs every test and reports its end at once, so that a panic loses only one.

    Without `everything` tests that combine things leave combinations out (tests/bpf/rig.hpp).
    """
    lines = ["mkdir -p /run/results", f"export MPS_TEST_PATH_MBIT={PATH_MBIT}"]
    if not everything:
        lines.append("export MPS_TEST_FEW_RIGS=1")
    if unit.probe:
        lines += [
            f"{shlex.quote(str(build / 'bin' / 'mpsched'))} probe --json >/run/results/{PROBE_FILE}",
            f"vmctl put /run/results/{PROBE_FILE}",
        ]
    for test in unit.tests:
        arguments = spec(unit.cases.get(test.name, ()))
        file = f"/run/results/{test.name}.json"
        binary = shlex.quote(str(build / "bin" / "tests" / test.name))
        limit = f"timeout --kill-after=15 {test.limit_s * GUEST_FACTOR}"
        words = f"{binary} {shlex.quote(arguments)}" if arguments else binary
        lines += [
            f"echo '== {test.name}'",
            f"MPS_TEST_RESULT={file} {limit} {words} 2>&1",
            "status=$?",
            f"[ -e {file} ] && vmctl put {file}",
            f"vmctl say note ended {test.name} $status",
        ]
    lines += ["read -r up idle </proc/uptime", "vmctl say note up $up $idle", "exit 0"]
    return "\n".join(lines)


class Matrix:
    """One run over all units."""

    def __init__(self, options: argparse.Namespace, kernels: Catalog) -> None:
        self._options = options
        self._catalog = kernels
        self._build: Path = options.build.absolute()
        self._arch = ALL[options.arch]
        self._stop = threading.Event()
        self._print_lock = threading.Lock()
        self._logs: Path = options.logs or self._build / "vmtest"
        self._case_filter = options.filter or ""
        self._left_to_all = 0
        self._everything = True

    def say(self, text: str) -> None:
        """A line on standard output, whole."""
        with self._print_lock:
            print(text, flush=True)

    def tests(self) -> list[TestBinary]:
        """The binaries that are wanted. Raises VmError."""
        manifest = self._build / "bin" / "tests" / "manifest.txt"
        try:
            listed = read_manifest(manifest.read_text())
        except OSError as error:
            raise VmError(f"{manifest}: {error.strerror}", "Build first: ./run build") from None
        except ValueError as error:
            raise VmError(str(error)) from None
        tiers = self._options.tier or ["bpf", "e2e"]
        wanted = [test for test in listed if test.tier in tiers]
        if self._case_filter and any(self._case_filter in test.name for test in wanted):
            wanted = [test for test in wanted if self._case_filter in test.name]
            self._case_filter = ""
        if not wanted:
            raise VmError(f"{manifest} lists no test of the tiers {', '.join(tiers)}.", "Build first: ./run build")
        for test in wanted:
            if not (self._build / "bin" / "tests" / test.name).is_file():
                raise VmError(f"{test.name} is in the manifest, but was not built.", "./run build")
        return wanted

    def _runnable(
        self,
        kernel: Kernel,
        tests: Sequence[TestBinary],
        cases: Mapping[str, Sequence[str]],
        used: set[TestRule],
        left_out: Tally,
    ) -> dict[str, list[str]]:
        """What a kernel can run, by binary. Notes the rules that left something out."""
        here: dict[str, list[str]] = {}
        for test in tests:
            rule = next((r for r in self._catalog.exclude if r.matches(kernel.name, test.name)), None)
            if rule:
                used.add(rule)
                left_out.skips.append(f"{kernel.name}: {test.name}: {rule.reason}")
                continue
            here[test.name] = []
            for case in cases[test.name]:
                rule = next((r for r in self._catalog.exclude if r.matches(kernel.name, case)), None)
                if rule:
                    used.add(rule)
                    left_out.skips.append(f"{kernel.name}: {test.name}: {case}: {rule.reason}")
                elif self._case_filter in case:
                    here[test.name].append(case)
        return here

    def _find_useless_rules(
        self,
        chosen: Sequence[Kernel],
        cases: Mapping[str, Sequence[str]],
        used: set[TestRule],
        left_out: Tally,
    ) -> None:
        """A rule that names nothing is a failure."""
        smoke = self._catalog.smoke
        # A pattern that names nothing would hide that what it was for is not run any more.
        known = [*cases, *(case for mine in cases.values() for case in mine)]
        for key, patterns in (
            ("core", [*self._catalog.core, *(pattern for kernel in chosen for pattern in kernel.core)]),
            ("smoke.tests", smoke.tests),
        ):
            for pattern in patterns:
                if not any(fnmatch.fnmatchcase(name, pattern) for name in known):
                    left_out.failures.append(f"kernels.toml: '{pattern}' in {key} matches no test")
        for rule in self._catalog.exclude:
            # One that excludes nothing would hide the next test of that name. A cross build has not all of them.
            if rule not in used and self._arch == AMD64:
                left_out.failures.append(f"kernels.toml: [[exclude]] of '{rule.test}' matches no test")

    def units(self, names: Sequence[str], tests: Sequence[TestBinary]) -> tuple[list[Unit], Tally]:
        """What the VMs do, and the tests that no VM gets. Raises VmError."""
        chosen = [self._catalog.kernel(name) for name in names] if names else list(self._catalog.of(self._arch))
        smoke = self._catalog.smoke
        everything = self._everything = self._options.all or bool(self._options.filter) or not self._catalog.core
        cases = {test.name: case_names(self._build / "bin" / "tests" / test.name, self._arch) for test in tests}
        found: list[Unit] = []
        left_out = Tally()
        used: set[TestRule] = set()
        self._left_to_all = 0
        for kernel in chosen:
            here = self._runnable(kernel, tests, cases, used, left_out)

            def unit(
                title: str,
                tiers: Sequence[str],
                patterns: Sequence[str],
                *,
                probe: bool = False,
                smp: int = 0,
                cables: int = 0,
                here: Mapping[str, Sequence[str]] = here,
                kernel: Kernel = kernel,
            ) -> Unit:
                mine = {name: catalog.select(patterns, name, runnable) for name, runnable in here.items()}
                wanted = tuple(test for test in tests if test.tier in tiers and mine.get(test.name))
                # A binary that is run whole is not told what to run.
                told = {test.name: mine[test.name] for test in wanted if len(mine[test.name]) < len(cases[test.name])}
                return Unit(kernel, title, wanted, told, probe, smp, cables)

            core = ["*"] if everything else [*self._catalog.core, *kernel.core]
            others = sorted({test.tier for test in tests} - {"e2e"})
            # Few VMs, since to boot one takes as long as a test.
            units = [unit("bpf", others, core, probe=not self._options.filter), unit("e2e", ["e2e"], core)]
            if not everything:
                ran = sum(len(one.cases.get(t.name, cases[t.name])) for one in units for t in one.tests)
                self._left_to_all += sum(len(runnable) for runnable in here.values()) - ran
            if kernel.name in smoke.kernels and not self._options.filter and not self._options.no_smoke:
                tiers = [*others, "e2e"]
                units.append(unit(f"real time, {smoke.smp} CPUs", tiers, smoke.tests, smp=smoke.smp, cables=smoke.cables))
            found += [one for one in units if (one.tests or one.probe) and (one.smp or not self._options.smoke)]
        if self._options.smoke:
            left_out.skips.clear()  # the other run tells them
        if not (names or self._options.filter or self._options.tier):
            self._find_useless_rules(chosen, cases, used, left_out)
        found.sort(key=lambda one: -one.weight)
        return found, left_out

    def run_unit(self, unit: Unit) -> Outcome:
        """Runs one VM and judges it. Does not raise but for being stopped."""
        outcome = Outcome(unit, Tally())
        where = f"{unit.kernel.name}: {unit.title}"
        name = f"{unit.kernel.name}-{unit.title}".replace(" ", "-").replace(",", "")
        outcome.log = self._logs / f"{name}.log"
        named = {str(self._build / "bin" / "tests" / test.name) for test in unit.tests}
        mine = [extra for extra in guest.built(self._build) if extra.name in named or "/bin/tests/" not in extra.name]
        job = runner.Job(
            kernel=unit.kernel,
            words=[script(unit, self._build, everything=self._everything)],
            virtual_time=unit.smp == 0,
            smp=unit.smp or 1,
            cables=unit.cables,
            seed=self._options.seed,
            timeout_s=60 + WALL_FACTOR * unit.weight,
            modules=self._catalog.modules,
            extras=mine,
            folder=str(guest.REPOSITORY),
            path=[str(self._build / "bin")],
        )
        started = time.monotonic()
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
            with open(outcome.log, "wb", buffering=0) as log:

                def write(data: bytes) -> None:
                    # The guest's output is a terminal there, so some tests colour theirs.
                    log.write(COLOURS.sub(b"", data))

                result = runner.run(
                    job, self._catalog, output=write, error=write, say=lambda text: None, stop=self._stop
                )
                log.write(("\n".join(f"vmtest: {m}" for m in result.verdict.messages) + "\n").encode())
                if result.verdict.show_console:
                    log.write(b"vmtest: kernel console:\n" + result.console.encode(errors="replace"))
        except (VmError, OSError) as error:
            outcome.tally.failures.append(f"{where}: {' '.join(str(error).split())}")
            outcome.wall_s = time.monotonic() - started
            return outcome
        outcome.wall_s, outcome.cpu_s = time.monotonic() - started, result.cpu_s
        self._tell_costs(outcome, result)
        self._judge(outcome, result)
        failed = len(outcome.tally.failures)
        self.say(
            f"  {unit.kernel.name:<6} {unit.title:<28} {outcome.tally.passed:>4} passed {failed:>3} failed "
            f"{len(outcome.tally.skips):>3} skipped  {outcome.wall_s:6.1f} s"
            + (
                f" ({outcome.guest_s:.0f} s in the guest, {outcome.busy_s:.0f} busy, {outcome.cpu_s:.0f} s of CPU)"
                if outcome.guest_s
                else ""
            )
        )
        if failed and self._options.verbose:
            with self._print_lock:
                sys.stdout.write(outcome.log.read_text(errors="replace"))
                sys.stdout.flush()
        return outcome

    @staticmethod
    def _tell_costs(outcome: Outcome, result: runner.Result) -> None:
        """Appends to the log what each binary cost, boot and all before it included in the first."""
        assert outcome.log is not None
        before = 0.0
        with open(outcome.log, "a") as log:
            for note, cpu_s in zip(result.notes, result.note_cpu_s, strict=False):
                if note[:1] == ("ended",):
                    log.write(f"vmtest: {note[1]}: {cpu_s - before:.1f} s of CPU\n")
                    before = cpu_s

    def _judge(self, outcome: Outcome, result: runner.Result) -> None:
        unit, tally = outcome.unit, outcome.tally
        where = f"{unit.kernel.name}: {unit.title}"
        ended: dict[str, int] = {}
        for note in result.notes:
            if note[:1] == ("ended",) and len(note) == 3 and note[2].isdecimal():
                ended[note[1]] = int(note[2])
            elif note[:1] == ("up",) and len(note) == 3:
                try:
                    outcome.guest_s = float(note[1])
                    outcome.busy_s = max(0.0, outcome.guest_s - float(note[2]) / max(1, unit.smp))
                except ValueError:
                    pass
        kernel = unit.kernel.name

        def may_skip(case: str) -> bool:
            return any(rule.matches(kernel, case) for rule in self._catalog.skip)

        for test in unit.tests:
            tally.add(
                judge(
                    f"{kernel}: {test.name}",
                    result.files.get(f"{test.name}.json"),
                    ended.get(test.name),
                    test.limit_s * GUEST_FACTOR,
                    Rules(may_skip, "kernels.toml", unit.cases.get(test.name, ())),
                )
            )
        if unit.probe:
            outcome.capabilities = results.judge_probe(unit.kernel, result.files.get(PROBE_FILE))
            tally.failures += outcome.capabilities.failures
            if not outcome.capabilities.failures:
                tally.passed += 1
        if result.verdict.status != status.OK:
            said = "; ".join(result.verdict.messages[:2]) or "no reason known"
            tally.failures.append(f"{where}: vmtest status {result.verdict.status}: {said}")

    def _with_kernels(self, units: Sequence[Unit], left_out: Tally) -> list[Unit]:
        """The units whose kernels are there. Fetches those that are not, one after the other before anything runs; one
        that cannot be had is told at once and is a failure. Raises VmError if none can be had."""
        missing: dict[str, VmError] = {}
        for kernel in {unit.kernel.name: unit.kernel for unit in units}.values():
            if not kernel.packages:
                continue
            try:
                with store.ready(kernel, self._logs, fetch=not self._options.no_fetch):
                    pass
            except VmError as error:
                missing[kernel.name] = error
                cli.say(f"kernel {kernel.name} cannot be had: {error}")
                left_out.failures.append(f"{kernel.name}: no kernel, so nothing ran: {error.what}")
        left = [unit for unit in units if unit.kernel.name not in missing]
        if missing and not left:
            raise next(iter(missing.values()))
        return left

    def run(self, names: Sequence[str]) -> int:
        """Runs everything and prints the table. Returns the exit status. Raises VmError for what is wrong at once."""
        tests = self.tests()
        try:
            units, left_out = self.units(names, tests)
        except VmError as error:
            error.status = status.USAGE
            raise
        started = time.monotonic()
        units = self._with_kernels(units, left_out)
        guest.base(self._arch)
        self.say(f"{len(units)} VMs, {self._options.jobs} side by side; logs in {self._logs}")
        if self._left_to_all:
            self.say(f"the core of the tests (kernels.toml); --all runs {self._left_to_all} test cases more")
        outcomes: list[Outcome] = []
        with concurrent.futures.ThreadPoolExecutor(max_workers=self._options.jobs) as pool:
            futures = [pool.submit(self.run_unit, unit) for unit in units]
            try:
                outcomes = [future.result() for future in futures]
            except BaseException:
                # Every worker sees this within a moment and ends its VM.
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return self._report(outcomes, left_out, time.monotonic() - started)

    def _report(self, outcomes: Sequence[Outcome], left_out: Tally, wall_s: float) -> int:
        total = Tally()
        total.add(left_out)
        rows = [("kernel", "release", "capabilities", "passed", "failed", "skipped", "VMs", "busy s", "VM s", "CPU s")]
        for name in dict.fromkeys(outcome.unit.kernel.name for outcome in outcomes):
            mine = [outcome for outcome in outcomes if outcome.unit.kernel.name == name]
            kernel = mine[0].unit.kernel
            facts = (cache.read_facts(cache.root() / name) or {}) if kernel.packages else {}
            tally = Tally()
            for outcome in mine:
                tally.add(outcome.tally)
            tally.skips += [line for line in left_out.skips if line.startswith(f"{name}: ")]
            if tally.passed == 0 and not self._case_filter:
                tally.failures.append(f"{name}: no test case passed")
            probed = next((outcome.capabilities for outcome in mine if outcome.capabilities), None)
            rows.append(
                (
                    name,
                    str(facts.get("release", "")),
                    f"{probed.as_expected} of {probed.expected}" if probed else "-",
                    str(tally.passed),
                    str(len(tally.failures)),
                    str(len(tally.skips)),
                    str(len(mine)),
                    f"{sum(outcome.busy_s for outcome in mine):.0f}",
                    f"{sum(outcome.wall_s for outcome in mine):.0f}",
                    f"{sum(outcome.cpu_s for outcome in mine):.0f}",
                )
            )
            tally.skips = [line for line in tally.skips if line not in left_out.skips]
            total.add(tally)
        for outcome in outcomes:
            for remark in outcome.capabilities.remarks if outcome.capabilities else []:
                self.say(f"remark: {remark}")
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        self.say("")
        for row in rows:
            cells = [
                cell.ljust(width) if column < 3 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            self.say("  ".join(cells).rstrip())
        for title, lines in (("Skipped", total.skips), ("Failed", total.failures)):
            if lines:
                self.say(f"\n{title}:")
                for line in lines:
                    self.say(f"  {line}")
        if total.failures:
            self.say(f"\nLogs: {self._logs}")
        if total.passed + len(total.failures) == 0:
            self.say(f'\nNothing ran: no binary or test case matches "{self._options.filter}".')
        self.say(f"\n{wall_s:.0f} s of wall time")
        self.say(f"{total.passed} passed, {len(total.failures)} failed, {len(total.skips)} skipped")
        return status.OK if total.passed and not total.failures else 1


class Parser(argparse.ArgumentParser):
    """Usage errors end with 2, as those of ./run."""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = Parser(
        prog="run-matrix",
        description="Runs the tests of a build in every listed kernel (all, if none is named) in virtual time, and "
        "some in real time. The last line is 'N passed, N failed, N skipped'.",
        epilog="exit status: 0 all passed, 1 some failed, 2 usage (unknown kernel), 69 the VMs could not run",
        allow_abbrev=False,
    )
    add = made.add_argument
    add("kernels", nargs="*", metavar="KERNEL")
    add("--arch", choices=list(ALL), default=AMD64.name, help="of the kernels and of the build (default %(default)s)")
    add("--build", type=Path, default=guest.REPOSITORY / "build", metavar="DIR", help="the build folder")
    add("--tier", action="append", metavar="TIER", help="unit, bpf or e2e; may be repeated (default bpf and e2e)")
    add("--filter", metavar="TEXT", help="part of a binary's name, or else of a test case's")
    add("--all", action="store_true", help="also the test cases that 'core' in kernels.toml does not name")
    add("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="VMs side by side (default: one a CPU)")
    add("--seed", type=int, default=1, metavar="N")
    add("--logs", type=Path, metavar="DIR", help="where the VMs' outputs go (default: vmtest/ in the build folder)")
    real_time = made.add_mutually_exclusive_group()
    real_time.add_argument("--no-smoke", action="store_true", help="leave the real-time run away")
    real_time.add_argument("--smoke", action="store_true", help="nothing but the real-time run")
    add("--no-fetch", action="store_true", help="a kernel that is not in the cache fails at once")
    add("--kernels-file", type=Path, default=catalog.DEFAULT_FILE, metavar="FILE", help="instead of kernels.toml")
    add("-v", "--verbose", action="store_true", help="show the whole output of VMs in which something failed")
    return made


def main(words: Sequence[str] | None = None) -> int:
    """Entry point; returns the status to exit with."""
    options = parser().parse_args(words)
    options.jobs = max(1, options.jobs)
    try:
        with cli.interruptible():
            return Matrix(options, catalog.load(options.kernels_file)).run(options.kernels)
    except VmError as error:
        cli.say(str(error))
        print("0 passed, 1 failed, 0 skipped", flush=True)
        return error.status
    except cli.Interrupted as interrupted:
        cli.say("interrupted; the VMs were ended")
        return interrupted.code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
