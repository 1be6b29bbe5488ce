// SPDX-License-Identifier: MIT
#include <mpsched/lab/transfer.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

#include <mpsched/lab/fd.hpp>
#include <mpsched/lab/mptcp_abi.hpp>

#include "wire.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <fmt/format.h>

namespace mps::lab {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point from) {
    return std::chrono::duration<double>(Clock::now() - from).count();
}

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;

    const sockaddr *get() const { return reinterpret_cast<const sockaddr *>(&storage); }
    sockaddr *get() { return reinterpret_cast<sockaddr *>(&storage); }
};

Result<SocketAddress> make_address(const std::string &text, std::uint16_t port) {
    SocketAddress address;
    auto *v4 = reinterpret_cast<sockaddr_in *>(&address.storage);
    auto *v6 = reinterpret_cast<sockaddr_in6 *>(&address.storage);
    if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        address.size = sizeof(*v4);
    } else if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        address.size = sizeof(*v6);
    } else {
        return fail(fmt::format("\"{}\" is not an IPv4 or IPv6 address", text), "write it in numbers",
                    EINVAL);
    }
    return address;
}

std::string peer_text(const SocketAddress &address) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const auto *v4 = reinterpret_cast<const sockaddr_in *>(&address.storage);
    const auto *v6 = reinterpret_cast<const sockaddr_in6 *>(&address.storage);
    const bool is_v4 = address.storage.ss_family == AF_INET;
    ::inet_ntop(address.storage.ss_family, is_v4 ? static_cast<const void *>(&v4->sin_addr) : &v6->sin6_addr,
                text.data(), text.size());
    const auto port = ntohs(v4->sin_port);
    return is_v4 ? fmt::format("{}:{}", text.data(), port) : fmt::format("[{}]:{}", text.data(), port);
}

std::string wrong_text(std::uint64_t bytes, std::uint64_t first) {
    return bytes == 0 ? std::string("no byte of the contents is wrong")
                      : fmt::format("{} bytes are wrong, the first at offset {}", bytes, first);
}

int protocol_number(Protocol protocol) {
    return protocol == Protocol::mptcp ? abi::ipproto_mptcp : IPPROTO_TCP;
}

Result<Fd> open_socket(int family, Protocol protocol, const std::string &congestion_control) {
    Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol_number(protocol)));
    if (!fd) {
        return os_error("open", protocol == Protocol::mptcp ? "an MPTCP socket" : "a TCP socket", errno);
    }
    // Subflows and accepted sockets inherit it.
    if (!congestion_control.empty() &&
        ::setsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, congestion_control.data(),
                     static_cast<socklen_t>(congestion_control.size())) != 0) {
        return os_error("choose congestion control", congestion_control, errno);
    }
    return fd;
}

int set_int(const Fd &fd, int level, int option, int value) {
    return ::setsockopt(fd.get(), level, option, &value, sizeof(value));
}

} // namespace

// ----------------------------------------------------------------------------------------------------------------
// server

struct Server::Impl {
    ServerSpec spec;
    std::string congestion_control;
    Fd listener;
    std::uint16_t port = 0;
    std::atomic<bool> stopping{false};
    std::atomic<std::size_t> active{0};
    mutable std::mutex mutex;
    mutable std::condition_variable one_more; ///< of `finished`
    std::vector<ServedConnection> finished;
    std::vector<std::thread> workers;
    std::thread acceptor;

    ~Impl() {
        stopping = true;
        if (acceptor.joinable()) {
            acceptor.join();
        }
        for (auto &worker : workers) {
            worker.join();
        }
    }

