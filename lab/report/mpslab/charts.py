# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The plots, as SVG. Colours are classes that page.py's style sheet has for light and dark: p0.. policies, a0.. paths.

A drawing is as wide as its column. Its units are pixels on a desk; on a phone the style sheet makes the text of wide
drawings larger (class wide), for which their margins have room.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence

from . import text
from .markup import Markup, number, tag
from .result import Event, Series

MAX_BINS = 280
BURST_BINS = 110  # of requests: short bursts would only be a comb
LEAST_SPAN = 1.4


def nice_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers from low to high, about as many as wanted."""
    if not high > low:
        return [low]
    rough = (high - low) / max(1, wanted)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 times powers of ten, or only powers of ten if those are many."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    every = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    found = [tick for tick in every if low * 0.999 <= tick <= high * 1.001]
    if len(found) > 6:
        found = [10.0**power for power in powers if low * 0.999 <= 10.0**power <= high * 1.001]
    return found


@dataclasses.dataclass(frozen=True)
class Scale:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(max(value, self.low * 1e-3))
        part = (value - low) / (high - low) if high > low else 0.5
        return self.start + min(1.05, max(-0.05, part)) * (self.end - self.start)

    def ticks(self, wanted: int = 5) -> list[float]:
        """Where to put labels."""
        return log_ticks(self.low, self.high) if self.logarithmic else nice_ticks(self.low, self.high, wanted)


def _svg(width: float, height: float, label: str, *children: Markup | list[Markup] | None, kind: str) -> Markup:
    return tag(
        "svg",
        tag("title", label),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
        class_=f"plot {kind}",
    )


def _text(x: float, y: float, words: str, kind: str = "", anchor: str | None = None) -> Markup:
    return tag("text", words, x=x, y=y, class_=kind or None, text_anchor=anchor)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def _path(points: Sequence[tuple[float, float]], kind: str, *, close: bool = False) -> Markup:
    words = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points) + ("Z" if close else "")
    return tag("path", d=words, class_=kind)


def short_time(value_ms: float) -> str:
    """A tick on an axis of times."""
    if value_ms >= 1000:
        return f"{text.significant(value_ms / 1000)} s"
    return f"{text.significant(value_ms)} ms"


@dataclasses.dataclass(frozen=True)
class Line:
    """One policy in a distribution."""

    name: str
    colour: str
    values: Sequence[float]
    dashed: bool = False


def _steps(values: Sequence[float]) -> list[tuple[float, float]]:
    """(value, part of the values up to it), thinned out so that a million of them make no large file."""
    ordered = sorted(values)
    count = len(ordered)
    found = [(value, (n + 1) / count) for n, value in enumerate(ordered) if n + 1 == count or ordered[n + 1] != value]
    if len(found) > MAX_BINS:
        every = len(found) / MAX_BINS
        found = [found[int(n * every)] for n in range(MAX_BINS)] + found[-1:]
    return found


def distribution(title: str, lines: Sequence[Line], bound_ms: float | None, subtitle: str = "") -> Markup:
    """Completion times as cumulative distributions: the further left and the steeper, the better."""
    width, height, left, right, top, bottom = 360.0, 246.0, 40.0, 14.0, 44.0, 44.0
    shown = [line for line in lines if line.values]
    values = [value for line in shown for value in line.values if value > 0]
    if bound_ms is not None and bound_ms > 0:
        values.append(bound_ms)
    if not shown or not values:
        return _svg(width, 60, title, _text(left, 20, title, "title"), _text(left, 42, "no data", "dim"), kind="narrow")
    # So that differences of a percent look like it.
    low, high = min(values), max(max(values), min(values) * LEAST_SPAN)
    logarithmic = high / low > 6
    if logarithmic:
        x = Scale(low / 1.15, high * 1.15, left, width - right, True)
    else:
        pad = (high - low or high) * 0.08
        x = Scale(max(0.0, low - pad), high + pad, left, width - right)
    y = Scale(0, 1, height - bottom, top)
    parts = [_text(left, 17, title, "title"), _text(width - right, 17, subtitle, "dim", "end")]
    for part in (0, 0.25, 0.5, 0.75, 1):
        parts.append(_line(left, y(part), width - right, y(part), "grid" if part else "axis"))
        if part in (0, 0.5, 1):
            parts.append(_text(left - 6, y(part) + 4, f"{part * 100:.0f}%", "tick", "end"))
    for tick in x.ticks(4):
        parts.append(_line(x(tick), height - bottom, x(tick), height - bottom + 4, "axis"))
        parts.append(_text(x(tick), height - bottom + 17, short_time(tick), "tick", "middle"))
    words = "time, logarithmic scale" if logarithmic else "time"
    parts.append(_text((left + width - right) / 2, height - 9, words, "tick", "middle"))
    if bound_ms is not None and bound_ms > 0:
        at = x(bound_ms)
        parts.append(_line(at, top - 6, at, height - bottom, "bound"))
        near_end = at > width * 0.7
        parts.append(_text(at, top - 10, "fluid bound", "boundtext", "end" if near_end else "start"))
    for line in shown:
        steps = _steps(line.values)
        points = [(x(steps[0][0]), y(0))]
        for value, part in steps:
            points += [(x(value), points[-1][1]), (x(value), y(part))]
        points.append((width - right, y(1)))
        parts.append(_path(points, f"curve {line.colour}{' dashed' if line.dashed else ''}"))
    for line in shown:
        middle = next(value for value, part in _steps(line.values) if part >= 0.5)
        dot = tag("title", f"{line.name}: half within {short_time(middle)}")
        parts.append(tag("circle", dot, cx=x(middle), cy=y(0.5), r=3.6, class_=f"dot {line.colour}"))
    return _svg(width, height, f"{title}: cumulative distribution of completion times", parts, kind="narrow")


def thin(values: Sequence[float], count: int, gather: Callable[[Sequence[float]], float]) -> list[float]:
    """At most `count` numbers, each gathered from neighbours."""
    if len(values) <= count:
        return list(values)
    edges = [round(n * len(values) / count) for n in range(count + 1)]
    return [gather(values[edges[n] : edges[n + 1]]) for n in range(count)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


STARTS = {"blackhole": "restored", "link_down": "link_up"}
CHANGES = ("rate", "delay", "loss")


def _bands(events: Sequence[Event], end_s: float) -> list[tuple[float, float, str]]:
    """(from, to, label) of faults that last."""
    found = []
    for number_, event in enumerate(events):
        if event.kind in STARTS:
            over = next(
                (
                    later.at_s
                    for later in events[number_ + 1 :]
                    if later.path == event.path and later.kind in (STARTS[event.kind], "restored")
                ),
                end_s,
            )
            found.append((event.at_s, over, event.text or f"{event.path} {event.kind}"))
    return found


def peak_mbit(series: Series, bins: int = MAX_BINS) -> float:
    """The top of a throughput plot, so that several can share it."""
    stacked = [sum(column) for column in zip(*series.mbit.values(), strict=True)] or [0.0]
    top = thin(stacked, bins, _mean)
    # One burst must not flatten the rest.
    ordered = sorted(top)
    usual = ordered[min(len(ordered) - 1, int(len(ordered) * 0.995))]
    return max(usual * 1.05, 0.001)


def _areas(
    series: Series, times: Sequence[float], count: int, x: Scale, y: Scale, path_colours: Mapping[str, str]
) -> list[Markup]:
    """The throughput of each path, one on top of the other."""
    parts = []
    floor = [0.0] * count
    for name, values in series.mbit.items():
        ceiling = [low + value for low, value in zip(floor, thin(values, count, _mean), strict=True)]
        if any(high > low for high, low in zip(ceiling, floor, strict=True)):
            points: list[tuple[float, float]] = []
            for n, value in enumerate(ceiling):
                points += [(x(times[n]), y(value)), (x(times[n + 1]), y(value))]
            for n in range(count - 1, -1, -1):
                points += [(x(times[n + 1]), y(floor[n])), (x(times[n]), y(floor[n]))]
            parts.append(_path(points, f"area {path_colours.get(name, 'a0')}", close=True))
        floor = ceiling
    return parts


def _event(event: Event, at: float, top: float, base: float) -> tuple[list[Markup], list[tuple[float, str, str]]]:
    """The mark of an event that has one, and its label."""
    if event.kind == "request":
        found = re.search(r"(\d+) bytes", event.text)
        label = (at, text.size(float(found[1])) if found else event.text, "tick")
        return [_line(at, top, at, base, "event")], [label]
    if event.kind not in CHANGES:
        return [], []
    mark = tag("title", f"{event.text} at {event.at_s:.1f} s")
    shape = tag("path", mark, d=f"M{number(at - 4)} {number(top - 5)}h8l-4 5z", class_="changemark")
    return [_line(at, top, at, base, "change"), shape], [(at + 6, event.text, "changetext")]


def timeline(
    title: str,
    colour: str,
    series: Series,
    events: Sequence[Event],
    *,
    path_colours: Mapping[str, str],
    top_mbit: float,
    end_s: float,
    capacity_mbit: float | None,
    subtitle: str = "",
    bins: int = MAX_BINS,
    delivered: bool = True,
) -> Markup:
    """Throughput of each path over time, stacked; faults as bands, flips as marks below."""
    width, height, left, right, top, bottom = 560.0, 276.0, 46.0, 14.0, 70.0, 58.0
    x = Scale(0, end_s or 1, left, width - right)
    y = Scale(0, top_mbit, height - bottom, top)
    base = height - bottom
    parts = [
        tag("circle", cx=left + 5, cy=12, r=5, class_=f"chip {colour}"),
        _text(left + 16, 17, title, "title"),
        _text(left + 16, 37, subtitle, "dim"),
    ]
    labels: list[tuple[float, str, str]] = []
    for start, over, label in _bands(events, end_s):
        band = tag("title", f"{label}, {start:.1f} to {over:.1f} s")
        box = {"x": x(start), "y": top, "width": max(2.0, x(over) - x(start)), "height": base - top}
        parts.append(tag("rect", band, class_="fault", **box))
        labels.append((x(start), label, "faulttext"))
    for tick in y.ticks(4):
        parts.append(_line(left, y(tick), width - right, y(tick), "grid" if tick else "axis"))
        parts.append(_text(left - 6, y(tick) + 4, text.significant(tick), "tick", "end"))
    parts.append(_text(left - 6, top - 7, "Mbit/s", "tick", "end"))

    count = min(bins, len(series.at_s))
    times = thin(series.at_s, count, lambda part: part[0]) + [series.at_s[-1] + series.interval_s]
    parts += _areas(series, times, count, x, y, path_colours)
    if capacity_mbit is not None and capacity_mbit <= top_mbit * 1.05:
        parts.append(_line(left, y(capacity_mbit), width - right, y(capacity_mbit), "bound"))
        parts.append(_text(width - right - 2, y(capacity_mbit) + 14, "sum of the paths", "boundtext halo", "end"))
    goodput = thin(series.goodput_mbit, count, _mean)
    if delivered and any(goodput):
        middles = [(x((times[n] + times[n + 1]) / 2), y(value)) for n, value in enumerate(goodput)]
        parts.append(_path(middles, "goodput"))
    for event in events:
        made, label = _event(event, x(event.at_s), top, base)
        parts += made
        labels += label
    parts += _labels(labels, width - right, top - 7)
    parts += _flips(series.flips, times, count, x, base)
    for tick in nice_ticks(0, end_s, 6):
        parts.append(_line(x(tick), base + 16, x(tick), base + 20, "axis"))
        parts.append(_text(x(tick), base + 36, f"{text.significant(tick)} s", "tick", "middle"))
    return _svg(width, height, f"{title}: throughput of each path over time", parts, kind="wide")


def _labels(labels: Sequence[tuple[float, str, str]], end: float, y: float) -> list[Markup]:
    """As many (x, words, kind) in a row as there is room for, also with the phone's larger letters."""
    parts = []
    free = 0.0
    for x, words, kind in sorted(labels):
        room = 9.0 * len(words)
        start = min(x + 2, end - room)
        if start >= free and words:
            parts.append(_text(start, y, words, kind))
            free = start + room + 4
    return parts


