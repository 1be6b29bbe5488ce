# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Runs what was planned in VMs, several side by side. A run that fails or hangs is an outcome like any other."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mpsvm import guest, runner, status
from mpsvm.catalog import Catalog
from mpsvm.status import VmError

from . import result
from .keep import Outcome
from .origin import Origin
from .plan import Key, PlanError
from .programs import Policy

# The guest's clock skips idle time, so a run that waits for ever is over here after a moment.
NETWORK_LIMIT_S = 7200
OUTPUT_TAIL = 2000

Vm = Callable[[runner.Job, threading.Event], runner.Result]


@dataclasses.dataclass
class Settings:
    """How to run."""

    catalog: Catalog
    build: Path
    build_digest: str = ""
    jobs: int = 1
    limit_s: float = 600.0  # of one run: CPU time, in real time the clock's
    real_time: bool = False
    policies: Mapping[str, Policy] = dataclasses.field(default_factory=dict)  # by name
    origin: Origin = dataclasses.field(default_factory=Origin)


def objects(settings: Settings) -> list[Policy]:
    """The policies that are not built in."""
    return [one for one in settings.policies.values() if one.object is not None]


def _in_guest(policy: Policy) -> str:
    """Where its object is there."""
    return f"/policies/{policy.name}-{policy.digest}.bpf.o"


def _typed(name: str, settings: Settings) -> str:
    """What mpsched is given for a policy."""
    policy = settings.policies.get(name)
    return _in_guest(policy) if policy is not None and policy.object is not None else name


def script(group: Sequence[Key], settings: Settings) -> str:
    """The guest's side. Each result leaves the VM at once, so that what comes later cannot harm it."""
    binary = shlex.quote(str(settings.build / "bin" / "mpsched-lab"))
    limit_s = NETWORK_LIMIT_S if not settings.real_time else max(1, int(settings.limit_s) - 15)
    lines = ["mkdir -p /run/results"]
    for number, key in enumerate(group):
        words = ["run", key.scenario, "--policy", _typed(key.policy, settings), "--seed", str(key.seed), "--json"]
        for param in key.params:
            words += ["-s", param]
        lines += [
            f"vmctl say note start {number}",
            f"timeout --kill-after=15 {limit_s} {binary} {shlex.join(words)} "
            f">/run/results/{number}.json 2>/run/results/{number}.err </dev/null",
            "status=$?",
            f"vmctl put /run/results/{number}.json",
            f"vmctl put /run/results/{number}.err",
            f"rm -f /run/results/{number}.*",
            f"vmctl say note ended {number} $status",
        ]
    lines.append("exit 0")
    return "\n".join(lines)


def check_script(policies: Sequence[Policy], params: Mapping[str, Sequence[str]]) -> str:
    """Loads each policy as a run does."""
    lines = [
        "mkdir -p /run/results",
        "ip link add check0 type veth peer name check1 && ip link set check0 up && ip link set check1 up",
        "mpsched attach check0 --policy default >/run/results/attach 2>&1 || vmctl put /run/results/attach",
    ]
    for number, policy in enumerate(policies):
        words = ["mpsched", "use", _in_guest(policy)]
        for param in params.get(policy.name, ()):
            words += ["-s", param]
        lines += [
            f"{shlex.join(words)} >/run/results/{number} 2>&1 </dev/null",
            f"vmctl say note checked {number} $?",
            f"vmctl put /run/results/{number}",
        ]
    return "\n".join([*lines, "mpsched detach --all >/dev/null 2>&1", "exit 0"])


def job(group: Sequence[Key], settings: Settings) -> runner.Job:
    """One VM for some runs."""
    return _job(group[0].kernel, script(group, settings), settings, group[0].seed, len(group))


def _job(kernel: str, text: str, settings: Settings, seed: int, parts: int) -> runner.Job:
    tests = str(settings.build / "bin" / "tests") + "/"
    built = [extra for extra in guest.built(settings.build) if not extra.name.startswith(tests)]
    return runner.Job(
        kernel=settings.catalog.kernel(kernel),
        words=[text],
        virtual_time=not settings.real_time,
        seed=seed,
        timeout_s=settings.limit_s * parts,
        modules=settings.catalog.modules,
        extras=[*built, *(guest.Extra(one.object, _in_guest(one)) for one in objects(settings) if one.object)],
        environment={"TERM": "dumb", "NO_COLOR": "1"},
        path=[str(settings.build / "bin")],
    )


