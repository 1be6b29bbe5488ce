// SPDX-License-Identifier: MIT
//
// Serves HTTP from a thread of its own. One connection, one request, within two seconds: who is slow, silent or does not read is let
// go, and nobody else waits for it.
#pragma once

#include <functional>
#include <memory>

#include "http/address.hpp"
#include "http/message.hpp"
#include "mpsched/error.hpp"

namespace mps::http {

// In the server's thread; nobody else is served while it runs.
using Handler = std::function<Response(const Request &)>;

class Server {
  public:
    // In the network namespace of the calling thread. Where it listens on loopback only requests that name it are handed on.
    [[nodiscard]] static Result<Server> start(const Address &address, Handler handler);
    Server(Server &&) noexcept;
    Server &operator=(Server &&) noexcept;
    // Lets all go and waits for the handler.
    ~Server();

  private:
    struct Impl;
    explicit Server(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace mps::http