def _flips(flips: Sequence[float], times: Sequence[float], count: int, x: Scale, base: float) -> list[Markup]:
    """A strip of marks: the more changes of mind in an interval, the stronger."""
    strip_y, strip_height = base + 5, 10.0
    box = {"x": x.start, "y": strip_y, "width": x.end - x.start, "height": strip_height}
    parts = [tag("rect", class_="strip", **box)]
    sums = thin(flips, count, lambda part: float(sum(part)))
    most = max(sums, default=0.0)
    for n, value in enumerate(sums):
        if value > 0:
            span = max(1.0, x(times[n + 1]) - x(times[n]))
            words = tag("title", f"{value:.0f} flips from {times[n]:.1f} to {times[n + 1]:.1f} s")
            opacity = 0.25 + 0.75 * math.log1p(value) / math.log1p(most)
            mark = {"x": x(times[n]), "y": strip_y, "width": span, "height": strip_height}
            parts.append(tag("rect", words, class_="flip", opacity=opacity, **mark))
    return parts


@dataclasses.dataclass(frozen=True)
class Bar:
    """Shares of the paths under one policy."""

    name: str
    colour: str
    parts: Mapping[str, float]


def shares(bars: Sequence[Bar], path_colours: Mapping[str, str], reference: Mapping[str, float]) -> Markup:
    """Which part of the bytes each path carried. `reference`: the parts that the paths' rates would make."""
    width, left, right, top, row = 560.0, 148.0, 14.0, 30.0, 30.0
    height = top + row * len(bars) + 26
    x = Scale(0, 1, left, width - right)
    parts: list[Markup] = []
    edge = 0.0
    marks = []
    for share in list(reference.values())[:-1]:
        edge += share
        marks.append(edge)
    for number_, bar in enumerate(bars):
        y = top + row * number_
        parts.append(_text(left - 10, y + 19, bar.name, "label", "end"))
        parts.append(tag("rect", x=left, y=y + 4, width=x.end - x.start, height=row - 8, class_="strip"))
        at = 0.0
        for name, share in bar.parts.items():
            if share <= 0:
                continue
            start, end = x(at), x(min(1.0, at + share))
            words = tag("title", f"{bar.name}: {name} {share * 100:.1f} %")
            box = {"x": start, "y": y + 4, "width": max(0.0, end - start - 1), "height": row - 8}
            parts.append(tag("rect", words, class_=f"share {path_colours.get(name, 'a0')}", **box))
            if end - start > 42:
                parts.append(_text((start + end) / 2, y + 19, f"{share * 100:.0f}%", "inside", "middle"))
            at += share
    bottom = top + row * len(bars)
    for mark in marks:
        parts.append(_line(x(mark), top - 4, x(mark), bottom, "bound"))
    if marks:
        late = x(marks[0]) > width * 0.6
        parts.append(_text(x(marks[0]), top - 9, "by rate", "boundtext", "end" if late else "start"))
    for tick in (0, 0.25, 0.5, 0.75, 1):
        anchor = "end" if tick == 1 else "middle"
        parts.append(_text(x(tick), bottom + 18, f"{tick * 100:.0f}%", "tick", anchor))
    return _svg(width, height, "shares of the paths", parts, kind="wide")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of a heat map."""

    shown: str
    colour: str  # h0 (worst) .. h8 (best), s0 (far) .. s6 (at the bound), or "" for none
    hint: str = ""


# Up to these ratios of "times as good" the colours h0..h7 go; what is better still is h8.
DIVERGING = (0.6, 0.8, 0.9, 0.97, 1.03, 1.1, 1.25, 1.67)
# Of what is possible: s0..s5, and s6.
SEQUENTIAL = (0.2, 0.35, 0.5, 0.65, 0.8, 0.92)


def diverging(good: float | None) -> str:
    """The colour for 'so many times as good as something'."""
    return "" if good is None else f"h{sum(good > limit for limit in DIVERGING)}"


def sequential(good: float | None) -> str:
    """The colour for 'so much of what is possible'."""
    return "" if good is None else f"s{sum(good > limit for limit in SEQUENTIAL)}"


def heat_map(
    rows: Sequence[tuple[str, Sequence[Cell]]],
    columns: Sequence[str],
    label: str,
    links: Mapping[str, str] | None = None,
) -> Markup:
    """A matrix of coloured cells; rows may be linked to somewhere on the page."""
    longest = max([len(name) for name, _ in rows], default=0)
    cell_height, top = 24.0, 30.0
    left = min(230.0, 16 + 6.6 * longest)
    cell_width = max(44.0, min(108.0, (540 - left) / max(1, len(columns))))
    slanted = max([len(name) for name in columns], default=0) * 6.6 > cell_width - 4
    if slanted:
        top = 22 + 4.2 * max(len(name) for name in columns)
    room = 3.9 * len(columns[-1]) if slanted and columns else 4
    width, height = left + cell_width * len(columns) + max(4.0, room), top + cell_height * len(rows) + 2
    parts: list[Markup] = []
    for number_, name in enumerate(columns):
        x = left + cell_width * (number_ + 0.5)
        if slanted:
            words = {"transform": f"rotate(-35 {number(x - 6)} {number(top - 7)})"}
            parts.append(tag("text", name, x=x - 6, y=top - 7, class_="label", **words))
        else:
            parts.append(_text(x, top - 9, name, "label", "middle"))
    for number_, (name, cells) in enumerate(rows):
        y = top + cell_height * number_
        title = _text(left - 8, y + 16, name, "label", "end")
        target = (links or {}).get(name)
        parts.append(tag("a", title, href=target) if target else title)
        for column, cell in enumerate(cells):
            x = left + cell_width * column
            box = {"x": x + 1, "y": y + 1, "width": cell_width - 2, "height": cell_height - 2}
            hint = tag("title", cell.hint) if cell.hint else None
            parts.append(tag("rect", hint, rx="3", class_=f"cell {cell.colour}".rstrip(), **box))
            kind = f"celltext {cell.colour}".rstrip()
            parts.append(_text(x + cell_width / 2, y + 16, cell.shown, kind, "middle"))
    return tag(
        "div", _svg(width, height, label, parts, kind="heat"), class_="scroll", style=f"--wide:{number(width)}px"
    )


@dataclasses.dataclass(frozen=True)
class Block:
    """Rows of a block map that belong together: what they have in common, and each row's name and cells."""

    title: str
    rows: Sequence[tuple[str, Sequence[Sequence[Cell]]]]  # cells by group of columns


