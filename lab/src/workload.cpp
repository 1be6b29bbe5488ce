// SPDX-License-Identifier: MIT
#include "workload.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <map>
#include <numeric>
#include <random>
#include <span>
#include <thread>
#include <utility>

#include <mpsched/lab/fd.hpp>
#include <mpsched/lab/mptcp_abi.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <fmt/format.h>

namespace mps::lab {
namespace {

using Clock = WorkloadRun::Clock;
using namespace std::chrono_literals;

constexpr std::uint16_t server_port = 7001;
constexpr std::uint32_t order_magic = 0x6d707357; // "mpsW"
constexpr auto abort_check = 50ms;
constexpr auto connect_timeout = 15s;
constexpr auto join_timeout = 10s;
// A scenario may well leave both paths dead for a while; far longer than that is a hang.
constexpr auto stall_timeout = 120s;
constexpr std::size_t piece_bytes = 64 * 1024;
constexpr std::size_t max_pieces = 64;
constexpr std::size_t period = 65521; // prime, so that a shift by a whole buffer does not look right
constexpr std::uint64_t without_end = ~std::uint64_t{0};

enum class Mode : std::uint32_t {
    exchange = 1,    // the server takes up_bytes, then sends down_bytes
    messages_up = 2, // the client sends messages until it closes its direction
    messages_down = 3,
};

// What the client wants next of a connection. Both ends are one process: byte order and clock are the same.
struct Order {
    std::uint32_t magic = order_magic;
    Mode mode = Mode::exchange;
    std::uint64_t up_bytes = 0;   // of contents behind this; without_end: until the client closes
    std::uint64_t down_bytes = 0; // exchange: of the answer. messages_down: of each message
    std::int64_t sent_ns = 0;
    std::int64_t interval_ns = 0; // messages_down
    std::uint64_t count = 0;      // messages_down
    std::uint64_t counts = 1;     // 0: a greeting, no part of the workload
};

struct Message {
    std::int64_t due_ns = 0;
    std::uint64_t bytes = 0; // of contents behind this
};

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
}

const std::array<std::uint8_t, period + piece_bytes> &pattern() {
    static const auto block = [] {
        std::array<std::uint8_t, period + piece_bytes> bytes{};
        std::mt19937 random(1);
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            bytes[i] = i < period ? static_cast<std::uint8_t>(random()) : bytes[i - period];
        }
        return bytes;
    }();
    return block;
}

std::span<const std::uint8_t> contents(std::uint64_t offset, std::uint64_t bytes) {
    return std::span(pattern()).subspan(offset % period, std::min<std::uint64_t>(bytes, piece_bytes));
}

void set_int(int fd, int level, int option, int value) {
    std::ignore = ::setsockopt(fd, level, option, &value, sizeof(value));
}

Result<Fd> open_socket(int family, const std::string &congestion_control, const Scenario &scenario) {
    Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, abi::ipproto_mptcp));
    if (!fd) {
        return os_error("open", "an MPTCP socket", errno);
    }
    set_int(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    // FORCE: what a scenario asks for may be more than net.core.rmem_max.
    if (scenario.send_buffer) {
        set_int(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, *scenario.send_buffer);
    }
    if (scenario.receive_buffer) {
        set_int(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, *scenario.receive_buffer);
    }
    if (!congestion_control.empty() &&
        ::setsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, congestion_control.data(),
                     static_cast<socklen_t>(congestion_control.size())) != 0) {
        return os_error("use congestion control", congestion_control, errno);
    }
    return fd;
}

struct Address {
    sockaddr_storage storage{};
    socklen_t size = 0;
    const sockaddr *get() const { return reinterpret_cast<const sockaddr *>(&storage); }
};

Address make_address(const std::string &text) {
    Address address;
    auto &v4 = reinterpret_cast<sockaddr_in &>(address.storage);
    auto &v6 = reinterpret_cast<sockaddr_in6 &>(address.storage);
    if (::inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(server_port);
        address.size = sizeof(v4);
    } else if (::inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(server_port);
        address.size = sizeof(v6);
    }
    return address;
}

/// Counts how long a receiver gets nothing while it is owed something.
struct GapMeter {
    std::int64_t last_ns = 0;
    std::int64_t longest_ns = 0;

    void owed_since(std::int64_t when_ns) { last_ns = when_ns; }
    void arrived() {
        const auto now = now_ns();
        longest_ns = std::max(longest_ns, now - last_ns);
        last_ns = now;
    }
};

Error aborted() { return Error{"the workload was aborted", "", ECANCELED}; }

/// One end of a connection.
class End {
  public:
    End(int fd, const std::atomic<bool> &abort) : fd_(fd), abort_(abort) {}

