// SPDX-License-Identifier: MIT
#include "attach/removed_endpoints.hpp"

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

#include "base/addresses.hpp"
#include "base/fd.hpp"
#include "base/try.hpp"
#include "kernel/netlink.hpp"
#include "pins/kept_maps.hpp"

namespace mps {

namespace {

constexpr std::uint32_t room = 8; // MPTCP_PM_ADDR_MAX, net/mptcp/protocol.h

// Value of the map; its key is the endpoint's number.
struct Noted {
    std::array<std::uint8_t, 16> address; // IPv6, or IPv4-mapped
    std::uint32_t flags;
    std::uint32_t ifindex;
};

Noted noted_of(const Endpoint &endpoint) {
    Noted noted{.address = {}, .flags = endpoint.flags, .ifindex = endpoint.ifindex};
    if (endpoint.address.contains(':')) {
        ::inet_pton(AF_INET6, endpoint.address.c_str(), noted.address.data());
    } else {
        std::ranges::copy(ipv4_mapped_prefix, noted.address.begin());
        ::inet_pton(AF_INET, endpoint.address.c_str(), noted.address.data() + ipv4_mapped_prefix.size());
    }
    return noted;
}

} // namespace

Result<std::vector<Endpoint>> RemovedEndpoints::all() const {
    const auto map = open_own_map(paths_.removed_endpoints(), sizeof(Noted), BPF_MAP_TYPE_HASH);
    MPS_TRY(map);
    std::vector<Endpoint> all;
    std::uint32_t id = 0;
    for (bool any = *map && !bpf_map_get_next_key(map->get(), nullptr, &id); any;
         any = !bpf_map_get_next_key(map->get(), &id, &id)) {
        Noted noted{};
        if (bpf_map_lookup_elem(map->get(), &id, &noted))
            continue;
        Endpoint one{.id = id, .address = address_text(noted.address), .ifindex = noted.ifindex};
        one.flags = noted.flags;
        all.push_back(std::move(one));
    }
    return all;
}

Result<void> RemovedEndpoints::note(const Endpoint &endpoint) const {
    auto map = open_own_map(paths_.removed_endpoints(), sizeof(Noted), BPF_MAP_TYPE_HASH);
    MPS_TRY(map);
    if (!*map) {
        Fd made(bpf_map_create(BPF_MAP_TYPE_HASH, "mps_removed", sizeof endpoint.id, sizeof(Noted), room,
                               nullptr));
        if (!made)
            return std::unexpected(system_error(errno, "making a map for endpoints that are removed"));
        MPS_TRY(pin(made.get(), paths_.removed_endpoints()));
        *map = std::move(made);
    }
    const Noted noted = noted_of(endpoint);
    if (bpf_map_update_elem(map->get(), &endpoint.id, &noted, BPF_ANY))
        return std::unexpected(system_error(errno, "writing down an endpoint that is removed"));
    return {};
}

Result<void> RemovedEndpoints::forget(const Endpoint &endpoint) const {
    const auto map = open_own_map(paths_.removed_endpoints(), sizeof(Noted), BPF_MAP_TYPE_HASH);
    MPS_TRY(map);
    if (*map && bpf_map_delete_elem(map->get(), &endpoint.id) && errno != ENOENT)
        return std::unexpected(system_error(errno, "crossing out an endpoint that is back"));
    return {};
}

Result<void> RemovedEndpoints::put_back() const {
    const auto removed = all();
    MPS_TRY(removed);
    if (removed->empty())
        return {};
    const auto pm = read_path_manager();
    for (const Endpoint &one : *removed) {
        const bool there = pm && std::ranges::any_of(pm->endpoints, [&](const Endpoint &e) {
                               return e.id == one.id || e.address == one.address;
                           });
        const bool gone = one.ifindex && ifname_of(one.ifindex).empty();
        if (!there && !gone)
            MPS_TRY(add_endpoint(one));
        MPS_TRY(forget(one));
    }
    return {};
}

} // namespace mps
