# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The HTML report: one file that needs nothing else, neither script nor network."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import charts, document, grid, page_grid, sentence, stats, text
from .charts import Bar, Cell, Line
from .elements import chip, pill, table
from .keep import EVERYTHING, Outcome
from .markup import Markup, tag
from .plan import ALONE
from .stats import BASELINE, Group, Row

STYLE = Path(__file__).with_name("page.css")
POLICY_COLOURS = 8
PATH_COLOURS = 8
GRID_VARIANTS = 6  # a scenario with so many variants is a grid: one heat map for each policy
MOST_CURVES = 12
MOST_ORIGINS = 2


@dataclasses.dataclass(frozen=True)
class Facts:
    """All that the report is made of."""

    command: str
    made: datetime.datetime
    wanted: int
    outcomes: Sequence[Outcome]
    groups: Sequence[Group]
    said: str = ""  # what came out


def policy_colours(groups: Sequence[Group]) -> dict[str, str]:
    """The same colour for a policy everywhere; the baseline has one of its own."""
    found = {BASELINE: "p0"}
    for name in dict.fromkeys(row.policy for group in groups for row in group.rows):
        if name not in found and not name.startswith(f"{ALONE}:"):
            found[name] = f"p{(len(found) - 1) % (POLICY_COLOURS - 1) + 1}"
    return found


def path_colours(group: Group) -> dict[str, str]:
    """By the order of the paths."""
    run = group.example
    return {path.name: f"a{n % PATH_COLOURS}" for n, path in enumerate(run.paths)} if run else {}


def colour(policy: str, policies: Mapping[str, str], paths: Mapping[str, str]) -> str:
    """A path alone looks like the path."""
    if policy.startswith(f"{ALONE}:"):
        return paths.get(policy.removeprefix(f"{ALONE}:"), "a0")
    return policies.get(policy, "p0")


def _good_cell(metric: stats.Metric | None, ratio: float | None) -> Markup:
    return pill(text.factor(ratio), charts.diverging(stats.goodness(metric, ratio)))


def _scenario_table(group: Group, colours: Mapping[str, str]) -> Markup:
    paths = path_colours(group)
    columns = text.columns(group)
    rows: list[list[Markup | str]] = []
    for number, row in enumerate(group.rows):
        kind = colour(row.policy, colours, paths)
        cells: list[Markup | str] = [
            chip(row.policy, kind, "dash" if row.policy.startswith(ALONE) else "stroke")
        ]
        for title, values in columns[1:]:
            shown: Markup | str = values[number]
            if title == "of default" and row.policy != BASELINE:
                shown = _good_cell(group.main, row.of_baseline)
            elif title == "of bound" and row.of_bound is not None:
                shown = pill(values[number], charts.sequential(stats.goodness(group.main, row.of_bound)))
            elif title == "runs" and row.failed:
                shown = tag("b", values[number], class_="bad")
            cells.append(shown)
        rows.append(cells)
    return table([title for title, _ in columns], rows)


def _sizes_table(group: Group, colours: Mapping[str, str]) -> Markup | None:
    sizes = sorted({size.size_bytes for row in group.rows for size in row.sizes})
    if len(sizes) < 2:
        return None
    paths = path_colours(group)
    rows: list[list[Markup | str]] = []
    bounds = {size.size_bytes: size.bound_ms for row in group.rows for size in row.sizes}
    for row in group.rows:
        kind = colour(row.policy, colours, paths)
        cells: list[Markup | str] = [chip(row.policy, kind, "dash" if row.policy.startswith(ALONE) else "stroke")]
        for wanted in sizes:
            mine = next((size for size in row.sizes if size.size_bytes == wanted), None)
            if mine is None or mine.p50_ms is None:
                cells.append(text.NONE)
                continue
            shown = [Markup(text.significant(mine.p50_ms))]
            compared = row.size_of_baseline.get(wanted)
            if compared is not None and row.policy != BASELINE:
                shown.append(tag("small", _good_cell(stats.METRICS["completion_ms"], compared)))
            if len(row.runs) > 1:
                shown.append(tag("small", text.spread(stats.METRICS["completion_ms"], mine.spread_ms), class_="dim"))
            cells.append(tag("span", shown, title=f"p90: {text.milliseconds(mine.p90_ms)}"))
        rows.append(cells)
    if any(bound is not None for bound in bounds.values()):
        rows.append(
            [chip("fluid bound", "bound", "dash"), *(text.NONE if b is None else text.significant(b) for b in map(bounds.get, sizes))]
        )
    return tag(
        "div",
        tag("p", "Median completion in ms by size, its ratio to default, and the least and greatest median of a seed", class_="caption"),
        table(["policy", *(text.size(size) for size in sizes)], rows),
    )


