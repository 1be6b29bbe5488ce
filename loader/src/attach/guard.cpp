// SPDX-License-Identifier: MIT
#include "attach/guard.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <mps/abi.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <map>
#include <utility>

#include "attach/carrier.hpp"
#include "attach/peers.hpp"
#include "base/clock.hpp"
#include "base/try.hpp"
#include "kernel/netlink.hpp"

namespace mps {

namespace {

// The subflows that the peer avoids in favour of those that are silent now; none if another one of these works.
Result<std::uint32_t> wrongly_avoided(const Pins &pins, std::uint32_t token) {
    const auto conn = read_value<mps_conn>(pins.map(MPS_MAP_CONNS), token);
    MPS_TRY(conn);
    const auto peer = read_value<mps_peer>(pins.map(MPS_MAP_PEERS), token);
    MPS_TRY(peer);
    if (!*conn || !*peer)
        return 0;
    std::set<std::uint64_t> silent;
    for (const mps_conn_subflow &one : (*conn)->sf)
        if (one.silent)
            silent.insert(one.sk);
    std::uint32_t avoided = 0;
    for (std::uint32_t i = 0; i < MPS_MAX_SUBFLOWS; i++) {
        const mps_conn_subflow &one = (*peer)->conn.sf[i];
        if (!one.sk || silent.contains(one.sk))
            continue;
        if ((*peer)->conn.allowed >> i & 1)
            return 0;
        avoided |= 1U << i & (*peer)->told;
    }
    return avoided;
}

} // namespace

int Guard::take(void *told, void *record, std::size_t size) {
    if (size < sizeof(mps_event))
        return 0;
    const auto *event = static_cast<mps_event *>(record);
    static_cast<Told *>(told)->tokens.insert(event->token);
    static_cast<Told *>(told)->interfaces.insert(event->ifindex);
    return 0;
}

void Guard::FreeRing::operator()(ring_buffer *ring) const { ring_buffer__free(ring); }

Guard::Guard() : told_(std::make_unique<Told>()) {}
Guard::Guard(Guard &&) noexcept = default;
Guard &Guard::operator=(Guard &&) noexcept = default;
Guard::~Guard() = default;

Result<void> Guard::join(const Pins &pins) {
    const auto info = pins.map_infos.find(MPS_MAP_EVENTS);
    const std::uint32_t id = info == pins.map_infos.end() ? 0 : info->second.id;
    if (id == events_id_)
        return {};
    ring_.reset(ring_buffer__new(pins.map(MPS_MAP_EVENTS), take, told_.get(), nullptr));
    if (!ring_)
        return std::unexpected(system_error(errno, "listening for subflows that go silent"));
    Pins own;
    for (const auto &[name, fd] : pins.maps)
        own.maps[name] = Fd::duplicate(fd.get());
    MPS_TRY(load_programs(own, {MPS_PROG_LOOK}));
    look_ = std::move(own.programs[MPS_PROG_LOOK]);
    events_id_ = id;
    had_address_.clear();
    return {};
}

int Guard::fd() const { return ring_ ? ring_buffer__epoll_fd(ring_.get()) : -1; }

bool Guard::has_news() const {
    pollfd waiting{.fd = fd(), .events = POLLIN, .revents = 0};
    return waiting.fd >= 0 && ::poll(&waiting, 1, 0) > 0;
}

Result<void> Guard::listen(const Pins &pins) {
    const int got = ring_ ? ring_buffer__consume(ring_.get()) : 0;
    if (got < 0)
        return std::unexpected(system_error(-got, "reading which subflows are silent"));
    if (!got && told_->tokens.empty())
        return {};
    MPS_TRY(carry_wakes(pins));
    SubflowBits avoided;
    for (const std::uint32_t token : std::exchange(told_->tokens, {})) {
        const auto some = wrongly_avoided(pins, token);
        MPS_TRY(some);
        if (*some)
            avoided[token] = *some;
    }
    return tell_endpoints(pins, avoided);
}

void Guard::tell(std::uint32_t token, std::uint32_t ifindex) const {
    told_->tokens.insert(token);
    told_->interfaces.insert(ifindex);
}

Result<std::uint64_t> Guard::paths_down(const Pins &pins) {
    const auto entries = PathTable(pins).entries();
    MPS_TRY(entries);
    const auto devices = net_links();
    MPS_TRY(devices);
    const auto addresses = interfaces_with_addresses();
    MPS_TRY(addresses);
    std::map<std::uint32_t, bool> works;
    for (const NetDevice &device : *devices)
        works[device.ifindex] = device.up && device.carrier;
    std::uint64_t down = 0;
    for (const PathEntry &entry : *entries) {
        const std::uint32_t ifindex = entry.path.ifindex;
        if (entry.absent() || !entry.has(MPS_PATH_ATTACHED))
            continue;
        if (addresses->contains(ifindex))
            had_address_.insert(ifindex);
        const auto link = works.find(ifindex);
        const bool lost = had_address_.contains(ifindex) && !addresses->contains(ifindex);
        if (link == works.end() || !link->second || lost)
            down |= std::uint64_t{1} << entry.index;
    }
    return down;
}

Result<void> Guard::look_at_connections(const Pins &pins) {
    const std::array<std::uint8_t, 64> frame{};
    // Of as many connections as there are, some wakes find no place in the queue at first.
    constexpr int most_rounds = 1000;
    for (int round = 0; round < most_rounds; round++) {
        LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(), .data_size_in = frame.size());
        if (const int err = bpf_prog_test_run_opts(look_.get(), &options))
            return std::unexpected(system_error(-err, "looking at all connections"));
        MPS_TRY(carry_wakes(pins));
        if (!options.retval)
            break;
    }
    return {};
}

Result<bool> Guard::look_at_paths(const Pins &pins) {
    const auto down = paths_down(pins);
    MPS_TRY(down);
    auto config = LiveConfig::open(pins);
    MPS_TRY(config);
    const auto now = config->read();
    MPS_TRY(now);
    if (*down == now->paths_down)
        return false;
    MPS_TRY(config->set_paths_down(*down, monotonic_ns()));
    if (*down & ~now->paths_down)
        MPS_TRY(look_at_connections(pins));
    return true;
}

void Guard::leave(const Pins &pins) {
    if (auto config = LiveConfig::open(pins))
        (void)config->set_paths_down(0, 0);
}

} // namespace mps
