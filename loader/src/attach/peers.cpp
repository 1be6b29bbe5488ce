// SPDX-License-Identifier: MIT
#include "attach/peers.hpp"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <array>
#include <cerrno>
#include <map>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attach/interface.hpp"
#include "base/try.hpp"

namespace mps {

namespace {

using Clock = std::chrono::steady_clock;

// Lends its body to what is sent: Ethernet, IPv4, TCP, all zeroes but for what makes it well-formed. Its TCP checksum is right, since the
// data path only changes it.
constexpr std::array<std::uint8_t, 54> lender = [] {
    std::array<std::uint8_t, 54> frame{};
    frame[12] = 0x08; // ETH_P_IP
    frame[14] = 0x45;
    frame[17] = 40;
    frame[22] = 64;
    frame[23] = 6;
    frame[46] = 0x50;
    constexpr unsigned sum = 0xffff & ~(0x5000U + 6 + 20);
    frame[50] = sum >> 8;
    frame[51] = sum & 0xff;
    return frame;
}();

using Todo = SubflowBits;

Result<void> send(const Pins &pins, const Todo &todo) {
    for (const auto &[token, subflows] : todo) {
        __sk_buff context{};
        context.cb[0] = token;
        context.cb[1] = subflows;
        LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = lender.data(), .data_size_in = lender.size(),
                    .ctx_in = &context, .ctx_size_in = sizeof context);
        if (const int err = bpf_prog_test_run_opts(pins.program(MPS_PROG_TAKE_BACK), &options))
            return std::unexpected(system_error(err, "telling peers that nothing is to be avoided"));
    }
    return {};
}

struct Told {
    Todo todo;
    std::vector<std::string> texts;
};

Result<Told> told_now(const Pins &pins, const std::function<bool(std::uint32_t)> &concerned,
                      bool spare_chosen) {
    const auto connections = known_connections(pins);
    MPS_TRY(connections);
    Told told;
    for (const KnownConnection &connection : *connections) {
        for (const KnownSubflow &subflow : connection.subflows) {
            // The peer may send while it is established, or only we have closed our side.
            const bool may_receive =
                subflow.record.state == 1 || subflow.record.state == 4 || subflow.record.state == 5;
            if (!subflow.rx_position || !may_receive)
                continue;
            const std::uint32_t index = *subflow.rx_position;
            const bool is_told = connection.peer->told >> index & 1;
            // Of a connection whose application has chosen, the data path goes on telling.
            if (!is_told || (spare_chosen && connection.peer->conn.chosen) ||
                !concerned(connection.peer->conn.sf[index].ifindex))
                continue;
            told.todo[connection.token] |= 1U << index;
            told.texts.push_back(subflow.text());
        }
    }
    return told;
}

} // namespace

Result<void> tell_endpoints(const Pins &pins, const SubflowBits &subflows) {
    return pins.program(MPS_PROG_TAKE_BACK) < 0 ? Result<void>{} : send(pins, subflows);
}

Result<std::vector<std::string>> take_back(const Pins &pins,
                                           const std::function<bool(std::uint32_t)> &concerned,
                                           std::chrono::milliseconds patience, bool spare_chosen) {
    constexpr auto pause = std::chrono::milliseconds(20);
    if (pins.program(MPS_PROG_TAKE_BACK) < 0)
        return std::vector<std::string>{};
    const auto deadline = Clock::now() + patience;
    Todo all;
    for (;;) {
        const auto told = told_now(pins, concerned, spare_chosen);
        MPS_TRY(told);
        if (told->todo.empty() || Clock::now() >= deadline) {
            if (!all.empty())
                MPS_TRY(send(pins, all));
            return told->texts;
        }
        for (const auto &[token, subflows] : told->todo)
            all[token] |= subflows;
        MPS_TRY(send(pins, told->todo));
        std::this_thread::sleep_for(pause);
    }
}

Result<void> settle_peers(Session &session) {
    const auto config = session.config.read();
    MPS_TRY(config);
    if (config->flags & (MPS_CONFIG_RX | MPS_CONFIG_NEVER))
        return {};
    const auto left = take_back(
        session.pins, [](std::uint32_t) { return true; }, std::chrono::milliseconds(500),
        config->flags & MPS_CONFIG_APPS);
    MPS_TRY(left);
    const auto forwarded =
        take_back_forwarded(session.pins, [](std::uint32_t) { return true; }, std::chrono::milliseconds(500));
    MPS_TRY(forwarded);
    if (left->empty() && forwarded->empty())
        return {};
    if (left->empty())
        return fail(ErrorCode::failed,
                    fmt::format("who sends to the hosts of these tokens still avoids a subflow: {}",
                                fmt::join(*forwarded, ", ")),
                    "they are told with the next acknowledgement that passes");
    return fail(ErrorCode::failed,
                fmt::format("{} peers still avoid a subflow: {}", left->size(), fmt::join(*left, ", ")),
                "they are told with the next acknowledgement that leaves on it");
}

} // namespace mps
