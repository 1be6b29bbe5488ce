// SPDX-License-Identifier: MIT
#include "properties.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    mps::fuzz::check_packet(data, size);
    return 0;
}
