# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Runs one command in one VM, from the kernel in the cache to the verdict. Leaves nothing behind."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from . import accel, cables, cache, cpio, guest, qemu, store, verdict
from .arch import AMD64
from .catalog import Catalog, Kernel
from .control import Reader, Record

# Limits are of QEMU's CPU time, which other people's load does not stretch: booting takes 4 to 9 s of it. The wall clock is
# only asked whether a VM that does nothing at all has been waited for long enough; and in real time, where a guest that
# sleeps takes no CPU time, it is what limits the command.
BOOT_LIMIT_S = 180.0
WALL_FACTOR = 4
POLL_S = 0.02
DEFAULT_OUTPUT_LIMIT = 256 << 20
DRAIN_LIMIT_S = 5.0

Sink = Callable[[bytes], None]


class Stopped(Exception):
    """The run was stopped from outside."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What to run, and how."""

    kernel: Kernel
    words: Sequence[str]
    virtual_time: bool = True
    smp: int = 1
    seed: int = 1
    memory_mib: int = 0  # 0: as much as is needed
    timeout_s: float = 300.0  # of the command: CPU time in virtual time, else wall-clock time
    output_limit: int = DEFAULT_OUTPUT_LIMIT  # bytes
    modules: Sequence[str] = ()
    extras: Sequence[guest.Extra] = ()
    folder: str = "/"
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    path: Sequence[str] = ()  # in front of the guest's PATH
    shell: bool = False
    cables: int = 0  # only in real time: what is sent passes through this machine's kernel


@dataclasses.dataclass
class Result:
    """How it went."""

    verdict: verdict.Verdict
    console: str
    files: dict[str, bytes]  # what the guest sent with vmctl put
    notes: list[tuple[str, ...]]  # and with vmctl say note
    wall_s: float
    boot_s: float  # until /init ran; 0 if it never did
    cpu_s: float = 0.0  # of this machine's CPUs, by QEMU: what a run costs, however busy the machine is
    note_cpu_s: list[float] = dataclasses.field(default_factory=list)  # and at each of `notes`


@contextlib.contextmanager
def work_folder() -> Iterator[Path]:
    """A folder for one run, removed afterwards. Also removes those that killed runs have left."""
    parent = Path(tempfile.gettempdir())
    for old in parent.glob("mps-vm-*"):
        _sweep(old)
    folder, lock = _locked_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked_folder() -> tuple[Path, int]:
    """A new one with its lock held: as long as we live; the kernel lets go of it when we are killed."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix="mps-vm-"))
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Another run may have been quicker to lock it, and has taken it for one that was left.
        if os.fstat(lock).st_nlink:
            return folder, lock
        os.close(lock)


def _sweep(folder: Path) -> None:
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return  # somebody else's, or just being made
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        pass
    finally:
        os.close(lock)


class _Cpu:
    """CPU time of a process, as far as it was alive when somebody asked."""

    def __init__(self, process: int) -> None:
        self._stat = Path(f"/proc/{process}/stat")
        self.seconds = 0.0
        self.at_notes: list[float] = []

    def read(self) -> float:
        """Seconds so far."""
        try:
            words = self._stat.read_text().rpartition(")")[2].split()
            self.seconds = max(self.seconds, (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK"))
        except (OSError, IndexError, ValueError):
            pass
        return self.seconds


class _Tail:
    """Follows a file that QEMU writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self.total = 0  # bytes read so far

    def read(self) -> bytes:
        """What came since the last call, at most 1 MiB."""
        if self._file is None:
            try:
                self._file = open(self._path, "rb")  # noqa: SIM115 (closed by close)
            except FileNotFoundError:
                return b""
        data = self._file.read(1 << 20)
        self.total += len(data)
        return data

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def own_environment(job: Job) -> dict[str, str]:
    """Whoever measures in the guest must be able to say whose time it was; and cards that are meant to be there are not skipped."""
    return {"MPS_VIRTUAL_TIME": "1" if job.virtual_time else "0"} | ({"MPS_CABLES": str(job.cables)} if job.cables else {})


def _initramfs(job: Job, files: store.KernelFiles, work: Path) -> Path:
    destination = work / "initramfs"
    with open(destination, "wb") as out:
        with open(guest.base(job.kernel.arch), "rb") as base:
            shutil.copyfileobj(base, out, 1 << 20)
        guest.write_modules(out, files.tree, [*job.modules, *([cables.DRIVER] if job.cables else [])])
        writer = cpio.Writer(out)
        environment = own_environment(job) | job.environment
        if job.shell:
            terminal = shutil.get_terminal_size()
            writer.data("vm/shell", guest.shell_script(job.folder, environment, job.path, terminal), 0o755)
        else:
            writer.data("vm/command", guest.command_script(job.words, job.folder, environment, job.path), 0o755)
        writer.folder(job.folder)
        guest.add_extras(writer, job.extras, job.kernel.arch)
        writer.finish()
    return destination


def run(
    job: Job,
    catalog: Catalog,
    *,
    output: Sink,
    error: Sink,
    say: Callable[[str], None],
    stop: threading.Event | None = None,
    today: datetime.date | None = None,
) -> Result:
    """Runs a job. `output` and `error` get the command's bytes as they come, `say` lines for people.

    Raises VmError if the VM could not even be prepared, and Stopped when `stop` is set.
    """
    arguments = (job, catalog, output, error, say, stop, today or datetime.date.today())
    try:
        result = _run(*arguments)
    except cache.Damaged as damaged:
        say(f"kernel {job.kernel.name} is fetched again: {damaged}")
        store.refresh(job.kernel, force=True)
        return _run(*arguments)
    if not result.verdict.never_began:
        return result
    # An emulated kernel that patches its own text on one CPU can trap on the other one (int3, seen once on 7.2).
    say(f"kernel {job.kernel.name} ended while it booted, and is booted again: {'; '.join(result.verdict.messages)}")
    return _run(*arguments)


