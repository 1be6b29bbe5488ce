# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""What runs will cost: from what earlier ones took, and for what never ran from its rates and sizes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from . import keep, stats, text
from .plan import Key, Scenario, kernel_alone

FILE = "costs.json"
REMEMBERED = 20  # runs of a scenario on a kernel
# The model: QEMU's CPU time on a quiet machine for the boot, for verifying the data path on an emulated processor, for a
# megabit of contents and for a second of timers.
BOOT_S, VERIFY_S, MEGABIT_S, NETWORK_S = 5.0, 8.0, 0.025, 0.05
# More than that is asked for.
BIG_CPU_S = 600.0


def modelled_s(key: Key, scenario: Scenario | None) -> float:
    """CPU time of a run that had none like it here."""
    seconds = BOOT_S + (0.0 if kernel_alone(key.policy) else VERIFY_S)
    if scenario is not None:
        seconds += MEGABIT_S * (scenario.megabits or 0.0) + NETWORK_S * (scenario.network_s or 0.0)
    return seconds


class History:
    """CPU times of runs that went well, by kernel, scenario, and whether the kernel was alone."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._times = self._read()

    def _read(self) -> dict[str, list[float]]:
        try:
            value: Any = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(value, dict):
            return {}
        return {
            str(name): [float(one) for one in times if isinstance(one, (int, float)) and one > 0]
            for name, times in value.items()
            if isinstance(times, list)
        }

    @staticmethod
    def _name(key: Key) -> str:
        return f"{key.kernel} {key.scenario} {'alone' if kernel_alone(key.policy) else 'steered'}"

    def median_s(self, key: Key) -> float | None:
        """None if nothing like it ran."""
        return stats.median(self._times.get(self._name(key), []))

    def add(self, key: Key, cpu_s: float) -> None:
        """A run has ended well."""
        if cpu_s > 0:
            self._times.setdefault(self._name(key), []).append(round(cpu_s, 2))

    def save(self) -> None:
        """Costs are only a help: that they cannot be kept is no reason to fail."""
        times = {name: mine[-REMEMBERED:] for name, mine in self._times.items()}
        try:
            keep.write(self._file, json.dumps(times, indent=1) + "\n")
        except OSError:
            pass


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Of some runs."""

    by_key: Mapping[Key, float]  # CPU seconds
    measured: int  # how many of them by earlier runs
    vms: int
    jobs: int

    @property
    def cpu_s(self) -> float:
        """All together."""
        return sum(self.by_key.values())

    @property
    def big(self) -> bool:
        """Whether somebody should agree to it first."""
        return self.cpu_s > BIG_CPU_S

    def __str__(self) -> str:
        runs = len(self.by_key)
        side = max(1, min(self.jobs, self.vms))
        if self.measured == runs:
            basis = "by what earlier ones took"
        elif self.measured:
            basis = f"{self.measured} of them by what earlier ones took, the others by their rates and sizes"
        else:
            basis = "by their rates and sizes: none like them ran here before"
        return (
            f"{text.count_of(runs, 'run')} in {text.count_of(self.vms, 'VM')}: about {text.duration(self.cpu_s)} of CPU time "
            f"({basis}), so about {text.duration(self.cpu_s / side)} with {side} side by side on a quiet machine"
        )


def estimate(
    left: Sequence[Key], vms: int, jobs: int, per_vm: int, scenarios: Mapping[str, Scenario], history: History
) -> Estimate:
    """Of what is left to run."""
    known = {key: history.median_s(key) for key in left}
    # Runs that share a VM share its boot; what earlier ones took was measured as it was.
    model = {key: modelled_s(key, scenarios.get(key.scenario)) - BOOT_S * (1 - 1 / per_vm) for key in left}
    by_key = {key: found if (found := known[key]) is not None else model[key] for key in left}
    return Estimate(by_key, sum(one is not None for one in known.values()), vms, jobs)


def can_ask(asked: TextIO, answers: TextIO) -> bool:
    """Whether there is somebody to ask."""
    return asked.isatty() and answers.isatty()


def agreed(found: Estimate, yes: bool, asked: TextIO, answers: TextIO) -> bool:
    """Whether runs may begin: small ones always, big ones when somebody says so."""
    if yes or not found.big:
        return True
    if not can_ask(asked, answers):
        return False
    asked.write("lab: go on? [y/N] ")
    asked.flush()
    return answers.readline().strip().lower() in ("y", "yes")
