# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The section of the HTML report about the grid of pairs of paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import charts, grid, text
from .charts import Block, Cell
from .elements import chip, pill, table
from .markup import Markup, tag
from .stats import BASELINE, Group


def _grid_cell(cell: grid.Cell | None, where: str, against: str) -> Cell:
    if cell is None:
        return Cell("", "", f"{where}: no result")
    ratio = cell.of_default if against == BASELINE else cell.of_bound
    times = [text.milliseconds(cell.p50_ms)]
    times += [f"default {text.milliseconds(cell.default_ms)}"] if against == BASELINE else []
    times += [f"bound {text.milliseconds(cell.bound_ms)}"]
    words = "default" if against == BASELINE else "the fluid bound"
    hint = f"{where}: {text.factor(ratio)} × {words} ({', '.join(times)})"
    good = None if ratio is None else 1 / ratio
    if against != BASELINE:
        return Cell(text.brief(ratio), charts.sequential(good), hint)
    over = " over" if ratio is not None and ratio > grid.WORSE else ""
    return Cell(text.brief(ratio), charts.diverging(good) + over, hint)


def _grid_map(one: grid.Grid, against: str) -> Markup:
    """Pairs × sizes under one policy, the path that is first side by side."""
    by_place = {(cell.pair, cell.first, cell.size_bytes): cell for cell in one.cells}
    sizes = one.sizes
    firsts = [first for first in grid.FIRSTS if any(cell.first == first for cell in one.cells)]
    blocks: dict[tuple[float, float], list[tuple[str, list[list[Cell]]]]] = {}
    for pair in one.pairs:
        row = [
            [
                _grid_cell(by_place.get((pair, first, size)), f"{text.size(size)}, {pair}, {first} first", against)
                for size in sizes
            ]
            for first in firsts
        ]
        blocks.setdefault((pair.quick_ms, pair.slow_ms), []).append((f"{pair.quick_mbit:g} + {pair.slow_mbit:g}", row))
    made = charts.block_map(
        [
            Block(f"{quick_ms:g} + {slow_ms:g} ms, delays 1 : {text.significant(slow_ms / quick_ms)}", rows)
            for (quick_ms, slow_ms), rows in blocks.items()
        ],
        [(f"{first} path first", [text.size(size).replace(" ", "").removesuffix("B") for size in sizes]) for first in firsts],
        f"{one.policy} on the grid",
    )
    if against == BASELINE:
        worst = text.grid_cell(one.worst_of_default, one.worst_of_default.of_default) if one.worst_of_default else text.NONE
        title = "Of default"
    else:
        worst = text.grid_cell(one.worst_of_bound, one.worst_of_bound.of_bound) if one.worst_of_bound else text.NONE
        title = "Of the bound"
    return tag("figure", tag("figcaption", tag("b", title), f", worst {worst}"), made, class_="pairs")


def _steps(kind: str, limits: Sequence[float], words: str) -> Markup:
    """The colours of a map of times, each with the ratios it stands for."""
    ratios = [1 / limit for limit in limits]
    shown: list[Markup | str] = [tag("span", words)]
    for step in range(len(limits) + 1):
        named = f"> {ratios[0]:.2f}" if step == 0 else f"≤ {ratios[step - 1]:.2f}"
        shown += [tag("i", class_=f"square {kind}{step}"), named]
    return tag("p", shown, class_="legend scale steps")


def section(groups: Sequence[Group], colours: Mapping[str, str]) -> Markup | None:
    """The grids of pairs of paths; nothing if none was run."""
    grids = grid.grids(groups)
    if not grids:
        return None
    run = next((group.example for group in groups if group.example), None)
    columns = text.grid_columns(grids)
    rows: list[list[Markup | str]] = []
    for number, one in enumerate(grids):
        cells: list[Markup | str] = [chip(one.policy, colours.get(one.policy, "p0"), "stroke")]
        for title, values in columns[1:]:
            # Where the worst is stands above its map.
            shown: Markup | str = values[number].partition(" (")[0] if title.startswith("worst") else values[number]
            for first in grid.FIRSTS:
                if title == f"of bound, {first} first" and (mean := one.mean_of_bound(first)):
                    shown = pill(values[number], charts.sequential(1 / mean))
                if title == f"of default, {first} first" and shown != text.NONE and (mean := one.mean_of_default(first)):
                    shown = pill(values[number], charts.diverging(1 / mean))
            cells.append(shown)
        rows.append(cells)
    maps: list[Markup] = []
    compared = False
    several = len({one.kernel for one in grids}) > 1
    for one in grids:
        if not one.cells:
            continue
        both = [_grid_map(one, "bound")]
        if one.policy != BASELINE and any(cell.of_default is not None for cell in one.cells):
            both.insert(0, _grid_map(one, BASELINE))
            compared = True
        name = one.policy + (f" on {one.kernel}" if several else "")
        maps += [tag("h3", name), tag("div", both, class_="maps")]
    return tag(
        "section",
        tag("h2", tag("span", "grid", class_="id"), " ", f"{text.count_of(len(grids[0].pairs), 'pair')} of paths"),
        tag(
            "p",
            f"Median completion of requests ({run.direction if run else ''}) on one connection, by size and by the path "
            "that carries the first subflow. Quick is the path with the smaller delay. A row is the rates of both paths in "
            "Mbit/s, quick + slow; a block has their one-way delays in common. All ratios are of times: less is better. "
            "Means are geometric.",
            class_="caption",
        ),
        table([title for title, _ in columns], rows),
        _steps("h", charts.DIVERGING, f"of default (underlined: above {grid.WORSE:g})") if compared else None,
        _steps("s", charts.SEQUENTIAL, "of the bound"),
        maps,
        id="grid",
    )
