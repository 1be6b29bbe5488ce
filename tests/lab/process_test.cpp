// SPDX-License-Identifier: MIT
#include <csignal>

#include <mpsched/lab/process.hpp>

#include "must.hpp"

using namespace mps::lab;
using namespace std::chrono_literals;
using mps::lab::test::must;

TEST_CASE("a process hands back status, output and error output", "[lab][process]") {
    const auto result = must(run_process({"sh", "-c", "cat; echo err >&2; exit 3"}, {.input = "in"}));
    CHECK(result.exit_code == 3);
    CHECK(result.signal == 0);
    CHECK(result.out == "in");
    CHECK(result.err == "err\n");
}

TEST_CASE("output and input larger than a pipe pass whole", "[lab][process]") {
    const std::string megabyte(1'000'000, 'x');
    CHECK(must(run_process({"cat"}, {.input = megabyte})).out == megabyte);
}

TEST_CASE("a program that does not exist is an error, not a status", "[lab][process]") {
    const auto result = run_process({"no-such-program"});
    REQUIRE_FALSE(result);
    CHECK(result.error().err == ENOENT);
    CHECK_FALSE(result.error().hint.empty());
}

TEST_CASE("a command that hangs is killed at its time-out", "[lab][process]") {
    const auto result = run_process({"sleep", "60"}, {.timeout = 100ms});
    REQUIRE_FALSE(result);
    CHECK(result.error().err == ETIMEDOUT);
}

TEST_CASE("a grandchild that keeps the pipes open does not hold us up", "[lab][process]") {
    const auto began = std::chrono::steady_clock::now();
    CHECK(must(run_process({"sh", "-c", "sleep 3 & echo done"})).out == "done\n");
    CHECK(std::chrono::steady_clock::now() - began < 2s);
}

TEST_CASE("a signal that ended a process is told", "[lab][process]") {
    auto process = must(Process::start({"sleep", "60"}));
    CHECK(process.running());
    must(process.signal(SIGTERM));
    CHECK(must(process.wait(5s)).signal == SIGTERM);
    CHECK_FALSE(process.running());
}

TEST_CASE("run_checked quotes what a failing command said", "[lab][process]") {
    const auto result = run_checked({"sh", "-c", "echo it broke >&2; exit 4"});
    REQUIRE_FALSE(result);
    CHECK(result.error().what.find("status 4: it broke") != std::string::npos);
}

TEST_CASE("a command is shown as typed", "[lab][process]") {
    CHECK(shell_words({"mpsched", "use", "weighted"}) == "mpsched use weighted");
    CHECK(shell_words({"a", "b c", "it's", ""}) == "a 'b c' 'it'\\''s' ''");
}
