// SPDX-License-Identifier: MIT
//
// A network that runs: what is asked of it, and what is changed.
#include <mpsched/lab/network.hpp>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "names.hpp"

#include "base/try.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace mps::lab {

Result<void> Network::shape(std::size_t path, Side from, double mbit) {
    const auto &p = spec_.paths[path];
    const auto &ns = middle_ ? *middle_ : host(from);
    const auto device = middle_ ? middle_device(path, other(from)) : p.name;
    if (mbit <= 0) {
        // veth's own choice; "replace" because there may be nothing to delete.
        return ns.tc(fmt::format("qdisc replace dev {} root noqueue", device));
    }
    if (p.netem) {
        // Fractions in full: tc reads them, and its own units are finer than any of ours. Replacing netem by
        // netem changes the running one, and what waits in it stays.
        return ns.tc(fmt::format(
            "qdisc replace dev {} root netem limit {} delay {:.3f}ms {:.3f}ms loss {:.6f}% rate {}bit",
            device, p.netem->limit_packets, p.netem->delay_ms, p.netem->jitter_ms, 100 * p.netem->loss,
            static_cast<std::uint64_t>(mbit * 1e6)));
    }
    // 4 ms worth of bytes hide timer jitter; a burst below one packet would block that packet for ever.
    const double bits = mbit * 1e6;
    const auto burst = std::max({static_cast<std::uint64_t>(bits / 8 * 0.004), std::uint64_t{10} * 1514,
                                 std::uint64_t{2} * (p.mtu + 14)});
    return ns.tc(fmt::format("qdisc replace dev {} root tbf rate {}bit burst {} latency {}ms", device,
                             static_cast<std::uint64_t>(bits), burst, p.queue.count()));
}

std::vector<std::string> Network::devices() const {
    std::vector<std::string> names;
    names.reserve(spec_.paths.size());
    for (const auto &path : spec_.paths) {
        names.push_back(path.name);
    }
    return names;
}

std::string Network::address(Side side, std::size_t path, std::optional<Family> family) const {
    const auto wanted = family.value_or(spec_.family);
    return has_ipv4(wanted) ? address_v4(side, path) : address_v6(side, path);
}

std::string Network::server_address(std::optional<Family> family) const {
    return address(Side::b, spec_.first_path, family);
}

std::optional<std::size_t> Network::path_of(std::string_view address) const {
    for (std::size_t i = 0; i < spec_.paths.size(); ++i) {
        for (const auto side : {Side::a, Side::b}) {
            if (address == address_v4(side, i) || address == address_v6(side, i)) {
                return i;
            }
        }
    }
    return std::nullopt;
}

std::optional<std::size_t> Network::path_index(std::string_view name) const {
    const auto found = std::ranges::find(spec_.paths, name, &PathSpec::name);
    return found == spec_.paths.end() ? std::nullopt
                                      : std::optional(static_cast<std::size_t>(found - spec_.paths.begin()));
}

Result<void> Network::set_link(std::size_t path, bool up, Side side) {
    const auto &device = spec_.paths.at(path).name;
    if (auto done = host(side).ip(fmt::format("link set dev {} {}", device, up ? "up" : "down")); !done) {
        return done;
    }
    if (!up) {
        return {};
    }
    if (auto done = wait_until_running(path); !done) {
        return done;
    }
    return side == Side::a ? route_by_source(path, false) : Result<void>{};
}

Result<void> Network::set_netem(std::size_t path, double mbit, double down_mbit, const Netem &netem) {
    auto &p = spec_.paths.at(path);
    if (!p.netem || mbit <= 0 || down_mbit <= 0) {
        return fail(fmt::format("path {} has no netem, or the new rate is 0", p.name), "", EINVAL);
    }
    p.rate_mbit = mbit;
    p.down_rate_mbit = down_mbit;
    p.netem = netem;
    auto done = shape(path, Side::a, mbit);
    return done ? shape(path, Side::b, down_mbit) : done;
}

