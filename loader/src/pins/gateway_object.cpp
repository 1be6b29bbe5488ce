// SPDX-License-Identifier: MIT
#include "pins/gateway_object.hpp"

#include <bpf/bpf.h>
#include <mps/gateway_abi.h>
#include <sys/random.h>

#include <cerrno>
#include <cstring>
#include <map>

#include <fmt/format.h>

#include "base/try.hpp"
#include "common/log.hpp"
#include "gateway.skel.h"
#include "kernel/load_error.hpp"
#include "kernel/load_object.hpp"
#include "kernel/netns.hpp"

namespace mps {

namespace {

struct DestroyGateway {
    void operator()(gateway *object) const { gateway__destroy(object); }
};

// By the number of connections that there is room for.
void size_map(bpf_map *map, std::uint32_t room) {
    const std::string_view name = bpf_map__name(map);
    if (name == MPS_MAP_GW_CONNS || name == "mps_gw_places")
        bpf_map__set_max_entries(map, room);
    else if (name == MPS_MAP_GW_PEERS || name == MPS_MAP_GW_TOKENS)
        bpf_map__set_max_entries(map, room * 2);
    else if (name == MPS_MAP_GW_FLOWS)
        bpf_map__set_max_entries(map, room * MPS_GATEWAY_FLOWS_PER_CONN);
}

// The maps that are there are used, a gateway's own are made otherwise.
Result<void> set_up_maps(bpf_object *object, const Pins &pins) {
    bpf_map *map;
    bpf_object__for_each_map(map, object) {
        const char *name = bpf_map__name(map);
        const int there = pins.map(name);
        if (bpf_map__is_internal(map))
            continue;
        if (there < 0 && is_gateway_map(name))
            size_map(map, room_of(pins));
        else if (const int err = bpf_map__reuse_fd(map, there))
            return std::unexpected(system_error(err, fmt::format("using the map {} that is there", name)));
    }
    return {};
}

Result<void> keep(bpf_object *object, Pins &pins, const std::set<std::string> &wanted) {
    bpf_map *map;
    bpf_object__for_each_map(map, object) {
        const std::string name = bpf_map__name(map);
        if (!is_gateway_map(name) || pins.map(name) >= 0)
            continue;
        auto info = map_info(bpf_map__fd(map));
        MPS_TRY(info);
        pins.map_infos[name] = std::move(*info);
        pins.maps[name] = Fd::duplicate(bpf_map__fd(map));
    }
    for (const std::string &name : wanted) {
        const bpf_program *program = bpf_object__find_program_by_name(object, name.c_str());
        Fd fd = Fd::duplicate(program ? bpf_program__fd(program) : -1);
        auto info =
            fd ? prog_info(fd.get()) : std::unexpected(system_error(errno, fmt::format("loading {}", name)));
        MPS_TRY(info);
        pins.program_infos[name] = std::move(*info);
        pins.programs[name] = std::move(fd);
    }
    return {};
}

} // namespace

Result<std::unique_ptr<bpf_object, CloseObject>> open_gateway() {
    const LibbpfMessages messages;
    std::size_t size = 0;
    const void *bytes = gateway__elf_bytes(&size);
    std::unique_ptr<bpf_object, CloseObject> object(bpf_object__open_mem(bytes, size, nullptr));
    if (!object)
        return std::unexpected(
            load_error(errno, "opening the programs of a gateway", {}, messages.warnings()));
    return object;
}

bool is_gateway_map(std::string_view name) { return name.starts_with(MPS_GATEWAY_MAP_PREFIX); }

Result<void> load_gateway(Pins &pins, const std::set<std::string> &wanted) {
    const LibbpfMessages messages;
    const std::unique_ptr<gateway, DestroyGateway> object(gateway__open());
    if (!object)
        return std::unexpected(system_error(errno, "opening the programs of a gateway"));
    MPS_TRY(set_up_maps(object->obj, pins));
    const auto cookie = netns_cookie();
    MPS_TRY(cookie);
    object->rodata->mps_netns_cookie = *cookie;
    object->rodata->mps_max_conns = room_of(pins);
    // 0 would make every unmarked packet one of ours.
    std::uint32_t magic = 0;
    while (!magic)
        if (::getrandom(&magic, sizeof magic, 0) != static_cast<ssize_t>(sizeof magic))
            return std::unexpected(system_error(errno, "choosing a mark"));
    object->rodata->mps_wake_magic = magic;
    bpf_program *program;
    bpf_object__for_each_program(program, object->obj)
        bpf_program__set_autoload(program, wanted.contains(bpf_program__name(program)));
    MPS_TRY(load_object(object->obj, "loading the programs of a gateway",
                        [&] { return gateway__load(object.get()); }));
    return keep(object->obj, pins, wanted);
}

Result<void> pin_gateway_maps(const InstallationPaths &paths, const Pins &pins) {
    for (const auto &[name, fd] : pins.maps) {
        if (!is_gateway_map(name))
            continue;
        const auto there = open_pin(paths.map(name));
        MPS_TRY(there);
        if (!*there)
            MPS_TRY(pin(fd.get(), paths.map(name)));
    }
    return {};
}

} // namespace mps
