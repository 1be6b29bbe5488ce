// SPDX-License-Identifier: MIT
#include <mpsched/lab/transfer.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

#include "base/try.hpp"
#include "frames.hpp"
#include "requests.hpp"
#include "socket.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <fmt/format.h>

namespace mps::lab {

using namespace traffic;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point from) {
    return std::chrono::duration<double>(Clock::now() - from).count();
}

std::string wrong_text(std::uint64_t bytes, std::uint64_t first) {
    return bytes == 0 ? std::string("no byte of the contents is wrong")
                      : fmt::format("{} bytes are wrong, the first at offset {}", bytes, first);
}

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
        auto fd = open_socket(address.family(), {.protocol = spec.protocol,
                                                 .congestion_control = congestion_control,
                                                 .send_buffer = spec.send_buffer,
                                                 .receive_buffer = spec.receive_buffer});
        MPS_TRY(fd);
        if (spec.direction == Direction::requests) {
            set_int(*fd, IPPROTO_TCP, TCP_NODELAY, 1);
        }
        if (auto bound = bind(*fd); !bound) {
            return bound;
        }
        const auto object = fmt::format("to {} port {}", spec.address, spec.port);
        if (auto connected = connect_to(*fd, address, spec.connect_timeout, aborting, object); !connected) {
            return connected;
        }
        std::lock_guard lock(connection.mutex);
        connection.fd = std::move(*fd);
        connection.open = true;
        return {};
    }

    Result<void> bind(const Fd &fd) const {
        if (!spec.device.empty() && ::setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, spec.device.c_str(),
                                                 static_cast<socklen_t>(spec.device.size())) != 0) {
            return os_error("bind to", spec.device, errno);
        }
        if (spec.local_address.empty()) {
            return {};
        }
        const auto local = make_address(spec.local_address, 0);
        MPS_TRY(local);
        if (::bind(fd.get(), local->get(), local->size) != 0) {
            return os_error("bind to", spec.local_address, errno);
        }
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
            Stream stream(connection.fd.get(), spec.stall_timeout, aborting);
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

    Result<void> greet(Stream &stream, std::uint64_t seed) const {
        const auto mode = spec.direction == Direction::upload     ? Mode::upload
                          : spec.direction == Direction::download ? Mode::download
                                                                  : Mode::requests;
        const Hello hello{
            hello_magic,         mode, spec.verify ? std::uint8_t{1} : std::uint8_t{0}, {}, seed, spec.bytes,
            spec.response_bytes, 0};
        return stream.send_value(hello);
    }

    Result<void> run_stream(ClientConnection &connection, Stream &stream, std::uint64_t seed) {
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

    Result<void> take_verdict(ClientConnection &connection, Stream &stream, std::uint64_t sent) {
        auto verdict = stream.receive_value<Verdict>();
        MPS_TRY(verdict);
        if (verdict->magic != verdict_magic) {
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

    Result<void> upload(ClientConnection &connection, Stream &stream, std::uint64_t seed) {
        auto sent = send_contents(
            stream, seed, spec.verify, spec.bytes, [this] { return should_stop(); }, connection.progress);
        MPS_TRY(sent);
        return take_verdict(connection, stream, *sent);
    }

    Result<void> download(ClientConnection &connection, Stream &stream, std::uint64_t seed) {
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
        auto received = receive_contents(stream, seed, spec.verify, connection.progress);
        received_all = true;
        closer.join();
        auto &result = connection.result;
        std::lock_guard lock(connection.mutex);
        result.bytes = connection.progress;
        MPS_TRY(received);
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

    Result<void> requests(ClientConnection &connection, Stream &stream, std::uint64_t seed) {
        const auto asked = ask_requests(
            stream, spec, seed, [this] { return should_stop(); },
            [&](double seconds) {
                connection.progress += std::uint64_t{spec.request_bytes} + spec.response_bytes;
                std::lock_guard lock(connection.mutex);
                connection.result.request_seconds.push_back(seconds);
            });
        MPS_TRY(asked);
        if (auto done = take_verdict(connection, stream, asked->sent); !done) {
            return done;
        }
        const auto trailer = stream.receive_value<Trailer>();
        MPS_TRY(trailer);
        auto &result = connection.result;
        std::lock_guard lock(connection.mutex);
        result.bytes = asked->sent + asked->received;
        result.complete = result.complete && trailer->bytes == asked->received;
        result.verified = result.verified && result.complete && trailer->sha256 == asked->received_sha256;
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
    if (spec.request_bytes == 0 || spec.response_bytes == 0 || spec.request_bytes > max_frame_bytes ||
        spec.response_bytes > max_frame_bytes) {
        return fail("requests and answers have 1 byte to 64 MiB", "", EINVAL);
    }
    auto address = make_address(spec.address, spec.port);
    MPS_TRY(address);
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
    MPS_TRY(connected);
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

Result<TransferResult> run_transfer(const Network &network, const Server &server, TransferSpec spec) {
    if (spec.address.empty()) {
        spec.address = network.server_address();
    }
    if (spec.port == 0) {
        spec.port = server.port();
    }
    auto transfer = Transfer::start(network.a(), std::move(spec));
    MPS_TRY(transfer);
    return transfer->wait();
}

} // namespace mps::lab
