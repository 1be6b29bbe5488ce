# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
#
# Compiler options of all native code. BPF code has its own in MpsBpf.cmake.

include_guard(GLOBAL)

set(mps_warnings -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wformat=2 -Wundef)
set(mps_cxx_warnings -Wnon-virtual-dtor -Woverloaded-virtual -Wextra-semi)
# g++ 12 sees overlapping copies in std::string's own operator+ (GCC bug 105651); 13 does not.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    list(APPEND mps_cxx_warnings -Wno-restrict)
endif()
add_compile_options(
    "$<$<COMPILE_LANGUAGE:C,CXX>:${mps_warnings}>"
    "$<$<COMPILE_LANGUAGE:CXX>:${mps_cxx_warnings}>")
if(MPS_WERROR)
    add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:-Werror>")
endif()

# Messages and debug information name files relative to the source tree, so that binaries are the same
# wherever they were built.
add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=>")

# -O3 gains nothing here: what has to be fast runs in the kernel. It does cost compile time.
string(REPLACE "-O3" "-O2" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")
string(REPLACE "-O3" "-O2" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")

# What distributions build with: a program that runs as root and reads what strangers send. MPS_HARDENING=OFF leaves the flags
# to whoever sets CMAKE_CXX_FLAGS.
option(MPS_HARDENING "Stack protector, checked libc calls, position-independent and read-only after start" ON)
if(MPS_HARDENING)
    include(CheckPIESupported)
    check_pie_supported()
    set(CMAKE_POSITION_INDEPENDENT_CODE ON)
    add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:-fstack-protector-strong;-fstack-clash-protection>"
        "$<$<COMPILE_LANGUAGE:CXX>:-D_GLIBCXX_ASSERTIONS>"
        # Checks of the C library need an optimiser; sanitizers have their own.
        "$<$<AND:$<COMPILE_LANGUAGE:C,CXX>,$<NOT:$<CONFIG:Debug>>>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2>")
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
        add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:-fcf-protection>")
    elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64")
        add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:-mbranch-protection=standard>")
    endif()
    add_link_options(-Wl,-z,relro,-z,now)
endif()

# Used when installed. Paths relative to the tree make a fresh clone hit what another one compiled.
find_program(MPS_CCACHE ccache DOC "compiler cache")
if(MPS_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(mps_launcher "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}" CCACHE_NOHASHDIR=1
        CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_PCH_EXTSUM=1 "${MPS_CCACHE}")
    set(CMAKE_C_COMPILER_LAUNCHER "${mps_launcher}")
    set(CMAKE_CXX_COMPILER_LAUNCHER "${mps_launcher}")
endif()

set(MPS_SANITIZE "" CACHE STRING "sanitizers for native code, e.g. address,undefined")
if(MPS_SANITIZE)
    add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=${MPS_SANITIZE};-fno-omit-frame-pointer;-fno-sanitize-recover=all>")
    add_link_options("-fsanitize=${MPS_SANITIZE}")
endif()
