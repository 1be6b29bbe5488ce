// SPDX-License-Identifier: MIT

#include "http/server.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <list>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/fd.hpp"
#include "base/try.hpp"

namespace mps::http {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto patience = 2s;
// More at a time have no business here; they wait in the kernel, and are let go from there.
constexpr std::size_t most_clients = 64;
// Answers that go on. How often they are asked for more.
constexpr std::size_t most_streams = 8;
constexpr auto stream_interval = 200ms;
// Then the others have their turn.
constexpr int most_reads = 16;

struct Client {
    Fd socket;
    Clock::time_point until;
    std::string received{};
    std::string answer{};
    std::size_t sent = 0;
    bool closed = false;                 // it sends no more
    std::function<std::string()> more{}; // of an answer that goes on

    [[nodiscard]] bool answers() const { return more || !answer.empty(); }
    [[nodiscard]] bool has_all() const { return answers() && sent == answer.size(); }
    [[nodiscard]] short events() const {
        return static_cast<short>((closed ? 0 : POLLIN) | (answers() && !has_all() ? POLLOUT : 0));
    }
};

Result<Fd> listen_at(const Address &address) {
    sockaddr_storage where{};
    socklen_t size = 0;
    if (address.ipv6) {
        auto &to = reinterpret_cast<sockaddr_in6 &>(where);
        to.sin6_family = AF_INET6;
        to.sin6_port = htons(address.port);
        ::inet_pton(AF_INET6, address.host.c_str(), &to.sin6_addr);
        size = sizeof to;
    } else {
        auto &to = reinterpret_cast<sockaddr_in &>(where);
        to.sin_family = AF_INET;
        to.sin_port = htons(address.port);
        ::inet_pton(AF_INET, address.host.c_str(), &to.sin_addr);
        size = sizeof to;
    }
    Fd socket(::socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int yes = 1;
    // After a restart connections of the last one may still be closing.
    if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) ||
        (address.ipv6 && ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes)) ||
        ::bind(socket.get(), reinterpret_cast<const sockaddr *>(&where), size) || ::listen(socket.get(), 64))
        return std::unexpected(system_error(errno, fmt::format("listening at {}", address.text())));
    return socket;
}

} // namespace

