# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Kernels in the cache: fetched once, checked at every use, fetched again when damaged."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import apt, cache, image
from .arch import AMD64
from .catalog import Kernel
from .modules import ModuleTree
from .status import VmError

LAYOUT = 1


@dataclasses.dataclass(frozen=True)
class KernelFiles:
    """A kernel ready to boot."""

    vmlinux: Path
    release: str  # as uname -r has it; "" if it cannot be told without booting
    tree: ModuleTree


def _say(text: str) -> None:
    print(f"vmtest: {text}", file=sys.stderr, flush=True)


def _wanted(kernel: Kernel) -> dict[str, Any]:
    return {"layout": LAYOUT, "suite": kernel.suite, "packages": list(kernel.packages)}  # the name says the architecture


def _trouble(kernel: Kernel, folder: Path) -> str:
    """Why the cached folder cannot be used as it is; "" if it can, "absent" if there is none."""
    if not folder.is_dir():
        return "absent"
    facts = cache.read_facts(folder)
    if facts is None:
        return f"{folder / cache.SEAL} is unusable"
    if facts.get("wanted") != _wanted(kernel):
        return "kernels.toml wants other packages now"
    try:
        essential = ["vmlinux", *([str(b.relative_to(folder)) for b in folder.glob("modules/modules.builtin")])]
    except OSError as error:
        return str(error)
    return cache.damage(folder, essential)


def _fetch(kernel: Kernel, folder: Path) -> None:
    _say(f"fetching kernel {kernel.name} (suite {kernel.suite}) into {folder}")

    def make(fresh: Path) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix=f".new-{kernel.name}-", dir=folder.parent) as work_name:
            work = Path(work_name)
            own = kernel.suite if kernel.arch == AMD64 else f"{kernel.suite}-{kernel.arch.name}"
            source = apt.Apt(cache.root() / "apt" / own, kernel.suite, arch=kernel.arch.name)
            with cache.lock(cache.root() / "apt" / f"{own}.lock"):
                source.update()
                packages = source.select(kernel.packages)
                _say(f"kernel {kernel.name}: " + ", ".join(f"{p.name} {p.version}" for p in packages))
                source.unpack(packages, work / "root", work / "packages")
            images = [
                path
                for path in (work / "root").rglob("vmlinuz*")
                if path.is_file() and not path.is_symlink() and path.stat().st_size > 0
            ]
            trees = [path for path in (work / "root").rglob("kernel") if path.parent.parent.name == "modules"]
            if len(images) != 1 or len(trees) != 1:
                raise VmError(
                    f"The packages of kernel {kernel.name} hold {len(images)} images and {len(trees)} module folders, "
                    "not one of each.",
                    "Edit vmtest/kernels.toml.",
                )
            image.write_elf(images[0], fresh / "vmlinux")
            release = trees[0].parent.name
            (fresh / "modules").mkdir()
            shutil.move(trees[0], fresh / "modules" / "kernel")
            for builtin in (work / "root").rglob("modules.builtin"):
                shutil.copyfile(builtin, fresh / "modules" / "modules.builtin")
            return {"wanted": _wanted(kernel), "release": release, "packages": {p.name: p.version for p in packages}}

    cache.build(folder, make)


@contextlib.contextmanager
def ready(kernel: Kernel, work: Path, *, fetch: bool = True) -> Iterator[KernelFiles]:
    """A kernel ready to boot, which nobody replaces while the context lasts. Raises VmError.

    `work` takes what has to be unpacked for this run only. Without `fetch` a kernel that is not in the cache is an error.
    """
    if kernel.image:
        image.write_elf(Path(kernel.image), work / "vmlinux")
        yield KernelFiles(work / "vmlinux", "", ModuleTree(Path(kernel.modules or os.devnull)))
        return
    folder = cache.root() / kernel.name
    lock = cache.root() / f"{kernel.name}.lock"
    try:
        cache.root().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VmError(
            f"The cache folder {cache.root()} cannot be made: {error.strerror}.", "Set MPS_VM_CACHE to another folder."
        ) from None
    for attempt in range(3):
        with contextlib.ExitStack() as stack:
            stack.enter_context(cache.lock(lock, shared=True))
            trouble = _trouble(kernel, folder)
            if not trouble:
                facts = cache.read_facts(folder) or {}
                tree = ModuleTree(folder / "modules", cache.digests(folder, "modules"))
                yield KernelFiles(folder / "vmlinux", str(facts.get("release", "")), tree)
                return
        if not fetch:
            raise VmError(
                f"Kernel {kernel.name} is not in the cache ({trouble}), and is not to be fetched now.",
                "vmtest/vmtest --prepare fetches it, and says why if it cannot.",
            )
        if attempt == 2:
            break
        refresh(kernel)
    raise VmError(f"The cached kernel {kernel.name} stays unusable: {trouble}.", f"Remove {folder}.")


def refresh(kernel: Kernel, *, force: bool = False) -> None:
    """Fetches a kernel if it is absent or damaged, or in any case with `force`. Raises VmError."""
    folder = cache.root() / kernel.name
    lock = cache.root() / f"{kernel.name}.lock"
    if not force:
        # VMs that run hold the lock shared, for minutes; only who has to write must wait for them.
        with cache.lock(lock, shared=True):
            if not _trouble(kernel, folder):
                return
    with cache.lock(lock):
        trouble = _trouble(kernel, folder)
        if trouble and trouble != "absent":
            _say(f"kernel {kernel.name} is fetched again: {trouble}")
        if trouble or force:
            try:
                _fetch(kernel, folder)
            except OSError as error:
                raise VmError(f"Kernel {kernel.name} could not be stored: {error}") from None
