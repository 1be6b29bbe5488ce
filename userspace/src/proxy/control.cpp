// SPDX-License-Identifier: MIT
#include "proxy/control.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <fstream>
#include <utility>

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/descriptor.hpp"
#include "base/try.hpp"

namespace mps::proxy {

namespace {

constexpr std::string_view prefix = "mpsched/proxy/";
constexpr int patience_ms = 60'000;

struct Name {
    sockaddr_un address{};
    socklen_t size;

    // Abstract: the first octet is zero.
    explicit Name(const std::string &name) {
        const std::string text = fmt::format("{}{}", prefix, name);
        address.sun_family = AF_UNIX;
        const std::size_t length = text.copy(address.sun_path + 1, sizeof address.sun_path - 1);
        size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
    }
    [[nodiscard]] const sockaddr *get() const { return reinterpret_cast<const sockaddr *>(&address); }
};

Fd make_socket(int flags = 0) { return Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0)); }

// Whoever likes may make a socket of such a name, and connect to one.
bool is_root_or_us(int socket) {
    ucred peer{};
    socklen_t size = sizeof peer;
    return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == 0 || peer.uid == ::geteuid());
}

} // namespace

Result<Fd> listen_for_commands(const std::string &name) {
    Fd listener = make_socket(SOCK_NONBLOCK);
    const Name address(name);
    if (listener && ::bind(listener.get(), address.get(), address.size) == 0 &&
        ::listen(listener.get(), 8) == 0)
        return listener;
    if (errno == EADDRINUSE)
        return fail(ErrorKind::in_use,
                    fmt::format("the proxy {} runs already in this network namespace", name),
                    fmt::format("'mpsched proxy stop {}' ends it", name));
    return std::unexpected(system_error(errno, "listening for commands"));
}

Call take_call(int listener) {
    for (;;) {
        Call call{.caller = Fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC))};
        if (!call.caller)
            return call;
        // Who connects and says nothing is not waited for.
        pollfd said{.fd = call.caller.get(), .events = POLLIN, .revents = 0};
        std::array<char, 64> word{};
        if (!is_root_or_us(call.caller.get()) || ::poll(&said, 1, 1000) != 1)
            continue;
        const ssize_t length = ::recv(call.caller.get(), word.data(), word.size(), MSG_DONTWAIT);
        if (length <= 0)
            continue;
        call.word.assign(word.data(), static_cast<std::size_t>(length));
        return call;
    }
}

void reply(const Call &call, const Json &answer) {
    const std::string text = answer.dump(-1, ' ', false, Json::error_handler_t::replace);
    (void)::send(call.caller.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

Result<std::vector<std::string>> keepers() {
    // As unix(7): a leading zero octet is shown as '@'.
    std::ifstream sockets("/proc/thread-self/net/unix");
    if (!sockets)
        return std::unexpected(system_error(errno, "reading /proc/thread-self/net/unix"));
    std::vector<std::string> names;
    const std::string start = fmt::format(" @{}", prefix);
    for (std::string line; std::getline(sockets, line);) {
        const std::size_t at = line.find(start);
        const std::string name = at == std::string::npos ? "" : line.substr(at + start.size());
        // Callers that are connected show the name, too.
        if (!name.empty() && std::ranges::find(names, name) == names.end())
            names.push_back(name);
    }
    std::ranges::sort(names);
    return names;
}

namespace {

struct Asked {
    Fd socket{};
    Json answer{};
};

Result<Asked> ask(const std::string &name, std::string_view word) {
    Fd socket = make_socket();
    const Name address(name);
    if (!socket || ::connect(socket.get(), address.get(), address.size) != 0) {
        if (errno == ECONNREFUSED)
            return fail(ErrorCode::usage, fmt::format("no proxy {} runs in this network namespace", name),
                        "'mpsched proxy status' shows those that do");
        return std::unexpected(system_error(errno, fmt::format("reaching the proxy {}", name)));
    }
    if (!is_root_or_us(socket.get()))
        return fail(ErrorCode::not_permitted, fmt::format("the proxy {} runs as another user", name),
                    "ask as that user, or as root");
    std::string answer(1U << 18U, '\0');
    pollfd waiting{.fd = socket.get(), .events = POLLIN, .revents = 0};
    if (::send(socket.get(), word.data(), word.size(), MSG_NOSIGNAL) < 0 ||
        ::poll(&waiting, 1, patience_ms) != 1)
        return fail(ErrorKind::busy, fmt::format("the proxy {} does not answer", name), "try again");
    const ssize_t length = ::recv(socket.get(), answer.data(), answer.size(), 0);
    Json document =
        Json::parse(answer.substr(0, static_cast<std::size_t>(std::max<ssize_t>(length, 0))), nullptr, false);
    if (!document.is_object())
        return fail(ErrorCode::failed, fmt::format("the proxy {} ended instead of answering", name),
                    "'mpsched proxy status' shows what runs");
    return Asked{.socket = std::move(socket), .answer = std::move(document)};
}

} // namespace

Result<Json> ask_keeper(const std::string &name, std::string_view word) {
    auto asked = ask(name, word);
    MPS_TRY(asked);
    return std::move(asked->answer);
}

Result<RelayDoor> ask_for_relay(const std::string &name) {
    const auto asked = ask(name, "relay");
    MPS_TRY(asked);
    return RelayDoor{.pid = asked->answer.value("pid", -1),
                     .socket = asked->answer.value("answers", false) ? receive_descriptor(asked->socket.get())
                                                                     : Fd()};
}

} // namespace mps::proxy
