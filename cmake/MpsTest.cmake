# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
#
#   mps_add_test(<name> SOURCES file... [LIBS lib...] [TIER unit|bpf|e2e] [TIMEOUT seconds] [OPTIMISED] [BESIDE])
#       Builds a Catch2 test binary bin/tests/<name> and lists it in bin/tests/manifest.txt, which
#       tests/run-tests works off. The tier says what a test needs: unit (nothing), bpf (the right to load
#       BPF programs), e2e (network namespaces and real MPTCP). It also decides the order of running.
#       Without TIER the test is a unit test. Without TIMEOUT it may take 120 s (unit, bpf) or 900 s (e2e); of CPU time for
#       unit and bpf, so that a busy machine fails nothing. OPTIMISED is for tests that calculate for seconds.
#       An e2e test runs alone among its like, since they measure what packets do; BESIDE says that this one does not.

include_guard(GLOBAL)
enable_testing()

# Assertion macros are most of the code and none of the time: optimising them doubled the build. The C library's checks need
# an optimiser.
function(mps_compile_as_test name)
    if(CMAKE_BUILD_TYPE STREQUAL "Release")
        target_compile_options(${name} PRIVATE -O0 -U_FORTIFY_SOURCE)
    endif()
endfunction()

function(mps_add_test name)
    cmake_parse_arguments(PARSE_ARGV 1 ARG "OPTIMISED;BESIDE" "TIER;TIMEOUT" "SOURCES;LIBS")
    if(NOT ARG_SOURCES OR ARG_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "mps_add_test(${name}): needs SOURCES, does not know '${ARG_UNPARSED_ARGUMENTS}'")
    endif()
    if(NOT ARG_TIER)
        set(ARG_TIER unit)
    endif()
    if(NOT ARG_TIER MATCHES "^(unit|bpf|e2e)$")
        message(FATAL_ERROR "mps_add_test(${name}): TIER is unit, bpf or e2e, not '${ARG_TIER}'")
    endif()
    if(NOT ARG_TIMEOUT)
        if(ARG_TIER STREQUAL "e2e")
            set(ARG_TIMEOUT 900)
        else()
            set(ARG_TIMEOUT 120)
        endif()
    endif()
    if(NOT MPS_TESTS)
        return()
    endif()

    add_executable(${name} ${ARG_SOURCES})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin/tests")
    target_link_libraries(${name} PRIVATE ${ARG_LIBS} mps_test_main)
    if(NOT ARG_OPTIMISED)
        mps_compile_as_test(${name})
        mps_precompile_like(${name} mps_test_headers)
    endif()
    add_test(NAME ${name} COMMAND ${name})
    set(alone "")
    if(ARG_TIER STREQUAL "e2e" AND NOT ARG_BESIDE)
        set(alone " alone")
    endif()
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_TIER}" TIMEOUT "${ARG_TIMEOUT}"
        SKIP_REGULAR_EXPRESSION "all test cases skipped" RUN_SERIAL "$<STREQUAL:${alone}, alone>")
    set_property(GLOBAL APPEND PROPERTY MPS_TEST_MANIFEST "${ARG_TIER} ${name} ${ARG_TIMEOUT}${alone}")
endfunction()

# Called once, at the end of the root CMakeLists.txt.
function(mps_write_test_manifest)
    get_property(lines GLOBAL PROPERTY MPS_TEST_MANIFEST)
    list(JOIN lines "\n" text)
    file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/bin/tests/manifest.txt"
        CONTENT "# tier name timeout_s [alone]\n${text}\n" @ONLY)
endfunction()
