# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Runs test binaries on this machine, two at a time: those that measure one after the other, and beside them those that do not."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .results import TIMEOUT_STATUSES, TestBinary

GRACE_S = 15
WALL_FACTOR = 5


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a binary ended. `limit_s`: the time it had, of what it used up; `data`: its result file."""

    binary: TestBinary
    status: int
    limit_s: int
    took_s: float
    data: bytes | None
    output: bytes


class Runner:
    """Runs binaries and hands each end to `judge`, one at a time."""

    def __init__(self, folder: Path, results: Path, words: Sequence[str], judge: Callable[[Ended], None]) -> None:
        self._folder, self._results, self._words, self._judge = folder, results, list(words), judge
        self._lock = threading.Lock()
        self._children: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._live = False

    def run(self, binaries: Sequence[TestBinary]) -> None:
        """Runs all of them. What a single one says is shown as it says it."""
        self._live = len(binaries) == 1
        alone = [binary for binary in binaries if binary.alone]
        beside = [binary for binary in binaries if not binary.alone]
        with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
            for lane in [pool.submit(self._lane, alone, beside), pool.submit(self._lane, beside)]:
                lane.result()

    def again(self, binary: TestBinary, cases: Sequence[str]) -> Ended:
        """Runs these cases of a binary once more, with nothing beside them."""
        return self._one(binary, [",".join(re.sub(r"([\\\\,\[\]])", r"\\\1", case) for case in cases)])

    def stop(self) -> None:
        """Ends what runs, and begins nothing any more."""
        with self._lock:
            self._stopped = True
            for child in self._children:
                child.terminate()

    def _lane(self, *queues: list[TestBinary]) -> None:
        for queue in queues:
            while True:
                with self._lock:
                    if self._stopped or not queue:
                        break
                    binary = queue.pop(0)
                ended = self._one(binary, self._words)
                with self._lock:
                    if not self._stopped:
                        self._judge(ended)

    def _one(self, binary: TestBinary, words: Sequence[str]) -> Ended:
        """Unit and bpf tests calculate, so their limit is one of CPU time: a busy machine must not fail them. The wall clock,
        five times as long, is for those that wait for something that never comes. e2e tests wait for real packets: theirs is
        wall time.
        """
        limit_s, wall_s, limiter = binary.limit_s, binary.limit_s, []
        if binary.tier != "e2e":
            wall_s *= WALL_FACTOR
            limiter = ["prlimit", f"--cpu={limit_s}:{limit_s + GRACE_S}"]
        file = self._results / f"{binary.name}.json"
        command = [*limiter, "timeout", f"--kill-after={GRACE_S}", str(wall_s), str(self._folder / binary.name)]
        begun = time.monotonic()
        if self._live:
            print(f"{binary.name} ({binary.tier})", flush=True)
        with self._lock:
            if self._stopped:
                return Ended(binary, 143, limit_s, 0, None, b"")
            child = subprocess.Popen(
                [*command, *words],
                stdin=subprocess.DEVNULL,
                stdout=None if self._live else subprocess.PIPE,
                stderr=None if self._live else subprocess.STDOUT,
                env=os.environ | {"MPS_TEST_RESULT": str(file)},
            )
            self._children.add(child)
        output, _ = child.communicate()
        with self._lock:
            self._children.remove(child)
        # As a shell tells it.
        status = child.returncode if child.returncode >= 0 else 128 - child.returncode
        if status in TIMEOUT_STATUSES:
            limit_s = wall_s
        data = file.read_bytes() if file.exists() else None
        return Ended(binary, status, limit_s, time.monotonic() - begun, data, output or b"")


def show(ended: Ended) -> None:
    """What it said, under its name."""
    sys.stdout.write(f"{ended.binary.name} ({ended.binary.tier}, {ended.took_s:.0f} s)\n")
    sys.stdout.flush()
    sys.stdout.buffer.write(ended.output)
    sys.stdout.flush()
