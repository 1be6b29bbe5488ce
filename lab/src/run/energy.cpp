// SPDX-License-Identifier: MIT
#include "energy.hpp"

namespace mps::lab {
namespace {

// Less in one direction is no IP packet of a connection: ARP has 42 bytes and a radio has none of it.
constexpr std::uint64_t least_bytes = 60;

constexpr double joules(double mw, double seconds) { return mw * seconds / 1e3; }

} // namespace

const Radio *radio_of(std::string_view energy) {
    static constexpr Radio wifi{.up_mw = 283,
                                .down_mw = 137,
                                .base_mw = 133,
                                .promotion_s = .079,
                                .promotion_mw = 124,
                                .tail_s = .238,
                                .tail_mw = 119};
    static constexpr Radio umts{.up_mw = 869,
                                .down_mw = 122,
                                .base_mw = 818,
                                .promotion_s = .582,
                                .promotion_mw = 659,
                                .tail_s = 8.088,
                                .tail_mw = 601};
    static constexpr Radio lte{.up_mw = 438,
                               .down_mw = 52,
                               .base_mw = 1288,
                               .promotion_s = .26,
                               .promotion_mw = 1210,
                               .tail_s = 11.576,
                               .tail_mw = 1060};
    if (energy == "wifi") {
        return &wifi;
    }
    if (energy == "3g") {
        return &umts;
    }
    return energy == "lte" || energy == "5g" ? &lte : nullptr;
}

double radio_joules(const Radio &radio, const std::vector<RadioSpan> &spans) {
    double sum = 0;
    double awake_until = -1; // without further packets
    double last_s = 0;
    for (const auto &span : spans) {
        if (span.tx_bytes < least_bytes && span.rx_bytes < least_bytes) {
            continue;
        }
        if (awake_until < span.from_s) {
            sum += awake_until < 0 ? 0 : joules(radio.tail_mw, radio.tail_s);
            sum += joules(radio.promotion_mw, radio.promotion_s);
        } else {
            sum += joules(radio.tail_mw, span.from_s - last_s);
        }
        const auto megabits = [](std::uint64_t bytes) { return static_cast<double>(bytes) * 8 / 1e6; };
        sum += joules(radio.base_mw, span.to_s - span.from_s) + joules(radio.up_mw, megabits(span.tx_bytes)) +
               joules(radio.down_mw, megabits(span.rx_bytes));
        last_s = span.to_s;
        awake_until = span.to_s + radio.tail_s;
    }
    return sum + (awake_until < 0 ? 0 : joules(radio.tail_mw, radio.tail_s));
}

} // namespace mps::lab
