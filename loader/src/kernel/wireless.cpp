// SPDX-License-Identifier: MIT
#include "kernel/wireless.hpp"

#include <libmnl/libmnl.h>
#include <linux/nl80211.h>

#include "kernel/generic_netlink.hpp"

namespace mps {

namespace {

std::string mode_of(std::uint32_t type) {
    switch (type) {
    case NL80211_IFTYPE_STATION:
    case NL80211_IFTYPE_P2P_CLIENT:
        return "station";
    case NL80211_IFTYPE_AP:
    case NL80211_IFTYPE_AP_VLAN:
    case NL80211_IFTYPE_P2P_GO:
        return "ap";
    case NL80211_IFTYPE_ADHOC:
        return "ad hoc";
    case NL80211_IFTYPE_MESH_POINT:
        return "mesh";
    case NL80211_IFTYPE_MONITOR:
        return "monitor";
    default:
        return "other";
    }
}

struct Bitrate {
    std::optional<std::uint64_t> bit_s{};
    std::string standard{};
};

// Rates are in units of 100 kbit/s; the older attribute ends at 6.5 Gbit/s. Which index of a modulation is there tells the standard.
Bitrate bitrate_of(const nlattr *nest) {
    constexpr std::uint64_t unit_bit_s = 100'000;
    Bitrate rate;
    for_each_nested(nest, [&](const nlattr *attribute) {
        switch (mnl_attr_get_type(attribute)) {
        case NL80211_RATE_INFO_BITRATE:
            if (!rate.bit_s && mnl_attr_get_payload_len(attribute) >= sizeof(std::uint16_t))
                rate.bit_s = mnl_attr_get_u16(attribute) * unit_bit_s;
            break;
        case NL80211_RATE_INFO_BITRATE32:
            if (mnl_attr_get_payload_len(attribute) >= sizeof(std::uint32_t))
                rate.bit_s = mnl_attr_get_u32(attribute) * unit_bit_s;
            break;
        case NL80211_RATE_INFO_MCS:
            rate.standard = "802.11n";
            break;
        case NL80211_RATE_INFO_VHT_MCS:
            rate.standard = "802.11ac";
            break;
        case NL80211_RATE_INFO_HE_MCS:
            rate.standard = "802.11ax";
            break;
        case NL80211_RATE_INFO_EHT_MCS:
            rate.standard = "802.11be";
            break;
        }
    });
    return rate;
}

// The mean, else the last. What is not below 0 is in a unit of the driver's own.
void take_signal(const nlattr *attribute, std::optional<int> &signal) {
    const int value = static_cast<std::int8_t>(mnl_attr_get_u8(attribute));
    const bool is_mean = mnl_attr_get_type(attribute) == NL80211_STA_INFO_SIGNAL_AVG;
    if (value < 0 && (is_mean || !signal))
        signal = value;
}

void take_station_info(const nlattr *nest, Wireless &link) {
    for_each_nested(nest, [&](const nlattr *attribute) {
        switch (mnl_attr_get_type(attribute)) {
        case NL80211_STA_INFO_SIGNAL:
        case NL80211_STA_INFO_SIGNAL_AVG:
            take_signal(attribute, link.signal_dbm);
            break;
        case NL80211_STA_INFO_TX_BITRATE: {
            Bitrate rate = bitrate_of(attribute);
            link.tx_bit_s = rate.bit_s;
            link.standard = std::move(rate.standard);
            break;
        }
        case NL80211_STA_INFO_RX_BITRATE:
            link.rx_bit_s = bitrate_of(attribute).bit_s;
            break;
        }
    });
}

} // namespace

void take_interface(const nlmsghdr *answer, std::map<std::uint32_t, Wireless> &found) {
    std::uint32_t ifindex = 0;
    Wireless link{.mode = mode_of(NL80211_IFTYPE_UNSPECIFIED)};
    for_each_generic(answer, [&](const nlattr *attribute) {
        switch (mnl_attr_get_type(attribute)) {
        case NL80211_ATTR_IFINDEX:
            ifindex = mnl_attr_get_u32(attribute);
            break;
        case NL80211_ATTR_IFTYPE:
            link.mode = mode_of(mnl_attr_get_u32(attribute));
            break;
        case NL80211_ATTR_WIPHY_FREQ:
            link.frequency_mhz = mnl_attr_get_u32(attribute);
            break;
        }
    });
    // One without an index is no interface of the network's, as those for peer-to-peer management.
    if (ifindex)
        found[ifindex] = std::move(link);
}

void take_station(const nlmsghdr *answer, Wireless &link) {
    for_each_generic(answer, [&](const nlattr *attribute) {
        if (mnl_attr_get_type(attribute) == NL80211_ATTR_STA_INFO)
            take_station_info(attribute, link);
    });
}

std::map<std::uint32_t, Wireless> wireless_links() {
    std::map<std::uint32_t, Wireless> found;
    (void)ask_generic({.family = "nl80211", .command = NL80211_CMD_GET_INTERFACE, .dump = true},
                      [&](const nlmsghdr *answer) { take_interface(answer, found); });
    for (auto &[ifindex, link] : found)
        // An access point has many, and none of them is the link's.
        if (link.mode == "station")
            (void)ask_generic({.family = "nl80211",
                               .command = NL80211_CMD_GET_STATION,
                               .dump = true,
                               .attribute = NL80211_ATTR_IFINDEX,
                               .value = ifindex},
                              [&](const nlmsghdr *answer) { take_station(answer, link); });
    return found;
}

} // namespace mps
