# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Finds in a kernel log what the kernel complains about, and excuses what an allow list excuses.

What the kernel says once and in one line about its own trouble is the headline of a splat; what follows up to the
end of its trace belongs to it. A new kind of complaint is one line in HEADLINES.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Iterable, Sequence

from .catalog import Allowance

# Each is searched for in a line without its time stamp. The first that matches names the kind.
HEADLINES: tuple[tuple[str, str], ...] = (
    ("panic", r"Kernel panic - not syncing"),
    ("sanitizer", r"(BUG: )?(KASAN|KCSAN|KFENCE|KMSAN|UBSAN): "),
    ("lockup", r"(soft|hard) lockup|Hard LOCKUP"),
    ("atomic", r"BUG: (scheduling while atomic|sleeping function called|workqueue leaked)"),
    ("bug", r"\bBUG: |kernel BUG at |\bBUG at "),
    ("oops", r"\bOops: |general protection fault|Unable to handle kernel|unable to handle page fault"),
    ("oops", r"^(divide error|invalid opcode|stack segment|double fault|int3|traps: PANIC): "),
    ("warning", r"\bWARNING: (CPU: \d+ PID: \d+ at|\S+/\S+\.[chS]:\d+ at|.* at \S+/\S+\.[ch]:\d+)"),
    ("lockdep", r"WARNING: (possible (circular|recursive|irq)|inconsistent lock|bad unlock|suspicious RCU)"),
    ("lockdep", r"INFO: (possible (circular|recursive|irq)|inconsistent lock|trying to register non-static key)"),
    ("lockdep", r"suspicious RCU usage|DEBUG_LOCKS_WARN_ON|lock held when returning to user space"),
    ("rcu", r"\brcu\S*: INFO: .*(stall|expedited)|self-detected stall|rcu\S* kthread (starved|timer)"),
    ("hung", r"INFO: task \S+ blocked for more than|khungtaskd|workqueue: .* hogged CPU|BUG: workqueue lockup"),
    ("refcount", r"refcount_t: |list_(add|del) corruption|ODEBUG: |slab error in |Slab corruption"),
    ("memory", r"Out of memory: |invoked oom-killer|page allocation failure|kmemleak: \d+ new suspected"),
    ("memory", r"Bad page (state|map)|BUG: Bad rss-counter"),
    ("network", r"unregister_netdevice: waiting for|NETDEV WATCHDOG|hw csum failure|bad gso|skb_warn_bad_offload"),
    ("bpf", r"(verifier|bpf).*(kernel )?bug\b|BPF: *Invalid|failed to validate module .* BTF"),
    ("warning", r"\bWARNING: "),
    ("trace", r"^Call Trace:|-+\[ cut here \]-+"),
)
_HEADLINES = tuple((kind, re.compile(pattern)) for kind, pattern in HEADLINES)
_STAMP = re.compile(r"^(?:<\d+>)?\[\s*\d+\.\d+\]\s?(?:\[\s*[TC]\d+\]\s?)?")
_END = re.compile(r"^---\[ end (trace|Kernel panic)|^=+$")
_CUT = re.compile(r"-+\[ cut here \]-+")
_CONTINUATION = re.compile(r"\bOops: |suspicious RCU usage")
MAX_LINES = 60


@dataclasses.dataclass
class Splat:
    """One complaint of the kernel."""

    kind: str
    headline: str
    lines: list[str]
    allowed_by: Allowance | None = None
    expired: Allowance | None = None  # would have been excused, but the allowance is over

    @property
    def fatal(self) -> bool:
        """Whether it fails a run."""
        return self.allowed_by is None


def strip_stamp(line: str) -> str:
    """A log line without priority, time and thread."""
    return _STAMP.sub("", line.rstrip("\r\n"))


def _kind(line: str) -> str:
    for kind, pattern in _HEADLINES:
        if pattern.search(line):
            return kind
    return ""


def find(log: Iterable[str]) -> list[Splat]:
    """The splats of a log, in order. A splat that is cut off still counts.

    A block from "cut here" to "end trace" is one splat, named by the first headline in it. Outside of such blocks
    each headline begins a splat, but for those that only go on with one: an oops is announced by a BUG line.
    """
    found: list[Splat] = []
    current: Splat | None = None
    in_block = False
    for raw in log:
        line = strip_stamp(raw)
        kind = _kind(line)
        if _CUT.search(line):
            current, in_block = None, True
        elif kind == "panic" and found:
            current, in_block = found[-1], True
        elif current is not None and not in_block and kind not in ("", "trace") and not _CONTINUATION.search(line):
            current = None
        if current is None:
            if not kind:
                continue
            current = Splat(kind, line, [])
            found.append(current)
        elif current.kind == "trace" and kind not in ("", "trace"):
            current.kind, current.headline = kind, line
        current.lines.append(line)
        if len(current.lines) >= MAX_LINES or (_END.search(line) and len(current.lines) > 3):
            current, in_block = None, False
    return found


def excuse(splats: Sequence[Splat], allow: Sequence[Allowance], kernel: str, today: datetime.date) -> None:
    """Notes in each splat which allowance excuses it on `kernel`, if any."""
    for splat in splats:
        text = "\n".join(splat.lines)
        for allowance in allow:
            if not allowance.applies_to(kernel) or not re.search(allowance.pattern, text, re.MULTILINE):
                continue
            if today <= allowance.expires:
                splat.allowed_by = allowance
                break
            splat.expired = allowance


TAINTS = "PFSRMBUDAWCIOELKXTNJ"  # Documentation/admin-guide/tainted-kernels.rst, bit 0 first


def taint_letters(value: int) -> str:
    """The letters of a taint value, as the kernel's messages have them."""
    return "".join(letter for bit, letter in enumerate(TAINTS) if value >> bit & 1) or str(value)


# What a splat that was excused leaves behind: D after an oops, W after a warning, L after a soft lockup.
EXCUSABLE_TAINT = 1 << TAINTS.index("W") | 1 << TAINTS.index("L")
