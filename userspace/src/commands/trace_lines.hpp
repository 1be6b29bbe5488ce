// SPDX-License-Identifier: MIT
//
// A packet or a verdict of `trace` as a line.
#pragma once

#include <span>
#include <string>

#include "codec/options.hpp"
#include "codec/segment.hpp"
#include "mpsched/trace.hpp"
#include "output/table.hpp"
#include "json/documents.hpp"

namespace mps::cli {

[[nodiscard]] std::string trace_text(const TracePacket &packet, const codec::Segment &segment,
                                     std::span<const codec::MptcpOption> options, const output::Style &style);
[[nodiscard]] Json trace_json(const TracePacket &packet, const codec::Segment &segment,
                              std::span<const codec::MptcpOption> options);
[[nodiscard]] std::string trace_text(const TraceVerdict &verdict, const output::Style &style);
[[nodiscard]] Json trace_json(const TraceVerdict &verdict);

} // namespace mps::cli
