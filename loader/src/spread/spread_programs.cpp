// SPDX-License-Identifier: MIT
#include "spread/spread_programs.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "attach/clsact.hpp"
#include "attach/hooks.hpp"
#include "base/numbers.hpp"
#include "base/try.hpp"
#include "kernel/cgroup.hpp"
#include "kernel/iterator.hpp"
#include "kernel/kernel_objects.hpp"
#include "kernel/netns.hpp"
#include "pins/kept_maps.hpp"
#include "spread.skel.h"
#include "spread/spread_pins.hpp"

namespace mps {

namespace {

struct Destroy {
    void operator()(spread *object) const { spread__destroy(object); }
};
using Object = std::unique_ptr<spread, Destroy>;

struct MapRow {
    const char *name;
    std::uint32_t value_size;
    Fd SpreadMaps::*member;
};
const std::array<MapRow, 5> map_rows{
    MapRow{MPS_MAP_SPREAD_CONFIG, sizeof(mps_spread_config), &SpreadMaps::config},
    MapRow{MPS_MAP_SPREAD_ROUTES, sizeof(mps_spread_route), &SpreadMaps::routes},
    MapRow{MPS_MAP_SPREAD_FLOWS, sizeof(mps_spread_flow), &SpreadMaps::flows},
    MapRow{MPS_MAP_SPREAD_PORTS, sizeof(mps_spread_port), &SpreadMaps::ports},
    MapRow{MPS_MAP_SPREAD_LINKS, sizeof(mps_spread_link), &SpreadMaps::links}};

struct PortProgram {
    const char *name;
    bpf_attach_type type;
};
constexpr std::array<PortProgram, 4> port_programs{PortProgram{"mps_sp_conn4", BPF_CGROUP_INET4_CONNECT},
                                                   PortProgram{"mps_sp_conn6", BPF_CGROUP_INET6_CONNECT},
                                                   PortProgram{"mps_sp_bind4", BPF_CGROUP_INET4_BIND},
                                                   PortProgram{"mps_sp_bind6", BPF_CGROUP_INET6_BIND}};

// `wanted` is the program to load; "" only makes the maps.
Result<Object> load(const InstallationPaths &paths, std::string_view wanted) {
    Object object(spread__open());
    if (!object)
        return std::unexpected(system_error(errno, "opening the programs of spread"));
    const auto cookie = netns_cookie();
    MPS_TRY(cookie);
    object->rodata->mps_netns_cookie = *cookie;
    const KeptMaps maps{.folder = spread_dir(paths),
                        .pin = [&](std::string_view map) { return spread_pin(paths, map); },
                        .use = [](std::string_view) { return MapUse::kept; }};
    MPS_TRY(load_alone(object->obj, wanted, maps, "loading the programs of spread"));
    return object;
}

int program_fd(const Object &object, std::string_view name) {
    return bpf_program__fd(bpf_object__find_program_by_name(object->obj, std::string(name).c_str()));
}

FilterPlace filter_place(std::uint32_t ifindex) { return {ifindex, BPF_TC_EGRESS, spread_handle}; }

bool has_filter(std::uint32_t ifindex) {
    const std::uint32_t id = filter_program(filter_place(ifindex));
    const auto program = id ? prog_by_id(id) : std::unexpected(Error{});
    const auto info = program ? prog_info(program->get()) : std::unexpected(Error{});
    return info && info->name.starts_with("mps_sp_out_");
}

std::vector<std::string> foreign_marks(const InstallationPaths &paths, std::uint32_t ifindex) {
    return {mark_of(paths, hook_of(HookId::out), ifindex),
            mark_of(paths, hook_of(HookId::rules_out), ifindex)};
}

Result<void> put_filter_for(const InstallationPaths &paths, const NetDevice &device, int program) {
    MPS_TRY(put_filter(filter_place(device.ifindex), device, program,
                       spread_clsact_mark(paths, device.ifindex), foreign_marks(paths, device.ifindex)));
    // An ingress qdisc has no egress: what is put there is put to ingress.
    const FilterPlace ingress{device.ifindex, BPF_TC_INGRESS, spread_handle};
    if (!filter_program(ingress)) {
        // Says of the filter, which no pin leads to, that it belongs to this installation.
        const std::string path = spread_program(paths, device.ifindex);
        MPS_TRY(unpin(path));
        return pin(program, path);
    }
    MPS_TRY(remove_filter(filter_place(device.ifindex)));
    return fail(ErrorCode::unsupported,
                fmt::format("{} has an ingress qdisc, which has no egress", device.name),
                "a clsact qdisc in its place has both");
}

} // namespace

Result<std::optional<SpreadMaps>> open_spread_maps(const InstallationPaths &paths) {
    SpreadMaps maps;
    for (const MapRow &row : map_rows) {
        auto map = open_own_map(spread_pin(paths, row.name), row.value_size);
        MPS_TRY(map);
        if (!*map)
            return std::nullopt;
        maps.*row.member = std::move(*map);
    }
    return maps;
}

Result<SpreadMaps> provide_spread_maps(const InstallationPaths &paths) {
    auto there = open_spread_maps(paths);
    MPS_TRY(there);
    if (*there)
        return std::move(**there);
    MPS_TRY(load(paths, ""));
    auto made = open_spread_maps(paths);
    MPS_TRY(made);
    if (!*made)
        return fail(ErrorCode::failed, "the maps of spread were made and are not there", "try again");
    return std::move(**made);
}

Result<std::vector<SpreadEntry>> read_spread_entries(const SpreadMaps &maps) {
    std::vector<SpreadEntry> entries;
    mps_spread_key key{};
    const void *before = nullptr;
    while (entries.size() < MPS_SPREAD_ROUTES && !bpf_map_get_next_key(maps.routes.get(), before, &key)) {
        mps_spread_route route{};
        if (!bpf_map_lookup_elem(maps.routes.get(), &key, &route))
            entries.emplace_back(key, route);
        before = &key;
    }
    return entries;
}

Result<void> write_spread_entries(const SpreadMaps &maps, const std::vector<SpreadEntry> &entries) {
    const auto before = read_spread_entries(maps);
    MPS_TRY(before);
    for (const auto &[key, route] : entries)
        if (bpf_map_update_elem(maps.routes.get(), &key, &route, BPF_ANY))
            return std::unexpected(system_error(errno, "writing the map of paths"));
    for (const auto &[key, route] : *before) {
        const auto same = [&](const SpreadEntry &one) { return !std::memcmp(&one.first, &key, sizeof key); };
        if (std::ranges::none_of(entries, same) && bpf_map_delete_elem(maps.routes.get(), &key) &&
            errno != ENOENT)
            return std::unexpected(system_error(errno, "removing from the map of paths"));
    }
    return {};
}

Result<bool> has_spread_program(const InstallationPaths &paths, std::uint32_t ifindex) {
    const auto link = read_link(spread_link(paths, ifindex));
    MPS_TRY(link);
    return (*link && (*link)->ifindex == ifindex) || has_filter(ifindex);
}

Result<void> put_spread_program(const InstallationPaths &paths, const NetDevice &device, bool tcx) {
    const std::string name = device.layer3() ? "mps_sp_out_l3" : "mps_sp_out_eth";
    const auto object = load(paths, name);
    MPS_TRY(object);
    const int program = program_fd(*object, name);
    if (!tcx)
        return put_filter_for(paths, device, program);
    const std::string path = spread_link(paths, device.ifindex);
    MPS_TRY(remove_link(path));
    const Fd link(bpf_link_create(program, static_cast<int>(device.ifindex),
                                  static_cast<bpf_attach_type>(attach_type_tcx_egress), nullptr));
    if (!link)
        return std::unexpected(system_error(errno, fmt::format("attaching to TC egress of {}", device.name)));
    return pin(link.get(), path);
}

Result<void> remove_spread_program(const InstallationPaths &paths, std::uint32_t ifindex) {
    MPS_TRY(remove_link(spread_link(paths, ifindex)));
    if (has_filter(ifindex))
        MPS_TRY(remove_filter(filter_place(ifindex)));
    MPS_TRY(unpin(spread_program(paths, ifindex)));
    return remove_clsact(spread_clsact_mark(paths, ifindex), ifindex);
}

Result<std::vector<std::uint32_t>> spread_interfaces(const InstallationPaths &paths) {
    std::set<std::uint32_t> all;
    std::error_code error;
    constexpr std::string_view prefix = "out-";
    for (const auto &entry : std::filesystem::directory_iterator(spread_dir(paths), error)) {
        const std::string name = entry.path().filename().string();
        const std::string_view rest = std::string_view(name).substr(std::min(prefix.size(), name.size()));
        const auto number = parse_unsigned(rest.substr(0, rest.find('-')));
        if (name.starts_with(prefix) && number && *number <= UINT32_MAX)
            all.insert(static_cast<std::uint32_t>(*number));
    }
    const auto devices = net_links();
    MPS_TRY(devices);
    for (const NetDevice &device : *devices)
        if (has_filter(device.ifindex))
            all.insert(device.ifindex);
    return std::vector(all.begin(), all.end());
}

Result<void> settle_port_programs(const InstallationPaths &paths, bool wanted) {
    for (const PortProgram &one : port_programs) {
        const std::string path = spread_pin(paths, one.name);
        const auto there = read_link(path);
        MPS_TRY(there);
        if (!wanted) {
            MPS_TRY(remove_link(path));
            continue;
        }
        if (*there)
            continue;
        const auto object = load(paths, one.name);
        MPS_TRY(object);
        const auto cgroup = open_root_cgroup();
        MPS_TRY(cgroup);
        const Fd link(bpf_link_create(program_fd(*object, one.name), cgroup->get(), one.type, nullptr));
        if (!link)
            return std::unexpected(
                system_error(errno, "attaching the programs that choose source ports to cgroup v2"));
        MPS_TRY(pin(link.get(), path));
    }
    return {};
}

Result<std::vector<mps_spread_row>> read_spread_rows(const InstallationPaths &paths) {
    const auto object = load(paths, "mps_sp_list");
    MPS_TRY(object);
    std::vector<char> bytes;
    MPS_TRY(run_iterator(
        program_fd(*object, "mps_sp_list"), "reading subflows",
        [&](std::span<const char> piece) { bytes.insert(bytes.end(), piece.begin(), piece.end()); }));
    std::vector<mps_spread_row> rows(bytes.size() / sizeof(mps_spread_row));
    std::memcpy(rows.data(), bytes.data(), rows.size() * sizeof(mps_spread_row));
    return rows;
}

} // namespace mps
