// SPDX-License-Identifier: MIT
#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>

#include <fmt/format.h>

#include "base/addresses.hpp"
#include "base/try.hpp"
#include "instance_impl.hpp"
#include "pins/last_rule.hpp"
#include "spread/link_speed.hpp"
#include "spread/spread.hpp"
#include "spread/spread_pins.hpp"
#include "spread/spread_programs.hpp"

namespace mps {

namespace {

constexpr std::uint32_t period_ms = 700; // some round trips of a full queue

bool has_pins(const InstallationPaths &paths) {
    std::error_code error;
    return std::filesystem::exists(spread_dir(paths), error);
}

Result<NetDevice> device_for(const std::string &name) {
    const auto device = net_device(name);
    if (!device)
        return no_such_interface(name);
    if (device->foreign_framing())
        return fail(ErrorCode::unsupported,
                    fmt::format("{} has a link layer that is not understood ({})", name, device->type_text()),
                    "Ethernet and layer 3 interfaces are supported");
    return *device;
}

Result<void> write_link(const SpreadMaps &maps, const NetDevice &device) {
    const mps_spread_link link{.speed = link_speed(device).value_or(0) / 8};
    const std::uint32_t ifindex = device.ifindex;
    if (bpf_map_update_elem(maps.links.get(), &ifindex, &link, BPF_ANY))
        return std::unexpected(system_error(errno, fmt::format("noting the interface {}", device.name)));
    return {};
}

Result<void> forget_link(const InstallationPaths &paths, std::uint32_t ifindex) {
    MPS_TRY(remove_spread_program(paths, ifindex));
    const auto maps = open_spread_maps(paths);
    MPS_TRY(maps);
    if (*maps)
        bpf_map_delete_elem((*maps)->links.get(), &ifindex);
    return {};
}

bool has_ports(const std::vector<SpreadEntry> &entries) {
    return std::ranges::any_of(entries,
                               [](const SpreadEntry &one) { return one.first.by == MPS_SPREAD_BY_PORT; });
}

Result<void> write_config(const SpreadMaps &maps, bool moves) {
    const auto before = read_value<mps_spread_config>(maps.config.get(), 0);
    MPS_TRY(before);
    mps_spread_config config = before->value_or(mps_spread_config{});
    config.flags = MPS_SPREAD_LABELS | (moves ? static_cast<std::uint32_t>(MPS_SPREAD_MOVE) : 0u);
    config.period_ms = period_ms;
    return write_value(maps.config.get(), 0, config, MPS_MAP_SPREAD_CONFIG);
}

// The programs come last: until then nothing is placed.
Result<void> turn_on(const Session &session, const SpreadRequest &request,
                     const std::vector<NetDevice> &devices, bool tcx, SpreadOn &result) {
    const auto maps = provide_spread_maps(session.paths);
    MPS_TRY(maps);
    if (request.map) {
        const auto entries = spread_entries(*request.map);
        MPS_TRY(entries);
        MPS_TRY(write_spread_entries(*maps, *entries));
    }
    const auto entries = read_spread_entries(*maps);
    MPS_TRY(entries);
    MPS_TRY(write_config(*maps, request.moves));
    if (has_ports(*entries) && !session.sockops)
        return fail(ErrorCode::unsupported, "programs at cgroup v2 are treated as missing (MPS_WITHOUT)");
    MPS_TRY(settle_port_programs(session.paths, has_ports(*entries)));
    for (const NetDevice &device : devices) {
        const auto there = has_spread_program(session.paths, device.ifindex);
        MPS_TRY(there);
        // Its speed may be another one now.
        MPS_TRY(write_link(*maps, device));
        if (*there)
            continue;
        result.interfaces.push_back(device.name);
        MPS_TRY(put_spread_program(session.paths, device, tcx));
        if (const auto now = has_spread_program(session.paths, device.ifindex); !now || !*now)
            return fail(ErrorCode::failed,
                        fmt::format("{} has no program of spread although the kernel took it", device.name),
                        "something else changes the same hook: try again");
    }
    return {};
}

SpreadInterface interface_of(const SpreadMaps &maps, const InstallationPaths &paths, std::uint32_t ifindex) {
    SpreadInterface one{.name = ifname_of(ifindex)};
    mps_spread_link link{};
    if (!bpf_map_lookup_elem(maps.links.get(), &ifindex, &link)) {
        one.rate_bit_s = link.rate * 8;
        if (link.speed)
            one.speed_bit_s = link.speed * 8;
    }
    const auto there = has_spread_program(paths, ifindex);
    if (!there || !*there)
        one.problem = "its program is not on the interface; 'mpsched spread on' puts it there";
    return one;
}

SpreadSubflow subflow_of(const mps_spread_row &row) {
    const mps_spread_flow &flow = row.flow;
    SpreadSubflow one{.local = endpoint_text(std::span(row.local), flow.local_port),
                      .peer = endpoint_text(std::span(row.peer), flow.peer_port),
                      .token = row.token,
                      .interface = ifname_of(flow.ifindex),
                      .moves = flow.moves,
                      .rate_bit_s = flow.rate * 8};
    if (flow.label)
        one.label = flow.label;
    if (flow.by_port)
        one.port = flow.local_port;
    if (flow.path)
        one.path = flow.path;
    return one;
}

// Names of all of these, and which indices they are. A name that is not among them is an error.
Result<std::vector<std::uint32_t>> chosen(const std::vector<std::uint32_t> &there,
                                          const std::vector<std::string> &names, bool all) {
    if (all)
        return there;
    std::vector<std::uint32_t> found;
    for (const std::string &name : names) {
        const auto place =
            std::ranges::find_if(there, [&](std::uint32_t one) { return ifname_of(one) == name; });
        if (place == there.end())
            return fail(ErrorCode::usage, fmt::format("nothing is placed on {}", name),
                        "'mpsched spread list' shows where something is");
        found.push_back(*place);
    }
    return found;
}

} // namespace

Result<void> remove_spread(const InstallationPaths &paths) {
    const auto interfaces = spread_interfaces(paths);
    MPS_TRY(interfaces);
    for (const std::uint32_t ifindex : *interfaces)
        MPS_TRY(remove_spread_program(paths, ifindex));
    if (!has_pins(paths))
        return {};
    MPS_TRY(settle_port_programs(paths, false));
    return remove_tree(spread_dir(paths));
}

Result<void> repair_spread(const InstallationPaths &paths) {
    if (!has_pins(paths))
        return {};
    const auto maps = open_spread_maps(paths);
    MPS_TRY(maps);
    const auto interfaces = spread_interfaces(paths);
    MPS_TRY(interfaces);
    std::size_t left = 0;
    for (const std::uint32_t ifindex : *interfaces) {
        if (*maps && !ifname_of(ifindex).empty())
            left++;
        else
            MPS_TRY(forget_link(paths, ifindex));
    }
    return left ? Result<void>{} : remove_spread(paths);
}

Result<SpreadStatus> spread_status(const Instance &instance, bool with_subflows) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    SpreadStatus status;
    if (!impl.installed())
        return status;
    const InstallationPaths paths = *impl.paths();
    const auto maps = open_spread_maps(paths);
    MPS_TRY(maps);
    if (!*maps)
        return status;
    const auto config = read_value<mps_spread_config>((*maps)->config.get(), 0);
    MPS_TRY(config);
    const mps_spread_config now = config->value_or(mps_spread_config{});
    status.moves = (now.flags & MPS_SPREAD_MOVE) != 0;
    status.moved = now.moved;
    status.ports_given = now.ports_given;
    status.ports_exhausted = now.ports_exhausted;
    const auto interfaces = spread_interfaces(paths);
    MPS_TRY(interfaces);
    for (const std::uint32_t ifindex : *interfaces)
        if (!ifname_of(ifindex).empty())
            status.interfaces.push_back(interface_of(**maps, paths, ifindex));
    const auto entries = read_spread_entries(**maps);
    MPS_TRY(entries);
    status.map = spread_map(*entries);
    if (!with_subflows)
        return status;
    const auto rows = read_spread_rows(paths);
    MPS_TRY(rows);
    for (const mps_spread_row &row : *rows)
        status.subflows.push_back(subflow_of(row));
    return status;
}

