# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""One invocation: from what was typed to runs, and from these to tables, results and a report."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import shlex
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mpsvm import catalog, cli, guest, store
from mpsvm.status import VmError

from . import cost, document, execute, grid, keep, origin, page, plan, programs, progress, result, sentence, stats, text
from .keep import Outcome
from .plan import Key, PlanError, Scenario
from .programs import Policy
from .stats import Group

PROGRAM = "./run lab"
DEFAULT_KERNEL = "7.2"
LAB = "lab"  # in the build folder
POLICIES = "policies"  # in the results folder
OK, FAILED = 0, 1


def say(words: str) -> None:
    """A line for people."""
    for line in words.splitlines():
        print(f"lab: {line}", file=sys.stderr, flush=True)


@dataclasses.dataclass
class Inventory:
    """What there is to choose from."""

    kernels: catalog.Catalog
    scenarios: list[Scenario]
    policies: dict[str, Policy]

    @staticmethod
    def take(options: argparse.Namespace) -> Inventory:
        """Raises PlanError and VmError."""
        build = options.build.absolute()
        return Inventory(catalog.load(options.kernels), programs.scenarios(build), programs.policies(build))


@dataclasses.dataclass
class Plan:
    """What a command line asks for."""

    kernels: list[catalog.Kernel]
    scenarios: list[Scenario]
    wanted: list[Key]
    policies: dict[str, Policy]
    params: dict[str, list[str]]
    per_vm: int

    def titles(self) -> dict[str, str]:
        """By the scenario's name."""
        return {one.name: one.title for one in self.scenarios}


def check_numbers(options: argparse.Namespace) -> None:
    """Raises PlanError."""
    if options.jobs < 1 or options.per_vm is not None and options.per_vm < 1 or not options.timeout > 0:
        raise PlanError("--jobs, --per-vm and --timeout must be positive.")
    if options.baseline is not None and not (options.baseline / keep.RUNS).is_dir():
        raise PlanError(f"--baseline {options.baseline}: there are no results in it.", "It is the --out of a run.")


def policies_of(options: argparse.Namespace, there: Inventory, folder: Path) -> tuple[list[str], dict[str, Policy]]:
    """The names that were asked for, files by the names in them, and all that can be chosen. Raises PlanError."""
    words = [word for one in options.policy for word in one.split(",") if word]
    files = [word for word in dict.fromkeys(words) if programs.is_file(word)]
    from_files = programs.from_files(options.build.absolute(), files, there.policies, folder) if files else {}
    known = there.policies | {one.name: one for one in from_files.values()}
    return [from_files[word].name if word in from_files else word for word in words], known


def make_plan(options: argparse.Namespace, there: Inventory, folder: Path) -> Plan:
    """`folder` is for objects that are compiled. Raises PlanError."""
    check_numbers(options)
    if not options.scenarios:
        raise PlanError("No scenario is given.", f"{PROGRAM} --list shows them; 'all' is all of them.")
    chosen = plan.scenarios(there.scenarios, options.scenarios)
    names = [name for words in options.kernel or [DEFAULT_KERNEL] for name in words.split(",") if name]
    try:
        kernels = [there.kernels.kernel(name) for name in dict.fromkeys(names)]
    except VmError as error:
        raise PlanError(error.what, error.next) from None
    if options.pairs is not None:
        chosen = grid.part(chosen, options.pairs)
    only_grid = all(grid.of_grid(one.name) for one in chosen)
    typed, known = policies_of(options, there, folder)
    typed = typed or ([stats.BASELINE] if only_grid else [stats.BASELINE, plan.ALONE])
    by_scenario = plan.policies(list(known), chosen, typed)
    for name, mine in by_scenario.items():
        if grid.of_grid(name) and stats.BASELINE not in mine:
            mine.insert(0, stats.BASELINE)
    every = list(dict.fromkeys(name for mine in by_scenario.values() for name in mine))
    params = programs.params(options.params, every, known)
    wanted = plan.keys(
        [kernel.name for kernel in kernels],
        chosen,
        by_scenario,
        plan.seeds(options.seeds or ("1" if only_grid else "3")),
        params,
        {name: known[name].digest for name in every if name in known},
    )
    if not wanted:
        raise PlanError("Nothing is left to run.", "Does a chosen scenario have that path?")
    used = {name: known[name] for name in every if name in known}
    return Plan(kernels, chosen, wanted, used, params, options.per_vm or (grid.PER_VM if only_grid else 1))


def short(outcome: Outcome) -> str:
    """An outcome in a few words."""
    if not outcome.ok:
        return outcome.what
    row = stats.row(outcome.key.policy, [result.parse(outcome.document)], 0)
    if row.main is None:
        return "ok"
    words = f"{row.main.label} {text.value(row.main, row.value)}"
    if row.main.unit == "Mbit/s":
        words += " Mbit/s"
    return words + (f", {text.factor(row.of_bound)} of bound" if row.of_bound is not None else "")


