# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The kernel's own MPTCP selftests with mpsched on every interface, against the same without it.

What passes without mpsched must pass with it, for each policy and mode; a difference that has a reason stands in
selftests.toml. Not part of `run test`: emulated, all of it takes hours. On this machine's own kernel (here.py) it takes minutes a
script, and real time makes the scripts' limits a matter of luck: what gets worse there is run once more.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import fnmatch
import hashlib
import json
import os
import shlex
import shutil
import signal
import threading
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from . import cache, catalog, cli, guest, here, kselftest, runner, status, store
from .catalog import Catalog, Kernel, TestRule
from .kselftest import Report
from .status import VmError

TESTS = ("pm_netlink", "mptcp_sockopt", "userspace_pm", "simult_flows", "mptcp_connect", "mptcp_join")
# Has no connection, so nothing can be decided.
WITHOUT_TRAFFIC = ("pm_netlink",)
# Its path manager has no endpoints, so each connection has one subflow, and nothing is decided.
ONE_SUBFLOW = ("mptcp_connect",)
# Without netem its paths have no rates, and all of it passes whatever is done.
NEEDS_NETEM = ("simult_flows",)
POLICIES = ("auto", "weighted", "active-standby", "round-robin")
MODES = ("native", "generic", "tc")
DIFFERENCES = Path(__file__).resolve().parent.parent / "selftests.toml"
# What the scripts call and the guest's busybox does differently or not at all -> Debian package.
TOOLS = {
    "iptables": "iptables", "ip6tables": "iptables", "iptables-restore": "iptables", "nft": "nftables", "sysctl": "procps", "ps": "procps",
    "cmp": "diffutils", "diff": "diffutils", "awk": "mawk", "sed": "sed", "grep": "grep", "xargs": "findutils",
    "date": "coreutils", "dd": "coreutils", "readlink": "coreutils", "mktemp": "coreutils", "od": "coreutils", "stat": "coreutils",
    "sleep": "coreutils", "stdbuf": "coreutils", "tac": "coreutils", "head": "coreutils", "tail": "coreutils", "cut": "coreutils", "tr": "coreutils",
}  # fmt: skip
# tools/testing/selftests/net/mptcp/config. What a kernel lacks makes the subtests that need it skip, in both runs.
MODULES = (
    "act_csum", "act_pedit", "act_gact", "cls_fw", "cls_u32", "sch_netem", "nf_tables", "nft_compat", "nft_tproxy", "nft_socket", "xt_length", "xt_statistic",
    "xt_mark", "xt_bpf", "xt_tcpudp", "ipt_REJECT", "ip6t_REJECT", "iptable_filter", "ip6table_filter", "iptable_mangle", "mptcp_diag", "tcp_diag", "inet_diag",
)  # fmt: skip
LIBRARY = "/usr/lib/x86_64-linux-gnu"
PLACE = "/selftests"
LOG = "/run/selftest"


@dataclasses.dataclass(frozen=True)
class Setup:
    """How mpsched is attached in one run of a script; without a policy it is not."""

    policy: str = ""
    mode: str = ""

    def __str__(self) -> str:
        return f"{self.policy}, {self.mode}" if self.policy else "without mpsched"

    @property
    def attach(self) -> str:
        """The options of 'mpsched attach'."""
        return f"--policy {self.policy} --mode {self.mode}" if self.policy else ""


@dataclasses.dataclass(frozen=True)
class Difference:
    """A subtest that is allowed to fail with mpsched, and why."""

    rule: TestRule
    policies: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    check: str = ""  # shell pattern: only if nothing else in the subtest failed

    def excuses(self, kernel: str, setup: Setup, name: str, failed: Sequence[str] = ()) -> bool:
        """Whether it is meant for this subtest in this run, in which these checks failed."""
        if self.check and not (failed and all(fnmatch.fnmatchcase(check, self.check) for check in failed)):
            return False
        return (
            self.rule.matches(kernel, name)
            and (not self.policies or setup.policy in self.policies)
            and (not self.modes or setup.mode in self.modes)
        )


