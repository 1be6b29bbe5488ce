# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
#
# Builds for arm64 on another machine, with Debian's cross compiler (crossbuild-essential-arm64). Libraries come from :arm64
# packages beside this machine's own (multiarch), or from a root directory of the target: -DCMAKE_SYSROOT=DIR.

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

# clang, bpftool and the native compiler are this machine's.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)

# pkgconf would list this machine's libraries. Set for each run of CMake, since this file is read in each.
set(ENV{PKG_CONFIG_LIBDIR} "${CMAKE_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${CMAKE_SYSROOT}/usr/share/pkgconfig")
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${CMAKE_SYSROOT}")
