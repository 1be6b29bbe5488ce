// SPDX-License-Identifier: MIT
// The messages of a stream, either end. Private to lab/src.
#pragma once

#include "state.hpp"

namespace mps::lab::traffic {

/// One message of `bytes` every `interval_ns`, `count` of them, and a last one without contents.
Result<void> send_messages(PatternStream &stream, std::uint64_t bytes, std::int64_t first_ns,
                           std::int64_t interval_ns, std::uint64_t count);

/// Until the last one. What each took since it was due goes into `state`.
Result<void> take_messages(State &state, PatternStream &stream, GapMeter &gaps);

} // namespace mps::lab::traffic
