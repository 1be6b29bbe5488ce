# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
#
# Every library we link, found once. Folders use these target names:
#   PkgConfig::LIBBPF (loader/ only)   PkgConfig::LIBMNL   fmt::fmt   nlohmann_json::nlohmann_json
#   PkgConfig::NCURSES   PkgConfig::SECCOMP   PkgConfig::SQLITE   PkgConfig::CURL   PkgConfig::SYSTEMD   CLI11::CLI11   OpenSSL::Crypto   Threads::Threads   mps_tomlplusplus (headers only)   Catch2::Catch2 (through mps_add_test)

include_guard(GLOBAL)

find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBBPF REQUIRED IMPORTED_TARGET GLOBAL libbpf>=1.1)
pkg_check_modules(NCURSES REQUIRED IMPORTED_TARGET GLOBAL ncursesw)
pkg_check_modules(LIBMNL REQUIRED IMPORTED_TARGET GLOBAL libmnl)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET GLOBAL libseccomp>=2.5)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Threads REQUIRED)
if(MPS_LAB OR MPS_SERVICE)
    # Not its own target: that one links a library built with exceptions, and we parse without.
    find_path(MPS_TOMLPLUSPLUS_DIR toml++/toml.h REQUIRED DOC "toml++, of Debian's libtomlplusplus-dev")
    add_library(mps_tomlplusplus INTERFACE)
    target_include_directories(mps_tomlplusplus SYSTEM INTERFACE "${MPS_TOMLPLUSPLUS_DIR}")
    target_compile_definitions(mps_tomlplusplus INTERFACE TOML_HEADER_ONLY=1 TOML_EXCEPTIONS=0)
endif()

if(MPS_SERVICE)
    pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET GLOBAL sqlite3)
    pkg_check_modules(CURL REQUIRED IMPORTED_TARGET GLOBAL libcurl>=7.85)
    if(MPS_DBUS)
        # Its sd-bus, in C, is the same on Debian 12 and 13; sdbus-c++ is 1.2 here and 2.1 there, with other names.
        pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET GLOBAL libsystemd>=247)
    endif()
endif()

if(MPS_LAB OR MPS_SERVICE)
    find_package(OpenSSL REQUIRED COMPONENTS Crypto)
endif()

if(NOT MPS_LAB)
    return()
endif()
