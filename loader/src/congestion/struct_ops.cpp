// SPDX-License-Identifier: MIT
#include "congestion/struct_ops.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/try.hpp"
#include "common/log.hpp"
#include "kernel/kernel_objects.hpp"
#include "kernel/load_error.hpp"
#include "kernel/load_object.hpp"
#include "mpsched/builtin_congestion.hpp"

namespace mps {

namespace {

// How a value of a struct_ops map begins (kernel/bpf/bpf_struct_ops.c). What is read as refcnt is an estimate of its users, and
// the registration is one.
struct ValueHead {
    std::uint32_t refcnt;
    std::uint32_t state;
};
constexpr std::uint32_t state_in_use = 1;

struct CloseObject {
    void operator()(bpf_object *object) const { bpf_object__close(object); }
};

const BuiltinCongestion *builtin(std::string_view name) {
    const auto all = builtin_congestion();
    const auto found = std::ranges::find(all, name, &BuiltinCongestion::name);
    return found == all.end() ? nullptr : &*found;
}

// The one variable of read-only data: whether there is bpf_rdonly_cast().
void set_rdonly_cast(bpf_object *object, bool value) {
    std::size_t size = 0;
    bpf_map *map = bpf_object__find_map_by_name(object, ".rodata");
    void *data =
        map ? const_cast<void *>(static_cast<const void *>(bpf_map__initial_value(map, &size))) : nullptr;
    if (data && size >= 1)
        std::memset(data, value, 1);
}

Error refused(int err, std::string_view name) {
    if (err == EEXIST)
        return {.code = ErrorCode::failed,
                .what = fmt::format("the kernel has a congestion control called {} already", name),
                .hint = "who registered it takes it back: 'bpftool struct_ops list' shows those of BPF",
                .kind = ErrorKind::in_use};
    return system_error(err, fmt::format("registering the congestion control {}", name));
}

} // namespace

Result<void> look_again(RegisteredCongestion &one) {
    const auto info = map_info(one.map.get());
    MPS_TRY(info);
    const auto value = read_bytes(one.map.get(), 0, info->value_size);
    MPS_TRY(value);
    ValueHead head{};
    if (*value && (*value)->size() >= sizeof head)
        std::memcpy(&head, (*value)->data(), sizeof head);
    one.registered = head.state == state_in_use;
    const std::uint32_t own = one.registered ? 1 : 0;
    one.users = head.refcnt > own ? head.refcnt - own : 0;
    return {};
}

Result<std::vector<RegisteredCongestion>> registered_congestion() {
    std::vector<RegisteredCongestion> all;
    std::uint32_t id = 0;
    while (!bpf_map_get_next_id(id, &id)) {
        auto map = map_by_id(id);
        if (!map) {
            if (map.error().code == ErrorCode::not_permitted)
                return std::unexpected(map.error());
            continue; // it has gone meanwhile
        }
        const auto info = map_info(map->get());
        if (!info || info->type != BPF_MAP_TYPE_STRUCT_OPS || !builtin(info->name))
            continue;
        RegisteredCongestion one{.name = info->name, .id = id, .map = std::move(*map)};
        MPS_TRY(look_again(one));
        // Neither registered nor used: somebody else holds a descriptor, or has loaded it and not registered yet.
        if (one.registered || one.users)
            all.push_back(std::move(one));
    }
    if (errno != ENOENT)
        return std::unexpected(system_error(errno, "listing the BPF maps of this machine"));
    return all;
}

bool is_builtin_congestion(std::string_view name) { return builtin(name) != nullptr; }

Result<std::vector<std::string>> congestion_names(const std::vector<std::string> &words) {
    std::vector<std::string> names, all;
    for (const BuiltinCongestion &one : builtin_congestion())
        all.emplace_back(one.name);
    for (const std::string &word : words) {
        const std::string full = word.starts_with("mps_") ? word : "mps_" + word;
        if (word == "all") {
            names.insert(names.end(), all.begin(), all.end());
        } else if (builtin(full)) {
            names.push_back(full);
        } else {
            return fail(ErrorCode::usage, fmt::format("there is no congestion control '{}' to load", word),
                        fmt::format("there are: {}, or all", fmt::join(all, ", ")));
        }
    }
    std::ranges::sort(names);
    names.erase(std::ranges::unique(names).begin(), names.end());
    return names;
}

Result<void> register_congestion(std::string_view name, bool rdonly_cast) {
    const LibbpfMessages messages;
    const BuiltinCongestion *source = builtin(name);
    const std::unique_ptr<bpf_object, CloseObject> object(
        source ? bpf_object__open_mem(source->object.data(), source->object.size(), nullptr) : nullptr);
    const std::string what = fmt::format("loading the congestion control {}", name);
    if (!object)
        return std::unexpected(load_error(errno, what, {}, messages.warnings()));
    set_rdonly_cast(object.get(), rdonly_cast);
    MPS_TRY(load_object(object.get(), what, [&] { return bpf_object__load(object.get()); }));
    bpf_link *link =
        bpf_map__attach_struct_ops(bpf_object__find_map_by_name(object.get(), std::string(name).c_str()));
    if (!link)
        return std::unexpected(refused(errno, name));
    // It stays when we go.
    bpf_link__disconnect(link);
    bpf_link__destroy(link);
    return {};
}

Result<void> unregister_congestion(const RegisteredCongestion &one) {
    const std::uint32_t zero = 0;
    if (bpf_map_delete_elem(one.map.get(), &zero))
        return std::unexpected(
            system_error(errno, fmt::format("taking back the congestion control {}", one.name)));
    return {};
}

} // namespace mps
