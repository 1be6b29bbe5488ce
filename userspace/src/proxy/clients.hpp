// SPDX-License-Identifier: MIT
//
// For whom a proxy has a connection. Only its relay knows which of its sockets belong together, so it is asked: haproxy tells its sessions
// ("show sess all"), and the kernel tells which MPTCP connection is behind a socket of the relay's.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "mpsched/instance.hpp"

namespace mps::proxy {

struct Client {
    std::string address{}; ///< "192.0.2.5:40000", "[2001:db8::5]:40000"
    std::string proxy{};   ///< "near"
};

/// One session as haproxy tells it; `to_server` is a descriptor of the relay's, -1 where there is none.
struct Session {
    std::uint64_t id = 0;
    std::string client{};
    int to_server = -1;

    bool operator==(const Session &) const = default;
};
/// Of this proxy, in what haproxy has answered.
[[nodiscard]] std::vector<Session> sessions_of(std::string_view answer, std::string_view proxy);

class Clients {
  public:
    /// Of the near end in a network namespace. What cannot be told is a warning. Of a far end it is not asked: haproxy (2.6) tells where a
    /// session's connection comes from, which is the near end, and not what it has heard by the PROXY protocol.
    [[nodiscard]] static Clients look(const std::string &netns, std::vector<std::string> &warnings);

    /// nullptr: it is not a proxy's, or not known.
    [[nodiscard]] const Client *of(const ConnectionStatus &connection) const;

  private:
    void add(const std::string &proxy, std::vector<std::string> &warnings);

    std::map<std::uint32_t, Client> by_token_{};
    std::map<std::string, Client> by_ends_{}; ///< local and remote address of one that is plain TCP
};

} // namespace mps::proxy
