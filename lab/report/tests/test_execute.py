# SPDX-License-Identifier: MIT
# Copyright mpsched contributors

from __future__ import annotations

import json
import threading
import time
import unittest
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpslab import execute, keep
from mpslab.keep import Outcome
from mpslab.plan import Key
from mpsvm import catalog, runner, verdict
from mpsvm.status import VmError
from tests import fake

CATALOG = catalog.parse('[[kernel]]\nname = "7.2"\nimage = "/vmlinux"\n', "test")
SETTINGS = execute.Settings(CATALOG, Path("/nowhere"), "abc", jobs=2)


def key(seed: int = 1, policy: str = "default") -> Key:
    return Key("7.2", "S4", policy, seed)


def came(
    keys: Sequence[Key], *, status: int = 0, messages: Sequence[str] = (), told: Sequence[int | None] = (),
    out: Sequence[Any] | None = None,
) -> runner.Result:  # fmt: skip
    files, notes = {}, []
    for number, one in enumerate(keys):
        document = out[number] if out is not None else fake.document(one.scenario, one.policy, one.seed)
        if document is not None:
            data = document if isinstance(document, bytes) else json.dumps(document).encode() + b"\n"
            files[f"{number}.json"] = data
        ended = told[number] if told else 0
        if ended is not None:
            notes.append(("ended", str(number), str(ended)))
    judged = verdict.Verdict(status, messages=list(messages))
    return runner.Result(verdict=judged, console="", files=files, notes=notes, wall_s=1.0, boot_s=0.5)


def run(groups: Sequence[Sequence[Key]], vm: execute.Vm, jobs: int = 2) -> tuple[list[Outcome], list[Key]]:
    ended: list[Outcome] = []
    again: list[Key] = []
    settings = execute.Settings(CATALOG, Path("/nowhere"), "abc", jobs=jobs)
    execute.Executor(settings, started=lambda _: None, ended=ended.append, requeued=again.append, vm=vm).run(groups)
    return sorted(ended, key=lambda one: one.key), again


def keys_of(job: runner.Job) -> list[Key]:
    """What a script runs."""
    words = [line.split() for line in job.words[0].splitlines() if "mpsched-lab" in line]
    return [Key("7.2", w[w.index("run") + 1], policy_of(w[w.index("--policy") + 1]), int(w[w.index("--seed") + 1])) for w in words]


def policy_of(word: str) -> str:
    """The name of a policy whose object is in the guest as /policies/NAME-DIGEST.bpf.o."""
    return word.removeprefix("/policies/").rpartition("-")[0] if word.startswith("/") else word


class Script(unittest.TestCase):
    def test_words_are_quoted(self) -> None:
        made = execute.script([Key("7.2", "S1; reboot", "a b", 3, ("x=$(id)",))], SETTINGS)
        self.assertIn("run 'S1; reboot' --policy 'a b' --seed 3 --json -s 'x=$(id)'", made)

    def test_each_run_reports_at_once(self) -> None:
        lines = execute.script([key(1), key(2)], SETTINGS).splitlines()
        self.assertLess(lines.index("vmctl say note ended 0 $status"), lines.index("vmctl say note start 1"))

    def test_the_vm_gets_the_seed_and_knows_its_time(self) -> None:
        job = execute.job([key(5)], SETTINGS)
        self.assertEqual((job.seed, job.virtual_time, runner.own_environment(job)), (5, True, {"MPS_VIRTUAL_TIME": "1"}))


