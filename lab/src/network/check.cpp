// SPDX-License-Identifier: MIT
#include "check.hpp"

#include <cerrno>
#include <set>
#include <string>

#include <net/if.h>

#include <fmt/format.h>

namespace mps::lab {
namespace {

constexpr std::size_t max_endpoints = 8; // MPTCP_PM_ADDR_MAX, net/mptcp/protocol.h
constexpr std::size_t max_paths = max_endpoints + 1;

// Of the host that has most; see Network::endpoints().
std::size_t endpoint_count(const NetworkSpec &spec) {
    const std::size_t families = spec.family == Family::dual ? 2 : 1;
    if (spec.joins == Joins::none) {
        return 0;
    }
    return families * (spec.paths.size() - (spec.joins == Joins::server_signal ? 1 : 0));
}

} // namespace

Result<void> check(const NetworkSpec &spec) {
    if (spec.paths.empty() || spec.paths.size() > max_paths) {
        return fail(fmt::format("{} paths are not possible", spec.paths.size()),
                    fmt::format("1 to {}", max_paths), EINVAL);
    }
    if (spec.first_path >= spec.paths.size()) {
        return fail(fmt::format("first_path {} does not exist", spec.first_path),
                    fmt::format("0 to {}", spec.paths.size() - 1), EINVAL);
    }
    if (endpoint_count(spec) > max_endpoints) {
        return fail(
            fmt::format("the endpoints of {}{} paths are more than the kernel's {}", spec.paths.size(),
                        spec.family == Family::dual ? " dual" : "", max_endpoints),
            "fewer paths, one family, Joins::server_signal, which needs none for the first path, or Joins::none",
            EINVAL);
    }
    std::set<std::string> names;
    for (const auto &path : spec.paths) {
        if (path.name.empty() || path.name.size() >= IFNAMSIZ || path.name == "lo" ||
            path.name.find_first_of("/ \t\n") != std::string::npos || !names.insert(path.name).second) {
            return fail(fmt::format("\"{}\" cannot be the name of a path", path.name),
                        "1 to 15 characters, each name once, not \"lo\"", EINVAL);
        }
        if (path.mtu < 1280 || path.mtu > 65535) {
            return fail(fmt::format("path {}: an MTU of {} is not possible", path.name, path.mtu),
                        "1280 to 65535", EINVAL);
        }
        if (path.rate_mbit < 0 || path.down_rate_mbit.value_or(0) < 0 || path.queue.count() < 1) {
            return fail(fmt::format("path {}: rate or queue out of range", path.name),
                        "rates from 0 Mbit/s, queue from 1 ms", EINVAL);
        }
        if (path.netem && (path.rate_mbit <= 0 || path.down_rate_mbit.value_or(1) <= 0)) {
            return fail(fmt::format("path {}: netem needs a rate in both directions", path.name), "", EINVAL);
        }
    }
    return {};
}

} // namespace mps::lab
