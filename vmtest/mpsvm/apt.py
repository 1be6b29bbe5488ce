# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Fetches Debian packages with apt, which verifies them.

The machine's own apt configuration (proxies and the like) is used as it is; only the sources, the state and the
cache are private ones inside our cache folder, so nothing of the machine changes and no root is needed. Archive
addresses come from the machine's own sources, never from this repository: the one that carries `SUITE` carries the
other Debian suites as well, and so for `SUITE-security`.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import shutil
import subprocess
from pathlib import Path

from .status import VmError

KEYRINGS = ("debian-archive-keyring.gpg", "debian-archive-keyring.pgp")
FETCH_LIMIT_S = 600
# Lists are some 10 MB. Where nothing answers, this is what a suite costs.
UPDATE_LIMIT_S = 180
DEBIAN_SUITE = re.compile(
    r"^(bullseye|bookworm|trixie|forky|duke|sid|unstable|testing|stable|oldstable)(-security|/updates)?$"
)


@dataclasses.dataclass(frozen=True)
class Archives:
    """Where this machine gets Debian from: addresses of the main and of the security archive, "" if unknown."""

    main: str = ""
    security: str = ""


@dataclasses.dataclass(frozen=True)
class Package:
    """One package as an archive offers it."""

    name: str
    version: str


def _entries(text: str, deb822: bool) -> list[tuple[list[str], list[str]]]:
    """(addresses, suites) of every enabled `deb` entry of a sources file."""
    found = []
    if not deb822:
        for line in text.splitlines():
            match = re.match(r"^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", line)
            if match:
                found.append(([match[1]], [match[2]]))
        return found
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields[name] = fields.get(name, "") + " " + line.strip()
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() != "no":
            found.append((fields.get("uris", "").split(), fields.get("suites", "").split()))
    return found


def archives(etc: Path = Path("/etc/apt")) -> Archives:
    """Reads the machine's sources (one-line and deb822 style)."""
    main = security = ""
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    for file in files:
        if file.suffix not in (".list", ".sources"):
            continue
        try:
            text = file.read_text()
        except OSError:
            continue
        for addresses, suites in _entries(text, file.suffix == ".sources"):
            for suite in suites:
                match = DEBIAN_SUITE.match(suite)
                if match and addresses:
                    if match[2]:
                        security = security or addresses[0]
                    else:
                        main = main or addresses[0]
    return Archives(main, security)


def keyring(folder: Path = Path("/usr/share/keyrings")) -> Path:
    """The keyring that Debian's own archives are signed with."""
    for name in KEYRINGS:
        if (folder / name).is_file():
            return folder / name
    raise VmError(
        "There is no Debian archive keyring; kernel packages could not be verified.",
        "Install the package debian-archive-keyring.",
    )


@functools.cache
def _newer(left: str, right: str) -> bool:
    return subprocess.run(["dpkg", "--compare-versions", left, "gt", right], check=False).returncode == 0


