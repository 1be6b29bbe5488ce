# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Kernel modules: which files are needed for some names, in loading order.

Read from the modules themselves (their .modinfo section), since 6.1's package has no modules.dep and depmod(8)
would be one more tool. Only the ordinary dependencies count, not the soft ones.
"""

from __future__ import annotations

import hashlib
import lzma
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from .cache import Damaged
from .status import MODULE, VmError

SUFFIXES = (".ko", ".ko.xz")


def canonical(name: str) -> str:
    """The kernel's spelling of a module name: sch-netem and sch_netem are the same."""
    return name.strip().replace("-", "_")


def read_module(path: Path, digest: str = "") -> bytes:
    """A module's ELF file, unpacked. Raises VmError, or Damaged if the file has not the SHA-256 `digest`."""
    try:
        data = path.read_bytes()
        if digest and hashlib.sha256(data).hexdigest() != digest:
            raise Damaged(f"{path} has changed since it was fetched.")
        return lzma.decompress(data) if path.suffix == ".xz" else data
    except (OSError, lzma.LZMAError) as error:
        raise VmError(f"The kernel module {path} cannot be read: {error}") from None


def modinfo(elf: bytes, name: str) -> dict[str, str]:
    """The entries of the .modinfo section of a 64-bit ELF file; of repeated keys the first. Raises VmError."""
    try:
        if elf[:6] != b"\x7fELF\x02\x01":
            raise ValueError("not a 64-bit little-endian ELF file")
        sections_at, entry_size, count, names_index = (
            struct.unpack_from("<Q", elf, 0x28)[0],
            *struct.unpack_from("<HHH", elf, 0x3A),
        )

        def section(index: int) -> tuple[int, int, int]:
            at = sections_at + index * entry_size
            name_offset, offset, size = struct.unpack_from("<I20xQQ", elf, at)
            return name_offset, offset, size

        names_at = section(names_index)[1]
        for index in range(count):
            name_offset, offset, size = section(index)
            at = names_at + name_offset
            if elf[at : elf.index(b"\0", at)] == b".modinfo":
                if offset + size > len(elf):
                    raise ValueError(".modinfo is not all there")
                found: dict[str, str] = {}
                for entry in elf[offset : offset + size].split(b"\0"):
                    key, equals, value = entry.decode(errors="replace").partition("=")
                    if equals:
                        found.setdefault(key, value)
                return found
        raise ValueError("no .modinfo section")
    except (ValueError, struct.error) as error:
        raise VmError(f"{name} is no kernel module: {error}.") from None


class ModuleTree:
    """The modules of one kernel: a folder with .ko files in any depth, and perhaps modules.builtin."""

    def __init__(self, folder: Path, digests: Mapping[Path, str] | None = None) -> None:
        self._digests = digests or {}
        self._files: dict[str, Path] = {}
        for path in sorted(folder.rglob("*.ko*")):
            for suffix in SUFFIXES:
                if path.name.endswith(suffix):
                    self._files[canonical(path.name.removesuffix(suffix))] = path
        self._builtin: set[str] = set()
        builtin = folder / "modules.builtin"
        if builtin.is_file():
            for line in builtin.read_text().splitlines():
                self._builtin.add(canonical(Path(line.strip()).name.removesuffix(".ko")))

    def __contains__(self, name: str) -> bool:
        """Whether there is a file for this module."""
        return canonical(name) in self._files

    def resolve(self, names: Iterable[str]) -> list[tuple[str, bytes]]:
        """(name, ELF file) of the modules that `names` need, in loading order, built-in ones left out.

        Raises VmError for a name that this kernel does not have.
        """
        order: dict[str, bytes] = {}
        for name in names:
            self._visit(canonical(name), (), order)
        return list(order.items())

    def _visit(self, name: str, path: tuple[str, ...], order: dict[str, bytes]) -> None:
        if name in order or name in self._builtin:
            return
        if name not in self._files:
            wanted = f", which {path[-1]} needs" if path else ""
            raise VmError(
                f"This kernel has no module {name}{wanted}, nor is it built in.",
                f"Modules there are, for example: {', '.join(self._similar(name)) or 'none'}",
                MODULE,
            )
        if name in path:
            raise VmError(f"Kernel modules need each other in a circle: {' → '.join((*path, name))}")
        elf = read_module(self._files[name], self._digests.get(self._files[name], ""))
        for dependency in modinfo(elf, self._files[name].name).get("depends", "").split(","):
            if dependency:
                self._visit(canonical(dependency), (*path, name), order)
        order[name] = elf

    def _similar(self, name: str) -> list[str]:
        prefix = name.split("_")[0]
        return [one for one in self._files if one.startswith(prefix)][:8] or sorted(self._files)[:8]
