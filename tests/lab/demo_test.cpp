// SPDX-License-Identifier: MIT
// The demo as a person sees it: the built binaries, from outside.
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <mpsched/lab/process.hpp>

#include "base/files.hpp"
#include "must.hpp"

using namespace mps::lab;
using namespace std::chrono_literals;
using mps::lab::test::must;

namespace {

/// Beside the tests' folder, where the build puts it.
std::string demo_binary() {
    return (std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "mpsched-lab")
        .string();
}

/// Namespaces that the demo with this pid made.
int namespaces_of(pid_t pid) {
    int count = 0;
    std::error_code none;
    for (const auto &entry : std::filesystem::directory_iterator("/run/netns", none)) {
        count += entry.path().filename().string().starts_with("mps" + std::to_string(pid) + "-") ? 1 : 0;
    }
    return count;
}

/// Processes that were told of a namespace of this demo: stray mpsched commands.
int strays_of(pid_t pid) {
    const auto sign = "mps" + std::to_string(pid) + "-";
    int count = 0;
    for (const auto &entry : std::filesystem::directory_iterator("/proc")) {
        // It may be gone meanwhile.
        count += mps::read_file(entry.path() / "cmdline").value_or("").contains(sign) ? 1 : 0;
    }
    return count;
}

/// Until the process blocks a signal, to wait for it: on a busy machine a program takes its time to start.
bool handles(pid_t pid, int signal_number) {
    for (int i = 0; i < 1000; ++i, std::this_thread::sleep_for(10ms)) {
        std::ifstream status("/proc/" + std::to_string(pid) + "/status");
        for (std::string word; status >> word;) {
            if (word == "SigBlk:" && status >> word) {
                if (std::stoull(word, nullptr, 16) >> (signal_number - 1) & 1) {
                    return true;
                }
            }
        }
    }
    return false;
}

/// The shares in the last table's row that starts so, in percent.
std::vector<double> shares_in(const std::string &output, const std::string &row) {
    const auto at = output.rfind("\n  " + row);
    std::vector<double> shares;
    if (at != std::string::npos) {
        std::istringstream words(output.substr(at + 1, output.find('\n', at + 1) - at - 1));
        std::string before;
        for (std::string word; words >> word; before = word) {
            if (word == "%") {
                shares.push_back(std::stod(before));
            }
        }
    }
    return shares;
}

} // namespace

TEST_CASE("the demo steers a real transfer through all phases and leaves nothing", "[lab][demo]") {
    auto demo = must(Process::start({demo_binary(), "demo", "--seconds-per-phase", "3"}));
    const auto pid = demo.pid();
    const auto result = must(demo.wait(90s));
    INFO(result.out << result.err);
    REQUIRE(result.exit_code == 0);
    CHECK(result.err.empty());
    CHECK(namespaces_of(pid) == 0);
    CHECK(result.out.find("SHA-256 verified") != std::string::npos);
    // Not a terminal: nothing that moves the cursor.
    CHECK(result.out.find('\033') == std::string::npos);

    const auto near = [&](const std::string &row, double dsl, double margin) {
        const auto shares = shares_in(result.out, row);
        INFO(row);
        REQUIRE(shares.size() == 2);
        CHECK(std::abs(shares[0] - dsl) <= margin);
    };
    near("1 kernel default", 50, 5);
    near("2 weighted", 75, 5);
    near("3 active-standby", 100, 1);
    near("4 dsl is cut", 0, 1);
    near("5 dsl is back", 100, 5);
    near("6 default", 50, 5);
    near("7 detached", 50, 5);
}

TEST_CASE("the demo cleans up and exits 130 when it is stopped in any phase", "[lab][demo]") {
    const auto signal_number = GENERATE(SIGINT, SIGTERM);
    // During preparation, commands, the steered transfer, and the cut.
    const auto after = GENERATE(300ms, 3400ms, 3900ms, 6s, 9500ms);
    auto demo = must(Process::start({demo_binary(), "demo", "--seconds-per-phase", "2"}));
    const auto pid = demo.pid();
    REQUIRE(handles(pid, signal_number));
    std::this_thread::sleep_for(after);
    must(demo.signal(signal_number));
    const auto result = must(demo.wait(20s));
    INFO(result.out << result.err);
    CHECK(result.exit_code == 130);
    CHECK(namespaces_of(pid) == 0);
    CHECK(strays_of(pid) == 0);
}

TEST_CASE("the demo serves the page, and is over when whoever plays with it interrupts it", "[lab][demo]") {
    char folder[] = "/tmp/mpsched-demo-test-XXXXXX";
    REQUIRE(::mkdtemp(folder) != nullptr);
    const std::string file = std::string(folder) + "/output";
    const auto said = [&] {
        std::ifstream in(file);
        return std::string((std::istreambuf_iterator<char>(in)), {});
    };
    // `last` comes after all phases.
    auto demo = must(Process::start({"sh", "-c", "exec \"$@\" >" + file, "sh", demo_binary(), "demo", "--web",
                                     "--seconds-per-phase", "2"}));
    const auto pid = demo.pid();
    const auto waited_for = [&](const std::string &last) {
        for (int i = 0; i < 900 && demo.running() && said().find(last) == std::string::npos; ++i) {
            std::this_thread::sleep_for(100ms);
        }
        return said().find(last) != std::string::npos;
    };
    REQUIRE(waited_for("#"));
    const std::string text = said(), url = text.substr(text.find("http://127.0.0.1:"));
    const auto page = must(run_process(
        {"python3", "-c",
         "import sys, urllib.request\nprint(urllib.request.urlopen(sys.argv[1], timeout=20).status)",
         url.substr(0, url.find('#'))}));
    INFO(page.err);
    CHECK(page.out == "200\n");
    CHECK(waited_for("Now it is yours"));
    must(demo.signal(SIGINT));
    const auto result = must(demo.wait(20s));
    INFO(said() << result.err);
    CHECK(result.exit_code == 0);
    CHECK(said().find("SHA-256 verified") != std::string::npos);
    CHECK(namespaces_of(pid) == 0);
    CHECK(strays_of(pid) == 0);
    std::filesystem::remove_all(folder);
}

TEST_CASE("a demo of impossible length is a usage error", "[lab][demo]") {
    for (const auto *seconds : {"1", "11", "x"}) {
        CHECK(must(run_process({demo_binary(), "demo", "--seconds-per-phase", seconds})).exit_code == 2);
    }
    CHECK(must(run_process({demo_binary()})).exit_code == 2);
    CHECK(must(run_process({demo_binary(), "--help"})).exit_code == 0);
}
