// SPDX-License-Identifier: MIT
//
// The thresholds that the policies for ATSSS steering modes share (schedulers/common/threshold.core.h).
#include "steered.hpp"

#include <memory>
#include <string>
#include <vector>

using namespace mps::test;

namespace {

struct Limits {
    std::uint32_t max_rtt_ms = 0;
    std::uint32_t max_loss_permille = 0;
    std::uint32_t retry_s = 10;
};

// A policy with these limits and its other parameters as they are.
struct Mode {
    std::string policy;
    std::shared_ptr<void> (*params)(const Limits &);
};

template <class Params>
std::shared_ptr<void> with(const Params &defaults, const Limits &limits) {
    auto params = std::make_shared<Params>(defaults);
    params->max_rtt_ms = limits.max_rtt_ms;
    params->max_loss_permille = limits.max_loss_permille;
    params->retry_s = limits.retry_s;
    return params;
}

const std::vector<Mode> modes{
    {"active-standby", [](const Limits &l) { return with(active_standby_defaults, l); }},
    {"overflow", [](const Limits &l) { return with(overflow_defaults, l); }},
    {"smallest-delay", [](const Limits &l) { return with(smallest_delay_defaults, l); }},
    {"weighted", [](const Limits &l) { return with(weighted_defaults, l); }},
};

// A bulk transfer over a preferred path and another one.
class Transfer {
  public:
    Transfer(const Mode &mode, const Limits &limits)
        : params_(mode.params(limits)), policy_(mode.policy, params_.get()) {}

    Subflow preferred{.priority = 0, .last_rcv_age_us = 10'000};
    Subflow other{.priority = 1, .last_rcv_age_us = 10'000};

    // What may be used at the end of this time, with a decision each 10 ms and so much sent on each path in each.
    std::uint32_t after(std::uint64_t time_ms, std::uint32_t segs = 10) {
        std::uint32_t allowed = 0;
        for (const std::uint64_t end = now_ms_ + time_ms; now_ms_ < end; now_ms_ += 10) {
            preferred.delivered_segs += segs;
            other.delivered_segs += segs;
            allowed = decide();
        }
        return allowed;
    }
    std::uint32_t decide() {
        return policy_.allowed({preferred, other},
                               {.now_us = now_ms_ * 1000, .unsent_bytes = 10'000'000, .receives = receives});
    }
    bool receives = false;

  private:
    std::shared_ptr<void> params_;
    Steered policy_;
    std::uint64_t now_ms_ = 1000;
};

} // namespace

TEST_CASE("a path that loses more than it may is left out, and tried again after a time", "[thresholds]") {
    for (const Mode &mode : modes) {
        INFO(mode.policy);
        Transfer transfer(mode, {.max_loss_permille = 10, .retry_s = 2});
        CHECK((transfer.after(300) & first) != 0);
        transfer.preferred.lost_segs += 20; // of some 300
        CHECK(transfer.after(100) == second);
        CHECK(transfer.after(1800) == second);
        // It loses nothing any more; a policy may have a hold time of its own.
        CHECK((transfer.after(8000) & first) != 0);
    }
}

TEST_CASE("what is lost now and then is no reason", "[thresholds]") {
    for (const Mode &mode : modes) {
        INFO(mode.policy);
        Transfer transfer(mode, {.max_loss_permille = 10});
        for (int i = 0; i < 50; i++) {
            // 1 of 300, and at the beginning 1 of 10
            transfer.preferred.lost_segs += 1;
            CHECK((transfer.after(10) & first) != 0);
            CHECK((transfer.after(290) & first) != 0);
        }
    }
}

TEST_CASE("a path with a longer round trip than it may have is left out if that lasts", "[thresholds]") {
    for (const Mode &mode : modes) {
        INFO(mode.policy);
        Transfer transfer(mode, {.max_rtt_ms = 50});
        CHECK((transfer.after(300) & first) != 0);
        transfer.preferred.srtt_us = 80'000;
        CHECK((transfer.after(400) & first) != 0);
        transfer.preferred.srtt_us = 40'000;
        CHECK((transfer.after(400) & first) != 0);
        transfer.preferred.srtt_us = 80'000;
        CHECK(transfer.after(600) == second);
    }
}

TEST_CASE("a round trip of long ago does not count", "[thresholds]") {
    for (const Mode &mode : modes) {
        INFO(mode.policy);
        Transfer transfer(mode, {.max_rtt_ms = 50});
        transfer.preferred.srtt_us = 80'000;
        transfer.preferred.last_rcv_age_us = 5'000'000;
        CHECK((transfer.after(2000) & first) != 0);
    }
}

TEST_CASE("where no path keeps within, all are used as without thresholds", "[thresholds]") {
    for (const Mode &mode : modes) {
        INFO(mode.policy);
        Transfer transfer(mode, {.max_rtt_ms = 10, .max_loss_permille = 10});
        CHECK((transfer.after(2000) & first) != 0);
    }
}

TEST_CASE("without thresholds, and for what peers send, loss and round trips change nothing",
          "[thresholds]") {
    for (const Mode &mode : modes) {
        for (const bool receives : {false, true}) {
            INFO(mode.policy << (receives ? ", what the peer sends" : ""));
            Transfer transfer(mode, receives ? Limits{.max_rtt_ms = 50, .max_loss_permille = 10} : Limits{});
            transfer.receives = receives;
            transfer.preferred.srtt_us = 21'000;
            if (receives && mode.policy == "smallest-delay")
                continue; // is never asked
            CHECK((transfer.after(100) & first) != 0);
            transfer.preferred.lost_segs += 1000;
            if (mode.policy != "smallest-delay")
                transfer.preferred.srtt_us = 300'000;
            CHECK((transfer.after(1000) & first) != 0);
        }
    }
}

TEST_CASE("with thresholds a policy still never leaves only what is unusable", "[thresholds]") {
    for (const Mode &mode : modes) {
        const auto params = mode.params({.max_rtt_ms = 50, .max_loss_permille = 20, .retry_s = 1});
        const Core &core = core_named(mode.policy);
        Random random(11);
        mps_state state{};
        int left_out = 0;
        for (int i = 0; i < 20'000; i++) {
            const mps_view view = random_view(random);
            std::uint32_t usable = 0;
            for (std::uint32_t k = 0; k < MPS_MAX_SUBFLOWS; k++)
                if ((view.sf[k].flags & (MPS_SF_PRESENT | MPS_SF_USABLE)) == (MPS_SF_PRESENT | MPS_SF_USABLE))
                    usable |= 1u << k;
            const mps_verdict verdict = core(view, state, params.get());
            INFO(core.name << ", round " << i);
            if (usable && !(verdict.allowed & usable))
                FAIL_CHECK("nothing usable is allowed");
            for (std::uint32_t k = 0; k < MPS_MAX_SUBFLOWS; k++)
                left_out += (verdict.reasoned >> k & 1) && verdict.reason[k].code == MPS_REASON_LOSSY;
        }
        CHECK(left_out > 0); // else this has shown nothing
    }
}
