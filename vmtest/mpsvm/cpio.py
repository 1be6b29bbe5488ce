# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Writes cpio archives in the format the kernel unpacks (newc), without root and without cpio(1).

All files belong to root in the archive, whoever owns them here. Of two entries with the same name the first
counts within an archive, and the last among concatenated archives.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

MAX_FILE_BYTES = 0xFFFFFFFF
# Debian's merged /usr. Everything is stored below usr/, with links in the root.
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


def normal(name: str | os.PathLike[str]) -> str:
    """The archive's name for a path in the guest: relative, without '..', below usr/ where /usr is merged."""
    parts = [part for part in os.fspath(name).split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"{name}: '..' in the name of a file for the guest")
    if parts and parts[0] in MERGED:
        parts.insert(0, "usr")
    return "/".join(parts)


class Writer:
    """Appends entries to an open file. Parent folders are made as needed. finish() ends the archive."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._seen: set[str] = set()
        self._inode = 0

    def __contains__(self, name: str | os.PathLike[str]) -> bool:
        return normal(name) in self._seen

    def _record(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        encoded = name.encode("utf-8", "surrogateescape") + b"\0"
        # inode, mode, uid, gid, links, mtime, size, device of the file (2), device it is (2), name, checksum
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        self._out.write(header + encoded + b"\0" * (-(len(header) + len(encoded)) % 4))
        self._out.write(data)
        self._out.write(b"\0" * (-len(data) % 4))

    def _add(
        self, name: str | os.PathLike[str], mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)
    ) -> bool:
        key = normal(name)
        if not key or key in self._seen:
            return False
        parent = os.path.dirname(key)
        if parent:
            self.folder(parent)
        self._seen.add(key)
        self._record(key, mode, data, device)
        return True

    def folder(self, name: str | os.PathLike[str], mode: int = 0o755) -> None:
        """An empty folder."""
        self._add(name, stat.S_IFDIR | mode)

    def link(self, name: str, target: str) -> None:
        """A symbolic link. Its own name is not moved below usr/ if it is one of those links itself."""
        if name.strip("/") in MERGED:
            key = name.strip("/")
            if key not in self._seen:
                self._seen.add(key)
                self._record(key, stat.S_IFLNK | 0o777, target.encode())
            return
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name: str, major: int, minor: int, mode: int = 0o600) -> None:
        """A character device."""
        self._add(name, stat.S_IFCHR | mode, device=(major, minor))

    def data(self, name: str | os.PathLike[str], data: bytes, mode: int = 0o644) -> None:
        """A file with these contents."""
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"{name}: {len(data)} bytes do not fit into a cpio archive")
        self._add(name, stat.S_IFREG | mode, data)

    def file(self, name: str | os.PathLike[str], source: Path, mode: int | None = None) -> None:
        """A copy of a file (symbolic links are followed), with its permissions unless `mode` is given."""
        if name not in self:
            with open(source, "rb") as file:
                own_mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                self.data(name, file.read(), own_mode if mode is None else mode)

    def finish(self) -> None:
        """Ends the archive; what is appended to the file afterwards is another one."""
        self._record("TRAILER!!!", 0)
        self._out.write(b"\0" * (-self._out.tell() % 512))
