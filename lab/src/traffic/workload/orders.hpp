// SPDX-License-Identifier: MIT
// How the two ends of a workload's connection talk. Private to lab/src.
//
// A client sends orders, each with what belongs to it. Both ends are one process: byte order and clock are the same.
#pragma once

#include <chrono>
#include <cstdint>

namespace mps::lab::traffic {

inline constexpr std::uint16_t workload_port = 7001;
inline constexpr std::uint32_t order_magic = 0x6d707357; // "mpsW"
inline constexpr std::uint64_t without_end = ~std::uint64_t{0};

enum class OrderMode : std::uint32_t {
    exchange = 1,    // the server takes up_bytes, then sends down_bytes
    messages_up = 2, // the client sends messages until it closes its direction
    messages_down = 3,
};

// What the client wants next of a connection.
struct Order {
    std::uint32_t magic = order_magic;
    OrderMode mode = OrderMode::exchange;
    std::uint64_t up_bytes = 0;   // of contents behind this; without_end: until the client closes
    std::uint64_t down_bytes = 0; // exchange: of the answer. messages_down: of each message
    std::int64_t sent_ns = 0;
    std::int64_t interval_ns = 0; // messages_down
    std::uint64_t count = 0;      // messages_down
    std::uint64_t counts = 1;     // 0: a greeting, no part of the workload
};

struct Message {
    std::int64_t due_ns = 0;
    std::uint64_t bytes = 0; // of contents behind this
};

inline std::int64_t now_ns() {
    using std::chrono::nanoseconds;
    return std::chrono::duration_cast<nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

} // namespace mps::lab::traffic