def _legend(group: Group, colours: Mapping[str, str]) -> Markup:
    paths = path_colours(group)
    chips = [
        chip(row.policy, colour(row.policy, colours, paths), "dash" if row.policy.startswith(ALONE) else "stroke")
        for row in group.rows
        if row.runs
    ]
    return tag("p", chips, class_="legend")


def _distributions(group: Group, colours: Mapping[str, str]) -> Markup | None:
    paths = path_colours(group)
    shown = [row for row in group.rows if row.runs][:MOST_CURVES]
    panels = []
    for wanted in sorted({size.size_bytes for row in shown for size in row.sizes}):
        lines, bound, count = [], None, 0
        for row in shown:
            size = next((one for one in row.sizes if one.size_bytes == wanted), None)
            if size is None:
                continue
            bound = bound if bound is not None else size.bound_ms
            count = max(count, len(size.times_ms))
            alone = row.policy.startswith(ALONE)
            lines.append(Line(row.policy, colour(row.policy, colours, paths), size.times_ms, alone))
        several = len({size.size_bytes for row in shown for size in row.sizes}) > 1
        kind = group.example.workload if group.example else ""
        title = {"stream": "message delay", "video": "chunks"}.get(kind, "")
        title = text.size(wanted) if several or not title else title
        panels.append(charts.distribution(title, lines, bound, f"{count} each"))
    if not panels:
        metric = group.main
        key = metric.key if metric else ""
        # One number for each run: worth a distribution only if there are some, and only for times.
        lines = [
            Line(
                row.policy,
                colour(row.policy, colours, paths),
                [run.metrics[key] for run in row.runs if key in run.metrics],
                row.policy.startswith(ALONE),
            )
            for row in shown
        ]
        if metric is None or metric.unit != "ms" or max((len(line.values) for line in lines), default=0) < 4:
            return None
        bounds = [bound for row in shown for run in row.runs if (bound := run.bounds.get(key)) is not None]
        panels.append(charts.distribution(metric.label, lines, stats.median(bounds), "over seeds"))
    return tag(
        "div",
        tag("h3", "How long it took"),
        tag("p", "Part of the requests that were complete within a time. Further left is better; the dot is the median. "
            "The axis of times is logarithmic where it says so.", class_="caption"),
        _legend(group, colours),
        tag("div", panels, class_="panels narrow"),
    )


def _path_legend(group: Group) -> Markup:
    chips = [chip(name, kind, "square") for name, kind in path_colours(group).items()]
    return tag("p", chips, class_="legend")


