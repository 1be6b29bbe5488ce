# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Tables of measurements in Markdown, and what their cells say. No I/O.

Beneath each table of a page with measurements stands one of these (CONTRIBUTING.md tells it to authors):

    a code block with the commands that make it; those of ./run lab can be repeated and compared
    a paragraph that begins with 'Not repeatable:' and tells why
    <!-- no measurements -->
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Sequence

from .plan import PlanError

TOLERANCE_PCT = 5.0
LAB = ["./run", "lab"]
NOT_REPEATABLE = "Not repeatable:"
NO_MEASUREMENTS = "<!-- no measurements -->"

_WITHIN = re.compile(r"#\s*within\s+(\d+(?:\.\d+)?)\s*%\s*$")
_POLICY = re.compile(r"`([^`\s]+)`(?: on (\S+))?")
_NUMBER = re.compile(r"([+-]?(?:\d{1,3}(?:,\d{3})+|\d+|(?=\.\d))(?:\.\d+)?)(?:\s*(ms|s|bytes|B|KB|MB|GB|Mbit/s|%))?")
# To ms and to bytes.
_UNITS = {"s": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9}


@dataclasses.dataclass(frozen=True)
class Number:
    """As it stands in a cell, in ms, bytes, Mbit/s or %."""

    shown: str
    value: float
    half_digit: float  # half of what the last digit is worth: what is rounded may be so far off

    @staticmethod
    def parse(words: str) -> Number | None:
        """None if it is none."""
        found = _NUMBER.fullmatch(words.strip())
        if not found:
            return None
        digits = found[1].replace(",", "")
        scale = _UNITS.get(found[2] or "", 1.0)
        decimals = len(digits.partition(".")[2])
        return Number(words.strip(), float(digits) * scale, 0.5 * 10.0**-decimals * scale)

    def agrees(self, measured: float, tolerance_pct: float) -> bool:
        """Whether it is what was measured, rounded or within the tolerance."""
        return abs(measured - self.value) <= max(self.half_digit * 1.001, abs(self.value) * tolerance_pct / 100)


@dataclasses.dataclass(frozen=True)
class Column:
    """A policy and the kernel it ran on."""

    policy: str
    kernel: str = ""  # "": whichever there is

    @staticmethod
    def parse(words: str) -> Column | None:
        """From '`auto`' or '`auto` on 6.1'; None if it is something else."""
        found = _POLICY.fullmatch(words.strip())
        return Column(found[1], found[2] or "") if found else None

    def __str__(self) -> str:
        return self.policy + (f" on {self.kernel}" if self.kernel else "")


@dataclasses.dataclass(frozen=True)
class Claim:
    """One number of a table: what it is of, and under which policy."""

    scenario: str  # "": the only one there is
    quantity: str
    column: Column
    number: Number

    @property
    def what(self) -> str:
        """For people."""
        return f"{self.scenario} {self.quantity}".strip()


