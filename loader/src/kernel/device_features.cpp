// SPDX-License-Identifier: MIT
#include "kernel/device_features.hpp"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "base/fd.hpp"

namespace mps {

namespace {

// Room for a structure of ethtool's with `extra` octets behind it.
template <class T>
struct Request {
    std::vector<std::uint64_t> room;

    explicit Request(std::size_t extra) : room((sizeof(T) + extra + 7) / 8) {}
    T *operator->() { return reinterpret_cast<T *>(room.data()); }

    bool ask(const Fd &socket, const std::string &device) {
        ifreq request{};
        device.copy(request.ifr_name, IFNAMSIZ - 1);
        request.ifr_data = reinterpret_cast<char *>(room.data());
        return ::ioctl(socket.get(), SIOCETHTOOL, &request) == 0;
    }
};

std::uint32_t feature_count(const Fd &socket, const std::string &device) {
    Request<ethtool_sset_info> sizes(sizeof(std::uint32_t));
    sizes->cmd = ETHTOOL_GSSET_INFO;
    sizes->sset_mask = std::uint64_t{1} << ETH_SS_FEATURES;
    return sizes.ask(socket, device) && sizes->sset_mask ? sizes->data[0] : 0;
}

} // namespace

std::set<std::string> device_features(const std::string &device) {
    const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const std::uint32_t count = socket ? feature_count(socket, device) : 0;
    Request<ethtool_gstrings> names(std::size_t{count} * ETH_GSTRING_LEN);
    names->cmd = ETHTOOL_GSTRINGS;
    names->string_set = ETH_SS_FEATURES;
    names->len = count;
    const std::uint32_t blocks = (count + 31) / 32;
    Request<ethtool_gfeatures> states(blocks * sizeof(ethtool_get_features_block));
    states->cmd = ETHTOOL_GFEATURES;
    states->size = blocks;
    std::set<std::string> on;
    if (!count || !names.ask(socket, device) || !states.ask(socket, device))
        return on;
    for (std::uint32_t i = 0; i < count; i++) {
        const auto *name = reinterpret_cast<const char *>(names->data) + std::size_t{i} * ETH_GSTRING_LEN;
        if (states->features[i / 32].active >> (i % 32) & 1U)
            on.emplace(name, ::strnlen(name, ETH_GSTRING_LEN));
    }
    return on;
}

} // namespace mps
