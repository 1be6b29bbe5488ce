// SPDX-License-Identifier: MIT
//
// Switching what devices do in place of the kernel: checksums, and large packets.
#include <mpsched/lab/network.hpp>

#include <array>
#include <cerrno>
#include <cstdint>

#include "base/fd.hpp"

#include "base/try.hpp"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <fmt/format.h>

namespace mps::lab {
namespace {

Result<bool> ethtool_flag(int fd, const std::string &device, std::uint32_t command, std::uint32_t value = 0) {
    ethtool_value request{command, value};
    ifreq ifr{};
    device.copy(ifr.ifr_name, IFNAMSIZ - 1);
    ifr.ifr_data = reinterpret_cast<char *>(&request);
    if (::ioctl(fd, SIOCETHTOOL, &ifr) != 0) {
        return os_error("switch an offload of", device, errno);
    }
    return request.data != 0;
}

} // namespace

Result<void> set_device_offloads(const Namespace &ns, const std::string &device, const Offloads &offloads) {
    struct Switch {
        const char *name;
        const std::optional<bool> &wanted;
        std::uint32_t get;
        std::uint32_t set;
    };
    // In this order, since TSO needs checksums and GSO.
    const std::array<Switch, 4> switches{
        {{"tx-checksum", offloads.tx_checksum, ETHTOOL_GTXCSUM, ETHTOOL_STXCSUM},
         {"gso", offloads.gso, ETHTOOL_GGSO, ETHTOOL_SGSO},
         {"tso", offloads.tso, ETHTOOL_GTSO, ETHTOOL_STSO},
         {"gro", offloads.gro, ETHTOOL_GGRO, ETHTOOL_SGRO}}};
    return ns.run([&]() -> Result<void> {
        const Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        if (!fd) {
            return os_error("open", "a socket", errno);
        }
        for (const auto &[name, wanted, get, set] : switches) {
            if (!wanted) {
                continue;
            }
            if (auto done = ethtool_flag(fd.get(), device, set, *wanted ? 1 : 0); !done) {
                return std::unexpected(done.error());
            }
            const auto now = ethtool_flag(fd.get(), device, get);
            MPS_TRY(now);
            if (*now != *wanted) {
                return fail(fmt::format("{} of {} stays {}", name, device, *now ? "on" : "off"),
                            "another offload may need it, or it may need another");
            }
        }
        return {};
    });
}

Result<void> Network::set_offloads(const Offloads &offloads) {
    for (const auto *ns : {&a_, &b_}) {
        for (const auto &path : spec_.paths) {
            if (auto done = set_device_offloads(*ns, path.name, offloads); !done) {
                return done;
            }
        }
    }
    return {};
}

} // namespace mps::lab