def _document(data: bytes | None) -> tuple[Any, str]:
    """The last JSON document of what a run printed, and why there is none."""
    lines = [line for line in (data or b"").decode(errors="replace").splitlines() if line.strip()]
    if not lines:
        return None, "it printed no result"
    try:
        return json.loads(lines[-1]), ""
    except ValueError:
        pass
    try:
        # Somebody may print it on several lines.
        return json.loads("\n".join(lines)), ""
    except ValueError as error:
        return None, f"its result is no JSON: {error}"


def judge(key: Key, told: int | None, out: bytes | None, err: bytes | None, vm: str) -> Outcome:
    """The outcome of a run that ended with status `told` (None: it did not), having printed `out` and `err`.

    `vm` is what is wrong with the VM, "" if nothing is.
    """
    outcome = Outcome(key, output=(err or b"").decode(errors="replace")[-OUTPUT_TAIL:].strip())
    document, trouble = _document(out)
    if isinstance(document, dict):
        outcome.document = document
    if told is None:
        outcome.what = vm or "the VM ended before the run did"
    elif told in (124, 137) and document is None:
        outcome.what = "the run did not end and was killed"
    elif document is None:
        outcome.what = f"the run ended with status {told}, and {trouble}"
    else:
        outcome.what, outcome.hint = result.failure(document)
        if not outcome.what and told != 0:
            outcome.what = f"the run ended with status {told} although its result says ok"
        if not outcome.what and vm:
            outcome.what = vm
        if not outcome.what:
            try:
                run = result.parse(document)
                if (run.scenario, run.policy, run.seed) != (key.scenario, key.policy, key.seed):
                    outcome.what = f"the result is of {run.scenario} {run.policy} seed {run.seed}"
                elif key.object and not run.sha256.startswith(key.object):
                    outcome.what = f"the result is of another object of {run.policy}"
            except ValueError as error:
                outcome.what = str(error)
    if not outcome.hint and outcome.what and outcome.output:
        outcome.hint = outcome.output.splitlines()[-1]
    return outcome


