# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Boots stock Debian kernels in QEMU and runs commands and tests in them. See ../README.md."""
