// SPDX-License-Identifier: MIT
#include "proxy/clients.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>

#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/addresses.hpp"
#include "base/fd.hpp"
#include "base/try.hpp"
#include "mpsched/proxy.hpp"
#include "proxy/control.hpp"

namespace mps::proxy {

namespace {

using namespace std::chrono_literals;

constexpr std::string_view near_end = "near";
constexpr auto patience = 3s;
// Of some 32,000 sessions.
constexpr std::size_t longest_answer = 64U << 20U;

// ---- what haproxy says

template <class Number>
std::optional<Number> number_after(std::string_view line, std::string_view mark) {
    const std::size_t at = line.find(mark);
    Number number{};
    if (at == std::string_view::npos ||
        std::from_chars(line.data() + at + mark.size(), line.data() + line.size(), number).ec != std::errc{})
        return std::nullopt;
    return number;
}

// haproxy writes IPv6 without brackets.
std::string endpoint_of(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos)
        return {};
    const std::string_view address = text.substr(0, colon), port = text.substr(colon + 1);
    return address.contains(':') ? fmt::format("[{}]:{}", address, port)
                                 : fmt::format("{}:{}", address, port);
}

Result<std::string> answer_of(const Fd &door, std::string_view command) {
    const std::string line = fmt::format("{}\n", command);
    std::string answer;
    std::array<char, 65536> buffer;
    const auto end = std::chrono::steady_clock::now() + patience;
    bool is_whole = ::send(door.get(), line.data(), line.size(), MSG_NOSIGNAL) > 0;
    while (is_whole && answer.size() < longest_answer) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
        pollfd ready{.fd = door.get(), .events = POLLIN, .revents = 0};
        is_whole = left > 0ms && ::poll(&ready, 1, static_cast<int>(left.count())) == 1;
        const ssize_t length = is_whole ? ::read(door.get(), buffer.data(), buffer.size()) : -1;
        if (length == 0)
            return answer;
        is_whole = length > 0;
        if (is_whole)
            answer.append(buffer.data(), static_cast<std::size_t>(length));
    }
    return fail(ErrorKind::busy, "the relay does not answer", "");
}

struct Told {
    pid_t relay = -1;
    std::vector<Session> sessions{};
};

Result<Told> ask(const std::string &proxy) {
    const auto relay = ask_for_relay(proxy);
    MPS_TRY(relay);
    if (!relay->socket)
        return fail(ErrorKind::busy, "there is no relay that answers", "");
    const auto answer = answer_of(relay->socket, "show sess all");
    MPS_TRY(answer);
    return Told{.relay = relay->pid, .sessions = sessions_of(*answer, proxy)};
}

// ---- what the kernel says of a socket

constexpr int sol_mptcp = 284, mptcp_info_option = 1;

std::optional<std::uint32_t> token_of(int socket) {
    // struct mptcp_info, as far as its token (include/uapi/linux/mptcp.h; 5.16).
    struct {
        std::array<std::uint8_t, 8> numbers;
        std::uint32_t flags, token;
    } info{};
    socklen_t size = sizeof info;
    if (::getsockopt(socket, sol_mptcp, mptcp_info_option, &info, &size) != 0 || size < sizeof info)
        return std::nullopt;
    return info.token;
}

std::string endpoint_text_of(const sockaddr_storage &address) {
    if (address.ss_family == AF_INET) {
        const auto &v4 = reinterpret_cast<const sockaddr_in &>(address);
        return fmt::format("{}:{}", address_text(AF_INET, &v4.sin_addr), ntohs(v4.sin_port));
    }
    const auto &v6 = reinterpret_cast<const sockaddr_in6 &>(address);
    std::array<std::uint8_t, 16> octets{};
    std::memcpy(octets.data(), &v6.sin6_addr, octets.size());
    return endpoint_text(octets, ntohs(v6.sin6_port));
}

std::string ends_of(const std::string &local, const std::string &remote) { return local + " " + remote; }

