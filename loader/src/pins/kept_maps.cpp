// SPDX-License-Identifier: MIT
#include "pins/kept_maps.hpp"

#include <expected>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/try.hpp"
#include "kernel/kernel_objects.hpp"
#include "kernel/load_object.hpp"
#include "pins/pins.hpp"

namespace mps {

namespace {

struct FreshMap {
    std::string name;
    const bpf_map *map;
};

// Returns those that have no pin yet.
Result<std::vector<FreshMap>> use_pinned(bpf_object *object, const KeptMaps &maps) {
    std::vector<FreshMap> fresh;
    bpf_map *map;
    bpf_object__for_each_map(map, object) {
        if (bpf_map__is_internal(map))
            continue;
        const std::string name = bpf_map__name(map);
        const MapUse use = maps.use(name);
        if (use != MapUse::kept) {
            bpf_map__set_autocreate(map, use == MapUse::own);
            continue;
        }
        const auto pinned = open_pin(maps.pin(name));
        MPS_TRY(pinned);
        if (!*pinned)
            fresh.emplace_back(name, map);
        else if (const int err = bpf_map__reuse_fd(map, (*pinned)->get()))
            return std::unexpected(system_error(err, fmt::format("using the map {} that is there", name)));
    }
    return fresh;
}

} // namespace

Result<Fd> open_own_map(const std::string &path, std::uint32_t value_size,
                        std::optional<std::uint32_t> type) {
    auto fd = open_pin(path);
    MPS_TRY(fd);
    if (!*fd)
        return Fd{};
    const auto info =
        object_kind((*fd)->get()) == ObjectKind::map ? map_info((*fd)->get()) : std::unexpected(Error{});
    if (!info || info->value_size != value_size || info->type != type.value_or(info->type))
        return fail(ErrorCode::failed, fmt::format("{} is not ours: it is another map", path),
                    "'mpsched detach --all' removes what is there");
    return std::move(**fd);
}

Result<bool> has_own_link(const std::string &path) {
    const auto link = open_pin(path);
    MPS_TRY(link);
    if (*link && object_kind((*link)->get()) != ObjectKind::link)
        return fail(ErrorCode::failed, fmt::format("{} is not ours: it is no BPF link", path),
                    "'mpsched detach --all' removes what is there");
    return link->has_value();
}

Result<void> load_alone(bpf_object *object, std::string_view program, const KeptMaps &maps,
                        const std::string &doing) {
    const auto fresh = use_pinned(object, maps);
    MPS_TRY(fresh);
    bpf_program *one;
    bpf_object__for_each_program(one, object)
        bpf_program__set_autoload(one, program == bpf_program__name(one));
    MPS_TRY(load_object(object, doing, [&] { return bpf_object__load(object); }));
    MPS_TRY(make_directory(maps.folder));
    for (const FreshMap &made : *fresh)
        MPS_TRY(pin(bpf_map__fd(made.map), maps.pin(made.name)));
    return {};
}

} // namespace mps
