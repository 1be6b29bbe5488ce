// SPDX-License-Identifier: MIT
#include "pins/contract.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <mps/abi.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>

#include <fmt/format.h>

#include "attach/hooks.hpp"
#include "base/try.hpp"
#include "common/log.hpp"
#include "datapath.skel.h"
#include "kernel/load_error.hpp"
#include "kernel/load_object.hpp"
#include "kernel/netns.hpp"
#include "pins/gateway_object.hpp"

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

// Kernel-visible names end after 15 characters.
std::string kernel_name(std::string_view name) { return std::string(name.substr(0, BPF_OBJ_NAME_LEN - 1)); }

// Data sections are pinned, too: programs that are loaded later share them. bpffs takes no dots.
std::string pin_name(const bpf_map *map) {
    std::string name = bpf_map__name(map);
    if (bpf_map__is_internal(map))
        name.erase(0, name.find('.') + 1);
    std::ranges::replace(name, '.', '_');
    return name;
}

// Attached to interfaces, and so loaded only when one needs it.
bool is_on_demand(std::string_view program) { return find_hook_program(program) || program == MPS_PROG_LOOK; }

bool is_gateway(std::string_view program) {
    const HookProgram *row = find_hook_program(program);
    return row && row->role == Role::gateway;
}

// What the object says about one map or program, for comparing with a pin.
struct Expected {
    struct Map {
        std::string kernel_name;
        std::uint32_t type, key_size, value_size, max_entries;
    };
    std::map<std::string, Map, std::less<>> maps;
    std::set<std::string, std::less<>> optional;                // of these: a gateway's
    std::map<std::string, std::uint32_t, std::less<>> programs; // name -> enum bpf_prog_type
};

// There once an interface was attached as a gateway's.
Result<void> add_gateway(Expected &expected) {
    const auto object = open_gateway();
    MPS_TRY(object);
    bpf_map *map;
    bpf_object__for_each_map(map, object->get()) {
        const std::string name = bpf_map__name(map);
        if (!is_gateway_map(name))
            continue;
        expected.optional.insert(name);
        expected.maps[name] = {kernel_name(name), static_cast<std::uint32_t>(bpf_map__type(map)),
                               bpf_map__key_size(map), bpf_map__value_size(map), 0};
    }
    bpf_program *program;
    bpf_object__for_each_program(program, object->get()) {
        if (is_gateway(bpf_program__name(program)))
            expected.programs[bpf_program__name(program)] =
                static_cast<std::uint32_t>(bpf_program__type(program));
    }
    return {};
}

// Reading the object takes a millisecond and gives the same every time.
const Result<Expected> &expected() {
    static const Result<Expected> instance = []() -> Result<Expected> {
        const auto skeleton = open_skeleton();
        MPS_TRY(skeleton);
        Expected result;
        const bpf_object *object = (*skeleton)->obj;
        bpf_map *map;
        bpf_object__for_each_map(map, object) {
            result.maps[pin_name(map)] = {
                kernel_name(bpf_map__name(map)), static_cast<std::uint32_t>(bpf_map__type(map)),
                bpf_map__key_size(map), bpf_map__value_size(map), bpf_map__max_entries(map)};
        }
        bpf_program *program;
        bpf_object__for_each_program(program, object) {
            result.programs[bpf_program__name(program)] =
                static_cast<std::uint32_t>(bpf_program__type(program));
        }
        MPS_TRY(add_gateway(result));
        return result;
    }();
    return instance;
}

std::unexpected<Error> not_ours(const std::string &path, std::string_view reason) {
    return fail(ErrorCode::failed, fmt::format("{} is not ours: {}", path, reason),
                "'mpsched detach --all' removes what is there");
}

template <class Handle>
const Fd *find(const std::map<std::string, Fd, std::less<>> &where, Handle name) {
    const auto it = where.find(name);
    return it == where.end() ? nullptr : &it->second;
}

Result<std::optional<Fd>> open_kind(const std::string &path, ObjectKind kind, std::string_view kind_name) {
    auto fd = open_pin(path);
    if (fd && *fd && object_kind((*fd)->get()) != kind)
        return not_ours(path, fmt::format("it is no BPF {}", kind_name));
    return fd;
}

Result<void> open_program(Pins &pins, const InstallationPaths &paths, const std::string &name,
                          std::uint32_t type) {
    const std::string path = paths.program(name);
    auto fd = open_kind(path, ObjectKind::program, "program");
    MPS_TRY(fd);
    if (!*fd) {
        if (is_on_demand(name))
            return {};
        return not_ours(path, "it is missing");
    }
    auto info = prog_info((*fd)->get());
    MPS_TRY(info);
    if (info->name != kernel_name(name))
        return not_ours(path, fmt::format("the program's name is '{}'", info->name));
    if (info->type != type)
        return not_ours(path, fmt::format("program type {} instead of {}", info->type, type));
    pins.program_infos[name] = std::move(*info);
    pins.programs[name] = std::move(**fd);
    return {};
}

// Else the program that runs could not be told from somebody else's.
Result<void> check_that_links_run_pins(const Pins &pins, const InstallationPaths &paths) {
    for (const std::uint32_t ifindex : pinned_interfaces(paths)) {
        for (const Hook &hook : hooks()) {
            if (!hook.of_interface)
                continue;
            const std::string path = pin_of(paths, hook, ifindex);
            const auto link = open_pin(path);
            // What is no link is told by who reads it.
            if (!link || !*link || object_kind((*link)->get()) != ObjectKind::link)
                continue;
            const auto info = link_info((*link)->get());
            if (info && info->ifindex && pins.program_name(info->prog_id).empty())
                return not_ours(path, fmt::format("the pin of {} is missing in {}", prog_text(info->prog_id),
                                                  paths.program("")));
        }
    }
    return {};
}

