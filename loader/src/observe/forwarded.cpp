// SPDX-License-Identifier: MIT
#include "mpsched/gateway.hpp"

#include <bpf/bpf.h>
#include <mps/gateway_abi.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/addresses.hpp"
#include "base/clock.hpp"
#include "base/try.hpp"
#include "instance_impl.hpp"
#include "kernel/netlink.hpp"

namespace mps {

namespace {

ForwardedWay way_of(const mps_gateway_way &way) {
    return {.bytes = way.bytes,
            .again_bytes = way.again_bytes,
            .late_bytes = way.late_bytes,
            .late_most = way.late_most,
            .srtt_us = way.srtt_us,
            .rttvar_us = way.rttvar_us,
            .min_rtt_us = way.min_rtt_us,
            .backup = way.backup != 0};
}

std::string end_of(const mps_gateway_key &key, std::size_t side) {
    std::array<std::uint8_t, 16> address{};
    std::memcpy(address.data(), key.address[side], address.size());
    return endpoint_text(address, static_cast<std::uint16_t>(__builtin_bswap16(key.port[side])));
}

// What was decided about what one end sends is kept by the token of the other.
std::optional<mps_peer> record_of(const Pins &pins, std::uint32_t receiver) {
    mps_peer peer{};
    if (pins.map(MPS_MAP_GW_PEERS) < 0 || bpf_map_lookup_elem(pins.map(MPS_MAP_GW_PEERS), &receiver, &peer))
        return std::nullopt;
    return peer;
}

void add_verdict(ForwardedWay &way, const std::optional<mps_peer> &peer, std::uint32_t index) {
    if (!peer || !(peer->conn.known >> index & 1))
        return;
    const mps_peer_subflow &told = peer->sf[index];
    way.allowed = !peer->conn.allowed || (peer->conn.allowed >> index & 1);
    way.told = told.told == MPS_TOLD_BACKUP ? "backup" : told.told == MPS_TOLD_ACTIVE ? "active" : "nothing";
    way.ignored = told.given_up != 0;
}

ForwardedSubflow subflow_of(const mps_gateway_key &key, const mps_gateway_flow &flow, std::uint64_t now_ns) {
    const std::size_t initiator = flow.initiator & 1;
    const std::uint64_t last_ns = std::max(flow.way[0].last_ns, flow.way[1].last_ns);
    return {.id = flow.index + 1U,
            .ifindex = flow.ifindex,
            .ifname = ifname_of(flow.ifindex),
            .initiator = end_of(key, initiator),
            .responder = end_of(key, 1 - initiator),
            .idle_ms = static_cast<std::uint32_t>(now_ns > last_ns ? (now_ns - last_ns) / 1'000'000 : 0),
            .up = way_of(flow.way[initiator]),
            .down = way_of(flow.way[1 - initiator])};
}

std::optional<ForwardedConnection> connection_of(const Pins &pins, const std::vector<Slot> &slots,
                                                 std::uint32_t token, std::uint64_t now_ns) {
    mps_gateway_conn conn{};
    if (bpf_map_lookup_elem(pins.map(MPS_MAP_GW_CONNS), &token, &conn))
        return std::nullopt;
    ForwardedConnection result{.initiator_token = conn.token[0], .responder_token = conn.token[1]};
    const auto up = record_of(pins, conn.token[1]), down = record_of(pins, conn.token[0]);
    if (up)
        result.up_policy = policy_in_slot(slots, up->conn.slot);
    if (down)
        result.down_policy = policy_in_slot(slots, down->conn.slot);
    for (std::uint32_t i = 0; i < MPS_MAX_SUBFLOWS; i++) {
        mps_gateway_flow flow{};
        if (!(conn.used >> i & 1) || bpf_map_lookup_elem(pins.map(MPS_MAP_GW_FLOWS), &conn.subflow[i], &flow))
            continue;
        result.subflows.push_back(subflow_of(conn.subflow[i], flow, now_ns));
        add_verdict(result.subflows.back().up, up, i);
        add_verdict(result.subflows.back().down, down, i);
    }
    return result;
}

std::vector<ForwardedConnection> all_of(const Pins &pins, const std::vector<Slot> &slots) {
    std::vector<ForwardedConnection> result;
    const int conns = pins.map(MPS_MAP_GW_CONNS);
    if (conns < 0)
        return result;
    const std::uint64_t now_ns = monotonic_ns();
    for (const std::uint32_t token : all_keys(conns, room_of(pins)))
        if (auto one = connection_of(pins, slots, token, now_ns))
            result.push_back(std::move(*one));
    return result;
}

void add_rate(ForwardedWay &now, const ForwardedWay &before, double seconds) {
    if (now.bytes >= before.bytes)
        now.bytes_s = static_cast<std::uint64_t>(static_cast<double>(now.bytes - before.bytes) / seconds);
}

void add_rates(std::vector<ForwardedConnection> &now, const std::vector<ForwardedConnection> &before,
               double seconds) {
    for (ForwardedConnection &connection : now) {
        const auto same =
            std::ranges::find(before, connection.initiator_token, &ForwardedConnection::initiator_token);
        if (same == before.end())
            continue;
        for (ForwardedSubflow &one : connection.subflows)
            for (const ForwardedSubflow &earlier : same->subflows)
                if (one.id == earlier.id && one.initiator == earlier.initiator) {
                    add_rate(one.up, earlier.up, seconds);
                    add_rate(one.down, earlier.down, seconds);
                }
    }
}

} // namespace

Result<std::vector<ForwardedConnection>> Instance::forwarded(std::uint32_t sample_ms) const {
    using Clock = std::chrono::steady_clock;
    const auto call = impl_->enter();
    MPS_TRY(call);
    const auto pins = impl_->open_for_reading();
    MPS_TRY(pins);
    const auto slots = Slots(*impl_->paths(), *pins).read();
    MPS_TRY(slots);
    const auto before = all_of(*pins, *slots);
    if (before.empty() || !sample_ms)
        return before;
    const auto then = Clock::now();
    std::this_thread::sleep_for(std::chrono::milliseconds(sample_ms));
    auto now = all_of(*pins, *slots);
    add_rates(now, before, std::chrono::duration<double>(Clock::now() - then).count());
    return now;
}

} // namespace mps
