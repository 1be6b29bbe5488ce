// SPDX-License-Identifier: MIT
//
// Which interfaces there are, and what kind they are of, in the words that people use.
#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <net/if_arp.h>

#include "base/try.hpp"
#include "instance_impl.hpp"
#include "kernel/netlink.hpp"
#include "kernel/wireless.hpp"
#include "mpsched/links.hpp"
#include "spread/link_speed.hpp"

namespace mps {

namespace {

// Mobile broadband whose driver makes plain Ethernet or raw IP devices instead of one of the kind "wwan".
constexpr std::array<std::string_view, 8> wwan_drivers{"cdc_mbim", "huawei_cdc_ncm", "qmi_wwan", "sierra_net",
                                                       "hso",      "mhi_net",        "rmnet",    "iosm"};

std::string type_of(const NetDevice &device, bool is_wireless) {
    if (is_wireless)
        return "wifi";
    if (std::ranges::find(wwan_drivers, device.driver) != wwan_drivers.end() || device.kind == "rmnet")
        return "wwan";
    if (!device.kind.empty())
        return device.kind;
    switch (device.type) {
    case ARPHRD_LOOPBACK:
        return "loopback";
    case ARPHRD_PPP:
        return "ppp";
    case ARPHRD_ETHER:
        return "ethernet";
    default:
        return device.type_text();
    }
}

std::string address_of(const NetDevice &device) {
    if (device.type != ARPHRD_ETHER)
        return {};
    return fmt::format("{:02x}", fmt::join(device.mac, ":"));
}

} // namespace

Result<std::vector<NetworkInterface>> Instance::interfaces(bool routes) const {
    const auto call = impl_->enter();
    MPS_TRY(call);
    const auto devices = net_devices();
    MPS_TRY(devices);
    const auto with_route =
        routes ? default_route_interfaces() : Result<std::set<std::uint32_t>>(std::in_place);
    MPS_TRY(with_route);
    const auto wireless = wireless_interfaces();
    std::vector<NetworkInterface> all;
    for (const NetDevice &device : *devices)
        all.push_back({.name = device.name,
                       .ifindex = device.ifindex,
                       .type = type_of(device, wireless.contains(device.ifindex)),
                       .up = device.up,
                       .default_route = with_route->contains(device.ifindex)});
    return all;
}

Result<std::vector<Link>> links(const Instance &instance) {
    const auto call = Inside::of(instance).enter();
    MPS_TRY(call);
    const auto devices = net_devices();
    MPS_TRY(devices);
    auto wireless = wireless_links();
    std::vector<Link> all;
    for (const NetDevice &device : *devices) {
        const auto radio = wireless.find(device.ifindex);
        const bool is_wireless = radio != wireless.end();
        all.push_back({.name = device.name,
                       .ifindex = device.ifindex,
                       .type = type_of(device, is_wireless),
                       .carrier = device.carrier,
                       .address = address_of(device),
                       .bit_s = link_speed(device)});
        if (is_wireless)
            all.back().wireless = std::move(radio->second);
    }
    return all;
}

} // namespace mps