    /// `head`, then `bytes` of contents. `delivered` is not counted here: the receiver does.
    Result<void> send(std::span<const std::uint8_t> head, std::uint64_t bytes) {
        for (std::uint64_t offset = 0; !head.empty() || offset < bytes;) {
            // All of it in one call, as programs do: the kernel would push each piece, with a small segment at its
            // end, and Nagle's rule would then hold back the end of the next.
            std::array<iovec, 1 + max_pieces> pieces{};
            std::size_t count = 0;
            pieces[count++] = {const_cast<std::uint8_t *>(head.data()), head.size()};
            for (auto at = offset; at < bytes && count < pieces.size();) {
                const auto body = contents(at, bytes - at);
                pieces[count++] = {const_cast<std::uint8_t *>(body.data()), body.size()};
                at += body.size();
            }
            msghdr message{};
            message.msg_iov = pieces.data();
            message.msg_iovlen = count;
            const auto n = ::sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n > 0) {
                const auto of_head = std::min(static_cast<std::size_t>(n), head.size());
                head = head.subspan(of_head);
                offset += static_cast<std::size_t>(n) - of_head;
            } else if (auto ready = after_trouble(n, POLLOUT); !ready) {
                return ready;
            }
        }
        return {};
    }

    template <class T>
    Result<void> send_value(const T &value, std::uint64_t bytes = 0) {
        return send({reinterpret_cast<const std::uint8_t *>(&value), sizeof(value)}, bytes);
    }

    /// True if all of it came, false at the end of the connection.
    template <class T>
    Result<bool> receive_value(T &value, bool patient) {
        std::span<std::uint8_t> into(reinterpret_cast<std::uint8_t *>(&value), sizeof(value));
        while (!into.empty()) {
            const auto n = ::recv(fd_, into.data(), into.size(), MSG_DONTWAIT);
            if (n > 0) {
                into = into.subspan(static_cast<std::size_t>(n));
            } else if (n == 0) {
                return false;
            } else if (auto ready = after_trouble(n, POLLIN, patient); !ready) {
                return std::unexpected(ready.error());
            }
        }
        return true;
    }

    /// Contents, compared. Ends early, with what came, only if `bytes` is without_end.
    Result<std::uint64_t> receive(std::uint64_t bytes, GapMeter &gaps,
                                  std::atomic<std::uint64_t> *delivered = nullptr) {
        std::uint64_t offset = 0;
        while (offset < bytes) {
            const auto n = ::recv(fd_, buffer_.data(),
                                  std::min<std::uint64_t>(buffer_.size(), bytes - offset), MSG_DONTWAIT);
            if (n > 0) {
                const auto size = static_cast<std::size_t>(n);
                gaps.arrived();
                const auto right = contents(offset, size);
                if (!std::equal(right.begin(), right.end(), buffer_.begin())) {
                    return fail(
                        fmt::format("contents are damaged within bytes {} to {}", offset, offset + size), "",
                        EBADMSG);
                }
                offset += size;
                if (delivered != nullptr) {
                    *delivered += size;
                }
            } else if (n == 0) {
                return bytes == without_end
                           ? Result<std::uint64_t>(offset)
                           : fail("the peer closed a connection before its end", "", ECONNABORTED);
            } else if (auto ready = after_trouble(n, POLLIN); !ready) {
                return std::unexpected(ready.error());
            }
        }
        return offset;
    }

    int fd() const { return fd_; }

    bool wait_until(Clock::time_point when) const {
        while (!abort_ && Clock::now() < when) {
            std::this_thread::sleep_for(std::min<Clock::duration>(when - Clock::now(), abort_check));
        }
        return !abort_;
    }

  private:
    Result<void> after_trouble(ssize_t n, short events, bool patient = false) {
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return os_error(events == POLLIN ? "receive on" : "send on", "a connection", errno);
        }
        const auto deadline = Clock::now() + stall_timeout;
        for (;;) {
            if (abort_) {
                return std::unexpected(aborted());
            }
            pollfd ready{fd_, events, 0};
            if (::poll(&ready, 1, static_cast<int>(abort_check.count())) > 0) {
                return {};
            }
            if (!patient && Clock::now() >= deadline) {
                return os_error("make progress on", "a connection", ETIMEDOUT);
            }
        }
    }

    int fd_;
    const std::atomic<bool> &abort_;
    std::array<std::uint8_t, piece_bytes> buffer_{};
};

/// The port of one end of a socket, as getsockname() or getpeername() tells it; 0 if it does not.
std::uint16_t port_of(int fd, int (*ask)(int, sockaddr *, socklen_t *)) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    // It has the same place in both families.
    return ask(fd, reinterpret_cast<sockaddr *>(&address), &size) == 0
               ? ntohs(reinterpret_cast<const sockaddr_in &>(address).sin_port)
               : std::uint16_t{0};
}

