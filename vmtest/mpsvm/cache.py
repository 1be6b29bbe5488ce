# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The cache folder outside the tree: where it is, locks on parts of it, and sealed folders.

A sealed folder holds `seal.json` with the size and SHA-256 of every file that matters; it is made under another
name and renamed when complete, so that what is there is either whole or damaged later, and then that is seen.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .status import VmError

SEAL = "seal.json"
LOCK_WAIT_S = 900.0


def root() -> Path:
    """The cache folder: MPS_VM_CACHE, else mpsched/kernels in the user's cache folder. Not created."""
    own = os.environ.get("MPS_VM_CACHE")
    if own:
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base).absolute() / "mpsched" / "kernels"


@contextlib.contextmanager
def lock(path: Path, *, shared: bool = False, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Holds a lock file. Says so when it has to wait, and raises VmError after `wait_s` seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        deadline, told = time.monotonic() + wait_s, False
        while True:
            try:
                fcntl.flock(fd, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    print(f"vmtest: waiting for another vmtest ({path.name})", file=sys.stderr, flush=True)
                    told = True
                if time.monotonic() > deadline:
                    raise VmError(
                        f"Another vmtest has held {path} for {wait_s:.0f} s.", "Look for a vmtest that hangs."
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(fd)


def sha256(path: Path) -> str:
    """Hex digest of a file's contents."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Damaged(VmError):
    """Something in the cache is not what was put there."""


def digests(folder: Path, below: str) -> dict[Path, str]:
    """The sealed digests of the files below a folder of a sealed folder. Raises Damaged if there is no seal."""
    try:
        files = json.loads((folder / SEAL).read_text())["files"]
        return {folder / name: one["sha256"] for name, one in files.items() if name.startswith(f"{below}/")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise Damaged(f"{folder / SEAL} is unusable.") from None


def file(path: Path, make: Callable[[Path], None]) -> Path:
    """A single file of the cache, whose name says what it is made from: made if it is absent or damaged."""
    seal = path.with_name(f".{path.name}.sha256")
    with lock(path.with_name(f".{path.name}.lock")):
        try:
            if sha256(path) == seal.read_text().strip():
                return path
        except OSError:
            pass
        partial = path.with_name(f".{path.name}.partial")
        try:
            make(partial)
            seal.write_text(sha256(partial) + "\n")
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def write_seal(folder: Path, facts: dict[str, Any]) -> None:
    """Seals all files of a folder. `facts` is kept beside the digests."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != SEAL:
            files[str(path.relative_to(folder))] = {"size": path.stat().st_size, "sha256": sha256(path)}
    document = {"facts": facts, "files": files}
    (folder / SEAL).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def read_facts(folder: Path) -> dict[str, Any] | None:
    """The facts of a sealed folder, None if it has no readable seal."""
    try:
        facts = json.loads((folder / SEAL).read_text())["facts"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return facts if isinstance(facts, dict) else None


def damage(folder: Path, names: list[str] | None = None) -> str:
    """What is wrong with the sealed folder (or only with the files `names` in it); "" if nothing is."""
    try:
        files = json.loads((folder / SEAL).read_text())["files"]
        for name in sorted(files) if names is None else names:
            path, sealed = folder / name, files[name]
            if path.stat().st_size != sealed["size"] or sha256(path) != sealed["sha256"]:
                return f"{path} has changed since it was fetched"
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    except (ValueError, KeyError, TypeError) as error:
        return f"{folder / SEAL} is unusable ({error!r})"
    return ""


def build(folder: Path, make: Callable[[Path], dict[str, Any]]) -> None:
    """Makes a sealed folder: `make` fills a new one and returns its facts; it replaces `folder` when complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The caller holds the lock, so these belong to somebody who was killed.
    for prefix in (".new", ".old"):
        for left in folder.parent.glob(f"{prefix}-{folder.name}-*"):
            shutil.rmtree(left, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".new-{folder.name}-", dir=folder.parent))
    try:
        write_seal(fresh, make(fresh))
        fresh.chmod(0o755)
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".old-{folder.name}-", dir=folder.parent))
            folder.rename(old / folder.name)
            fresh.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
