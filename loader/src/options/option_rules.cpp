// SPDX-License-Identifier: MIT
#include "options/option_rules.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

#include <fmt/format.h>

#include "attach/hooks.hpp"
#include "base/try.hpp"
#include "kernel/netlink.hpp"
#include "options/option_hooks.hpp"

namespace mps {

namespace {

struct Wanted {
    NetDevice device{};
    bool out = false;
};

std::vector<Wanted> wanted_hooks(const std::vector<PlacedRule> &rules,
                                 const std::vector<NetDevice> &devices) {
    std::vector<Wanted> wanted;
    for (const NetDevice &device : devices)
        for (const bool out : {false, true})
            if (std::ranges::any_of(rules, [&](const PlacedRule &one) {
                    return one.rule.interface == device.name && (one.rule.direction == "out") == out;
                }))
                wanted.push_back({device, out});
    return wanted;
}

std::map<std::string, std::uint32_t> indexes(const std::vector<NetDevice> &devices) {
    std::map<std::string, std::uint32_t> all;
    for (const NetDevice &device : devices)
        all[device.name] = device.ifindex;
    return all;
}

// Puts programs where rules need them. What was put is added to `done`.
Result<void> put_programs(const InstallationPaths &paths, OptionPins &pins, const std::vector<Wanted> &wanted,
                          bool tcx, const std::vector<std::uint32_t> &again, std::vector<RuleHook> &done) {
    for (const Wanted &one : wanted) {
        const RuleHook hook{one.device.ifindex, one.out};
        const std::string name = rule_program_name(one.out, one.device.layer3());
        MPS_TRY(provide_option_program(paths, pins, name));
        const auto there = rule_program_at(paths, hook);
        MPS_TRY(there);
        if (*there == pins.program_ids[name] && std::ranges::find(again, hook.ifindex) == again.end())
            continue;
        MPS_TRY(put_rule_program(paths, one.device, one.out, pins.programs[name].get(), tcx));
        if (!*there)
            done.push_back(hook);
    }
    return {};
}

Result<void> remove_unwanted(const InstallationPaths &paths, const std::vector<Wanted> &wanted) {
    const auto hooks = rule_hooks(paths);
    MPS_TRY(hooks);
    for (const RuleHook &hook : *hooks) {
        const bool stays = std::ranges::any_of(wanted, [&](const Wanted &one) {
            return one.device.ifindex == hook.ifindex && one.out == hook.out;
        });
        if (!stays)
            MPS_TRY(remove_rule_program(paths, hook));
    }
    return {};
}

bool has_rules_dir(const InstallationPaths &paths) {
    std::error_code error;
    return std::filesystem::exists(paths.rules_dir(), error);
}

// Without rules nothing of them stays.
Result<void> remove_all_of_rules(const InstallationPaths &paths) {
    MPS_TRY(remove_unwanted(paths, {}));
    return remove_option_pins(paths);
}

Result<void> require_link_layers(const std::vector<Wanted> &wanted) {
    for (const Wanted &one : wanted)
        if (one.device.foreign_framing())
            return fail(ErrorCode::unsupported,
                        fmt::format("{} has a link layer that is not understood ({})", one.device.name,
                                    one.device.type_text()),
                        "Ethernet and layer 3 interfaces are supported");
    return {};
}

} // namespace

Result<std::vector<PlacedRule>> placed_rules(const InstallationPaths &paths) {
    const auto pins = open_option_pins(paths);
    MPS_TRY(pins);
    if (!*pins)
        return std::vector<PlacedRule>{};
    const auto table = read_option_table(**pins);
    MPS_TRY(table);
    return rules_of(*table);
}

Result<void> replace_option_rules(const InstallationPaths &paths, const std::vector<OptionRule> &rules,
                                  bool tcx) {
    const auto before = placed_rules(paths);
    MPS_TRY(before);
    if (rules.empty())
        return remove_all_of_rules(paths);
    const auto devices = net_links();
    MPS_TRY(devices);
    std::vector<std::uint32_t> fresh;
    const auto placed = place_rules(rules, *before, fresh);
    const auto table = table_of(placed, indexes(*devices));
    MPS_TRY(table);

    auto opened = open_option_pins(paths);
    MPS_TRY(opened);
    OptionPins pins = *opened ? std::move(**opened) : OptionPins{};
    const auto wanted = wanted_hooks(placed, *devices);
    MPS_TRY(require_link_layers(wanted));
    std::vector<RuleHook> put;
    // The programs first: with the old table they do nothing for what is new.
    auto done = put_programs(paths, pins, wanted, tcx, {}, put);
    // A rule that waits for its interface is kept in the table, which comes with the programs.
    if (done && !pins.tables)
        done = provide_option_program(paths, pins, rule_program_name(false, false));
    for (const std::uint32_t place : fresh)
        if (done)
            done = clear_option_hits(pins, place);
    if (done)
        done = write_option_table(pins, *table);
    if (!done) {
        for (const RuleHook &hook : put)
            (void)remove_rule_program(paths, hook);
        if (before->empty())
            (void)remove_all_of_rules(paths);
        return done;
    }
    return remove_unwanted(paths, wanted);
}

Result<void> settle_option_rules(const InstallationPaths &paths, bool tcx,
                                 const std::vector<std::uint32_t> &again) {
    if (!has_rules_dir(paths) && ruled_interfaces(paths).empty())
        return {};
    auto opened = open_option_pins(paths);
    MPS_TRY(opened);
    const auto old = *opened ? read_option_table(**opened) : Result<mps_option_table>(mps_option_table{});
    MPS_TRY(old);
    const auto rules = rules_of(*old);
    if (rules.empty())
        return remove_all_of_rules(paths);
    const auto devices = net_links();
    MPS_TRY(devices);
    const auto wanted = wanted_hooks(rules, *devices);
    std::vector<RuleHook> put;
    MPS_TRY(put_programs(paths, **opened, wanted, tcx, again, put));
    const auto table = table_of(rules, indexes(*devices));
    MPS_TRY(table);
    if (std::memcmp(&*table, &*old, sizeof *table) != 0)
        MPS_TRY(write_option_table(**opened, *table));
    return remove_unwanted(paths, wanted);
}

} // namespace mps
