# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The command line of ./run lab."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpsvm import catalog, cli, guest, store
from mpsvm.status import VmError

from . import execute, grid, keep, page, plan, progress, result, stats, text
from .keep import Outcome
from .plan import Key, PlanError, Scenario

PROGRAM = "./run lab"
DEFAULT_KERNEL = "7.2"
OK, FAILED, USAGE = 0, 1, 2


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Runs scenarios × policies × seeds in VMs in virtual time, as many side by side as there are CPUs. "
        "Prints a table for each scenario, and leaves results.json and report.html in --out.",
        epilog="A scenario is a name that --list shows, an id (all its variants), a pattern ('S1*') or 'all'. The "
        "policy 'alone' is each path of the scenario alone, 'alone:PATH' is one of them.\n\n"
        "'grid' is 36 pairs of paths × 7 sizes × which path is first, with a heat map for each policy and a summary "
        "(not part of 'all'). It always runs default as well: --baseline takes that from an earlier run.\n\n"
        "exit status: 0 all ran, 1 some failed, 2 usage, 69 no VM could run, 130 interrupted (what had ended is "
        "reported; the same command with the same --out goes on from there)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("scenarios", nargs="*", metavar="SCENARIO")
    add("--list", action="store_true", help="list the scenarios, policies and kernels, and run nothing")
    add("--kernel", "-k", action="append", default=[], metavar="K[,K...]", help=f"default: {DEFAULT_KERNEL}")
    add("--policy", "-p", action="append", default=[], metavar="P[,P...]", help="default: default,alone; of the grid: default")
    add("--seeds", metavar="N", help="how many (3), a range (4-9) or a list (1,5,7); default: 3, of the grid: 1")
    add("--pairs", type=int, metavar="N", help="only N pairs of the grid, spread over it; always the same ones")
    add("-s", dest="params", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the policy")
    add("--out", type=Path, metavar="DIR", help="results; those that are there are not run again "
        "(default: a new folder in lab/ of the build folder)")  # fmt: skip
    add("--baseline", type=Path, metavar="DIR", help="--out of an earlier run: its results of default are taken, too")
    add("--again", action="store_true", help="run also what --out has results of")
    add("--jobs", type=int, default=execute.cpus(), metavar="N", help="VMs side by side (default: one a CPU)")
    add("--per-vm", type=int, metavar="N", help="runs in one VM, one after the other: saves the boot, about "
        f"4 s, but a run then also depends on those before it (default: 1, of the grid: {grid.PER_VM})")  # fmt: skip
    add("--timeout", type=float, default=600.0, metavar="S", help="wall-clock seconds for one run (default: 600)")
    add("--build", type=Path, default=guest.REPOSITORY / "build", metavar="DIR", help="the build folder")
    add("--kernels", type=Path, default=catalog.DEFAULT_FILE, metavar="FILE", help="instead of vmtest/kernels.toml")
    add("--real-time", action="store_true", help="real time instead of virtual time")
    return made


def ask(binary: Path, words: Sequence[str]) -> Any:
    """What a program of ours prints as JSON. Raises PlanError."""
    try:
        done = subprocess.run(
            [binary, *words], capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlanError(f"{binary.name} {shlex.join(words)}: {error}", "Build first: ./run build") from None
    try:
        return json.loads(done.stdout)
    except ValueError:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise PlanError(
            f"{binary.name} {shlex.join(words)} ended with status {done.returncode} and no JSON"
            + (f": {said[-1]}" if said else ""),
            "Is the build up to date? ./run build",
        ) from None


def listed(document: Any) -> tuple[list[Scenario], list[str]]:
    """The scenarios and policies of `mpsched-lab list --json`. Raises PlanError."""
    if isinstance(document, list):
        document = {"scenarios": document}
    if not isinstance(document, dict) or not isinstance(document.get("scenarios"), list):
        raise PlanError("mpsched-lab list --json printed no list of scenarios.", "Is the build up to date? ./run build")
    found = []
    for one in document["scenarios"]:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            continue
        paths = one.get("paths") if isinstance(one.get("paths"), list) else []
        found.append(
            Scenario(
                name=one["name"],
                title=str(one.get("title") or ""),
                paths=tuple(str(path.get("name", "")) if isinstance(path, dict) else str(path) for path in paths),
                network_s=result.number(one.get("network_s")),
            )
        )
    policies = document.get("policies")
    names = [one.get("name") if isinstance(one, dict) else one for one in policies] if isinstance(policies, list) else []
    return found, [name for name in names if isinstance(name, str)]


def print_list(scenarios: Sequence[Scenario], policies: Sequence[str], kernels: catalog.Catalog) -> None:
    """Prints what --list shows."""
    if scenarios:
        shown = {grid.ID if grid.of_grid(one.name) else one.name: one for one in scenarios}
        rows = [("scenario", "paths", "")] + [(name, " ".join(one.paths), one.title) for name, one in shown.items()]
        widths = [max(len(row[column]) for row in rows) for column in range(2)]
        for name, paths, title in rows:
            print(f"{name:<{widths[0]}}  {paths:<{widths[1]}}  {title}".rstrip())
    else:
        print("mpsched-lab knows no scenario.")
    print(f"\npolicies: {' '.join([*policies, plan.ALONE, plan.ALONE + ':PATH'])}")
    print(f"kernels: {' '.join(kernel.name for kernel in kernels.kernels)}")


def grouped(wanted: Sequence[Key], outcomes: Sequence[Outcome], titles: dict[str, str]) -> list[stats.Group]:
    """The outcomes as tables, in the order of the plan."""
    by_key = {outcome.key: outcome for outcome in outcomes}
    found = []
    for kernel, scenario in dict.fromkeys((key.kernel, key.scenario) for key in wanted):
        runs: dict[str, list[result.Run]] = {}
        failed: dict[str, int] = {}
        title = titles.get(scenario, "")
        for key in wanted:
            if (key.kernel, key.scenario) != (kernel, scenario):
                continue
            mine = runs.setdefault(key.policy, [])
            outcome = by_key.get(key)
            if outcome is None:
                continue
            if not outcome.ok:
                failed[key.policy] = failed.get(key.policy, 0) + 1
                continue
            mine.append(result.parse(outcome.document))
            title = title or mine[-1].title
        found.append(stats.group(kernel, scenario, title, runs, failed))
    return found


def everything(command: str, made: datetime.datetime, outcomes: Sequence[Outcome], groups: Sequence[stats.Group]) -> str:
    """The one JSON document with all results and what the tables show."""
    summary = [
        {
            "kernel": group.kernel,
            "scenario": group.scenario,
            "policy": row.policy,
            "runs": len(row.runs),
            "failed": row.failed,
            "main_metric": row.main.key if row.main else None,
            "median": row.values,
            "p50_ms": row.p50_ms,
            "p90_ms": row.p90_ms,
            "of_bound": row.of_bound,
            "of_default": row.of_baseline,
            "shares": row.shares,
            "sizes": [
                {
                    "bytes": size.size_bytes,
                    "p50_ms": size.p50_ms,
                    "p90_ms": size.p90_ms,
                    "bound_ms": size.bound_ms,
                    "of_bound": stats.ratio(size.p50_ms, size.bound_ms),
                    "of_default": row.size_of_baseline.get(size.size_bytes),
                }
                for size in row.sizes
            ],
        }
        for group in groups
        for row in group.rows
    ]
    document = {
        "schema_version": 1,
        "command": command,
        "made": made.isoformat(timespec="seconds"),
        "grid": [grid_document(one) for one in grid.grids(groups)],
        "summary": summary,
        "runs": [outcome.to_json() for outcome in outcomes],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def grid_document(one: grid.Grid) -> dict[str, Any]:
    """The sums of the grid under one policy, and its cells."""

    def cell(found: grid.Cell | None) -> dict[str, Any] | None:
        if found is None:
            return None
        shown = dataclasses.asdict(found) | {"pair": str(found.pair)}
        return shown | {"of_bound": found.of_bound, "of_default": found.of_default}

    return {
        "kernel": one.kernel,
        "policy": one.policy,
        "pairs": len(one.pairs),
        "failed": one.failed,
        "mean_of_bound": {first: one.mean_of_bound(first) for first in grid.FIRSTS},
        "mean_of_default": {first: one.mean_of_default(first) for first in grid.FIRSTS},
        "worst_of_bound": cell(one.worst_of_bound),
        "worst_of_default": cell(one.worst_of_default),
        "worse_than_default": len(one.worse),
        "cells": [cell(found) for found in one.cells],
    }


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


class Lab:
    """One invocation."""

    def __init__(self, options: argparse.Namespace, command: str) -> None:
        self._options = options
        self._command = command
        self._build: Path = options.build.absolute()
        self._made = datetime.datetime.now()
        self._lock = threading.Lock()
        self._outcomes: dict[Key, Outcome] = {}
        self._per_vm = 1

    def run(self) -> int:
        """Returns the exit status. Raises PlanError and VmError."""
        options = self._options
        if options.jobs < 1 or options.per_vm is not None and options.per_vm < 1 or not options.timeout > 0:
            raise PlanError("--jobs, --per-vm and --timeout must be positive.")
        if options.baseline is not None and not (options.baseline / keep.RUNS).is_dir():
            raise PlanError(f"--baseline {options.baseline}: there are no results in it.", "It is the --out of a run.")
        for param in options.params:
            if "=" not in param or param.startswith("="):
                raise PlanError(f"-s {param}: that is no KEY=VALUE.")
        kernels = catalog.load(options.kernels)
        scenarios, policies = listed(ask(self._build / "bin" / "mpsched-lab", ["list", "--json"]))
        if not policies:
            described = ask(self._build / "bin" / "mpsched", ["policy", "list", "--json"])
            if isinstance(described, list):
                policies = [one["name"] for one in described if isinstance(one, dict) and "name" in one]
        if options.list:
            print_list(scenarios, policies, kernels)
            return OK
        if not options.scenarios:
            raise PlanError("No scenario is given.", f"{PROGRAM} --list shows them; 'all' is all of them.")
        chosen = plan.scenarios(scenarios, options.scenarios)
        names = [name for words in options.kernel or [DEFAULT_KERNEL] for name in words.split(",") if name]
        try:
            wanted_kernels = [kernels.kernel(name) for name in dict.fromkeys(names)]
        except VmError as error:
            raise PlanError(error.what, error.next) from None
        if options.pairs is not None:
            chosen = grid.part(chosen, options.pairs)
        only_grid = all(grid.of_grid(one.name) for one in chosen)
        self._per_vm = options.per_vm or (grid.PER_VM if only_grid else 1)
        by_scenario = plan.policies(
            policies, chosen, options.policy or ([stats.BASELINE] if only_grid else [stats.BASELINE, plan.ALONE])
        )
        for name, mine in by_scenario.items():
            if grid.of_grid(name) and stats.BASELINE not in mine:
                mine.insert(0, stats.BASELINE)
        wanted = plan.keys(
            [kernel.name for kernel in wanted_kernels],
            chosen,
            by_scenario,
            plan.seeds(options.seeds or ("1" if only_grid else "3")),
            options.params,
        )
        if not wanted:
            raise PlanError("Nothing is left to run.", "Does a chosen scenario have that path?")
        return self._execute(kernels, wanted_kernels, chosen, wanted)

    def _execute(
        self,
        kernels: catalog.Catalog,
        wanted_kernels: Sequence[catalog.Kernel],
        chosen: Sequence[Scenario],
        wanted: Sequence[Key],
    ) -> int:
        options = self._options
        out: Path = options.out or self._build / "lab" / self._made.strftime("%Y-%m-%d-%H%M%S")
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PlanError(f"--out {out}: {error.strerror}") from None
        settings = execute.Settings(
            catalog=kernels,
            build=self._build,
            build_digest=keep.digest(execute.built(self._build)),
            jobs=options.jobs,
            wall_limit_s=options.timeout,
            real_time=options.real_time,
        )
        if not options.again:
            self._outcomes = keep.load(out, wanted)
        if options.baseline is not None:
            # Before those of --out, also with --again: whoever gives it wants default not to run again.
            self._outcomes |= keep.load(options.baseline, [key for key in wanted if key.policy == stats.BASELINE])
        left = [key for key in wanted if key not in self._outcomes]
        network_s = {one.name: one.network_s or grid.network_s(one.name) or 0.0 for one in chosen}
        self._tell_plan(wanted, left, out, settings)
        started = time.monotonic()
        interrupted: cli.Interrupted | None = None
        if left:
            # Fetched one after the other before anything runs: a kernel that cannot be had is told at once.
            for kernel in wanted_kernels:
                if kernel.packages:
                    store.refresh(kernel)
            guest.base()
            display = progress.Display(
                sys.stderr, left, options.jobs, network_s, time.monotonic, total=len(wanted)
            )  # fmt: skip

            def ended(outcome: Outcome) -> None:
                keep.save(out, outcome)
                with self._lock:
                    self._outcomes[outcome.key] = outcome
                display.ended(outcome.key, outcome.wall_s, short(outcome), failed=not outcome.ok)

            executor = execute.Executor(
                settings, started=display.started, ended=ended, requeued=display.requeued
            )  # fmt: skip
            try:
                executor.run(plan.groups(left, self._per_vm, network_s), display.tick)
            except cli.Interrupted as signal:
                interrupted = signal
            finally:
                display.close()
        return self._report(out, chosen, wanted, time.monotonic() - started, interrupted)

    def _tell_plan(self, wanted: Sequence[Key], left: Sequence[Key], out: Path, settings: execute.Settings) -> None:
        words = f"{text.count_of(len(wanted), 'run')} of {text.count_of(len({k.scenario for k in wanted}), 'scenario')}"
        if len(left) < len(wanted):
            words += f", {len(wanted) - len(left)} of them already in {out}"
        if left:
            words += f"; up to {min(self._options.jobs, len(left))} VMs side by side"
        say(words)
        others = sum(outcome.build != settings.build_digest for outcome in self._outcomes.values())
        if others:
            say(f"{text.count_of(others, 'result')} there came from another build of mpsched; --again runs everything")

    def _report(
        self,
        out: Path,
        chosen: Sequence[Scenario],
        wanted: Sequence[Key],
        wall_s: float,
        interrupted: cli.Interrupted | None,
    ) -> int:
        outcomes = [self._outcomes[key] for key in wanted if key in self._outcomes]
        groups = grouped(wanted, outcomes, {one.name: one.title for one in chosen})
        failed = [outcome for outcome in outcomes if not outcome.ok]
        facts = page.Facts(self._command, self._made, len(wanted), outcomes, groups)
        keep.write(out / keep.EVERYTHING, everything(self._command, self._made, outcomes, groups))
        keep.write(out / keep.REPORT, page.html(facts))
        if outcomes:
            print(text.report(groups))
        if failed:
            print("\nFailed:")
            for outcome in failed:
                print(f"  {outcome.key}: {outcome.what}" + (f"\n    {outcome.hint}" if outcome.hint else ""))
        missing = len(wanted) - len(outcomes)
        print(
            f"\n{len(outcomes) - len(failed)} ok, {len(failed)} failed"
            + (f", {missing} not run" if missing else "")
            + f" in {text.duration(wall_s)}"
        )
        print(f"results: {out / keep.EVERYTHING}\nreport: {out / keep.REPORT}", flush=True)
        if interrupted is not None:
            say(f"interrupted; the VMs were ended. To go on: the same command with --out {shlex.quote(str(out))}")
            return interrupted.code
        return FAILED if failed or missing else OK


def say(words: str) -> None:
    """A line for people."""
    for line in words.splitlines():
        print(f"lab: {line}", file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Entry point; returns the status to exit with."""
    words = sys.argv[1:] if words is None else list(words)
    options = parser().parse_args(words)
    try:
        with cli.interruptible():
            return Lab(options, f"{PROGRAM} {shlex.join(words)}").run()
    except PlanError as error:
        say(str(error))
        return USAGE
    except VmError as error:
        say(str(error))
        return error.status
    except cli.Interrupted as interrupted:
        say("interrupted; the VMs were ended")
        return interrupted.code
    except BrokenPipeError:
        return FAILED
    except OSError as error:
        say(f"{error.filename or PROGRAM}: {error.strerror}")
        return FAILED
