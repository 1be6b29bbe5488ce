// SPDX-License-Identifier: MIT
//
// How each kind of device is made, of veths: what a WiredNetwork (traffic_wire.hpp) stands on.
#include <array>

#include <fmt/format.h>

#include "traffic_wire.hpp"

namespace mps::e2e {

namespace {

struct KindRow {
    Kind kind;
    std::string_view name;
    std::string_view words = "";     ///< of `ip link add`; {l} is the device below
    std::string_view tool = "";      ///< what else is needed to make one
    std::string_view neighbour = ""; ///< words of another one on the device below
};

constexpr std::array rows{
    KindRow{Kind::veth, "veth", "type veth"},
    KindRow{Kind::tun, "tun"},
    KindRow{Kind::tap, "tap"},
    KindRow{Kind::bond, "bond", "type bond mode active-backup miimon 100"},
    KindRow{Kind::team, "team", "type team", "teamnl"},
    KindRow{Kind::bridge, "bridge", "type bridge"},
    KindRow{Kind::macvlan, "macvlan", "link {l} type macvlan mode bridge", "",
            "link {l} type macvlan mode bridge"},
    KindRow{Kind::ipvlan, "ipvlan", "link {l} type ipvlan mode l2", "", "link {l} type ipvlan mode l2"},
    KindRow{Kind::ovs, "Open vSwitch", "", "ovs-dpctl"},
    KindRow{Kind::vlan, "VLAN", "link {l} type vlan id 5", "", "link {l} type vlan id 6"},
    KindRow{Kind::macsec, "macsec", "link {l} type macsec encrypt on"},
    KindRow{Kind::vxlan, "vxlan", "type vxlan id 5{path} dstport 4789 dev {l} local {mine} remote {peer}"},
    KindRow{Kind::gre, "gre", "type gre local {mine} remote {peer}"},
    KindRow{Kind::ipip, "ipip", "type ipip local {mine} remote {peer}"},
    KindRow{Kind::wireguard, "wireguard", "type wireguard", "wg"},
    KindRow{Kind::vrf, "VRF", "type vrf table 50"},
    KindRow{Kind::virtio, "virtio cards"},
};

const KindRow &row_of(Kind kind) {
    const auto row = std::ranges::find(rows, kind, &KindRow::kind);
    REQUIRE(row != rows.end());
    return *row;
}

// Between the devices below, for what is no part of the network but carries it.
std::string outer_address(lab::Side side, std::size_t path) {
    return fmt::format("198.51.100.{}", 16 * path + (side == lab::Side::a ? 1 : 2));
}

std::string words_of(std::string_view pattern, const std::string &lower, const std::string &mine = {},
                     const std::string &peer = {}, std::size_t number = 0) {
    std::string words(pattern);
    for (const auto &[mark, value] : {std::pair{std::string_view("{l}"), lower},
                                      {"{mine}", mine},
                                      {"{peer}", peer},
                                      {"{path}", fmt::format("{}", number)}}) {
        if (const auto at = words.find(mark); at != std::string::npos)
            words.replace(at, mark.size(), value);
    }
    return words;
}

bool is_there(std::string_view tool) {
    return must(lab::run_process({"sh", "-c", fmt::format("command -v {}", tool)})).ok();
}

// The name of the card at an end of a cable, as vmtest/mpsvm/cables.py numbers them. Empty if it is not in the test's own namespace.
std::string card_at(std::size_t cable, std::size_t end) {
    const std::string address = fmt::format("02:00:00:00:{:02x}:{:02x}", cable, end);
    const auto shown = must(lab::run_checked({"ip", "-json", "link", "show"}));
    for (const Json &device : Json::parse(shown.out))
        if (device.value("address", "") == address)
            return device.at("ifname");
    return {};
}

// Those of a network that is gone come back a moment later.
void take_cards(const lab::Namespace &a, const lab::Namespace &b, const std::string &name,
                std::size_t cable) {
    for (const auto &[ns, end] : {std::pair(&a, 0U), {&b, 1U}}) {
        std::string card;
        REQUIRE(wait_until([&] { return !(card = card_at(cable, end)).empty(); }, 30s) >= 0);
        must(lab::run_checked({"ip", "link", "set", card, "netns", ns->name(), "name", name}));
    }
}

bool can_be_made(const KindRow &row, const lab::Namespace &ns) {
    // tun and tap are made by their device file, which every test that has them takes for there.
    if (row.kind == Kind::tun || row.kind == Kind::tap)
        return true;
    if (row.kind == Kind::ovs)
        return must(ns.spawn({"ovs-dpctl", "add-dp", "probe"})).ok();
    return ns.ip("link add under type veth peer name other") &&
           ns.ip(fmt::format("link add probe {}", words_of(row.words, "under")));
}

struct Host {
    const lab::Namespace &ns;
    std::string mac;
    std::string outer; ///< address
};

struct KeyPair {
    std::string secret;
    std::string open;
};

KeyPair wireguard_keys() {
    KeyPair keys;
    keys.secret = must(lab::run_checked({"wg", "genkey"})).out;
    keys.open = must(lab::run_checked({"wg", "pubkey"}, {.input = keys.secret})).out;
    keys.open.pop_back();
    return keys;
}

void connect_wireguard(const std::array<Host, 2> &hosts, const std::string &device, std::size_t number) {
    const std::array keys{wireguard_keys(), wireguard_keys()};
    const auto port = fmt::format("{}", 51820 + number);
    for (std::size_t i = 0; i < 2; ++i) {
        must(hosts[i].ns.spawn_checked({"wg", "set", device, "listen-port", port, "private-key", "/dev/stdin",
                                        "peer", keys[1 - i].open, "allowed-ips", "0.0.0.0/0,::/0", "endpoint",
                                        hosts[1 - i].outer + ":" + port},
                                       {.input = keys[i].secret}));
    }
}

void connect_macsec(const std::array<Host, 2> &hosts, const std::string &device) {
    const auto key = [](std::size_t of) {
        return fmt::format("0{0} 0000000000000000000000000000000{0}", of);
    };
    for (std::size_t i = 0; i < 2; ++i) {
        const auto &peer = hosts[1 - i].mac;
        must(hosts[i].ns.ip(fmt::format("macsec add {0} tx sa 0 pn 1 on key {1}\n"
                                        "macsec add {0} rx port 1 address {2}\n"
                                        "macsec add {0} rx port 1 address {2} sa 0 pn 1 on key {3}\n",
                                        device, key(i), peer, key(1 - i))));
    }
}

void make_stacked(Kind kind, const lab::Namespace &a, const lab::Namespace &b, const std::string &name) {
    const bool itself = kind == Kind::veth || kind == Kind::vrf;
    const auto lower = itself ? name : name + "l";
    must(a.ip(fmt::format("link add {} type veth peer name {} netns {}", lower, name, b.name())));
    if (kind == Kind::vrf) {
        must(a.ip(fmt::format("link set {} master vrf0", name)));
    } else if (!itself) {
        must(a.ip(fmt::format("link add {} {}", name, words_of(row_of(kind).words, lower))));
        if (kind == Kind::team)
            must(a.spawn_checked({"teamnl", name, "setoption", "mode", "roundrobin"}));
        if (kind == Kind::bond || kind == Kind::team || kind == Kind::bridge)
            must(a.ip(fmt::format("link set {} master {}", lower, name)));
    }
    must(a.ip(fmt::format("link set {} up", lower)));
}

bool stands_on_both(Kind kind) {
    return kind == Kind::vlan || kind == Kind::macsec || kind == Kind::vxlan || kind == Kind::gre ||
           kind == Kind::ipip || kind == Kind::wireguard;
}

} // namespace

void make_pair(Kind kind, const lab::Namespace &a, const lab::Namespace &b, const std::string &name,
               std::size_t number, const std::string &outer_a, const std::string &outer_b) {
    if (!stands_on_both(kind))
        return make_stacked(kind, a, b, name);
    const auto lower = name + "l";
    const std::array hosts{Host{a, "02:00:00:00:00:0a", outer_a}, Host{b, "02:00:00:00:00:0b", outer_b}};
    must(a.ip(fmt::format("link add {0} type veth peer name {0} netns {1}", lower, b.name())));
    for (std::size_t i = 0; i < 2; i++) {
        const Host &host = hosts[i];
        must(host.ns.ip(fmt::format("link set {0} address {1}\nlink set {0} up\naddr add {2}/28 dev {0}\n",
                                    lower, host.mac, host.outer)));
        must(host.ns.ip(
            fmt::format("link add {} {}", name,
                        words_of(row_of(kind).words, lower, host.outer, hosts[1 - i].outer, number))));
    }
    if (kind == Kind::wireguard)
        connect_wireguard(hosts, name, number);
    else if (kind == Kind::macsec)
        connect_macsec(hosts, name);
}

std::string_view name_of(Kind kind) { return row_of(kind).name; }

std::optional<std::string> missing(Kind kind) {
    const KindRow &row = row_of(kind);
    if (!row.tool.empty() && !is_there(row.tool))
        return fmt::format("this machine has no {}", row.tool);
    if (can_be_made(row, must(lab::Namespace::create("k"))))
        return std::nullopt;
    return fmt::format("this kernel has no {}", row.name);
}

void WiredNetwork::make_device(std::size_t path) {
    if (stands_on_both(paths_[path].kind))
        make_tunnel(path);
    else if (paths_[path].kind == Kind::ovs)
        join_switch(paths_[path]);
    else if (paths_[path].kind == Kind::virtio)
        take_cards(a_, b_, paths_[path].name, path);
    else
        make_link(paths_[path]);
    add_neighbour(paths_[path]);
}

// A's device, on a veth to B's or the veth itself.
void WiredNetwork::make_link(const WiredPath &path) {
    if (path.kind == Kind::vrf && !a_.ip("link show vrf0"))
        must(a_.ip(fmt::format("link add vrf0 {}\nlink set vrf0 up", row_of(path.kind).words)));
    make_stacked(path.kind, a_, b_, path.name);
}

// The same device on both hosts, on the ends of a veth.
void WiredNetwork::make_tunnel(std::size_t path) {
    make_pair(paths_[path].kind, a_, b_, paths_[path].name, path, outer_address(lab::Side::a, path),
              outer_address(lab::Side::b, path));
}

// A switch of its own, whose flows are there from the start: no daemon is needed.
void WiredNetwork::join_switch(const WiredPath &path) {
    const auto &name = path.name;
    const auto lower = name + "l", datapath = name + "dp";
    const auto dpctl = [&](std::vector<std::string> words) {
        words.insert(words.begin(), "ovs-dpctl");
        must(a_.spawn_checked(std::move(words)));
    };
    must(a_.ip(fmt::format("link add {0} type veth peer name {1} netns {2}\nlink set {0} up", lower, name,
                           b_.name())));
    dpctl({"add-dp", datapath});
    dpctl({"add-if", datapath, lower});                   // port 1
    dpctl({"add-if", datapath, name + ",type=internal"}); // port 2
    for (const auto *contents : {"eth_type(0x0800),ipv4()", "eth_type(0x0806),arp()"}) {
        dpctl({"add-flow", datapath, fmt::format("in_port(1),eth(),{}", contents), "2"});
        dpctl({"add-flow", datapath, fmt::format("in_port(2),eth(),{}", contents), "1"});
    }
}

void WiredNetwork::add_neighbour(const WiredPath &path) {
    const auto port = path.name + "o";
    const KindRow &row = row_of(path.kind);
    const bool has_ports = path.kind == Kind::bond || path.kind == Kind::bridge || path.kind == Kind::ovs ||
                           path.kind == Kind::vrf;
    if (has_ports) {
        must(a_.ip(fmt::format("link add {0} type veth peer name {0} netns {1}\n", port, c_.name())));
        if (path.kind == Kind::ovs)
            must(a_.spawn_checked({"ovs-dpctl", "add-if", path.name + "dp", port}));
        else
            must(a_.ip(fmt::format("link set {} master {}", port,
                                   path.kind == Kind::vrf ? std::string("vrf0") : path.name)));
        must(a_.ip(fmt::format("link set {} up", port)));
        if (path.kind == Kind::bond)
            must(a_.ip(fmt::format("link set {0} type bond primary {0}l", path.name)));
    } else if (!row.neighbour.empty()) {
        must(a_.ip(fmt::format("link add {0} {1}\nlink set {0} netns {2}", port,
                               words_of(row.neighbour, path.name + "l"), c_.name())));
    } else {
        return;
    }
    // It only looks: an answer to ARP would redirect the traffic.
    must(c_.ip(fmt::format("link set {} up arp off", port)));
}

} // namespace mps::e2e
