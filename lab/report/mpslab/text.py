# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Numbers and tables as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from . import grid, stats
from .grid import Cell, Grid
from .stats import Group, Row

NONE = "-"
MOST_CELLS = 15


def significant(value: float, digits: int = 3) -> str:
    """About that many digits, without exponent and without zeros that say nothing."""
    if value == 0:
        return "0"
    size = abs(value)
    decimals = 0
    while decimals < 6 and round(size, decimals) * 10**decimals < 10 ** (digits - 1):
        decimals += 1
    shown = f"{value:.{decimals}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def count_of(number: int, what: str) -> str:
    """'1 run', '2 runs'."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def milliseconds(value: float | None) -> str:
    """'164 ms', '1.25 s'."""
    if value is None:
        return NONE
    return f"{significant(value / 1000)} s" if value >= 10_000 else f"{significant(value, 4 if value >= 1000 else 3)} ms"


def size(value: float | None) -> str:
    """'100 KB', in powers of ten."""
    if value is None:
        return NONE
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if value >= limit * 0.9995:
            return f"{significant(value / limit)} {unit}"
    return f"{significant(value)} B"


def factor(value: float | None) -> str:
    """'0.35', '1.64'."""
    return NONE if value is None else f"{value:.2f}" if value < 100 else significant(value)


def brief(value: float | None) -> str:
    """'0.35', '1.64', '19.4', '123': where there is little room."""
    return NONE if value is None else f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def rate(value: float | None) -> str:
    """A number per second, or of Mbit/s."""
    return NONE if value is None else significant(value)


def per_second(value: float | None) -> str:
    """How often something happened: less than a hundredth of a time is nearly never."""
    return NONE if value is None else "<0.01" if 0 < value < 0.01 else significant(value, 2)


def value(metric: stats.Metric, number: float | None) -> str:
    """With what its unit asks for."""
    if number is None:
        return NONE
    return {"ms": milliseconds, "bytes": size}.get(metric.unit, rate)(number)


def spread(metric: stats.Metric, ends: tuple[float, float] | None) -> str:
    """'81.2..85.1 ms': the least and the greatest."""
    if ends is None:
        return NONE
    least, greatest = (value(metric, end) for end in ends)
    number, _, unit = least.partition(" ")
    same = unit == greatest.partition(" ")[2]
    return least if least == greatest else f"{number if same else least}..{greatest}"


def duration(seconds: float) -> str:
    """'12 s', '2 min 05 s', '1 h 10 min'."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def shares(row: Row) -> str:
    """'76:24', in the order of the paths."""
    return ":".join(f"{share * 100:.0f}" for share in row.shares.values()) or NONE


def columns(group: Group) -> list[tuple[str, list[str]]]:
    """The columns of a scenario's table, the policy first; those that no row has anything for are left away."""
    main = group.main
    found: list[tuple[str, list[str]]] = [("policy", [row.policy for row in group.rows])]
    found.append(
        ("runs", [f"{len(row.runs)}" + (f", {row.failed} failed" if row.failed else "") for row in group.rows])
    )

    def add(title: str, cells: list[str]) -> None:
        if any(cell != NONE for cell in cells):
            found.append((title, cells))

    add("p50", [milliseconds(row.p50_ms) for row in group.rows])
    add("p90", [milliseconds(row.p90_ms) for row in group.rows])
    for key, title in (
        ("goodput_mbit", "Mbit/s"), ("message_delay_ms", "delay"), ("video_mbit", "video Mbit/s"),
        ("video_stall_ms", "stalls"), ("longest_gap_ms", "gap"), ("recovery_ms", "recovery"),
        ("out_of_order_bytes_mean", "out of order"), ("out_of_order_wait_ms", "wait"), ("reinjected_bytes", "reinjected"),
        ("energy_j", "J"),
    ):  # fmt: skip
        add(title, [value(stats.METRICS[key], row.values.get(key)) for row in group.rows])
    if main:
        if any(len(row.runs) > 1 for row in group.rows):
            # What the others are medians of.
            add(f"{main.label} by seed", [spread(main, row.spread) for row in group.rows])
        add("of bound", [factor(row.of_bound) for row in group.rows])
        add("of B1", [factor(row.of_tcp) for row in group.rows])
        add("of B2", [factor(row.of_bursts) for row in group.rows])
        add("of default", [factor(row.of_baseline) for row in group.rows])
    add("share %", [shares(row) for row in group.rows])
    add("flips/s", [per_second(row.values.get("flips_per_s")) for row in group.rows])
    add("wakes/s", [per_second(row.values.get("wakes_per_s")) for row in group.rows])
    return found


