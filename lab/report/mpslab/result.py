# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Reads what mpsched-lab prints (lab/RESULTS.md). The only place that knows its keys.

A value that is absent, null or of a wrong type is None: a report with a hole is better than none.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Requests:
    """The requests of one size, or the messages of a stream."""

    size_bytes: int
    times_ms: tuple[float, ...]
    bound_ms: float | None
    tcp_bound_ms: float | None = None
    burst_bound_ms: float | None = None


@dataclasses.dataclass(frozen=True)
class Path:
    """One emulated path."""

    name: str
    first: bool
    rate_mbit: float | None
    delay_ms: float | None
    loss: float | None
    share: float | None
    trace: str = ""  # the name of what its rate follows


@dataclasses.dataclass(frozen=True)
class Series:
    """What happened over time. All sequences are as long as at_s; mbit has one for each path."""

    interval_s: float
    at_s: tuple[float, ...]
    mbit: dict[str, tuple[float, ...]]
    goodput_mbit: tuple[float, ...]
    flips: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Event:
    """A change in the network, or in what was asked of it."""

    at_s: float
    kind: str
    path: str
    text: str


@dataclasses.dataclass(frozen=True)
class Run:
    """One scenario with one policy and one seed."""

    scenario: str
    title: str
    policy: str
    sha256: str  # of a policy's file; "" if it was built in
    seed: int
    release: str
    virtual_time: bool | None
    workload: str
    direction: str
    duration_s: float | None
    metrics: dict[str, float]
    bounds: dict[str, float]
    ratios: dict[str, float]
    requests: tuple[Requests, ...]
    paths: tuple[Path, ...]
    series: Series | None
    events: tuple[Event, ...]


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _tables(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _numbers(value: Any) -> dict[str, float]:
    return {key: found for key, one in _table(value).items() if (found := number(one)) is not None}


def _sequence(value: Any, length: int) -> tuple[float, ...]:
    """Exactly `length` numbers; zeros if there is no such sequence."""
    listed = value if isinstance(value, list) and len(value) == length else []
    return tuple(number(one) or 0.0 for one in listed) or (0.0,) * length


def _series(value: Any, direction: str) -> Series | None:
    table = _table(value)
    interval_s = number(table.get("interval_s"))
    listed = table.get("at_s")
    if not interval_s or interval_s <= 0 or not isinstance(listed, list) or not listed:
        return None
    length = len(listed)
    key = "rx_mbit" if direction == "download" else "tx_mbit"
    return Series(
        interval_s=interval_s,
        at_s=_sequence(listed, length),
        mbit={_text(one.get("name")): _sequence(one.get(key), length) for one in _tables(table.get("paths"))},
        goodput_mbit=_sequence(table.get("goodput_mbit"), length),
        flips=_sequence(table.get("flips"), length),
    )


def failure(document: Any) -> tuple[str, str]:
    """What an error document says: what happened, and what to do next. ("", "") if it is none."""
    if not isinstance(document, dict):
        return "the result is no JSON object", ""
    if document.get("status") == "ok":
        return "", ""
    error = _table(document.get("error"))
    return _text(error.get("what")) or "the run failed without telling why", _text(error.get("hint"))


def parse(document: Any) -> Run:
    """Raises ValueError if it is no result of a run that went well."""
    what, _ = failure(document)
    if what:
        raise ValueError(what)
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema_version is {version!r}, this report understands {SCHEMA_VERSION}")
    scenario, policy = _table(document.get("scenario")), _table(document.get("policy"))
    workload = _table(document.get("workload"))
    name, policy_name, seed = _text(scenario.get("name")), _text(policy.get("name")), number(document.get("seed"))
    if not name or not policy_name or seed is None:
        raise ValueError("the result does not tell its scenario, policy and seed")
    direction = _text(workload.get("direction"))
    return Run(
        scenario=name,
        title=_text(scenario.get("title")),
        policy=policy_name,
        sha256=_text(policy.get("sha256")),
        seed=int(seed),
        release=_text(document.get("kernel")),
        virtual_time=document.get("virtual_time") if isinstance(document.get("virtual_time"), bool) else None,
        workload=_text(workload.get("kind")),
        direction=direction,
        duration_s=number(document.get("duration_s")),
        metrics=_numbers(document.get("metrics")),
        bounds=_numbers(document.get("bounds")),
        ratios=_numbers(document.get("ratios")),
        requests=tuple(
            Requests(
                size_bytes=int(number(one.get("bytes")) or 0),
                times_ms=tuple(t for v in one.get("times_ms") or [] if (t := number(v)) is not None),
                bound_ms=number(one.get("bound_ms")),
                tcp_bound_ms=number(one.get("tcp_bound_ms")),
                burst_bound_ms=number(one.get("burst_bound_ms")),
            )
            for one in _tables(document.get("requests"))
            if isinstance(one.get("times_ms") or [], list)
        ),
        paths=tuple(
            Path(
                name=_text(one.get("name")),
                first=one.get("first") is True,
                rate_mbit=number(one.get("down_rate_mbit" if direction == "download" else "rate_mbit")),
                delay_ms=number(one.get("delay_ms")),
                loss=number(one.get("loss")),
                share=number(one.get("share")),
                trace=_text(one.get("trace")),
            )
            for one in _tables(document.get("paths"))
        ),
        series=_series(document.get("series"), direction),
        events=tuple(
            Event(at, _text(one.get("kind")), _text(one.get("path")), _text(one.get("text")))
            for one in _tables(document.get("events"))
            if (at := number(one.get("at_s"))) is not None
        ),
    )


def each(documents: Sequence[Any]) -> list[Run]:
    """The runs among documents that went well."""
    found = []
    for document in documents:
        try:
            found.append(parse(document))
        except ValueError:
            continue
    return found