/// Empty if some path has several subflows, which share it in a way that no bound knows.
std::vector<PathWindow> path_windows(const Network &network, const ConnectionSample &sample, bool client) {
    std::vector<PathWindow> found;
    for (const auto &subflow : sample.subflows) {
        // The server may have one address for all paths.
        const auto path = network.path_of(client ? subflow.local_address : subflow.remote_address);
        if (subflow.tcp_state != TCP_ESTABLISHED || !path) {
            continue;
        }
        if (std::ranges::find(found, *path, &PathWindow::path) != found.end()) {
            return {};
        }
        found.push_back({*path,
                         {.cwnd_segs = static_cast<double>(subflow.cwnd),
                          .ssthresh_segs = static_cast<double>(subflow.ssthresh),
                          .idle_s = subflow.idle_ms / 1e3,
                          .rto_s = subflow.rto_us / 1e6}});
    }
    return found;
}

/// An open connection that others look at. Its counts stay when it is gone.
struct Watched {
    int fd = -1;
    bool receives = false;
    std::map<std::uint32_t, std::uint64_t> subflow_bytes; // received
    std::uint64_t receive_next = 0;
    std::optional<std::int64_t> first_ahead; // handshakes count differently on both levels
    std::uint64_t reinjected = 0;
    bool counts_bytes = true;
    bool fallback = false;
    std::size_t subflows = 0;
    std::map<std::uint32_t, std::string> local; // address of each subflow that was there, by its id

    void look() {
        if (fd < 0) {
            return;
        }
        const auto sample = sample_connection(fd);
        if (!sample) {
            return;
        }
        fallback = fallback || sample->fallback;
        if (sample->fallback) {
            return;
        }
        counts_bytes = sample->counts_bytes;
        receive_next = std::max(receive_next, sample->receive_next);
        reinjected = std::max(reinjected, sample->bytes_retransmitted);
        subflows = 0;
        for (const auto &subflow : sample->subflows) {
            auto &bytes = subflow_bytes[subflow.id];
            bytes = std::max(bytes, subflow.bytes_received);
            if (subflow.tcp_state == TCP_ESTABLISHED) {
                ++subflows;
                local[subflow.id] = subflow.local_address;
            }
        }
        if (!first_ahead) {
            first_ahead = ahead();
        }
    }

    /// Sequence numbers wrap around, and only differences count.
    std::int64_t ahead() const {
        auto sum = std::uint64_t{0} - receive_next;
        for (const auto &[id, bytes] : subflow_bytes) {
            sum += bytes;
        }
        return static_cast<std::int64_t>(sum) - first_ahead.value_or(0);
    }
};

} // namespace

struct WorkloadRun::Impl {
    const Network &network;
    Workload workload;
    const Scenario &scenario;
    std::size_t expected_subflows;
    std::uint64_t seed;

    std::atomic<bool> stop_server{false};
    std::atomic<bool> abort{false};
    std::atomic<bool> over{false}; // the time limit has passed
    std::atomic<std::uint64_t> delivered{0};
    std::atomic<std::size_t> running{0};

    mutable std::mutex mutex;
    std::condition_variable changed;
    std::map<int, Watched> watched; // by a number of our own
    int next_watched = 0;
    std::size_t ready = 0;
    bool go = false;
    bool may_close = false;
    Clock::time_point began;
    std::optional<Error> error;
    std::vector<std::vector<Exchange>> exchanges; // by connection
    std::vector<Exchange> server_exchanges;
    double last_end_s = 0;
    std::int64_t longest_gap_ns = 0;
    double stall_s = 0;
    std::uint64_t delivered_in_time = 0;

    std::map<std::uint16_t, int> server_ends; // the server's sockets, by the client's port

    Fd listener;
    std::thread acceptor;
    std::vector<std::thread> server_threads;
    std::vector<std::thread> clients;
    std::thread timekeeper;

    Impl(const Network &n, const Scenario &s, std::size_t subflows, std::uint64_t seed_)
        : network(n), workload(s.workload), scenario(s), expected_subflows(subflows), seed(seed_) {}

    ~Impl() {
        abort = true;
        {
            std::lock_guard lock(mutex);
            go = true;
        }
        changed.notify_all();
        join();
    }

    /// Ends that have done their work keep their connection until then, so that what is counted at the end of the
    /// workload is not the closing of connections.
    void let_close() {
        std::lock_guard lock(mutex);
        may_close = true;
        changed.notify_all();
    }