def read_differences(path: Path) -> list[Difference]:
    """The listed differences. Raises VmError for a file that is wrong."""
    try:
        rows = tomllib.loads(path.read_text()).get("differs", [])
        return [
            Difference(
                TestRule(row["test"], row["reason"], tuple(row.get("kernels", ()))),
                tuple(row.get("policies", ())),
                tuple(row.get("modes", ())),
                row.get("check", ""),
            )
            for row in rows
        ]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise VmError(f"{path.name}: {error!r}", "Each [[differs]] needs 'test' and 'reason'.") from None


def tools() -> list[guest.Extra]:
    """The programs of this machine that the scripts need. Raises VmError that names a missing package."""
    found = [
        guest.Extra(guest.find_tool(name, package).resolve(), f"/usr/local/bin/{name}")
        for name, package in TOOLS.items()
    ]
    extensions = Path(LIBRARY) / "xtables"
    if extensions.is_dir():
        found.append(guest.Extra(extensions, str(extensions)))
    return found


def script(test: str, setup: Setup) -> str:
    """The guest's side: one script of the kernel, its output and its status to a file of ours."""
    return "\n".join(
        (
            f"mkdir -p {LOG} /run/bpf && mount -t bpf -o mode=0700 bpf /run/bpf",
            f"export MPS_BPFFS=/run/bpf MPS_SELFTEST_LOG={LOG} MPS_SELFTEST_ATTACH={shlex.quote(setup.attach)}",
            "sysctl -qw net.ipv4.tcp_congestion_control=cubic",
            f"cd {PLACE}/mptcp",
            f"bash ./{test}.sh >{LOG}/output 2>&1",
            "status=$?",
            f"cat {LOG}/output",
            f"for file in output failures stats; do [ -e {LOG}/$file ] && vmctl put {LOG}/$file; done",
            f"vmctl say note ended {test} $status",
            "exit 0",
        )
    )


@dataclasses.dataclass
class Run:
    """What came of one script in one VM."""

    report: Report
    trouble: list[str]  # of mpsched itself or of the VM
    decisions: int = 0  # that the data path made
    single: int = 0  # packets it found with nothing to decide, since their connection has one subflow
    wall_s: float = 0.0
    earlier: bool = False  # not run now: the same had been run before


@dataclasses.dataclass(frozen=True)
class Task:
    """One script to run, and how."""

    kernel: Kernel
    folder: Path  # of the scripts
    test: str
    setup: Setup


def _log_name(task: Task) -> str:
    return f"{task.kernel.name}-{task.test}-{str(task.setup).replace(', ', '-').replace(' ', '-')}.log"


def _read_run(test: str, outcome: here.Outcome, started: float) -> Run:
    """What a script left behind, understood."""
    output = outcome.output.decode(errors="replace")
    return Run(
        Report(kselftest.parse(output), outcome.status, kselftest.failed_checks(test, output)),
        outcome.failures.decode(errors="replace").splitlines(),
        _counted(outcome.stats, "decided"),
        _counted(outcome.stats, "single"),
        time.monotonic() - started,
    )


def _counted(stats: bytes, name: str) -> int:
    """The sum of one counter of 'mpsched stats --json', one document for each namespace."""
    total, decoder, text = 0, json.JSONDecoder(), stats.decode(errors="replace").strip()
    while text:
        try:
            document, end = decoder.raw_decode(text)
        except ValueError:
            break
        if isinstance(document, dict):
            total += int(document.get(name, 0))
        text = text[end:].lstrip()
    return total


