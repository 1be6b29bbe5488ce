# SPDX-License-Identifier: MIT
# Copyright mpsched contributors

from __future__ import annotations

import fcntl
import os
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from mpsvm import qemu, runner
from mpsvm.catalog import Kernel


class WorkFolder(unittest.TestCase):
    def setUp(self) -> None:
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.parent = Path(held.name)
        patch = mock.patch.object(tempfile, "tempdir", held.name)
        patch.start()
        self.addCleanup(patch.stop)

    def test_it_is_there_while_the_run_lasts(self) -> None:
        with runner.work_folder() as folder:
            (folder / "initramfs").write_text("x")
            runner._sweep(folder)
            self.assertTrue((folder / "initramfs").exists())
        self.assertEqual(list(self.parent.iterdir()), [])

    def test_what_a_killed_run_has_left_is_removed(self) -> None:
        left = self.parent / "mps-vm-left"
        left.mkdir()
        (left / "lock").touch()
        with runner.work_folder():
            self.assertFalse(left.exists())

    def test_a_run_that_starts_at_the_same_time_does_not_take_it_away(self) -> None:
        swept = []

        def flock(lock: int, how: int) -> None:
            if not swept and how == fcntl.LOCK_EX:
                # The other one comes between the making of the lock and our locking it.
                swept.append(Path(os.readlink(f"/proc/self/fd/{lock}")).parent)
                runner._sweep(swept[0])
                self.assertFalse(swept[0].exists())
            real(lock, how)

        real = fcntl.flock
        with mock.patch.object(fcntl, "flock", flock), runner.work_folder() as folder:
            self.assertTrue((folder / "lock").exists())
        self.assertEqual(len(swept), 1)


class Waiting:
    """A QEMU that never says anything and never ends."""

    def poll(self) -> None:
        """Still running."""


class IdleCpu(runner._Cpu):
    """The processor of a VM that the machine never lets run."""

    def read(self) -> float:
        return self.seconds


class LateCpu(runner._Cpu):
    """One that has worked for so long since it was asked for the first time."""

    later_s = 0.0
    asked = False

    def read(self) -> float:
        self.seconds, self.asked = self.later_s if self.asked else 0.0, True
        return self.seconds


class Limits(unittest.TestCase):
    def watch(self, cpu_s: float) -> float:
        """Wall-clock seconds that a VM is waited for which has used `cpu_s` of CPU time and does not come up."""
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(runner, "BOOT_LIMIT_S", 0.1):
            ports = qemu.Ports(*(Path(folder) / name for name in ("console", "output", "error", "control")))
            cpu = IdleCpu(os.getpid())
            cpu.seconds = cpu_s
            job = runner.Job(Kernel("7.2", image="x"), ["true"], timeout_s=0.1)
            started = time.monotonic()
            seen, _, _ = runner._watch(job, Waiting(), ports, print, print, None, cpu)
            self.assertTrue(seen.timed_out)
            return time.monotonic() - started

    def command(self, cpu_s: float, *, virtual_time: bool) -> float:
        """The same for a command that has begun, used `cpu_s` since then, and does not end."""
        with tempfile.TemporaryDirectory() as folder:
            ports = qemu.Ports(*(Path(folder) / name for name in ("console", "output", "error", "control")))
            ports.control.write_bytes(b"\x01mpsvm begin 7.2\n")
            cpu = LateCpu(os.getpid())
            cpu.later_s = cpu_s
            job = runner.Job(Kernel("7.2", image="x"), ["true"], timeout_s=0.1, virtual_time=virtual_time)
            started = time.monotonic()
            seen, _, _ = runner._watch(job, Waiting(), ports, print, print, None, cpu)
            self.assertTrue(seen.timed_out)
            return time.monotonic() - started

    def test_the_limit_of_a_command_is_cpu_time_in_virtual_time_only(self) -> None:
        self.assertLess(self.command(0.2, virtual_time=True), 0.1)
        self.assertGreater(self.command(0.0, virtual_time=True), 0.3)
        self.assertLess(self.command(0.0, virtual_time=False), 0.3)

    def test_a_guest_is_told_whose_time_it_measures(self) -> None:
        for virtual_time, told in ((True, "1"), (False, "0")):
            job = runner.Job(Kernel("7.2", image="x"), ["true"], virtual_time=virtual_time)
            self.assertEqual(runner.own_environment(job), {"MPS_VIRTUAL_TIME": told})
        job = runner.Job(Kernel("7.2", image="x"), ["true"], virtual_time=False, cables=2)
        self.assertEqual(runner.own_environment(job), {"MPS_VIRTUAL_TIME": "0", "MPS_CABLES": "2"})

    def test_the_limit_of_booting_is_cpu_time_so_that_a_busy_machine_has_more_wall_time(self) -> None:
        self.assertLess(self.watch(0.2), 0.1)
        self.assertGreater(self.watch(0.0), 0.3)
