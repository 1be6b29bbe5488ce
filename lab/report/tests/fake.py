# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Results as mpsched-lab prints them, made up. Also a program: fake.py DIR writes a report to look at."""

from __future__ import annotations

import math
import random
from typing import Any

NONE_METRICS = (
    "goodput_mbit", "completion_ms", "message_delay_ms", "video_mbit", "video_stall_ms", "longest_gap_ms",
    "recovery_ms", "out_of_order_bytes_mean", "reinjected_bytes", "flips", "wakes", "flips_per_s", "wakes_per_s",
)  # fmt: skip


def document(
    name: str = "S4",
    policy: str = "default",
    seed: int = 1,
    *,
    workload: str = "requests",
    paths: tuple[tuple[str, float, float], ...] = (("fast", 20, 5), ("slow", 5, 100)),
    shares: tuple[float, ...] = (0.76, 0.24),
    metrics: dict[str, Any] | None = None,
    ratios: dict[str, Any] | None = None,
    requests: list[dict[str, Any]] | None = None,
    duration_s: float = 4.0,
    series: dict[str, Any] | None = None,
    events: list[dict[str, Any]] | None = None,
    title: str = "Short and long requests",
) -> dict[str, Any]:
    """A result that went well."""
    empty: dict[str, Any] = dict.fromkeys(NONE_METRICS)
    return {
        "schema_version": 1,
        "scenario": {"id": name.partition("/")[0], "variant": None, "name": name, "title": title},
        "policy": {"name": policy, "kind": "kernel", "path": None, "params": {}, "steered": []},
        "seed": seed,
        "kernel": "7.2.0-cloud-amd64",
        "virtual_time": True,
        "first_path": paths[0][0],
        "workload": {"kind": workload, "direction": "upload", "connections": 1},
        "duration_s": duration_s,
        "status": "ok",
        "metrics": empty | {"flips_per_s": 0, "wakes_per_s": 0} | (metrics or {}),
        "bounds": dict(empty),
        "ratios": empty | (ratios or {}),
        "requests": requests or [],
        "paths": [
            {"name": path, "first": n == 0, "rate_mbit": rate, "down_rate_mbit": rate, "delay_ms": delay, "jitter_ms": 0,
             "loss": 0, "used": True, "tx_bytes": 1, "rx_bytes": 1, "share": share, "drops": 0}
            for n, ((path, rate, delay), share) in enumerate(zip(paths, shares, strict=True))
        ],
        "series": series or {},
        "events": events or [],
    }  # fmt: skip


def failed(what: str = "it broke", hint: str = "mend it") -> dict[str, Any]:
    """An error document."""
    error = {"what": what, "hint": hint, "code": 1}
    return {"schema_version": 1, "scenario": None, "policy": None, "seed": 1, "status": "failed", "error": error}


def requests(sizes: dict[int, tuple[float, float, float]], count: int, dice: random.Random) -> list[dict[str, Any]]:
    """From size -> (p50, spread, bound)."""
    found = []
    for size, (middle, spread, bound) in sizes.items():
        times = [middle * math.exp(abs(dice.gauss(0, spread))) for _ in range(count)]
        found.append({"bytes": size, "answer_bytes": 1, "count": count, "times_ms": times, "bound_ms": bound})
    return found


def series(
    rates: dict[str, float], duration_s: float, dice: random.Random, *, flips: float = 0.0, fault: Any = None
) -> dict[str, Any]:
    """Paths near these rates; `fault` is (path, from, to)."""
    at = [n / 10 for n in range(int(duration_s * 10))]
    paths = []
    for name, rate in rates.items():
        values = []
        for t in at:
            value = rate * min(1.0, 0.15 + t * 1.2) * (1 - 0.08 * dice.random())
            if fault and name == fault[0] and fault[1] <= t < fault[2]:
                value = 0.0
            elif fault and name == fault[0] and fault[2] <= t < fault[2] + 1.0:
                value *= t - fault[2]
            values.append(round(value, 2))
        paths.append({"name": name, "tx_mbit": values, "rx_mbit": [0.0] * len(at)})
    goodput = [round(sum(p["tx_mbit"][n] for p in paths) * 0.93, 2) for n in range(len(at))]
    marks = [sum(dice.random() < flips / 10 for _ in range(3)) for _ in at]
    return {"interval_s": 0.1, "at_s": at, "paths": paths, "goodput_mbit": goodput, "out_of_order_bytes": [0] * len(at),
            "flips": marks}  # fmt: skip


def of_grid(pair: str, first: str, policy: str, times: dict[int, tuple[float, float]], seed: int = 1) -> dict[str, Any]:
    """From size -> (median, bound), on a pair written as in the grid's names."""
    quick, slow = (tuple(float(word) for word in path.split("@")) for path in pair.split("+"))
    rows = [
        {"bytes": size, "answer_bytes": 1, "count": 5, "times_ms": [0.9 * time, time, time, time, 2 * time], "bound_ms": bound}
        for size, (time, bound) in times.items()
    ]
    return document(f"grid/{pair}-{first}", policy, seed, paths=(("quick", *quick), ("slow", *slow)), requests=rows,
                    metrics={"completion_ms": 100.0}, title="Requests over 36 pairs")  # fmt: skip


