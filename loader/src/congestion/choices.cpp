// SPDX-License-Identifier: MIT
#include "congestion/choices.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <set>
#include <string_view>

#include <fmt/format.h>

#include "base/try.hpp"
#include "congestion.skel.h"
#include "kernel/cgroup.hpp"
#include "kernel/iterator.hpp"
#include "kernel/kernel_objects.hpp"
#include "kernel/netns.hpp"
#include "pins/kept_maps.hpp"
#include "policy/selector.hpp"

namespace mps {

namespace {

struct Destroy {
    void operator()(congestion *object) const { congestion__destroy(object); }
};
using Object = std::unique_ptr<congestion, Destroy>;

// Those that outlive a command, and those that a program needs beside them.
constexpr std::string_view kept_maps[] = {MPS_MAP_CC_RULES, MPS_MAP_CC_CHOICES, MPS_MAP_CC_CONFIG,
                                          MPS_MAP_CC_BEFORE};
const std::set<std::string_view> own_maps{"mps_matches", "mps_cc_at_hand", "mps_hosts"};
constexpr std::uint32_t last_choice = MPS_CC_CHOICES - 1; // of every other socket

struct ChoiceMaps {
    Fd rules{}, choices{}, config{};
};

// nullopt: there are none, or a command that was killed has made only some of them.
Result<std::optional<ChoiceMaps>> open_maps(const InstallationPaths &paths) {
    ChoiceMaps maps;
    auto rules = open_own_map(paths.congestion_pin(MPS_MAP_CC_RULES), sizeof(mps_rule));
    MPS_TRY(rules);
    auto choices = open_own_map(paths.congestion_pin(MPS_MAP_CC_CHOICES), sizeof(mps_cc_choice));
    MPS_TRY(choices);
    auto config = open_own_map(paths.congestion_pin(MPS_MAP_CC_CONFIG), sizeof(mps_cc_config));
    MPS_TRY(config);
    auto before = open_own_map(paths.congestion_pin(MPS_MAP_CC_BEFORE), sizeof(mps_cc_given));
    MPS_TRY(before);
    if (!*rules || !*choices || !*config || !*before)
        return std::nullopt;
    return ChoiceMaps{std::move(*rules), std::move(*choices), std::move(*config)};
}

MapUse map_use(std::string_view map) {
    if (std::ranges::find(kept_maps, map) != std::end(kept_maps))
        return MapUse::kept;
    return own_maps.contains(map) ? MapUse::own : MapUse::none;
}

Result<Object> load_program(const InstallationPaths &paths, std::string_view wanted) {
    Object object(congestion__open());
    if (!object)
        return std::unexpected(system_error(errno, "opening the programs of congestion controls"));
    const auto cookie = netns_cookie();
    MPS_TRY(cookie);
    object->rodata->mps_netns_cookie = *cookie;
    const KeptMaps maps{.folder = paths.congestion_dir(),
                        .pin = [&](std::string_view map) { return paths.congestion_pin(map); },
                        .use = map_use};
    MPS_TRY(load_alone(object->obj, wanted, maps, fmt::format("loading {}", wanted)));
    return object;
}

Result<void> attach(const InstallationPaths &paths) {
    const auto attached = has_own_link(paths.congestion_pin(MPS_CC_LINK));
    MPS_TRY(attached);
    if (*attached)
        return {};
    const auto object = load_program(paths, "mps_cc_sockops");
    MPS_TRY(object);
    const auto cgroup = open_root_cgroup();
    MPS_TRY(cgroup);
    const Fd link(bpf_link_create(bpf_program__fd((*object)->progs.mps_cc_sockops), cgroup->get(),
                                  BPF_CGROUP_SOCK_OPS, nullptr));
    if (!link)
        return std::unexpected(
            system_error(errno, "attaching the program that gives congestion controls to cgroup v2"));
    return pin(link.get(), paths.congestion_pin(MPS_CC_LINK));
}

// Moves the sockets that there are.
Result<void> apply(const InstallationPaths &paths) {
    const auto object = load_program(paths, "mps_cc_apply");
    MPS_TRY(object);
    return run_iterator(bpf_program__fd((*object)->progs.mps_cc_apply),
                        "giving sockets their congestion control", [](std::span<const char>) {});
}

// Between the first and the last write nothing is chosen; who was established meanwhile is found by apply().
Result<void> write(const ChoiceMaps &maps, const std::vector<CongestionChoice> &choices) {
    MPS_TRY(write_value(maps.config.get(), 0, mps_cc_config{}, MPS_MAP_CC_CONFIG));
    mps_cc_config config{};
    for (const CongestionChoice &one : choices) {
        mps_rule rule = one.rule;
        rule.slot = rule.fields ? config.nr_rules + 1 : last_choice;
        MPS_TRY(write_value(maps.choices.get(), rule.slot, one.choice, MPS_MAP_CC_CHOICES));
        if (rule.fields)
            MPS_TRY(write_value(maps.rules.get(), config.nr_rules++, rule, MPS_MAP_CC_RULES));
        else
            config.dflt = last_choice;
    }
    return write_value(maps.config.get(), 0, config, MPS_MAP_CC_CONFIG);
}

bool has_pins(const InstallationPaths &paths) {
    std::error_code error;
    return std::filesystem::exists(paths.congestion_dir(), error);
}

} // namespace

Result<std::vector<CongestionChoice>> congestion_choices(const InstallationPaths &paths) {
    std::vector<CongestionChoice> all;
    const auto maps = open_maps(paths);
    MPS_TRY(maps);
    if (!*maps)
        return all;
    const auto config = read_value<mps_cc_config>((*maps)->config.get(), 0);
    MPS_TRY(config);
    const mps_cc_config now = config->value_or(mps_cc_config{});
    const auto add = [&](const mps_rule &rule, std::uint32_t index) -> Result<void> {
        const auto choice = read_value<mps_cc_choice>((*maps)->choices.get(), index);
        MPS_TRY(choice);
        if (*choice)
            all.push_back({rule, **choice});
        return {};
    };
    for (std::uint32_t i = 0; i < std::min<std::uint32_t>(now.nr_rules, MPS_MAX_RULES); i++) {
        const auto rule = read_value<mps_rule>((*maps)->rules.get(), i);
        MPS_TRY(rule);
        if (*rule)
            MPS_TRY(add(**rule, (*rule)->slot));
    }
    if (now.dflt)
        MPS_TRY(add({}, now.dflt));
    return all;
}

Result<void> replace_congestion_choices(const InstallationPaths &paths,
                                        const std::vector<CongestionChoice> &choices) {
    if (choices.empty() && !has_pins(paths))
        return {};
    if (!choices.empty())
        MPS_TRY(attach(paths));
    const auto maps = open_maps(paths);
    MPS_TRY(maps);
    if (*maps) {
        MPS_TRY(write(**maps, choices));
        MPS_TRY(apply(paths));
    }
    return choices.empty() ? remove_tree(paths.congestion_dir()) : Result<void>{};
}

Result<void> repair_congestion(const InstallationPaths &paths) {
    if (!has_pins(paths))
        return {};
    const auto choices = congestion_choices(paths);
    MPS_TRY(choices);
    const auto attached = has_own_link(paths.congestion_pin(MPS_CC_LINK));
    MPS_TRY(attached);
    return choices->empty() || !*attached ? replace_congestion_choices(paths, *choices) : Result<void>{};
}

CongestionRule congestion_rule(const CongestionChoice &choice) {
    return {.name = std::string(choice.choice.name, strnlen(choice.choice.name, MPS_CC_NAME_LEN)),
            .selector = choice.rule.fields ? format_selector(choice.rule) : "",
            .plain_tcp = (choice.choice.flags & MPS_CC_PLAIN_TCP) != 0,
            .given = choice.choice.given,
            .refused = choice.choice.refused};
}

} // namespace mps
