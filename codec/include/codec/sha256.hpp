// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace mps {

// SHA-256 (FIPS 180-4) in hexadecimal, as sha256sum(1) prints it. Our own, since libbpf brings none and a library for
// this alone would be one more package on every router.
[[nodiscard]] std::string sha256(std::span<const std::byte> data);

} // namespace mps
