// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// Which headers and registers BPF objects are compiled with, for machines whose compilers are not here.
// tests/fresh-debian.sh --arm64 builds with one that is.

#include "catch.hpp"

#include <array>
#include <cstdio>
#include <string>

#include <fmt/format.h>

namespace {

std::string flags(const std::string &processor, const std::string &sysroot, const std::string &multiarch) {
    const auto command = fmt::format("'{}' -DPROCESSOR='{}' -DSYSROOT='{}' -DMULTIARCH='{}' -P '{}' 2>&1",
                                     MPS_CMAKE, processor, sysroot, multiarch, MPS_BPF_TARGET);
    FILE *pipe = popen(command.c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::string said;
    std::array<char, 4096> buffer{};
    while (fgets(buffer.data(), buffer.size(), pipe) != nullptr)
        said += buffer.data();
    CHECK(pclose(pipe) == 0);
    return said;
}

} // namespace

TEST_CASE("BPF objects are compiled with the headers and registers of the machine they are for") {
    CHECK(flags("x86_64", "", "x86_64-linux-gnu") ==
          "-D__TARGET_ARCH_x86 -idirafter /usr/include/x86_64-linux-gnu\n");
    CHECK(flags("aarch64", "", "aarch64-linux-gnu") ==
          "-D__TARGET_ARCH_arm64 -idirafter /usr/include/aarch64-linux-gnu\n");
    // Nothing of the machine that builds, and the more special folder first.
    CHECK(flags("aarch64", "/target", "aarch64-linux-gnu") ==
          "-D__TARGET_ARCH_arm64 -nostdlibinc -idirafter /target/usr/include/aarch64-linux-gnu -idirafter "
          "/target/usr/include\n");
    CHECK(flags("armv7l", "", "") == "-D__TARGET_ARCH_arm\n");
    CHECK(flags("ppc64le", "", "") == "-D__TARGET_ARCH_powerpc\n");
    CHECK(flags("riscv64", "", "") == "-D__TARGET_ARCH_riscv\n");
    CHECK(flags("s390x", "", "") == "-D__TARGET_ARCH_s390\n");
    CHECK(flags("loongarch64", "", "") == "-D__TARGET_ARCH_loongarch\n");
    CHECK(flags("mips", "", "") == "-D__TARGET_ARCH_mips\n");
}