struct Server::Impl {
    Address address;
    Handler handler;
    Fd listening;
    Fd stop{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    std::list<Client> clients{};
    std::thread thread{};

    void run();
    void accept_all();
    // False: it is done with.
    bool serve(Client &client);
    void read(Client &client, std::string_view more) const;
    static bool send_more(Client &client);
    // Asks an answer that goes on for what is new.
    static bool go_on(Client &client, Clock::time_point now);
    [[nodiscard]] Response answer(const Request &request) const;
    [[nodiscard]] std::size_t streams() const {
        return static_cast<std::size_t>(
            std::ranges::count_if(clients, [](const Client &c) { return bool(c.more); }));
    }
    [[nodiscard]] int timeout() const;
};

Response Server::Impl::answer(const Request &request) const {
    if (address.loopback && !names_loopback(request.header("host")))
        return refusal(421, "the header Host has to name this machine's loopback");
    try {
        Request asked = request;
        const bool head = request.method == "HEAD";
        if (head)
            asked.method = "GET";
        Response response = handler(asked);
        if (head)
            response.more = nullptr;
        return response.more && streams() >= most_streams ? refusal(503, "too many pages are open")
                                                          : response;
    } catch (const std::exception &) {
        return refusal(500);
    }
}

bool Server::Impl::send_more(Client &client) {
    if (client.has_all())
        return true;
    while (client.sent < client.answer.size()) {
        const ssize_t put = ::send(client.socket.get(), client.answer.data() + client.sent,
                                   client.answer.size() - client.sent, MSG_NOSIGNAL);
        if (put < 0)
            return errno == EAGAIN || errno == EINTR;
        client.sent += static_cast<std::size_t>(put);
    }
    if (client.more)
        return true;
    ::shutdown(client.socket.get(), SHUT_WR);
    // A socket that is closed with something unread resets the connection, and with it what the client has not read yet: it is
    // kept until the client closes, or its time is over.
    return true;
}

bool Server::Impl::serve(Client &client) {
    std::array<char, 4096> buffer;
    for (int reads = 0; reads < most_reads && !client.closed; reads++) {
        const ssize_t got = ::recv(client.socket.get(), buffer.data(), buffer.size(), 0);
        if (got < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (got < 0)
            break;
        client.closed = got == 0;
        if (!client.answers() && got > 0)
            read(client, {buffer.data(), static_cast<std::size_t>(got)});
    }
    return client.answers() ? send_more(client) && !(client.closed && client.has_all()) : !client.closed;
}

void Server::Impl::read(Client &client, std::string_view more) const {
    client.received += more;
    const Reading reading = read_request(client.received);
    if (reading.state == Reading::State::more)
        return;
    Response response =
        reading.state == Reading::State::whole ? answer(reading.request) : refusal(reading.status);
    client.answer = write_response(response, reading.request.method == "HEAD");
    client.more = std::move(response.more);
    client.received.clear();
    client.until = Clock::now() + patience;
}

// Who does not read what there was gets nothing more, and is let go.
bool Server::Impl::go_on(Client &client, Clock::time_point now) {
    if (!client.has_all())
        return true;
    client.answer = client.more();
    client.sent = 0;
    client.until = now + patience;
    return send_more(client);
}

int Server::Impl::timeout() const {
    auto left = Clock::duration(patience);
    bool streaming = false;
    for (const Client &client : clients) {
        left = std::min(left, client.until - Clock::now());
        streaming |= bool(client.more);
    }
    if (streaming)
        left = std::min<Clock::duration>(left, stream_interval);
    const auto whole = std::chrono::ceil<std::chrono::milliseconds>(left);
    return clients.empty() ? -1 : static_cast<int>(std::max(whole, 0ms).count());
}

void Server::Impl::accept_all() {
    while (clients.size() < most_clients) {
        Fd socket(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!socket)
            return;
        clients.push_back({.socket = std::move(socket), .until = Clock::now() + patience});
    }
}

void Server::Impl::run() {
    for (;;) {
        std::vector<pollfd> waiting{
            {.fd = stop.get(), .events = POLLIN, .revents = 0},
            {.fd = clients.size() < most_clients ? listening.get() : -1, .events = POLLIN, .revents = 0}};
        for (const Client &client : clients)
            waiting.push_back({.fd = client.socket.get(), .events = client.events(), .revents = 0});
        if (::poll(waiting.data(), waiting.size(), timeout()) < 0 && errno != EINTR)
            return;
        if (waiting[0].revents)
            return;
        const auto now = Clock::now();
        auto ready = waiting.begin() + 2;
        for (auto client = clients.begin(); client != clients.end(); ++ready) {
            const bool stays = client->until > now && (!ready->revents || serve(*client)) &&
                               (!client->more || go_on(*client, now));
            client = stays ? std::next(client) : clients.erase(client);
        }
        if (waiting[1].revents)
            accept_all();
    }
}

Result<Server> Server::start(const Address &address, Handler handler) {
    auto listening = listen_at(address);
    MPS_TRY(listening);
    auto impl = std::make_unique<Impl>(
        Impl{.address = address, .handler = std::move(handler), .listening = std::move(*listening)});
    if (!impl->stop)
        return std::unexpected(system_error(errno, "making an eventfd"));
    impl->thread = std::thread([&server = *impl] { server.run(); });
    return Server(std::move(impl));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::Server(Server &&) noexcept = default;

Server &Server::operator=(Server &&other) noexcept {
    std::swap(impl_, other.impl_);
    return *this;
}

Server::~Server() {
    if (!impl_)
        return;
    const std::uint64_t one = 1;
    (void)!::write(impl_->stop.get(), &one, sizeof one);
    impl_->thread.join();
}

} // namespace mps::http
