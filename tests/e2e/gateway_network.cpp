// SPDX-License-Identifier: MIT
#include "gateway_network.hpp"

namespace mps::e2e {

bool can_masquerade() { return must(lab::run_process({"sh", "-c", "command -v nft"})).ok(); }

RoutedNetwork::RoutedNetwork(const RoutedSpec &of) : spec(of) {
    must(client.ip(fmt::format("link add eth0 type veth peer name lan netns {}", gateway.name())));
    for (lab::Namespace *host : {&client, &server}) {
        must(host->set_congestion_control("cubic"));
        must(host->ip("mptcp limits set subflows 8 add_addr_accepted 8"));
    }
    must(gateway.set_sysctl("ipv4/ip_forward", "1"));
    must(gateway.set_sysctl("ipv6/conf/all/forwarding", "1"));
    batch(client, fmt::format("addr add {}{} dev eth0 {}\nlink set eth0 up", address(0, 2), bits(), dad()));
    batch(gateway, fmt::format("addr add {}{} dev lan {}\nlink set lan up", address(0, 1), bits(), dad()));
    for (int i = 0; i < 2; i++)
        add_uplink(i);
    batch(client, fmt::format("route add default via {}", address(0, 1)));
    must(server.ip(fmt::format("mptcp endpoint add {} signal", server_address(1))));
    if (spec.masquerade && can_masquerade())
        must(gateway.spawn_checked(
            {"nft", "add table inet nat; add chain inet nat post { type nat hook "
                    "postrouting priority 100 ; }; add rule inet nat post oifname \"up*\" masquerade"}));
}

Meddler RoutedNetwork::cutting() const {
    if (!spec.cut)
        return {};
    return [cut = spec.cut](lab::Side, std::vector<std::uint8_t> packet) {
        std::vector<Passed> passed;
        if (!*cut)
            passed.push_back({std::move(packet)});
        return passed;
    };
}

void RoutedNetwork::make_devices(int i) {
    const auto at = static_cast<std::size_t>(i);
    const Kind kind = spec.uplinks[at];
    const std::string name = uplink(i);
    if (kind == Kind::tun)
        wires_[at] = join_by_wire(gateway, server, name, kind, spec.delays[at], i ? Meddler{} : cutting());
    else
        make_pair(kind, gateway, server, name, static_cast<std::size_t>(i),
                  fmt::format("192.0.2.{}", 16 * i + 1), fmt::format("192.0.2.{}", 16 * i + 2));
}

void RoutedNetwork::add_uplink(int i) {
    const std::string name = uplink(i);
    make_devices(i);
    batch(gateway, fmt::format("addr add {0}{1} dev {2} {3}\nlink set {2} up", address(i + 1, 1), bits(),
                               name, dad()));
    batch(server, fmt::format("addr add {0}{1} dev {2} {3}\nlink set {2} up\n"
                              "route add default via {4} dev {2} table {5}\n",
                              server_address(i), bits(), name, dad(), address(i + 1, 1), 100 + i));
    // Else it is there already, from an uplink that was taken away.
    (void)(v6() ? server.ip6(source_rule(i)) : server.ip(source_rule(i)));
    if (spec.mbit > 0)
        for (const lab::Namespace *ns : {&gateway, &server})
            must(ns->tc(fmt::format("qdisc add dev {} root tbf rate {:.0f}kbit burst 16k latency 50ms", name,
                                    spec.mbit * 1000)));
}

void RoutedNetwork::remove_uplink(int i) {
    wires_[static_cast<std::size_t>(i)].reset();
    (void)gateway.ip(fmt::format("link del {}", uplink(i)));
}

} // namespace mps::e2e
