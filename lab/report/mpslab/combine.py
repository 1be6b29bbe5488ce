# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""./run lab report: results of several runs in one report."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import keep, programs, result, session, text
from .keep import Outcome
from .plan import Key, PlanError, kernel_alone
from .stats import BASELINE

VERB = "report"


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog=f"{session.PROGRAM} {VERB}",
        description="Puts results into one report and one results.json. Runs nothing.",
        epilog="RESULTS is the --out of a run, a results.json, or what 'mpsched-lab run --json' printed. What was measured "
        "under one name with different parameters, objects or builds gets a row each, named by what differs. 'default' "
        "and 'alone' are the kernel alone, whichever build measured them. The same run in two places counts once.",
        allow_abbrev=False,
    )
    made.add_argument("results", nargs="+", type=Path, metavar="RESULTS")
    made.add_argument("--out", "-o", type=Path, required=True, metavar="DIR", help="for report.html and results.json")
    return made


def _documents(path: Path) -> list[Any]:
    """The JSON documents of a file: one, or one on each line. Raises PlanError."""
    try:
        words = path.read_text(encoding="utf-8")
        try:
            return [json.loads(words)]
        except ValueError:
            return [json.loads(line) for line in words.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise PlanError(f"{path} cannot be read: {error}", "Give folders of --out, results.json, or single results.") from None


def printed(value: Any) -> Outcome:
    """The outcome of what mpsched-lab printed. Raises ValueError for anything else."""
    what, hint = result.failure(value)
    if what and not (isinstance(value, dict) and value.get("scenario") and value.get("policy")):
        raise ValueError(what)
    policy, release = value["policy"], str(value.get("kernel") or "")
    numbers = re.match(r"\d+\.\d+", release)
    key = Key(
        kernel=numbers[0] if numbers else "?",
        scenario=str(value["scenario"]["name"]),
        policy=str(policy["name"]),
        seed=int(value["seed"]),
        params=tuple(f"{name}={one}" for name, one in (policy.get("params") or {}).items()),
        object=str(policy.get("sha256") or "")[: programs.DIGEST],
    )
    facts = {"file": policy.get("file"), "sha256": policy.get("sha256"), "params": policy.get("params") or {}}
    return Outcome(key, value, what, hint, release=release, policy=facts if policy.get("kind") == "mpsched" else {})


def _outcomes(document: Any) -> list[Outcome]:
    """Raises ValueError."""
    if isinstance(document, dict) and isinstance(document.get("runs"), list):
        return [Outcome.from_json(one) for one in document["runs"]]
    if isinstance(document, dict) and "format" in document:
        return [Outcome.from_json(document)]
    try:
        return [printed(document)]
    except (KeyError, TypeError) as error:
        raise ValueError(f"no result: {error!r}") from None


def load(path: Path) -> list[Outcome]:
    """All results of a folder or a file. Raises PlanError if there are none."""
    files = [path]
    if path.is_dir():
        # All runs of a folder; its results.json has those of the last command only.
        files = sorted((path / keep.RUNS).rglob("*.json")) or [path / keep.EVERYTHING]
    found: list[Outcome] = []
    for file in files:
        try:
            found += [one for document in _documents(file) for one in _outcomes(document)]
        except ValueError as error:
            raise PlanError(f"{file}: {error}", "Give folders of --out, results.json, or single results.") from None
    if not found:
        raise PlanError(f"{path}: there are no results in it.")
    return found


@dataclasses.dataclass(frozen=True)
class _Variant:
    """What a policy's name stands for in a result. The same programs are the same whatever commit they were built at."""

    params: tuple[str, ...]
    object: str
    build: str
    commit: str = dataclasses.field(compare=False)

    @staticmethod
    def of(outcome: Outcome) -> _Variant:
        commit = outcome.commit[:9] + ("+changes" if outcome.dirty else "")
        return _Variant(outcome.key.params, outcome.key.object, outcome.build, commit)

    def words(self, others: Sequence[_Variant]) -> str:
        """What tells it from the others, in the order of what people would look for."""
        found = []
        if any(one.params != self.params for one in others):
            found.append(" ".join(self.params) or "no -s")
        if any(one.object != self.object for one in others):
            found.append(f"object {self.object or 'unknown'}")
        builds = {one.build: one.commit for one in others}
        if len(builds) > 1:
            # Two builds of one commit with changes are told apart by themselves only.
            known = self.commit and len(set(builds.values())) == len(builds)
            found.append(builds[self.build] if known else f"build {self.build[:7] or 'unknown'}")
        return ", ".join(found)


def distinct(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Each run once; policies of one name that were not the same get names that tell them apart."""
    variants: dict[str, dict[_Variant, None]] = {}
    for one in outcomes:
        if not kernel_alone(one.key.policy):
            variants.setdefault(one.key.policy, {})[_Variant.of(one)] = None
    found: dict[Key, Outcome] = {}
    for one in outcomes:
        mine = list(variants.get(one.key.policy, {}))
        key = one.key
        if len(mine) > 1:
            key = dataclasses.replace(key, policy=f"{key.policy} [{_Variant.of(one).words(mine)}]")
        if key not in found or one.ok and not found[key].ok:
            found[key] = dataclasses.replace(one, key=key)
    return list(found.values())


def _order(key: Key) -> tuple[Any, ...]:
    numbers = [int(word) if word.isdecimal() else word for word in re.split(r"(\d+)", key.scenario)]
    return key.kernel, [str(one).rjust(6, "0") if isinstance(one, int) else one for one in numbers]


def main(words: Sequence[str]) -> int:
    """Returns the status to exit with. Raises PlanError."""
    options = parser().parse_args(words)
    loaded = [one for path in options.results for one in load(path)]
    # Stable: policies stay as they come, but what all are compared with is first.
    outcomes = sorted(distinct(loaded), key=lambda one: (_order(one.key), one.key.policy != BASELINE))
    titles = {one.key.scenario: result.parse(one.document).title for one in outcomes if one.ok}
    command = shlex.join([*session.PROGRAM.split(), VERB, *words])
    keys = [one.key for one in outcomes]
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlanError(f"--out {options.out}: {error.strerror}") from None
    session.tell_groups(session.write_files(options.out, command, datetime.datetime.now(), keys, outcomes, titles))
    twice = len(loaded) - len(outcomes)
    print(f"\n{text.count_of(len(outcomes), 'run')}" + (f", {twice} more were there twice" if twice else ""))
    session.tell_files(options.out)
    return session.OK
