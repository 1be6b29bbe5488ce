// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// The command line as a process, with the fake loader, which needs no rights.
#pragma once

#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "base/fd.hpp"
#include "base/files.hpp"
#include "process.hpp"
#include "temporary_folder.hpp"

namespace mps::test {

using Json = nlohmann::json;
using Words = std::vector<std::string>;

[[nodiscard]] Outcome fake(Words words, const RunOptions &options = {});

// Exactly one document, or the test fails.
[[nodiscard]] Json document(const Outcome &outcome);

// What docs/mpsched.schema.json says.
[[nodiscard]] Json described();

// What `reload` and `status` talk to, at the place where an mpschedd for the fake loader's network namespace would be.
class FakeService {
  public:
    FakeService();
    ~FakeService();
    FakeService(const FakeService &) = delete;
    FakeService &operator=(const FakeService &) = delete;

  private:
    void serve() const;

    TemporaryFolder folder_ = temporary_folder("cli");
    Fd socket_;
    std::thread thread_;
};

// A file for the fake loader's calls.
class CallLog {
  public:
    CallLog() : path_(std::filesystem::temp_directory_path() / ("mpsched-cli-" + std::to_string(getpid()))) {
        std::filesystem::remove(path_);
    }
    ~CallLog() { std::filesystem::remove(path_); }
    CallLog(const CallLog &) = delete;
    CallLog &operator=(const CallLog &) = delete;

    [[nodiscard]] std::string setting() const { return "MPS_FAKE_LOG=" + path_.string(); }
    [[nodiscard]] std::string text() const {
        // Nothing has been called before it is there.
        return read_file(path_).value_or("");
    }

  private:
    std::filesystem::path path_;
};

} // namespace mps::test
