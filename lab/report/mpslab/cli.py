# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The command line of ./run lab."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mpsvm import catalog, cli, guest
from mpsvm.status import VmError

from . import check, combine, execute, grid, plan
from .plan import PlanError
from .session import DEFAULT_KERNEL, FAILED, OK, PROGRAM, Inventory, Session, say


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog=PROGRAM,
        usage="./run lab SCENARIO... [option...]\n"
        "       ./run lab report RESULTS... -o DIR\n"
        "       ./run lab --list\n"
        "       ./run lab --check PAGE [--list | --table N[,N...]]",
        description="Runs scenarios × policies × seeds in VMs in virtual time, as many side by side as there are CPUs. "
        "Prints a table for each scenario, and leaves results.json and report.html in --out.",
        epilog="A scenario is a name that --list shows, without what is behind the slash (all its variants), its number ('S4'), a pattern "
        "('blackhole*') or 'all'. The "
        "policy 'alone' is each path of the scenario alone, 'alone:PATH' is one of them; one of your own is its file, "
        "my.bpf.o or my.bpf.c, and is called in the report what its MPS_POLICY() line calls it.\n\n"
        "'grid' is 36 pairs of paths × 7 sizes × which path is first, with a heat map for each policy and a summary "
        "(not part of 'all'). It always runs default as well: --baseline takes that from an earlier run.\n\n"
        "'report' puts results of several runs into one report: folders of --out, results.json, single results of "
        "'mpsched-lab run --json'.\n\n"
        "--check runs the commands beneath the tables of a page with measurements again, compares each number under a "
        "policy, and ends with 1 if one is not as documented. CONTRIBUTING.md tells how such tables are written.\n\n"
        "What it will cost is told first. More than 10 minutes of CPU time are asked for on a terminal, and refused "
        "without one, unless there is --yes.\n\n"
        "exit status: 0 all ran, 1 some failed, a policy does not load, or a number is not as documented, 2 usage or not agreed to, 69 no VM could run, "
        "130 interrupted (what had ended is reported; the same command with the same --out goes on from there)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("scenarios", nargs="*", metavar="SCENARIO")
    add("--list", action="store_true", help="list the scenarios, policies and kernels, and run nothing")
    add("--check", type=Path, metavar="PAGE", help="run what is documented again and compare; with --list: its tables")
    add("--table", metavar="N[,N...]", help="only these tables of the page")
    add("--kernel", "-k", action="append", default=[], metavar="K[,K...]", help=f"default: {DEFAULT_KERNEL}")
    add("--policy", "-p", action="append", default=[], metavar="P[,P...]", help="names, or files of your own; "
        "default: default,alone; of the grid: default")  # fmt: skip
    add("--seeds", metavar="N", help="how many (3), a range (4-9) or a list (1,5,7); default: 3, of the grid: 1")
    add("--pairs", type=int, metavar="N", help="only N pairs of the grid, spread over it; always the same ones")
    add("-s", dest="params", action="append", default=[], metavar="KEY=VALUE", help="a parameter, for those policies that "
        "have it")  # fmt: skip
    add("--out", "-o", type=Path, metavar="DIR", help="results; those that are there are not run again "
        "(default: a new folder in lab/ of the build folder)")  # fmt: skip
    add("--baseline", type=Path, metavar="DIR", help="--out of an earlier run: its results of default are taken, too")
    add("--again", action="store_true", help="run also what --out has results of")
    add("--yes", "-y", action="store_true", help="agree to whatever it costs")
    add("--jobs", type=int, default=execute.cpus(), metavar="N", help="VMs side by side (default: one a CPU)")
    add("--per-vm", type=int, metavar="N", help="runs in one VM, one after the other: saves the boot, about "
        f"4 s, but a run then also depends on those before it (default: 1, of the grid: {grid.PER_VM})")  # fmt: skip
    add("--timeout", type=float, default=600.0, metavar="S", help="seconds for one run (default: 600), of CPU time: a busy "
        "machine has more of the clock's. Booting gets as much")  # fmt: skip
    add("--build", type=Path, default=guest.REPOSITORY / "build", metavar="DIR", help="the build folder")
    add("--kernels", type=Path, default=catalog.DEFAULT_FILE, metavar="FILE", help="instead of vmtest/kernels.toml")
    add("--real-time", action="store_true", help="real time instead of virtual time")
    return made


def print_list(there: Inventory) -> None:
    """Prints what --list shows."""
    if there.scenarios:
        shown = {grid.ID if grid.of_grid(one.name) else one.name: one for one in there.scenarios}
        rows = [("scenario", "", "paths", "")]
        rows += [(name, one.number, " ".join(one.paths), one.title) for name, one in shown.items()]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        for name, number, paths, title in rows:
            print(f"{name:<{widths[0]}}  {number:<{widths[1]}}  {paths:<{widths[2]}}  {title}".rstrip())
    else:
        print("mpsched-lab knows no scenario.")
    print(f"\npolicies: {' '.join([*there.policies, plan.ALONE, plan.ALONE + ':PATH', 'FILE.bpf.o', 'FILE.bpf.c'])}")
    print(f"kernels: {' '.join(kernel.name for kernel in there.kernels.kernels)}")


def run(words: Sequence[str]) -> int:
    """Does what the command line says; returns the status to exit with. Raises PlanError and VmError."""
    if words[:1] == [combine.VERB]:
        return combine.main(words[1:])
    options = parser().parse_args(words)
    if options.check is not None:
        return check.main(options, words, parser)
    if options.table is not None:
        raise PlanError("--table is for --check PAGE.")
    if options.list:
        print_list(Inventory.take(options))
        return OK
    with Session(options, words) as session:
        wanted = session.plan()
        return session.report(wanted, session.run(wanted))


def main(words: Sequence[str] | None = None) -> int:
    """Entry point; returns the status to exit with."""
    words = sys.argv[1:] if words is None else list(words)
    try:
        with cli.interruptible():
            return run(words)
    except PlanError as error:
        say(str(error))
        return error.status
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