class Kept:
    """Results in the cache folder: in virtual time the same files and seed give the same run, so it need not be repeated.

    That makes an interrupted run go on where it was, and the runs without mpsched serve every build. In real time a run may come
    out otherwise the next time; it is kept for the same reason.
    """

    def __init__(self, task: Task, seed: int, words: str, program: Path) -> None:
        facts = [cache.read_facts(folder) for folder in (cache.root() / task.kernel.name, task.folder.parents[3])]
        binary = mpsched_files(program) if task.setup.policy else ""
        key = json.dumps([facts, seed, words, binary, guest_files()], sort_keys=True)
        name = f"{task.kernel.name}-{task.test}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
        self._path = cache.root() / "selftests" / "results" / name

    def read(self) -> Run | None:
        """What was kept, if it was."""
        try:
            kept = json.loads(self._path.read_text())
            counted = (kept["decisions"], kept["single"])
            return Run(Report(kept["subtests"], kept["status"], kept.get("checks", {})), [], *counted, kept["wall_s"], earlier=True)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, run: Run) -> None:
        """Keeps a run that nothing was wrong with but, perhaps, subtests."""
        if run.trouble or run.report.status is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "subtests": run.report.subtests,
            "status": run.report.status,
            "checks": run.report.checks,
            "decisions": run.decisions,
            "single": run.single,
            "wall_s": run.wall_s,
        }
        fresh = self._path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        fresh.write_text(json.dumps(document, indent=1) + "\n")
        fresh.rename(self._path)


def mpsched_files(program: Path) -> str:
    """A digest of mpsched and of its own library, where nearly all of it is."""
    own = [library for library in guest.libraries([program]) if library.name.startswith("libmpsched")]
    return hashlib.sha256("".join(cache.sha256(file) for file in (program, *own)).encode()).hexdigest()


def guest_files() -> str:
    """A digest of what of ours is in the guest beside mpsched."""
    files = sorted((guest.HERE / "guest").iterdir())
    return hashlib.sha256("".join(cache.sha256(file) for file in files).encode()).hexdigest()


