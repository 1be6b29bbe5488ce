// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// Does tests/run-tests tell good from bad? It is given little builds made of fixture.cpp's cases.

#include "catch.hpp"
#include "temporary_folder.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

namespace fs = std::filesystem;

namespace {

struct Verdict {
    int status;
    std::string output;
    std::string last_line;
};

/// A build directory with a manifest and "test binaries" that are scripts around the fixture.
class FakeBuild {
  public:
    FakeBuild() {
        fs::create_directories(root_ / "bin" / "tests");
        write("bin/tests/manifest.txt", "# tier name timeout_s [alone]\n");
        write("allowed.txt", "");
    }

    void allow(const std::string &line) { append("allowed.txt", line + "\n"); }

    /// The limit is the manifest's: seconds, and "alone" behind them.
    void add_script(const std::string &name, const std::string &body, const std::string &tier = "unit",
                    const std::string &limit = "20") {
        write("bin/tests/" + name, "#!/bin/sh\n" + body + "\n");
        fs::permissions(root_ / "bin" / "tests" / name, fs::perms::owner_all);
        append("bin/tests/manifest.txt", fmt::format("{} {} {}\n", tier, name, limit));
    }

    /// A binary that runs the fixture's cases chosen by a Catch2 test spec such as "[passes],[fails]".
    void add(const std::string &name, const std::string &spec, const std::string &tier = "unit",
             const std::string &limit = "20") {
        add_script(name, fmt::format("exec '{}' '{}'", MPS_FIXTURE, spec), tier, limit);
    }

    Verdict run(const std::string &arguments = "") const {
        const std::string command = fmt::format("'{}' '{}' --allowed-skips '{}' {} 2>&1", MPS_RUNNER,
                                                root_.string(), (root_ / "allowed.txt").string(), arguments);
        Verdict verdict{};
        FILE *pipe = popen(command.c_str(), "r");
        REQUIRE(pipe != nullptr);
        std::array<char, 4096> buffer{};
        while (fgets(buffer.data(), buffer.size(), pipe) != nullptr) {
            verdict.output += buffer.data();
            verdict.last_line = buffer.data();
        }
        const int status = pclose(pipe);
        verdict.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        return verdict;
    }

    fs::path path(const std::string &name) const { return root_ / name; }

  private:
    void write(const std::string &name, const std::string &text) { std::ofstream(root_ / name) << text; }
    void append(const std::string &name, const std::string &text) {
        std::ofstream(root_ / name, std::ios::app) << text;
    }

    mps::TemporaryFolder folder_ = mps::test::temporary_folder("runner-test");
    fs::path root_ = folder_.path();
};

bool says(const Verdict &verdict, const std::string &text) {
    return verdict.output.find(text) != std::string::npos;
}

} // namespace

TEST_CASE("the runner passes when every case passes") {
    FakeBuild build;
    build.add("good", "[passes]");
    const Verdict verdict = build.run();
    INFO(verdict.output);
    CHECK(verdict.status == 0);
    CHECK(verdict.last_line == "1 passed, 0 failed, 0 skipped\n");
}

TEST_CASE("the runner counts passed, failed and skipped cases of all binaries") {
    FakeBuild build;
    build.add("mixed", "[passes],[fails],[skips]");
    build.add("good", "[passes]", "e2e");
    build.allow("a case that skips | the moon is not always there");
    const Verdict verdict = build.run();
    INFO(verdict.output);
    CHECK(verdict.status == 1);
    CHECK(verdict.last_line == "2 passed, 1 failed, 1 skipped\n");
    CHECK(says(verdict, "mixed: a case that fails"));
    CHECK(says(verdict, "there is no \"moon\" tonight"));
}

TEST_CASE("an allowed skip does not fail the run, any other does") {
    FakeBuild build;
    build.add("skipping", "[passes],[skips]");
    Verdict verdict = build.run();
    INFO(verdict.output);
    CHECK(verdict.status == 1);
    CHECK(verdict.last_line == "1 passed, 1 failed, 0 skipped\n");

    build.allow("a case that skips | the moon is not always there");
    verdict = build.run();
    CHECK(verdict.status == 0);
    CHECK(verdict.last_line == "1 passed, 0 failed, 1 skipped\n");
}

TEST_CASE("an allowance without a reason, or for a test that is gone, is refused") {
    FakeBuild build;
    build.add("good", "[passes]");
    build.allow("a case of yesterday | it was hard");
    Verdict verdict = build.run();
    INFO(verdict.output);
    CHECK(verdict.status == 1);
    CHECK(says(verdict, "there is no test named: a case of yesterday"));

    build.allow("a case that passes");
    verdict = build.run();
    CHECK(verdict.status == 2);
}

TEST_CASE("a run or a tier in which everything skipped, or nothing ran, fails") {
    FakeBuild build;
    CHECK(build.run().status == 1);
    CHECK(build.run().last_line == "0 passed, 0 failed, 0 skipped\n");

    build.add("skipping", "[skips]");
    build.allow("a case that skips | the moon is not always there");
    CHECK(build.run().status == 1);
    CHECK(build.run().last_line == "0 passed, 1 failed, 1 skipped\n");

    build.add("good", "[passes]", "e2e");
    const Verdict verdict = build.run();
    INFO(verdict.output);
    CHECK(verdict.last_line == "1 passed, 1 failed, 1 skipped\n");
    CHECK(says(verdict, "tier unit: no test case passed"));
}

TEST_CASE("a failed check counts although the case skips or may fail") {
    FakeBuild build;
    build.add("bad", "[fails-and-skips],[may-fail],[throws]");
    const Verdict verdict = build.run();
    INFO(verdict.output);
    CHECK(verdict.status == 1);
    CHECK(verdict.last_line == "0 passed, 4 failed, 0 skipped\n"); // the fourth: nothing passed in the tier
}

