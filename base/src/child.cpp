// SPDX-License-Identifier: MIT
#include "base/child.hpp"

#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

namespace mps {

namespace {

std::vector<std::string> environment_with(const std::vector<std::string> &additions) {
    const auto name_of = [](std::string_view setting) { return setting.substr(0, setting.find('=')); };
    std::vector<std::string> all = additions;
    for (char **entry = environ; *entry; entry++)
        if (std::ranges::none_of(additions, [&](const auto &one) { return name_of(one) == name_of(*entry); }))
            all.emplace_back(*entry);
    return all;
}

std::vector<char *> pointers(std::vector<std::string> &words) {
    std::vector<char *> all;
    for (std::string &word : words)
        all.push_back(word.data());
    all.push_back(nullptr);
    return all;
}

// All that exec needs, made before fork(): in the child of a process with several threads nothing may be allocated.
struct Prepared {
    explicit Prepared(const Program &program)
        : words(program.words),
          settings(environment_with(program.environment)),
          argv(pointers(words)),
          environment(pointers(settings)) {}

    std::vector<std::string> words;
    std::vector<std::string> settings;
    std::vector<char *> argv;
    std::vector<char *> environment;
};

// Beyond the standard ones, which are about to become others; -1 of one that is closed.
int aside(int fd) { return ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1); }

bool take(int from, int number) {
    if (from < 0)
        ::close(number);
    return from < 0 || ::dup2(from, number) >= 0;
}

// One of them may be the number of another: all are put aside first.
bool take_standard_descriptors(const Program &program) {
    const int in = aside(program.in), out = aside(program.out), err = aside(program.err);
    return take(in, STDIN_FILENO) && take(out, STDOUT_FILENO) && take(err, STDERR_FILENO);
}

// In the child.
[[noreturn]] void become(const Program &program, const Prepared &prepared, int reported_through) {
    const int report = aside(reported_through);
    const auto give_up = [report](NotStarted::Step step) {
        const NotStarted why{step, errno};
        [[maybe_unused]] const auto written = ::write(report, &why, sizeof(why));
        ::_exit(127);
    };
    if (program.own_group)
        ::setpgid(0, 0);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    for (const int number : program.default_signals)
        ::signal(number, SIG_DFL);
    if (program.netns_fd >= 0 && ::setns(program.netns_fd, CLONE_NEWNET) != 0)
        give_up(NotStarted::Step::netns);
    if (!take_standard_descriptors(program))
        give_up(NotStarted::Step::process);
    ::execvpe(prepared.argv[0], prepared.argv.data(), prepared.environment.data());
    give_up(NotStarted::Step::program);
    ::_exit(127);
}

} // namespace

Fd open_process(pid_t pid) { return Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); }

Child::Child(Child &&other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      own_group_(other.own_group_),
      process_(std::move(other.process_)),
      ending_(std::exchange(other.ending_, {})) {}

Child &Child::operator=(Child &&other) noexcept {
    if (this != &other) {
        end();
        pid_ = std::exchange(other.pid_, -1);
        own_group_ = other.own_group_;
        process_ = std::move(other.process_);
        ending_ = std::exchange(other.ending_, {});
    }
    return *this;
}

std::expected<Child, NotStarted> Child::start(const Program &program) {
    if (program.words.empty())
        return std::unexpected(NotStarted{NotStarted::Step::program, ENOENT});
    auto report = make_pipe();
    if (!report)
        return std::unexpected(NotStarted{NotStarted::Step::process, report.error()});
    const Prepared prepared(program);
    const pid_t pid = ::fork();
    if (pid < 0)
        return std::unexpected(NotStarted{NotStarted::Step::process, errno});
    if (pid == 0)
        become(program, prepared, report->write.get());
    report->write.reset();
    Child child(pid, program.own_group);
    // Both sides do it, so that the group exists whoever is first.
    if (program.own_group)
        ::setpgid(pid, pid);
    // exec closes the other end.
    NotStarted why;
    ssize_t got = 0;
    while ((got = ::read(report->read.get(), &why, sizeof(why))) < 0 && errno == EINTR) {
    }
    if (got == static_cast<ssize_t>(sizeof(why)))
        return std::unexpected(why);
    return child;
}

std::optional<Ending> Child::wait(std::chrono::milliseconds longest) {
    if (pid_ <= 0 || ending_)
        return ending_ ? ending_ : Ending{};
    if (!process_)
        process_ = open_process(pid_);
    const auto until = std::chrono::steady_clock::now() + longest;
    for (pollfd ready{process_.get(), POLLIN, 0};;) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
        const auto most = std::chrono::milliseconds(std::numeric_limits<int>::max());
        const int found =
            ::poll(&ready, 1, static_cast<int>(std::clamp(left, std::chrono::milliseconds(0), most).count()));
        if (found > 0)
            return wait();
        if (found == 0 || errno != EINTR)
            return {};
    }
}

Ending Child::wait() {
    if (pid_ <= 0 || ending_)
        return ending_.value_or(Ending{});
    int status = 0;
    pid_t got = 0;
    while ((got = ::waitpid(pid_, &status, 0)) < 0 && errno == EINTR) {
    }
    // Of somebody who waited for every child nothing is left to tell.
    ending_ = got == pid_ ? Ending{.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
                                   .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0}
                          : Ending{};
    return *ending_;
}

bool Child::signal(int number) const { return pid_ > 0 && !ending_ && ::kill(pid_, number) == 0; }

void Child::end() {
    if (pid_ <= 0 || ending_)
        return;
    ::kill(own_group_ ? -pid_ : pid_, SIGKILL);
    (void)wait();
}

} // namespace mps
