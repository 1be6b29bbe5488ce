# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""What the guest's file system holds: tools, what was built, modules, and the command.

Everything is in one initramfs of concatenated archives: no disk, no shared folder, no root. Programs come from this
machine together with the libraries ldd(1) names.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shlex
import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from . import cache, cpio, userland
from .arch import AMD64, Arch
from .modules import ModuleTree
from .status import VmError

HERE = Path(__file__).resolve().parent.parent
REPOSITORY = HERE.parent
SEARCH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"

# tool -> Debian package. All are in every guest.
TOOLS = {
    "busybox": "busybox-static",
    "bash": "bash",
    "ip": "iproute2",
    "tc": "iproute2",
    "ss": "iproute2",
    "nstat": "iproute2",
    "bpftool": "bpftool",
    "ethtool": "ethtool",
}
# In the guest if they are on this machine.
MORE_TOOLS = ("tcpdump", "nsenter", "timeout")
# Without these the guest cannot talk to us. They are built in from 6.12 on.
NEEDED_MODULES = ("virtio_pci", "virtio_console")
FILES = ("/etc/ld.so.cache", "/etc/protocols", "/etc/services", "/etc/iproute2/rt_dsfield")


def find_tool(name: str, package: str, search: str = SEARCH) -> Path:
    """Path of a program on this machine. Raises VmError that names the package."""
    found = shutil.which(name, path=search)
    if not found:
        raise VmError(f"{name} is missing on this machine.", f"Install the package {package}, or: ./run setup vmtest")
    return Path(found)


def is_elf(path: Path) -> bool:
    """Whether a file is a program or a library."""
    try:
        with open(path, "rb") as file:
            head = file.read(18)
    except OSError:
        return False
    return head[:4] == b"\x7fELF" and head[16:17] in (b"\x02", b"\x03")  # ET_EXEC, ET_DYN


def is_static(path: Path) -> bool:
    """Whether a program has no interpreter (PT_INTERP) and no dynamic section (PT_DYNAMIC), read as 64-bit little-endian ELF."""
    with open(path, "rb") as file:
        head = file.read(64)
        table, size, count = *struct.unpack_from("<Q", head, 0x20), *struct.unpack_from("<HH", head, 0x36)
        file.seek(table)
        entries = file.read(size * count)
    return not any(struct.unpack_from("<I", entries, i * size)[0] in (2, 3) for i in range(count))


def is_for(path: Path, arch: Arch) -> bool:
    """Whether a program is one of that architecture."""
    with open(path, "rb") as file:
        return struct.unpack_from("<H", file.read(20), 18)[0] == arch.elf_machine