class Judge(unittest.TestCase):
    def judge(self, told: int | None, out: Any, err: bytes = b"", vm: str = "") -> Outcome:
        data = out if isinstance(out, bytes) or out is None else json.dumps(out).encode()
        return execute.judge(key(), told, data, err, vm)

    def test_a_good_result_is_ok(self) -> None:
        self.assertTrue(self.judge(0, fake.document()).ok)
        self.assertTrue(self.judge(0, json.dumps(fake.document(), indent=2).encode()).ok)

    def test_an_error_document_is_told(self) -> None:
        outcome = self.judge(1, fake.failed("no netem", "use ./run lab"))
        self.assertEqual((outcome.what, outcome.hint), ("no netem", "use ./run lab"))

    def test_no_result_is_a_failure_with_the_last_words(self) -> None:
        outcome = self.judge(139, None, b"first\nlast\n")
        self.assertEqual((outcome.what, outcome.hint), ("the run ended with status 139, and it printed no result", "last"))

    def test_half_a_result_is_a_failure(self) -> None:
        self.assertIn("no JSON", self.judge(0, b'{"status": "ok", ').what)

    def test_a_run_that_hangs_is_told(self) -> None:
        self.assertEqual(self.judge(124, None).what, "the run did not end and was killed")
        self.assertEqual(self.judge(None, None, vm="time-out").what, "time-out")

    def test_a_good_result_with_a_bad_status_is_a_failure(self) -> None:
        self.assertIn("status 1", self.judge(1, fake.document()).what)

    def test_a_good_result_from_a_kernel_that_warned_is_a_failure(self) -> None:
        outcome = self.judge(0, fake.document(), vm="kernel WARNING: net/mptcp")
        self.assertFalse(outcome.ok)
        self.assertIn("WARNING", outcome.what)

    def test_a_result_of_something_else_is_a_failure(self) -> None:
        self.assertIn("weighted", self.judge(0, fake.document(policy="weighted")).what)


class Executor(unittest.TestCase):
    def test_everything_runs_once(self) -> None:
        keys = [key(n) for n in range(9)]
        outcomes, again = run([[one] for one in keys], lambda job, stop: came(keys_of(job)))
        self.assertEqual([one.key for one in outcomes], keys)
        self.assertTrue(all(one.ok and one.build == "abc" for one in outcomes))
        self.assertEqual(again, [])

    def test_one_that_fails_leaves_the_others(self) -> None:
        def vm(job: runner.Job, stop: threading.Event) -> runner.Result:
            keys = keys_of(job)
            if keys[0].seed == 2:
                raise VmError("QEMU is gone.", "Find it.")
            if keys[0].seed == 3:
                return came(keys, status=124, messages=["time-out"], told=[None], out=[None])
            return came(keys)

        outcomes, _ = run([[key(n)] for n in (1, 2, 3, 4)], vm)
        self.assertEqual([one.ok for one in outcomes], [True, False, False, True])
        self.assertEqual(outcomes[1].what, "the VM could not run: QEMU is gone.")
        self.assertEqual(outcomes[2].what, "time-out")

    def test_runs_of_a_vm_that_broke_are_run_alone(self) -> None:
        boots: list[list[int]] = []

        def vm(job: runner.Job, stop: threading.Event) -> runner.Result:
            keys = keys_of(job)
            boots.append([one.seed for one in keys])
            if any(one.seed == 2 for one in keys):
                return came(keys, status=125, messages=["the guest panicked"], told=[0, None, None][: len(keys)] if len(keys) > 1 else [None])
            return came(keys)

        outcomes, again = run([[key(1), key(2), key(3)]], vm, jobs=1)
        self.assertEqual(boots, [[1, 2, 3], [1], [2], [3]])
        self.assertEqual([one.ok for one in outcomes], [True, False, True])
        self.assertEqual(len(again), 3)

    def test_an_interrupt_stops_all_vms(self) -> None:
        stopped = []

        def vm(job: runner.Job, stop: threading.Event) -> runner.Result:
            if stop.wait(10):
                stopped.append(job)
            raise runner.Stopped

        class Interrupt(BaseException):
            pass

        def tick() -> None:
            raise Interrupt

        executor = execute.Executor(
            SETTINGS, started=lambda _: None, ended=lambda _: None, requeued=lambda _: None, vm=vm
        )
        began = time.monotonic()
        with self.assertRaises(Interrupt):
            executor.run([[key(n)] for n in range(5)], tick)
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(len(stopped), 2)

    def test_our_own_mistakes_are_not_hidden(self) -> None:
        def vm(job: runner.Job, stop: threading.Event) -> runner.Result:
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            run([[key(1)], [key(2)]], vm)


class Digest(unittest.TestCase):
    def test_it_changes_with_what_was_built(self) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as name:
            file = Path(name) / "mpsched-lab"
            file.write_text("1")
            one = keep.digest([file])
            file.write_text("2")
            self.assertNotEqual(one, keep.digest([file]))
