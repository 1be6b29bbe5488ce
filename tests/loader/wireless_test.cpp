// SPDX-License-Identifier: MIT
//
// What is made of nl80211's answers. Put together here by the kernel's own header, not recorded: no kernel that the tests run on has a
// wireless interface (Debian's cloud kernels have no mac80211_hwsim).
#include <array>
#include <map>

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/nl80211.h>

#include "catch.hpp"
#include "kernel/wireless.hpp"

using namespace mps;

namespace {

struct Message {
    alignas(nlmsghdr) std::array<char, 1024> buffer{};
    nlmsghdr *message = mnl_nlmsg_put_header(buffer.data());

    explicit Message(std::uint8_t command) {
        auto *header = static_cast<genlmsghdr *>(mnl_nlmsg_put_extra_header(message, sizeof(genlmsghdr)));
        header->cmd = command;
    }
    void rate(std::uint16_t which, std::uint32_t units, std::uint16_t index, std::uint8_t value) {
        nlattr *nest = mnl_attr_nest_start(message, which);
        // As the kernel does where it fits.
        if (units <= UINT16_MAX)
            mnl_attr_put_u16(message, NL80211_RATE_INFO_BITRATE, static_cast<std::uint16_t>(units));
        mnl_attr_put_u32(message, NL80211_RATE_INFO_BITRATE32, units);
        if (index)
            mnl_attr_put_u8(message, index, value);
        mnl_attr_nest_end(message, nest);
    }
};

} // namespace

TEST_CASE(
    "mode and frequency of wireless interfaces are read, and what has no index is none of the network's",
    "[wireless]") {
    std::map<std::uint32_t, Wireless> found;
    Message station(NL80211_CMD_NEW_INTERFACE);
    mnl_attr_put_u32(station.message, NL80211_ATTR_IFINDEX, 7);
    mnl_attr_put_u32(station.message, NL80211_ATTR_IFTYPE, NL80211_IFTYPE_STATION);
    mnl_attr_put_u32(station.message, NL80211_ATTR_WIPHY_FREQ, 5180);
    take_interface(station.message, found);
    Message ap(NL80211_CMD_NEW_INTERFACE);
    mnl_attr_put_u32(ap.message, NL80211_ATTR_IFINDEX, 8);
    mnl_attr_put_u32(ap.message, NL80211_ATTR_IFTYPE, NL80211_IFTYPE_AP);
    take_interface(ap.message, found);
    Message management(NL80211_CMD_NEW_INTERFACE);
    mnl_attr_put_u32(management.message, NL80211_ATTR_IFTYPE, NL80211_IFTYPE_P2P_DEVICE);
    take_interface(management.message, found);
    REQUIRE(found.size() == 2);
    CHECK(found.at(7).mode == "station");
    CHECK(found.at(7).frequency_mhz == 5180U);
    CHECK(found.at(8).mode == "ap");
    CHECK_FALSE(found.at(8).frequency_mhz);
    CHECK_FALSE(found.at(8).signal_dbm);
}

TEST_CASE("a station's signal is its mean, and the index of its rate tells the standard", "[wireless]") {
    Message answer(NL80211_CMD_NEW_STATION);
    mnl_attr_put_u32(answer.message, NL80211_ATTR_IFINDEX, 7);
    nlattr *info = mnl_attr_nest_start(answer.message, NL80211_ATTR_STA_INFO);
    mnl_attr_put_u8(answer.message, NL80211_STA_INFO_SIGNAL, static_cast<std::uint8_t>(-70));
    answer.rate(NL80211_STA_INFO_TX_BITRATE, 8667, NL80211_RATE_INFO_VHT_MCS, 9);
    mnl_attr_put_u8(answer.message, NL80211_STA_INFO_SIGNAL_AVG, static_cast<std::uint8_t>(-61));
    // More than the 16 bits of the older attribute hold.
    answer.rate(NL80211_STA_INFO_RX_BITRATE, 96'078, NL80211_RATE_INFO_HE_MCS, 11);
    mnl_attr_nest_end(answer.message, info);
    Wireless link{.mode = "station"};
    take_station(answer.message, link);
    CHECK(link.signal_dbm == -61);
    CHECK(link.standard == "802.11ac");
    CHECK(link.tx_bit_s == 866'700'000U);
    CHECK(link.rx_bit_s == 9'607'800'000U);
}

TEST_CASE("a signal in a unit of the driver's own is left out, and so is what is not told", "[wireless]") {
    Message answer(NL80211_CMD_NEW_STATION);
    nlattr *info = mnl_attr_nest_start(answer.message, NL80211_ATTR_STA_INFO);
    mnl_attr_put_u8(answer.message, NL80211_STA_INFO_SIGNAL, 70);
    answer.rate(NL80211_STA_INFO_TX_BITRATE, 540, 0, 0);
    mnl_attr_nest_end(answer.message, info);
    Wireless link{.mode = "station"};
    take_station(answer.message, link);
    CHECK_FALSE(link.signal_dbm);
    CHECK(link.standard.empty());
    CHECK(link.tx_bit_s == 54'000'000U);
    CHECK_FALSE(link.rx_bit_s);
}
