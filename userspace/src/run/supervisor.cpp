// SPDX-License-Identifier: MIT
#include "run/supervisor.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <new>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/child.hpp"
#include "base/descriptor.hpp"
#include "run/answer.hpp"

namespace mps::run {

namespace {

std::unexpected<Error> failed(const char *what) {
    return fail(ErrorCode::failed, fmt::format("cannot {}: {}", what, std::generic_category().message(errno)),
                "see 'ulimit -a' and free memory");
}

void receive_and_answer(int listener, Ledger &ledger) {
    // A newer kernel may tell more of a call than we know of; what it writes into must be zero.
    alignas(seccomp_notif) std::array<std::byte, 1024> room{};
    if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, room.data()) != 0)
        return; // its process is gone
    seccomp_notif call{};
    std::memcpy(&call, room.data(), sizeof(call));
    // The first call is begin()'s.
    if (ledger.last == 0)
        let_go_on(listener, call.id);
    else
        answer(listener, call, ledger);
    ledger.last = call.id;
}

// A call that the other one had fetched when it was killed would wait for ever. Which that was is not known: it may have been killed before
// it could write anything down. But numbers go up by one (seccomp_next_notify_id(), kernel/seccomp.c), those up to the last one are answered, and
// of what nobody has fetched yet the kernel refuses the answer.
void finish_what_was_begun(int listener, Ledger &ledger) {
    constexpr std::uint64_t most = 1024; // calls whose process ended before they were fetched leave gaps
    const std::uint64_t last = ledger.last;
    for (std::uint64_t id = last + 1; last != 0 && id <= last + most; id++)
        if (let_go_on(listener, id)) {
            ledger.count(Plain::unhandled);
            ledger.last = id;
        }
}

void tell_all(Ledger &ledger, const Ending &ending) {
    if (ending.add)
        ending.add(ledger);
    if (ending.tell == Tell::text)
        fmt::print(stderr, "mpsched run: {}\n", text_of(ledger));
    else if (ending.tell == Tell::json)
        fmt::print(stderr, "{}\n", json_of(ledger, ending.way).dump());
}

struct Job {
    int listener;
    Ledger *ledger;
    const Ending *ending;
};

[[noreturn]] void end(const Ending &ending) {
    if (ending.then)
        ending.then();
    ::_exit(0);
}

// The one that stands in. Returns when the other is gone; ends with the last process under the filter.
void stand_by(const Job &job, int worker) {
    for (;;) {
        std::array<pollfd, 2> watched{{{job.listener, 0, 0}, {worker, POLLIN, 0}}};
        if (::poll(watched.data(), watched.size(), -1) < 0)
            continue;
        if ((watched[0].revents & POLLHUP) != 0)
            ::_exit(0);
        if (watched[1].revents != 0)
            return;
    }
}

// Splits this process into the one that works, which returns with a descriptor of the other, and the one that stands in, which
// returns when it has to work itself.
Fd make_stand_in(const Job &job) {
    for (;;) {
        const pid_t worker = ::getpid();
        const Fd self = open_process(worker);
        const pid_t other = ::fork();
        if (other != 0)
            return other > 0 ? open_process(other) : Fd();
        // A session of its own, so that a signal for the group of one does not meet both.
        ::setsid();
        if (self)
            stand_by(job, self.get());
        finish_what_was_begun(job.listener, *job.ledger);
    }
}

[[noreturn]] void work(const Job &job) {
    Fd other = make_stand_in(job);
    for (;;) {
        std::array<pollfd, 2> watched{{{job.listener, POLLIN, 0}, {other.get(), POLLIN, 0}}};
        if (::poll(watched.data(), watched.size(), -1) < 0)
            continue;
        if ((watched[0].revents & POLLIN) != 0)
            receive_and_answer(job.listener, *job.ledger);
        else if ((watched[0].revents & POLLHUP) != 0)
            break;
        if (watched[1].revents != 0) {
            while (::waitpid(-1, nullptr, WNOHANG) > 0)
                ;
            other = make_stand_in(job);
        }
    }
    tell_all(*job.ledger, *job.ending);
    end(*job.ending);
}

// The only descriptors that are left beside the standard ones.
constexpr int channel_number = 3, kept_number = 4;

// Nothing that the caller waits for the end of stays open but standard error, and no signal from the terminal or of a service that
// stops ends us before those that need us.
void detach_from_caller(int channel, int kept) {
    ::setsid();
    for (const int number : {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE, SIGTSTP, SIGTTOU})
        ::signal(number, SIG_IGN);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGCHLD, SIG_DFL);
    ::prctl(PR_SET_NAME, "mpsched-run");
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    ::dup2(null, STDIN_FILENO);
    ::dup2(null, STDOUT_FILENO);
    // Above what is given, so that neither is closed by the other.
    const int above = ::fcntl(kept, F_DUPFD_CLOEXEC, kept_number);
    ::dup2(channel, channel_number);
    if (above >= 0 && above != kept_number)
        ::dup2(above, kept_number);
    ::syscall(SYS_close_range, above >= 0 ? kept_number + 1 : kept_number, ~0U, 0);
    if (::chdir("/") != 0)
        ::_exit(1);
}

[[noreturn]] void supervise(int channel, const Ending &ending) {
    detach_from_caller(channel, ending.kept);
    if (ending.first)
        ending.first();
    void *memory = ::mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    Fd mine(channel_number);
    const Fd listener = receive_descriptor(mine.get());
    // Whoever reads this may start the command.
    const char ready = 1;
    if (memory == MAP_FAILED || !listener || ::send(mine.get(), &ready, 1, MSG_NOSIGNAL) != 1)
        end(ending);
    mine.reset();
    work({.listener = listener.get(), .ledger = new (memory) Ledger, .ending = &ending});
}

} // namespace

Result<Supervisor> Supervisor::start(const Ending &ending) {
    auto ends = make_socket_pair(SOCK_SEQPACKET);
    if (!ends)
        return failed("make a pair of sockets");
    auto &[ours, theirs] = *ends;
    // A process between ends at once, so that nobody has to wait for the supervisor.
    auto between = Child::fork([&] {
        ours.reset();
        const pid_t supervisor = ::fork();
        if (supervisor == 0)
            supervise(theirs.get(), ending);
        return supervisor < 0 ? 1 : 0;
    });
    if (!between || between->wait().exit_code != 0)
        return failed("start the supervisor");
    return Supervisor(std::move(ours));
}

Result<void> Supervisor::begin(Fd listener) const {
    char ready = 0;
    if (!send_descriptor(channel_.get(), listener.get()) || ::recv(channel_.get(), &ready, 1, 0) != 1)
        return failed("reach the supervisor");
    // So that it knows the number of a call, from which it knows those of all others: one that every filter asks about, and that does nothing.
    ::setsockopt(-1, IPPROTO_TCP, TCP_REPAIR, nullptr, 0);
    return {};
}

} // namespace mps::run
