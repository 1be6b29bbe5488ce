# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Tools of another architecture for guests: Debian packages with all that they depend on, unpacked into the cache.

They are of this machine's own Debian release, as are the libraries that a cross build links, so that both fit one C library.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import apt, cache
from .arch import Arch
from .status import VmError

# Beside the guest's tools: what tests are built with and is not coinstallable with this machine's own.
MORE_PACKAGES = ("coreutils", "util-linux", "tcpdump", "catch2")


def release(file: Path = Path("/etc/os-release")) -> str:
    """The suite of this machine's Debian. Raises VmError."""
    for line in file.read_text().splitlines() if file.exists() else []:
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip('"')
    raise VmError("This machine is no Debian, so the tools of another architecture have nowhere to come from.")


def root(arch: Arch, packages: Sequence[str]) -> Path:
    """The folder they are unpacked in, fetched if it is absent or damaged. Raises VmError."""
    folder = cache.root() / f"userland-{arch.name}"
    suite = release()
    wanted: dict[str, Any] = {"suite": suite, "packages": sorted({*packages, *MORE_PACKAGES})}
    with cache.lock(folder.with_name(f"{folder.name}.lock")):
        facts = cache.read_facts(folder) or {}
        if facts.get("wanted") != wanted or not (folder / "usr").is_dir():

            def make(fresh: Path) -> dict[str, Any]:
                place = cache.root() / "apt" / f"{suite}-{arch.name}"
                source = apt.Apt(place, suite, arch=arch.name)
                with cache.lock(place.with_name(f"{place.name}.lock")):
                    source.update()
                    source.unpack_whole(wanted["packages"], fresh)
                return {"wanted": wanted}

            cache.build(folder, make)
    return folder
