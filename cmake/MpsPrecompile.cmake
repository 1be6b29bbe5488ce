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

# g++ makes another file of the same headers each time, with which ccache would find nothing that another tree has compiled. So it is
# given a sum of what is in them (CCACHE_PCH_EXTSUM): that of their text, as the preprocessor has it.
function(mps_precompiled_sum target headers)
    if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU" OR NOT CMAKE_CXX_COMPILER_LAUNCHER)
        return()
    endif()
    string(SHA256 key "${headers}")
    get_property(sum GLOBAL PROPERTY "mps_precompiled_${key}")
    if(NOT sum)
        list(TRANSFORM headers REPLACE "^<(.*)>$" "#include <\\1>\n" OUTPUT_VARIABLE system)
        list(TRANSFORM system REPLACE "^(/.*)$" "#include \"\\1\"\n")
        list(JOIN system "" text)
        set(file "${PROJECT_BINARY_DIR}/CMakeFiles/mps_precompiled_${key}.cpp")
        file(WRITE "${file}" "${text}")
        execute_process(COMMAND "${CMAKE_CXX_COMPILER}" -std=c++${CMAKE_CXX_STANDARD} -E -P "${file}"
            OUTPUT_VARIABLE text RESULT_VARIABLE failed ERROR_QUIET)
        if(failed)
            return()
        endif()
        string(SHA256 sum "${CMAKE_CXX_COMPILER_VERSION} ${text}")
        set_property(GLOBAL PROPERTY "mps_precompiled_${key}" "${sum}")
    endif()
    file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles/${target}.dir/cmake_pch.hxx.gch.sum" "${sum}\n")
endfunction()

function(mps_precompile target)
    cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "HEADERS")
    if(MPS_PRECOMPILE)
        target_precompile_headers(${target} PRIVATE ${mps_common_headers} ${ARG_HEADERS})
        mps_precompile_for_ccache(${target})
        mps_precompiled_sum(${target} "${mps_common_headers};${ARG_HEADERS}")
    endif()
endfunction()

function(mps_precompile_like target owner)
    if(MPS_PRECOMPILE)
        target_precompile_headers(${target} REUSE_FROM ${owner})
        mps_precompile_for_ccache(${target})
    endif()
endfunction()
