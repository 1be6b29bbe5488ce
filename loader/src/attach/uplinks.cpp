// SPDX-License-Identifier: MIT
#include "attach/uplinks.hpp"

#include <bpf/bpf.h>
#include <mps/gateway_abi.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <set>
#include <thread>
#include <utility>

#include "attach/interface.hpp"
#include "attach/lender.hpp"
#include "base/clock.hpp"
#include "base/try.hpp"
#include "pins/live_config.hpp"

namespace mps {

namespace {

constexpr long look_every_ns = 50'000'000;
// No acknowledgement comes later than this behind what it is for, on a path without delay.
constexpr std::uint64_t least_silence_ns = 60'000'000;

constexpr int most_rounds = 4;
constexpr auto round_time = std::chrono::milliseconds(8);

Result<Fd> start_timer() {
    Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    const itimerspec every{.it_interval = {0, look_every_ns}, .it_value = {0, look_every_ns}};
    if (!timer || ::timerfd_settime(timer.get(), 0, &every, nullptr))
        return std::unexpected(system_error(errno, "looking after uplinks"));
    return timer;
}

} // namespace

Result<void> Uplinks::join(const Pins &pins) {
    const auto info = pins.map_infos.find(MPS_MAP_GW_FLOWS);
    const std::uint32_t id = info == pins.map_infos.end() ? 0 : info->second.id;
    paths_.clear();
    if (id != flows_id_) {
        timer_ = Fd();
        flows_id_ = id;
        for (const auto &[fd, name] : {std::pair{&uplinks_, MPS_MAP_GW_UPLINKS}, {&flows_, MPS_MAP_GW_FLOWS}})
            *fd = Fd::duplicate(pins.map(name));
        tokens_ = Fd::duplicate(pins.map(MPS_MAP_GW_PEERS));
        look_ = Fd::duplicate(pins.program(MPS_PROG_GW_LOOK));
        room_ = room_of(pins);
    }
    if (!id || !look_)
        return {};
    const auto entries = PathTable(pins).entries();
    MPS_TRY(entries);
    for (const PathEntry &entry : *entries)
        if (entry.has(MPS_PATH_ATTACHED) && role_of(entry.path) == Role::gateway)
            paths_.push_back(entry.index);
    if (paths_.empty()) {
        timer_ = Fd();
    } else if (!timer_) {
        auto timer = start_timer();
        MPS_TRY(timer);
        timer_ = std::move(*timer);
        timers_++;
    }
    return {};
}

bool Uplinks::are_suspect() {
    std::uint64_t ticks = 0;
    if (!timer_ || ::read(timer_.get(), &ticks, sizeof ticks) != sizeof ticks)
        return false;
    const std::uint64_t now = monotonic_ns();
    for (const std::uint32_t index : paths_) {
        mps_gateway_uplink uplink{};
        if (!bpf_map_lookup_elem(uplinks_.get(), &index, &uplink) && uplink.out_ns > uplink.in_ns &&
            now > uplink.in_ns + least_silence_ns)
            return true;
    }
    return false;
}

Result<void> Uplinks::look(bool all) {
    if (!look_)
        return {};
    std::set<std::uint32_t> tokens;
    mps_gateway_key key{};
    mps_gateway_flow flow{};
    std::uint32_t left = room_ * MPS_GATEWAY_FLOWS_PER_CONN;
    for (bool any = !bpf_map_get_next_key(flows_.get(), nullptr, &key); any && left; left--) {
        if (!bpf_map_lookup_elem(flows_.get(), &key, &flow) && flow.grouped) {
            const mps_gateway_way &sends = flow.way[flow.out & 1], &answers = flow.way[~flow.out & 1];
            const bool waits = static_cast<std::int32_t>(sends.next_seq - answers.ack) > 0 &&
                               monotonic_ns() > sends.wait_ns + least_silence_ns;
            if (all || waits)
                tokens.insert({flow.token[0], flow.token[1]});
        }
        any = !bpf_map_get_next_key(flows_.get(), &key, &key);
    }
    // Who has just sent an ACK is to have told by the next one, which on an uplink that is lost does not come.
    for (int round = 0; round < most_rounds && !tokens.empty(); round++) {
        if (round)
            std::this_thread::sleep_for(round_time);
        std::set<std::uint32_t> pending_still;
        for (const std::uint32_t token : tokens) {
            const auto pending = decide(token);
            MPS_TRY(pending);
            if (*pending)
                pending_still.insert(token);
        }
        tokens = std::move(pending_still);
    }
    return {};
}

// Whether something is to be told still.
Result<bool> Uplinks::decide(std::uint32_t token) const {
    for (const bool ipv6 : {false, true}) {
        const auto pending = lend(look_.get(), ipv6, token);
        MPS_TRY(pending);
        if (!*pending)
            return false;
    }
    return true;
}

} // namespace mps
