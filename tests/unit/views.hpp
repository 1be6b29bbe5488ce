// SPDX-License-Identifier: MIT
//
// Views for tests: written down by what matters, or random from a seed.
#pragma once

#include <mps/abi.h>

#include <cstdint>
#include <initializer_list>
#include <random>

namespace mps::test {

// A subflow by what matters to a case. Everything else is that of an idle, healthy subflow on a path of 20 ms.
struct Subflow {
    bool usable = true;
    bool troubled = false;
    bool fresh = false;
    bool stale = false;
    bool peer_backup = false;
    bool local_backup = false;
    std::uint32_t srtt_us = 20000;
    std::uint32_t rttvar_us = 0;
    std::uint32_t min_rtt_us = 20000;
    std::uint32_t cwnd_segs = 10;
    std::uint32_t in_flight_segs = 0;
    std::uint32_t weight = 1;
    std::uint32_t priority = 0;
    std::uint64_t bytes_acked = 0;
    std::uint32_t outstanding_bytes = 0;
    std::uint32_t notsent_bytes = 0;
    std::uint32_t cost = 0;
    std::uint32_t energy_class = MPS_ENERGY_NONE;
    std::uint32_t last_rcv_age_us = 0xffffffff;
    bool slow_start = false;
    std::uint64_t quota_left_bytes = MPS_NO_QUOTA;
    std::uint32_t ifindex = 0; // 0: a path of its own
    bool steerable = true;
    std::uint64_t rate = 1000000; // pacing_rate
    std::uint32_t receive_rtt_us = 0;
    std::uint32_t queue_us = 0;
    std::uint32_t delivered_segs = 0;
    std::uint32_t lost_segs = 0;
};

struct Connection {
    std::uint64_t now_us = 1000000;
    std::uint64_t unsent_bytes = 0;
    std::uint32_t self = 0;
    std::uint64_t window_bytes = 1u << 20;
    std::uint64_t unacked_bytes = 0;
    bool receives = false;
};

constexpr std::uint32_t flag_if(bool on, mps_subflow_flag flag) {
    return on ? static_cast<std::uint32_t>(flag) : 0u;
}

// Index i of the view holds the i-th subflow.
inline mps_view view_of(std::initializer_list<Subflow> subflows, Connection connection = {}) {
    mps_view view{};
    std::uint32_t i = 0;

    view.now_us = connection.now_us;
    view.unsent_bytes = connection.unsent_bytes;
    view.window_bytes = connection.window_bytes;
    view.unacked_bytes = connection.unacked_bytes;
    view.token = 0x8684;
    view.direction = connection.receives ? MPS_DIRECTION_RX : MPS_DIRECTION_TX;
    view.self = connection.self;
    for (const Subflow &from : subflows) {
        mps_subflow_view &to = view.sf[i];

        view.present |= 1u << i;
        to.flags = MPS_SF_PRESENT | flag_if(from.steerable, MPS_SF_STEERABLE) |
                   flag_if(from.usable, MPS_SF_USABLE) | flag_if(from.troubled, MPS_SF_TROUBLED) |
                   flag_if(from.fresh, MPS_SF_FRESH) | flag_if(from.stale, MPS_SF_STALE) |
                   flag_if(from.peer_backup, MPS_SF_PEER_BACKUP) |
                   flag_if(from.local_backup, MPS_SF_LOCAL_BACKUP) |
                   flag_if(from.slow_start, MPS_SF_SLOW_START) | flag_if(i == connection.self, MPS_SF_SELF);
        to.id = i + 1;
        to.ifindex = from.ifindex ? from.ifindex : i + 10;
        to.srtt_us = from.srtt_us;
        to.rttvar_us = from.rttvar_us;
        to.min_rtt_us = from.min_rtt_us;
        to.cwnd_segs = from.cwnd_segs;
        to.in_flight_segs = from.in_flight_segs;
        to.mss_bytes = 1400;
        to.weight = from.weight;
        to.priority = from.priority;
        to.bytes_acked = from.bytes_acked;
        to.outstanding_bytes = from.outstanding_bytes;
        to.pacing_rate = from.rate;
        to.snd_wnd_bytes = 1u << 20;
        to.notsent_bytes = from.notsent_bytes;
        to.cost = from.cost;
        to.energy_class = from.energy_class;
        to.last_rcv_age_us = from.last_rcv_age_us;
        to.quota_left_bytes = from.quota_left_bytes;
        to.delivered_segs = from.delivered_segs;
        to.lost_segs = from.lost_segs;
        view.receipt[i].rtt_us = from.receive_rtt_us;
        view.receipt[i].queue_us = from.queue_us;
        i++;
    }
    return view;
}

// Seeded, with the same sequence on every machine.
class Random {
  public:
    explicit Random(std::uint32_t seed) : engine_(seed) {}
    std::uint32_t operator()() { return static_cast<std::uint32_t>(engine_()); }

