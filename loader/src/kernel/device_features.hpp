// SPDX-License-Identifier: MIT
//
// What a device does in place of the kernel: checksums, segmentation, putting together.
#pragma once

#include <set>
#include <string>

namespace mps {

// What is on, by ethtool's names: "rx-gro-hw", "tx-tcp-segmentation". Empty if it cannot be told. Of the calling thread's network
// namespace.
[[nodiscard]] std::set<std::string> device_features(const std::string &device);

} // namespace mps
