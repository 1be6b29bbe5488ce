// SPDX-License-Identifier: MIT
//
// Child processes. Errors are errno values: what they mean to a caller, the caller says.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/fd.hpp"

namespace mps {

// How a process came to its end.
struct Ending {
    int exit_code = -1; // -1: a signal ended it
    int signal = 0;     // the signal that ended it, 0 if it exited
};

// Readable once the process has ended (Linux 5.3). Empty with errno set if there is none.
[[nodiscard]] Fd open_process(pid_t pid);

struct Program {
    std::vector<std::string> words{}; // PATH is searched for the first
    // Of these its standard descriptors are copies; -1: closed.
    int in = STDIN_FILENO;
    int out = STDOUT_FILENO;
    int err = STDERR_FILENO;
    int netns_fd = -1; // the network namespace to enter before; -1 keeps ours. Mounts stay as they are
    bool own_group = false;
    std::vector<std::string> environment{};       // "NAME=value", in addition to ours
    std::vector<int> default_signals = {SIGPIPE}; // what an ignored signal of ours would not do there
};

// Why a program does not run.
struct NotStarted {
    enum class Step { process, netns, program } step = Step::process;
    int err = 0;
};

// A child of this process that nobody else waits for. The destructor ends it by SIGKILL, with its group if it has one of its own.
class Child {
  public:
    Child() = default;
    Child(Child &&other) noexcept;
    Child &operator=(Child &&other) noexcept;
    ~Child() { end(); }

    // Returns when the program runs.
    [[nodiscard]] static std::expected<Child, NotStarted> start(const Program &program);
    // A copy of this process, which ends with what `body` returns. Of a process with several threads only the calling one is
    // copied: `body` may do there what a signal handler may.
    template <class Body>
    [[nodiscard]] static std::expected<Child, int> fork(const Body &body) {
        const pid_t pid = ::fork();
        if (pid < 0)
            return std::unexpected(errno);
        if (pid == 0)
            ::_exit(body());
        return Child(pid, false);
    }

    [[nodiscard]] pid_t pid() const { return pid_; }
    // Nothing if it lives on after that time. Every call after the end tells the same.
    [[nodiscard]] std::optional<Ending> wait(std::chrono::milliseconds longest);
    [[nodiscard]] Ending wait();
    // To it alone. False if it has been waited for.
    bool signal(int number) const;
    // SIGKILL for it and its group, and waits.
    void end();

  private:
    Child(pid_t pid, bool own_group) : pid_(pid), own_group_(own_group) {}

    pid_t pid_ = -1; // -1: there is none
    bool own_group_ = false;
    Fd process_{};
    std::optional<Ending> ending_{};
};

} // namespace mps