class Executor:
    """Works off groups of runs. `ended` and the others are called from the threads that run the VMs."""

    def __init__(
        self,
        settings: Settings,
        *,
        started: Callable[[Key], None] = lambda _: None,
        ended: Callable[[Outcome], None] = lambda _: None,
        requeued: Callable[[Key], None] = lambda _: None,
        vm: Vm | None = None,
    ) -> None:
        self._settings = settings
        self._started, self._ended, self._requeued = started, ended, requeued
        self._vm: Vm = vm or self._boot
        self._stop = threading.Event()
        self._lock = threading.Condition()
        self._queue: collections.deque[list[Key]] = collections.deque()
        self._busy = 0
        self._error: BaseException | None = None

    def _boot(self, wanted: runner.Job, stop: threading.Event) -> runner.Result:
        nothing = lambda _: None  # noqa: E731
        return runner.run(wanted, self._settings.catalog, output=nothing, error=nothing, say=nothing, stop=stop)

    def run(self, groups: Sequence[Sequence[Key]], tick: Callable[[], None] = lambda: None) -> None:
        """Returns when all is done. Any exception ends all VMs before it gets out."""
        self._queue.extend(list(group) for group in groups)
        threads = [threading.Thread(target=self._work) for _ in range(min(self._settings.jobs, len(self._queue)))]
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                # Short, so that a signal is seen at once.
                threads[0].join(0.2) if threads[0].is_alive() else time.sleep(0.2)
                tick()
        finally:
            # Every worker sees this within a moment and ends its VM.
            self._stop.set()
            with self._lock:
                self._lock.notify_all()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        if self._error is not None:
            raise self._error

    def check(self, kernel: str, params: Mapping[str, Sequence[str]]) -> None:
        """Boots one VM and loads each policy that is not built in. Raises PlanError with the verifier's words."""
        mine = objects(self._settings)
        came = self._vm(_job(kernel, check_script(mine, params), self._settings, 1, 1), self._stop)
        told = {note[1]: note[2] for note in came.notes if note[:1] == ("checked",) and len(note) == 3}
        for number, policy in enumerate(mine):
            said = came.files.get(str(number), b"").decode(errors="replace").strip()
            if told.get(str(number)) == "0":
                continue
            if str(number) not in told:
                said = "; ".join(came.verdict.messages[:2]) or f"vmtest status {came.verdict.status}"
            elif "attach" in came.files:
                said = came.files["attach"].decode(errors="replace").strip()
            raise PlanError(f"--policy {policy.file}: '{policy.name}' does not load on kernel {kernel}:\n{said}", status=1)

    def _next(self) -> list[Key] | None:
        with self._lock:
            # Another VM may still give its runs back.
            while not self._queue and self._busy and not self._stop.is_set():
                self._lock.wait(0.5)
            if self._stop.is_set() or not self._queue:
                return None
            self._busy += 1
            return self._queue.popleft()

    def _work(self) -> None:
        try:
            while (group := self._next()) is not None:
                try:
                    self._one(group)
                finally:
                    with self._lock:
                        self._busy -= 1
                        self._lock.notify_all()
        except runner.Stopped:
            pass
        except BaseException as error:  # whatever it is, the main thread must know
            self._error = self._error or error
            self._stop.set()

    def _one(self, group: list[Key]) -> None:
        for key in group:
            self._started(key)
        began = time.monotonic()
        try:
            came = self._vm(job(group, self._settings), self._stop)
        except (VmError, OSError) as error:
            if len(group) > 1:
                self._again(group)
                return
            said, _, hint = str(error).partition("\n")
            self._finish(Outcome(group[0], what=f"the VM could not run: {said}", hint=hint), began, 1)
            return
        wrong = came.verdict.status != status.OK
        if wrong and len(group) > 1:
            # Which of them did it? Alone each tells for itself.
            self._again(group)
            return
        vm = ("; ".join(came.verdict.messages[:2]) or f"vmtest status {came.verdict.status}") if wrong else ""
        told = {}
        for note in came.notes:
            if note[:1] == ("ended",) and len(note) == 3 and note[1].isdecimal() and note[2].isdecimal():
                told[int(note[1])] = int(note[2])
        release = _release(came)
        for number, key in enumerate(group):
            files = came.files
            outcome = judge(key, told.get(number), files.get(f"{number}.json"), files.get(f"{number}.err"), vm)
            outcome.release = release
            outcome.cpu_s = came.cpu_s / len(group)
            if not outcome.ok and wrong and came.verdict.show_console:
                outcome.output = (outcome.output + "\n" + came.console.replace("\r", ""))[-OUTPUT_TAIL:].strip()
            self._finish(outcome, began, len(group))

    def _again(self, group: Sequence[Key]) -> None:
        for key in group:
            self._requeued(key)
        with self._lock:
            self._queue.extend([key] for key in group)
            self._lock.notify_all()

    def _finish(self, outcome: Outcome, began: float, parts: int) -> None:
        outcome.wall_s = (time.monotonic() - began) / parts
        settings = self._settings
        outcome.build = settings.build_digest
        outcome.commit, outcome.dirty = settings.origin.commit, settings.origin.dirty
        outcome.policy = _facts(outcome, settings.policies.get(outcome.key.policy))
        self._ended(outcome)


def _facts(outcome: Outcome, policy: Policy | None) -> dict[str, Any]:
    """What was measured under the name of a policy: the object, and all parameters that were in force."""
    if policy is None:
        return {}
    set_ = ((outcome.document or {}).get("policy") or {}).get("params")
    params = {key: str(value) for key, value in (policy.params or {}).items()}
    params |= {key: str(value) for key, value in (set_ if isinstance(set_, dict) else {}).items()}
    return {"file": policy.file or None, "sha256": policy.sha256 or None, "params": params}


def _release(came: runner.Result) -> str:
    """uname -r of the guest, as far as a result tells."""
    for data in came.files.values():
        document, _ = _document(data)
        if isinstance(document, dict) and isinstance(document.get("kernel"), str):
            return str(document["kernel"])
    return ""


def built(build: Path) -> list[Path]:
    """The files that decide what a run measures."""
    wanted = [build / "bin" / name for name in ("mpsched-lab", "mpsched")]
    return [path for path in wanted if path.is_file()]


def cpus() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))
