# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Tells how far the runs are: a line for each that ended, and on a terminal one that is rewritten."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from . import text
from .plan import Key


class Estimate:
    """The remaining time, from what ended. Knows no clock."""

    def __init__(self, wanted: Sequence[Key], jobs: int, expected_s: Mapping[Key, float]) -> None:
        self._open = dict.fromkeys(wanted)
        self._jobs = max(1, jobs)
        # What is expected tells ratios between scenarios; how quick this machine is now, only what ended tells.
        self._weight = {key.scenario: expected_s.get(key) or 0.0 for key in wanted}
        self._ended: dict[str, list[float]] = {}

    def ended(self, key: Key, wall_s: float) -> None:
        """A run has ended after so much wall time."""
        self._open.pop(key, None)
        self._ended.setdefault(key.scenario, []).append(wall_s)

    def _of(self, scenario: str) -> float:
        mine = self._ended.get(scenario)
        if mine:
            return sum(mine) / len(mine)
        if not self._ended:
            return self._weight.get(scenario, 0.0)
        every = [(name, wall_s) for name, times in self._ended.items() for wall_s in times]
        mean = sum(wall_s for _, wall_s in every) / len(every)
        known = [self._weight.get(name, 0.0) for name, _ in every]
        weight = self._weight.get(scenario, 0.0)
        if weight and all(known):
            return mean * weight / (sum(known) / len(known))
        return mean

    def remaining_s(self, running_s: Mapping[Key, float]) -> float | None:
        """Wall time until the end; `running_s` is how long each run has been going. None if nothing is known yet."""
        if not self._ended and not all(self._weight.values()):
            return None
        left = [max(0.0, self._of(key.scenario) - running_s.get(key, 0.0)) for key in self._open]
        return max([sum(left) / min(self._jobs, max(1, len(left))), *left[:1]]) if left else 0.0


class Display:
    """Thread-safe. `clock` counts seconds."""

    def __init__(
        self,
        out: TextIO,
        wanted: Sequence[Key],
        jobs: int,
        expected_s: Mapping[Key, float],
        clock: Callable[[], float],
        *,
        total: int,
    ) -> None:
        self._out, self._clock = out, clock
        self._terminal = out.isatty()
        self._lock = threading.Lock()
        self._estimate = Estimate(wanted, jobs, expected_s)
        self._running: dict[Key, float] = {}
        self._total = total
        self._done = total - len(wanted)
        self._failed = 0
        self._shown = False

    def started(self, key: Key) -> None:
        """A run begins now."""
        with self._lock:
            self._running[key] = self._clock()
            self._draw()

    def requeued(self, key: Key) -> None:
        """A run that had begun will begin again later."""
        with self._lock:
            self._running.pop(key, None)

    def ended(self, key: Key, wall_s: float, outcome: str, *, failed: bool) -> None:
        """A run has ended; `outcome` tells how in a few words."""
        with self._lock:
            self._running.pop(key, None)
            self._estimate.ended(key, wall_s)
            self._done += 1
            self._failed += failed
            left = "" if self._terminal else self._left()
            width = len(str(self._total))
            self._line(
                f"{self._done:>{width}}/{self._total}  {str(key):<44} {wall_s:6.1f} s  "
                f"{'FAILED: ' if failed else ''}{outcome}{f'; {left}' if left else ''}"
            )
            self._draw()

    def line(self, words: str) -> None:
        """Anything else worth telling."""
        with self._lock:
            self._line(words)
            self._draw()

    def tick(self) -> None:
        """Redraws; call it now and then."""
        with self._lock:
            self._draw()

    def close(self) -> None:
        """Takes the rewritten line away."""
        with self._lock:
            self._clear()

    def _left(self) -> str:
        now = self._clock()
        seconds = self._estimate.remaining_s({key: now - since for key, since in self._running.items()})
        if seconds is None or self._done >= self._total:
            return ""
        return f"about {text.duration(seconds)} left"

    def _clear(self) -> None:
        if self._shown:
            self._out.write("\r\x1b[K")
            self._out.flush()
            self._shown = False

    def _line(self, words: str) -> None:
        self._clear()
        self._out.write(words + "\n")
        self._out.flush()

    def _draw(self) -> None:
        if not self._terminal or self._done >= self._total:
            return
        parts = [f"{self._done}/{self._total}"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        if left := self._left():
            parts.append(left)
        now = self._clock()
        parts += [f"{key.scenario} {key.policy} #{key.seed} {now - since:.0f} s" for key, since in self._running.items()]
        # A line that wraps could not be rewritten.
        words = " · ".join(parts)[: max(20, shutil.get_terminal_size().columns - 1)]
        self._out.write(f"\r\x1b[K{words}")
        self._out.flush()
        self._shown = True
