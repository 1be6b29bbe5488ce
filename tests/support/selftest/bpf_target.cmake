# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
#
# Prints what cmake/MpsBpfTarget.cmake says for PROCESSOR, SYSROOT and MULTIARCH (-D), for bpf_target_test.cpp.

include("${CMAKE_CURRENT_LIST_DIR}/../../../cmake/MpsBpfTarget.cmake")
mps_bpf_target_flags(flags "${PROCESSOR}" "${SYSROOT}" "${MULTIARCH}")
list(JOIN flags " " flags)
message("${flags}")
