# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""QEMU: its command line, starting it so that it cannot survive us, and what its exit status means."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from . import cables
from .arch import AMD64, Arch
from .status import VmError

# guest/vmctl.c writes 42 to the isa-debug-exit device, or ends with this status. 0: the guest powered off or was reset; 1: QEMU's own
# trouble.
DONE_STATUS = 42 << 1 | 1
MIB = 1 << 20

KERNEL_PARAMETERS = (
    "loglevel=5",  # warnings and worse reach the console at once; the rest is read from the log at the end
    "log_buf_len=4M",
    "panic=-1",
    "reboot=t",
    "oops=panic",
    "norandmaps",
    "cryptomgr.notests",
)


@dataclasses.dataclass(frozen=True)
class Machine:
    """How the VM runs. In virtual time there is one CPU, emulated, and the guest's clock counts instructions."""

    virtual_time: bool = True
    kvm: bool = False
    smp: int = 1
    seed: int = 1
    memory_mib: int = 512
    arch: Arch = AMD64
    cables: int = 0  # with a virtio network card at each end

    def describe(self) -> str:
        """One line for people."""
        cpus = f"{self.smp} CPU{'s' if self.smp > 1 else ''}" + (f", {2 * self.cables} network cards" if self.cables else "")
        if self.virtual_time:
            return f"virtual time, seed {self.seed} (TCG, {cpus})"
        return f"real time ({'KVM' if self.kvm else 'TCG'}, {cpus})"


@dataclasses.dataclass(frozen=True)
class Ports:
    """Files behind the guest's ports: kernel console, standard output, standard error, records.

    `output` None: the terminal, for a shell.
    """

    console: Path
    output: Path | None
    error: Path
    control: Path


def memory_for(initramfs_bytes: int) -> int:
    """MiB of memory for a guest: the archive and the files unpacked from it are there at the same time."""
    return max(512, 256 + 3 * initramfs_bytes // MIB)


def find(arch: Arch) -> str:
    """The program. Raises VmError that names the package."""
    program = shutil.which(arch.qemu)
    if not program:
        raise VmError(f"{arch.qemu} is missing.", f"Install the package {arch.package}, or: ./run setup {'vmtest' if arch == AMD64 else arch.name}")
    return program


def command(machine: Machine, kernel: Path, initramfs: Path, ports: Ports) -> list[str]:
    """The command line."""
    arch = machine.arch
    program = find(arch)
    parameters = (f"console={arch.console}", *KERNEL_PARAMETERS, *arch.parameters)
    # Files, not pipes: QEMU drops bytes for a pipe that is full, and its timing would depend on the reader.
    output = f"file,id=output,path={_quoted(ports.output)}" if ports.output else "stdio,id=output,mux=on,signal=off"
    line = [
        program, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none",
        "-m", f"{machine.memory_mib}M",
        # The kernel's console is a serial port, which works also in a panic. The rest are virtio consoles, some
        # hundred times as fast; without ioeventfd a write is over when the guest's instruction is, so that virtual
        # time repeats and nothing that was written before a panic is lost.
        "-chardev", f"file,id=console,path={_quoted(ports.console)}", *arch.board,
        "-device", "virtio-serial-pci,max_ports=4,ioeventfd=off",
        "-chardev", output, "-device", "virtconsole,nr=0,chardev=output",
        "-chardev", f"file,id=error,path={_quoted(ports.error)}", "-device", "virtconsole,nr=1,chardev=error",
        "-chardev", f"file,id=control,path={_quoted(ports.control)}", "-device", "virtconsole,nr=2,chardev=control",
        "-kernel", str(kernel), "-initrd", str(initramfs), "-append", " ".join(parameters),
    ]  # fmt: skip
    if machine.virtual_time:
        # One instruction takes 1 ns; idle time is skipped. More CPUs would neither repeat nor, on 6.1, boot.
        line += [
            "-cpu", arch.cpu, "-smp", "1", "-accel", "tcg,thread=single",
            "-icount", "shift=0,sleep=off,align=off", "-rtc", "base=2026-01-01T00:00:00,clock=vm",
            "-seed", str(machine.seed),
        ]  # fmt: skip
    elif machine.kvm:
        line += ["-cpu", "host", "-smp", str(machine.smp), "-accel", "kvm"]
    else:
        line += ["-cpu", arch.cpu, "-smp", str(machine.smp), "-accel", "tcg,thread=multi"]
    return cables.inside(machine.cables, line + cables.cards(machine.cables)) if machine.cables else line


def _quoted(path: Path) -> str:
    return str(path).replace(",", ",,")


_libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    # Also a vmtest that was killed by SIGKILL must not leave a VM behind.
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # QEMU aborts where KVM is broken; that is an answer, not something to look into.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def start(line: Sequence[str], log: Path, *, terminal: bool = False) -> subprocess.Popen[bytes]:
    """Starts QEMU with its own messages going to `log`. It dies with the thread that called this.

    Unless it serves a terminal it gets a process group of its own: Ctrl-C is for vmtest to handle.
    """
    with open(log, "wb") as messages:
        try:
            return subprocess.Popen(
                list(line),
                stdin=None if terminal else subprocess.DEVNULL,
                stdout=None if terminal else messages,
                stderr=messages,
                process_group=None if terminal else 0,
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            raise VmError(f"{line[0]} could not be started: {os.strerror(error.errno or 0)}") from None


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends QEMU at once, if it has not ended yet, and waits for it."""
    if process.poll() is None:
        process.kill()
    process.wait()
