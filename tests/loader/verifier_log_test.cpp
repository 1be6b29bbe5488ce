// SPDX-License-Identifier: MIT
//
// golden/*.log are the ends of logs that kernel 6.18 wrote about small wrong programs.
#include "catch.hpp"

#include <iterator>
#include <string>

#include "kernel/verifier_log.hpp"
#include "temporary_folder.hpp"

using namespace mps;

namespace {

std::string golden(const std::string &name) {
    return test::file_text(std::string(MPS_GOLDEN_DIR) + "/" + name + ".log");
}

struct Case {
    const char *log;
    const char *reason;
    const char *hint; // a part of it
};

} // namespace

TEST_CASE("every known reason is found in a real log and gets its hint") {
    const Case cases[] = {
        {"gpl", "cannot call GPL-restricted function from non-GPL compatible program", "licence"},
        {"unknown_helper", "invalid func unknown#9999", "helper"},
        {"wrong_helper", "program of this type cannot use helper bpf_get_socket_cookie#46", "helper"},
        {"kfunc", "calling kernel function bpf_sock_destroy is not allowed", "function here"},
        {"too_large", "BPF program is too large. Processed 1000001 insn", "too many paths"},
        {"jumps", "The sequence of 8193 jumps is too complex.", "too many paths"},
        {"infinite", "infinite loop detected at insn 0", "constant bound"},
        {"stack", "combined stack size of 2 calls is 608. Too large", "512 bytes"},
        {"null", "R0 invalid mem access 'map_value_or_null'", "NULL"},
        {"stackvar", "invalid unbounded variable-offset read from stack R2", "indexed by a variable"},
        {"ctx", "variable ctx access var_off=(0x0; 0xc) disallowed", "indexed by a variable"},
        {"unbounded", "R0 unbounded memory access, make sure to bounds check any such access",
         "bound the index"},
        {"negative", "math between map_value pointer and register with unbounded min value is not allowed",
         "bound the index"},
        {"outside", "R0 max value is outside of the allowed memory range", "bound the index"},
        {"mapvalue", "R1 min value is outside of the allowed memory range", "bound the index"},
        {"rodata", "write into map forbidden, value_size=16 off=4 size=4", "read-only"},
        {"readok", "R7 !read_ok", "before it is set"},
    };
    for (const Case &known : cases) {
        INFO(known.log);
        const VerifierExcerpt excerpt = verifier_excerpt(golden(known.log));
        CHECK(excerpt.reason == known.reason);
        CHECK(excerpt.hint.find(known.hint) != std::string::npos);
        CHECK(excerpt.excerpt.find(known.reason) != std::string::npos);
    }
}

TEST_CASE("an excerpt tells how much it leaves out, and leaves statistics out without a word") {
    const VerifierExcerpt excerpt =
        verifier_excerpt("one\ntwo\n\nthree\nfour\nprocessed 4 insns (limit 1000000)\n", 2);
    CHECK(excerpt.excerpt == "three\nfour\n(2 lines omitted, -v shows all)");
    CHECK(excerpt.reason == "four");
    CHECK(excerpt.hint.empty());
    CHECK(verifier_excerpt("only\n", 2).excerpt == "only");
}

TEST_CASE("an empty log gives an empty excerpt") {
    CHECK(verifier_excerpt("").reason.empty());
    CHECK(verifier_excerpt("\n\n  \n").excerpt.empty());
}

TEST_CASE("a log that lost its end gives no made-up reason") {
    std::string log;
    while (log.size() < verifier_log_size - 1)
        log += "1: (07) r0 += 1\n";
    log.resize(verifier_log_size - 1);
    CHECK(verifier_excerpt(log).reason == "the log is too long to tell the reason");
    log += "\nprocessed 9 insns";
    CHECK(verifier_excerpt(log).reason != "the log is too long to tell the reason");
}
