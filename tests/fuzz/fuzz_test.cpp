// SPDX-License-Identifier: MIT
//
// The properties that './run fuzz' looks for exceptions of, on inputs of a fixed seed.
#include "catch.hpp"
#include "properties.hpp"
#include "samples.hpp"

using mps::packet::Bytes;

namespace {

void damage(Bytes &data, mps::test::Random &random) {
    for (std::size_t n = random() % 4; n > 0 && !data.empty(); n--)
        data[random() % data.size()] = static_cast<std::uint8_t>(random());
    if (random() % 8 == 0)
        data.resize(random() % (data.size() + 1));
}

} // namespace

// A property that does not hold ends the binary, and says which.
TEST_CASE("parser, edit plan and decoder hold what they promise on a hundred thousand damaged packets") {
    mps::test::Random random(2026);
    int edited = 0;

    for (int i = 0; i < 100000; i++) {
        Bytes packet = mps::test::random_packet(random);
        damage(packet, random);
        packet.insert(packet.begin(), static_cast<std::uint8_t>(random() & 6));
        edited += mps::fuzz::check_packet(packet.data(), packet.size());
    }
    // Or it would prove little.
    CHECK(edited > 10000);
}