class Apt:
    """A private apt that sees one suite, with its state in `folder`."""

    def __init__(self, folder: Path, suite: str, sources: Archives | None = None, arch: str = "amd64") -> None:
        self._folder = folder
        self._suite = suite
        for tool in ("apt-get", "apt-cache", "dpkg", "dpkg-deb"):
            if not shutil.which(tool):
                raise VmError(
                    f"{tool} is missing: kernels are Debian packages and are fetched through apt.",
                    "Run vmtest on Debian, or copy the cache folder (MPS_VM_CACHE) from a machine that has it.",
                )
        known = sources if sources is not None else archives()
        address = known.security if suite.endswith("-security") else known.main
        if not address:
            raise VmError(
                f"This machine's apt sources name no Debian archive to get the suite {suite} from.",
                "Add a Debian source below /etc/apt (its suite does not matter), then run this again.",
            )
        etc = folder / "etc"
        for part in (etc / "parts", folder / "lists" / "partial", folder / "archives" / "partial"):
            part.mkdir(parents=True, exist_ok=True)
        (etc / "sources.list").write_text(f"deb [signed-by={keyring()} arch={arch}] {address} {suite} main\n")
        (folder / "dpkg-status").touch()
        # The hooks belong to the machine's own package state. "#clear" is apt's way to empty a list.
        (etc / "private.conf").write_text(
            "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n"
            "#clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Post-Invoke;\n"
            f'Dir::Etc::sourcelist "{etc}/sources.list";\nDir::Etc::sourceparts "{etc}/parts";\n'
            f'Dir::Etc::preferences "{etc}/none";\nDir::Etc::preferencesparts "{etc}/parts";\n'
            f'Dir::State "{folder}";\nDir::State::lists "{folder}/lists";\n'
            f'Dir::State::status "{folder}/dpkg-status";\nDir::Cache "{folder}";\n'
            f'Dir::Cache::archives "{folder}/archives";\n'
            'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
            f'APT::Architecture "{arch}";\nAPT::Architectures {{ "{arch}"; }};\n'
            'Acquire::Languages "none";\nAcquire::Retries "3";\n'
            'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";\n'
            # A folder in somebody's home is closed to the user _apt; what is fetched is verified all the same.
            'APT::Sandbox::User "root";\nAPT::Get::AllowUnauthenticated "false";\n'
        )

    def _run(self, tool: str, *arguments: str, cwd: Path | None = None, limit_s: int = FETCH_LIMIT_S) -> str:
        command = [tool, "-q", "-c", str(self._folder / "etc" / "private.conf"), *arguments]
        try:
            done = subprocess.run(
                command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                timeout=limit_s,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise VmError(
                f"{tool} {' '.join(arguments)} took longer than {limit_s} s for the suite {self._suite}.", "Is the archive reachable?"
            ) from None
        if done.returncode != 0:
            said = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith(("E:", "W:"))]
            raise VmError(
                f"{tool} {' '.join(arguments)} failed for the suite {self._suite}: "
                + ("; ".join(said[-3:]) or f"status {done.returncode}"),
                "Kernels are fetched once and then used from the cache; for that once the Debian archive must be "
                "reachable.",
            )
        return done.stdout

    def update(self) -> None:
        """Fetches and verifies the package lists. Raises VmError."""
        self._run("apt-get", "-o", "APT::Update::Error-Mode=any", "update", limit_s=UPDATE_LIMIT_S)

    def packages(self, prefix: str) -> list[Package]:
        """Packages that are on offer, newest version of each, whose name starts with `prefix`."""
        names = self._run("apt-cache", "pkgnames", prefix).split()
        found: dict[str, str] = {}
        if names:
            name = ""
            for line in self._run("apt-cache", "show", "--no-all-versions", *sorted(names)).splitlines():
                field, _, value = line.partition(": ")
                if field == "Package":
                    name = value
                elif field == "Version":
                    found[name] = value
        return [Package(name, version) for name, version in sorted(found.items())]

    def select(self, patterns: tuple[str, ...]) -> list[Package]:
        """One package for each pattern (a regular expression for the whole name).

        If the patterns have a group `abi`, all packages have the same text there, the newest that there is.
        """
        prefix = re.match(r"[a-z0-9-]*", patterns[0])
        offered = self.packages(prefix[0] if prefix else "")
        if len(patterns) > 1:
            offered = self.packages("linux-")
        best: list[Package] = []
        first = [(p, m) for p in offered if (m := re.fullmatch(patterns[0], p.name))]
        for package, match in first:
            chosen = [package]
            for pattern in patterns[1:]:
                same = [
                    p
                    for p in offered
                    if (m := re.fullmatch(pattern, p.name)) and m.groupdict().get("abi") == match.groupdict().get("abi")
                ]
                if not same:
                    break
                chosen.append(functools.reduce(lambda a, b: b if _newer(b.version, a.version) else a, same))
            if len(chosen) == len(patterns) and (not best or _newer(package.version, best[0].version)):
                best = chosen
        if not best:
            raise VmError(
                f"The suite {self._suite} offers no packages that match: {', '.join(patterns)}",
                "The archive may have moved on to a newer kernel: edit vmtest/kernels.toml.",
            )
        return best

    def unpack(self, packages: list[Package], destination: Path, work: Path) -> None:
        """Downloads (verified) and unpacks packages into `destination`, with `work` for the downloads."""
        work.mkdir(parents=True, exist_ok=True)
        self._run("apt-get", "download", *[f"{p.name}={p.version}" for p in packages], cwd=work)
        archives_found = sorted(work.glob("*.deb"))
        if len(archives_found) != len(packages):
            raise VmError(f"apt-get download left {len(archives_found)} packages, not {len(packages)}.")
        for archive in archives_found:
            self._extract(archive, destination)

    def unpack_whole(self, names: list[str], destination: Path) -> None:
        """Downloads (verified) and unpacks these packages and all that they depend on."""
        archives_folder = self._folder / "archives"
        for old in archives_folder.glob("*.deb"):
            old.unlink()
        self._run("apt-get", "-y", "--no-install-recommends", "--download-only", "install", *names)
        # Where /bin is a link, packages that still say /bin/x must land behind it.
        for name in ("bin", "sbin", "lib"):
            (destination / "usr" / name).mkdir(parents=True, exist_ok=True)
            (destination / name).symlink_to(f"usr/{name}")
        for archive in sorted(archives_folder.glob("*.deb")):
            self._extract(archive, destination)

    @staticmethod
    def _extract(archive: Path, destination: Path) -> None:
        destination.mkdir(parents=True, exist_ok=True)
        # Through tar, since dpkg-deb puts a folder where a link to one is.
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as contents:
            done = subprocess.run(
                ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", str(destination)],
                stdin=contents.stdout, capture_output=True, text=True, check=False,
            )  # fmt: skip
        archive.unlink()
        if done.returncode != 0 or contents.returncode != 0:
            raise VmError(f"{archive.name} could not be unpacked: {done.stderr.strip()}")
