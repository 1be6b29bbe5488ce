// SPDX-License-Identifier: MIT
// Copyright mpsched contributors

#include "process.hpp"

#include <array>
#include <chrono>
#include <csignal>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "base/child.hpp"
#include "base/errno.hpp"
#include "base/fd.hpp"
#include "catch.hpp"

namespace mps::test {

namespace {

Pipe new_pipe() {
    auto made = make_pipe();
    if (!made)
        FAIL("no pipe: " << errno_name(made.error()));
    return std::move(*made);
}

} // namespace

Outcome run(const std::vector<std::string> &words, const RunOptions &options) {
    Pipe in = new_pipe(), out = new_pipe(), err = new_pipe();
    const Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
    if (options.output == RunOptions::Output::broken_pipe)
        out.read.reset();
    auto child = Child::start({.words = words,
                               .in = in.read.get(),
                               .out = options.output == RunOptions::Output::closed        ? -1
                                      : options.output == RunOptions::Output::full_device ? full.get()
                                                                                          : out.write.get(),
                               .err = err.write.get(),
                               .environment = options.environment,
                               // As from a shell: Catch2 or a runner may have changed them.
                               .default_signals = {SIGPIPE, SIGINT, SIGTERM}});
    if (!child)
        FAIL(words[0] << " does not start: " << errno_name(child.error().err));
    for (Fd *theirs : {&in.read, &out.write, &err.write})
        theirs->reset();
    if (!options.input.empty() && write(in.write.get(), options.input.data(), options.input.size()) !=
                                      static_cast<ssize_t>(options.input.size()))
        FAIL("its input cannot be written");
    in.write.reset();

    Outcome outcome;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    std::array<pollfd, 2> fds{{{out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}}};
    bool timed_out = false;
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        if (std::chrono::steady_clock::now() > deadline) {
            timed_out = true;
            child->end();
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
                options.on_error_output(child->pid(), outcome.err);
        }
    }
    if (timed_out)
        FAIL("the program did not end within 20 seconds");
    static_cast<Ending &>(outcome) = child->wait();
    return outcome;
}

} // namespace mps::test
