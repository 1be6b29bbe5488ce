// SPDX-License-Identifier: MIT
#include "fabric.hpp"

#include <deque>
#include <tuple>

#include <fmt/format.h>

#include "traffic.hpp"

namespace mps::e2e {

using lab::Namespace;

namespace {

void shape(const Namespace &ns, const std::string &device, double mbit) {
    must(ns.tc(fmt::format("qdisc add dev {} root tbf rate {:.0f}kbit burst 16k latency 60ms", device,
                           mbit * 1000)));
}

void address_of(const Namespace &ns, const std::string &address, const std::string &device) {
    const bool ipv6 = address.find(':') != address.npos;
    must(ns.ip(fmt::format("addr add {} dev {}{}", address, device, ipv6 ? " nodad" : "")));
}

} // namespace

void Fabric::add(const std::string &name, bool host) {
    Node node{.ns = std::make_unique<Namespace>(must(Namespace::create(name))),
              .number = host ? hosts_++ : routers_++,
              .host = host};
    // A device asks for neighbours by its link-local address, and that is good for nothing for one or two seconds unless it is taken to be
    // nobody else's. A SYN that waited so long, and its repetition, make two SYN-ACKs, at the second of which Linux (6.18) resets a join.
    must(node.ns->set_sysctl("ipv6/conf/default/accept_dad", "0"));
    nodes_.emplace(name, std::move(node));
}

void Fabric::add_host(const std::string &name) {
    add(name, true);
    must(nodes_.at(name).ns->set_congestion_control("cubic"));
    must(nodes_.at(name).ns->ip("mptcp limits set subflows 8 add_addr_accepted 8"));
}

void Fabric::hash_by(const std::string &router, By by) const {
    // include/net/ip_fib.h: addresses 3, protocol 4, flow label 8, ports 0x30.
    const char *fields = by == By::labels ? "15" : "55";
    const Namespace &of = ns(router);
    for (const char *family : {"ipv4", "ipv6"}) {
        must(of.set_sysctl(fmt::format("{}/fib_multipath_hash_policy", family), "3"));
        must(of.set_sysctl(fmt::format("{}/fib_multipath_hash_fields", family), fields));
    }
}

void Fabric::add_router(const std::string &name) {
    add(name, false);
    const Node &node = nodes_.at(name);
    must(node.ns->set_sysctl("ipv4/ip_forward", "1"));
    must(node.ns->set_sysctl("ipv6/conf/all/forwarding", "1"));
    // Else a router tells of six packets whose hop limit has ended, and then of one a second.
    must(node.ns->set_sysctl("ipv4/icmp_ratelimit", "0"));
    must(node.ns->set_sysctl("ipv6/icmp/ratelimit", "0"));
    // Since 6.11 (commit 4ee2a8cace3f). With the same hash in all routers the second of two in a row takes the same turn as the first, and half
    // of a FatTree's paths are never taken.
    std::ignore = node.ns->set_sysctl("ipv4/fib_multipath_hash_seed",
                                      fmt::to_string(7919U * static_cast<unsigned>(node.number + 1) + seed_));
    hash_by(name, by_);
    address_of(*node.ns, self(name), "lo");
}

std::string Fabric::self(const std::string &router) const {
    const int number = nodes_.at(router).number;
    return by_ == By::labels ? fmt::format("2001:db8:ffff::{:x}", number + 1)
                             : fmt::format("203.0.113.{}", 200 + number);
}

std::string Fabric::address(const std::string &host, int which) const {
    const int number = nodes_.at(host).number;
    return by_ == By::labels ? fmt::format("2001:db8:{:x}::{:x}", number + 1, which)
                             : fmt::format("192.0.2.{}", 8 * number + which);
}

std::string Fabric::network(const std::string &host) const {
    const int number = nodes_.at(host).number;
    return by_ == By::labels ? fmt::format("2001:db8:{:x}::/64", number + 1)
                             : fmt::format("192.0.2.{}/29", 8 * number);
}

void Fabric::join_host(const std::string &host, const std::string &router, double up, double down) {
    const bool ipv6 = by_ == By::labels;
    const std::string bits = ipv6 ? "/64" : "/29", gateway = address(host, 6);
    Node &a = nodes_.at(host), &b = nodes_.at(router);
    const std::string device = "to-" + host;
    must(a.ns->ip(fmt::format("link add nic type veth peer name {} netns {}", device, b.ns->name())));
    for (int i = 1; i <= addresses_; i++)
        address_of(*a.ns, address(host, i) + bits, "nic");
    must(b.ns->ip(
        fmt::format("addr add {}{} dev {} noprefixroute{}", gateway, bits, device, ipv6 ? " nodad" : "")));
    must(a.ns->ip("link set nic up"));
    must(b.ns->ip(fmt::format("link set {} up", device)));
    must(b.ns->ip(fmt::format("route add {} dev {} src {}", network(host), device, self(router))));
    must(a.ns->ip(fmt::format("route add default via {} dev nic src {}", gateway, address(host))));
    for (int i = 2; i <= addresses_; i++)
        must(a.ns->ip(fmt::format("mptcp endpoint add {} dev nic subflow", address(host, i))));
    shape(*a.ns, "nic", up);
    shape(*b.ns, device, down);
    a.device[router] = "nic";
    b.device[host] = device;
}

void Fabric::link(const std::string &a, const std::string &b, double up, double down) {
    if (nodes_.at(a).host)
        return join_host(a, b, up, down);
    const int number = links_++;
    Node &one = nodes_.at(a), &other = nodes_.at(b);
    one.device[b] = "to-" + b;
    other.device[a] = "to-" + a;
    must(
        one.ns->ip(fmt::format("link add to-{} type veth peer name to-{} netns {}", b, a, other.ns->name())));
    const auto end = [&](int which) {
        return by_ == By::labels ? fmt::format("2001:db8:f000:{:x}::{}", number, which)
                                 : fmt::format("203.0.113.{}", 4 * number + which);
    };
    const char *bits = by_ == By::labels ? "/126" : "/30";
    address_of(*one.ns, end(1) + bits, one.device[b]);
    address_of(*other.ns, end(2) + bits, other.device[a]);
    one.next[b] = end(2);
    other.next[a] = end(1);
    must(one.ns->ip(fmt::format("link set to-{} up", b)));
    must(other.ns->ip(fmt::format("link set to-{} up", a)));
    shape(*one.ns, one.device[b], up);
    shape(*other.ns, other.device[a], down);
}

// Every router's neighbours that are one step nearer to the host.
void Fabric::route_to(const std::string &host) {
    std::map<std::string, int> distance{{host, 0}};
    for (std::deque<std::string> queue{host}; !queue.empty(); queue.pop_front())
        for (const auto &[neighbour, device] : nodes_.at(queue.front()).device)
            if (!nodes_.at(neighbour).host && distance.emplace(neighbour, distance[queue.front()] + 1).second)
                queue.push_back(neighbour);
    for (const auto &[name, node] : nodes_) {
        if (node.host || distance[name] < 2) // its own router has the network on a device
            continue;
        std::string route = fmt::format("route add {} src {}", network(host), self(name));
        for (const auto &[neighbour, address] : node.next)
            if (distance[neighbour] == distance[name] - 1)
                route += fmt::format(" nexthop via {} dev {}", address, node.device.at(neighbour));
        must(node.ns->ip(route));
    }
}

void Fabric::route() {
    for (const std::string &host : hosts())
        route_to(host);
}

std::vector<std::string> Fabric::hosts() const {
    std::vector<std::string> all;
    for (const auto &[name, node] : nodes_)
        if (node.host)
            all.push_back(name);
    return all;
}

std::string Fabric::device(const std::string &node, const std::string &other) const {
    return nodes_.at(node).device.at(other);
}

std::uint64_t Fabric::sent(const std::string &node, const std::string &other) const {
    return must(lab::read_counters(ns(node))).devices.at(device(node, other)).tx_bytes;
}

void build_four_paths(Fabric &fabric, double link_mbit, double host_mbit) {
    for (const char *host : {"a", "b"})
        fabric.add_host(host);
    for (const char *router : {"near", "m1", "m2", "m3", "m4", "far"})
        fabric.add_router(router);
    fabric.link("a", "near", host_mbit, 4 * link_mbit);
    fabric.link("b", "far", 4 * link_mbit, 4 * link_mbit);
    for (const char *middle : {"m1", "m2", "m3", "m4"}) {
        fabric.link("near", middle, link_mbit);
        fabric.link(middle, "far", link_mbit);
    }
    fabric.route();
}

} // namespace mps::e2e
