# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""kernels.toml: which kernels there are, what is expected of them, and which warnings and tests are excused."""

from __future__ import annotations

import dataclasses
import datetime
import fnmatch
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .arch import ALL, AMD64, Arch
from .status import VmError

DEFAULT_FILE = Path(__file__).resolve().parent.parent / "kernels.toml"


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One kernel: either Debian packages of a suite, or an image (and a modules folder) on this machine."""

    name: str
    suite: str = ""
    packages: tuple[str, ...] = ()
    sources: str = ""  # pattern of the package with its sources, for its selftests
    image: str = ""
    modules: str = ""
    expect: tuple[str, ...] = ()
    expect_missing: tuple[str, ...] = ()
    core: tuple[str, ...] = ()  # as that of the catalog, for this kernel only
    arch: Arch = AMD64


@dataclasses.dataclass(frozen=True)
class Allowance:
    """Kernel warnings that match `pattern` do not fail a run, up to and including the day `expires`."""

    pattern: str
    reason: str
    expires: datetime.date
    kernels: tuple[str, ...] = ()

    def applies_to(self, kernel: str) -> bool:
        """Whether it is meant for this kernel (no list: for all)."""
        return not self.kernels or kernel in self.kernels


@dataclasses.dataclass(frozen=True)
class TestRule:
    """Test cases or binaries (shell pattern) that are excused on some kernels, and why."""

    test: str
    reason: str
    kernels: tuple[str, ...] = ()

    __test__ = False  # not a test case, whatever its name

    def matches(self, kernel: str, name: str) -> bool:
        """Whether it excuses the test `name` on `kernel`."""
        return (not self.kernels or kernel in self.kernels) and fnmatch.fnmatchcase(name, self.test)


@dataclasses.dataclass(frozen=True)
class Smoke:
    """The small run in real time: these test binaries or cases with `smp` CPUs on each of `kernels`."""

    smp: int = 2
    kernels: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    cables: int = 0


@dataclasses.dataclass(frozen=True)
class Catalog:
    """The whole file."""

    kernels: tuple[Kernel, ...]
    modules: tuple[str, ...] = ()
    core: tuple[str, ...] = ()  # test binaries or cases (shell patterns) that every run runs; empty: all
    allow: tuple[Allowance, ...] = ()
    skip: tuple[TestRule, ...] = ()
    exclude: tuple[TestRule, ...] = ()
    smoke: Smoke = Smoke()

    def of(self, arch: Arch) -> tuple[Kernel, ...]:
        """Those of an architecture."""
        return tuple(kernel for kernel in self.kernels if kernel.arch == arch)

    def kernel(self, name: str) -> Kernel:
        """The kernel of that name. Raises VmError, which names those there are."""
        for kernel in self.kernels:
            if kernel.name == name:
                return kernel
        raise VmError(
            f"There is no kernel '{name}'.", f"The kernels are: {' '.join(kernel.name for kernel in self.kernels)}"
        )


def select(patterns: Sequence[str], binary: str, cases: Sequence[str]) -> tuple[str, ...]:
    """Those of a binary's cases that the patterns name, by themselves or by the binary's name."""
    if any(fnmatch.fnmatchcase(binary, pattern) for pattern in patterns):
        return tuple(cases)
    return tuple(case for case in cases if any(fnmatch.fnmatchcase(case, pattern) for pattern in patterns))


class _Table:
    """Takes values out of a TOML table, and complains about wrong types and about what was not taken."""

    def __init__(self, table: dict[str, Any], where: str) -> None:
        self._table, self._where, self._known = table, where, list[str]()

    def fail(self, what: str) -> VmError:
        return VmError(f"{self._where}: {what}")

    def take(self, key: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        self._known.append(key)
        value = self._table.get(key, default)
        if value is None:
            raise self.fail(f"'{key}' is missing")
        if value is not default and (not isinstance(value, kind) or isinstance(value, bool)):
            names = kind.__name__ if isinstance(kind, type) else " or ".join(one.__name__ for one in kind)
            raise self.fail(f"'{key}' must be a {names}, not {value!r}")
        return value

    def texts(self, key: str, default: list[str] | None = None) -> tuple[str, ...]:
        values = self.take(key, list, default)
        if not all(isinstance(value, str) for value in values):
            raise self.fail(f"'{key}' must be a list of texts")
        return tuple(values)

    def tables(self, key: str) -> list[_Table]:
        values = self.take(key, list, [])
        if not all(isinstance(value, dict) for value in values):
            raise self.fail(f"'{key}' must be written as [[{key}]]")
        return [_Table(value, f"{self._where}: [[{key}]] number {n}") for n, value in enumerate(values, 1)]

    def reason(self) -> str:
        reason = self.take("reason", str)
        if not reason.strip():
            raise self.fail("'reason' is empty")
        return str(reason)

    def done(self) -> None:
        for key in self._table:
            if key not in self._known:
                raise self.fail(f"unknown key '{key}'; there are: {', '.join(self._known)}")


def _kernel(table: _Table) -> Kernel:
    kernel = Kernel(
        name=table.take("name", str),
        suite=table.take("suite", str, ""),
        packages=table.texts("packages", []),
        sources=table.take("sources", str, ""),
        image=table.take("image", str, ""),
        modules=table.take("modules", str, ""),
        expect=table.texts("expect", []),
        expect_missing=table.texts("expect_missing", []),
        core=table.texts("core", []),
        arch=_arch(table),
    )
    table.done()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", kernel.name):
        raise table.fail(f"'{kernel.name}' is no usable name for a kernel")
    if bool(kernel.packages) == bool(kernel.image):
        raise table.fail("needs either 'packages' and 'suite', or 'image'")
    if kernel.packages and not kernel.suite:
        raise table.fail("'suite' is missing")
    for pattern in (*kernel.packages, kernel.sources):
        _check_pattern(table, pattern)
    both = set(kernel.expect) & set(kernel.expect_missing)
    if both:
        raise table.fail(f"{', '.join(sorted(both))} is both in 'expect' and in 'expect_missing'")
    return kernel


def _arch(table: _Table) -> Arch:
    name = table.take("arch", str, AMD64.name)
    if name not in ALL:
        raise table.fail(f"'arch' is one of {', '.join(ALL)}, not '{name}'")
    return ALL[name]


def _check_pattern(table: _Table, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise table.fail(f"'{pattern}' is no regular expression: {error}") from None


def _allowance(table: _Table) -> Allowance:
    allowance = Allowance(
        pattern=table.take("pattern", str),
        reason=table.reason(),
        expires=table.take("expires", datetime.date),
        kernels=table.texts("kernels", []),
    )
    table.done()
    _check_pattern(table, allowance.pattern)
    return allowance


def _rule(table: _Table) -> TestRule:
    rule = TestRule(test=table.take("test", str), reason=table.reason(), kernels=table.texts("kernels", []))
    table.done()
    return rule


def parse(text: str, where: str) -> Catalog:
    """Reads the contents of a kernels.toml; `where` is its name for messages. Raises VmError."""
    try:
        top = _Table(tomllib.loads(text), where)
    except tomllib.TOMLDecodeError as error:
        raise VmError(f"{where}: {error}") from None
    smoke_table = _Table(top.take("smoke", dict, {}), f"{where}: [smoke]")
    catalog = Catalog(
        kernels=tuple(_kernel(table) for table in top.tables("kernel")),
        modules=top.texts("modules", []),
        core=top.texts("core", []),
        allow=tuple(_allowance(table) for table in top.tables("allow")),
        skip=tuple(_rule(table) for table in top.tables("skip")),
        exclude=tuple(_rule(table) for table in top.tables("exclude")),
        smoke=Smoke(
            smp=smoke_table.take("smp", int, 2),
            kernels=smoke_table.texts("kernels", []),
            tests=smoke_table.texts("tests", []),
            cables=smoke_table.take("cables", int, 0),
        ),
    )
    smoke_table.done()
    top.done()
    names = [kernel.name for kernel in catalog.kernels]
    if not names:
        raise VmError(f"{where}: lists no kernel")
    for name in names:
        if names.count(name) > 1:
            raise VmError(f"{where}: the kernel {name} is listed twice")
    named = [name for one in (*catalog.skip, *catalog.exclude) for name in one.kernels]
    named += [name for one in catalog.allow for name in one.kernels]
    for name in (*named, *catalog.smoke.kernels):
        if name not in names:
            raise VmError(f"{where}: names the kernel {name}, which it does not list")
    return catalog


def load(path: Path = DEFAULT_FILE) -> Catalog:
    """Reads a kernels.toml. Raises VmError."""
    try:
        text = path.read_text()
    except OSError as error:
        raise VmError(f"{path}: {error.strerror}") from None
    return parse(text, path.name)
