// SPDX-License-Identifier: MIT
//
// What `status` judges by and needs no installation for.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <sstream>

#include <mps/abi.h>

#include "base/addresses.hpp"
#include "base/numbers.hpp"
#include "observe/diagnose.hpp"

namespace mps {

std::vector<OwnAddress> own_addresses() {
    std::vector<OwnAddress> result;
    ifaddrs *all = nullptr;
    if (::getifaddrs(&all))
        return result;
    for (const ifaddrs *one = all; one; one = one->ifa_next) {
        const int family = one->ifa_addr ? one->ifa_addr->sa_family : AF_UNSPEC;
        if (family != AF_INET && family != AF_INET6)
            continue;
        const void *address =
            family == AF_INET
                ? static_cast<const void *>(&reinterpret_cast<const sockaddr_in *>(one->ifa_addr)->sin_addr)
                : &reinterpret_cast<const sockaddr_in6 *>(one->ifa_addr)->sin6_addr;
        result.push_back({address_text(family, address), one->ifa_name});
    }
    ::freeifaddrs(all);
    return result;
}

// Established TCP connections of the network namespace, subflows of MPTCP included: Tcp CurrEstab. /proc/net would be that of
// the process's first thread, which may be in another one.
std::uint32_t established_tcp() {
    std::ifstream file("/proc/thread-self/net/snmp");
    std::vector<std::string> names;
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with("Tcp: "))
            continue;
        std::istringstream words(line);
        std::vector<std::string> parts{std::istream_iterator<std::string>(words), {}};
        const auto at = std::find(names.begin(), names.end(), "CurrEstab");
        if (names.empty())
            names = std::move(parts);
        else if (at != names.end() && parts.size() == names.size())
            return static_cast<std::uint32_t>(
                parse_unsigned(parts[static_cast<std::size_t>(at - names.begin())]).value_or(0));
    }
    return 0;
}

// What cannot be read may be on.
static bool forwards(const std::string &sysctl) {
    std::ifstream file("/proc/sys/net/" + sysctl);
    int on = 1;
    return !(file >> on) || on != 0;
}

Circumstances look_around() {
    Circumstances seen;
    std::ifstream file("/proc/sys/net/mptcp/enabled");
    int enabled = 1;
    seen.enabled = !(file >> enabled) || enabled != 0;
    seen.forwarding.ipv4 = forwards("ipv4/ip_forward");
    seen.forwarding.ipv6 = forwards("ipv6/conf/all/forwarding");
    seen.network_manager = ::access("/run/NetworkManager", F_OK) == 0;
    seen.pm = read_path_manager();
    seen.devices = net_links().value_or(std::vector<NetDevice>{});
    seen.own_addresses = own_addresses();
    seen.max_subflows = MPS_MAX_SUBFLOWS;
    return seen;
}

} // namespace mps
