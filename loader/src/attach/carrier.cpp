// SPDX-License-Identifier: MIT
#include "attach/carrier.hpp"

#include <linux/if_ether.h>
#include <mps/abi.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "attach/forged_ack.hpp"
#include "base/try.hpp"
#include "kernel/netlink.hpp"

namespace mps {

namespace {

// Those that wait, by their place in the map.
Result<std::map<std::uint32_t, mps_wake>> waiting(const Pins &pins) {
    std::map<std::uint32_t, mps_wake> result;
    for (std::uint32_t i = 0; i < MPS_MAX_WAKES; i++) {
        const auto wake = read_value<mps_wake>(pins.map(MPS_MAP_WAKES), i);
        MPS_TRY(wake);
        if (*wake && (*wake)->state == MPS_WAKE_READY)
            result[i] = **wake;
    }
    return result;
}

// IPv6 without contents (next header 59, RFC 8200 section 4.7): the stack takes it, and that is all. To the device's own
// address, so that no bridge sends it on.
std::array<std::uint8_t, 54> empty_packet(const std::array<std::uint8_t, 6> &mac) {
    std::array<std::uint8_t, 54> frame{};
    std::ranges::copy(mac, frame.begin());
    std::ranges::copy(std::array<std::uint8_t, 6>{0x02, 'm', 'p', 's', 0, 1}, frame.begin() + 6);
    frame[12] = ETH_P_IPV6 >> 8;
    frame[13] = ETH_P_IPV6 & 0xff;
    frame[14] = 0x60;
    frame[20] = 59;
    frame[21] = 1;                                                                  // hop limit
    std::ranges::copy(std::array<std::uint8_t, 2>{0xff, 0x02}, frame.begin() + 38); // to ff02::1, from ::
    frame[53] = 1;
    return frame;
}

} // namespace

Result<bool> is_wake_stuck(const Pins &pins) {
    const auto before = waiting(pins);
    MPS_TRY(before);
    if (before->empty())
        return false;
    // On a host with traffic a wake waits for microseconds.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const auto after = waiting(pins);
    MPS_TRY(after);
    return std::ranges::any_of(*after, [&](const auto &one) {
        const auto it = before->find(one.first);
        return it != before->end() && it->second.when_ns == one.second.when_ns;
    });
}

Result<void> carry_wakes(const Pins &pins) {
    // A packet carries four.
    constexpr int most_rounds = MPS_MAX_WAKES / 4;
    for (int round = 0; round < most_rounds; round++) {
        const auto wakes = waiting(pins);
        MPS_TRY(wakes);
        if (wakes->empty())
            return {};
        std::set<std::uint32_t> interfaces;
        for (const auto &[place, wake] : *wakes)
            interfaces.insert(wake.ifindex);
        for (const std::uint32_t ifindex : interfaces) {
            const auto device = net_device(ifindex);
            if (!device)
                continue;
            if (auto done = inject(pins, empty_packet(device->mac), ifindex,
                                   fmt::format("an empty packet on {}", device->name));
                !done)
                return done;
        }
    }
    return {};
}

} // namespace mps
