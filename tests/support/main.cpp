// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// main() of every test binary. Catch2 judges the checks; what we add is a result file that a runner can
// trust, skipping that looks the same in Catch2 2 and 3, and one line per finished test case.
//
// The result file (path in MPS_TEST_RESULT) is rewritten, atomically, whenever a test case starts and
// finishes. Only the last version says "complete": true, so a crash or a time-out can be told from success
// and the runner can name the test case that was running.

#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_RUNNER
#endif
#include "catch.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace {

enum ExitCode { exit_passed = 0, exit_failed = 1, exit_nothing_ran = 4, exit_no_result_file = 5 };

struct Skipped {
    std::string name;
    std::string reason;
};

struct Results {
    std::string binary;
    std::vector<std::string> passed;
    std::vector<std::string> failed;
    std::vector<Skipped> skipped;
    std::string running;
    bool complete = false;
    bool write_failed = false;

    void write();
};

Results results;
std::optional<std::string> skip_reason;

void Results::write() {
    const char *path = std::getenv("MPS_TEST_RESULT");
    if (path == nullptr || *path == '\0')
        return;
    nlohmann::json skipped_json = nlohmann::json::array();
    for (const Skipped &one : skipped)
        skipped_json.push_back({{"name", one.name}, {"reason", one.reason}});
    const nlohmann::json document{{"binary", binary}, {"complete", complete},    {"passed", passed},
                                  {"failed", failed}, {"skipped", skipped_json}, {"running", running}};

    const std::string partial = std::string(path) + ".partial";
    std::error_code error;
    {
        std::ofstream out(partial, std::ios::trunc);
        out << document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
        out.close();
        write_failed = !out;
    }
    if (!write_failed) {
        std::filesystem::rename(partial, path, error);
        write_failed = static_cast<bool>(error);
    }
}

#if __has_include(<catch2/catch_all.hpp>)
using ListenerBase = Catch::EventListenerBase;
const std::string &name_of(const Catch::TestCaseStats &stats) { return stats.testInfo->name; }
#else
using ListenerBase = Catch::TestEventListenerBase;
const std::string &name_of(const Catch::TestCaseStats &stats) { return stats.testInfo.name; }
#endif

class Listener : public ListenerBase {
  public:
    using ListenerBase::ListenerBase;

    void testCaseStarting(const Catch::TestCaseInfo &info) override {
        skip_reason.reset();
        started_ = std::chrono::steady_clock::now();
        results.running = info.name;
        results.write();
    }

#if __has_include(<catch2/catch_all.hpp>)
    void assertionEnded(const Catch::AssertionStats &stats) override { note_fatal(stats); }
#else
    bool assertionEnded(const Catch::AssertionStats &stats) override {
        note_fatal(stats);
        return false; // "messages are still needed": the other reporters want them
    }
#endif

    void testCaseEnded(const Catch::TestCaseStats &stats) override {
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started_;
        const std::string &name = name_of(stats);
        const char *verdict = "ok";
        std::string remark;
        if (died_) {
            // The process goes down with this signal. The result file on disk names this case as running.
            return;
        }
        // "[!mayfail]" does not help a test here: a check that failed is a failure.
        if (stats.totals.testCases.failed + stats.totals.testCases.failedButOk > 0) {
            verdict = "FAIL";
            results.failed.push_back(name);
        } else if (skip_reason) {
            verdict = "skip";
            remark = " (" + *skip_reason + ")";
            results.skipped.push_back({name, *skip_reason});
        } else {
            results.passed.push_back(name);
        }
        // Flushed at once: someone watches a long run, and a crash in the next case must not eat it.
        fmt::print("  {:<4} {:>8.3f} s  {}{}\n", verdict, took.count(), name, remark);
        std::fflush(stdout);
        results.running.clear();
        results.write();
    }

  private:
    void note_fatal(const Catch::AssertionStats &stats) {
        if (stats.assertionResult.getResultType() == Catch::ResultWas::FatalErrorCondition)
            died_ = true;
    }

    std::chrono::steady_clock::time_point started_;
    bool died_ = false;
};

CATCH_REGISTER_LISTENER(Listener)

} // namespace

void mps::test::skip(const std::string &reason) {
    skip_reason = reason;
#if __has_include(<catch2/catch_all.hpp>)
    SKIP(reason);
    std::abort(); // SKIP throws
#else
    // Version 2 ends a test case on this exception without counting anything as failed.
    throw Catch::TestFailureException{};
#endif
}

int main(int argc, char **argv) {
    results.binary = std::filesystem::path(argv[0]).filename().string();

    Catch::Session session;
    if (const int usage_error = session.applyCommandLine(argc, argv); usage_error != 0)
        return usage_error;
    const auto &config = session.configData();
    if (config.showHelp)
        return exit_passed;
#if __has_include(<catch2/catch_all.hpp>)
    const bool lists_only =
        config.listTests || config.listTags || config.listReporters || config.listListeners;
#else
    const bool lists_only =
        config.listTests || config.listTags || config.listReporters || config.listTestNamesOnly;
#endif
    const int catch_result = session.run();
    if (lists_only)
        return catch_result;

    results.complete = true;
    results.write();
    if (results.write_failed) {
        std::cerr << "The result file " << std::getenv("MPS_TEST_RESULT") << " could not be written.\n";
        return exit_no_result_file;
    }
    if (!results.failed.empty())
        return exit_failed;
    if (results.passed.empty() && results.skipped.empty()) {
        std::cerr << "No test case ran.\n";
        return exit_nothing_ran;
    }
    if (results.passed.empty())
        std::cout << "all test cases skipped\n";
    // Trouble that belongs to no test case, such as a bad reporter. Version 3 has codes of its own for
    // "all were skipped"; that is not trouble.
    if (catch_result != 0 && !results.passed.empty() && results.skipped.empty())
        return catch_result;
    return exit_passed;
}
