// SPDX-License-Identifier: MIT
// A thread that accepts connections, and one for each of them. Private to lab/src.
#pragma once

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "base/fd.hpp"

#include "socket.hpp"

namespace mps::lab::traffic {

class Acceptor {
  public:
    /// Runs in the connection's thread; the socket is closed when it returns.
    using Serve = std::function<void(int fd, const SocketAddress &peer)>;

    Acceptor() = default;
    ~Acceptor() { stop(); }
    Acceptor(const Acceptor &) = delete;
    Acceptor &operator=(const Acceptor &) = delete;

    /// Accepted sockets belong to the listener's namespace, whatever thread accepts them.
    void start(Fd listener, Serve serve);
    /// Accepts no more, and waits until all that are served have been.
    void stop();

  private:
    void accept_loop();

    Fd listener_;
    Serve serve_;
    std::atomic<bool> stopping_{false};
    std::vector<std::thread> workers_;
    std::thread acceptor_;
};

} // namespace mps::lab::traffic
