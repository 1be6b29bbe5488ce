// SPDX-License-Identifier: MIT
#include "acceptor.hpp"

#include <utility>

#include <poll.h>

namespace mps::lab::traffic {

void Acceptor::start(Fd listener, Serve serve) {
    listener_ = std::move(listener);
    serve_ = std::move(serve);
    acceptor_ = std::thread([this] { accept_loop(); });
}

void Acceptor::stop() {
    stopping_ = true;
    if (acceptor_.joinable()) {
        acceptor_.join();
    }
    for (auto &worker : workers_) {
        if (worker.joinable()) {
            worker.join();
        }
    }
}

void Acceptor::accept_loop() {
    constexpr int stop_check_ms = 50;
    while (!stopping_) {
        pollfd ready{listener_.get(), POLLIN, 0};
        if (::poll(&ready, 1, stop_check_ms) <= 0) {
            continue;
        }
        SocketAddress peer;
        peer.size = sizeof(peer.storage);
        Fd fd(::accept4(listener_.get(), peer.get(), &peer.size, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (fd) {
            workers_.emplace_back([this, fd = std::move(fd), peer] { serve_(fd.get(), peer); });
        }
    }
}

} // namespace mps::lab::traffic