TEST_CASE("a crash fails the run, keeps what passed before it, and is named") {
    FakeBuild build;
    build.add("crashing", "[passes],[crashes]");
    const Verdict verdict = build.run();
    INFO(verdict.output);
    CHECK(verdict.status == 1);
    CHECK(verdict.last_line == "1 passed, 1 failed, 0 skipped\n");
    CHECK(says(verdict, "crashing: ended before its end (exit status 134), in: a case that crashes"));
}

TEST_CASE("a binary that exits early with status 0 has failed") {
    FakeBuild build;
    build.add("leaving", "[passes],[exits]");
    const Verdict verdict = build.run();
    INFO(verdict.output);
    CHECK(verdict.status == 1);
    CHECK(verdict.last_line == "1 passed, 1 failed, 0 skipped\n");
    CHECK(says(verdict, "in: a case that exits early with success"));
}

TEST_CASE("a binary that hangs is ended after its time and has failed") {
    FakeBuild build;
    build.add("hanging", "[passes],[hangs]", "e2e", "1");
    const Verdict verdict = build.run();
    INFO(verdict.output);
    CHECK(verdict.status == 1);
    CHECK(verdict.last_line == "1 passed, 1 failed, 0 skipped\n");
    CHECK(says(verdict, "took longer than 1 s, in: a case that hangs"));
}

TEST_CASE("a unit test is limited by CPU time: one that only waits has five times as long") {
    FakeBuild build;
    build.add("busy", "[passes],[calculates]", "unit", "1");
    build.add("waiting", "[waits]", "unit", "1");
    const Verdict verdict = build.run();
    INFO(verdict.output);
    CHECK(verdict.status == 1);
    CHECK(says(verdict, "busy: took more than 1 s of CPU time, in: a case that calculates"));
    CHECK(verdict.last_line == "2 passed, 1 failed, 0 skipped\n");
}

TEST_CASE("a binary without a result file, with a broken one, or missing has failed") {
    FakeBuild build;
    build.add("good", "[passes]");
    build.add_script("silent", "exit 0");
    build.add_script("broken", "echo '{' > \"$MPS_TEST_RESULT\"");
    build.add_script("gone", "exit 0");
    fs::remove(build.path("bin/tests/gone"));
    const Verdict verdict = build.run();
    INFO(verdict.output);
    CHECK(verdict.status == 1);
    CHECK(verdict.last_line == "1 passed, 3 failed, 0 skipped\n");
}

TEST_CASE("a bad exit status fails the run although the result file looks good") {
    FakeBuild build;
    build.add_script("leaking", fmt::format("'{}' '[passes]'; exit 23", MPS_FIXTURE));
    const Verdict verdict = build.run();
    INFO(verdict.output);
    CHECK(verdict.status == 1);
    CHECK(says(verdict, "leaking: exit status 23"));
}

TEST_CASE("a binary that runs no case has failed, unless a filter asked for cases") {
    FakeBuild build;
    build.add("empty", "[no-such-tag]");
    build.add("good", "[passes]");
    Verdict verdict = build.run();
    INFO(verdict.output);
    CHECK(verdict.status == 1);
    CHECK(says(verdict, "empty: ran no test case"));

    FakeBuild filtered;
    filtered.add_script("good", fmt::format("exec '{}' \"$@\"", MPS_FIXTURE));
    verdict = filtered.run("'no such test'");
    CHECK(verdict.status == 1);
    CHECK(verdict.last_line == "0 passed, 0 failed, 0 skipped\n");
    CHECK(says(verdict, "no binary or test case matches"));
}

TEST_CASE(
    "those that measure never run beside each other, but beside others, and each one's output stays together") {
    // Each writes down its begin and its end.
    const auto body = [](const fs::path &log, const std::string &name) {
        return fmt::format(
            "echo '+{1}' >>'{0}'; echo 'begin of {1}'; sleep .4; echo 'end of {1}'; echo '-{1}' >>'{0}'; "
            "exec '{2}' '[passes]'",
            log.string(), name, MPS_FIXTURE);
    };
    FakeBuild build;
    const fs::path log = build.path("log");
    for (const std::string name : {"first", "second"})
        build.add_script(name, body(log, name), "e2e", "20 alone");
    for (const std::string name : {"third", "fourth"})
        build.add_script(name, body(log, name), "e2e");
    const Verdict verdict = build.run();
    INFO(verdict.output);
    CHECK(verdict.last_line == "4 passed, 0 failed, 0 skipped\n");
    CHECK(says(verdict, "begin of third\nend of third\n"));

    const std::string events = mps::test::file_text(log);
    INFO(events);
    CHECK(events.find("-first") < events.find("+second"));
    CHECK(events.find("+third") < events.find("-first"));
}

TEST_CASE("a filter selects binaries by name, else cases, and those that measure run in the order of tiers") {
    FakeBuild build;
    build.add_script("last", fmt::format("exec '{}' \"${{1:-[passes]}}\"", MPS_FIXTURE), "e2e", "20 alone");
    build.add_script("first", fmt::format("exec '{}' \"${{1:-[fails]}}\"", MPS_FIXTURE), "unit", "20 alone");

    Verdict verdict = build.run();
    INFO(verdict.output);
    CHECK(verdict.output.find("first (unit") < verdict.output.find("last (e2e"));
    CHECK(verdict.last_line == "1 passed, 2 failed, 0 skipped\n");

    CHECK(build.run("last").last_line == "1 passed, 0 failed, 0 skipped\n");
    CHECK(build.run("'that passes'").last_line == "2 passed, 0 failed, 0 skipped\n");
    CHECK(build.run("--tier e2e").last_line == "1 passed, 0 failed, 0 skipped\n");
}
