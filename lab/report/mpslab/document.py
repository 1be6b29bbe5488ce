# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""All results as tables, and as the one JSON document with everything."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Sequence
from typing import Any

from . import grid, result, sentence, stats
from .keep import Outcome
from .origin import Origin
from .plan import Key


def grouped(wanted: Sequence[Key], outcomes: Sequence[Outcome], titles: dict[str, str]) -> list[stats.Group]:
    """The outcomes as tables, in the order of the plan."""
    by_key = {outcome.key: outcome for outcome in outcomes}
    found = []
    for kernel, scenario in dict.fromkeys((key.kernel, key.scenario) for key in wanted):
        runs: dict[str, list[result.Run]] = {}
        failed: dict[str, int] = {}
        title = titles.get(scenario, "")
        for key in wanted:
            if (key.kernel, key.scenario) != (kernel, scenario):
                continue
            mine = runs.setdefault(key.policy, [])
            outcome = by_key.get(key)
            if outcome is None:
                continue
            if not outcome.ok:
                failed[key.policy] = failed.get(key.policy, 0) + 1
                continue
            mine.append(result.parse(outcome.document))
            title = title or mine[-1].title
        found.append(stats.group(kernel, scenario, title, runs, failed))
    return found


def everything(command: str, made: datetime.datetime, outcomes: Sequence[Outcome], groups: Sequence[stats.Group]) -> str:
    """The one JSON document with all results and what the tables show."""
    summary = [
        {
            "kernel": group.kernel,
            "scenario": group.scenario,
            "policy": row.policy,
            "runs": len(row.runs),
            "failed": row.failed,
            "main_metric": row.main.key if row.main else None,
            "median": row.values,
            "over_seeds": {key: {"least": least, "greatest": greatest} for key, (least, greatest) in row.spreads.items()},
            "p50_ms": row.p50_ms,
            "p90_ms": row.p90_ms,
            "of_bound": row.of_bound,
            "of_tcp_bound": row.of_tcp,
            "of_burst_bound": row.of_bursts,
            "of_default": row.of_baseline,
            "shares": row.shares,
            "sizes": [
                {
                    "bytes": size.size_bytes,
                    "p50_ms": size.p50_ms,
                    "p90_ms": size.p90_ms,
                    "p50_ms_over_seeds": {"least": size.spread_ms[0], "greatest": size.spread_ms[1]},
                    "bound_ms": size.bound_ms,
                    "of_bound": stats.ratio(size.p50_ms, size.bound_ms),
                    "tcp_bound_ms": size.tcp_bound_ms,
                    "of_tcp_bound": size.of_tcp,
                    "burst_bound_ms": size.burst_bound_ms,
                    "of_burst_bound": size.of_bursts,
                    "of_default": row.size_of_baseline.get(size.size_bytes),
                }
                for size in row.sizes
            ],
        }
        for group in groups
        for row in group.rows
    ]
    document = {
        "schema_version": 1,
        "command": command,
        "made": made.isoformat(timespec="seconds"),
        "measured": [{"commit": one.commit or None, "dirty": one.dirty} for one in origins(outcomes)],
        "virtual_time": virtual_time(outcomes),
        "seeds": sorted({outcome.key.seed for outcome in outcomes}),
        "policies": policies(outcomes),
        "outcome": sentence.sentence(groups) or None,
        "grid": [grid_document(one) for one in grid.grids(groups)],
        "summary": summary,
        "runs": [outcome.to_json() for outcome in outcomes],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def grid_document(one: grid.Grid) -> dict[str, Any]:
    """The sums of the grid under one policy, and its cells."""

    def cell(found: grid.Cell | None) -> dict[str, Any] | None:
        if found is None:
            return None
        shown = dataclasses.asdict(found) | {"pair": str(found.pair)}
        return shown | {"of_bound": found.of_bound, "of_default": found.of_default}

    return {
        "kernel": one.kernel,
        "policy": one.policy,
        "pairs": len(one.pairs),
        "failed": one.failed,
        "mean_of_tcp_bound": {first: one.mean_of_tcp(first) for first in grid.FIRSTS},
        "mean_of_bound": {first: one.mean_of_bound(first) for first in grid.FIRSTS},
        "mean_of_default": {first: one.mean_of_default(first) for first in grid.FIRSTS},
        "worst_of_bound": cell(one.worst_of_bound),
        "worst_of_default": cell(one.worst_of_default),
        "worse_than_default": len(one.worse),
        "cells": [cell(found) for found in one.cells],
    }


def origins(outcomes: Sequence[Outcome]) -> list[Origin]:
    """The sources that were measured, in the order of the results."""
    return list(dict.fromkeys(Origin(outcome.commit, outcome.dirty) for outcome in outcomes))


def virtual_time(outcomes: Sequence[Outcome]) -> bool | None:
    """Whether time was virtual in all of the results or in none of them; None if they differ or do not tell."""
    told = {one.document.get("virtual_time") for one in outcomes if one.ok and one.document}
    return told.pop() if len(told) == 1 else None


def policies(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Each policy with its file and with all parameters that were in force, once for each set of them."""
    found: dict[str, dict[str, Any]] = {}
    for outcome in outcomes:
        if outcome.ok and outcome.policy:
            one = {"name": outcome.key.policy, **outcome.policy}
            found.setdefault(json.dumps(one, sort_keys=True), one)
    return list(found.values())