  private:
    std::mt19937 engine_;
};

// Numbers as they come: mostly plausible, often zero, sometimes the greatest.
template <class T, class Random>
T any_number(Random &random, T plausible) {
    switch (random() % 8) {
    case 0:
        return 0;
    case 1:
        return static_cast<T>(~T{0});
    case 2:
        return static_cast<T>(std::uint64_t{random()} << 32 | random());
    case 3:
        return 1;
    default:
        return plausible ? static_cast<T>(random() % plausible) : T{0};
    }
}

// A view as the data path could build it: `present` and the flags agree, holes are possible.
template <class Random>
mps_view random_view(Random &random) {
    mps_view view{};

    view.now_us = any_number<std::uint64_t>(random, 1u << 30);
    view.unsent_bytes = any_number<std::uint64_t>(random, 1u << 22);
    view.unacked_bytes = any_number<std::uint64_t>(random, 1u << 22);
    view.window_bytes = any_number<std::uint64_t>(random, 1u << 22);
    view.token = static_cast<std::uint32_t>(random());
    view.self = random() % (MPS_MAX_SUBFLOWS + 1);
    view.direction = random() % 2 ? MPS_DIRECTION_RX : MPS_DIRECTION_TX;
    view.message.bytes = random() % 2 ? any_number<std::uint64_t>(random, 1u << 22) : 0;
    view.message.deadline_us = random() % 2 ? any_number<std::uint32_t>(random, 10000000) : 0;
    for (std::uint32_t i = 0; i < MPS_MAX_SUBFLOWS; i++) {
        mps_subflow_view &sf = view.sf[i];

        // What the data path leaves behind where no subflow is: anything, but not PRESENT.
        sf.bytes_acked = any_number<std::uint64_t>(random, 1u << 28);
        sf.pacing_rate = any_number<std::uint64_t>(random, 1u << 28);
        sf.id = i + 1;
        sf.ifindex = any_number<std::uint32_t>(random, 8);
        sf.srtt_us = any_number<std::uint32_t>(random, 300000);
        sf.rttvar_us = any_number<std::uint32_t>(random, 50000);
        sf.min_rtt_us = any_number<std::uint32_t>(random, 300000);
        sf.cwnd_segs = any_number<std::uint32_t>(random, 200);
        sf.ssthresh_segs = any_number<std::uint32_t>(random, 200);
        sf.in_flight_segs = any_number<std::uint32_t>(random, 200);
        sf.mss_bytes = any_number<std::uint32_t>(random, 9000);
        sf.outstanding_bytes = any_number<std::uint32_t>(random, 1u << 20);
        sf.notsent_bytes = any_number<std::uint32_t>(random, 1u << 18);
        sf.queued_bytes = any_number<std::uint32_t>(random, 1u << 20);
        sf.snd_wnd_bytes = any_number<std::uint32_t>(random, 1u << 22);
        sf.delivered_segs = any_number<std::uint32_t>(random, 1u << 20);
        sf.lost_segs = any_number<std::uint32_t>(random, 1u << 10);
        sf.retransmits = any_number<std::uint32_t>(random, 10);
        sf.weight = any_number<std::uint32_t>(random, 20);
        sf.priority = any_number<std::uint32_t>(random, 4);
        sf.cost = any_number<std::uint32_t>(random, 1000);
        sf.energy_class = any_number<std::uint32_t>(random, MPS_ENERGY_MAX);
        sf.quota_left_bytes = any_number<std::uint64_t>(random, 1u << 20);
        sf.last_rcv_age_us = any_number<std::uint32_t>(random, 1000000);
        view.receipt[i].rtt_us = any_number<std::uint32_t>(random, 300000);
        view.receipt[i].queue_us = any_number<std::uint32_t>(random, 100000);
        if (random() % 3 == 0)
            continue;
        sf.flags = static_cast<std::uint32_t>(random()) & 0xfff;
        if (random() % 4)
            sf.flags |= MPS_SF_USABLE;
        if (random() % 3)
            sf.flags &= ~static_cast<std::uint32_t>(MPS_SF_TROUBLED);
        sf.flags &= ~static_cast<std::uint32_t>(MPS_SF_SELF);
        sf.flags |= MPS_SF_PRESENT;
        view.present |= 1u << i;
    }
    if (view.self < MPS_MAX_SUBFLOWS && !(view.present >> view.self & 1))
        view.self = MPS_MAX_SUBFLOWS;
    if (view.self < MPS_MAX_SUBFLOWS)
        view.sf[view.self].flags |= MPS_SF_SELF;
    return view;
}

// Octets without any sense.
template <class T, class Random>
T garbage(Random &random) {
    T out;
    auto *octets = reinterpret_cast<unsigned char *>(&out);

    for (std::size_t i = 0; i < sizeof(T); i++)
        octets[i] = static_cast<unsigned char>(random());
    return out;
}

// The subflows that are left after the data path's own rule: an answer that allows nothing usable means all.
inline std::uint32_t effective(const mps_view &view, const mps_verdict &verdict) {
    std::uint32_t usable = 0;

    for (std::uint32_t i = 0; i < MPS_MAX_SUBFLOWS; i++)
        if ((view.present >> i & 1) && (view.sf[i].flags & MPS_SF_USABLE))
            usable |= 1u << i;
    return verdict.allowed & view.present & usable ? verdict.allowed & view.present : view.present;
}

} // namespace mps::test
