# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Tests of vmtest itself. In vmtest/: python3 -m unittest (all), or python3 -m unittest tests.test_splat (some)."""
