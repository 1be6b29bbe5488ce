// SPDX-License-Identifier: MIT

#include "service/store/watcher.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "service/store/session.hpp"

namespace mps::service::store {

namespace {

using Json = nlohmann::json;

// A value of 1 MiB, every byte of it escaped.
constexpr std::size_t most_pending_bytes = 8 << 20;

// root without capabilities still owns root's files, but enters, attaches and loads nothing.
bool drop_capabilities() {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, 2> none{};
    return !::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
           !::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) &&
           !::syscall(SYS_capset, &header, none.data());
}

// Nothing of what the service has open but standard error and the way to it. Returns that.
Fd close_all_but(int socket) {
    constexpr int place = STDERR_FILENO + 1;
    if (socket != place)
        ::dup3(socket, place, O_CLOEXEC);
    ::close_range(place + 1, ~0u, 0);
    return Fd(place);
}

int be_the_process(const WatcherOptions &options, int socket, pid_t parent) {
    ::prctl(PR_SET_NAME, "mpschedd-store");
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent || !drop_capabilities())
        return 1;
    // Whoever ends the service from a terminal means the service; this one ends with it.
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        std::signal(signal, SIG_IGN);
    run_session(options, close_all_but(socket));
    return 0;
}

Message message_of(const Json &line) {
    Message message{.reached = line.value("reached", false)};
    if (line.contains("error"))
        message.error = Error{.what = line.value("error", "")};
    if (line.contains("revision"))
        message.value = Value{
            .cluster = line.value("cluster", ""),
            .revision = line.value("revision", std::int64_t{0}),
            .contents = line.contains("contents") ? std::optional(line.value("contents", "")) : std::nullopt};
    return message;
}

} // namespace

Result<Watcher> Watcher::start(const WatcherOptions &options) {
    auto ends = make_socket_pair(SOCK_STREAM);
    if (!ends)
        return std::unexpected(system_error(ends.error(), "making a socket"));
    auto &[ours, theirs] = *ends;
    auto process = Child::fork([&options, socket = theirs.get(), parent = ::getpid()] {
        return be_the_process(options, socket, parent);
    });
    if (!process)
        return std::unexpected(system_error(process.error(), "starting the process that talks to the store"));
    return Watcher(std::move(*process), std::move(ours));
}

Result<std::vector<Message>> Watcher::receive() {
    std::array<char, 65536> buffer;
    bool gone = false;
    for (;;) {
        const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        gone = got == 0;
        if (got <= 0)
            break;
        pending_.append(buffer.data(), static_cast<std::size_t>(got));
    }
    std::vector<Message> all;
    for (std::size_t end; (end = pending_.find('\n')) != pending_.npos; pending_.erase(0, end + 1))
        if (const Json line = Json::parse(pending_.substr(0, end), nullptr, false); line.is_object())
            all.push_back(message_of(line));
    if ((gone && all.empty()) || pending_.size() > most_pending_bytes)
        return fail(ErrorCode::failed, "the process that talks to the store is gone");
    return all;
}

void Watcher::report(const std::string &line) const {
    const std::string whole = line + "\n";
    // If it does not read, it is not reaching the store either, and the next report says all that this one would.
    (void)::send(socket_.get(), whole.data(), whole.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

} // namespace mps::service::store
