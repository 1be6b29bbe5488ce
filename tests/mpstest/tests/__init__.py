# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
