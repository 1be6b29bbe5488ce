# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""What is to be run: scenarios and policies by what was typed, times seeds and kernels. No I/O."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

ALONE = "alone"
DEFAULT = "default"
# Large enough to be run only when it is asked for.
NOT_IN_ALL = ("grid",)


@dataclasses.dataclass
class PlanError(Exception):
    """Something was asked for that is not there: what, and what to do next."""

    what: str
    next: str = ""
    status: int = 2  # to exit with: 1 if nothing was wrong with what was typed

    def __str__(self) -> str:
        return self.what + (f"\n{self.next}" if self.next else "")


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One scenario (or variant of one) as mpsched-lab lists it."""

    name: str
    title: str = ""
    paths: tuple[str, ...] = ()
    network_s: float | None = None  # about how long it takes, and how much it moves: for what a run costs
    megabits: float | None = None
    number: str = ""  # "S17": another name of what `id` is

    @property
    def id(self) -> str:
        """The scenario a variant belongs to."""
        return self.name.partition("/")[0]

    @property
    def other_name(self) -> str:
        """With the number in the place of the id; "" if it has none."""
        return self.number + self.name.removeprefix(self.id) if self.number else ""


@dataclasses.dataclass(frozen=True, order=True)
class Key:
    """What makes a run the one it is."""

    kernel: str
    scenario: str
    policy: str
    seed: int
    params: tuple[str, ...] = ()
    object: str = ""  # the beginning of the SHA-256 of a policy that is no built-in one

    def __str__(self) -> str:
        return f"{self.scenario} {self.policy} seed {self.seed} ({self.kernel})"

    @property
    def file(self) -> str:
        """A relative path for its result that no other key has."""
        words = [_safe(self.kernel), _safe(self.scenario), f"{_safe(self.policy)}-seed{self.seed}"]
        if self.params:
            words[2] += "-" + hashlib.sha256("\0".join(self.params).encode()).hexdigest()[:8]
        if self.object:
            words[2] += f"-{_safe(self.object)}"
        return "/".join(words) + ".json"

    def document(self) -> dict[str, Any]:
        """As it stands in result files."""
        return {**dataclasses.asdict(self), "params": list(self.params)}


def kernel_alone(policy: str) -> bool:
    """Whether no mpsched is at work: the same whatever was built."""
    return policy == DEFAULT or policy.partition(":")[0] == ALONE


def _safe(text: str) -> str:
    """A file name; different texts give different ones."""
    plain = re.sub(r"[^A-Za-z0-9._+@-]", "_", text)
    # "a:b" and "a_b" must not meet.
    return plain if plain == text and not plain.startswith(".") else f"{plain}~{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def _near(word: str, known: Sequence[str], what: str) -> str:
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6) or [
        one for one in known if one.lower().startswith(word.lower())
    ]
    if close:
        return f"Did you mean: {' '.join(close[:3])}?"
    return f"The {what} are: {' '.join(known)}" if known else f"There are no {what}."


def scenarios(listed: Sequence[Scenario], words: Sequence[str]) -> list[Scenario]:
    """The scenarios that words name: a name, an id or number (all its variants), a shell pattern, or 'all' (but the grid).

    Raises PlanError.
    """
    found: dict[str, Scenario] = {}
    for word in words:
        matching = [
            one
            for one in listed
            if (word == "all" and one.id not in NOT_IN_ALL)
            or word.lower() in (name.lower() for name in (one.name, one.id, one.number, one.other_name) if name)
            or fnmatch.fnmatchcase(one.name, word)
            or (one.other_name and fnmatch.fnmatchcase(one.other_name, word))
        ]
        if not matching:
            known = list(dict.fromkeys(name for one in listed for name in (one.id, one.name)))
            raise PlanError(f"There is no scenario '{word}'.", _near(word, known, "scenarios"))
        found.update({one.name: one for one in matching})
    return list(found.values())


def policies(known: Sequence[str], chosen: Sequence[Scenario], words: Sequence[str]) -> dict[str, list[str]]:
    """The policies for each chosen scenario, by name. 'alone' is each path alone, one after the other. Raises PlanError."""
    wanted = list(dict.fromkeys(word for text in words for word in text.split(",") if word))
    if not wanted:
        raise PlanError("No policy is given.", f"The policies are: {' '.join([*known, ALONE])}")
    all_paths = list(dict.fromkeys(path for one in chosen for path in one.paths))
    for word in wanted:
        name, colon, path = word.partition(":")
        if name == ALONE:
            if colon and all_paths and path not in all_paths:
                raise PlanError(f"No chosen scenario has a path '{path}'.", f"The paths are: {' '.join(all_paths)}")
        elif known and word not in known:
            raise PlanError(f"There is no policy '{word}'.", _near(word, [*known, ALONE], "policies"))
    found = {}
    for one in chosen:
        names: dict[str, None] = {}
        for word in wanted:
            name, colon, path = word.partition(":")
            if name != ALONE:
                names[word] = None
            elif not colon:
                names.update(dict.fromkeys(f"{ALONE}:{path}" for path in one.paths))
            elif path in one.paths or not one.paths:
                names[word] = None
        found[one.name] = list(names)
    return found


def keys(
    kernels: Sequence[str],
    chosen: Sequence[Scenario],
    by_scenario: Mapping[str, Sequence[str]],
    seeds: Sequence[int],
    params: Mapping[str, Sequence[str]] | None = None,
    objects: Mapping[str, str] | None = None,
) -> list[Key]:
    """Every run, in the order of the report. `params` and `objects` are by policy."""
    return [
        Key(kernel, one.name, policy, seed, tuple((params or {}).get(policy, ())), (objects or {}).get(policy, ""))
        for kernel in kernels
        for one in chosen
        for policy in by_scenario[one.name]
        for seed in seeds
    ]


def seeds(text: str) -> list[int]:
    """From '3' (1 to 3), '4-9' or '1,5,7'. Raises PlanError."""
    try:
        if re.fullmatch(r"\d+", text):
            found = list(range(1, int(text) + 1))
        else:
            found = []
            for part in text.split(","):
                first, dash, last = part.partition("-")
                found += range(int(first), int(last if dash else first) + 1)
    except ValueError:
        found = []
    if not found or len(found) > 100_000 or min(found) < 0 or max(found) >= 1 << 32:
        raise PlanError(f"--seeds {text}: that is no set of seeds.", "Give how many (3), a range (4-9) or a list (1,5,7).")
    return list(dict.fromkeys(found))


def groups(wanted: Sequence[Key], per_vm: int, expected_s: Mapping[str, float]) -> list[list[Key]]:
    """What each VM runs: one kernel, up to `per_vm` runs; the longest first, so that none is left alone at the end."""
    found = []
    for kernel in dict.fromkeys(key.kernel for key in wanted):
        mine = [key for key in wanted if key.kernel == kernel]
        found += [mine[at : at + per_vm] for at in range(0, len(mine), per_vm)]
    return sorted(found, key=lambda group: -sum(expected_s.get(key.scenario, 0.0) for key in group))