def _run(
    job: Job,
    catalog: Catalog,
    output: Sink,
    error: Sink,
    say: Callable[[str], None],
    stop: threading.Event | None,
    today: datetime.date,
) -> Result:
    with work_folder() as work, store.ready(job.kernel, work) as files:
        initramfs = _initramfs(job, files, work)
        kvm, why = (False, "")
        if not job.virtual_time and job.kernel.arch == AMD64:
            kvm, why = accel.kvm_works(files.vmlinux)
        machine = qemu.Machine(
            virtual_time=job.virtual_time,
            kvm=kvm,
            arch=job.kernel.arch,
            smp=job.smp,
            seed=job.seed,
            memory_mib=job.memory_mib or qemu.memory_for(initramfs.stat().st_size),
            cables=job.cables,
        )
        say(
            f"kernel {job.kernel.name}{f' ({files.release})' if files.release else ''}, {machine.describe()}"
            + (f"; no KVM: {why}" if why else "")
        )
        ports = qemu.Ports(work / "console", None if job.shell else work / "output", work / "error", work / "control")
        line = qemu.command(machine, files.vmlinux, initramfs, ports)
        started = time.monotonic()
        process = qemu.start(line, work / "qemu", terminal=job.shell)
        cpu = _Cpu(process.pid)
        try:
            seen, records, boot_s = _watch(job, process, ports, output, error, stop, cpu)
        finally:
            qemu.stop(process)
        seen.console = ports.console.read_text(errors="replace") if ports.console.exists() else ""
        seen.qemu_messages = (work / "qemu").read_text(errors="replace")
        judged = verdict.judge(seen, job.kernel.name, catalog.allow, today)
        return Result(
            verdict=judged,
            console=seen.console,
            files={record.words[1]: record.body for record in records if record.words[0] == "file"},
            notes=[record.words[1:] for record in records if record.words[0] == "note"],
            wall_s=time.monotonic() - started,
            boot_s=boot_s,
            cpu_s=cpu.seconds,
            note_cpu_s=cpu.at_notes,
        )


def _too_long(cpu_s: float, wall_s: float, limit_s: float) -> bool:
    return cpu_s > limit_s or wall_s > WALL_FACTOR * limit_s


class _Guest:
    """What the guest writes, and since when it runs its command."""

    def __init__(self, ports: qemu.Ports, output: Sink, error: Sink) -> None:
        self._reader = Reader()
        self._control = _Tail(ports.control)
        self._tails = [(_Tail(ports.error), error)]
        if ports.output is not None:
            self._tails.append((_Tail(ports.output), output))
        self.command_since = self.command_cpu_s = 0.0

    def pass_on(self, records: list[Record], cpu: _Cpu) -> bool:
        """Passes on what there is, and appends to the records. False if there was nothing."""
        moved = False
        for tail, sink in self._tails:
            if data := tail.read():
                sink(data)
                moved = True
        while data := self._control.read():
            moved = True
            for record in self._reader.feed(data):
                records.append(record)
                if record.words[0] == "note":
                    cpu.at_notes.append(cpu.seconds)
                if record.words[0] == "begin":
                    self.command_since, self.command_cpu_s = time.monotonic(), cpu.seconds
        return moved

    def written(self) -> int:
        """Bytes so far."""
        return sum(tail.total for tail, _ in self._tails) + self._control.total

    def close(self) -> None:
        """No more is read."""
        self._control.close()
        for tail, _ in self._tails:
            tail.close()


def _runs_too_long(job: Job, watched: _Guest, cpu: _Cpu, started: float, boot_limit_s: float) -> bool:
    """Whether the boot or the command has had its time."""
    now = time.monotonic()
    if not watched.command_since:
        return _too_long(cpu.seconds, now - started, boot_limit_s)
    if job.virtual_time:
        return _too_long(cpu.seconds - watched.command_cpu_s, now - watched.command_since, job.timeout_s)
    return now - watched.command_since > job.timeout_s


def _watch(
    job: Job,
    process: subprocess.Popen[bytes],
    ports: qemu.Ports,
    output: Sink,
    error: Sink,
    stop: threading.Event | None,
    cpu: _Cpu,
) -> tuple[verdict.Observed, list[Record], float]:
    """Passes on what the guest writes until the VM ends or a limit is reached."""
    boot_limit_s = max(BOOT_LIMIT_S, job.timeout_s)
    seen = verdict.Observed(
        qemu_status=None, boot_limit_s=boot_limit_s, timeout_s=job.timeout_s, cpu_limited=job.virtual_time
    )
    watched = _Guest(ports, output, error)
    started = time.monotonic()
    try:
        while True:
            cpu.read()
            # Asked first: what it wrote before it ended is then seen below.
            ended = process.poll()
            moved = watched.pass_on(seen.records, cpu)
            if watched.written() > job.output_limit:
                seen.output_limited = True
                break
            if ended is not None:
                if not moved:
                    seen.qemu_status = ended
                    break
                continue
            if stop is not None and stop.is_set():
                raise Stopped
            if not job.shell and _runs_too_long(job, watched, cpu, started, boot_limit_s):
                seen.timed_out = True
                break
            if not moved:
                time.sleep(POLL_S)
    finally:
        watched.close()
    return seen, seen.records, watched.command_since - started if watched.command_since else 0.0