std::string ends_of(int socket) {
    sockaddr_storage local{}, remote{};
    socklen_t local_size = sizeof local, remote_size = sizeof remote;
    if (::getsockname(socket, reinterpret_cast<sockaddr *>(&local), &local_size) != 0 ||
        ::getpeername(socket, reinterpret_cast<sockaddr *>(&remote), &remote_size) != 0)
        return {};
    return ends_of(endpoint_text_of(local), endpoint_text_of(remote));
}

Fd call(long number, long first, long second) {
    return Fd(static_cast<int>(::syscall(number, first, second, 0)));
}

} // namespace

std::vector<Session> sessions_of(std::string_view answer, std::string_view proxy) {
    std::vector<Session> found;
    Session one;
    bool is_ours = false, at_server = false;
    const auto finish = [&] {
        if (is_ours && !one.client.empty())
            found.push_back(one);
        one = {};
        is_ours = at_server = false;
    };
    const std::string frontend = fmt::format("frontend={} ", proxy);
    while (!answer.empty()) {
        const std::size_t end = std::min(answer.find('\n'), answer.size());
        const std::string_view line = answer.substr(0, end);
        answer.remove_prefix(std::min(end + 1, answer.size()));
        // Each session begins at the margin.
        if (line.starts_with("0x")) {
            finish();
            one.id = number_after<std::uint64_t>(line, " id=").value_or(0);
            if (const std::size_t at = line.find("source="); at != std::string_view::npos)
                one.client = endpoint_of(line.substr(at + 7));
        } else if (line.contains(frontend)) {
            is_ours = true;
        } else if (line.contains(" co1=")) {
            at_server = true;
        } else if (const auto fd = at_server ? number_after<int>(line, " fd=") : std::nullopt) {
            one.to_server = *fd;
            at_server = false;
        }
    }
    finish();
    return found;
}

void Clients::add(const std::string &proxy, std::vector<std::string> &warnings) {
    const auto cannot = [&](const std::string &why) {
        warnings.push_back(
            fmt::format("whose connections those of the proxy {} are cannot be told: {}", proxy, why));
    };
    const auto before = ask(proxy);
    if (!before)
        return cannot(before.error().what);
    struct Socket {
        Session session;
        std::optional<std::uint32_t> token;
        std::string ends;
    };
    std::vector<Socket> sockets;
    const Fd relay = call(SYS_pidfd_open, before->relay, 0);
    for (const Session &session : before->sessions) {
        const int theirs = session.to_server;
        const Fd socket = theirs < 0 ? Fd() : call(SYS_pidfd_getfd, relay.get(), theirs);
        if (theirs >= 0 && !socket && errno == EPERM)
            return cannot("looking at the relay's sockets needs CAP_SYS_PTRACE");
        if (socket)
            sockets.push_back({session, token_of(socket.get()), ends_of(socket.get())});
    }
    // A number may be another socket's by now. One that was the same session's before and afterwards was so in between.
    const auto after = ask(proxy);
    if (!after)
        return cannot(after.error().what);
    for (const Socket &socket : sockets) {
        if (std::ranges::find(after->sessions, socket.session) == after->sessions.end())
            continue;
        const Client client{.address = socket.session.client, .proxy = proxy};
        if (socket.token)
            by_token_.insert_or_assign(*socket.token, client);
        else
            by_ends_.insert_or_assign(socket.ends, client);
    }
}

Clients Clients::look(const std::string &netns, std::vector<std::string> &warnings) {
    Clients all;
    // A network namespace is a thread's.
    std::thread([&] {
        if (!netns.empty() && !move_to_netns(netns))
            return;
        if (const auto names = keepers())
            if (std::ranges::find(*names, near_end) != names->end())
                all.add(std::string(near_end), warnings);
    }).join();
    return all;
}

const Client *Clients::of(const ConnectionStatus &connection) const {
    if (const auto found = by_token_.find(connection.token); found != by_token_.end())
        return &found->second;
    if (connection.subflows.size() != 1)
        return nullptr;
    const SubflowStatus &only = connection.subflows.front();
    const auto found = by_ends_.find(ends_of(only.local, only.remote));
    return found == by_ends_.end() ? nullptr : &found->second;
}

} // namespace mps::proxy
