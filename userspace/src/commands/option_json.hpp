// SPDX-License-Identifier: MIT
//
// What `decode` and `trace` tell of packets to programs; docs/mpsched.schema.json describes it.
#pragma once

#include "codec/options.hpp"
#include "codec/segment.hpp"
#include "json/documents.hpp"

namespace mps::cli {

// Numbers of 8 octets are decimal text: most readers of JSON cannot hold them.
[[nodiscard]] Json option_json(const codec::MptcpOption &option);
[[nodiscard]] Json segment_json(const codec::Segment &segment);

} // namespace mps::cli
