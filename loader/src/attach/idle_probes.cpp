// SPDX-License-Identifier: MIT
#include "attach/idle_probes.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <mps/abi.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string_view>

#include <fmt/format.h>

#include "base/clock.hpp"
#include "base/try.hpp"
#include "idle_probe.skel.h"
#include "kernel/iterator.hpp"
#include "kernel/kernel_objects.hpp"
#include "kernel/netlink.hpp"
#include "pins/kept_maps.hpp"
#include "pins/live_config.hpp"

namespace mps {

namespace {

struct Destroy {
    void operator()(idle_probe *object) const { idle_probe__destroy(object); }
};
using Object = std::unique_ptr<idle_probe, Destroy>;

MapUse map_use(std::string_view map) {
    if (map == MPS_MAP_PROBE_MEMORY || map == MPS_MAP_CONNS)
        return MapUse::kept;
    return map == "mps_pr_orders" ? MapUse::own : MapUse::none;
}

Result<Object> load_program(const InstallationPaths &paths, std::string_view wanted) {
    Object object(idle_probe__open());
    if (!object)
        return std::unexpected(system_error(errno, "opening the programs that probe idle subflows"));
    const KeptMaps maps{.folder = paths.probes_dir(),
                        .pin =
                            [&](std::string_view map) {
                                return map == MPS_MAP_CONNS ? paths.map(map) : paths.probes_pin(map);
                            },
                        .use = map_use};
    MPS_TRY(load_alone(object->obj, wanted, maps, "loading the programs that probe idle subflows"));
    return object;
}

std::string subflows_text(std::size_t number) {
    return fmt::format("{} idle subflow{}", number, number == 1 ? "" : "s");
}

// Those that are attached and not known to be down.
Result<ProbePaths> paths_of(const Pins &pins) {
    const auto entries = PathTable(pins).entries();
    MPS_TRY(entries);
    const auto config = read_config(pins);
    MPS_TRY(config);
    ProbePaths paths;
    for (const PathEntry &entry : *entries)
        if (entry.has(MPS_PATH_ATTACHED) && !entry.absent() && !is_down(entry, *config))
            paths[entry.path.ifindex] = is_metered(entry);
    return paths;
}

} // namespace

Result<IdleProbes> IdleProbes::start(std::uint32_t idle_s) {
    IdleProbes probes(idle_s);
    if (!idle_s)
        return probes;
    probes.timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    const itimerspec each_second{.it_interval = {.tv_sec = 1, .tv_nsec = 0},
                                 .it_value = {.tv_sec = 1, .tv_nsec = 0}};
    if (!probes.timer_ || ::timerfd_settime(probes.timer_.get(), 0, &each_second, nullptr))
        return std::unexpected(system_error(errno, "looking after idle subflows"));
    return probes;
}

bool IdleProbes::is_due() const {
    std::uint64_t ticks = 0;
    return timer_ && ::read(timer_.get(), &ticks, sizeof ticks) == sizeof ticks;
}

Result<void> IdleProbes::load(const Pins &pins, const InstallationPaths &paths) {
    const auto info = pins.map_infos.find(MPS_MAP_CONNS);
    const std::uint32_t id = info == pins.map_infos.end() ? 0 : info->second.id;
    std::error_code error;
    // `repair` puts back, and removes the pin.
    if (program_ && id == conns_id_ && std::filesystem::exists(paths.probes_pin(MPS_MAP_PROBE_MEMORY), error))
        return {};
    const auto object = load_program(paths, "mps_pr_look");
    MPS_TRY(object);
    program_ = Fd::duplicate(bpf_program__fd((*object)->progs.mps_pr_look));
    orders_ = Fd::duplicate(bpf_map__fd((*object)->maps.mps_pr_orders));
    if (!program_ || !orders_)
        return std::unexpected(system_error(errno, "probing idle subflows"));
    conns_id_ = id;
    return {};
}

Result<std::vector<mps_probe_row>> IdleProbes::run(std::vector<ProbeOrder> orders) const {
    std::vector<char> bytes;
    do {
        const auto some = std::span(orders).last(std::min<std::size_t>(orders.size(), MPS_PROBE_ORDERS));
        for (const ProbeOrder &one : some)
            if (bpf_map_update_elem(orders_.get(), &one.sk, &one.what, BPF_ANY))
                return std::unexpected(system_error(errno, "probing idle subflows"));
        bytes.clear();
        const auto done =
            run_iterator(program_.get(), "looking at idle subflows", [&](std::span<const char> piece) {
                bytes.insert(bytes.end(), piece.begin(), piece.end());
            });
        for (const ProbeOrder &one : some)
            bpf_map_delete_elem(orders_.get(), &one.sk);
        MPS_TRY(done);
        orders.resize(orders.size() - some.size());
    } while (!orders.empty());
    std::vector<mps_probe_row> rows(bytes.size() / sizeof(mps_probe_row));
    if (!rows.empty())
        std::memcpy(rows.data(), bytes.data(), rows.size() * sizeof(mps_probe_row));
    return rows;
}

void IdleProbes::tell(const std::vector<ProbeOrder> &orders) {
    silent_.clear();
    std::map<std::uint32_t, std::size_t> silent, heard; // by interface
    for (const ProbeOrder &one : orders) {
        if (one.what & MPS_PROBE_SILENT) {
            silent_.push_back(one);
            silent[one.ifindex]++;
        }
        if (one.what & MPS_PROBE_HEARD)
            heard[one.ifindex]++;
    }
    const auto say = [&](PathEvent::Kind kind, const auto &numbers, const char *what) {
        for (const auto &[ifindex, number] : numbers)
            news_.push_back({.kind = kind,
                             .name = ifname_of(ifindex),
                             .ifindex = ifindex,
                             .why = fmt::format("{} {}", subflows_text(number), what)});
    };
    say(PathEvent::Kind::silent, silent, "without an answer to probes");
    say(PathEvent::Kind::answers, heard, "again");
}

Result<bool> IdleProbes::look(const Pins &pins, const InstallationPaths &paths) {
    MPS_TRY(load(pins, paths));
    const auto interfaces = paths_of(pins);
    MPS_TRY(interfaces);
    const auto rows = run({});
    MPS_TRY(rows);
    const std::vector<ProbeOrder> orders = plan_.look(*rows, *interfaces, monotonic_ns());
    if (!orders.empty())
        MPS_TRY(run(orders));
    tell(orders);
    return std::ranges::any_of(
        orders, [](const ProbeOrder &one) { return one.what & (MPS_PROBE_SILENT | MPS_PROBE_HEARD); });
}

Result<void> end_probes(const InstallationPaths &paths) {
    std::error_code error;
    if (!std::filesystem::exists(paths.probes_pin(MPS_MAP_PROBE_MEMORY), error))
        return remove_tree(paths.probes_dir());
    const auto object = load_program(paths, "mps_pr_end");
    MPS_TRY(object);
    MPS_TRY(run_iterator(bpf_program__fd((*object)->progs.mps_pr_end),
                         "putting back what probes have changed", [](std::span<const char>) {}));
    return remove_tree(paths.probes_dir());
}

} // namespace mps