def libraries(programs: Sequence[Path], arch: Arch = AMD64, root: Path = Path("/")) -> list[Path]:
    """The libraries programs need, as ldd names them, the loader included. Raises VmError if one is missing.

    For another architecture its own loader is asked, which takes what is in `root` for what is below /.
    """
    if not programs:
        return []
    if arch.loader:
        needed = [one for program in programs for one in _ask_loader(program, arch, root)]
        return list(dict.fromkeys([Path(arch.loader), *needed]))
    done = subprocess.run(
        ["ldd", *map(str, programs)], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    found: dict[str, None] = {}
    program = str(programs[0])
    for line in done.stdout.splitlines():
        if line.endswith(":") and not line[:1].isspace():
            program = line[:-1]
        elif "=> not found" in line:
            raise VmError(
                f"{program} needs the library {line.split()[0]}, which is not on this machine.", "Build it again?"
            )
        elif match := re.search(r"=> (/\S+)", line) or re.match(r"\s+(/\S+) \(0x", line):
            found[match[1]] = None
    return [Path(path) for path in found]


def _ask_loader(program: Path, arch: Arch, root: Path) -> list[Path]:
    """What ldd(1) does, for a program of another architecture."""
    words = [*arch.runner, "-L", str(root), arch.loader, "--list", str(program)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if "not a dynamic executable" in done.stderr or "statically linked" in done.stdout + done.stderr:
        return []
    if done.returncode != 0:
        raise VmError(f"The libraries of {program} could not be told: {done.stderr.strip()}", f"./run setup {arch.name}")
    return [Path(match[1]) for match in re.finditer(r"=> (/\S+) \(0x", done.stdout)]


def _add_programs(
    writer: cpio.Writer, programs: Iterable[tuple[str, Path]], arch: Arch = AMD64, root: Path = Path("/")
) -> None:
    listed = list(programs)
    for name, source in listed:
        writer.file(name, source, 0o755)
    for library in libraries([source for _, source in listed if is_elf(source) and not is_static(source)], arch, root):
        own = root / str(library).lstrip("/")
        writer.file(library, own if own.exists() else library, 0o755)


def helper(arch: Arch = AMD64) -> Path:
    """The compiled guest/vmctl.c, from the cache. Raises VmError if it cannot be compiled."""
    source = HERE / "guest" / "vmctl.c"

    def compile_it(destination: Path) -> None:
        compiler = next((found for name in arch.compilers if (found := shutil.which(name))), None)
        if compiler is None:
            raise VmError("There is no C compiler for the guest's helper.", "./run setup")
        line = [compiler, "-Os", "-static", "-Wall", "-o", str(destination), str(source)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise VmError(f"The guest's helper could not be compiled:\n{done.stderr.strip()}", "./run setup")

    return cache.file(cache.root() / "tools" / f"vmctl-{arch.name}-{cache.sha256(source)[:16]}", compile_it)


def tools_root(arch: Arch) -> Path:
    """The folder that is / to the guest's tools. Raises VmError if they cannot be had."""
    return Path("/") if arch == AMD64 else userland.root(arch, list(TOOLS.values()))


def _tools(arch: Arch) -> tuple[list[tuple[str, Path]], Path]:
    """The guest's tools and the folder that is their root."""
    root = tools_root(arch)
    search = SEARCH if arch == AMD64 else ":".join(str(root / folder) for folder in ("usr/bin", "usr/sbin"))  # in usr/sbin some are links to /bin
    programs = [(f"/usr/bin/{name}", find_tool(name, package, search)) for name, package in TOOLS.items()]
    for name in MORE_TOOLS:
        found = shutil.which(name, path=search)
        if found and is_elf(Path(found)):
            programs.append((f"/usr/bin/{name}", Path(found)))
    return programs, root


def base(arch: Arch = AMD64) -> Path:
    """The archive with everything that is the same for every run, made anew when one of its sources changed."""
    programs, root = _tools(arch)
    programs.append(("/usr/bin/vmctl", helper(arch)))
    init = HERE / "guest" / "init.sh"
    # The loader's cache is of this machine's own libraries.
    files = [Path(name) for name in FILES if os.path.isfile(name) and (arch == AMD64 or "ld.so" not in name)]

    state = [
        (name, str(source), os.stat(source).st_size, os.stat(source).st_mtime_ns)
        for name, source in [*programs, ("/init", init), *((str(file), file) for file in files)]
    ]
    own = cache.sha256(Path(__file__)) + cache.sha256(Path(cpio.__file__))
    digest = hashlib.sha256(repr((state, own, arch.name)).encode()).hexdigest()[:16]

    def make(destination: Path) -> None:
        with open(destination, "wb") as out:
            _write_base(out, programs, files, init, arch, root)
        for old in sorted(destination.parent.glob("base-*.cpio"), key=lambda path: path.stat().st_mtime)[:-8]:
            old.unlink(missing_ok=True)

    return cache.file(cache.root() / "tools" / f"base-{digest}.cpio", make)


def _write_base(
    out: BinaryIO, programs: Sequence[tuple[str, Path]], files: Sequence[Path], init: Path, arch: Arch, root: Path
) -> None:
    writer = cpio.Writer(out)
    for name in ("bin", "sbin", "lib", "lib64"):
        writer.folder(f"/usr/{name}")
        writer.link(f"/{name}", f"usr/{name}")
    for folder in ("dev", "proc", "sys", "run", "root", "var", "etc", "usr/lib/busybox", "usr/local/bin"):
        writer.folder(folder)
    writer.folder("tmp", 0o1777)
    writer.link("var/run", "/run")
    writer.link("var/tmp", "/tmp")
    writer.link("usr/bin/sh", "bash")
    writer.link("usr/bin/env", "busybox")
    # Where scripts and programs that know absolute paths look for them.
    for name in ("ip", "tc", "bpftool", "ethtool"):
        writer.link(f"usr/sbin/{name}", f"../bin/{name}")
    writer.link("etc/mtab", "/proc/self/mounts")
    # The kernel opens the console before /init can mount anything.
    writer.device("dev/console", 5, 1)
    writer.device("dev/null", 1, 3, 0o666)
    writer.data("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    writer.data("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    writer.data("etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n")
    writer.file("init", init, 0o755)
    _add_programs(writer, programs, arch, root)
    for file in files:
        writer.file(file, file, 0o644)
    writer.finish()


@dataclasses.dataclass(frozen=True)
class Extra:
    """A file or folder of this machine for the guest."""

    source: Path
    name: str  # path in the guest

    @staticmethod
    def parse(text: str) -> Extra:
        """From SOURCE or SOURCE:NAME. Raises VmError."""
        source, _, name = text.partition(":")
        path = Path(source).absolute()
        if not path.exists():
            raise VmError(f"There is no {source} to put into the guest.")
        if name and not name.startswith("/"):
            raise VmError(f"{text}: the name in the guest must be an absolute path.")
        return Extra(path, name or str(path))


def built(build: Path) -> list[Extra]:
    """What a build folder holds for guests: its programs and tests, and the BPF objects."""
    if not build.is_dir():
        return []
    found = [path for path in sorted((build / "bin").rglob("*")) if path.is_file()]
    # The tests' own fixtures are opened by their absolute paths.
    found += sorted(path for path in build.rglob("*.bpf.o") if path.is_file())
    return [Extra(path, str(path)) for path in found]


def add_extras(writer: cpio.Writer, extras: Iterable[Extra], arch: Arch = AMD64) -> None:
    """Adds files and folders, and the libraries of the programs among them."""
    programs: list[tuple[str, Path]] = []
    for extra in extras:
        if not extra.source.is_dir():
            pairs = [(extra.name, extra.source)]
        else:
            writer.folder(extra.name)
            pairs = [
                (os.path.join(extra.name, path.relative_to(extra.source)), path)
                for path in sorted(extra.source.rglob("*"))
                if path.is_file()
            ]
        for name, path in pairs:
            if is_elf(path):
                # A cross build has tools of this machine as well, which nothing in the guest could run.
                if is_for(path, arch):
                    programs.append((name, path))
            else:
                writer.file(name, path)
    _add_programs(writer, programs, arch)


def command_script(words: Sequence[str], folder: str, environment: dict[str, str], path: Sequence[str]) -> bytes:
    """The script that runs the command: one word is text for the shell, several are a program and its arguments."""
    lines = [f"cd {shlex.quote(folder)}", f"export PATH={shlex.quote(':'.join(path))}:$PATH" if path else ""]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    # "--" is no part of exec's grammar, but a program's name may begin with a dash.
    lines.append(words[0] if len(words) == 1 else "exec -- " + " ".join(map(shlex.quote, words)))
    return ("\n".join(line for line in lines if line) + "\n").encode()


def shell_script(folder: str, environment: dict[str, str], path: Sequence[str], terminal: os.terminal_size) -> bytes:
    """The script behind --shell."""
    setup = command_script(["true"], folder, environment, path).decode().splitlines()[:-1]
    setup += [f"stty rows {terminal.lines} cols {terminal.columns}", "export PS1='vm:\\w# '", "exec bash --norc -i"]
    return ("\n".join(setup) + "\n").encode()


def write_modules(out: BinaryIO, tree: ModuleTree, names: Sequence[str]) -> None:
    """Appends an archive with kernel modules and the orders to load them in.

    Raises VmError for a name this kernel does not have.
    """
    # A kernel that somebody brought without its modules has them built in, or else will not get far.
    needed = tree.resolve(name for name in NEEDED_MODULES if name in tree)
    wanted = [module for module in tree.resolve(names) if module not in needed]
    writer = cpio.Writer(out)
    for name, elf in (*needed, *wanted):
        writer.data(f"vm/modules/{name}.ko", elf)
    writer.data("vm/need", "".join(f"{name}\n" for name, _ in needed).encode())
    writer.data("vm/order", "".join(f"{name}\n" for name, _ in wanted).encode())
    writer.finish()
