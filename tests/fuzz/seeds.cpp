// SPDX-License-Identifier: MIT
//
// What the fuzzer of packets begins with: some with every form of every option. usage: seeds FOLDER
#include <fstream>
#include <string>

#include "samples.hpp"

int main(int argc, char **argv) {
    mps::test::Random random(1);

    for (int i = 0; argc > 1 && i < 300; i++) {
        mps::packet::Bytes packet = mps::test::random_packet(random);
        packet.insert(packet.begin(), static_cast<std::uint8_t>(random() & 6));
        std::ofstream(std::string(argv[1]) + "/seed-" + std::to_string(i), std::ios::binary)
            .write(reinterpret_cast<const char *>(packet.data()),
                   static_cast<std::streamsize>(packet.size()));
    }
    return 0;
}