// Loads those programs of an opened object that are wanted.
Result<void> load_wanted(bpf_object *object, const std::function<bool(const char *)> &wanted) {
    bpf_program *program;
    bpf_object__for_each_program(program, object)
        bpf_program__set_autoload(program, wanted(bpf_program__name(program)));
    return load_object(object, "loading the data path", [&] { return bpf_object__load(object); });
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

Variants Pins::called(bool rx) const {
    Variants result;
    for (const auto &[name, fd] : programs) {
        const HookProgram *row = find_hook_program(name);
        // Those beside it call nothing.
        if (!row || std::ranges::find(row->beside, name) != row->beside.end())
            continue;
        result = result | row->calls;
        result.tc |= rx && row->calls_rx;
    }
    return result;
}

std::uint32_t room_of(const Pins &pins) {
    const auto it = pins.map_infos.find(MPS_MAP_CONNS);
    return it == pins.map_infos.end() ? 0 : it->second.max_entries;
}

Result<Pins> open_pins(const InstallationPaths &paths) {
    const Result<Expected> &contract = expected();
    MPS_TRY(contract);
    Pins pins;
    for (const auto &[name, want] : contract->maps) {
        const std::string path = paths.map(name);
        auto fd = open_kind(path, ObjectKind::map, "map");
        MPS_TRY(fd);
        if (!*fd && contract->optional.contains(name))
            continue;
        if (!*fd)
            return not_ours(path, "it is missing");
        auto info = map_info((*fd)->get());
        MPS_TRY(info);
        if (info->name != want.kernel_name)
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
        // Their size was the operator's choice.
        const bool sized = name == MPS_MAP_CONNS || name == MPS_MAP_PLACES || name == MPS_MAP_PEERS ||
                           contract->optional.contains(name);
        if (!sized && info->max_entries != want.max_entries) {
            return not_ours(path,
                            fmt::format("{} entries instead of {}", info->max_entries, want.max_entries));
        }
        pins.map_infos[name] = std::move(*info);
        pins.maps[name] = std::move(**fd);
    }
    for (const auto &[name, type] : contract->programs) {
        MPS_TRY(open_program(pins, paths, name, type));
    }
    MPS_TRY(check_that_links_run_pins(pins, paths));
    return pins;
}

Result<void> check_contract(const InstallationPaths &paths) {
    const auto pins = open_pins(paths);
    MPS_TRY(pins);
    return {};
}

Result<void> load_data_path(const InstallationPaths &paths, bool rdonly_cast,
                            const std::set<std::string> &wanted, std::uint32_t max_connections) {
    auto skeleton = open_skeleton();
    MPS_TRY(skeleton);
    bpf_object *object = (*skeleton)->obj;

    (*skeleton)->rodata->mps_rdonly_cast = rdonly_cast;
    (*skeleton)->rodata->mps_max_conns = max_connections;
    for (bpf_map *sized :
         {(*skeleton)->maps.mps_conns, (*skeleton)->maps.mps_places, (*skeleton)->maps.mps_peers}) {
        if (const int err = bpf_map__set_max_entries(sized, max_connections))
            return std::unexpected(system_error(-err, "sizing the table of connections"));
    }
    const auto cookie = netns_cookie();
    MPS_TRY(cookie);
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

    const auto is_wanted = [&](const char *name) { return !is_on_demand(name) || wanted.contains(name); };
    if (auto done = load_wanted(object, is_wanted); !done)
        return done;

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
        if (auto done = pin(bpf_map__fd(map), paths.map(pin_name(map))); !done)
            return done;
    }
    bpf_program *program;
    bpf_object__for_each_program(program, object) {
        if (!is_wanted(bpf_program__name(program)))
            continue;
        if (auto done = pin(bpf_program__fd(program), paths.program(bpf_program__name(program))); !done)
            return done;
    }
    return {};
}

Result<void> load_programs(Pins &pins, const std::set<std::string> &names) {
    std::set<std::string> gateways, wanted;
    for (const std::string &name : names)
        (is_gateway(name) ? gateways : wanted).insert(name);
    if (!gateways.empty()) {
        if (auto done = load_gateway(pins, gateways); !done)
            return done;
    }
    if (wanted.empty())
        return {};
    auto skeleton = open_skeleton();
    MPS_TRY(skeleton);
    bpf_object *object = (*skeleton)->obj;
    bpf_map *map;
    bpf_object__for_each_map(map, object) {
        if (const int err = bpf_map__reuse_fd(map, pins.map(pin_name(map))))
            return std::unexpected(
                system_error(err, fmt::format("using the map {} that is there", bpf_map__name(map))));
    }
    if (auto done = load_wanted(object, [&](const char *name) { return wanted.contains(name); }); !done)
        return done;
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

Result<void> pin_programs(const InstallationPaths &paths, const Pins &pins,
                          const std::set<std::string> &names) {
    if (auto done = pin_gateway_maps(paths, pins); !done)
        return done;
    for (const std::string &name : names) {
        if (auto done = pin(pins.program(name), paths.program(name)); !done)
            return done;
    }
    return {};
}

} // namespace mps
