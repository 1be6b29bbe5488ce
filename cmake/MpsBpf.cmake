# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
#
# BPF objects, their skeletons and embedded files as ordinary CMake targets.
#
#   mps_bpf_object(<target> SOURCE file.bpf.c [OUTPUT_NAME name] [INCLUDES dir...] [DEFINES X=1...])
#       Compiles one BPF program to ${CMAKE_CURRENT_BINARY_DIR}/<name>.bpf.o. The path is the target's
#       property MPS_BPF_OBJECT; the build of the object follows every header it reads.
#
#   mps_bpf_skeleton(<target> OBJECT <bpf object target> [NAME c_identifier])
#       INTERFACE library: link it and include "<name>.skel.h".
#
#   mps_embed_file(<target> NAME symbol {FILE path | OBJECT <bpf object target>})
#       STATIC library that defines   extern "C" const unsigned char symbol_begin[], symbol_end[];
#       and brings a header that declares them: include "symbol.embed.h".

include_guard(GLOBAL)

include("${CMAKE_CURRENT_LIST_DIR}/MpsBpfTarget.cmake")

set(MPS_CMAKE_DIR "${CMAKE_CURRENT_LIST_DIR}" CACHE INTERNAL "where the helper scripts of MpsBpf.cmake are")

# clang below 17 lacks parts of -mcpu=v3 code generation that the data path relies on; 19 is what both
# supported Debian releases ship and what CI runs, so it is preferred over a newer one.
find_program(MPS_CLANG NAMES clang-19 clang-20 clang-21 clang-18 clang-17 clang
    DOC "clang with a BPF back end, version 17 or later")
find_program(MPS_LLVM_STRIP NAMES llvm-strip-19 llvm-strip-20 llvm-strip-21 llvm-strip-18 llvm-strip-17 llvm-strip
    DOC "strips DWARF from BPF objects (BTF stays)")
# Debian puts bpftool into sbin, which is not in an ordinary user's PATH.
find_program(MPS_BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin /usr/local/sbin DOC "generates BPF skeletons")

if(NOT MPS_CLANG)
    message(FATAL_ERROR "clang with a BPF back end was not found.\n"
                        "Run './run setup', or set -DMPS_CLANG=/path/to/clang (17 or later).")
endif()
if(NOT MPS_BPFTOOL)
    message(FATAL_ERROR "bpftool was not found.\nRun './run setup', or set -DMPS_BPFTOOL=/path/to/bpftool.")
