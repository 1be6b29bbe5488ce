# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""./run lab: scenarios × policies × seeds in VMs, and what came of them. Python's standard library only."""
