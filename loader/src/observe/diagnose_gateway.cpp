// SPDX-License-Identifier: MIT
#include <algorithm>

#include <fmt/format.h>

#include "observe/diagnose.hpp"

namespace mps {

namespace {

using Severity = Diagnosis::Severity;

// Fewer, or less than this part of all: connections that were under way when it was attached, or that lost a packet.
constexpr std::uint64_t few_handshakes = 20;

bool is_bridged(const Circumstances &seen, const InterfaceStatus &one) {
    const auto device = std::ranges::find(seen.devices, one.ifindex, &NetDevice::ifindex);
    return device != seen.devices.end() && (device->kind == "bridge" || device->port_kind == "bridge");
}

void judge_forwarding(const Circumstances &seen, const std::vector<const InterfaceStatus *> &uplinks,
                      std::vector<Diagnosis> &found) {
    if (seen.forwarding.ipv4 || seen.forwarding.ipv6 ||
        std::ranges::any_of(uplinks, [&](const InterfaceStatus *one) { return is_bridged(seen, *one); }))
        return;
    found.push_back(
        {Severity::problem, "not-forwarding", uplinks.front()->name,
         "an interface is attached as a gateway's, but this host forwards nothing",
         "net.ipv4.ip_forward and net.ipv6.conf.all.forwarding are both 0",
         "'sysctl -w net.ipv4.ip_forward=1', or attach without '--role gateway' for connections of this "
         "host itself"});
}

void judge_uplinks(const Circumstances &seen, const std::vector<const InterfaceStatus *> &uplinks,
                   std::vector<Diagnosis> &found) {
    if (uplinks.size() == 1)
        found.push_back(
            {Severity::note, "one-uplink", uplinks.front()->name,
             fmt::format("{} is the only interface that is attached as a gateway's", uplinks.front()->name),
             "there is nothing to choose between: what a gateway steers is over which uplink hosts send",
             "'mpsched attach --role gateway IFACE' for the other uplink"});
    const Forwarding &f = seen.forwarding;
    if (f.half_seen >= few_handshakes && f.half_seen > f.connections / 2)
        found.push_back(
            {Severity::problem, "half-seen", "",
             fmt::format("{} handshakes of MPTCP were seen in part, {} connections whole", f.half_seen,
                         f.connections),
             "packets of one direction go by another interface or another router, or the connections were "
             "there before this was attached: these are not steered",
             "attach every uplink; both directions of a subflow are to pass the same one"});
}

void judge_table(const Circumstances &seen, std::vector<Diagnosis> &found) {
    const Forwarding &f = seen.forwarding;
    if (f.no_room)
        found.push_back(
            {Severity::problem, "gateway-full", "",
             fmt::format("{} subflows that pass here found no room in the table: not steered", f.no_room),
             "it has been full of connections that live",
             "'mpsched detach --all', then 'mpsched attach --role gateway IFACE… --max-connections NUMBER' makes it "
             "larger"});
}

} // namespace

void judge_gateway(const Circumstances &seen, std::vector<Diagnosis> &found) {
    std::vector<const InterfaceStatus *> uplinks;
    for (const InterfaceStatus &one : seen.interfaces)
        if (one.role == Role::gateway && one.state == InterfaceState::attached)
            uplinks.push_back(&one);
    if (uplinks.empty())
        return;
    judge_forwarding(seen, uplinks, found);
    judge_uplinks(seen, uplinks, found);
    judge_table(seen, found);
}

} // namespace mps