def speed(outcomes: Sequence[Outcome], wall_s: float) -> str:
    """How much network time was had for how much of ours, "" if nothing was run. Set-up and settling do not count."""
    fresh = [outcome for outcome in outcomes if outcome.ok and not outcome.reused]
    network_s = sum(result.number((outcome.document or {}).get("duration_s")) or 0.0 for outcome in fresh)
    if network_s <= 0 or wall_s <= 0:
        return ""
    words = f"{network_s:.0f} s of network time in {wall_s:.0f} s of wall time ({network_s / wall_s:.1f} times as fast)"
    cpu_s = sum(outcome.cpu_s for outcome in fresh)
    return words + (f", {cpu_s:.0f} s of CPU" if cpu_s else "")


class Session:
    """Runs plans and reports. Close it: it has a folder for objects that are compiled."""

    def __init__(self, options: argparse.Namespace, command: Sequence[str]) -> None:
        self.options = options
        self.there = Inventory.take(options)
        self._command = list(command)
        self._build: Path = options.build.absolute()
        self._made = datetime.datetime.now()
        self.out: Path = options.out or self._build / LAB / self._made.strftime("%Y-%m-%d-%H%M%S")
        self._lock = threading.Lock()
        self._outcomes: dict[Key, Outcome] = {}
        self._baseline: dict[Key, Outcome] = {}
        self._wall_s = 0.0
        self._compiled = tempfile.TemporaryDirectory(prefix="mps-lab-")

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._compiled.cleanup()

    def plan(self, options: argparse.Namespace | None = None) -> Plan:
        """Of this command line or of another one. Raises PlanError."""
        return make_plan(options or self.options, self.there, Path(self._compiled.name))

    def outcomes(self, wanted: Sequence[Key]) -> list[Outcome]:
        """What there is of these runs."""
        return [self._outcomes[key] for key in wanted if key in self._outcomes]

    def run(self, wanted: Plan) -> cli.Interrupted | None:
        """Runs what has no result yet. Returns the signal that ended it early. Raises PlanError and VmError."""
        options = self.options
        settings = execute.Settings(
            catalog=self.there.kernels,
            build=self._build,
            build_digest=keep.digest(execute.built(self._build)),
            jobs=options.jobs,
            limit_s=options.timeout,
            real_time=options.real_time,
        )
        if not options.again:
            self._outcomes |= keep.load(self.out, wanted.wanted)
        if options.baseline is not None:
            # Before those of --out, also with --again: whoever gives it wants default not to run again.
            mine = [key for key in wanted.wanted if key.policy == stats.BASELINE]
            self._baseline = keep.load(options.baseline, mine)
            self._outcomes |= self._baseline
        left = [key for key in wanted.wanted if key not in self._outcomes]
        self._tell_there(wanted.wanted, left, settings)
        if not left:
            return None
        history = cost.History(self._build / LAB / cost.FILE)
        expected = self._agree(wanted, left, history)
        settings.policies, settings.origin = self._kept(wanted.policies), self._origin()
        started = time.monotonic()
        try:
            self._prepare(wanted, settings, left)
            return self._run(wanted, settings, left, expected.by_key, history)
        finally:
            history.save()
            self._wall_s += time.monotonic() - started

    def _origin(self) -> origin.Origin:
        """Of what is built; lab-matrix, unlike ./run lab, does not build first."""
        if origin.is_built(self._build):
            return origin.of(guest.REPOSITORY)
        say("results will not tell their commit: what is built may be of other sources; ./run lab builds first")
        return origin.Origin()

    def _kept(self, policies: Mapping[str, Policy]) -> dict[str, Policy]:
        """The same policies; objects that are not built in are kept beside the results, as they were measured."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PlanError(f"--out {self.out}: {error.strerror}") from None
        found = dict(policies)
        for name, policy in policies.items():
            if policy.object is None:
                continue
            folder = self.out / POLICIES
            folder.mkdir(exist_ok=True)
            there = folder / f"{policy.name}-{policy.digest}.bpf.o"
            if policy.object != there:
                shutil.copyfile(policy.object, there)
            found[name] = dataclasses.replace(policy, object=there)
        return found

    def _tell_there(self, wanted: Sequence[Key], left: Sequence[Key], settings: execute.Settings) -> None:
        words = f"{text.count_of(len(wanted), 'run')} of {text.count_of(len({k.scenario for k in wanted}), 'scenario')}"
        if len(left) < len(wanted):
            words += f", {len(wanted) - len(left)} of them already in {self.out}"
            words += f" or {self.options.baseline}" if self.options.baseline is not None else ""
        say(words)
        # A baseline is the kernel alone: that it came from another build is meant to be.
        others = sum(
            outcome.build != settings.build_digest for key, outcome in self._outcomes.items() if key not in self._baseline
        )
        if others:
            say(f"{text.count_of(others, 'result')} there came from another build of mpsched; --again runs everything")

    def _agree(self, wanted: Plan, left: Sequence[Key], history: cost.History) -> cost.Estimate:
        """Tells what it will cost. Raises PlanError if it is much and nobody agreed."""
        scenarios = {one.name: one for one in wanted.scenarios}
        vms = len(plan.groups(left, wanted.per_vm, {}))
        found = cost.estimate(left, vms, self.options.jobs, wanted.per_vm, scenarios, history)
        say(str(found))
        if not cost.agreed(found, self.options.yes, sys.stderr, sys.stdin):
            asked = cost.can_ask(sys.stderr, sys.stdin)
            raise PlanError(
                "Nothing was run" + ("." if asked else ": that much is only run when somebody agrees."),
                "" if asked else "Add --yes, or choose less.",
            )
        return found

    def _prepare(self, wanted: Plan, settings: execute.Settings, left: Sequence[Key]) -> None:
        """Whatever cannot work is told before anything runs: kernels that cannot be had, objects that do not load."""
        for kernel in wanted.kernels:
            if kernel.packages:
                store.refresh(kernel)
        guest.base()
        if not execute.objects(settings):
            return
        for name in dict.fromkeys(key.kernel for key in left if key.object):
            say(f"kernel {name}: does it take {' '.join(one.name for one in execute.objects(settings))}?")
            execute.Executor(settings).check(name, wanted.params)

    def _run(
        self,
        wanted: Plan,
        settings: execute.Settings,
        left: Sequence[Key],
        expected_s: Mapping[Key, float],
        history: cost.History,
    ) -> cli.Interrupted | None:
        display = progress.Display(
            sys.stderr, left, self.options.jobs, expected_s, time.monotonic, total=len(wanted.wanted)
        )  # fmt: skip

        def ended(outcome: Outcome) -> None:
            keep.save(self.out, outcome)
            with self._lock:
                self._outcomes[outcome.key] = outcome
                if outcome.ok:
                    history.add(outcome.key, outcome.cpu_s)
            display.ended(outcome.key, outcome.wall_s, short(outcome), failed=not outcome.ok)

        executor = execute.Executor(settings, started=display.started, ended=ended, requeued=display.requeued)
        by_scenario = {key.scenario: seconds for key, seconds in expected_s.items()}
        try:
            executor.run(plan.groups(left, wanted.per_vm, by_scenario), display.tick)
        except cli.Interrupted as signal:
            return signal
        finally:
            display.close()
        return None

    def report(self, wanted: Plan, interrupted: cli.Interrupted | None) -> int:
        """Tables, results.json and report.html; returns the status to exit with."""
        outcomes = self.outcomes(wanted.wanted)
        tell_groups(self.write(wanted))
        failed = [outcome for outcome in outcomes if not outcome.ok]
        if failed:
            print("\nFailed:")
            for outcome in failed:
                print(f"  {outcome.key}: {outcome.what}" + (f"\n    {outcome.hint}" if outcome.hint else ""))
        missing = len(wanted.wanted) - len(outcomes)
        print(
            f"\n{len(outcomes) - len(failed)} ok, {len(failed)} failed"
            + (f", {missing} not run" if missing else "")
            + f" in {text.duration(self._wall_s)}"
        )
        if told := speed(outcomes, self._wall_s):
            print(told)
        tell_files(self.out)
        if interrupted is not None:
            say(f"interrupted; the VMs were ended. To go on: {self.again()}")
            return interrupted.code
        return FAILED if failed or missing else OK

    def write(self, wanted: Plan) -> list[Group]:
        """Both files; returns the tables."""
        command = shlex.join([*PROGRAM.split(), *self._command])
        return write_files(
            self.out, command, self._made, wanted.wanted, self.outcomes(wanted.wanted), wanted.titles()
        )

    def again(self) -> str:
        """The command that goes on where this one ended."""
        # --again would begin anew.
        words = [word for word in self._command if word != "--again"]
        words += [] if self.options.out else ["--out", str(self.out)]
        return shlex.join([*PROGRAM.split(), *words])


def write_files(
    out: Path,
    command: str,
    made: datetime.datetime,
    wanted: Sequence[Key],
    outcomes: Sequence[Outcome],
    titles: Mapping[str, str],
) -> list[Group]:
    """results.json and report.html; returns the tables in them."""
    groups = document.grouped(wanted, outcomes, titles)
    keep.write(out / keep.EVERYTHING, document.everything(command, made, outcomes, groups))
    keep.write(out / keep.REPORT, page.html(page.Facts(command, made, len(wanted), outcomes, groups)))
    return groups


def tell_groups(groups: Sequence[Group]) -> None:
    """The tables and what came out, on standard output."""
    if any(row.runs or row.failed for group in groups for row in group.rows):
        print(text.report(groups))
    if said := sentence.sentence(groups):
        print(f"\n{said}")


def tell_files(out: Path) -> None:
    """Where they are."""
    print(f"results: {out / keep.EVERYTHING}\nreport: {out / keep.REPORT}", flush=True)
