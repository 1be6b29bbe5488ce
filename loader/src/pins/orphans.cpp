// SPDX-License-Identifier: MIT
#include "pins/orphans.hpp"

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "attach/clsact.hpp"
#include "attach/hooks.hpp"
#include "kernel/kernel_objects.hpp"
#include "kernel/netlink.hpp"
#include "pins/bpffs.hpp"
#include "pins/pins.hpp"
#include "policy/variants.hpp"

namespace mps {

namespace {

namespace fs = std::filesystem;

struct FreeBtf {
    void operator()(btf *types) const { btf__free(types); }
};

// Where the variable of the data path that names its network namespace lies in its read-only data.
std::optional<std::uint32_t> cookie_offset(std::uint32_t btf_id) {
    const std::unique_ptr<btf, FreeBtf> types(btf_id ? btf__load_from_kernel_by_id(btf_id) : nullptr);
    if (!types)
        return std::nullopt;
    const int section = btf__find_by_name_kind(types.get(), ".rodata", BTF_KIND_DATASEC);
    if (section <= 0)
        return std::nullopt;
    const btf_type *type = btf__type_by_id(types.get(), static_cast<std::uint32_t>(section));
    const btf_var_secinfo *variables = btf_var_secinfos(type);
    for (int i = 0; i < btf_vlen(type); i++) {
        const btf_type *variable = btf__type_by_id(types.get(), variables[i].type);
        if (std::strcmp(btf__name_by_offset(types.get(), variable->name_off), "mps_netns_cookie") == 0)
            return variables[i].offset;
    }
    return std::nullopt;
}

bool has_name_of_ours(const std::string &name) {
    return find_hook_program(name) || name.starts_with("mps_sp_") || name.starts_with("mps_cmd_") ||
           name == "mps_sockops";
}

// A program of the data path: which network namespace was it loaded for? nullopt: it is no program of ours.
std::optional<std::uint64_t> cookie_of_program(std::uint32_t id) {
    const auto program = prog_by_id(id);
    const auto info = program ? prog_info(program->get()) : std::unexpected(Error{});
    if (!info || !has_name_of_ours(info->name))
        return std::nullopt;
    for (const std::uint32_t map_id : info->map_ids) {
        const auto map = map_by_id(map_id);
        const auto about = map ? map_info(map->get()) : std::unexpected(Error{});
        constexpr std::uint32_t most_bytes = 1u << 20;
        if (!about || !about->name.ends_with(".rodata") || about->key_size != 4 ||
            about->value_size > most_bytes)
            continue;
        const auto offset = cookie_offset(about->btf_id);
        const auto bytes = read_bytes(map->get(), 0, about->value_size);
        std::uint64_t cookie = 0;
        if (!offset || !bytes || !*bytes || *offset + sizeof cookie > (*bytes)->size())
            continue;
        std::memcpy(&cookie, (*bytes)->data() + *offset, sizeof cookie);
        return cookie;
    }
    return std::nullopt;
}

// proc(5): "36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 - bpf bpf rw"; the fifth is the mount point.
std::vector<std::string> mounted_bpffs() {
    std::vector<std::string> places;
    std::ifstream mounts("/proc/self/mountinfo");
    for (std::string line; std::getline(mounts, line);) {
        if (line.find(" - bpf ") == line.npos)
            continue;
        std::istringstream fields(line);
        std::string id, parent, device, root, where;
        fields >> id >> parent >> device >> root >> where;
        places.push_back(where);
    }
    return places;
}

// Pins of programs, and of links that hold one.
void add_programs(const fs::path &folder, std::set<std::uint32_t> &ids) {
    std::error_code error;
    for (const auto &one : fs::directory_iterator(folder, error)) {
        const auto fd = open_pin(one.path().string());
        const ObjectKind kind = fd && *fd ? object_kind((*fd)->get()) : ObjectKind::other;
        if (kind == ObjectKind::program) {
            if (const auto info = prog_info((*fd)->get()))
                ids.insert(info->id);
        } else if (kind == ObjectKind::link) {
            if (const auto info = link_info((*fd)->get()))
                ids.insert(info->prog_id);
        }
    }
}

// Programs that pins for this network namespace lead to, of any version, in any bpf file system that we know of.
std::set<std::uint32_t> pinned_programs(const OpenOptions &options, std::uint64_t cookie) {
    std::set<std::uint32_t> ids;
    std::vector<std::string> places = mounted_bpffs();
    if (auto ours = find_bpffs(options))
        places.push_back(*ours);
    std::error_code error;
    for (const std::string &place : places) {
        if (!check_trust(place))
            continue;
        for (const auto &version : fs::directory_iterator(PinLayout(place).top, error)) {
            for (const char *folder : {"progs", "rules", "spread", "makers"})
                add_programs(version.path() / fmt::format("{}{}", installed_prefix, cookie) / folder, ids);
        }
    }
    return ids;
}

std::string place_of(std::uint32_t prog_id, std::uint32_t ifindex) {
    return ifindex ? fmt::format("{} on {}", prog_text(prog_id), ifname_of(ifindex)) : prog_text(prog_id);
}

std::vector<Orphan> attached_programs(std::uint64_t cookie) {
    std::vector<Orphan> found;
    const auto add = [&](std::uint32_t prog_id, std::uint32_t ifindex, std::uint32_t link_id) {
        if (cookie_of_program(prog_id) == cookie)
            found.push_back({prog_id, ifindex, link_id, place_of(prog_id, ifindex)});
    };
    for (std::uint32_t id = 0; !bpf_link_get_next_id(id, &id);) {
        const Fd link(bpf_link_get_fd_by_id(id));
        const auto info = link ? link_info(link.get()) : std::unexpected(Error{});
        if (!info)
            continue;
        const bool on_interface = info->type == BPF_LINK_TYPE_XDP || info->type == link_type_tcx;
        if ((on_interface && info->ifindex) || info->type == BPF_LINK_TYPE_CGROUP)
            add(info->prog_id, info->ifindex, id);
    }
    if (const auto devices = net_devices()) {
        for (const NetDevice &device : *devices) {
            for (const FilterPlace &place : filter_places(device.ifindex))
                if (const std::uint32_t id = filter_program(place))
                    add(id, device.ifindex, 0);
        }
    }
    return found;
}

} // namespace

std::vector<Orphan> find_orphans(const OpenOptions &options, std::uint64_t cookie) {
    const std::set<std::uint32_t> before = pinned_programs(options, cookie);
    std::vector<Orphan> found = attached_programs(cookie);
    std::erase_if(found, [&](const Orphan &one) { return before.contains(one.prog_id); });
    if (found.empty())
        return found;
    // Another command may have attached meanwhile what was not pinned when we looked.
    const std::set<std::uint32_t> after = pinned_programs(options, cookie);
    std::erase_if(found, [&](const Orphan &one) { return after.contains(one.prog_id); });
    return found;
}

Result<void> remove_orphan(const Orphan &orphan) {
    if (!orphan.link_id) {
        // All of an interface's at once, so that those after the first are gone already.
        remove_filter_by_name(orphan.ifindex);
        const auto is_there = [&](const FilterPlace &place) {
            return filter_program(place) == orphan.prog_id;
        };
        if (std::ranges::none_of(filter_places(orphan.ifindex), is_there))
            return {};
        return fail(ErrorCode::failed, fmt::format("{} could not be removed", orphan.text),
                    fmt::format("'tc filter show dev {} ingress' shows it", ifname_of(orphan.ifindex)));
    }
    const Fd link(bpf_link_get_fd_by_id(orphan.link_id));
    if (!link || !bpf_link_detach(link.get()) || errno == ENOLINK)
        return {};
    return std::unexpected(system_error(errno, fmt::format("detaching {}", orphan.text)));
}

} // namespace mps