    Result<void> listen() {
        const int family = spec.family == Family::ipv4 ? AF_INET : AF_INET6;
        auto fd = open_socket(family, spec.protocol, congestion_control);
        if (!fd) {
            return std::unexpected(fd.error());
        }
        set_int(*fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (family == AF_INET6) {
            set_int(*fd, IPPROTO_IPV6, IPV6_V6ONLY, spec.family == Family::dual ? 0 : 1);
        }
        auto address = make_address(family == AF_INET ? "0.0.0.0" : "::", spec.port);
        if (::bind(fd->get(), address->get(), address->size) != 0 || ::listen(fd->get(), 512) != 0) {
            return os_error("listen on", fmt::format("port {}", spec.port), errno);
        }
        ::getsockname(fd->get(), address->get(), &address->size);
        port = ntohs(reinterpret_cast<const sockaddr_in &>(address->storage).sin_port);
        listener = std::move(*fd);
        return {};
    }

    void accept_loop() {
        while (!stopping) {
            pollfd ready{listener.get(), POLLIN, 0};
            if (::poll(&ready, 1, 50) <= 0) {
                continue;
            }
            SocketAddress peer;
            peer.size = sizeof(peer.storage);
            Fd fd(::accept4(listener.get(), peer.get(), &peer.size, SOCK_CLOEXEC | SOCK_NONBLOCK));
            if (fd) {
                ++active;
                workers.emplace_back([this, fd = std::move(fd), peer] { serve(fd.get(), peer_text(peer)); });
            }
        }
    }

    void serve(int fd, std::string peer) {
        ServedConnection served;
        served.peer = std::move(peer);
        wire::Stream stream(fd, spec.stall_timeout, stopping);
        if (auto done = serve_stream(stream, served); !done) {
            served.error = done.error();
        }
        const auto sample = sample_connection(fd);
        served.fallback = sample && sample->fallback;
        {
            std::lock_guard lock(mutex);
            finished.push_back(std::move(served));
        }
        one_more.notify_all();
        --active;
    }

    Result<void> serve_stream(wire::Stream &stream, ServedConnection &served) {
        auto hello = stream.receive_value<wire::Hello>();
        if (!hello) {
            return std::unexpected(hello.error());
        }
        if (hello->magic != wire::hello_magic) {
            return fail("a connection did not start with our greeting", "", EBADMSG);
        }
        const bool verify = hello->verify != 0;
        std::atomic<std::uint64_t> progress{0};
        switch (hello->mode) {
        case wire::Mode::upload: {
            auto received = wire::receive_contents(stream, hello->seed, verify, progress);
            served.bytes = progress;
            if (!received) {
                return std::unexpected(received.error());
            }
            served.verified = received->verified;
            return stream.send_value(wire::Verdict{
                .magic = wire::verdict_magic,
                .same = received->complete && (received->verified || !verify) ? 1U : 0U,
                .bytes = received->bytes,
                .wrong_bytes = received->wrong_bytes,
                .first_wrong = received->first_wrong,
            });
        }
        case wire::Mode::download: {
            auto sent = wire::send_contents(
                stream, hello->seed, verify, hello->bytes, [&] { return stream.peer_finished(); }, progress);
            served.bytes = progress;
            return sent ? Result<void>{} : Result<void>(std::unexpected(sent.error()));
        }
        case wire::Mode::requests:
            return serve_requests(stream, *hello, served);
        }
        return fail("a connection asks for a mode that does not exist", "", EBADMSG);
    }

    Result<void> serve_requests(wire::Stream &stream, const wire::Hello &hello, ServedConnection &served) {
        std::vector<std::uint8_t> request;
        std::vector<std::uint8_t> response(sizeof(std::uint32_t) + hello.response_bytes);
        std::memcpy(response.data(), &hello.response_bytes, sizeof(std::uint32_t));
        const auto contents = std::span(response).subspan(sizeof(std::uint32_t));
        wire::Contents source(~hello.seed);
        wire::Sha256 received_hash;
        wire::Sha256 sent_hash;
        std::uint64_t sent = 0;
        for (;;) {
            if (auto readable = stream.wait_readable(); !readable) {
                return readable;
            }
            auto length = stream.receive_value<std::uint32_t>();
            if (!length) {
                return std::unexpected(length.error());
            }
            if (*length == 0) {
                break;
            }
            if (*length > wire::max_frame_bytes) {
                return fail(
                    fmt::format(
                        "a request of {} bytes arrived, larger than any that is sent: the contents are damaged",
                        *length),
                    "", EBADMSG);
            }
            request.resize(*length);
            if (auto got = stream.receive(request); !got) {
                return got;
            }
            received_hash.update(request);
            served.bytes += *length;
            source.fill(contents);
            sent_hash.update(contents);
            sent += contents.size();
            if (auto done = stream.send(response); !done) {
                return done;
            }
        }
        auto trailer = stream.receive_value<wire::Trailer>();
        if (!trailer) {
            return std::unexpected(trailer.error());
        }
        served.verified = trailer->bytes == served.bytes && trailer->sha256 == received_hash.finish();
        if (auto done = stream.send_value(wire::Verdict{.magic = wire::verdict_magic,
                                                        .same = served.verified ? 1U : 0U,
                                                        .bytes = served.bytes,
                                                        .wrong_bytes = 0,
                                                        .first_wrong = 0});
            !done) {
            return done;
        }
        return stream.send_value(wire::Trailer{sent, sent_hash.finish()});
    }
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::Server(Server &&) noexcept = default;
Server &Server::operator=(Server &&) noexcept = default;
Server::~Server() = default;

Result<Server> Server::start(const Namespace &ns, ServerSpec spec) {
    auto impl = std::make_unique<Impl>();
    impl->spec = spec;
    impl->congestion_control = ns.socket_congestion_control();
    if (auto listening = ns.run([&] { return impl->listen(); }); !listening) {
        return std::unexpected(listening.error());
    }
    // Accepted sockets belong to the listener's namespace whatever thread accepts them.
    impl->acceptor = std::thread([raw = impl.get()] { raw->accept_loop(); });
    return Server(std::move(impl));
}

std::uint16_t Server::port() const { return impl_->port; }

std::size_t Server::active() const { return impl_->active; }

std::vector<ServedConnection> Server::finished(std::size_t count) const {
    std::unique_lock lock(impl_->mutex);
    impl_->one_more.wait_for(lock, std::chrono::seconds(10), [&] { return impl_->finished.size() >= count; });
    return impl_->finished;
}

// ----------------------------------------------------------------------------------------------------------------
// client

namespace {

/// One client connection: its thread runs it, the others may look at it and stop it.
struct ClientConnection {
    // Guards fd against being closed while another thread looks, and the result's subflows.
    mutable std::mutex mutex;
    Fd fd;
    ConnectionResult result;
    std::map<std::uint32_t, SubflowSample> seen;
    std::atomic<std::uint64_t> progress{0};
    std::atomic<bool> open{false};
    std::thread thread;

    std::optional<ConnectionSample> sample() const {
        std::lock_guard lock(mutex);
        if (!fd || !open) {
            return std::nullopt;
        }
        auto s = sample_connection(fd.get());
        return s ? std::optional(std::move(*s)) : std::nullopt;
    }

    void remember(const ConnectionSample &s) {
        std::lock_guard lock(mutex);
        result.fallback = result.fallback || s.fallback;
        if (s.fallback) {
            return;
        }
        result.token = s.token;
        result.max_subflows = std::max(result.max_subflows, s.subflows.size());
        for (const auto &subflow : s.subflows) {
            // A subflow that is being closed may read as all zero; what it once counted stays.
            auto &known = seen[subflow.id];
            if (known.local.empty() ||
                subflow.bytes_sent + subflow.bytes_received >= known.bytes_sent + known.bytes_received) {
                known = subflow;
            }
        }
    }
};

} // namespace

struct Transfer::Impl {
    TransferSpec spec;
    std::string congestion_control;
    SocketAddress address;
    std::vector<std::unique_ptr<ClientConnection>> connections;
    std::atomic<bool> stopping{false};
    std::atomic<bool> aborting{false};
    std::atomic<std::size_t> running{0};
    std::optional<Clock::time_point> deadline;
    std::mutex mutex;
    std::condition_variable wake;
    std::thread sampler;

    ~Impl() {
        aborting = true;
        join();
    }

    void join() {
        for (auto &connection : connections) {
            if (connection->thread.joinable()) {
                connection->thread.join();
            }
        }
        {
            std::lock_guard lock(mutex);
            stopping = true;
        }
        wake.notify_all();
        if (sampler.joinable()) {
            sampler.join();
        }
    }

    bool should_stop() const { return stopping || (deadline && Clock::now() >= *deadline); }

    // In the namespace's thread.
    Result<void> connect(ClientConnection &connection) {
        auto fd = open_socket(address.storage.ss_family, spec.protocol, congestion_control);
        if (!fd) {
            return std::unexpected(fd.error());
        }
        if (spec.send_buffer) {
            set_int(*fd, SOL_SOCKET, SO_SNDBUF, *spec.send_buffer);
        }
        if (spec.receive_buffer) {
            set_int(*fd, SOL_SOCKET, SO_RCVBUF, *spec.receive_buffer);
        }
        if (spec.direction == Direction::requests) {
            set_int(*fd, IPPROTO_TCP, TCP_NODELAY, 1);
        }
        if (!spec.device.empty() && ::setsockopt(fd->get(), SOL_SOCKET, SO_BINDTODEVICE, spec.device.c_str(),
                                                 static_cast<socklen_t>(spec.device.size())) != 0) {
            return os_error("bind to", spec.device, errno);
        }
        if (!spec.local_address.empty()) {
            const auto local = make_address(spec.local_address, 0);
            if (!local) {
                return std::unexpected(local.error());
            }
            if (::bind(fd->get(), local->get(), local->size) != 0) {
                return os_error("bind to", spec.local_address, errno);
            }
        }
        const auto object = fmt::format("to {} port {}", spec.address, spec.port);
        if (::connect(fd->get(), address.get(), address.size) != 0) {
            if (errno != EINPROGRESS) {
                return os_error("connect", object, errno);
            }
            pollfd ready{fd->get(), POLLOUT, 0};
            if (::poll(&ready, 1, static_cast<int>(spec.connect_timeout.count())) <= 0) {
                return os_error("connect", object, ETIMEDOUT);
            }
            int err = 0;
            socklen_t size = sizeof(err);
            ::getsockopt(fd->get(), SOL_SOCKET, SO_ERROR, &err, &size);
            if (err != 0) {
                return os_error("connect", object, err);
            }
        }
        std::lock_guard lock(connection.mutex);
        connection.fd = std::move(*fd);
        connection.open = true;
        return {};
    }

    void look_at(ClientConnection &connection) const {
        if (const auto s = connection.sample()) {
            connection.remember(*s);
        }
    }

    void sample_loop() {
        std::unique_lock lock(mutex);
        while (running > 0) {
            lock.unlock();
            for (const auto &connection : connections) {
                look_at(*connection);
            }
            lock.lock();
            wake.wait_for(lock, spec.sample_interval, [&] { return running == 0; });
        }
    }

    // Joins take their time on a busy machine, and a connection may never get any.
    void settle(const ClientConnection &connection) const {
        const auto latest = Clock::now() + 10 * spec.settle;
        while (spec.protocol == Protocol::mptcp && Clock::now() < latest && !aborting) {
            const auto s = connection.sample();
            if (!s || s->fallback || s->subflows.size() > 1) {
                break;
            }
            std::this_thread::sleep_for(spec.settle / 10);
        }
        std::this_thread::sleep_for(spec.settle);
    }

    void run(ClientConnection &connection, std::size_t index) {
        if (connection.open) {
            wire::Stream stream(connection.fd.get(), spec.stall_timeout, aborting);
            const auto seed = spec.seed + index;
            auto done = greet(stream, seed);
            if (done) {
                settle(connection);
            }
            const auto began = Clock::now();
            if (done) {
                done = run_stream(connection, stream, seed);
            }
            std::lock_guard lock(connection.mutex);
            connection.result.seconds = seconds_since(began);
            if (!done) {
                connection.result.error = done.error();
            }
        }
        look_at(connection);
        {
            std::lock_guard lock(connection.mutex);
            connection.open = false;
            connection.fd.reset();
            for (auto &[id, subflow] : connection.seen) {
                connection.result.subflows.push_back(subflow);
            }
        }
        {
            std::lock_guard lock(mutex);
            --running;
        }
        wake.notify_all();
    }

    Result<void> greet(wire::Stream &stream, std::uint64_t seed) const {
        const auto mode = spec.direction == Direction::upload     ? wire::Mode::upload
                          : spec.direction == Direction::download ? wire::Mode::download
                                                                  : wire::Mode::requests;
        const wire::Hello hello{
            wire::hello_magic,   mode, spec.verify ? std::uint8_t{1} : std::uint8_t{0}, {}, seed, spec.bytes,
            spec.response_bytes, 0};
        return stream.send_value(hello);
    }

    Result<void> run_stream(ClientConnection &connection, wire::Stream &stream, std::uint64_t seed) {
        switch (spec.direction) {
        case Direction::upload:
            return upload(connection, stream, seed);
        case Direction::download:
            return download(connection, stream, seed);
        case Direction::requests:
            return requests(connection, stream, seed);
        }
        return {};
    }

    Result<void> take_verdict(ClientConnection &connection, wire::Stream &stream, std::uint64_t sent) {
        auto verdict = stream.receive_value<wire::Verdict>();
        if (!verdict) {
            return std::unexpected(verdict.error());
        }
        if (verdict->magic != wire::verdict_magic) {
            return fail("the server's verdict on the contents arrived damaged", "", EBADMSG);
        }
        auto &result = connection.result;
        std::lock_guard lock(connection.mutex);
        result.bytes = verdict->bytes;
        result.complete = verdict->bytes == sent;
        result.verified = spec.verify && result.complete && verdict->same == 1;
        result.wrong_bytes = verdict->wrong_bytes;
        result.first_wrong = verdict->first_wrong;
        if (!result.complete || (spec.verify && !result.verified)) {
            return fail(fmt::format("{} bytes were sent, {} arrived, and their SHA-256 {}; {}", sent,
                                    verdict->bytes, verdict->same == 1 ? "is right" : "is wrong",
                                    wrong_text(verdict->wrong_bytes, verdict->first_wrong)),
                        "", EBADMSG);
        }
        return {};
    }

    Result<void> upload(ClientConnection &connection, wire::Stream &stream, std::uint64_t seed) {
        auto sent = wire::send_contents(
            stream, seed, spec.verify, spec.bytes, [this] { return should_stop(); }, connection.progress);
        if (!sent) {
            return std::unexpected(sent.error());
        }
        return take_verdict(connection, stream, *sent);
    }

    Result<void> download(ClientConnection &connection, wire::Stream &stream, std::uint64_t seed) {
        // The server ends its stream in order when it sees our direction closed; a thread of its own waits
        // for the moment.
        std::atomic<bool> received_all{false};
        std::thread closer([&] {
            while (!received_all && !should_stop() && !aborting) {
                std::this_thread::sleep_for(std::chrono::milliseconds(10));
            }
            if (!received_all) {
                ::shutdown(connection.fd.get(), SHUT_WR);
            }
        });
        auto received = wire::receive_contents(stream, seed, spec.verify, connection.progress);
        received_all = true;
        closer.join();
        auto &result = connection.result;
        std::lock_guard lock(connection.mutex);
        result.bytes = connection.progress;
        if (!received) {
            return std::unexpected(received.error());
        }
        result.complete = received->complete;
        result.verified = received->verified;
        result.wrong_bytes = received->wrong_bytes;
        result.first_wrong = received->first_wrong;
        if (!result.complete || (spec.verify && !result.verified)) {
            return fail(fmt::format("what arrived is not what was sent: {}",
                                    wrong_text(received->wrong_bytes, received->first_wrong)),
                        "", EBADMSG);
        }
        return {};
    }

    Result<void> requests(ClientConnection &connection, wire::Stream &stream, std::uint64_t seed) {
        std::vector<std::uint8_t> request(sizeof(std::uint32_t) + spec.request_bytes);
        std::memcpy(request.data(), &spec.request_bytes, sizeof(std::uint32_t));
        const auto contents = std::span(request).subspan(sizeof(std::uint32_t));
        std::vector<std::uint8_t> response(spec.response_bytes);
        wire::Contents source(seed);
        wire::Sha256 sent_hash;
        wire::Sha256 received_hash;
        std::uint64_t sent = 0;
        std::uint64_t received = 0;
        for (std::uint64_t n = 0; (spec.requests == 0 || n < spec.requests) && !should_stop(); ++n) {
            source.fill(contents);
            sent_hash.update(contents);
            const auto began = Clock::now();
            if (auto done = stream.send(request); !done) {
                return done;
            }
            auto length = stream.receive_value<std::uint32_t>();
            if (!length) {
                return std::unexpected(length.error());
            }
            if (*length != spec.response_bytes) {
                return fail(
                    fmt::format("an answer of {} bytes arrived instead of {}", *length, spec.response_bytes),
                    "", EBADMSG);
            }
            if (auto done = stream.receive(response); !done) {
                return done;
            }
            const double seconds = seconds_since(began);
            received_hash.update(response);
            sent += contents.size();
            received += response.size();
            connection.progress += contents.size() + response.size();
            {
                std::lock_guard lock(connection.mutex);
                connection.result.request_seconds.push_back(seconds);
            }
            if (spec.think_time.count() > 0) {
                std::this_thread::sleep_for(spec.think_time);
            }
        }
        if (auto done = stream.send_value(std::uint32_t{0}); !done) {
            return done;
        }
        if (auto done = stream.send_value(wire::Trailer{sent, sent_hash.finish()}); !done) {
            return done;
        }
        if (auto done = take_verdict(connection, stream, sent); !done) {
            return done;
        }
        auto trailer = stream.receive_value<wire::Trailer>();
        if (!trailer) {
            return std::unexpected(trailer.error());
        }
        auto &result = connection.result;
        std::lock_guard lock(connection.mutex);
        result.bytes = sent + received;
        result.complete = result.complete && trailer->bytes == received;
        result.verified = result.verified && result.complete && trailer->sha256 == received_hash.finish();
        if (spec.verify && !result.verified) {
            return fail("the answers that arrived are not those that were sent", "", EBADMSG);
        }
        return {};
    }
};

Transfer::Transfer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Transfer::Transfer(Transfer &&) noexcept = default;
Transfer &Transfer::operator=(Transfer &&) noexcept = default;
Transfer::~Transfer() = default;

Result<Transfer> Transfer::start(const Namespace &ns, TransferSpec spec) {
    if (spec.connections == 0) {
        return fail("a transfer needs at least one connection", "", EINVAL);
    }
    if (spec.request_bytes == 0 || spec.response_bytes == 0 || spec.request_bytes > wire::max_frame_bytes ||
        spec.response_bytes > wire::max_frame_bytes) {
        return fail("requests and answers have 1 byte to 64 MiB", "", EINVAL);
    }
    auto address = make_address(spec.address, spec.port);
    if (!address) {
        return std::unexpected(address.error());
    }
    auto impl = std::make_unique<Impl>();
    impl->spec = std::move(spec);
    impl->congestion_control = ns.socket_congestion_control();
    impl->address = *address;
    for (unsigned i = 0; i < impl->spec.connections; ++i) {
        impl->connections.push_back(std::make_unique<ClientConnection>());
    }
    auto connected = ns.run([&] {
        for (auto &connection : impl->connections) {
            if (auto done = impl->connect(*connection); !done) {
                connection->result.error = done.error();
            }
        }
    });
    if (!connected) {
        return std::unexpected(connected.error());
    }
    if (const auto duration = impl->spec.duration) {
        impl->deadline = Clock::now() + *duration;
    }
    impl->running = impl->connections.size();
    for (std::size_t i = 0; i < impl->connections.size(); ++i) {
        auto &connection = *impl->connections[i];
        connection.thread = std::thread([raw = impl.get(), &connection, i] { raw->run(connection, i); });
    }
    if (impl->spec.sample_interval.count() > 0) {
        impl->sampler = std::thread([raw = impl.get()] { raw->sample_loop(); });
    }
    return Transfer(std::move(impl));
}

void Transfer::stop() { impl_->stopping = true; }

void Transfer::abort() { impl_->aborting = true; }

bool Transfer::running() const { return impl_->running > 0; }

std::vector<ConnectionSample> Transfer::sample() const {
    std::vector<ConnectionSample> samples;
    for (const auto &connection : impl_->connections) {
        if (auto s = connection->sample()) {
            connection->remember(*s);
            samples.push_back(std::move(*s));
        }
    }
    return samples;
}

std::uint64_t Transfer::progress_bytes() const {
    return std::accumulate(
        impl_->connections.begin(), impl_->connections.end(), std::uint64_t{0},
        [](std::uint64_t sum, const auto &connection) { return sum + connection->progress; });
}

TransferResult Transfer::wait() {
    impl_->join();
    TransferResult result;
    for (const auto &connection : impl_->connections) {
        result.connections.push_back(connection->result);
    }
    return result;
}

bool Transfer::wait_for_subflows(std::size_t count, std::chrono::milliseconds timeout) const {
    constexpr std::uint8_t established = TCP_ESTABLISHED;
    const auto deadline = Clock::now() + timeout;
    while (running() && Clock::now() < deadline) {
        const auto samples = sample();
        const bool all = !samples.empty() && std::ranges::all_of(samples, [&](const ConnectionSample &s) {
            return static_cast<std::size_t>(
                       std::ranges::count(s.subflows, established, &SubflowSample::tcp_state)) >= count;
        });
        if (all) {
            return true;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
}

std::uint64_t TransferResult::bytes() const {
    return std::accumulate(connections.begin(), connections.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const ConnectionResult &c) { return sum + c.bytes; });
}

double TransferResult::seconds() const {
    return connections.empty() ? 0 : std::ranges::max(connections, {}, &ConnectionResult::seconds).seconds;
}

double TransferResult::mbit_per_s() const {
    return seconds() > 0 ? static_cast<double>(bytes()) * 8 / 1e6 / seconds() : 0;
}

bool TransferResult::verified() const {
    return !connections.empty() && std::ranges::all_of(connections, &ConnectionResult::verified);
}

bool TransferResult::any_fallback() const {
    return std::ranges::any_of(connections, &ConnectionResult::fallback);
}

std::size_t TransferResult::errors() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(connections, [](const ConnectionResult &c) { return c.error.has_value(); }));
}

std::size_t TransferResult::min_subflows() const {
    return connections.empty()
               ? 0
               : std::ranges::min(connections, {}, &ConnectionResult::max_subflows).max_subflows;
}

std::vector<std::uint64_t> TransferResult::bytes_per_path(const Network &network) const {
    std::vector<std::uint64_t> per_path(network.path_count(), 0);
    for (const auto &connection : connections) {
        for (const auto &subflow : connection.subflows) {
            if (const auto path = network.path_of(subflow.local_address)) {
                per_path[*path] += std::max(subflow.bytes_acked, subflow.bytes_received);
            }
        }
    }
    return per_path;
}

Result<TransferResult> run_transfer(const Network &network, const Server &server, TransferSpec spec) {
    if (spec.address.empty()) {
        spec.address = network.server_address();
    }
    if (spec.port == 0) {
        spec.port = server.port();
    }
    auto transfer = Transfer::start(network.a(), std::move(spec));
    if (!transfer) {
        return std::unexpected(transfer.error());
    }
    return transfer->wait();
}

} // namespace mps::lab
