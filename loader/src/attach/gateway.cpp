// SPDX-License-Identifier: MIT
//
// The role of a gateway: other programs than a host's, at TC ingress and egress of the interface.
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <mps/gateway_abi.h>

#include <array>
#include <map>
#include <thread>

#include <fmt/format.h>

#include "attach/interface.hpp"
#include "attach/lender.hpp"
#include "base/try.hpp"
#include "options/option_rules.hpp"

namespace mps {

namespace {

using Clock = std::chrono::steady_clock;
Result<void> send_back(const Pins &pins, std::uint32_t token, std::uint32_t subflows) {
    for (const bool ipv6 : {false, true})
        MPS_TRY(lend(pins.program(MPS_PROG_GW_BACK), ipv6, token, subflows));
    return {};
}

// Of what the host of this token receives: subflows that its peer was told to treat otherwise than it says itself.
std::uint32_t told_of(const Pins &pins, std::uint32_t token,
                      const std::function<bool(std::uint32_t)> &concerned) {
    mps_peer peer{};
    mps_gateway_token named{};
    mps_gateway_conn conn{};
    if (bpf_map_lookup_elem(pins.map(MPS_MAP_GW_PEERS), &token, &peer) ||
        bpf_map_lookup_elem(pins.map(MPS_MAP_GW_TOKENS), &token, &named) ||
        bpf_map_lookup_elem(pins.map(MPS_MAP_GW_CONNS), &named.conn, &conn))
        return 0;
    std::uint32_t told = 0;
    for (std::uint32_t i = 0; i < MPS_MAX_SUBFLOWS; i++)
        if ((peer.told >> i & 1) && (conn.used >> i & 1) && concerned(peer.conn.sf[i].ifindex))
            told |= 1U << i;
    return told;
}

} // namespace

Result<std::vector<std::string>> take_back_forwarded(const Pins &pins,
                                                     const std::function<bool(std::uint32_t)> &concerned,
                                                     std::chrono::milliseconds patience) {
    constexpr auto pause = std::chrono::milliseconds(20);
    std::vector<std::string> left;
    if (pins.program(MPS_PROG_GW_BACK) < 0 || pins.map(MPS_MAP_GW_PEERS) < 0)
        return left;
    const auto deadline = Clock::now() + patience;
    std::map<std::uint32_t, std::uint32_t> all;
    for (;;) {
        left.clear();
        for (const std::uint32_t token : all_keys(pins.map(MPS_MAP_GW_PEERS), room_of(pins) * 2)) {
            const std::uint32_t told = told_of(pins, token, concerned);
            if (!told)
                continue;
            all[token] |= told;
            left.push_back(fmt::format("{:08x}", token));
            MPS_TRY(send_back(pins, token, told));
        }
        if (left.empty() || Clock::now() >= deadline)
            break;
        std::this_thread::sleep_for(pause);
    }
    // Once more, since one may be lost.
    for (const auto &[token, subflows] : all)
        MPS_TRY(send_back(pins, token, subflows));
    return left;
}

std::string_view to_string(Role role) { return role == Role::gateway ? "gateway" : "host"; }

Result<Role> parse_role(std::string_view text) {
    for (const Role role : {Role::host, Role::gateway})
        if (text == to_string(role))
            return role;
    return fail(ErrorCode::usage, fmt::format("there is no role '{}'", text), "there are: host, gateway");
}

Role role_of(const mps_path &path) { return path.flags & MPS_PATH_GATEWAY ? Role::gateway : Role::host; }

Result<AttachedInterface> attach_gateway(Session &session, const Before &before, const AttachWish &wish,
                                         bool tcx) {
    const NetDevice &device = before.device;
    if (wish.mode != Mode::automatic && wish.mode != Mode::tc)
        return fail(
            ErrorCode::usage,
            fmt::format("a gateway's programs stand at TC, not in XDP: no '--mode {}'", to_string(wish.mode)),
            "leave out '--mode'");
    if (!wanted_at(HookId::out, device, Mode::tc, Role::gateway))
        return fail(ErrorCode::unsupported, fmt::format("{} is a VRF", device.name),
                    "its members are to be attached");
    AttachedInterface result{.name = device.name,
                             .ifindex = device.ifindex,
                             .mode = Mode::tc,
                             .why = "role gateway",
                             .changed = !before.mode};
    std::vector<std::string> warnings;
    MPS_TRY(provide(session, needed_programs(device, Mode::tc, Role::gateway), warnings));
    // A filter leaves no pin behind; with the path on record, repair knows where to look.
    if (!before.path)
        MPS_TRY(session.path_table().put(default_path(device.ifindex, device.name)));
    for (const HookProgram *one : wanted_on(device, Mode::tc, Role::gateway))
        MPS_TRY(put_program(session.paths, session.pins, *one, device, tcx));
    if (!tcx)
        MPS_TRY(settle_option_rules(session.paths, tcx, {device.ifindex}));
    MPS_TRY(mark_attached(session, before, wish));
    return result;
}

} // namespace mps
