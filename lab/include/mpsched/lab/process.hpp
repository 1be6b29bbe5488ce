// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <mpsched/lab/error.hpp>

#include "base/child.hpp"

namespace mps::lab {

struct ProcessOptions {
    int netns_fd = -1;      ///< network namespace to enter before exec; -1 keeps ours
    std::string input = {}; ///< written to standard input, which is /dev/null when empty
    std::vector<std::pair<std::string, std::string>> environment = {}; ///< added to ours
    /// Of run_process(): then the child is killed.
    std::chrono::milliseconds timeout = std::chrono::seconds(30);
};

struct ProcessResult : Ending {
    std::string out;
    std::string err;

    bool ok() const { return exit_code == 0; }
};

/// A child process in a process group of its own (Ctrl-C in a terminal reaches us, not it). The destructor
/// kills it and reaps it. Only the network namespace is entered, never the mount namespace as `ip netns exec`
/// does: bpffs and cgroups stay visible.
class Process {
  public:
    /// Fails when argv[0] cannot be executed.
    static Result<Process> start(std::vector<std::string> argv, ProcessOptions options = {});

    Process(Process &&) noexcept;
    Process &operator=(Process &&) noexcept;
    ~Process();

    pid_t pid() const;
    bool running();
    /// Waits for the end and hands back what it printed. Error ETIMEDOUT leaves the process running. Call it
    /// until it succeeded, once.
    Result<ProcessResult> wait(std::chrono::milliseconds timeout);
    Result<void> signal(int signal_number);

  private:
    struct Impl;
    explicit Process(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// Runs to completion. A non-zero exit status is a result, not an error; not starting or a time-out is an
/// error.
Result<ProcessResult> run_process(std::vector<std::string> argv, ProcessOptions options = {});

/// The same for commands that have to succeed: a non-zero status becomes an Error quoting standard error.
Result<ProcessResult> run_checked(std::vector<std::string> argv, ProcessOptions options = {});

/// As typed in a shell: arguments with spaces or special characters are quoted.
std::string shell_words(const std::vector<std::string> &argv);

} // namespace mps::lab