def size_columns(group: Group) -> list[tuple[str, list[str]]]:
    """p50 and p90 for each size of requests; empty if there are not several."""
    sizes = sorted({size.size_bytes for row in group.rows for size in row.sizes})
    if len(sizes) < 2:
        return []
    found: list[tuple[str, list[str]]] = [("p50 / p90, ms", [row.policy for row in group.rows])]
    bounds = {one.size_bytes: one.bound_ms for row in group.rows for one in row.sizes if one.bound_ms is not None}
    for wanted in sizes:
        cells = []
        for row in group.rows:
            mine = next((one for one in row.sizes if one.size_bytes == wanted), None)
            known = mine is not None and mine.p50_ms is not None and mine.p90_ms is not None
            cells.append(f"{significant(mine.p50_ms)} / {significant(mine.p90_ms)}" if known else NONE)
        found.append((size(wanted), cells))
    if bounds:
        found[0][1].append("(fluid bound)")
        for wanted, (_, cells) in zip(sizes, found[1:], strict=True):
            cells.append(significant(bounds[wanted]) if wanted in bounds else NONE)
    return found


def aligned(table: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Lines; the first column to the left, the others to the right."""
    if not table:
        return []
    widths = [max(len(title), *(len(cell) for cell in cells)) if cells else len(title) for title, cells in table]
    rows = [[title for title, _ in table], *(list(row) for row in zip(*(cells for _, cells in table), strict=True))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def heading(group: Group, several_kernels: bool) -> str:
    """The scenario in one line."""
    words = group.scenario + (f" on {group.kernel}" if several_kernels else "")
    return f"{words}  {group.title}".rstrip()


def paths(group: Group) -> str:
    """The paths in one line: what share and order refer to."""
    run = group.example
    if run is None:
        return ""
    described = []
    for path in run.paths:
        facts = [f"{significant(path.rate_mbit)} Mbit/s"] if path.rate_mbit is not None else []
        facts = [f"as in {path.trace},"] if path.trace else facts
        facts += [f"{significant(path.delay_ms)} ms"] if path.delay_ms is not None else []
        facts += [f"{significant(path.loss * 100)} % loss"] if path.loss else []
        described.append(f"{path.name} {' '.join(facts)}".rstrip() + (" (first)" if path.first else ""))
    return ", ".join(described)


def grid_cell(cell: Cell, ratio: float | None) -> str:
    """'2.10 (1 MB, 20@5+5@100, slow first)'."""
    return f"{factor(ratio)} ({size(cell.size_bytes)}, {cell.pair}, {cell.first} first)"


def grid_columns(grids: Sequence[Grid]) -> list[tuple[str, list[str]]]:
    """The summary of the grid: a line for each policy (and kernel, if there are several)."""
    worst_bound = [grid_cell(cell, cell.of_bound) if (cell := one.worst_of_bound) else NONE for one in grids]
    worst_default = [grid_cell(cell, cell.of_default) if (cell := one.worst_of_default) else NONE for one in grids]
    others = [one.policy != stats.BASELINE for one in grids]
    found = [("policy", [one.policy for one in grids])]
    if len({one.kernel for one in grids}) > 1:
        found.append(("kernel", [one.kernel for one in grids]))
    found.append(("cells", [f"{len(one.cells)}" + (f", {one.failed} failed" * bool(one.failed)) for one in grids]))
    for first in grid.FIRSTS:
        found.append((f"of bound, {first} first", [factor(one.mean_of_bound(first)) for one in grids]))
    if any(one.mean_of_tcp(first) for one in grids for first in grid.FIRSTS):
        for first in grid.FIRSTS:
            found.append((f"of B1, {first} first", [factor(one.mean_of_tcp(first)) for one in grids]))
    found.append(("worst of bound", worst_bound))
    if any(others):
        for first in grid.FIRSTS:
            cells = [factor(one.mean_of_default(first)) if other else NONE for one, other in zip(grids, others, strict=True)]
            found.append((f"of default, {first} first", cells))
        found.append(
            ("worst of default", [cell if other else NONE for cell, other in zip(worst_default, others, strict=True)])
        )
        counts = [str(len(one.worse)) if other else NONE for one, other in zip(grids, others, strict=True)]
        found.append((f"above {grid.WORSE:g}", counts))
    return found


def grid_report(grids: Sequence[Grid]) -> list[str]:
    """The summary of the grid, one fact a line under each policy, and the cells that are worse than default."""
    lines = [
        f"grid  {count_of(max((len(one.pairs) for one in grids), default=0), 'pair')} of paths (RATE@DELAY quick + slow), "
        "ratios of median completion times; less is better"
    ]
    table = grid_columns(grids)
    lines += [f"  {line}" for line in aligned([column for column in table if not column[0].startswith("worst")])]
    for number, one in enumerate(grids):
        name = one.policy + (f" on {one.kernel}" if len({each.kernel for each in grids}) > 1 else "")
        worst = dict(table)
        lines.append(f"  {name}: worst of bound {worst['worst of bound'][number]}")
        worse = one.worse if one.policy != stats.BASELINE else []
        if one.policy != stats.BASELINE and not worse and one.worst_of_default:
            lines.append(f"  {name}: worst of default {worst['worst of default'][number]}")
        if worse:
            lines.append(f"  {name}: above {grid.WORSE:g} × default:")
            lines += [f"    {grid_cell(cell, cell.of_default)}" for cell in worse[:MOST_CELLS]]
            if len(worse) > MOST_CELLS:
                lines.append(f"    … and {len(worse) - MOST_CELLS} more")
    return lines


def overview(groups: Sequence[Group]) -> list[str]:
    """Each policy over all scenarios; empty for a single one, and without the baseline to compare with."""
    found = [one for one in stats.summaries(groups) if one.cells and one.policy != stats.BASELINE]
    if len(groups) < 2 or not found:
        return []
    lines = [f"All scenarios  how many times as good as {stats.BASELINE}, geometric mean; more is better"]
    lines += [
        f"  {line}"
        for line in aligned(
            [
                ("policy", [one.policy for one in found]),
                ("scenarios", [str(one.cells) for one in found]),
                (f"× {stats.BASELINE}", [factor(one.mean_of_baseline) for one in found]),
                (f"below {stats.LESS:g}", [str(one.less) for one in found]),
                ("least", [factor(one.worst) for one in found]),
                ("in", [one.worst_in or NONE for one in found]),
            ]
        )
    ]
    return lines


def report(groups: Sequence[Group]) -> str:
    """Everything, for a terminal."""
    lines: list[str] = []
    several = len({group.kernel for group in groups}) > 1
    of_grid, groups = grid.split(groups)
    if of_grid:
        lines += ["", *grid_report(grid.grids(of_grid))]
    for group in groups:
        lines += ["", heading(group, several)]
        if described := paths(group):
            lines.append(f"  paths: {described}")
        lines += [f"  {line}" for line in aligned(columns(group))]
        if table := size_columns(group):
            lines += ["", *(f"  {line}" for line in aligned(table))]
    if table := overview(groups):
        lines += ["", *table]
    if any(group.main for group in groups):
        lines += [
            "",
            "of bound, of default: the scenario's main metric as a ratio, for times less is better, for rates more.",
            "p50, p90: over the requests of all seeds; the rest: medians over seeds; by seed: the least and the greatest.",
        ]
    if any(row.of_tcp for group in groups for row in group.rows):
        lines.append(
            "of B1, of B2: of the earliest that the windows before each write allow, segment by segment and in the kernel's bursts of 64 KiB."
        )
    return "\n".join(lines).lstrip("\n")