class Selftests:
    """One run over all scripts, policies and modes."""

    def __init__(self, options: argparse.Namespace, kernels: Catalog) -> None:
        self._options = options
        self._catalog = kernels
        self._build: Path = options.build.absolute()
        self._logs: Path = options.logs or self._build / "selftests"
        self._differences = read_differences(options.differences)
        self._stop = threading.Event()
        self._print_lock = threading.Lock()
        self._done = self._total = 0
        self.passed = 0
        self.failures: list[str] = []
        self.skips: list[str] = []

    def run_one(self, task: Task) -> Run:
        """One script's result, run or kept from before, and a line about it. Raises VmError if the VM cannot be prepared."""
        kept = self._kept(task)
        run = None if self._options.fresh else kept.read()
        if run is None:
            run = self._run_here(task) if self._options.here else self._boot(task)
            kept.write(run)
        self._tell(task, run)
        return run

    def _kept(self, task: Task) -> Kept:
        words = script(task.test, task.setup)
        if self._options.here:
            words = f"here, Linux {os.uname().release}: {task.setup.attach}"
        return Kept(task, self._options.seed, words, self._build / "bin" / "mpsched")

    def _boot(self, task: Task) -> Run:
        """Runs one script in a VM."""
        wanted = [extra for extra in guest.built(self._build) if extra.name.endswith("/bin/mpsched")]
        wrapper = guest.Extra(guest.HERE / "guest" / "selftest-ip.sh", "/usr/local/bin/ip")
        job = runner.Job(
            kernel=task.kernel,
            words=[script(task.test, task.setup)],
            seed=self._options.seed,
            memory_mib=1536,
            timeout_s=self._options.timeout,
            modules=[*self._catalog.modules, *self._modules(task.kernel)],
            extras=[*wanted, *tools(), wrapper, guest.Extra(task.folder, PLACE)],
            path=[str(self._build / "bin")],
        )
        started = time.monotonic()
        with open(self._logs / _log_name(task), "wb", buffering=0) as file:
            result = runner.run(
                job, self._catalog, output=file.write, error=file.write, say=lambda text: None, stop=self._stop
            )
        ended = [note[2] for note in result.notes if note[:1] == ("ended",) and len(note) == 3]
        files = (result.files.get(file, b"") for file in ("output", "failures", "stats"))
        run = _read_run(task.test, here.Outcome(*files, int(ended[0]) if ended else None), started)
        if result.verdict.status != status.OK:
            run.trouble.append(f"vmtest status {result.verdict.status}: {'; '.join(result.verdict.messages[:2])}")
        return run

    def _run_here(self, task: Task, only: Sequence[str] = ()) -> Run:
        """Runs one script on this machine's kernel, or those of its subtests that are named."""
        started = time.monotonic()
        words = (task.test, *only)
        outcome = here.run(task.folder, words, task.setup.attach, self._build, self._options.timeout, self._stop)
        log = self._logs / _log_name(task)
        (log.with_suffix(".again.log") if only else log).write_bytes(outcome.output)
        return _read_run(task.test, outcome, started)

    def _excuse(self, task: Task, run: Run, line: str) -> Difference | None:
        """What excuses something that got worse."""
        name = line.rpartition(": ")[0]
        failed = run.report.checks.get(name, ())
        return next((d for d in self._differences if d.excuses(task.kernel.name, task.setup, name, failed)), None)

    def _worse(self, task: Task, before: Run, run: Run) -> list[str]:
        """What got worse. In real time what has no excuse is run once more, and counts if it is worse then, too."""
        worse = kselftest.worse(before.report, run.report)
        unexcused = [line for line in worse if not self._excuse(task, run, line)]
        if not unexcused or not self._options.here:
            return worse
        self._total += 1
        second = self._run_here(task, kselftest.words_for(task.test, unexcused))
        self._tell(task, second)
        run.trouble += second.trouble
        run.report = kselftest.better(run.report, second.report)
        self._kept(task).write(run)
        return kselftest.worse(before.report, run.report)

    def _tell(self, task: Task, run: Run) -> None:
        verdicts = list(run.report.subtests.values())
        with self._print_lock:
            self._done += 1
            print(
                f"  {self._done:>3}/{self._total}  {task.kernel.name:<5} {task.test:<14} {str(task.setup):<24} "
                f"{verdicts.count('ok'):>4} ok {verdicts.count('not ok'):>3} not ok {verdicts.count('skip'):>3} skipped"
                f"  {run.decisions:>9} decisions  " + ("kept from before" if run.earlier else f"{run.wall_s:6.1f} s"),
                flush=True,
            )

    def _modules(self, kernel: Kernel) -> list[str]:
        """Those of MODULES that this kernel has."""
        with store.ready(kernel, self._logs) as files:
            return [name for name in MODULES if name in files.tree]

    def compare(self, task: Task, before: Run, after: Run) -> None:
        """Adds to the sums what a run with mpsched shows against the one without."""
        kernel, test, setup = task.kernel, task.test, task.setup
        where = f"{kernel.name}: {test} ({setup})"
        worse = self._worse(task, before, after)
        for line in after.trouble:
            self.failures.append(f"{where}: {line}")
        met = after.single if test in ONE_SUBFLOW else after.decisions
        if not met and test not in WITHOUT_TRAFFIC:
            self.failures.append(f"{where}: mpsched met no connection, so this says nothing")
        for line in worse:
            excuse = self._excuse(task, after, line)
            if excuse:
                self.skips.append(f"{where}: {line}: {excuse.rule.reason}")
            else:
                self.failures.append(f"{where}: {line}")
        self.passed += sum(after.report.subtests.get(name) == "ok" for name in before.report.subtests)

    def run(self) -> int:
        """Runs everything, says how it goes, and prints the sums. Returns the exit status. Raises VmError."""
        options = self._options
        setups = [Setup(policy, mode) for policy in options.policy or POLICIES for mode in options.mode or MODES]
        kernels = [self._catalog.kernel(name) for name in options.kernel or ["7.2"]]
        self._logs.mkdir(parents=True, exist_ok=True)
        tests = self._possible(options.tests or TESTS)
        tasks = [
            Task(kernel, folder, test, setup)
            for kernel, folder in [(kernel, kselftest.fetch(kernel)) for kernel in kernels]
            for test in tests
            for setup in (Setup(), *setups)
        ]
        self._total = len(tasks)
        where = "on this machine's kernel" if options.here else "in VMs"
        print(f"{self._total} runs {where}, {options.jobs} side by side; logs in {self._logs}", flush=True)
        if not options.here:
            guest.base()
        if tasks:
            self._judge(tasks, self._run_all(tasks))
        for title, lines in (("Listed differences", self.skips), ("Worse with mpsched", self.failures)):
            if lines:
                print(f"\n{title}:")
                for line in lines:
                    print(f"  {line}")
        print(f"\n{self.passed} passed, {len(self.failures)} failed, {len(self.skips)} skipped", flush=True)
        return 0 if self.passed and not self.failures else 1

    def _possible(self, tests: Sequence[str]) -> list[str]:
        """Those that say something where they are to run; the others are counted as skipped."""
        empty = [test for test in tests if test in NEEDS_NETEM]
        if not self._options.here or not empty or here.has_netem():
            return list(tests)
        self.skips += [f"{test}: this machine's kernel has no netem, without which it shows nothing; leave out --here" for test in empty]
        return [test for test in tests if test not in empty]

    def _run_all(self, tasks: Sequence[Task]) -> list[Run]:
        with concurrent.futures.ThreadPoolExecutor(max_workers=self._options.jobs) as pool:
            futures = [pool.submit(self.run_one, task) for task in tasks]
            try:
                return [future.result() for future in futures]
            except BaseException:
                # Every worker sees this within a moment and ends its VM.
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _judge(self, tasks: Sequence[Task], runs: Sequence[Run]) -> None:
        """Compares every run with the one without mpsched, which comes first of its script."""
        before = runs[0]
        for task, run in zip(tasks, runs, strict=True):
            if task.setup.policy:
                self.compare(task, before, run)
                continue
            before = run
            if not run.report.subtests or run.trouble:
                self.failures.append(f"{task.kernel.name}: {task.test} without mpsched: {run.trouble or 'no subtest'}")


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="selftests",
        description="Runs the kernel's own MPTCP selftests, from Debian's kernel sources, in a VM: once without mpsched, then with "
        "it on every interface, with each policy in each mode. What passes without must pass with it. The last line is "
        "'N passed, N failed, N skipped': subtests, what got worse, and differences that selftests.toml gives a reason for.",
        epilog=f"tests: {' '.join(TESTS)}. One script takes from half a minute to an hour of an emulated CPU, with --here up to ten minutes.",
        allow_abbrev=False,
    )
    add = made.add_argument
    add("tests", nargs="*", metavar="TEST", help="only these scripts (default: all that are listed below)")
    add("-k", "--kernel", action="append", metavar="KERNEL", help="a kernel of kernels.toml; may be repeated (default 7.2)")
    add("--here", action="store_true", help="on this machine's own kernel instead of in VMs, as root: minutes a script instead of hours (-k says "
        "whose scripts)")
    add("--policy", action="append", metavar="NAME", help=f"may be repeated (default: {', '.join(POLICIES)})")
    add("--mode", action="append", choices=[*MODES, "auto"], help=f"may be repeated (default: {', '.join(MODES)})")
    add("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="VMs side by side (default: one a CPU)")
    add("--fresh", action="store_true", help="run also what was run before with the same files and seed")
    add("--build", type=Path, default=guest.REPOSITORY / "build", metavar="DIR", help="the build folder")
    add("--logs", type=Path, metavar="DIR", help="where the scripts' outputs go (default: selftests/ in the build folder)")
    add("--seed", type=int, default=1, metavar="N", help="of what is random in virtual time (default 1)")
    add("--timeout", type=float, default=7200.0, metavar="S", help="seconds of CPU time for one script (default 7200); with --here of real time")
    add("--differences", type=Path, default=DIFFERENCES, metavar="FILE", help="instead of selftests.toml")
    return made


def main(words: Sequence[str] | None = None) -> int:
    """Entry point; returns the status to exit with."""
    options = parser().parse_args(words)
    options.jobs = max(1, options.jobs)
    unknown = [test for test in options.tests if test not in TESTS]
    if unknown:
        parser().error(f"there is no test '{unknown[0]}'; there are: {' '.join(TESTS)}")
    try:
        with cli.interruptible():
            if options.here:
                here.check()
            elif not shutil.which("qemu-system-x86_64"):
                raise VmError("qemu-system-x86_64 is missing.", "./run setup selftests")
            return Selftests(options, catalog.load()).run()
    except VmError as error:
        cli.say(str(error))
        print("0 passed, 1 failed, 0 skipped", flush=True)
        return error.status
    except cli.Interrupted as interrupted:
        cli.say("interrupted; the VM was ended")
        return interrupted.code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
