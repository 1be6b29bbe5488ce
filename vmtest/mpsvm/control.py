# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Reads the records the guest sends (guest/vmctl.c writes them) from a growing file of bytes."""

from __future__ import annotations

import dataclasses
import re

HEAD = b"\x01mpsvm "
SIZED = ("file", "kmsg")
MAX_HEAD_BYTES = 8192


@dataclasses.dataclass(frozen=True)
class Record:
    """One record: its words, and the bytes of a file or of the kernel's log."""

    words: tuple[str, ...]
    body: bytes = b""


class Reader:
    """Feed it bytes as they come. Anything between records is skipped: the guest may write what it likes."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[Record]:
        """The records that are complete now."""
        self._pending += data
        records: list[Record] = []
        while True:
            start = self._pending.find(HEAD)
            if start < 0:
                # The beginning of a head may be at the very end.
                self._pending = self._pending[-(len(HEAD) - 1) :]
                return records
            line_end = self._pending.find(b"\n", start)
            if line_end < 0:
                if len(self._pending) - start > MAX_HEAD_BYTES:
                    self._pending = self._pending[start + len(HEAD) :]
                    continue
                self._pending = self._pending[start:]
                return records
            words = tuple(self._pending[start + len(HEAD) : line_end].decode(errors="replace").split())
            body_size = 0
            if words and words[0] in SIZED and re.fullmatch(r"\d{1,12}", words[-1]):
                body_size = int(words[-1])
                words = words[:-1]
            body_start = line_end + 1
            if len(self._pending) - body_start < body_size:
                self._pending = self._pending[start:]
                return records
            if words:
                records.append(Record(words, self._pending[body_start : body_start + body_size]))
            self._pending = self._pending[body_start + body_size :]


@dataclasses.dataclass
class KernelLog:
    """What /dev/kmsg gave."""

    lines: list[str]
    whole: bool  # nothing was overwritten before it was read


def parse_kmsg(body: bytes) -> KernelLog:
    """Log lines from the entries of /dev/kmsg: 'priority,number,time_us,flags;text', and ' key=value' lines."""
    lines: list[str] = []
    expected = 0
    whole = True
    for line in body.decode(errors="replace").split("\n"):
        match = re.match(r"^(\d+),(\d+),(\d+),[^;]*;(.*)$", line)
        if not match:
            continue
        if int(match[2]) != expected:
            whole = False
        expected = int(match[2]) + 1
        time_s = int(match[3]) / 1e6
        text = re.sub(r"\\x([0-9a-fA-F]{2})", lambda m: chr(int(m[1], 16)), match[4])
        for part in text.split("\n"):
            lines.append(f"[{time_s:12.6f}] {part}")
    return KernelLog(lines, whole and expected > 0)
