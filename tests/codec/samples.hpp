// SPDX-License-Identifier: MIT
//
// Packets with every form of every MPTCP option, and capture files in memory.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "codec/capture.hpp"
#include "codec/options.hpp"
#include "packet.hpp"

namespace mps::test {

using packet::Bytes;
using Random = std::mt19937_64;

// An option of this form with random fields, flags and reserved bits.
Bytes random_option(const codec::FormInfo &form, Random &random);
// An Ethernet frame with that option (and perhaps NOPs and a timestamp before it); some have damaged options or are damaged anywhere.
Bytes random_packet(Random &random);

struct Record {
    Bytes data;
    std::uint32_t wire_length = 0; // 0: of `data`
    std::uint32_t time_us = 0;
    std::uint32_t interface = 0; // pcapng
};

enum class Order { little, big };

// What tcpdump writes.
Bytes pcap_file(std::uint32_t link, const std::vector<Record> &records, Order order = Order::little,
                bool nanoseconds = false);
// What Wireshark writes: a section, an interface for each link type, enhanced packet blocks.
Bytes pcapng_file(const std::vector<std::uint32_t> &links, const std::vector<Record> &records,
                  Order order = Order::little);

// Reads what lies in memory; `at_most` octets at a time. The octets must outlive it.
codec::ReadSome reader_of(const Bytes &file, std::size_t at_most = SIZE_MAX);

} // namespace mps::test
