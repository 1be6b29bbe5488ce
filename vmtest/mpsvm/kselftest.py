# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The kernel's MPTCP selftests: their files, from Debian's kernel sources, and what they report.

The sources come through apt, which verifies them, for the kernel that they are run on; only the scripts and programs
below tools/testing/selftests/net are kept, in the cache, with the programs compiled.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import apt, cache
from .catalog import Kernel
from .status import VmError

# Counts up when what is kept or how it is compiled changes.
LAYOUT = 1
SELFTESTS = "tools/testing/selftests"
WANTED = re.compile(
    rf"[^/]+/({SELFTESTS}/net/(mptcp/.*|lib\.sh|lib/sh/.*\.sh)|include/uapi/linux/mptcp(_pm)?\.h|tools/include/linux/.*)"
)


@dataclasses.dataclass
class Report:
    """What a script reported: the verdict of each subtest, in their order, and how it ended."""

    subtests: dict[str, str]  # name -> "ok", "not ok" or "skip"
    status: int | None = None  # None: it never ended
    checks: dict[str, list[str]] = dataclasses.field(default_factory=dict)  # what failed within a subtest, where the script tells


# Measured values and the duration stand behind names, and subtests of a name that repeats are told apart by their order.
_LINE = re.compile(r"^(ok|not ok) \d+ - (.*?)(?:\s+# (.*))?$")


def parse(output: str) -> dict[str, str]:
    """The subtests of a script's TAP lines (kernel: Documentation/dev-tools/ktap.rst)."""
    found: dict[str, str] = {}
    for line in output.replace("\r", "").splitlines():
        match = _LINE.match(line.strip())
        if not match:
            continue
        verdict, name, remark = match[1], " ".join(match[2].split()), match[3] or ""
        if remark.startswith("SKIP") or remark.startswith("IGNORE"):
            verdict = "skip"
        number, unique = 1, name
        while unique in found:
            number += 1
            unique = f"{name} ({number})"
        found[unique] = verdict
    return found


_TITLE = re.compile(r"^\d{3} (.*?)(?:\s{2,}.*)?$")
_FAILED_CHECK = re.compile(r"^\s+(\S.*?)\s*\[FAIL\]")


def failed_checks(test: str, output: str) -> dict[str, list[str]]:
    """By subtest the checks that failed within it, as mptcp_join prints them for people; "" is one without a name."""
    found: dict[str, list[str]] = {}
    title = ""
    for line in output.replace("\r", "").splitlines():
        if match := _TITLE.match(line):
            title = f"{test}: {' '.join(match[1].split())}"
        elif "[FAIL]" in line and title:
            match = _FAILED_CHECK.match(line)
            found.setdefault(title, []).append(match[1] if match else "")
    return found


def worse(before: Report, after: Report) -> list[str]:
    """What passes in `before` and not in `after`, a line each; a script that did not come to its end is told first."""
    found = []
    if after.status is None and before.status is not None:
        found.append("did not end")
    for name, verdict in before.subtests.items():
        now = after.subtests.get(name, "absent")
        if verdict == "ok" and now != "ok":
            found.append(f"{name}: {now}")
    if before.status == 0 and after.status not in (0, None) and not found:
        found.append(f"exit status {after.status}, although every subtest passed")
    return found


def better(first: Report, second: Report) -> Report:
    """Of a run and what of it was run once more: what passed in one has passed."""
    subtests = dict(first.subtests)
    for name, verdict in second.subtests.items():
        if subtests.get(name) != "ok":
            subtests[name] = verdict
    status = first.status if second.status is None else second.status
    return Report(subtests, status, {**first.checks, **second.checks})


def words_for(test: str, lines: Sequence[str]) -> list[str]:
    """What a script takes to run only the subtests of these lines of worse(); nothing if all of it has to run."""
    found = [re.fullmatch(rf"{test}: (.*?)(?: \(\d+\))?: (?:not ok|skip|absent)", line) for line in lines]
    if test != "mptcp_join":  # the only one that takes names
        return []
    return list(dict.fromkeys(match[1] for match in found if match)) if all(found) else []


def _compile(folder: Path) -> None:
    """Compiles the programs in place. The C library's headers serve, but for those of MPTCP itself."""
    compiler = next((found for name in ("cc", "gcc") if (found := shutil.which(name))), None)
    if compiler is None:
        raise VmError("There is no C compiler for the kernel's selftests.", "./run setup")
    tests = folder / SELFTESTS / "net" / "mptcp"
    # tools/include has headers of the C library's names, so it comes behind them.
    include = ["-I", str(folder / "include" / "uapi"), "-idirafter", str(folder / "tools" / "include")]
    for source in sorted(tests.glob("*.c")):
        line = [compiler, "-O2", *include, "-o", str(source.with_suffix("")), str(source)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise VmError(f"The kernel's {source.name} could not be compiled:\n{done.stderr.strip()[-2000:]}")


def _take(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            match = WANTED.fullmatch(member.name)
            if match and member.isfile():
                destination = folder / match[1]
                destination.parent.mkdir(parents=True, exist_ok=True)
                data = tar.extractfile(member)
                assert data is not None  # it is a file
                destination.write_bytes(data.read())


def fetch(kernel: Kernel) -> Path:
    """The folder `net` of the selftests for a kernel, from the cache or the archive. Raises VmError."""
    if not kernel.sources:
        raise VmError(
            f"kernels.toml names no sources for the kernel {kernel.name}.", "Add 'sources', a pattern for a package."
        )
    folder = cache.root() / "selftests" / kernel.name
    wanted: dict[str, Any] = {"layout": LAYOUT, "suite": kernel.suite, "sources": kernel.sources}
    with cache.lock(folder.with_name(f"{kernel.name}.lock")):
        facts = cache.read_facts(folder) or {}
        if facts.get("wanted") != wanted or cache.damage(folder):

            def make(fresh: Path) -> dict[str, Any]:
                with tempfile.TemporaryDirectory(prefix=".new-source-", dir=folder.parent) as work_name:
                    work = Path(work_name)
                    source = apt.Apt(cache.root() / "apt" / kernel.suite, kernel.suite)
                    with cache.lock(cache.root() / "apt" / f"{kernel.suite}.lock"):
                        source.update()
                        packages = source.select((kernel.sources,))
                        (work / "root").mkdir()
                        source.unpack(packages, work / "root", work / "packages")
                    archives = list((work / "root").rglob("linux-source-*.tar.*"))
                    if len(archives) != 1:
                        raise VmError(f"The package of {kernel.name}'s sources holds {len(archives)} archives, not one.")
                    _take(archives[0], fresh)
                _compile(fresh)
                return {"wanted": wanted, "packages": {p.name: p.version for p in packages}}

            cache.build(folder, make)
    return folder / SELFTESTS / "net"
