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
#include "base/try.hpp"
#include "options/option_rules.hpp"

namespace mps {

namespace {

using Clock = std::chrono::steady_clock;
using Frame = std::vector<std::uint8_t>;

// One's complement sum of what stands there, in network order.
std::uint32_t sum_of(const Frame &frame, std::size_t from, std::size_t to) {
    std::uint32_t sum = 0;
    for (std::size_t i = from; i < to; i += 2)
        sum += static_cast<std::uint32_t>(frame[i] << 8 | frame[i + 1]);
    return sum;
}

void put_checksum(Frame &frame, std::size_t at, std::uint32_t sum) {
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    frame[at] = static_cast<std::uint8_t>(~sum >> 8);
    frame[at + 1] = static_cast<std::uint8_t>(~sum);
}

// Lends its body to what is sent: a TCP header with room for timestamps and MP_PRIO between no addresses. Its checksums are right, since the
// programs only change them.
Frame lender(bool ipv6) {
    constexpr std::size_t ethernet = 14, tcp_len = 36;
    const std::size_t ip_len = ipv6 ? 40 : 20, tcp = ethernet + ip_len;
    Frame frame(tcp + tcp_len);
    frame[12] = ipv6 ? 0x86 : 0x08;
    frame[13] = ipv6 ? 0xdd : 0x00;
    frame[ethernet] = ipv6 ? 0x60 : 0x45;
    frame[ethernet + (ipv6 ? 5 : 3)] = static_cast<std::uint8_t>(ipv6 ? tcp_len : ip_len + tcp_len);
    frame[ethernet + (ipv6 ? 6 : 9)] = 6;  // TCP
    frame[ethernet + (ipv6 ? 7 : 8)] = 64; // hops
    if (!ipv6)
        put_checksum(frame, ethernet + 10, sum_of(frame, ethernet, tcp));
    frame[tcp + 12] = tcp_len / 4 << 4;
    frame[tcp + 13] = 0x10; // ACK
    std::fill(frame.begin() + static_cast<std::ptrdiff_t>(tcp) + 20, frame.end(), 1);
    put_checksum(frame, tcp + 16, sum_of(frame, tcp, frame.size()) + 6 + tcp_len);
    return frame;
}

Result<void> send_back(const Pins &pins, std::uint32_t token, std::uint32_t subflows) {
    for (const bool ipv6 : {false, true}) {
        const Frame frame = lender(ipv6);
        __sk_buff context{};
        context.cb[0] = token;
        context.cb[1] = subflows;
        LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(),
                    .data_size_in = static_cast<__u32>(frame.size()), .ctx_in = &context,
                    .ctx_size_in = sizeof context);
        if (const int err = bpf_prog_test_run_opts(pins.program(MPS_PROG_GW_BACK), &options))
            return std::unexpected(system_error(err, "telling hosts that nothing is to be avoided"));
    }
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
    if (!has_egress(device))
        return fail(ErrorCode::unsupported, fmt::format("{} is a VRF", device.name),
                    "its members are to be attached");
    AttachedInterface result{.name = device.name,
                             .ifindex = device.ifindex,
                             .mode = Mode::tc,
                             .why = "role gateway",
                             .changed = !before.mode};
    std::vector<std::string> warnings;
    auto programs = out_programs_of(device, Role::gateway);
    programs.insert(tc_program_name(device.layer3(), TcRole::gateway));
    MPS_TRY(provide(session, programs, warnings));
    // A filter leaves no pin behind; with the path on record, repair knows where to look.
    if (!before.path)
        MPS_TRY(session.path_table().put(default_path(device.ifindex, device.name)));
    MPS_TRY(put_tc(session.paths, session.pins, device, TcRole::gateway, tcx));
    MPS_TRY(put_out(session.paths, session.pins, device, tcx, Role::gateway));
    if (!tcx)
        MPS_TRY(settle_option_rules(session.paths, tcx, {device.ifindex}));
    MPS_TRY(mark_attached(session, before, wish));
    return result;
}

} // namespace mps
