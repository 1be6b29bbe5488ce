// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>

namespace mps {

// bit/s of the token bucket (tbf) that is the root qdisc of an interface; nullopt: it has none.
[[nodiscard]] std::optional<std::uint64_t> token_bucket_rate(std::uint32_t ifindex);

} // namespace mps