Result<void> Network::check_netem(std::size_t path, double mbit, double down_mbit, const Netem &netem) const {
    for (const auto &[side, rate] : {std::pair{Side::a, mbit}, std::pair{Side::b, down_mbit}}) {
        const auto &ns = middle_ ? *middle_ : host(side);
        const auto device = middle_ ? middle_device(path, other(side)) : spec_.paths.at(path).name;
        auto shown = ns.spawn_checked({"tc", "-j", "qdisc", "show", "dev", device, "root"});
        MPS_TRY(shown);
        const auto json = nlohmann::json::parse(shown->out, nullptr, false);
        const auto value = [&](const char *pointer) {
            const nlohmann::json::json_pointer where(pointer);
            const bool there = json.is_array() && json.contains(where) && json.at(where).is_number();
            return there ? json.at(where).get<double>() : 0.0;
        };
        // tc knows bytes/s and seconds; loss is a part of 1.
        struct Value {
            const char *name;
            double is;
            double should_be;
            double tolerance;
        };
        constexpr double bytes_per_mbit = 125'000;
        for (const auto &[name, is, should_be, tolerance] :
             {Value{"rate in Mbit/s", value("/0/options/rate/rate") / bytes_per_mbit, rate, 1e-3 * rate},
              Value{"delay in ms", value("/0/options/delay/delay") * 1e3, netem.delay_ms, 0.01},
              Value{"loss", value("/0/options/loss-random/loss"), netem.loss, 1e-3}}) {
            if (std::abs(is - should_be) > tolerance) {
                return fail(fmt::format("path {}: the {} is {:.4g} instead of {:.4g}", spec_.paths[path].name,
                                        name, is, should_be));
            }
        }
    }
    return {};
}

Result<std::uint64_t> Network::dropped(std::size_t path) const {
    std::uint64_t sum = 0;
    for (const auto side : {Side::a, Side::b}) {
        const auto &ns = middle_ ? *middle_ : host(side);
        const auto device = middle_ ? middle_device(path, other(side)) : spec_.paths.at(path).name;
        auto shown = ns.spawn_checked({"tc", "-s", "qdisc", "show", "dev", device, "root"});
        MPS_TRY(shown);
        constexpr std::string_view label = "(dropped ";
        const auto found = shown->out.find(label);
        if (found == std::string::npos) {
            return fail(fmt::format("tc shows no drops of {}: {}", device, shown->out));
        }
        sum += std::strtoull(shown->out.c_str() + found + label.size(), nullptr, 10);
    }
    return sum;
}

Result<bool> netem_available() {
    auto ns = Namespace::create("probe");
    MPS_TRY(ns);
    auto tried = ns->spawn({"tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"});
    return tried ? Result<bool>(tried->ok()) : Result<bool>(std::unexpected(tried.error()));
}

Result<void> Network::set_blackhole(std::size_t path, bool on) {
    auto &p = spec_.paths.at(path);
    for (const auto side : {Side::a, Side::b}) {
        const auto &ns = middle_ ? *middle_ : host(side);
        const auto device = middle_ ? middle_device(path, other(side)) : p.name;
        const auto rate = side == Side::a ? p.rate_mbit : p.down_rate_mbit.value_or(p.rate_mbit);
        if (p.netem) {
            // The one that is running drops from now on; what has entered it still arrives, as on a real path.
            const double loss = std::exchange(p.netem->loss, on ? 1 : p.netem->loss);
            auto done = shape(path, side, rate);
            p.netem->loss = loss;
            if (!done) {
                return done;
            }
            continue;
        }
        auto done =
            on ? ns.tc(fmt::format("qdisc replace dev {} root blackhole", device)) : shape(path, side, rate);
        if (!done) {
            return done;
        }
    }
    return {};
}

Result<void> Network::set_rate(std::size_t path, double mbit, Side from) {
    auto &p = spec_.paths.at(path);
    auto done = shape(path, from, mbit);
    if (!done) {
        return done;
    }
    if (from == Side::a) {
        p.down_rate_mbit = p.down_rate_mbit.value_or(p.rate_mbit);
        p.rate_mbit = mbit;
    } else {
        p.down_rate_mbit = mbit;
    }
    return {};
}

} // namespace mps::lab
