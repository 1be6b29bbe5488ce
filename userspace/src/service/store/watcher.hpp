// SPDX-License-Identifier: MIT
//
// The process that talks to a store. It has no capabilities, so what a store says is never read by one that has them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/child.hpp"
#include "base/fd.hpp"
#include "service/store/address.hpp"
#include "service/store/etcd.hpp"
#include "service/store/http.hpp"

namespace mps::service::store {

struct WatcherOptions {
    Address address{};
    std::string node{};  // under this name reports are put
    std::string login{}; // "name:password", or a token; "": none
    Tls tls{};
};

// What the process says.
struct Message {
    std::optional<Value> value{}; // what the store has now
    std::optional<Error> error{}; // why it cannot be reached, or does not do what it was asked
    bool reached = false;         // it answers
};

// The process, and this end of the way to it. It ends when this does.
class Watcher {
  public:
    [[nodiscard]] static Result<Watcher> start(const WatcherOptions &options);

    // Readable when there is something to receive.
    [[nodiscard]] int fd() const { return socket_.get(); }
    // What came since. An error: the process is gone.
    [[nodiscard]] Result<std::vector<Message>> receive();
    // One line, to be put under this host's name; the last one counts.
    void report(const std::string &line) const;

  private:
    Watcher(Child process, Fd socket) : process_(std::move(process)), socket_(std::move(socket)) {}
    Child process_;
    Fd socket_;
    std::string pending_{};
};

} // namespace mps::service::store
