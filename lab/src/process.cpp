// SPDX-License-Identifier: MIT
#include <mpsched/lab/process.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <optional>
#include <thread>

#include <mpsched/lab/cleanup.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/child.hpp"
#include "base/fd.hpp"
#include "base/try.hpp"

namespace mps::lab {
namespace {

std::unexpected<Error> not_started(const std::string &name, const NotStarted &why) {
    switch (why.step) {
    case NotStarted::Step::netns:
        return os_error("enter the network namespace for", name, why.err);
    case NotStarted::Step::program:
        return os_error("run", name, why.err, why.err == ENOENT ? "is it installed, and in PATH?" : "");
    case NotStarted::Step::process:
        break;
    }
    return os_error("start", name, why.err);
}

/// A pipe for each standard descriptor. Without input the child reads /dev/null.
struct Pipes {
    Pipe in;
    Pipe out;
    Pipe err;

    static Result<Pipes> make(bool with_input) {
        Pipes pipes;
        for (Pipe *pipe : {&pipes.in, &pipes.out, &pipes.err}) {
            auto made = make_pipe();
            if (!made) {
                return os_error("make", "a pipe", made.error(), "raise `ulimit -n`");
            }
            *pipe = std::move(*made);
        }
        if (!with_input) {
            pipes.in.write.reset();
            pipes.in.read = Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        }
        return pipes;
    }
};

} // namespace

struct Process::Impl {
    std::string name;
    Child child;
    Fd ended; // eventfd: tells the pump that the child is dead and only what is in the pipes remains
    Fd in;
    Fd out;
    Fd err;
    std::string input;
    ProcessResult result;
    std::thread pump;
    CleanupGuard guard;

    ~Impl() {
        child.end();
        finish();
    }

    /// Our ends of the pipes.
    void take(Pipes pipes) {
        out = std::move(pipes.out.read);
        err = std::move(pipes.err.read);
        in = std::move(pipes.in.write);
        for (const Fd *fd : {&out, &err, &in}) {
            if (*fd) {
                ::fcntl(fd->get(), F_SETFL, O_NONBLOCK);
            }
        }
    }

    std::optional<Ending> reap(std::chrono::milliseconds longest) {
        auto ending = child.wait(longest);
        if (ending) {
            guard.dismiss();
        }
        return ending;
    }

    void finish() {
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto written = ::write(ended.get(), &one, sizeof(one));
        if (pump.joinable()) {
            pump.join();
        }
    }

    // True while there may be more to read.
    static bool drain(Fd &fd, std::string &into) {
        std::array<char, 16384> buffer;
        for (;;) {
            const auto n = ::read(fd.get(), buffer.data(), buffer.size());
            if (n > 0) {
                into.append(buffer.data(), static_cast<std::size_t>(n));
            } else if (n < 0 && errno == EINTR) {
                continue;
            } else if (n < 0 && errno == EAGAIN) {
                return true;
            } else {
                fd.reset();
                return false;
            }
        }
    }

    void feed(std::size_t &offset) {
        const auto n = ::write(in.get(), input.data() + offset, input.size() - offset);
        if (n > 0) {
            offset += static_cast<std::size_t>(n);
        }
        if ((n < 0 && errno != EAGAIN && errno != EINTR) || offset == input.size()) {
            in.reset();
        }
    }

    void run_pump() {
        // The child may close its input early; that must be an error code here, not a signal to the whole
        // process.
        sigset_t pipe_signal;
        sigemptyset(&pipe_signal);
        sigaddset(&pipe_signal, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &pipe_signal, nullptr);
        std::size_t offset = 0;
        while (out || err) {
            // Closed descriptors are -1, which poll ignores.
            std::array<pollfd, 4> fds{{{ended.get(), POLLIN, 0},
                                       {out.get(), POLLIN, 0},
                                       {err.get(), POLLIN, 0},
                                       {in.get(), POLLOUT, 0}}};
            if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) {
                break;
            }
            if (fds[3].revents != 0) {
                feed(offset);
            }
            if (fds[1].revents != 0) {
                drain(out, result.out);
            }
            if (fds[2].revents != 0) {
                drain(err, result.err);
            }
            if (fds[0].revents != 0) {
                // A grandchild may hold the pipes open for ever; the child itself has written all it will.
                if (out) {
                    drain(out, result.out);
                }
                if (err) {
                    drain(err, result.err);
                }
                break;
            }
        }
    }
};