def _timelines(group: Group, colours: Mapping[str, str]) -> Markup | None:
    paths = path_colours(group)
    typical = [(row, run) for row in group.rows if (run := row.typical) is not None and run.series is not None]
    if not typical:
        return None
    end_s = max(run.series.at_s[-1] + run.series.interval_s for _, run in typical if run.series)
    bursts = typical[0][1].workload == "requests"
    bins = charts.BURST_BINS if bursts else charts.MAX_BINS
    top_mbit = max(charts.peak_mbit(run.series, bins) for _, run in typical if run.series)
    rates = [path.rate_mbit for path in typical[0][1].paths]
    changing = any(event.kind == "rate" for _, run in typical for event in run.events) or any(
        path.trace for path in typical[0][1].paths
    )
    capacity = None if changing or None in rates else sum(rate for rate in rates if rate is not None)
    if capacity is not None and capacity < 2 * top_mbit:
        top_mbit = max(top_mbit, capacity * 1.04)
    panels = []
    for row, run in typical:
        assert run.series is not None
        facts = []
        if row.main and row.main.key in run.metrics:
            unit = " Mbit/s" if row.main.unit == "Mbit/s" else ""
            facts.append(f"{row.main.label} {text.value(row.main, run.metrics[row.main.key])}{unit}")
        if run.metrics.get("flips_per_s"):
            facts.append(f"{text.significant(run.metrics['flips_per_s'], 2)} flips/s")
        if len(row.runs) > 1:
            facts.append(f"seed {run.seed}")
        panels.append(
            charts.timeline(
                row.policy,
                colour(row.policy, colours, paths),
                run.series,
                run.events,
                path_colours=paths,
                top_mbit=top_mbit,
                end_s=end_s,
                capacity_mbit=capacity,
                subtitle=" · ".join(facts),
                bins=bins,
                # What is delivered late comes at once: of bursts that is a picture of its own.
                delivered=not bursts,
            )
        )
    what = [
        _path_legend(group),
        None if bursts else chip("delivered", "ink", "stroke"),
        chip("flips (strip below)", "flipped", "square"),
    ]
    if any(event.kind in charts.STARTS for _, run in typical for event in run.events):
        what.append(chip("fault", "faulty", "square"))
    return tag(
        "div",
        tag("h3", "Throughput of each path"),
        tag("p", "The run in the middle of its seeds; stacked, the same scales for all.", class_="caption"),
        tag("div", what, class_="legend"),
        tag("div", panels, class_="panels wide"),
    )


def _shares(group: Group, colours: Mapping[str, str]) -> Markup | None:
    paths = path_colours(group)
    bars = [
        Bar(row.policy, colour(row.policy, colours, paths), row.shares)
        for row in group.rows
        if sum(row.shares.values()) > 0 and not row.policy.startswith(f"{ALONE}:")
    ]
    run = group.example
    if not bars or run is None or len(run.paths) < 2:
        return None
    rates = {path.name: path.rate_mbit or 0.0 for path in run.paths}
    total = sum(rates.values())
    reference = {name: rate / total for name, rate in rates.items()} if total and all(rates.values()) else {}
    return tag(
        "div",
        tag("h3", "Who carried the bytes"),
        _path_legend(group),
        tag("div", charts.shares(bars, paths, reference), class_="panels wide"),
    )


def gridded(groups: Sequence[Group]) -> set[str]:
    """The ids of scenarios with so many variants that plots of each would only hide what they have in common."""
    ids: dict[tuple[str, str], int] = {}
    for group in groups:
        name, slash, _ = group.scenario.partition("/")
        if slash:
            ids[(group.kernel, name)] = ids.get((group.kernel, name), 0) + 1
    return {name for (_, name), count in ids.items() if count >= GRID_VARIANTS}


def _section(number: int, group: Group, colours: Mapping[str, str], several_kernels: bool, brief: bool) -> Markup:
    title = [tag("span", group.scenario, class_="id"), " ", group.title]
    if several_kernels:
        title.append(tag("span", f" kernel {group.kernel}", class_="dim"))
    parts: list[Markup | None] = [tag("h2", title)]
    if described := text.paths(group):
        run = group.example
        kind = f"{run.workload} {run.direction}".strip() if run else ""
        parts.append(tag("p", f"Paths: {described}. Workload: {kind}.", class_="caption"))
    if not any(row.runs for row in group.rows):
        parts.append(tag("p", "No run of this scenario went well.", class_="bad"))
    parts.append(_scenario_table(group, colours))
    if any(row.runs for row in group.rows):
        makers = (_sizes_table,) if brief else (_sizes_table, _distributions, _timelines, _shares)
        parts += [maker(group, colours) for maker in makers]
    return tag("section", parts, id=f"s{number}", class_="brief" if brief else None)