endif()
if(NOT MPS_CLANG_CHECKED STREQUAL MPS_CLANG)
    execute_process(COMMAND "${MPS_CLANG}" -dumpversion OUTPUT_VARIABLE mps_clang_version
        OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    if(mps_clang_version VERSION_LESS 17)
        message(FATAL_ERROR "${MPS_CLANG} is version ${mps_clang_version}, BPF objects need 17 or later.\n"
                            "Run './run setup', or set -DMPS_CLANG=/path/to/clang.")
    endif()
    set(MPS_CLANG_CHECKED "${MPS_CLANG}" CACHE INTERNAL "the clang whose version was accepted")
    message(STATUS "BPF objects: ${MPS_CLANG} ${mps_clang_version}, ${MPS_BPFTOOL}")
endif()

function(mps_bpf_object target)
    cmake_parse_arguments(PARSE_ARGV 1 ARG "" "SOURCE;OUTPUT_NAME" "INCLUDES;DEFINES")
    if(NOT ARG_SOURCE OR ARG_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "mps_bpf_object(${target}): needs SOURCE, does not know '${ARG_UNPARSED_ARGUMENTS}'")
    endif()
    cmake_path(ABSOLUTE_PATH ARG_SOURCE NORMALIZE OUTPUT_VARIABLE source)
    if(NOT ARG_OUTPUT_NAME)
        cmake_path(GET source FILENAME ARG_OUTPUT_NAME)
        string(REGEX REPLACE "(\\.bpf)?\\.c$" "" ARG_OUTPUT_NAME "${ARG_OUTPUT_NAME}")
    endif()

    set(includes "")
    foreach(dir IN LISTS ARG_INCLUDES)
        cmake_path(ABSOLUTE_PATH dir NORMALIZE)
        list(APPEND includes -I "${dir}")
    endforeach()
    list(TRANSFORM ARG_DEFINES PREPEND -D)
    mps_bpf_target_flags(target_flags "${CMAKE_SYSTEM_PROCESSOR}" "${CMAKE_SYSROOT}"
        "${CMAKE_LIBRARY_ARCHITECTURE}")

    set(object "${CMAKE_CURRENT_BINARY_DIR}/${ARG_OUTPUT_NAME}.bpf.o")
    set(strip "")
    if(MPS_LLVM_STRIP)
        set(strip COMMAND "${MPS_LLVM_STRIP}" -g "${object}")
    endif()
    # A BPF program's context is its one parameter whether it needs it or not: -Wno-unused-parameter.
    # BTF line info carries file names into the kernel, so they are made relative to the source tree:
    # the same source gives the same object wherever it is built.
    add_custom_command(OUTPUT "${object}"
        COMMAND "${MPS_CLANG}" -g -O2 -std=gnu2x --target=bpf -mcpu=v3
            -Wall -Wextra -Wno-unused-parameter -Werror ${ARG_DEFINES} ${includes} ${target_flags}
            "-ffile-prefix-map=${PROJECT_BINARY_DIR}/=" "-ffile-prefix-map=${PROJECT_SOURCE_DIR}/="
            "-fdebug-compilation-dir=." "-fno-ident"
            -MD -MF "${object}.d" -MT "${object}" -c "${source}" -o "${object}"
        ${strip}
        MAIN_DEPENDENCY "${source}"
        DEPFILE "${object}.d"
        COMMENT "BPF object ${ARG_OUTPUT_NAME}.bpf.o"
        VERBATIM)
    add_custom_target(${target} ALL DEPENDS "${object}")
    set_target_properties(${target} PROPERTIES MPS_BPF_OBJECT "${object}" MPS_BPF_NAME "${ARG_OUTPUT_NAME}")
endfunction()

# Internal: the path of a BPF object target, or an error that names the caller.
function(_mps_bpf_object_path caller object_target out_path)
    if(NOT TARGET "${object_target}")
        message(FATAL_ERROR "${caller}: '${object_target}' is no target; declare it with mps_bpf_object() first")
    endif()
    get_target_property(path "${object_target}" MPS_BPF_OBJECT)
    if(NOT path)
        message(FATAL_ERROR "${caller}: target '${object_target}' was not made by mps_bpf_object()")
    endif()
    set(${out_path} "${path}" PARENT_SCOPE)
endfunction()

function(mps_bpf_skeleton target)
    cmake_parse_arguments(PARSE_ARGV 1 ARG "" "OBJECT;NAME" "")
    if(NOT ARG_OBJECT OR ARG_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "mps_bpf_skeleton(${target}): needs OBJECT, does not know '${ARG_UNPARSED_ARGUMENTS}'")
    endif()
    _mps_bpf_object_path("mps_bpf_skeleton(${target})" "${ARG_OBJECT}" object)
    if(NOT ARG_NAME)
        get_target_property(ARG_NAME "${ARG_OBJECT}" MPS_BPF_NAME)
    endif()
    string(MAKE_C_IDENTIFIER "${ARG_NAME}" name)

    set(dir "${CMAKE_CURRENT_BINARY_DIR}/${target}.include")
    set(header "${dir}/${name}.skel.h")
    add_custom_command(OUTPUT "${header}"
        COMMAND "${CMAKE_COMMAND}" "-DBPFTOOL=${MPS_BPFTOOL}" "-DOBJECT=${object}" "-DNAME=${name}"
            "-DHEADER=${header}" -P "${MPS_CMAKE_DIR}/gen-skeleton.cmake"
        DEPENDS "${object}" "${ARG_OBJECT}" "${MPS_CMAKE_DIR}/gen-skeleton.cmake"
        COMMENT "BPF skeleton ${name}.skel.h"
        VERBATIM)
    add_custom_target(${target}_header DEPENDS "${header}")
    add_library(${target} INTERFACE)
    add_dependencies(${target} ${target}_header)
    # SYSTEM: generated C does not follow our warnings.
    target_include_directories(${target} SYSTEM INTERFACE "${dir}")
endfunction()

function(mps_embed_file target)
    cmake_parse_arguments(PARSE_ARGV 1 ARG "" "NAME;FILE;OBJECT" "")
    if(NOT ARG_NAME OR ARG_UNPARSED_ARGUMENTS OR (ARG_FILE AND ARG_OBJECT) OR NOT (ARG_FILE OR ARG_OBJECT))
        message(FATAL_ERROR "mps_embed_file(${target}): needs NAME and one of FILE, OBJECT; "
                            "does not know '${ARG_UNPARSED_ARGUMENTS}'")
    endif()
    set(symbol "${ARG_NAME}")
    string(MAKE_C_IDENTIFIER "${symbol}" identifier)
    if(NOT symbol STREQUAL identifier)
        message(FATAL_ERROR "mps_embed_file(${target}): NAME '${symbol}' is not a C identifier")
    endif()
    if(ARG_OBJECT)
        _mps_bpf_object_path("mps_embed_file(${target})" "${ARG_OBJECT}" path)
    else()
        cmake_path(ABSOLUTE_PATH ARG_FILE NORMALIZE OUTPUT_VARIABLE path)
    endif()

    set(dir "${CMAKE_CURRENT_BINARY_DIR}/${target}.include")
    set(assembly "${CMAKE_CURRENT_BINARY_DIR}/${target}.S")
    configure_file("${MPS_CMAKE_DIR}/embed.S.in" "${assembly}" @ONLY)
    configure_file("${MPS_CMAKE_DIR}/embed.h.in" "${dir}/${symbol}.embed.h" @ONLY)
    # The preprocessor does not see .incbin, so the dependency is told.
    set_source_files_properties("${assembly}" PROPERTIES OBJECT_DEPENDS "${path}")
    add_library(${target} STATIC "${assembly}")
    target_include_directories(${target} INTERFACE "${dir}")
    if(ARG_OBJECT)
        add_dependencies(${target} ${ARG_OBJECT})
    endif()
endfunction()