def everything() -> list[dict[str, Any]]:
    """Three scenarios of different kinds with several policies and seeds."""
    dice = random.Random(7)
    found = []
    bound = {1000: 10.4, 20000: 18.0, 100000: 52.4, 300000: 131.0, 1000000: 368.0}
    quick = {
        "default": (11, 24, 164, 217, 530), "weighted": (11, 26, 171, 236, 470), "smallest-delay": (11, 20, 61, 151, 447),
        "active-standby": (11, 20, 58, 148, 441), "alone:fast": (11, 20, 57, 140, 425), "alone:slow": (201, 234, 372, 690, 1822),
    }  # fmt: skip
    shares = {"default": 0.76, "weighted": 0.66, "smallest-delay": 0.83, "active-standby": 1.0, "alone:fast": 1.0}
    for policy, times in quick.items():
        for seed in (1, 2, 3):
            sizes = {size: (t, 0.02 + 0.12 * dice.random(), bound[size]) for size, t in zip(bound, times, strict=True)}
            rows = requests(sizes, 20, dice)
            mean = math.exp(sum(math.log(t) for t in times) / 5) * (1 + 0.02 * dice.random())
            fast = shares.get(policy, 0.0)
            rates = {"fast": 14 * fast, "slow": 14 * (1 - fast)}
            flips = 0.0 if policy in ("default",) or policy.startswith("alone") else 2.4
            bursts = series(rates, 24, dice, flips=flips)
            for path in bursts["paths"]:
                path["tx_mbit"] = [v if n % 5 in (0, 1) else 0 for n, v in enumerate(path["tx_mbit"])]
            bursts["goodput_mbit"] = [v if n % 5 in (0, 1) else 0 for n, v in enumerate(bursts["goodput_mbit"])]
            marks = [{"at_s": n * 4.8, "kind": "request", "path": None, "text": f"requests of {s} bytes", "proof": None}
                     for n, s in enumerate(bound)]  # fmt: skip
            found.append(document("S4", policy, seed, metrics={"completion_ms": mean, "longest_gap_ms": 205,
                "flips_per_s": flips * 1.1, "wakes_per_s": flips * 0.4}, ratios={"completion_ms": mean / 59},
                requests=rows, shares=(fast, 1 - fast), series=bursts, events=marks,
                title="Short and long requests, first subflow on the fast path"))  # fmt: skip
    for policy, goodput in (("default", 33.1), ("weighted", 34.8), ("smallest-delay", 35.2), ("active-standby", 18.4)):
        for seed in (1, 2, 3):
            good = goodput * (1 + 0.01 * dice.gauss(0, 1))
            flips = {"default": 0, "weighted": 21, "smallest-delay": 9, "active-standby": 0.1}[policy]
            half = 0.97 if policy == "active-standby" else 0.47
            rates = {"wifi": 19.4 * (0.02 if policy == "active-standby" else 1), "lte": 19.4}
            events = [
                {"at_s": 2.0, "kind": "blackhole", "path": "wifi", "text": "wifi blackhole", "proof": "37 packets"},
                {"at_s": 6.0, "kind": "restored", "path": "wifi", "text": "wifi restored", "proof": None},
                {"at_s": 12.0, "kind": "rate", "path": "lte", "text": "lte 20 Mbit/s", "proof": None},
            ]
            found.append(document("S13", policy, seed, workload="bulk", paths=(("wifi", 20, 20), ("lte", 20, 20)),
                shares=(1 - half, half), metrics={"goodput_mbit": good, "longest_gap_ms": 240 + 10 * seed,
                "recovery_ms": 800.0, "out_of_order_bytes_mean": 48211, "reinjected_bytes": 181000, "flips_per_s": flips,
                "wakes_per_s": flips / 9}, ratios={"goodput_mbit": good / 38.2}, events=events, duration_s=16,
                series=series(rates, 16, dice, flips=flips, fault=("wifi", 2.0, 6.0)),
                title="Silent blackhole of one of two equal paths"))  # fmt: skip
    for pair, kind in ((pair, kind) for pair in ("0.3+8.6", "0.7+8.6", "1.1+8.6", "1.7+4.2", "4.2+8.6", "8.6+8.6")
                       for kind in ("quick", "slow")):  # fmt: skip
        for policy in ("default", "weighted", "smallest-delay"):
            sizes = {}
            for size in (1000, 10000, 100000, 1000000, 4000000):
                low = 20 + size / 1000
                worse = {"default": 1.7, "weighted": 1.6, "smallest-delay": 1.25}[policy] * (2.4 if kind == "slow" else 1)
                sizes[size] = (low * max(1.0, worse * math.exp(dice.gauss(0, 0.25))), 0.03, low)
            rows = requests(sizes, 10, dice)
            found.append(document(f"G/{pair}-{kind}", policy, 1, metrics={"completion_ms": 100.0 * worse},
                ratios={"completion_ms": worse}, requests=rows, title=f"grid {pair}, {kind} first"))  # fmt: skip
    return found
