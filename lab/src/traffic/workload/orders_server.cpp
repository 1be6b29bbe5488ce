// SPDX-License-Identifier: MIT
#include "orders_server.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/try.hpp"
#include "messages.hpp"

namespace mps::lab::traffic {

SocketSpec socket_spec(const Scenario &scenario, const Namespace &ns) {
    return {.congestion_control = ns.socket_congestion_control(),
            .send_buffer = scenario.send_buffer,
            .receive_buffer = scenario.receive_buffer,
            .beyond_limits = true};
}

Result<void> send_at_once(int fd, const Workload &workload) {
    const int on = 1;
    if (workload.range_bytes != 0 && ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) {
        return os_error("set TCP_NODELAY on", "a connection", errno, "");
    }
    return {};
}

Result<void> OrdersServer::start() {
    const auto &ns = state_.network.b();
    auto listener =
        ns.run([&] { return listen_on(Family::dual, workload_port, socket_spec(state_.scenario, ns)); });
    MPS_TRY(listener);
    acceptor_.start(std::move(*listener), [this](int fd, const SocketAddress &peer) {
        if (auto done = serve(fd, peer); !done) {
            state_.failed(done.error());
            state_.wait_to_close();
        }
    });
    return {};
}

Result<void> OrdersServer::serve(int fd, const SocketAddress &peer) {
    if (auto set = send_at_once(fd, state_.workload); !set) {
        return set;
    }
    Watch watch(state_.watches, fd, state_.upload());
    PatternStream stream(fd, state_.abort);
    GapMeter gaps;
    state_.server_ends.add(peer.port(), fd);
    auto served = serve_orders(stream, gaps);
    state_.server_ends.remove(peer.port());
    state_.note(gaps);
    return served;
}

Result<void> OrdersServer::serve_orders(PatternStream &stream, GapMeter &gaps) {
    GapMeter greeting;
    for (;;) {
        if (!stream.wait_readable()) {
            return {}; // an abort is told by whoever aborted
        }
        const auto order = stream.receive_value<Order>();
        if (!order) {
            return {}; // the client is done with the connection
        }
        if (order->magic != order_magic) {
            return fail("an order is damaged", "", EBADMSG);
        }
        auto &meter = order->counts != 0 ? gaps : greeting;
        meter.owed_since(order->sent_ns);
        Result<void> done;
        switch (order->mode) {
        case OrderMode::exchange:
            done = serve_exchange(stream, *order, meter);
            break;
        case OrderMode::messages_up:
            done = take_messages(state_, stream, gaps);
            break;
        case OrderMode::messages_down:
            done = send_messages(stream, order->down_bytes, order->sent_ns, order->interval_ns, order->count);
            break;
        }
        if (!done) {
            return done;
        }
    }
}

Result<void> OrdersServer::serve_exchange(PatternStream &stream, const Order &order, GapMeter &gaps) {
    const bool counts = state_.upload() && order.counts != 0;
    if (auto received = stream.receive_pattern(order.up_bytes, gaps, counts ? &state_.delivered : nullptr);
        !received) {
        return std::unexpected(received.error());
    }
    return stream.send_pattern({}, order.down_bytes);
}

} // namespace mps::lab::traffic
