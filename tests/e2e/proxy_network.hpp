// SPDX-License-Identifier: MIT
//
// The network of the tests of `mpsched proxy`: the client speaks TCP, the gateway could speak MPTCP to the server over two uplinks.
#pragma once

#include <string>
#include <utility>

#include "gateway_rig.hpp"

namespace mps::e2e {

struct ProxyNetwork {
    RoutedNetwork network;
    Server server = network.serve();

    explicit ProxyNetwork(double mbit = 0, Family family = Family::ipv4)
        : network(RoutedSpec{.family = family, .mbit = mbit}) {
        must(network.gateway.ip("mptcp limits set subflows 8 add_addr_accepted 8"));
        // By route, since a relay's sockets ask for none, and a namespace cannot have one as its default that only root's may have.
        const std::string bits = network.v6() ? "/64" : "/28";
        for (int i = 0; i < 2; i++) {
            const std::string net =
                network.v6() ? network.address(i + 1, 0) : fmt::format("198.51.100.{}", 16 * (i + 1));
            const std::string line = fmt::format("route replace {}{} dev up{} proto kernel{} congctl cubic",
                                                 net, bits, i, network.v6() ? " metric 256" : " scope link");
            must(network.v6() ? network.gateway.ip6(line) : network.gateway.ip(line));
        }
        // The way back to clients whose address is kept.
        const std::string lan = network.v6() ? network.address(0, 0) + "/64" : "198.51.100.0/28";
        const std::string back = fmt::format("route add {} via {}", lan, network.address(1, 1));
        must(network.v6() ? network.server.ip6(back) : network.server.ip(back));
    }

    Counters gateway_counters() const { return must(lab::read_counters(network.gateway)); }
    /// A connection of a host that has no MPTCP.
    Transfer begin(lab::TransferSpec spec) const {
        spec.protocol = lab::Protocol::tcp;
        return network.start(server, std::move(spec));
    }
    /// All that a proxy could leave in the gateway's namespace.
    std::string network_state() const {
        std::string all;
        for (const char *words :
             {"tc qdisc show dev lan", "tc filter show dev lan ingress", "tc qdisc show dev up0",
              "tc qdisc show dev up1", "ip rule", "ip -6 rule", "ip -4 route show table all",
              "ip -6 route show table all | grep -v -e fe80 -e ff00 -e anycast"})
            all += must(network.gateway.spawn({"sh", "-c", words})).out;
        return all;
    }
};

} // namespace mps::e2e
