// SPDX-License-Identifier: MIT
// Copyright mpsched contributors

#include "process.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <stdexcept>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catch.hpp"

namespace mps::test {

namespace {

struct Pipe {
    std::array<int, 2> end{-1, -1};

    Pipe() {
        if (pipe2(end.data(), O_CLOEXEC) != 0)
            throw std::runtime_error("pipe2");
    }
    ~Pipe() {
        close_end(0);
        close_end(1);
    }
    Pipe(const Pipe &) = delete;
    Pipe &operator=(const Pipe &) = delete;

    void close_end(std::size_t which) {
        if (end[which] >= 0)
            close(end[which]);
        end[which] = -1;
    }
};

// In the child: nothing but system calls, and no return.
[[noreturn]] void become(const std::vector<std::string> &words, const RunOptions &options, int in, int out,
                         int err) {
    // As from a shell: Catch2 or a runner may have changed them.
    std::signal(SIGPIPE, SIG_DFL);
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    dup2(in, STDIN_FILENO);
    dup2(err, STDERR_FILENO);
    switch (options.output) {
    case RunOptions::Output::pipe:
    case RunOptions::Output::broken_pipe:
        dup2(out, STDOUT_FILENO);
        break;
    case RunOptions::Output::closed:
        close(STDOUT_FILENO);
        break;
    case RunOptions::Output::full_device:
        dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO);
        break;
    }
    for (const std::string &one : options.environment)
        putenv(const_cast<char *>(one.c_str()));
    std::vector<char *> arguments;
    for (const std::string &word : words)
        arguments.push_back(const_cast<char *>(word.c_str()));
    arguments.push_back(nullptr);
    execvp(arguments[0], arguments.data());
    _exit(127);
}

} // namespace

Outcome run(const std::vector<std::string> &words, const RunOptions &options) {
    Pipe in, out, err;
    if (options.output == RunOptions::Output::broken_pipe)
        out.close_end(0);
    const pid_t child = fork();
    if (child < 0)
        throw std::runtime_error("fork");
    if (child == 0)
        become(words, options, in.end[0], out.end[1], err.end[1]);
    in.close_end(0);
    out.close_end(1);
    err.close_end(1);
    if (!options.input.empty() && write(in.end[1], options.input.data(), options.input.size()) !=
                                      static_cast<ssize_t>(options.input.size()))
        throw std::runtime_error("write");
    in.close_end(1);

    Outcome outcome;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    std::array<pollfd, 2> fds{{{out.end[0], POLLIN, 0}, {err.end[0], POLLIN, 0}}};
    bool timed_out = false;
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        if (std::chrono::steady_clock::now() > deadline) {
            timed_out = true;
            kill(child, SIGKILL);
            break;
        }
        if (poll(fds.data(), fds.size(), 100) <= 0)
            continue;
        for (std::size_t i = 0; i < fds.size(); i++) {
            if (fds[i].fd < 0 || fds[i].revents == 0)
                continue;
            std::array<char, 4096> buffer;
            const ssize_t got = read(fds[i].fd, buffer.data(), buffer.size());
            if (got <= 0) {
                fds[i].fd = -1;
                continue;
            }
            (i == 0 ? outcome.out : outcome.err).append(buffer.data(), static_cast<std::size_t>(got));
            if (i == 1 && options.on_error_output)
                options.on_error_output(child, outcome.err);
        }
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (timed_out)
        FAIL("the program did not end within 20 seconds");
    if (WIFEXITED(status))
        outcome.exit_code = WEXITSTATUS(status);
    if (WIFSIGNALED(status))
        outcome.signal = WTERMSIG(status);
    return outcome;
}

} // namespace mps::test
