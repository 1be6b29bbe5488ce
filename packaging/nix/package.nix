# SPDX-License-Identifier: MIT
{
  lib,
  stdenv,
  cmake,
  ninja,
  pkg-config,
  python3,
  llvmPackages_19,
  bpftools,
  libbpf,
  elfutils,
  zlib,
  libmnl,
  libseccomp,
  ncurses,
  fmt,
  nlohmann_json,
  cli11,
  tomlplusplus,
  sqlite,
  curl,
  openssl,
  systemd,
}:

stdenv.mkDerivation {
  pname = "mpsched";
  version = "0.1.0";

  src = lib.cleanSource ../..;

  nativeBuildInputs = [
    cmake
    ninja
    pkg-config
    python3
    # Not the wrapper: its flags for the hardening of programs are none that the BPF target knows.
    llvmPackages_19.clang-unwrapped
    llvmPackages_19.llvm
    bpftools
  ];

  buildInputs = [
    libbpf
    elfutils
    zlib
    libmnl
    libseccomp
    ncurses
    fmt
    nlohmann_json
    cli11
    tomlplusplus
    sqlite
    curl
    openssl
    systemd
  ];

  cmakeFlags = [
    "-DMPS_TESTS=OFF"
    "-DMPS_LAB=OFF"
    "-DMPS_TOMLPLUSPLUS_DIR=${lib.getDev tomlplusplus}/include"
    "-DMPS_SYSTEMD_DIR=lib/systemd/system"
  ];

  meta = {
    description = "Pluggable, live-swappable Multipath TCP scheduling on unmodified kernels";
    license = with lib.licenses; [
      mit
      gpl2Only
    ];
    platforms = lib.platforms.linux;
    mainProgram = "mpsched";
  };
}
