// SPDX-License-Identifier: MIT
#include "policy/slots.hpp"

#include <bpf/bpf.h>
#include <linux/membarrier.h>
#include <mps/abi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "apps/grants.hpp"
#include "base/try.hpp"
#include "observe/dump.hpp"

namespace mps {

namespace {

// Program id in a PROG_ARRAY, 0 if the slot is empty.
Result<std::uint32_t> program_in(int map_fd, std::uint32_t slot) {
    const auto id = read_value<std::uint32_t>(map_fd, slot);
    MPS_TRY(id);
    return id->value_or(0);
}

// The one that was loaded first tells a slot from others and is in its origin: the other may come later.
std::uint32_t first_of(std::uint32_t xdp, std::uint32_t tc) {
    return xdp && tc ? std::min(xdp, tc) : xdp + tc;
}

Result<std::uint32_t> id_of(const Fd &program) {
    if (!program)
        return 0;
    const auto info = prog_info(program.get());
    MPS_TRY(info);
    return info->id;
}

bool holds_same(const Slot &slot, const LivePolicy &policy, const PolicyOrigin &origin) {
    return slot.policy && !slot.lacking.any() && slot.origin && slot.origin->sha256 == origin.sha256 &&
           slot.policy->header.name == policy.header.name && slot.policy->section == policy.section;
}

} // namespace

void wait_for_running_programs() {
    // MEMBARRIER_CMD_GLOBAL is synchronize_rcu(), and BPF programs of the network run inside RCU read
    // sections.
    if (::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

Result<std::vector<Slot>> Slots::read() const {
    std::vector<Slot> slots;
    for (std::uint32_t number = 1; number < MPS_MAX_SLOTS; number++) {
        const auto xdp = program_in(pins_.map(MPS_MAP_XDP_SLOTS), number);
        MPS_TRY(xdp);
        const auto tc = program_in(pins_.map(MPS_MAP_TC_SLOTS), number);
        MPS_TRY(tc);
        if (!*xdp && !*tc)
            continue;
        Slot slot{.number = number};
        slot.held = {*xdp != 0, *tc != 0};
        auto fd = prog_by_id(first_of(*xdp, *tc));
        MPS_TRY(fd);
        auto policy = live_policy(fd->get());
        if (policy) {
            slot.policy = std::move(*policy);
            slot.lacking = pins_.called(slot.policy->header.rx).without(slot.held);
            slot.origin = read_origin(paths_, number, slot.policy->prog_id);
        } else {
            slot.trouble = policy.error().what;
        }
        slots.push_back(std::move(slot));
    }
    return slots;
}

Result<std::vector<mps_rule>> Slots::rules() const {
    const auto config = read_config(pins_);
    MPS_TRY(config);
    std::vector<mps_rule> rules;
    for (std::uint32_t i = 0; i < std::min<std::uint32_t>(config->nr_rules, MPS_MAX_RULES); i++) {
        const auto rule = read_value<mps_rule>(pins_.map(MPS_MAP_RULES), i);
        MPS_TRY(rule);
        rules.push_back(rule->value_or(mps_rule{}));
    }
    return rules;
}

Result<std::map<std::uint32_t, SlotUse>> Slots::uses() const {
    const auto config = read_config(pins_);
    MPS_TRY(config);
    const auto all_rules = rules();
    MPS_TRY(all_rules);
    const auto connections = known_connections(pins_);
    MPS_TRY(connections);

    std::map<std::uint32_t, SlotUse> uses;
    for (std::uint32_t number = 0; number < MPS_MAX_SLOTS; number++)
        uses[number];
    uses[default_slot(*config)].is_default = true;
    uses[config->rx_slot].is_rx_default = true;
    for (std::uint32_t i = 0; i < all_rules->size(); i++) {
        const mps_rule &rule = (*all_rules)[i];
        if (!rule.fields)
            continue;
        for (const std::uint32_t slot : std::set{rule.slot, rule.rx_slot}) {
            if (slot < MPS_MAX_SLOTS)
                uses[slot].rules.push_back(i);
        }
    }
    const auto follows = [&](const mps_conn &one) { return one.rule_epoch == rule_epoch(*config); };
    for (const KnownConnection &connection : *connections) {
        std::set<std::uint32_t> slots;
        if (connection.known && follows(*connection.known))
            slots.insert(connection.known->slot);
        if (connection.peer && follows(connection.peer->conn))
            slots.insert(connection.peer->conn.slot);
        for (const std::uint32_t slot : slots)
            uses[slot].connections++;
    }
    for (const std::uint32_t slot : pinned_policies(paths_))
        uses[slot].kept = true;
    const auto grants = read_grants(pins_);
    MPS_TRY(grants);
    for (const Grant &one : *grants)
        for (const mps_grant_policy &policy : policies_of(one.grant))
            if (policy.slot < MPS_MAX_SLOTS)
                uses[policy.slot].apps.push_back(path_of(one.grant));
    return uses;
}

Result<std::uint32_t> Slots::fill(const LoadedPolicy &loaded, const PolicyOrigin &origin) {
    const auto xdp = id_of(loaded.xdp);
    MPS_TRY(xdp);
    const auto tc = id_of(loaded.tc);
    MPS_TRY(tc);
    const std::uint32_t first = first_of(*xdp, *tc);
    const auto ours = live_policy((first == *xdp ? loaded.xdp : loaded.tc).get());
    MPS_TRY(ours);
    const auto slots = read();
    MPS_TRY(slots);
    std::uint32_t free = 0;
    for (std::uint32_t number = 1; number < MPS_MAX_SLOTS; number++) {
        const auto it =
            std::find_if(slots->begin(), slots->end(), [&](const Slot &s) { return s.number == number; });
        if (it == slots->end()) {
            if (!free)
                free = number;
        } else if (holds_same(*it, *ours, origin)) {
            return number;
        }
    }
    if (!free) {
        return fail(ErrorKind::full, fmt::format("all {} policy slots are in use", MPS_MAX_SLOTS - 1),
                    "'mpsched policy list' shows by what; unload a policy or drop a rule");
    }
    // First, so that no slot is ever filled without; so is how the data path has to lay out what it shows the policy.
    auto done = write_origin(paths_, free, first, origin);
    if (done) {
        auto config = LiveConfig::open(pins_);
        done = config ? config->update([&](mps_config &c) {
            c.slot_serial[free]++;
            c.slot_wants[free] = ours->header.wants;
        })
                      : std::unexpected(config.error());
    }
    if (done)
        done = fill_in(free, loaded);
    // Read back: the kernel tells which program it holds.
    const auto held = program_in(pins_.map(*xdp ? MPS_MAP_XDP_SLOTS : MPS_MAP_TC_SLOTS), free);
    if (done && (!held || *held != (*xdp ? *xdp : *tc))) {
        done = fail(ErrorCode::failed, fmt::format("slot {} does not hold the policy it was given", free),
                    "something else writes to our maps: try again");
    }
    if (!done) {
        (void)clear(free);
        return std::unexpected(done.error());
    }
    return free;
}

Result<void> Slots::fill_in(std::uint32_t slot, const LoadedPolicy &loaded) {
    const auto put = [&](std::string_view map, const Fd &program) -> Result<void> {
        if (!program)
            return {};
        return write_value(pins_.map(map), slot, static_cast<std::uint32_t>(program.get()), map);
    };
    if (auto done = put(MPS_MAP_XDP_SLOTS, loaded.xdp); !done)
        return done;
    return put(MPS_MAP_TC_SLOTS, loaded.tc);
}

Result<void> Slots::clear(std::uint32_t slot) {
    if (auto done = unpin(paths_.kept_policy(slot)); !done)
        return done;
    if (auto done = delete_key(pins_.map(MPS_MAP_XDP_SLOTS), slot, MPS_MAP_XDP_SLOTS); !done)
        return done;
    remove_origin(paths_, slot);
    return delete_key(pins_.map(MPS_MAP_TC_SLOTS), slot, MPS_MAP_TC_SLOTS);
}

Result<void> Slots::collect() {
    const auto slots = read();
    MPS_TRY(slots);
    // A pin for a slot that was never filled, or was emptied: left by a killed command.
    for (const std::uint32_t kept : pinned_policies(paths_)) {
        const bool filled =
            std::any_of(slots->begin(), slots->end(), [&](const Slot &s) { return s.number == kept; });
        if (filled)
            continue;
        if (auto done = unpin(paths_.kept_policy(kept)); !done)
            return done;
    }
    if (slots->empty())
        return {};
    const auto all_uses = uses();
    MPS_TRY(all_uses);
    bool waited = false;
    for (const Slot &slot : *slots) {
        if (all_uses->at(slot.number).referred())
            continue;
        if (!waited)
            wait_for_running_programs();
        waited = true;
        if (auto done = clear(slot.number); !done)
            return done;
    }
    return {};
}

} // namespace mps