def _compare_cell(metric: stats.Metric | None, ratio: float | None, where: str) -> Cell:
    hint = f"{where}: {text.factor(ratio)} times default" if ratio is not None else f"{where}: no result"
    return Cell(text.factor(ratio), charts.diverging(stats.goodness(metric, ratio)), hint)


def _bound_cell(metric: stats.Metric | None, ratio: float | None, where: str) -> Cell:
    hint = f"{where}: {text.factor(ratio)} times the fluid bound" if ratio is not None else f"{where}: no bound"
    return Cell(text.factor(ratio), charts.sequential(stats.goodness(metric, ratio)), hint)


def _matrix(groups: Sequence[Group], policies: Sequence[str], several_kernels: bool, against: str) -> Markup | None:
    """Scenarios (or their sizes) × policies."""
    rows: list[tuple[str, list[Cell]]] = []
    links = {}
    known = False
    for number, group in enumerate(groups):
        name = group.scenario + (f" {group.kernel}" if several_kernels else "")
        by_policy = {row.policy: row for row in group.rows}
        sizes = sorted({size.size_bytes for row in group.rows for size in row.sizes})
        for wanted in sizes if len(sizes) > 1 else [None]:
            label = name if wanted is None else f"{name} {text.size(wanted)}"
            cells = []
            for policy in policies:
                row = by_policy.get(policy)
                cells.append(_cell(row, group, wanted, f"{label}, {policy}", against))
                known = known or cells[-1].shown != text.NONE
            rows.append((label, cells))
            links[label] = f"#s{number}"
    if not known:
        return None
    words = "ratio to default" if against == BASELINE else "ratio to the fluid bound"
    return charts.heat_map(rows, list(policies), words, links)


def _cell(row: Row | None, group: Group, size: int | None, where: str, against: str) -> Cell:
    metric = group.main if size is None else stats.METRICS["completion_ms"]
    if row is None:
        return Cell("", "", f"{where}: not run")
    if against == BASELINE:
        ratio = row.of_baseline if size is None else row.size_of_baseline.get(size)
        return _compare_cell(metric, ratio, where)
    ratio = row.of_bound
    if size is not None:
        mine = next((one for one in row.sizes if one.size_bytes == size), None)
        ratio = stats.ratio(mine.p50_ms, mine.bound_ms) if mine else None
    return _bound_cell(metric, ratio, where)


def grids(groups: Sequence[Group], policy: str, against: str) -> list[Markup]:
    """For each scenario with many variants: variants × sizes under one policy."""
    found = []
    in_grids = gridded(groups)
    for kernel, name in dict.fromkeys((group.kernel, group.scenario.partition("/")[0]) for group in groups):
        if name not in in_grids:
            continue
        mine = [group for group in groups if group.kernel == kernel and group.scenario.startswith(f"{name}/")]
        sizes = sorted({size.size_bytes for group in mine for row in group.rows for size in row.sizes})
        rows, known = [], False
        for group in mine:
            row = next((row for row in group.rows if row.policy == policy), None)
            cells = [_cell(row, group, size, f"{group.scenario}, {policy}", against) for size in sizes or [None]]
            known = known or any(cell.shown not in ("", text.NONE) for cell in cells)
            rows.append((group.scenario.removeprefix(f"{name}/"), cells))
        if known:
            columns = [text.size(size) for size in sizes] or [mine[0].main.label if mine[0].main else "result"]
            links = {group.scenario.removeprefix(f"{name}/"): f"#s{groups.index(group)}" for group in mine}
            words = "default" if against == BASELINE else "the fluid bound"
            found.append(
                tag(
                    "figure",
                    tag("figcaption", tag("b", policy), f" on {name}, ratio to {words}"),
                    charts.heat_map(rows, columns, f"{policy} on {name}", links),
                )
            )
    return found


