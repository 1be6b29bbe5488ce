# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
#
#   mps_precompile(<target> [HEADERS header...])
#       Parses what nearly every source file of <target> includes once for all of them, which saves a third of their time.
#       Files include what they use as before, so that they build without it, too. Headers with much inline code (CLI11) do not
#       belong there: every file would instantiate it.
#   mps_precompile_like(<target> <owner>)
#       Takes what mps_precompile(<owner>) made; both have to be compiled with the same options.

include_guard(GLOBAL)

option(MPS_PRECOMPILE "Parse common headers once" ON)

set(mps_common_headers
    <algorithm> <array> <cerrno> <chrono> <cstdint> <cstring> <expected> <filesystem> <fstream> <functional> <map> <memory>
    <optional> <set> <span> <sstream> <string> <string_view> <thread> <vector>
    <fmt/format.h> <fmt/ranges.h>)

# ccache preprocesses, and sees through a precompiled header only with this option of g++.
function(mps_precompile_for_ccache target)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>")
    endif()
endfunction()

function(mps_precompile target)
    cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "HEADERS")
    if(MPS_PRECOMPILE)
        target_precompile_headers(${target} PRIVATE ${mps_common_headers} ${ARG_HEADERS})
        mps_precompile_for_ccache(${target})
    endif()
endfunction()

function(mps_precompile_like target owner)
    if(MPS_PRECOMPILE)
        target_precompile_headers(${target} REUSE_FROM ${owner})
        mps_precompile_for_ccache(${target})
    endif()
endfunction()
