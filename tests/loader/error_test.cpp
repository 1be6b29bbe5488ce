// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cerrno>

#include "kernel/load_error.hpp"
#include "mpsched/error.hpp"

using namespace mps;

TEST_CASE("every errno has a name, the kernel's own 524 too") {
    CHECK(errno_text(ENOENT) == "ENOENT (no such file or directory)");
    CHECK(errno_text(-EPERM) == "EPERM (operation not permitted)");
    CHECK(errno_text(524) == "ENOTSUPP (operation not supported by this kernel)");
    CHECK(errno_text(-524) == errno_text(524));
    CHECK(errno_text(4001) == "errno 4001");
}

TEST_CASE("a failed system call gets the exit code that its cause deserves") {
    CHECK(system_error(EPERM, "x").code == ErrorCode::not_permitted);
    CHECK(system_error(-EACCES, "x").code == ErrorCode::not_permitted);
    CHECK(system_error(EOPNOTSUPP, "x").code == ErrorCode::unsupported);
    CHECK(system_error(524, "x").code == ErrorCode::unsupported);
    CHECK(system_error(EBUSY, "x").code == ErrorCode::failed);
    CHECK(system_error(EBUSY, "doing x").what == "doing x: EBUSY (device or resource busy)");
    CHECK_FALSE(system_error(EPERM, "x").hint.empty());
    CHECK(system_error(EPERM, "x", "do y").hint == "do y");
}

TEST_CASE("exit codes are the ones the command line promises") {
    CHECK(static_cast<int>(ErrorCode::failed) == 1);
    CHECK(static_cast<int>(ErrorCode::usage) == 2);
    CHECK(static_cast<int>(ErrorCode::unsupported) == 3);
    CHECK(static_cast<int>(ErrorCode::not_permitted) == 4);
}

TEST_CASE("a refused program's error carries the verifier's reason, its hint and its last lines") {
    const Error error = load_error(-EACCES, "loading policy 'x'",
                                   "0: R1=ctx() R10=fp0\n1: (61) r0 = *(u32 *)(r0 +0)\n"
                                   "R0 invalid mem access 'map_value_or_null'\nprocessed 2 insns\n",
                                   "");
    // The verifier says EACCES for most things; that is no matter of rights.
    CHECK(error.code == ErrorCode::failed);
    CHECK(error.what ==
          "loading policy 'x': the kernel's verifier refused it: R0 invalid mem access 'map_value_or_null'");
    CHECK(error.hint == "check the pointer for NULL before using it");
    CHECK(error.detail == "0: R1=ctx() R10=fp0\n1: (61) r0 = *(u32 *)(r0 +0)\n"
                          "R0 invalid mem access 'map_value_or_null'");
}

TEST_CASE("without a verifier log libbpf's warnings are the detail, but not where rights are the cause") {
    CHECK(load_error(-ENOENT, "loading", "", "failed to find BTF\n").detail == "failed to find BTF");
    CHECK(load_error(-ENOENT, "loading", "", "").code == ErrorCode::unsupported);
    const Error refused = load_error(-EPERM, "loading", "", "make sure that RLIMIT_MEMLOCK is big enough\n");
    CHECK(refused.code == ErrorCode::not_permitted);
    CHECK(refused.detail.empty());
}

TEST_CASE("an error has a kind, and the kind the exit code") {
    CHECK(fail(ErrorCode::usage, "x").error().kind == ErrorKind::usage);
    const Error error = fail(ErrorKind::no_such_interface, "x").error();
    CHECK(error.kind == ErrorKind::no_such_interface);
    CHECK(error.code == ErrorCode::usage);
    CHECK(system_error(EPERM, "x", "y").kind == ErrorKind::not_permitted);
    CHECK(load_error(-EACCES, "x", "R0 invalid mem access 'scalar'\n", "").kind == ErrorKind::refused);
    CHECK(to_string(ErrorKind::other_version) == "other-version");
    // Each has a row of its own: one without would be called "failed".
    for (int i = 1; i <= static_cast<int>(ErrorKind::other_version); i++)
        CHECK(to_string(static_cast<ErrorKind>(i)) != "failed");
}
