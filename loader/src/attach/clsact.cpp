// SPDX-License-Identifier: MIT
#include "attach/clsact.hpp"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "base/try.hpp"
#include "common/log.hpp"
#include "kernel/kernel_objects.hpp"

namespace mps {

namespace {

constexpr std::uint32_t filter_priority = 1;

bpf_tc_hook tc_hook(std::uint32_t ifindex, bpf_tc_attach_point point) {
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(ifindex), .attach_point = point);
    return hook;
}

std::string_view direction(bpf_tc_attach_point point) {
    return point == BPF_TC_INGRESS ? "ingress" : "egress";
}

bool is_pinned(const std::string &path) { return open_pin(path).value_or(std::nullopt).has_value(); }

} // namespace

std::vector<FilterPlace> filter_places(std::uint32_t ifindex) {
    std::vector<FilterPlace> places;
    for (const bpf_tc_attach_point point : {BPF_TC_INGRESS, BPF_TC_EGRESS}) {
        places.push_back({ifindex, point});
        for (const std::uint32_t handle : point == BPF_TC_INGRESS ? rules_in_handles : rules_out_handles)
            places.push_back({ifindex, point, handle});
    }
    places.push_back({ifindex, BPF_TC_EGRESS, spread_handle});
    return places;
}

std::uint32_t filter_program(const FilterPlace &place) {
    const LibbpfMessages messages;
    const bpf_tc_hook hook = tc_hook(place.ifindex, place.point);
    LIBBPF_OPTS(bpf_tc_opts, options, .handle = place.handle, .priority = filter_priority);
    return bpf_tc_query(&hook, &options) ? 0 : options.prog_id;
}

Result<void> put_filter(const FilterPlace &place, const NetDevice &device, int program,
                        const std::string &mark, const std::vector<std::string> &other_marks) {
    const LibbpfMessages messages;
    bpf_tc_hook hook = tc_hook(place.ifindex, place.point);
    // The mark comes first: killed after it, repair finds a mark without a qdisc; the other way round we
    // would leave one.
    const bool marked = is_pinned(mark);
    if (!marked) {
        if (auto done = pin(program, mark); !done)
            return done;
    }
    if (const int err = bpf_tc_hook_create(&hook)) {
        if (err != -EEXIST) {
            (void)unpin(mark);
            return std::unexpected(
                system_error(err, fmt::format("making a clsact qdisc on {}", device.name),
                             "the kernel needs CONFIG_NET_SCH_INGRESS; see 'mpsched probe'"));
        }
        // Somebody else's, unless a mark was there before.
        if (!marked && std::ranges::none_of(other_marks, is_pinned)) {
            if (auto done = unpin(mark); !done)
                return done;
        }
    }
    LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program, .flags = BPF_TC_F_REPLACE, .handle = place.handle,
                .priority = filter_priority);
    if (const int err = bpf_tc_attach(&hook, &options)) {
        return std::unexpected(system_error(
            err, fmt::format("attaching to TC {} of {}", direction(place.point), device.name),
            fmt::format("a filter of another kind may hold priority {}: 'tc filter show dev {} {}'",
                        filter_priority, device.name, direction(place.point))));
    }
    return {};
}

Result<void> remove_filter(const FilterPlace &place) {
    const LibbpfMessages messages;
    const bpf_tc_hook hook = tc_hook(place.ifindex, place.point);
    LIBBPF_OPTS(bpf_tc_opts, options, .handle = place.handle, .priority = filter_priority);
    const int err = bpf_tc_detach(&hook, &options);
    if (err && err != -ENOENT && err != -ENODEV)
        return std::unexpected(system_error(err, "removing our TC filter"));
    return {};
}

Result<void> remove_clsact(const std::string &path, std::uint32_t ifindex) {
    const auto mark = open_pin(path);
    MPS_TRY(mark);
    if (!*mark)
        return {};
    const LibbpfMessages messages;
    const auto filters = count_clsact_filters(ifindex);
    if (filters && *filters == 0) {
        bpf_tc_hook hook = tc_hook(ifindex, static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
        bpf_tc_hook_destroy(&hook);
    }
    return unpin(path);
}

} // namespace mps