@dataclasses.dataclass
class Table:
    """One table of a page."""

    number: int  # counts from 1
    line: int
    heading: str
    head: list[str]
    rows: list[list[str]]
    commands: list[str] = dataclasses.field(default_factory=list)
    reason: str = ""  # why it is not repeatable
    measured: bool = True  # it claims to be

    @property
    def lab(self) -> list[list[str]]:
        """The arguments of the ./run lab commands."""
        found = []
        for command in self.commands:
            try:
                words = shlex.split(command, comments=True)
            except ValueError:
                continue
            if words[:2] == LAB:
                found.append(words[2:])
        return found

    @property
    def tolerance_pct(self) -> float:
        """The largest that one of the commands tells."""
        told = [float(found[1]) for command in self.commands if (found := _WITHIN.search(command))]
        return max(told, default=TOLERANCE_PCT)

    @property
    def state(self) -> str:
        """In a few words."""
        if self.lab:
            return "repeatable"
        if self.commands:
            return "a command of its own, compared by people: " + self.commands[0]
        if self.reason:
            return f"not repeatable: {self.reason}"
        return "no measurements" if not self.measured else "UNMARKED: neither a command nor a reason beneath it"

    @property
    def marked(self) -> bool:
        """Whether it tells how to have it again, or why not."""
        return bool(self.commands or self.reason or not self.measured)

    def claims(self, scenarios: Sequence[str]) -> list[Claim]:
        """Its numbers under policies; other columns are for people. Raises PlanError for a cell that cannot be read."""
        columns = [Column.parse(title) for title in self.head]
        found: list[Claim] = []
        for cells in self.rows:
            row = Column.parse(cells[0])
            for title, column, cell in zip(self.head[1:], columns[1:], cells[1:], strict=False):
                label = cells[0] if column else title
                if (column or row) is None or not cell.strip() or cell.strip() == "-":
                    continue
                if column is None and not names_something(label, scenarios):
                    continue  # a remark
                found += self._cell(label, column or row, cell, scenarios)  # type: ignore[arg-type]
        return found

    def _cell(self, label: str, column: Column, cell: str, scenarios: Sequence[str]) -> list[Claim]:
        scenario, quantities = split_label(label, scenarios)
        parts = cell.split(" / ")
        numbers = [Number.parse(part) for part in parts]
        if len(parts) != len(quantities) or None in numbers:
            raise PlanError(
                f"table {self.number} (line {self.line}): '{cell}' is not {len(quantities)} number(s) for '{label}'.",
                "Remarks belong into a column of their own; CONTRIBUTING.md tells how such tables are written.",
            )
        return [
            Claim(scenario, quantity, column, number)
            for quantity, number in zip(quantities, numbers, strict=True)
            if number is not None
        ]


def names_something(label: str, scenarios: Sequence[str]) -> bool:
    """Whether a title begins with a scenario."""
    return label.split(" ", 1)[0].rstrip(",") in {*scenarios, *(name.partition("/")[0] for name in scenarios)}


def split_label(label: str, scenarios: Sequence[str]) -> tuple[str, list[str]]:
    """'video 1 KB / 20 KB, ms' is video and two sizes; without a scenario it is of the only one there is."""
    scenario, rest = "", label.strip()
    if names_something(rest, scenarios):
        scenario, _, rest = rest.partition(" ")
        scenario = scenario.rstrip(",")
    rest = re.sub(r",? (ms|Mbit/s|%|J)$", "", rest)
    return scenario, [one.strip() for one in rest.split(" / ")]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def parse(page: str) -> list[Table]:
    """The tables of a page, in their order; those in code blocks are examples."""
    lines = page.splitlines()
    found: list[Table] = []
    heading, at, fenced = "", 0, False
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and line.startswith("#"):
            heading = line.lstrip("# ")
        elif not fenced and line.startswith("|") and at + 1 < len(lines) and re.fullmatch(r"\|(\s*:?-+:?\s*\|)+\s*", lines[at + 1]):
            table = Table(len(found) + 1, at + 1, heading, _cells(line), [])
            at += 2
            while at < len(lines) and lines[at].startswith("|"):
                table.rows.append(_cells(lines[at]))
                at += 1
            _mark(table, lines[at:])
            found.append(table)
            continue
        at += 1
    return found


def _mark(table: Table, below: Sequence[str]) -> None:
    """Reads what stands beneath a table."""
    block: list[str] = []
    for line in below:
        if block and not line.strip():
            break
        if line.strip():
            block.append(line)
    if not block:
        return
    if block[0].startswith("```"):
        inside = list(below[list(below).index(block[0]) + 1 :])
        end = next((n for n, line in enumerate(inside) if line.startswith("```")), len(inside))
        table.commands = [line.strip() for line in inside[:end] if line.strip()]
    elif all(line.startswith("    ") for line in block):
        table.commands = [line.strip() for line in block]
    elif block[0].startswith(NOT_REPEATABLE):
        table.reason = " ".join(line.strip() for line in block).removeprefix(NOT_REPEATABLE).strip()
    elif block[0].strip() == NO_MEASUREMENTS:
        table.measured = False
