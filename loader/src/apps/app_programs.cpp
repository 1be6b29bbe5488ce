// SPDX-License-Identifier: MIT
#include "apps/app_programs.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <array>
#include <cerrno>
#include <memory>

#include <fmt/format.h>

#include "app.skel.h"
#include "base/try.hpp"
#include "kernel/cgroup.hpp"
#include "kernel/kernel_objects.hpp"
#include "kernel/load_object.hpp"
#include "kernel/netns.hpp"

namespace mps {

namespace {

struct DestroyApp {
    void operator()(app *object) const { app__destroy(object); }
};
using App = std::unique_ptr<app, DestroyApp>;

struct Side {
    const char *pin;
    bpf_attach_type type;
    bpf_program *(*program)(const app &);
};
const std::array<Side, 2> sides{
    Side{"set", BPF_CGROUP_SETSOCKOPT, [](const app &object) { return object.progs.mps_app_set; }},
    Side{"get", BPF_CGROUP_GETSOCKOPT, [](const app &object) { return object.progs.mps_app_get; }}};

// The data path's maps, as far as these programs look at any.
Result<void> use_maps(app &object, const Pins &pins) {
    bpf_map *map;
    bpf_object__for_each_map(map, object.obj) {
        if (bpf_map__is_internal(map))
            continue;
        const char *name = bpf_map__name(map);
        if (const int err = bpf_map__reuse_fd(map, pins.map(name)))
            return std::unexpected(system_error(err, fmt::format("using the map {} that is there", name)));
    }
    return {};
}

Result<App> load(const Pins &pins, std::uint32_t grant) {
    App object(app__open());
    if (!object)
        return std::unexpected(system_error(errno, "opening the programs for applications"));
    MPS_TRY(use_maps(*object, pins));
    const auto cookie = netns_cookie();
    MPS_TRY(cookie);
    object->rodata->mps_netns_cookie = *cookie;
    object->rodata->mps_grant_index = grant;
    MPS_TRY(load_object(object->obj, "loading the programs for applications",
                        [&] { return app__load(object.get()); }));
    return object;
}

} // namespace

Result<void> attach_app_programs(const InstallationPaths &paths, const Pins &pins, std::uint32_t grant,
                                 const std::string &cgroup) {
    const auto directory = open_cgroup(cgroup);
    MPS_TRY(directory);
    const auto object = load(pins, grant);
    MPS_TRY(object);
    MPS_TRY(make_directory(paths.apps_dir()));
    for (const Side &side : sides) {
        const Fd link(
            bpf_link_create(bpf_program__fd(side.program(**object)), directory->get(), side.type, nullptr));
        if (!link)
            return std::unexpected(system_error(errno, fmt::format("attaching to the cgroup {}", cgroup)));
        MPS_TRY(unpin(paths.app_link(grant, side.pin)));
        MPS_TRY(pin(link.get(), paths.app_link(grant, side.pin)));
    }
    return {};
}

Result<void> remove_app_programs(const InstallationPaths &paths, std::uint32_t grant) {
    for (const Side &side : sides)
        MPS_TRY(unpin(paths.app_link(grant, side.pin)));
    return {};
}

Result<bool> has_app_programs(const InstallationPaths &paths, std::uint32_t grant) {
    for (const Side &side : sides) {
        const auto link = open_pin(paths.app_link(grant, side.pin));
        MPS_TRY(link);
        if (!*link || object_kind((*link)->get()) != ObjectKind::link)
            return false;
    }
    return true;
}

} // namespace mps