    void wait_to_close() {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return may_close || (abort && !over); });
    }

    void join() {
        let_close();
        for (auto &client : clients) {
            if (client.joinable()) {
                client.join();
            }
        }
        if (timekeeper.joinable()) {
            timekeeper.join();
        }
        stop_server = true;
        if (acceptor.joinable()) {
            acceptor.join();
        }
        for (auto &thread : server_threads) {
            if (thread.joinable()) {
                thread.join();
            }
        }
    }

    void failed(const Error &e) {
        if (over && (e.err == ECANCELED || e.err == ECONNABORTED || e.err == ECONNRESET || e.err == EPIPE)) {
            return; // the time limit ended it
        }
        std::lock_guard lock(mutex);
        if (!error) {
            error = e;
        }
        abort = true;
        changed.notify_all();
    }

    bool upload() const { return workload.direction == Direction::upload; }

    double since_began(Clock::time_point when) const {
        return std::chrono::duration<double>(when - began).count();
    }

    /// For as long as it lives, others may look at the connection.
    class Watch {
      public:
        Watch(Impl &impl, int fd, bool receives) : impl_(impl) {
            std::lock_guard lock(impl_.mutex);
            id_ = impl_.next_watched++;
            impl_.watched[id_].fd = fd;
            impl_.watched[id_].receives = receives;
        }
        ~Watch() {
            std::lock_guard lock(impl_.mutex);
            auto &w = impl_.watched[id_];
            w.look();
            w.fd = -1;
        }
        Watch(const Watch &) = delete;
        Watch &operator=(const Watch &) = delete;

        std::size_t subflows() {
            std::lock_guard lock(impl_.mutex);
            auto &w = impl_.watched[id_];
            w.look();
            return w.subflows;
        }
        bool fallback() {
            std::lock_guard lock(impl_.mutex);
            return impl_.watched[id_].fallback;
        }

      private:
        Impl &impl_;
        int id_ = 0;
    };

    // ------------------------------------------------------------------------------------------------------------
    // server

    Result<void> listen() {
        auto fd = network.b().run([&]() -> Result<Fd> {
            auto opened = open_socket(AF_INET6, network.b().socket_congestion_control(), scenario);
            if (!opened) {
                return opened;
            }
            set_int(opened->get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
            sockaddr_in6 any{};
            any.sin6_family = AF_INET6;
            any.sin6_port = htons(server_port);
            constexpr int backlog = 128;
            if (::bind(opened->get(), reinterpret_cast<const sockaddr *>(&any), sizeof(any)) != 0 ||
                ::listen(opened->get(), backlog) != 0) {
                return os_error("listen on", fmt::format("port {}", server_port), errno);
            }
            return opened;
        });
        if (!fd) {
            return std::unexpected(fd.error());
        }
        listener = std::move(*fd);
        acceptor = std::thread([this] { accept_loop(); });
        return {};
    }

    void accept_loop() {
        while (!stop_server && !abort) {
            pollfd ready_fd{listener.get(), POLLIN, 0};
            if (::poll(&ready_fd, 1, static_cast<int>(abort_check.count())) <= 0) {
                continue;
            }
            Fd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
            if (!fd) {
                continue;
            }
            server_threads.emplace_back([this, socket = std::move(fd)]() mutable {
                if (auto done = serve(socket.get()); !done) {
                    failed(done.error());
                    wait_to_close();
                }
            });
        }
    }

    /// For as long as it lives, the client may ask for the windows of this socket.
    class Served {
      public:
        Served(Impl &impl, int fd) : impl_(impl), port_(port_of(fd, ::getpeername)) {
            std::lock_guard lock(impl_.mutex);
            impl_.server_ends[port_] = fd;
        }
        ~Served() {
            std::lock_guard lock(impl_.mutex);
            impl_.server_ends.erase(port_);
        }
        Served(const Served &) = delete;
        Served &operator=(const Served &) = delete;

      private:
        Impl &impl_;
        std::uint16_t port_;
    };

    Result<void> serve(int fd) {
        Watch watch(*this, fd, upload());
        Served served_socket(*this, fd);
        End end(fd, abort);
        GapMeter gaps;
        auto served = serve_orders(end, gaps);
        note(gaps);
        return served;
    }

    Result<void> serve_orders(End &end, GapMeter &gaps) {
        GapMeter greeting;
        Order order;
        for (;;) {
            const auto got = end.receive_value(order, true);
            if (!got || !*got) {
                return {}; // the client is done with the connection; an abort is told by whoever aborted
            }
            if (order.magic != order_magic) {
                return fail("an order is damaged", "", EBADMSG);
            }
            auto &meter = order.counts != 0 ? gaps : greeting;
            meter.owed_since(order.sent_ns);
            if (order.mode == Mode::exchange) {
                auto received =
                    end.receive(order.up_bytes, meter, upload() && order.counts != 0 ? &delivered : nullptr);
                if (!received) {
                    return std::unexpected(received.error());
                }
                if (auto sent = end.send({}, order.down_bytes); !sent) {
                    return sent;
                }
            } else if (order.mode == Mode::messages_up) {
                if (auto taken = take_messages(end, gaps); !taken) {
                    return taken;
                }
            } else if (auto sent = send_messages(end, order.down_bytes, order.sent_ns, order.interval_ns,
                                                 order.count);
                       !sent) {
                return sent;
            }
        }
    }

    void note(const GapMeter &gaps) {
        std::lock_guard lock(mutex);
        longest_gap_ns = std::max(longest_gap_ns, gaps.longest_ns);
    }

    // ------------------------------------------------------------------------------------------------------------
    // messages: either end

    Result<void> send_messages(End &end, std::uint64_t bytes, std::int64_t first_ns, std::int64_t interval_ns,
                               std::uint64_t count) {
        for (std::uint64_t i = 0; i < count; ++i) {
            const Message message{first_ns + static_cast<std::int64_t>(i) * interval_ns, bytes};
            if (!end.wait_until(Clock::time_point(std::chrono::nanoseconds(message.due_ns)))) {
                return std::unexpected(aborted());
            }
            if (auto sent = end.send_value(message, bytes); !sent) {
                return sent;
            }
        }
        const Message last{};
        return end.send_value(last);
    }

    Result<void> take_messages(End &end, GapMeter &gaps) {
        std::vector<Exchange> taken;
        for (;;) {
            Message message;
            auto got = end.receive_value(message, false);
            if (!got || !*got) {
                return got ? fail("a stream ended before its last message", "", ECONNABORTED)
                           : Result<void>(std::unexpected(got.error()));
            }
            if (message.bytes == 0) {
                break;
            }
            gaps.owed_since(std::max(gaps.last_ns, message.due_ns));
            auto received = end.receive(message.bytes, gaps, &delivered);
            if (!received) {
                return std::unexpected(received.error());
            }
            const auto now = Clock::now();
            Exchange exchange;
            exchange.start_s = since_began(Clock::time_point(std::chrono::nanoseconds(message.due_ns)));
            exchange.seconds = since_began(now) - exchange.start_s;
            (upload() ? exchange.up_bytes : exchange.down_bytes) = message.bytes;
            taken.push_back(exchange);
        }
        std::lock_guard lock(mutex);
        server_exchanges.insert(server_exchanges.end(), taken.begin(), taken.end());
        last_end_s = std::max(last_end_s, since_began(Clock::now()));
        return {};
    }

    // ------------------------------------------------------------------------------------------------------------
    // client

    Result<Fd> connect() {
        const auto address = make_address(network.server_address());
        auto fd = network.a().run([&] {
            return open_socket(address.storage.ss_family, network.a().socket_congestion_control(), scenario);
        });
        if (!fd) {
            return fd;
        }
        const std::string object = "to " + network.server_address();
        if (::connect(fd->get(), address.get(), address.size) != 0 && errno != EINPROGRESS) {
            return os_error("connect", object, errno);
        }
        const auto deadline = Clock::now() + connect_timeout;
        for (;;) {
            pollfd ready_fd{fd->get(), POLLOUT, 0};
            if (::poll(&ready_fd, 1, static_cast<int>(abort_check.count())) > 0) {
                break;
            }
            if (abort) {
                return std::unexpected(aborted());
            }
            if (Clock::now() > deadline) {
                return os_error("connect", object, ETIMEDOUT);
            }
        }
        int err = 0;
        socklen_t size = sizeof(err);
        ::getsockopt(fd->get(), SOL_SOCKET, SO_ERROR, &err, &size);
        return err != 0 ? Result<Fd>(os_error("connect", object, err)) : std::move(fd);
    }

    // Joins need a handshake of their own, and more when a packet is lost.
    Result<void> settle(Watch &watch, End &end) {
        const auto connected = Clock::now();
        // The kernel joins no further subflow before the peer has acknowledged data.
        Order greeting;
        greeting.up_bytes = 1;
        greeting.down_bytes = 1;
        greeting.counts = 0;
        GapMeter unused;
        if (auto sent = end.send_value(greeting, 1); !sent) {
            return sent;
        }
        if (auto answered = end.receive(1, unused); !answered) {
            return std::unexpected(answered.error());
        }
        while (watch.subflows() < expected_subflows) {
            if (watch.fallback()) {
                return fail("the connection fell back to plain TCP");
            }
            if (Clock::now() - connected > join_timeout) {
                return fail(fmt::format("a connection did not get its {} subflows within {} s",
                                        expected_subflows, join_timeout.count()),
                            "are all paths alive at the start, and is the limit of subflows high enough?");
            }
            if (!end.wait_until(Clock::now() + 5ms)) {
                return std::unexpected(aborted());
            }
        }
        const auto settling = std::chrono::duration<double, std::milli>(workload.settle_ms);
        return end.wait_until(connected + std::chrono::duration_cast<Clock::duration>(settling))
                   ? Result<void>{}
                   : std::unexpected(aborted());
    }

    // All connections begin together.
    bool line_up() {
        std::unique_lock lock(mutex);
        ++ready;
        changed.notify_all();
        changed.wait(lock, [&] { return go || abort.load(); });
        return !abort;
    }

    bool in_time() const {
        return !abort && !over &&
               (workload.duration_s <= 0 || since_began(Clock::now()) < workload.duration_s);
    }

    struct Client {
        std::size_t index;
        std::mt19937_64 random;
        std::vector<Exchange> done;
        GapMeter gaps;
        bool concluded = false;
    };

    /// The windows of the connection's sender, before it is told to send.
    std::vector<PathWindow> windows(int client) {
        std::lock_guard lock(mutex);
        int fd = client;
        if (!upload()) {
            const auto found = server_ends.find(port_of(client, ::getsockname));
            if (found == server_ends.end()) {
                return {};
            }
            fd = found->second;
        }
        const auto sample = sample_connection(fd);
        return sample ? path_windows(network, *sample, upload()) : std::vector<PathWindow>{};
    }

    /// One request and its answer on a connection.
    Result<Exchange> exchange(End &end, GapMeter &gaps, std::uint64_t up, std::uint64_t down,
                              Clock::time_point start) {
        Order order;
        order.up_bytes = up;
        order.down_bytes = down;
        order.sent_ns = now_ns();
        if (auto sent = end.send_value(order, up); !sent) {
            return std::unexpected(sent.error());
        }
        // The answer is owed from when the request was on its way: that of an upload may take long to be sent.
        gaps.owed_since(now_ns());
        GapMeter unused;
        const bool bulk = workload.kind == Workload::Kind::bulk && upload();
        auto received = end.receive(down, bulk ? unused : gaps, upload() ? nullptr : &delivered);
        if (!received) {
            return std::unexpected(received.error());
        }
        const auto now = Clock::now();
        Exchange result;
        result.start_s = since_began(start);
        result.seconds = std::chrono::duration<double>(now - start).count();
        result.up_bytes = up;
        result.down_bytes = down;
        return result;
    }

    Result<void> run_client(Client &client) {
        auto fd = connect();
        if (!fd) {
            return std::unexpected(fd.error());
        }
        auto end = std::make_unique<End>(fd->get(), abort);
        auto watch = std::make_unique<Watch>(*this, fd->get(), !upload());
        if (auto settled = settle(*watch, *end); !settled) {
            return settled;
        }
        if (!line_up()) {
            return {};
        }
        const auto reconnect = [&](bool with_settling) -> Result<void> {
            watch.reset();
            auto again = connect();
            if (!again) {
                return std::unexpected(again.error());
            }
            fd = std::move(again);
            end = std::make_unique<End>(fd->get(), abort);
            watch = std::make_unique<Watch>(*this, fd->get(), !upload());
            return with_settling ? settle(*watch, *end) : Result<void>{};
        };
        Result<void> result;
        switch (workload.kind) {
        case Workload::Kind::bulk:
            result = run_bulk(client, *end);
            break;
        case Workload::Kind::requests:
            result = run_requests(client, end, reconnect);
            break;
        case Workload::Kind::stream:
            result = run_stream(client, *end);
            break;
        case Workload::Kind::video:
            result = run_video(client, *end);
            break;
        }
        if (!result) {
            failed(result.error());
        }
        conclude(client);
        wait_to_close();
        return result;
    }

    Result<void> run_bulk(Client &client, End &end) {
        const auto bytes = workload.bytes == 0 ? without_end : workload.bytes;
        auto done = exchange(end, client.gaps, upload() ? bytes : 1, upload() ? 1 : bytes, Clock::now());
        if (!done) {
            return std::unexpected(done.error());
        }
        client.done.push_back(*done);
        return {};
    }

    Result<void> run_requests(Client &client, std::unique_ptr<End> &end,
                              const std::function<Result<void>(bool)> &reconnect) {
        using Connections = Workload::Connections;
        bool first = true;
        for (std::size_t group = 0; group < workload.sizes_bytes.size(); ++group) {
            const auto size = workload.sizes_bytes[group];
            for (unsigned i = 0; (workload.counts.empty() || i < workload.counts[group]) && in_time(); ++i) {
                auto start = Clock::now();
                bool connects = false;
                const bool fresh = workload.reuse == Connections::per_request ||
                                   (workload.reuse == Connections::per_size && i == 0);
                if (fresh && !first) {
                    const bool settling = workload.reuse == Connections::per_size;
                    if (auto connected = reconnect(settling); !connected) {
                        return connected;
                    }
                    // A new connection for each request is part of what the request takes.
                    connects = !settling;
                }
                first = false;
                // Asking takes time of its own, which belongs to no request.
                auto known = connects ? std::vector<PathWindow>{} : windows(end->fd());
                start = connects ? start : Clock::now();
                auto done = exchange(*end, client.gaps, upload() ? size : workload.other_bytes,
                                     upload() ? workload.other_bytes : size, start);
                if (!done) {
                    return std::unexpected(done.error());
                }
                done->group = group;
                done->connects = connects;
                done->windows = std::move(known);
                client.done.push_back(std::move(*done));
                // Not always in step with timers and queues, and different for each seed.
                const double part =
                    0.95 + 0.1 * static_cast<double>(client.random() >> 11) / 9007199254740992.0;
                const auto gap = std::chrono::duration<double, std::milli>(workload.gap_ms * part);
                if (!end->wait_until(Clock::now() + std::chrono::duration_cast<Clock::duration>(gap))) {
                    return std::unexpected(aborted());
                }
            }
        }
        return {};
    }

    Result<void> run_stream(Client &client, End &end) {
        const double interval_s =
            static_cast<double>(workload.message_bytes) * 8 / (workload.stream_mbit * 1e6);
        Order order;
        order.mode = upload() ? Mode::messages_up : Mode::messages_down;
        order.down_bytes = workload.message_bytes;
        order.sent_ns = now_ns();
        order.interval_ns = static_cast<std::int64_t>(interval_s * 1e9);
        order.count = static_cast<std::uint64_t>(workload.duration_s / interval_s);
        if (auto sent = end.send_value(order); !sent) {
            return sent;
        }
        if (upload()) {
            auto sent =
                send_messages(end, workload.message_bytes, order.sent_ns, order.interval_ns, order.count);
            if (!sent) {
                return sent;
            }
            // The server's side ends with the last message; the connection must live until then.
            while (!abort && stream_taken() < order.count * workload.connections) {
                std::this_thread::sleep_for(5ms);
            }
            return {};
        }
        client.gaps.owed_since(order.sent_ns);
        return take_messages(end, client.gaps);
    }

    std::size_t stream_taken() const {
        std::lock_guard lock(mutex);
        return server_exchanges.size();
    }

    // A player that takes what the last chunks' rate allows, and waits when enough is ahead.
    Result<void> run_video(Client &client, End &end) {
        constexpr double caution = 0.8;
        constexpr std::size_t remembered = 3;
        constexpr std::uint64_t ask_bytes = 200;
        const auto &ladder = workload.ladder_mbit;
        std::vector<double> seconds_per_mbit;
        double ahead_s = 0;
        double stalled_s = 0;
        auto counted_until = Clock::now();
        bool playing = false;
        const auto play = [&] {
            const auto now = Clock::now();
            const double passed = std::chrono::duration<double>(now - counted_until).count();
            counted_until = now;
            if (playing) {
                stalled_s += std::max(0.0, passed - ahead_s);
                ahead_s = std::max(0.0, ahead_s - passed);
            }
        };
        while (in_time()) {
            double rate = ladder.front();
            if (!seconds_per_mbit.empty()) {
                const auto n = std::min(remembered, seconds_per_mbit.size());
                const double mean = std::accumulate(seconds_per_mbit.end() - static_cast<std::ptrdiff_t>(n),
                                                    seconds_per_mbit.end(), 0.0) /
                                    static_cast<double>(n);
                for (const double step : ladder) {
                    rate = step <= caution / mean ? step : rate;
                }
            }
            const auto bytes = static_cast<std::uint64_t>(rate * workload.chunk_s * 1e6 / 8);
            auto done = exchange(end, client.gaps, upload() ? bytes : ask_bytes, upload() ? ask_bytes : bytes,
                                 Clock::now());
            if (!done) {
                return std::unexpected(done.error());
            }
            done->video_mbit = rate;
            client.done.push_back(*done);
            seconds_per_mbit.push_back(done->seconds / (static_cast<double>(bytes) * 8 / 1e6));
            play();
            playing = true;
            ahead_s += workload.chunk_s;
            if (ahead_s > workload.buffer_s - workload.chunk_s) {
                const auto pause = std::chrono::duration<double>(
                    ahead_s - std::max(0.0, workload.buffer_s - workload.chunk_s));
                if (!end.wait_until(Clock::now() + std::chrono::duration_cast<Clock::duration>(pause))) {
                    return std::unexpected(aborted());
                }
            }
            play();
        }
        std::lock_guard lock(mutex);
        stall_s += stalled_s;
        return {};
    }

    void client_thread(std::size_t index) {
        Client client{index, std::mt19937_64(seed * 1000 + index), {}, {}};
        if (auto done = run_client(client); !done) {
            failed(done.error());
        }
        conclude(client);
    }

    /// Its part of the workload is over.
    void conclude(Client &client) {
        if (std::exchange(client.concluded, true)) {
            return;
        }
        note(client.gaps);
        std::lock_guard lock(mutex);
        for (const auto &e : client.done) {
            last_end_s = std::max(last_end_s, e.start_s + e.seconds);
        }
        exchanges[client.index] = std::move(client.done);
        if (--running == 0) {
            // Of bulk by time the timekeeper has taken the count.
            delivered_in_time = delivered_in_time == 0 ? delivered.load() : delivered_in_time;
        }
        changed.notify_all();
    }

    // Bulk by time, and requests that hang: what is under way when the time is over ends at once.
    void keep_time() {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return go || abort.load(); });
        if (workload.kind != Workload::Kind::bulk || workload.duration_s <= 0) {
            return;
        }
        const auto end = began + std::chrono::duration_cast<Clock::duration>(
                                     std::chrono::duration<double>(workload.duration_s));
        changed.wait_until(lock, end, [&] { return abort || running == 0; });
        if (!abort && running > 0) {
            delivered_in_time = delivered;
            over = true;
            abort = true;
        }
    }
};

