# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""What the built programs know: scenarios, policies, and what is in a policy's file."""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import result
from .plan import PlanError, Scenario, kernel_alone

# The engine's, so every policy "has" it.
OF_ALL = ("dwell_us",)
DIGEST = 12


@dataclasses.dataclass(frozen=True)
class Policy:
    """One that can be measured."""

    name: str
    params: Mapping[str, Any] | None = None  # with their defaults; None: not known
    file: str = ""  # as it was typed; "": built in
    object: Path | None = None  # what is loaded
    sha256: str = ""

    @property
    def digest(self) -> str:
        """Tells versions of a file apart; "" for a built-in policy, which belongs to the build."""
        return self.sha256[:DIGEST] if self.file else ""


def _run(binary: Path, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [binary, *words], capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlanError(f"{binary.name} {shlex.join(words)}: {error}", "Build first: ./run build") from None


def ask(binary: Path, words: Sequence[str]) -> Any:
    """What a program of ours prints as JSON. Raises PlanError."""
    done = _run(binary, words)
    try:
        return json.loads(done.stdout)
    except ValueError:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise PlanError(
            f"{binary.name} {shlex.join(words)} ended with status {done.returncode} and no JSON"
            + (f": {said[-1]}" if said else ""),
            "Is the build up to date? ./run build",
        ) from None


def scenarios(build: Path) -> list[Scenario]:
    """Raises PlanError."""
    document = ask(build / "bin" / "mpsched-lab", ["list", "--json"])
    if not isinstance(document, list):
        raise PlanError("mpsched-lab list --json printed no list of scenarios.", "Is the build up to date? ./run build")
    return [
        Scenario(
            name=one["name"],
            title=str(one.get("title") or ""),
            paths=tuple(str(path) for path in one.get("paths") or []),
            network_s=result.number(one.get("network_s")),
            megabits=result.number(one.get("megabits")),
            number=str(one.get("number") or ""),
        )
        for one in document
        if isinstance(one, dict) and isinstance(one.get("name"), str)
    ]


def _policy(value: Any) -> Policy | None:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    params = value.get("params")
    return Policy(
        name=value["name"],
        params=params if isinstance(params, dict) else None,
        sha256=value.get("sha256") if isinstance(value.get("sha256"), str) else "",
    )


def policies(build: Path) -> dict[str, Policy]:
    """The built-in ones by name. Raises PlanError."""
    document = ask(build / "bin" / "mpsched", ["policy", "list", "--json"])
    found = map(_policy, document if isinstance(document, list) else [])
    # One that is loaded from a file on this machine has nothing to do with the VMs.
    return {one.name: one for one, value in zip(found, document, strict=False) if one and value.get("builtin", True)}


def is_file(word: str) -> bool:
    """As mpsched tells a file from a name; sources are compiled here."""
    return "/" in word or word.endswith((".o", ".c"))


def read_file(build: Path, word: str, folder: Path) -> Policy:
    """A policy's object; that of a source is put into `folder`. Raises PlanError."""
    path = Path(word)
    if not path.is_file():
        raise PlanError(f"--policy {word}: there is no such file.", "Give an object (x.bpf.o) or a source (x.bpf.c).")
    made = path
    if path.suffix == ".c":
        folder.mkdir(parents=True, exist_ok=True)
        made = folder / f"{path.stem}.o"
        done = _run(build / "bin" / "mpsched", ["policy", "build", word, "-o", str(made)])
        if done.returncode != 0 or not made.is_file():
            raise PlanError(f"--policy {word} cannot be compiled:\n{(done.stderr or done.stdout).strip()}", status=1)
    # A name in this folder is no file for mpsched unless it looks like one.
    document = ask(build / "bin" / "mpsched", ["policy", "show", str(made.absolute()), "--json"])
    found = _policy(document[0]) if isinstance(document, list) and document else None
    if found is None:
        error = document.get("error") if isinstance(document, dict) else None
        error = error if isinstance(error, dict) else {}
        raise PlanError(f"--policy {word}: {error.get('what') or 'mpsched does not know it'}", error.get("hint") or "", 1)
    return dataclasses.replace(found, file=word, object=made.absolute())


def from_files(build: Path, words: Sequence[str], known: Mapping[str, Policy], folder: Path) -> dict[str, Policy]:
    """The policies of files, by the word that was typed. Raises PlanError: a name is one policy's."""
    found: dict[str, Policy] = {}
    for number, word in enumerate(words):
        mine = read_file(build, word, folder / str(number))
        if mine.name in known:
            raise PlanError(
                f"--policy {word}: it calls itself '{mine.name}', as a built-in policy does.",
                "Give it another name in its MPS_POLICY() line.",
            )
        same = next((one for one in found.values() if one.name == mine.name and one.sha256 != mine.sha256), None)
        if same:
            raise PlanError(
                f"--policy {same.file} and {word} both call themselves '{mine.name}'.",
                "Give one of them another name in its MPS_POLICY() line, or measure them one after the other and put them "
                "side by side with: ./run lab report A B",
            )
        found[word] = mine
    return found


def params(typed: Sequence[str], chosen: Sequence[str], known: Mapping[str, Policy]) -> dict[str, list[str]]:
    """Which chosen policy gets which -s KEY=VALUE: those that have the parameter. Raises PlanError."""
    takers = [name for name in chosen if not kernel_alone(name)]
    found: dict[str, list[str]] = {}
    for param in typed:
        key, equals, _ = param.partition("=")
        if not equals or not key:
            raise PlanError(f"-s {param}: that is no KEY=VALUE.")
        mine = [name for name in takers if key in OF_ALL or _has(known.get(name), key)]
        if not mine:
            has = [f"{name}: {' '.join(known[name].params or ['none'])}" for name in takers if name in known]
            raise PlanError(
                f"-s {param}: no chosen policy has a parameter '{key}'.",
                f"They have: {'; '.join(has)}" if has else "Choose policies with --policy; default and alone have none.",
            )
        for name in mine:
            found.setdefault(name, []).append(param)
    return found


def _has(policy: Policy | None, key: str) -> bool:
    return policy is None or policy.params is None or key in policy.params
