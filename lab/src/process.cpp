// SPDX-License-Identifier: MIT
#include <mpsched/lab/process.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <thread>

#include <mpsched/lab/cleanup.hpp>
#include <mpsched/lab/fd.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

namespace mps::lab {
namespace {

struct Pipe {
    Fd read;
    Fd write;
};

Result<Pipe> make_pipe() {
    std::array<int, 2> fds{};
    if (::pipe2(fds.data(), O_CLOEXEC) != 0) {
        return os_error("make", "a pipe", errno);
    }
    return Pipe{Fd(fds[0]), Fd(fds[1])};
}

/// Between us and a child. The child's ends are `in.read` and the others' `write`.
struct Pipes {
    Pipe in;
    Pipe out;
    Pipe err;
    Pipe report; // says that exec failed, see StartFailure

    void close_childs_ends() {
        for (Fd *fd : {&in.read, &out.write, &err.write, &report.write}) {
            fd->reset();
        }
    }
};

/// Without input the child reads /dev/null.
Result<Pipes> make_pipes(bool with_input) {
    Pipes pipes;
    for (Pipe *pipe : {&pipes.in, &pipes.out, &pipes.err, &pipes.report}) {
        auto made = make_pipe();
        if (!made) {
            return std::unexpected(made.error());
        }
        *pipe = std::move(*made);
    }
    if (!with_input) {
        pipes.in.write.reset();
        pipes.in.read = Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    }
    return pipes;
}

// What the child reports through the start pipe when it does not get as far as exec.
struct StartFailure {
    int err;
    bool in_netns;
};

// Runs in the forked child of a possibly multi-threaded process: only async-signal-safe calls, no allocation.
[[noreturn]] void become(char *const *argv, char *const *envp, int netns_fd, int in, int out, int err,
                         int report) {
    const auto give_up = [report](bool in_netns) {
        const StartFailure failure{errno, in_netns};
        [[maybe_unused]] const auto written = ::write(report, &failure, sizeof(failure));
        ::_exit(127);
    };
    ::setpgid(0, 0);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    if (netns_fd >= 0 && ::setns(netns_fd, CLONE_NEWNET) != 0) {
        give_up(true);
    }
    if (::dup2(in, 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(err, 2) < 0) {
        give_up(false);
    }
    ::execvpe(argv[0], argv, envp);
    give_up(false);
    ::_exit(127);
}

std::vector<char *> pointers(std::vector<std::string> &strings) {
    std::vector<char *> result;
    result.reserve(strings.size() + 1);
    for (auto &s : strings) {
        result.push_back(s.data());
    }
    result.push_back(nullptr);
    return result;
}

std::vector<std::string> environment_with(const std::vector<std::pair<std::string, std::string>> &additions) {
    std::vector<std::string> result;
    for (char **entry = environ; *entry != nullptr; ++entry) {
        const std::string_view text(*entry);
        const auto key = text.substr(0, text.find('='));
        if (std::ranges::none_of(additions, [&](const auto &added) { return added.first == key; })) {
            result.emplace_back(text);
        }
    }
    for (const auto &[key, value] : additions) {
        result.push_back(key + "=" + value);
    }
    return result;
}

} // namespace

struct Process::Impl {
    std::string name;
    pid_t pid = -1;
    Fd pidfd;
    Fd ended; // eventfd: tells the pump that the child is dead and only what is in the pipes remains
    Fd in;
    Fd out;
    Fd err;
    std::string input;
    ProcessResult result;
    std::optional<int> wait_status;
    std::thread pump;
    CleanupGuard guard;

    ~Impl() {
        if (!wait_status) {
            ::kill(-pid, SIGKILL);
            reap(-1);
        }
        finish();
    }

    /// Returns when the child runs its program, or with what kept it from that.
    Result<void> await_start(const Fd &report) {
        StartFailure failure{};
        ssize_t got = 0;
        while ((got = ::read(report.get(), &failure, sizeof(failure))) < 0 && errno == EINTR) {
        }
        if (got != static_cast<ssize_t>(sizeof(failure)) && pidfd) {
            return {};
        }
        ::kill(-pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        wait_status = 0;
        if (got <= 0) {
            return os_error("watch", name, ENOSYS, "needs Linux 5.3 (pidfd_open)");
        }
        return failure.in_netns ? os_error("enter the network namespace for", name, failure.err)
                                : os_error("run", name, failure.err,
                                           failure.err == ENOENT ? "is it installed, and in PATH?" : "");
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

    bool reap(int timeout_ms) {
        pollfd ready{pidfd.get(), POLLIN, 0};
        if (::poll(&ready, 1, timeout_ms) <= 0) {
            return false;
        }
        int status = 0;
        while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
        wait_status = status;
        guard.dismiss();
        return true;
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
    auto pipes = make_pipes(!impl->input.empty());
    impl->ended = Fd(::eventfd(0, EFD_CLOEXEC));
    if (!pipes || !impl->ended) {
        return os_error("start", argv[0], EMFILE, "too many open files; raise `ulimit -n`");
    }
    auto environment = environment_with(options.environment);
    const auto argv_pointers = pointers(argv);
    const auto env_pointers = pointers(environment);

    const pid_t pid = ::fork();
    if (pid < 0) {
        return os_error("start", argv[0], errno);
    }
    if (pid == 0) {
        become(argv_pointers.data(), env_pointers.data(), options.netns_fd, pipes->in.read.get(),
               pipes->out.write.get(), pipes->err.write.get(), pipes->report.write.get());
    }
    impl->pid = pid;
    // Both sides do it, so that the group exists whoever is first.
    ::setpgid(pid, pid);
    impl->pidfd = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    pipes->close_childs_ends();
    if (auto started = impl->await_start(pipes->report.read); !started) {
        return std::unexpected(started.error());
    }
    impl->take(std::move(*pipes));
    impl->guard = CleanupGuard([pid] { ::kill(-pid, SIGKILL); });
    impl->pump = std::thread([raw = impl.get()] { raw->run_pump(); });
    return Process(std::move(impl));
}

pid_t Process::pid() const { return impl_->pid; }

bool Process::running() { return !impl_->wait_status && !impl_->reap(0); }

Result<ProcessResult> Process::wait(std::chrono::milliseconds timeout) {
    if (!impl_->wait_status && !impl_->reap(static_cast<int>(timeout.count()))) {
        return fail(fmt::format("{} still runs after {:.1f} s", impl_->name,
                                static_cast<double>(timeout.count()) / 1000),
                    "", ETIMEDOUT);
    }
    impl_->finish();
    auto result = std::move(impl_->result);
    const int status = impl_->wait_status.value_or(0);
    result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    result.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return result;
}

Result<void> Process::signal(int signal_number) {
    if (impl_->wait_status || ::kill(impl_->pid, signal_number) != 0) {
        return os_error("signal", impl_->name, ESRCH);
    }
    return {};
}

Result<ProcessResult> run_process(std::vector<std::string> argv, ProcessOptions options) {
    const auto timeout = options.timeout;
    const auto typed = shell_words(argv);
    auto process = Process::start(std::move(argv), std::move(options));
    if (!process) {
        return std::unexpected(process.error());
    }
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
