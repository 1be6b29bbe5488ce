// SPDX-License-Identifier: MIT
//
// Two hosts that know nothing of mpsched, and a router between them with two uplinks: the client has one address behind it, the server one at
// each uplink, of which it announces the second.
#pragma once

#include <string>

#include <fmt/format.h>

#include "traffic.hpp"

namespace mps::e2e {

struct RoutedNetwork {
    lab::Family family;
    lab::Namespace client = must(lab::Namespace::create("gc"));
    lab::Namespace gateway = must(lab::Namespace::create("gg"));
    lab::Namespace server = must(lab::Namespace::create("gs"));

    RoutedNetwork(lab::Family of, double mbit) : family(of) {
        must(client.ip(fmt::format("link add eth0 type veth peer name lan netns {}", gateway.name())));
        for (lab::Namespace *host : {&client, &server}) {
            must(host->set_congestion_control("cubic"));
            must(host->ip("mptcp limits set subflows 8 add_addr_accepted 8"));
        }
        must(gateway.set_sysctl("ipv4/ip_forward", "1"));
        must(gateway.set_sysctl("ipv6/conf/all/forwarding", "1"));
        batch(client,
              fmt::format("addr add {}{} dev eth0 {}\nlink set eth0 up", address(0, 2), bits(), dad()));
        batch(gateway,
              fmt::format("addr add {}{} dev lan {}\nlink set lan up", address(0, 1), bits(), dad()));
        for (int i = 0; i < 2; i++)
            add_uplink(i, mbit);
        batch(client, fmt::format("route add default via {}", address(0, 1)));
        must(server.ip(fmt::format("mptcp endpoint add {} signal", server_address(1))));
    }

    // Both ends of it, on which its queue is.
    void add_uplink(int i, double mbit) const {
        const std::string name = uplink(i);
        must(gateway.ip(fmt::format("link add {0} type veth peer name {0} netns {1}", name, server.name())));
        batch(gateway, fmt::format("addr add {0}{1} dev {2} {3}\nlink set {2} up", address(i + 1, 1), bits(),
                                   name, dad()));
        batch(server, fmt::format("addr add {0}{1} dev {2} {3}\nlink set {2} up\n"
                                  "route add default via {4} dev {2} table {5}\n",
                                  server_address(i), bits(), name, dad(), address(i + 1, 1), 100 + i));
        // Else it is there already, from an uplink that was taken away.
        (void)(v6() ? server.ip6(source_rule(i)) : server.ip(source_rule(i)));
        if (mbit > 0)
            for (const lab::Namespace *ns : {&gateway, &server})
                must(ns->tc(fmt::format("qdisc add dev {} root tbf rate {:.0f}kbit burst 16k latency 50ms",
                                        name, mbit * 1000)));
    }
    void remove_uplink(int i) const { must(gateway.ip(fmt::format("link del {}", uplink(i)))); }
    static std::string uplink(int i) { return fmt::format("up{}", i); }

    bool v6() const { return family == lab::Family::ipv6; }
    std::string address(int net, int host) const {
        return v6() ? fmt::format("2001:db8:0:{}::{}", net, host)
                    : fmt::format("198.51.100.{}", 16 * net + host);
    }
    std::string client_address() const { return address(0, 2); }
    std::string server_address(int uplink) const { return address(uplink + 1, 2); }

    lab::Server serve() const { return must(lab::Server::start(server, {.family = family})); }
    lab::Transfer start(const lab::Server &to, lab::TransferSpec spec) const {
        spec.address = server_address(0);
        spec.port = to.port();
        return must(lab::Transfer::start(client, spec));
    }

  private:
    void batch(const lab::Namespace &ns, const std::string &lines) const {
        must(v6() ? ns.ip6(lines) : ns.ip(lines));
    }
    std::string source_rule(int i) const {
        return fmt::format("rule add from {} table {}", server_address(i), 100 + i);
    }
    const char *bits() const { return v6() ? "/64" : "/28"; }
    const char *dad() const { return v6() ? "nodad" : ""; }
};

} // namespace mps::e2e
