# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""What runs the project's tests and judges them: on this machine (tests/run-tests), in VMs (vmtest/run-matrix), and Python's own."""
