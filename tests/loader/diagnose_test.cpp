// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <net/if_arp.h>

#include "observe/diagnose.hpp"

using namespace mps;

namespace {

NetDevice device(std::uint32_t ifindex, std::string name, std::string kind, std::uint32_t link = 0) {
    return {.name = std::move(name),
            .ifindex = ifindex,
            .type = ARPHRD_ETHER,
            .up = true,
            .kind = std::move(kind),
            .link = link};
}

SubflowStatus subflow(std::string local, bool steerable) {
    return {.local = std::move(local),
            .remote = "203.0.113.1:443",
            .tcp_state = "established",
            .steerable = steerable};
}

// eth0 carries the VLAN eth0.5; packets for `local` found no socket on eth0.
Circumstances missed(const std::string &local) {
    Circumstances seen;
    seen.installed = true;
    seen.devices = {device(1, "eth0", ""), device(2, "eth0.5", "vlan", 1)};
    seen.own_addresses = {{"192.0.2.1", "eth0"}, {"192.0.2.17", "eth0.5"}};
    seen.misses = {{.ifindex = 1,
                    .packets = 100,
                    .remote_address = "203.0.113.1",
                    .local_address = local,
                    .remote = "203.0.113.1:443",
                    .local = local + ":5000"}};
    return seen;
}

Diagnosis reason(const Circumstances &seen) {
    for (const Diagnosis &one : diagnose(seen)) {
        if (one.id == "no-socket")
            return one;
    }
    FAIL("nothing is said of packets without a socket");
    return {};
}

bool has(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

} // namespace

TEST_CASE("packets for an address of a device above name that device") {
    const auto seen = missed("192.0.2.17");
    CHECK(reason(seen).severity == Diagnosis::Severity::problem);
    CHECK(has(reason(seen).why, "eth0.5, which stands on eth0"));
    CHECK(reason(seen).next == "'mpsched attach eth0.5'");
    // The device's own address is no reason to attach another one.
    CHECK(reason(missed("192.0.2.1")).severity == Diagnosis::Severity::note);
}

TEST_CASE("only a subflow whose own packets are not met can be a translated one") {
    auto seen = missed("192.0.2.1");
    seen.connections = {{.token = 1, .subflows = {subflow("192.0.2.33:5001", true)}}};
    CHECK(reason(seen).severity == Diagnosis::Severity::note); // of another subflow, which was closed
    seen.connections[0].subflows.push_back(subflow("10.0.0.1:5000", false));
    CHECK(has(reason(seen).why, "the socket has 10.0.0.1:5000"));
    seen.connections[0].subflows.push_back(subflow("192.0.2.1:5000", false));
    CHECK(has(reason(seen).why, "bound to another device"));
}

TEST_CASE(
    "of a gateway it is said when nothing is forwarded, one uplink is all there is, or handshakes are seen in part") {
    Circumstances seen;
    seen.installed = true;
    seen.enabled = false;
    seen.plain_tcp = 3;
    seen.devices = {device(1, "up0", ""), device(2, "br0", "bridge")};
    seen.interfaces = {{.name = "up0", .ifindex = 1, .role = Role::gateway}};
    seen.forwarding = {.ipv4 = false, .ipv6 = false, .connections = 10, .half_seen = 25, .no_room = 1};
    const auto ids = [](const Circumstances &of) {
        std::vector<std::string> all;
        for (const Diagnosis &one : diagnose(of))
            all.push_back(one.id);
        return all;
    };
    // Nothing of what concerns sockets of its own.
    CHECK(ids(seen) == std::vector<std::string>{"not-forwarding", "half-seen", "gateway-full", "one-uplink"});
    seen.forwarding = {.connections = 100, .half_seen = 25};
    seen.interfaces.push_back({.name = "br0", .ifindex = 2, .role = Role::gateway});
    CHECK(ids(seen).empty());
    // A bridge forwards what it is not asked to route.
    seen.forwarding = {.ipv4 = false, .ipv6 = false};
    CHECK(ids(seen).empty());
}