def _scale_legend(against: str) -> Markup:
    if against == BASELINE:
        steps = [tag("i", class_=f"square h{n}") for n in range(len(charts.DIVERGING) + 1)]
        return tag("p", "worse ", steps, " better than default", class_="legend scale")
    steps = [tag("i", class_=f"square s{n}") for n in range(len(charts.SEQUENTIAL) + 1)]
    return tag("p", "far from ", steps, " at the bound", class_="legend scale")


def _overview(facts: Facts, colours: Mapping[str, str], several_kernels: bool) -> Markup | None:
    groups = [group for group in facts.groups if group.main]
    if not groups:
        return None
    policies = list(dict.fromkeys(row.policy for group in groups for row in group.rows))
    parts: list[Markup | None] = [tag("h2", "At a glance")]
    if len(groups) > 1:
        rows: list[list[Markup | str]] = []
        for one in stats.summaries(groups):
            alone = one.policy.startswith(f"{ALONE}:")
            rows.append(
                [
                    chip(one.policy, "dim" if alone else colours.get(one.policy, "p0"), "dash" if alone else "stroke"),
                    str(one.cells),
                    pill(text.factor(one.mean_of_baseline), charts.diverging(one.mean_of_baseline)),
                    pill(text.factor(one.worst), charts.diverging(one.worst)),
                    one.worst_in or text.NONE,
                    text.factor(one.mean_of_bound),
                ]
            )
        parts.append(
            tag("p", "Over all scenarios, geometric means of how many times as good; more is better.", class_="caption")
        )
        parts.append(table(["policy", "scenarios", "× default", "least", "in", "of possible"], rows))
    in_grids = gridded(facts.groups)
    plain = [group for group in facts.groups if group.scenario.partition("/")[0] not in in_grids]
    shown_policies = [name for name in policies if not name.startswith(f"{ALONE}:") or len(policies) <= 8]
    both = []
    for against, title in ((BASELINE, "Compared with default"), ("bound", "Compared with the fluid bound")):
        compared = [name for name in shown_policies if against != BASELINE or name != BASELINE]
        maps: list[Markup | None] = []
        if compared and plain:
            maps.append(_matrix_of(facts, plain, compared, several_kernels, against))
        for policy in compared if in_grids else []:
            maps += grids(facts.groups, policy, against)
        if any(maps):
            both.append(tag("div", tag("h3", title), _scale_legend(against), maps))
    parts.append(tag("div", both, class_="maps"))
    parts.append(
        tag(
            "p",
            "Cells show the ratio of the main metric: completion time or delay (less is better), or goodput (more is "
            "better). Colours always mean better or worse.",
            class_="caption",
        )
    )
    return tag("section", parts, id="overview")


def _matrix_of(
    facts: Facts, plain: Sequence[Group], policies: Sequence[str], several_kernels: bool, against: str
) -> Markup | None:
    # Links count over all scenarios, also those that have a grid of their own.
    made = _matrix(plain, policies, several_kernels, against)
    if made is None or len(plain) == len(facts.groups):
        return made
    for number in range(len(plain) - 1, -1, -1):
        made = Markup(made.replace(f'href="#s{number}"', f'href="#s{facts.groups.index(plain[number])}"'))
    return made


def _measured(facts: Facts) -> Markup | None:
    """What the names of policies stood for, and of which sources."""
    if not facts.outcomes:
        return None
    rows: list[list[Markup | str]] = []
    for one in document.policies(facts.outcomes):
        params = " ".join(f"{key}={value}" for key, value in (one.get("params") or {}).items())
        digest = str(one.get("sha256") or "")[:12]
        rows.append([one["name"], str(one.get("file") or "built in"), digest or text.NONE, params or text.NONE])
    commits = [str(origin) for origin in document.origins(facts.outcomes)]
    return tag(
        "section",
        tag("h2", "What was measured"),
        tag("p", f"mpsched of {'; '.join(commits)}.", class_="caption"),
        table(["policy", "file", "SHA-256", "parameters"], rows) if rows else None,
        id="measured",
    )


