# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
#
# Build step of mps_bpf_skeleton(): BPFTOOL, OBJECT, NAME and HEADER come in as -D.
# The header appears under its name only when bpftool succeeded: a failed run must not leave a truncated
# file that the next build takes for good.

cmake_path(GET HEADER PARENT_PATH dir)
file(MAKE_DIRECTORY "${dir}")
set(partial "${HEADER}.partial")
execute_process(COMMAND "${BPFTOOL}" gen skeleton "${OBJECT}" name "${NAME}"
    OUTPUT_FILE "${partial}" ERROR_VARIABLE trouble RESULT_VARIABLE status)
if(NOT status EQUAL 0)
    file(REMOVE "${partial}" "${HEADER}")
    message(FATAL_ERROR "bpftool could not generate ${NAME}.skel.h (${status}):\n${trouble}")
endif()
file(RENAME "${partial}" "${HEADER}")
