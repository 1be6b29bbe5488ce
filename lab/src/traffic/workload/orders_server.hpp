// SPDX-License-Identifier: MIT
// The server's end of a workload: it does what clients order. Private to lab/src.
#pragma once

#include "../acceptor.hpp"
#include "state.hpp"

namespace mps::lab::traffic {

class OrdersServer {
  public:
    explicit OrdersServer(State &state) : state_(state) {}

    Result<void> start();
    /// Waits until the clients have closed their connections.
    void stop() { acceptor_.stop(); }

  private:
    Result<void> serve(int fd, const SocketAddress &peer);
    Result<void> serve_orders(PatternStream &stream, GapMeter &gaps);
    Result<void> serve_exchange(PatternStream &stream, const Order &order, GapMeter &gaps);

    State &state_;
    Acceptor acceptor_;
};

/// A socket of a workload, as the scenario wants it.
SocketSpec socket_spec(const Scenario &scenario, const Namespace &ns);

/// Of a workload in ranges, as web servers and browsers do: else a range's last segment, and the request after the next, wait
/// until what is before them has been acknowledged (Nagle, RFC 896).
Result<void> send_at_once(int fd, const Workload &workload);

} // namespace mps::lab::traffic