Process::Process(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Process::Process(Process &&) noexcept = default;
Process &Process::operator=(Process &&) noexcept = default;
Process::~Process() = default;

Result<Process> Process::start(std::vector<std::string> argv, ProcessOptions options) {
    if (argv.empty()) {
        return fail("no command to run");
    }
    auto impl = std::make_unique<Impl>();
    impl->name = argv[0];
    impl->input = std::move(options.input);
    auto pipes = Pipes::make(!impl->input.empty());
    MPS_TRY(pipes);
    impl->ended = Fd(::eventfd(0, EFD_CLOEXEC));
    if (!impl->ended) {
        return os_error("start", argv[0], errno);
    }
    Program program{.words = std::move(argv),
                    .in = pipes->in.read.get(),
                    .out = pipes->out.write.get(),
                    .err = pipes->err.write.get(),
                    .netns_fd = options.netns_fd,
                    .own_group = true};
    for (const auto &[key, value] : options.environment) {
        program.environment.push_back(key + "=" + value);
    }
    auto child = Child::start(program);
    if (!child) {
        return not_started(impl->name, child.error());
    }
    impl->child = std::move(*child);
    impl->take(std::move(*pipes));
    impl->guard = CleanupGuard([pid = impl->child.pid()] { ::kill(-pid, SIGKILL); });
    impl->pump = std::thread([raw = impl.get()] { raw->run_pump(); });
    return Process(std::move(impl));
}

pid_t Process::pid() const { return impl_->child.pid(); }

bool Process::running() { return !impl_->reap(std::chrono::milliseconds(0)); }

Result<ProcessResult> Process::wait(std::chrono::milliseconds timeout) {
    const auto ending = impl_->reap(timeout);
    if (!ending) {
        return fail(fmt::format("{} still runs after {:.1f} s", impl_->name,
                                static_cast<double>(timeout.count()) / 1000),
                    "", ETIMEDOUT);
    }
    impl_->finish();
    auto result = std::move(impl_->result);
    static_cast<Ending &>(result) = *ending;
    return result;
}

Result<void> Process::signal(int signal_number) {
    if (!impl_->child.signal(signal_number)) {
        return os_error("signal", impl_->name, ESRCH);
    }
    return {};
}

Result<ProcessResult> run_process(std::vector<std::string> argv, ProcessOptions options) {
    const auto timeout = options.timeout;
    const auto typed = shell_words(argv);
    auto process = Process::start(std::move(argv), std::move(options));
    MPS_TRY(process);
    auto result = process->wait(timeout);
    if (!result) {
        return fail(fmt::format("`{}` did not end within {:.1f} s and was killed", typed,
                                static_cast<double>(timeout.count()) / 1000),
                    "", ETIMEDOUT);
    }
    return result;
}

Result<ProcessResult> run_checked(std::vector<std::string> argv, ProcessOptions options) {
    const auto typed = shell_words(argv);
    auto result = run_process(std::move(argv), std::move(options));
    if (!result || result->ok()) {
        return result;
    }
    const auto how = result->signal != 0 ? fmt::format("was ended by signal {}", result->signal)
                                         : fmt::format("failed with status {}", result->exit_code);
    auto said = !result->err.empty() ? result->err : result->out;
    while (!said.empty() && said.back() == '\n') {
        said.pop_back();
    }
    return fail(fmt::format("`{}` {}{}{}", typed, how, said.empty() ? "" : ": ", said));
}

std::string shell_words(const std::vector<std::string> &argv) {
    std::string line;
    for (const auto &word : argv) {
        if (!line.empty()) {
            line += ' ';
        }
        const bool plain =
            !word.empty() &&
            word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                   "-_=+./:,@%") == std::string::npos;
        if (plain) {
            line += word;
            continue;
        }
        line += '\'';
        for (const char c : word) {
            line += c == '\'' ? std::string("'\\''") : std::string(1, c);
        }
        line += '\'';
    }
    return line;
}

} // namespace mps::lab
