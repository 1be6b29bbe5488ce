// SPDX-License-Identifier: MIT
//
// Two hosts that know nothing of mpsched, and a router between them with two uplinks: the client has one address behind it, the server one at
// each uplink, of which it announces the second.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <string>

#include <fmt/format.h>

#include "traffic_wire.hpp"

namespace mps::e2e {

struct RoutedSpec {
    lab::Family family = lab::Family::ipv4;
    double mbit = 0;                                     ///< of each uplink, both ways; 0: unshaped
    std::array<Kind, 2> uplinks{Kind::veth, Kind::veth}; ///< veth, tun, vlan, bridge, ipip, gre, wireguard
    std::array<std::chrono::microseconds, 2> delays{};   ///< one way, of those that are tun
    std::shared_ptr<std::atomic<bool>> cut{}; ///< while it is true, the first uplink, a tun, loses everything
    bool masquerade = false; ///< what leaves by an uplink has the router's address there; where there is nft
};

bool can_masquerade();

struct RoutedNetwork {
    RoutedSpec spec;
    lab::Namespace client = must(lab::Namespace::create("gc"));
    lab::Namespace gateway = must(lab::Namespace::create("gg"));
    lab::Namespace server = must(lab::Namespace::create("gs"));

    explicit RoutedNetwork(const RoutedSpec &of);

    /// Both ends of it, on which its queue is.
    void add_uplink(int i);
    void remove_uplink(int i);
    static std::string uplink(int i) { return fmt::format("up{}", i); }

    bool v6() const { return spec.family == lab::Family::ipv6; }
    std::string address(int net, int host) const {
        return v6() ? fmt::format("2001:db8:0:{}::{}", net, host)
                    : fmt::format("198.51.100.{}", 16 * net + host);
    }
    std::string client_address() const { return address(0, 2); }
    std::string server_address(int uplink) const { return address(uplink + 1, 2); }

    lab::Server serve() const { return must(lab::Server::start(server, {.family = spec.family})); }
    lab::Transfer start(const lab::Server &to, lab::TransferSpec transfer) const {
        transfer.address = server_address(0);
        transfer.port = to.port();
        return must(lab::Transfer::start(client, transfer));
    }

  private:
    void make_devices(int i);
    Meddler cutting() const;
    void batch(const lab::Namespace &ns, const std::string &lines) const {
        must(v6() ? ns.ip6(lines) : ns.ip(lines));
    }
    std::string source_rule(int i) const {
        return fmt::format("rule add from {} table {}", server_address(i), 100 + i);
    }
    const char *bits() const { return v6() ? "/64" : "/28"; }
    const char *dad() const { return v6() ? "nodad" : ""; }

    std::array<std::unique_ptr<Wire>, 2> wires_{}; // before the namespaces go
};

} // namespace mps::e2e
