# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""For the own tests of vmtest and of the laboratory: marks those with VMs that ./run test affords (--few-vms)."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


def everyday(method: Method) -> Method:
    """For a test that shows much with few boots; each of these takes some 4 s of a CPU."""
    method.everyday = True  # type: ignore[attr-defined]
    return method


def is_everyday(test: unittest.TestCase) -> bool:
    """Whether a test is marked."""
    return getattr(getattr(test, test.id().rpartition(".")[2], None), "everyday", False)
