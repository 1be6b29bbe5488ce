# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
#
#   mps_bpf_target_flags(<variable> PROCESSOR name [SYSROOT dir] [MULTIARCH triplet])
#       What clang has to be told about the machine that BPF objects will run on: --target=bpf says nothing of it. The values are
#       CMake's: CMAKE_SYSTEM_PROCESSOR, CMAKE_SYSROOT, CMAKE_LIBRARY_ARCHITECTURE.
#       A file of its own, so that a test can ask without a compiler for that machine (tests/support/selftest/bpf_target.cmake).

include_guard(GLOBAL)

# As bpf_tracing.h of libbpf calls the architectures that the registers of a program's context belong to.
function(_mps_bpf_register_set processor out)
    if(processor MATCHES "^(x86_64|AMD64|i.86)$")
        set(name x86)
    elseif(processor MATCHES "^(aarch64|arm64)$")
        set(name arm64)
    elseif(processor MATCHES "^arm")
        set(name arm)
    elseif(processor MATCHES "^(ppc|powerpc)")
        set(name powerpc)
    elseif(processor MATCHES "^riscv")
        set(name riscv)
    elseif(processor MATCHES "^s390")
        set(name s390)
    elseif(processor MATCHES "^loongarch")
        set(name loongarch)
    else()
        set(name "${processor}")
    endif()
    set(${out} "${name}" PARENT_SCOPE)
endfunction()

function(mps_bpf_target_flags out)
    cmake_parse_arguments(PARSE_ARGV 1 ARG "" "PROCESSOR;SYSROOT;MULTIARCH" "")
    if(NOT ARG_PROCESSOR OR ARG_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "mps_bpf_target_flags: needs PROCESSOR, does not know '${ARG_UNPARSED_ARGUMENTS}'")
    endif()
    _mps_bpf_register_set("${ARG_PROCESSOR}" registers)
    set(flags "-D__TARGET_ARCH_${registers}")
    # Everything but clang's own headers comes from the sysroot.
    if(ARG_SYSROOT)
        list(APPEND flags -nostdlibinc)
    endif()
    # asm/types.h of the target is in its multiarch directory, which clang does not search for --target=bpf.
    if(ARG_MULTIARCH)
        list(APPEND flags -idirafter "${ARG_SYSROOT}/usr/include/${ARG_MULTIARCH}")
    endif()
    if(ARG_SYSROOT)
        list(APPEND flags -idirafter "${ARG_SYSROOT}/usr/include")
    endif()
    set(${out} "${flags}" PARENT_SCOPE)
endfunction()