def block_map(blocks: Sequence[Block], groups: Sequence[tuple[str, Sequence[str]]], label: str) -> Markup:
    """A dense matrix in blocks of rows and groups of columns (title, columns). A cell's hint has what it cannot show."""
    cell_width, cell_height, between, head = 33.0, 19.0, 12.0, 21.0
    left = 16 + 6.4 * max([len(name) for block in blocks for name, _ in block.rows], default=0)
    top = 36.0
    starts = []
    x = left
    for _, columns in groups:
        starts.append(x)
        x += cell_width * len(columns) + between
    width = x - between + 2
    parts: list[Markup] = []
    for start, (title, columns) in zip(starts, groups, strict=True):
        parts.append(_text(start + cell_width * len(columns) / 2, 12, title, "title", "middle"))
        for column, name in enumerate(columns):
            parts.append(_text(start + cell_width * (column + 0.5), 30, name, "tick small", "middle"))
    y = top
    for block in blocks:
        parts.append(_text(2, y + 14, block.title, "blocktitle"))
        y += head
        for name, row in block.rows:
            parts.append(_text(left - 8, y + 13.5, name, "label", "end"))
            for start, cells in zip(starts, row, strict=True):
                for column, cell in enumerate(cells):
                    x = start + cell_width * column
                    box = {"x": x + 0.5, "y": y + 0.5, "width": cell_width - 1, "height": cell_height - 1}
                    hint = tag("title", cell.hint) if cell.hint else None
                    parts.append(tag("rect", hint, rx="2", class_=f"cell {cell.colour}".rstrip(), **box))
                    kind = f"celltext small {cell.colour}".rstrip()
                    parts.append(_text(x + cell_width / 2, y + 13.5, cell.shown, kind, "middle"))
            y += cell_height
    return tag("div", _svg(width, y + 2, label, parts, kind="heat"), class_="scroll", style=f"--wide:{number(width)}px")