Result<SpreadOn> spread_on(const Instance &instance, const SpreadRequest &request) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    std::vector<NetDevice> devices;
    for (const std::string &name : request.interfaces) {
        auto device = device_for(name);
        MPS_TRY(device);
        devices.push_back(std::move(*device));
    }
    if (devices.empty())
        return fail(ErrorCode::usage, "no interface is given", "name interfaces that lead to several paths");
    bool created = false;
    auto session = impl.open_or_create(created);
    MPS_TRY(session);
    const auto before = spread_interfaces(session->paths);
    MPS_TRY(before);
    SpreadOn result;
    const auto done = turn_on(*session, request, devices, impl.has_tcx(), result);
    if (!done) {
        for (const std::string &name : result.interfaces)
            if (const auto device = net_device(name))
                (void)forget_link(session->paths, device->ifindex);
        if (before->empty())
            (void)remove_spread(session->paths);
        if (created)
            (void)remove_if_empty(impl, *session);
        return std::unexpected(done.error());
    }
    return result;
}

Result<std::vector<std::string>> spread_off(const Instance &instance,
                                            const std::vector<std::string> &interfaces, bool all) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    std::vector<std::string> removed;
    auto session = impl.open_for_changing();
    if (!session && session.error().kind == ErrorKind::not_installed) {
        MPS_TRY(chosen({}, interfaces, all));
        return removed;
    }
    MPS_TRY(session);
    const auto there = spread_interfaces(session->paths);
    MPS_TRY(there);
    const auto going = chosen(*there, interfaces, all);
    MPS_TRY(going);
    for (const std::uint32_t ifindex : *going) {
        MPS_TRY(forget_link(session->paths, ifindex));
        removed.push_back(ifname_of(ifindex));
    }
    const auto left = spread_interfaces(session->paths);
    MPS_TRY(left);
    if (left->empty())
        MPS_TRY(remove_spread(session->paths));
    MPS_TRY(remove_if_empty(impl, *session));
    return removed;
}

} // namespace mps
