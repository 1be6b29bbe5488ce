// SPDX-License-Identifier: MIT
#include "spread/link_speed.hpp"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/fd.hpp"
#include "kernel/token_bucket.hpp"

namespace mps {

std::optional<std::uint64_t> link_speed(const NetDevice &device) {
    if (const auto rate = token_bucket_rate(device.ifindex))
        return *rate;
    if (!device.kind.empty() && device.kind != "bond" && device.kind != "team" && device.kind != "vlan")
        return std::nullopt;
    const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ethtool_cmd settings{.cmd = ETHTOOL_GSET};
    ifreq request{};
    device.name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char *>(&settings);
    if (!socket || ::ioctl(socket.get(), SIOCETHTOOL, &request))
        return std::nullopt;
    const std::uint32_t mbit = ethtool_cmd_speed(&settings);
    if (mbit == 0 || mbit == static_cast<std::uint32_t>(SPEED_UNKNOWN))
        return std::nullopt;
    return std::uint64_t{mbit} * 1'000'000;
}

} // namespace mps