def _failures(facts: Facts) -> Markup | None:
    failed = [outcome for outcome in facts.outcomes if not outcome.ok]
    if not failed:
        return None
    rows = []
    for outcome in failed:
        output = tag("pre", outcome.output) if outcome.output else None
        hint = tag("p", outcome.hint) if outcome.hint else None
        rows.append(
            tag(
                "details",
                tag("summary", tag("b", str(outcome.key)), ": ", outcome.what),
                hint,
                output,
            )
        )
    return tag("section", tag("h2", f"Failed: {text.count_of(len(failed), 'run')}"), rows, id="failed")


def _head(facts: Facts) -> Markup:
    good = [outcome for outcome in facts.outcomes if outcome.ok]
    failed = len(facts.outcomes) - len(good)
    missing = facts.wanted - len(facts.outcomes)
    releases = dict.fromkeys(outcome.release or outcome.key.kernel for outcome in facts.outcomes)
    seeds = sorted({outcome.key.seed for outcome in facts.outcomes})
    shown = [text.count_of(len(good), "run")]
    if failed:
        shown.append(tag("a", f"{failed} failed", href="#failed", class_="bad"))
    if missing:
        shown.append(tag("span", f"{missing} not run", class_="bad"))
    if releases:
        shown.append(f"Linux {', '.join(releases)}")
    if seeds:
        many = len(seeds) > 6
        shown.append(f"{len(seeds)} seeds" if many else f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}")
    virtual = document.virtual_time(facts.outcomes)
    if virtual is not None:
        shown.append("virtual time" if virtual else "real time")
    origins = document.origins(facts.outcomes)
    if origins:
        known = ", ".join(str(one) for one in origins[:MOST_ORIGINS]) + ", …" * (len(origins) > MOST_ORIGINS)
        shown.append(tag("a", f"mpsched {known}", href="#measured"))
    shown.append(tag("a", EVERYTHING, href=EVERYTHING))
    shown.append(facts.made.strftime("%Y-%m-%d %H:%M"))
    links = [
        tag("a", group.scenario, href=f"#s{number}", title=group.title) for number, group in enumerate(facts.groups)
        if group.scenario.partition("/")[0] not in gridded(facts.groups)
    ]
    return tag(
        "header",
        tag("h1", "mpsched laboratory"),
        tag("p", facts.said, class_="lead") if facts.said else None,
        tag("ul", [tag("li", one) for one in shown], class_="facts"),
        tag("pre", facts.command, class_="command"),
        tag("nav", links) if 1 < len(links) <= 60 else None,
    )


def html(facts: Facts) -> str:
    """The whole page."""
    several_kernels = len({group.kernel for group in facts.groups}) > 1
    colours = policy_colours(facts.groups)
    names = ", ".join(dict.fromkeys(group.scenario.partition("/")[0] for group in facts.groups))
    of_grid, others = grid.split(facts.groups)
    the_grid = page_grid.section(of_grid, colours)
    # Its maps say all; a section for each of its runs would bury them.
    facts = dataclasses.replace(facts, groups=others, said=sentence.sentence(facts.groups))
    in_grids = gridded(facts.groups)
    sections = [
        _section(number, group, colours, several_kernels, group.scenario.partition("/")[0] in in_grids)
        for number, group in enumerate(facts.groups)
    ]
    if not facts.outcomes:
        sections = [tag("p", "Nothing has run yet.", class_="caption")]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"mpsched laboratory: {names}"),
        tag("style", Markup(STYLE.read_text(encoding="utf-8"))),
    )
    body = tag("body", tag("main", _head(facts), the_grid, _overview(facts, colours, several_kernels), sections, _measured(facts), _failures(facts)))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"
