# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
#
#   mps_bpf_target_flags(<variable> <processor> <sysroot> <multiarch triplet>)
#       What clang has to be told about the machine that BPF objects will run on: --target=bpf says nothing of it. The values are
#       CMake's: CMAKE_SYSTEM_PROCESSOR, CMAKE_SYSROOT, CMAKE_LIBRARY_ARCHITECTURE; the last two are often empty, which CMake 3.31
#       warns of behind a keyword (CMP0174), so there are none.
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

function(mps_bpf_target_flags out processor sysroot multiarch)
    _mps_bpf_register_set("${processor}" registers)
    set(flags "-D__TARGET_ARCH_${registers}")
    # Everything but clang's own headers comes from the sysroot.
    if(sysroot)
        list(APPEND flags -nostdlibinc)
    endif()
    # asm/types.h of the target is in its multiarch directory, which clang does not search for --target=bpf.
    if(multiarch)
        list(APPEND flags -idirafter "${sysroot}/usr/include/${multiarch}")
    endif()
    if(sysroot)
        list(APPEND flags -idirafter "${sysroot}/usr/include")
    endif()
    set(${out} "${flags}" PARENT_SCOPE)
endfunction()
