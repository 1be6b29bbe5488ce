// SPDX-License-Identifier: MIT
// What radios draw for the packets that pass, by the model of Huang et al., MobiSys'12 (tables 3 and 4). Private to lab/src.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace mps::lab {

/// mW for each Mbit/s, mW while it sends or receives, and what waking up and staying awake cost.
struct Radio {
    double up_mw = 0;
    double down_mw = 0;
    double base_mw = 0;
    double promotion_s = 0;
    double promotion_mw = 0;
    double tail_s = 0; ///< awake after the last packet
    double tail_mw = 0;
};

/// By the `energy` attribute of a path: "wifi", "3g", "lte", "5g" (whose numbers are those of LTE); nullptr for anything else.
const Radio *radio_of(std::string_view energy);

/// A stretch of time, and what passed in it.
struct RadioSpan {
    double from_s = 0;
    double to_s = 0;
    std::uint64_t tx_bytes = 0;
    std::uint64_t rx_bytes = 0;
};

/// Asleep at first; with the tail after the last packet. `spans` by time.
double radio_joules(const Radio &radio, const std::vector<RadioSpan> &spans);

} // namespace mps::lab
