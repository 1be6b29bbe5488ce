# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The command line of vmtest."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from . import cables, cache, catalog, guest, runner, status, store
from .arch import ALL, AMD64
from .status import VmError


class Interrupted(BaseException):
    """A signal asked us to end. Carries the status to exit with."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise Interrupted, once: cleaning up is not interrupted again."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def handle(number: int, _frame: FrameType | None) -> NoReturn:
        for one in signals:
            signal.signal(one, signal.SIG_IGN)
        raise Interrupted(128 + number)

    before = [(one, signal.signal(one, handle)) for one in signals]
    try:
        yield
    finally:
        for one, handler in before:
            signal.signal(one, handler)


class Parser(argparse.ArgumentParser):
    """Usage errors end with the status for "the VM could not run", since 2 may be the command's."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"vmtest: {message}", file=sys.stderr)
        sys.exit(status.CANNOT_RUN)


def say(text: str) -> None:
    """A line for people."""
    for line in text.splitlines():
        print(f"vmtest: {line}", file=sys.stderr, flush=True)


def write_all(fd: int, data: bytes) -> None:
    """Writes all bytes, also to a pipe that is full at the moment."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = Parser(
        prog="vmtest",
        usage="vmtest -k KERNEL [option...] -- COMMAND [ARGUMENT...]\n"
        "       vmtest -k KERNEL --shell\n       vmtest --list | --prepare | --fetch [-k KERNEL]",
        description="Runs a command as root in a VM with a stock Debian kernel, and exits with its status. "
        "One word is text for the guest's shell, several are a program and its arguments.",
        epilog="The guest has bash, busybox, ip, tc, ss, nstat, bpftool, ethtool, and from the build folder bin/ and "
        "all BPF objects, at the same paths as here. 'vmctl put FILE' sends a file to --out.\n\n"
        "exit status:\n" + status.help_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("-k", "--kernel", metavar="KERNEL", help="one of those that --list shows")
    add("--real-time", action="store_true", help="real time, with KVM where it works; else time is virtual: the "
        "guest's clock counts instructions, idle time is skipped, and a seed gives the same run again")  # fmt: skip
    add("--smp", type=int, default=1, metavar="N", help="CPUs, only with --real-time (default 1)")
    add("--cables", type=int, default=0, metavar="N", help="with two virtio network cards at each of N cables, by the last two octets of their "
        "addresses; only with --real-time")  # fmt: skip
    add("--seed", type=int, default=1, metavar="N", help="of what is random in virtual time (default 1)")
    add("--timeout", type=float, default=300.0, metavar="S",
        help="seconds for the command (default 300): of CPU time in virtual time, so that a busy machine "
        "has more of the clock's; of the clock's with --real-time. Booting gets as much CPU time, at least 180 s")  # fmt: skip
    add("-m", "--modules", action="append", default=[], metavar="NAME[,NAME...]",
        help="load these kernel modules as well as those of kernels.toml")  # fmt: skip
    add("--memory", type=int, default=0, metavar="MIB", help="memory of the guest (default: what is needed)")
    add("-a", "--add", action="append", default=[], metavar="PATH[:NAME]",
        help="put this file or folder into the guest as well; programs come with their libraries")  # fmt: skip
    add("-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help="environment of the command")
    add("--build", type=Path, default=guest.REPOSITORY / "build", metavar="DIR", help="the build folder")
    add("--out", type=Path, metavar="DIR", help="keep files here that the guest sends with 'vmctl put'")
    add("--console", type=Path, metavar="FILE", help="keep the kernel's console here")
    add("--output-limit", type=int, default=runner.DEFAULT_OUTPUT_LIMIT >> 20, metavar="MIB",
        help="most the command may write (default %(default)s)")  # fmt: skip
    add("--kernels", type=Path, default=catalog.DEFAULT_FILE, metavar="FILE", help="instead of kernels.toml")
    add("-q", "--quiet", action="store_true", help="say nothing when all is well")
    add("--shell", action="store_true", help="a shell in the guest, in real time; Ctrl-a x ends the VM")
    add("--list", action="store_true", help="list the kernels, and which are in the cache")
    add("--arch", choices=list(ALL), help="with --list: only those of this architecture")
    add("--tools", choices=[arch for arch in ALL if arch != AMD64.name], metavar="ARCH",
        help="print the folder with the guests' tools of another architecture, fetched if it is not there")  # fmt: skip
    add("--prepare", action="store_true", help="fetch what is not in the cache (of all kernels of this machine's architecture, without -k), and run "
        "nothing")  # fmt: skip
    add("--fetch", action="store_true", help="fetch the kernel anew (all, without -k), and run nothing")
    add("words", nargs="*", metavar="COMMAND", help=argparse.SUPPRESS)
    return made


def environment(settings: Sequence[str]) -> dict[str, str]:
    """The environment from -e options. Raises VmError."""
    found = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not name.isidentifier():
            raise VmError(f"-e {setting}: '{name}' is no name for a variable.")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


def default_environment() -> dict[str, str]:
    """What the command should know of our terminal. In the guest its output is a terminal in any case."""
    if os.isatty(1):
        return {"TERM": os.environ.get("TERM", "dumb")}
    return {"TERM": "dumb", "NO_COLOR": "1"}


def make_job(options: argparse.Namespace, kernels: catalog.Catalog) -> runner.Job:
    """The job that the options describe. Raises VmError."""
    if not options.kernel:
        raise VmError("Which kernel?", f"Give -k with one of: {' '.join(k.name for k in kernels.kernels)}")
    kernel = kernels.kernel(options.kernel)
    if bool(options.words) == options.shell:
        raise VmError("Give either a command after '--' or --shell.", "vmtest --help tells more.")
    real_time = options.real_time or options.shell
    if not 1 <= options.smp <= 64:
        raise VmError(f"--smp {options.smp}: 1 to 64 CPUs are possible.")
    if options.smp > 1 and not real_time:
        raise VmError("Virtual time is for one CPU only.", "Add --real-time, or leave --smp away.")
    if not 0 <= options.cables <= cables.MOST:
        raise VmError(f"--cables {options.cables}: 0 to {cables.MOST} are possible.")
    if options.cables and not real_time:
        raise VmError("What is sent over cables passes through this machine's kernel, which has no virtual time.", "Add --real-time.")
    if options.timeout <= 0 or options.output_limit <= 0 or options.memory < 0:
        raise VmError("--timeout, --output-limit and --memory must be positive.")
    if not 0 <= options.seed < 1 << 32:
        raise VmError(f"--seed {options.seed}: it must be from 0 to {(1 << 32) - 1}.")
    build = options.build.absolute()
    folder = os.getcwd()
    return runner.Job(
        kernel=kernel,
        words=options.words,
        virtual_time=not real_time,
        smp=options.smp,
        seed=options.seed,
        memory_mib=options.memory,
        timeout_s=options.timeout,
        output_limit=options.output_limit << 20,
        modules=[*kernels.modules, *(name for text in options.modules for name in text.split(",") if name)],
        extras=[*guest.built(build), *map(guest.Extra.parse, options.add)],
        folder=folder,
        environment=default_environment() | environment(options.env),
        path=[str(build / "bin")],
        shell=options.shell,
        cables=options.cables,
    )


def list_kernels(kernels: catalog.Catalog, arch: str | None) -> None:
    """Prints what --list shows."""
    for kernel in kernels.of(ALL[arch]) if arch else kernels.kernels:
        if kernel.image:
            where = kernel.image
        else:
            facts = cache.read_facts(cache.root() / kernel.name)
            where = f"suite {kernel.suite}, " + (f"in the cache: {facts['release']}" if facts else "not fetched yet")
        print(f"{kernel.name:<10} {where}")


@contextlib.contextmanager
def terminal_kept() -> Iterator[None]:
    """Gives the terminal its settings back; QEMU, which may be killed, makes it raw for a shell."""
    try:
        before = termios.tcgetattr(0)
    except termios.error:
        yield
        return
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def report(result: runner.Result, options: argparse.Namespace) -> int:
    """Says how it went; returns the status to exit with."""
    judged = result.verdict
    for message in judged.messages:
        say(message)
    if judged.show_console:
        tail = result.console.replace("\r", "").splitlines()[-40:]
        say("the end of the kernel's console:" if tail else "the kernel's console is empty")
        for line in tail:
            say(f"  | {line}")
    if options.console:
        options.console.write_text(result.console)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, data in result.files.items():
            # vmctl allows no '/', but the guest may write to the port itself.
            (options.out / Path(name).name).write_bytes(data)
    if not options.quiet or judged.status:
        say(f"kernel {options.kernel}: status {judged.status}, {result.wall_s:.1f} s (boot {result.boot_s:.1f} s)")
    return judged.status


def run(options: argparse.Namespace) -> int:
    """Does what the options say; returns the status to exit with. Raises VmError."""
    kernels = catalog.load(options.kernels)
    if options.list:
        list_kernels(kernels, options.arch)
        return status.OK
    if options.tools:
        print(guest.tools_root(ALL[options.tools]))
        return status.OK
    if options.fetch or options.prepare:
        failed: list[VmError] = []
        for kernel in [kernels.kernel(options.kernel)] if options.kernel else kernels.of(AMD64):
            if kernel.packages:
                # One that an archive does not offer any more must not keep the others from us.
                try:
                    store.refresh(kernel, force=options.fetch)
                except VmError as error:
                    say(f"kernel {kernel.name} cannot be had: {error}")
                    failed.append(error)
            guest.base(kernel.arch)
        return failed[0].status if failed else status.OK
    with terminal_kept():
        result = runner.run(
            make_job(options, kernels),
            kernels,
            output=lambda data: write_all(1, data),
            error=lambda data: write_all(2, data),
            say=(lambda text: None) if options.quiet else say,
        )
    return report(result, options)


def main(words: Sequence[str] | None = None) -> int:
    """Entry point; returns the status to exit with."""
    options = parser().parse_args(words)
    try:
        with interruptible():
            return run(options)
    except VmError as error:
        say(str(error))
        return error.status
    except Interrupted as interrupted:
        say("interrupted; the VM was ended")
        return interrupted.code
    except BrokenPipeError:
        # Whoever read our output has left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except OSError as error:
        say(f"{error.filename or 'vmtest'}: {error.strerror}")
        return status.CANNOT_RUN
