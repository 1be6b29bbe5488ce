# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The exit statuses of vmtest, and the one error type that ends it early.

The table is the only place where they are written down: --help and the README test read it.
"""

from __future__ import annotations

import dataclasses

OK = 0
USAGE = 2  # of run-matrix; vmtest reports it as CANNOT_RUN, for 2 may be the command's
CANNOT_RUN = 69
REMAPPED = 120
MODULE = 121
SPLAT = 122
OUTPUT_LIMIT = 123
TIMEOUT = 124
GUEST_DIED = 125
INTERRUPTED = 130
TERMINATED = 143

TABLE: tuple[tuple[str, str], ...] = (
    ("0..255", "the command's own status (128+N: it was killed by signal N), if it is none of those below"),
    (str(CANNOT_RUN), "the VM could not run: usage, unknown kernel, package, image, tool or QEMU trouble"),
    (str(REMAPPED), "the command's own status was one of 69 or 120..125; standard error tells which"),
    (str(MODULE), "a kernel module is unknown or could not be loaded; the command was not run"),
    (str(SPLAT), "the command succeeded, but the kernel warned or is tainted, or its log could not be checked"),
    (str(OUTPUT_LIMIT), "the command wrote more than --output-limit; the VM was ended"),
    (str(TIMEOUT), "the command took longer than --timeout; the VM was ended"),
    (str(GUEST_DIED), "the guest panicked, was reset or ended without telling a status"),
    (f"{INTERRUPTED}, {TERMINATED}", "vmtest itself was interrupted (Ctrl-C, SIGTERM)"),
)

RESERVED = frozenset((CANNOT_RUN, REMAPPED, MODULE, SPLAT, OUTPUT_LIMIT, TIMEOUT, GUEST_DIED))


def of_command(status: int) -> int:
    """The status to exit with when the command in the guest ended with `status` (0..255)."""
    return REMAPPED if status in RESERVED else status


def help_text() -> str:
    """The table as text, one status a line."""
    return "\n".join(f"  {code:<9} {meaning}" for code, meaning in TABLE)


@dataclasses.dataclass
class VmError(Exception):
    """The VM cannot run or was not run. `what` happened, and what to do `next` (may be empty)."""

    what: str
    next: str = ""
    status: int = CANNOT_RUN

    def __str__(self) -> str:
        return self.what + (f"\n{self.next}" if self.next else "")
