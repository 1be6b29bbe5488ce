// SPDX-License-Identifier: MIT
#include "contract.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <mps/abi.h>
#include <sys/random.h>

#include <cerrno>
#include <memory>

#include <fmt/format.h>

#include "datapath.skel.h"
#include "load_error.hpp"
#include "log.hpp"
#include "mpsched/netns.hpp"
#include "verifier_log.hpp"

namespace mps {

namespace {

struct DestroySkeleton {
    void operator()(datapath *skeleton) const { datapath__destroy(skeleton); }
};
using Skeleton = std::unique_ptr<datapath, DestroySkeleton>;

Result<Skeleton> open_skeleton() {
    const LibbpfMessages messages;
    Skeleton skeleton(datapath__open());
    if (!skeleton)
        return std::unexpected(load_error(errno, "opening the data path", {}, messages.warnings()));
    return skeleton;
}

// What the object says about one map or program, for comparing with a pin.
struct Expected {
    struct Map {
        std::uint32_t type, key_size, value_size, max_entries;
    };
    std::map<std::string, Map, std::less<>> maps;
    std::map<std::string, std::uint32_t, std::less<>> programs; // name -> enum bpf_prog_type
};

// Reading the object takes a millisecond and gives the same every time.
const Result<Expected> &expected() {
    static const Result<Expected> instance = []() -> Result<Expected> {
        const auto skeleton = open_skeleton();
        if (!skeleton)
            return std::unexpected(skeleton.error());
        Expected result;
        const bpf_object *object = (*skeleton)->obj;
        bpf_map *map;
        bpf_object__for_each_map(map, object) {
            if (bpf_map__is_internal(map))
                continue;
            result.maps[bpf_map__name(map)] = {static_cast<std::uint32_t>(bpf_map__type(map)),
                                               bpf_map__key_size(map), bpf_map__value_size(map),
                                               bpf_map__max_entries(map)};
        }
        bpf_program *program;
        bpf_object__for_each_program(program, object) {
            result.programs[bpf_program__name(program)] =
                static_cast<std::uint32_t>(bpf_program__type(program));
        }
        return result;
    }();
    return instance;
}

// Kernel-visible names end after 15 characters.
std::string kernel_name(std::string_view name) { return std::string(name.substr(0, BPF_OBJ_NAME_LEN - 1)); }

std::unexpected<Error> not_ours(const std::string &path, std::string_view reason) {
    return fail(ErrorCode::failed, fmt::format("{} is not ours: {}", path, reason),
                "'mpsched detach --all' removes what is there");
}

template <class Handle>
const Fd *find(const std::map<std::string, Fd, std::less<>> &where, Handle name) {
    const auto it = where.find(name);
    return it == where.end() ? nullptr : &it->second;
}

Result<Fd> open_required(const std::string &path, ObjectKind kind, std::string_view kind_name) {
    auto fd = open_pin(path);
    if (!fd)
        return std::unexpected(fd.error());
    if (!*fd)
        return not_ours(path, "it is missing");
    if (object_kind((*fd)->get()) != kind)
        return not_ours(path, fmt::format("it is no BPF {}", kind_name));
    return std::move(**fd);
}

} // namespace

int Pins::map(std::string_view name) const {
    const Fd *fd = find(maps, name);
    return fd ? fd->get() : -1;
}

int Pins::program(std::string_view name) const {
    const Fd *fd = find(programs, name);
    return fd ? fd->get() : -1;
}

std::string Pins::program_name(std::uint32_t id) const {
    for (const auto &[name, info] : program_infos) {
        if (id && info.id == id)
            return name;
    }
    return {};
}

Result<Pins> open_pins(const InstallationPaths &paths) {
    const Result<Expected> &contract = expected();
    if (!contract)
        return std::unexpected(contract.error());
    Pins pins;
    for (const auto &[name, want] : contract->maps) {
        const std::string path = paths.map(name);
        auto fd = open_required(path, ObjectKind::map, "map");
        if (!fd)
            return std::unexpected(fd.error());
        auto info = map_info(fd->get());
        if (!info)
            return std::unexpected(info.error());
        if (info->name != kernel_name(name))
            return not_ours(path, fmt::format("the map's name is '{}'", info->name));
        if (info->type != want.type)
            return not_ours(path, fmt::format("map type {} instead of {}", info->type, want.type));
        if (info->key_size != want.key_size) {
            return not_ours(path,
                            fmt::format("keys of {} bytes instead of {}", info->key_size, want.key_size));
        }
        if (info->value_size != want.value_size) {
            return not_ours(
                path, fmt::format("values of {} bytes instead of {}", info->value_size, want.value_size));
        }
        if (info->max_entries != want.max_entries) {
            return not_ours(path,
                            fmt::format("{} entries instead of {}", info->max_entries, want.max_entries));
        }
        pins.map_infos[name] = std::move(*info);
        pins.maps[name] = std::move(*fd);
    }
    for (const auto &[name, type] : contract->programs) {
        const std::string path = paths.program(name);
        auto fd = open_required(path, ObjectKind::program, "program");
        if (!fd)
            return std::unexpected(fd.error());
        auto info = prog_info(fd->get());
        if (!info)
            return std::unexpected(info.error());
        if (info->name != kernel_name(name))
            return not_ours(path, fmt::format("the program's name is '{}'", info->name));
        if (info->type != type)
            return not_ours(path, fmt::format("program type {} instead of {}", info->type, type));
        pins.program_infos[name] = std::move(*info);
        pins.programs[name] = std::move(*fd);
    }
    return pins;
}

Result<void> check_contract(const InstallationPaths &paths) {
    const auto pins = open_pins(paths);
    if (!pins)
        return std::unexpected(pins.error());
    return {};
}

Result<void> load_data_path(const InstallationPaths &paths, bool rdonly_cast) {
    auto skeleton = open_skeleton();
    if (!skeleton)
        return std::unexpected(skeleton.error());
    bpf_object *object = (*skeleton)->obj;

    (*skeleton)->rodata->mps_rdonly_cast = rdonly_cast;
    const auto cookie = netns_cookie();
    if (!cookie)
        return std::unexpected(cookie.error());
    (*skeleton)->rodata->mps_netns_cookie = *cookie;
    // Only the upper half is ours to choose. 0 would make every unmarked packet a wake.
    std::uint16_t magic = 0;
    while (!magic) {
        if (::getrandom(&magic, sizeof magic, 0) != static_cast<ssize_t>(sizeof magic)) {
            return std::unexpected(system_error(errno, "choosing the mark of wakes"));
        }
    }
    (*skeleton)->rodata->mps_wake_magic = static_cast<std::uint32_t>(magic) << 16;

    // Lets the loader switch policies with one 64-bit store; a map update copies byte by byte as it likes.
    bpf_map *config = bpf_object__find_map_by_name(object, MPS_MAP_CONFIG);
    bpf_map__set_map_flags(config, bpf_map__map_flags(config) | BPF_F_MMAPABLE);

    const LibbpfMessages messages;
    std::map<std::string, VerifierLogBuffer> logs;
    bpf_program *program;
    bpf_object__for_each_program(program, object) {
        VerifierLogBuffer &log = logs[bpf_program__name(program)];
        bpf_program__set_log_buf(program, log.data(), log.size());
    }
    if (const int err = bpf_object__load(object)) {
        for (const auto &[name, log] : logs) {
            if (log.text().empty())
                continue;
            return std::unexpected(load_error(err, fmt::format("loading the data path ({})", name),
                                              log.text(), messages.warnings()));
        }
        return std::unexpected(load_error(err, "loading the data path", {}, messages.warnings()));
    }

    mps_config initial{};
    initial.choice = std::uint64_t{1} << 32 | MPS_SLOT_NONE;
    initial.path_epoch = 1;
    initial.dwell_us = MPS_DEFAULT_DWELL_US;
    if (auto done = write_value(bpf_map__fd(config), 0, initial, MPS_MAP_CONFIG); !done)
        return done;

    for (const char *directory : {"", "/maps", "/progs", "/links", "/policies", "/origins"}) {
        if (auto done = make_directory(paths.base + directory); !done)
            return done;
    }
    bpf_map *map;
    bpf_object__for_each_map(map, object) {
        if (bpf_map__is_internal(map))
            continue;
        if (auto done = pin(bpf_map__fd(map), paths.map(bpf_map__name(map))); !done)
            return done;
    }
    bpf_object__for_each_program(program, object) {
        if (auto done = pin(bpf_program__fd(program), paths.program(bpf_program__name(program))); !done)
            return done;
    }
    return {};
}

} // namespace mps