WorkloadRun::WorkloadRun(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
WorkloadRun::WorkloadRun(WorkloadRun &&) noexcept = default;
WorkloadRun &WorkloadRun::operator=(WorkloadRun &&) noexcept = default;
WorkloadRun::~WorkloadRun() = default;

Result<WorkloadRun> WorkloadRun::prepare(const Network &network, const Scenario &scenario,
                                         std::size_t subflows, std::uint64_t seed) {
    const auto &workload = scenario.workload;
    auto impl = std::make_unique<Impl>(network, scenario, subflows, seed);
    if (auto listening = impl->listen(); !listening) {
        return std::unexpected(listening.error());
    }
    impl->exchanges.resize(workload.connections);
    impl->running = workload.connections;
    impl->timekeeper = std::thread([raw = impl.get()] { raw->keep_time(); });
    for (std::size_t i = 0; i < workload.connections; ++i) {
        impl->clients.emplace_back([raw = impl.get(), i] { raw->client_thread(i); });
    }
    {
        std::unique_lock lock(impl->mutex);
        impl->changed.wait(lock, [&] { return impl->ready == workload.connections || impl->abort; });
        if (impl->error) {
            return std::unexpected(*impl->error);
        }
    }
    return WorkloadRun(std::move(impl));
}

Clock::time_point WorkloadRun::begin() {
    std::lock_guard lock(impl_->mutex);
    impl_->began = Clock::now();
    impl_->go = true;
    impl_->changed.notify_all();
    return impl_->began;
}

bool WorkloadRun::running() const { return impl_->running > 0; }

ReceiverSample WorkloadRun::sample() {
    std::lock_guard lock(impl_->mutex);
    ReceiverSample sum{.delivered = impl_->delivered};
    for (auto &[id, w] : impl_->watched) {
        if (w.receives) {
            w.look();
            sum.ahead_bytes += w.first_ahead ? w.ahead() : 0;
        }
    }
    return sum;
}

std::optional<std::uint64_t> WorkloadRun::reinjected_bytes() const {
    std::lock_guard lock(impl_->mutex);
    std::uint64_t sum = 0;
    for (auto &[id, w] : impl_->watched) {
        if (!w.receives) {
            w.look();
            if (!w.counts_bytes) {
                return std::nullopt;
            }
            sum += w.reinjected;
        }
    }
    return sum;
}

std::vector<std::string> WorkloadRun::subflows() const {
    std::lock_guard lock(impl_->mutex);
    std::vector<std::string> all;
    for (const auto &[id, w] : impl_->watched) {
        if (w.receives != impl_->upload()) {
            for (const auto &[subflow, address] : w.local) {
                all.push_back(address);
            }
        }
    }
    return all;
}

Result<WorkloadResult> WorkloadRun::wait() {
    impl_->join();
    auto &impl = *impl_;
    std::lock_guard lock(impl.mutex);
    if (impl.error) {
        return std::unexpected(*impl.error);
    }
    WorkloadResult result;
    for (auto &of_connection : impl.exchanges) {
        result.exchanges.insert(result.exchanges.end(), of_connection.begin(), of_connection.end());
    }
    result.exchanges.insert(result.exchanges.end(), impl.server_exchanges.begin(),
                            impl.server_exchanges.end());
    result.seconds = impl.over ? impl.workload.duration_s : impl.last_end_s;
    result.delivered = impl.delivered_in_time;
    result.longest_gap_s = static_cast<double>(impl.longest_gap_ns) / 1e9;
    result.video_stall_s = impl.stall_s;
    return result;
}

} // namespace mps::lab
