# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The architectures of VMs: what emulates them, what their devices are called, and how their programs are made and read here.

What is not this machine's own architecture is emulated all the same, in virtual time as well. Its tools come from Debian
packages of that architecture (userland.py), what is under test from a cross build.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Arch:
    """One architecture."""

    name: str  # Debian's
    qemu: str
    package: str  # that has it
    cpu: str
    board: tuple[str, ...]  # QEMU's words for the machine, its way to end (guest/vmctl.c) and its first serial port, "console"
    console: str  # the kernel's name for that port
    parameters: tuple[str, ...]  # of the kernel
    compilers: tuple[str, ...]
    elf_machine: int  # e_machine of its programs (elf.h)
    runner: tuple[str, ...] = ()  # in front of a program to run it on this machine
    loader: str = ""  # of dynamic libraries; "": ldd(1) knows


AMD64 = Arch(
    name="amd64",
    qemu="qemu-system-x86_64",
    package="qemu-system-x86",
    cpu="qemu64,+rdrand",
    board=("-machine", "pc", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-device", "isa-serial,chardev=console,index=0"),
    console="ttyS0",
    parameters=("no_timer_check", "tsc=reliable"),
    compilers=("cc", "gcc", "clang-19"),
    elf_machine=62,
)
ARM64 = Arch(
    name="arm64",
    qemu="qemu-system-aarch64",
    package="qemu-system-arm",
    # One without pointer authentication, which is slow to emulate.
    cpu="cortex-a57",
    board=("-machine", "virt,gic-version=3", "-semihosting-config", "enable=on,userspace=on", "-serial", "chardev:console"),
    console="ttyAMA0",
    parameters=(),
    compilers=("aarch64-linux-gnu-gcc",),
    elf_machine=183,
    runner=("qemu-aarch64-static",),
    loader="/lib/ld-linux-aarch64.so.1",
)
ALL = {arch.name: arch for arch in (AMD64, ARM64)}
