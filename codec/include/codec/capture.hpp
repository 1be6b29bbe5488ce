// SPDX-License-Identifier: MIT
//
// Reads pcap and pcapng files packet by packet. Our own, since libpcap refuses a pcapng file whose interfaces are of different link
// types, as one of Wi-Fi and of a modem is, and that is just what Multipath TCP is captured on.
#pragma once

#include <cstddef>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "codec/octets.hpp"
#include "codec/segment.hpp"

namespace mps::codec {

// Fills as much of the span as there is, and says how much; 0 at the end, -errno if it cannot.
using ReadSome = std::function<std::ptrdiff_t(std::span<std::uint8_t>)>;

struct CapturedPacket {
    std::uint64_t number = 0; // from 1 on, as Wireshark counts
    std::uint64_t time_ns = 0;
    LinkType link = LinkType::ethernet;
    std::string interface{}; // its name, where the file has it
    std::size_t wire_length = 0;
    std::vector<std::uint8_t> data{};
};

struct CaptureError {
    std::string what; // what is wrong with the file, as the end of a sentence that begins with its name
    std::string hint{};
};

class CaptureReader {
  public:
    // Reads the first octets; an error if this is no capture.
    [[nodiscard]] static std::expected<CaptureReader, CaptureError> open(ReadSome read);

    // The next packet; nothing at the end, or where the file cannot be read on.
    [[nodiscard]] std::optional<CapturedPacket> next();
    // Why there was nothing: empty if the file simply ended.
    [[nodiscard]] const std::string &trouble() const { return trouble_; }

  private:
    struct Interface {
        LinkType link = LinkType::ethernet;
        std::uint32_t snap_length = 0;
        std::uint64_t ticks_per_s = 1000000;
        std::int64_t offset_s = 0;
        std::string name{};
    };
    struct Block {
        std::uint32_t type;
        std::vector<std::uint8_t> body; // without type and lengths
    };

    explicit CaptureReader(ReadSome read) : read_(std::move(read)) {}

    [[nodiscard]] std::expected<void, CaptureError> begin();
    [[nodiscard]] bool fill(std::vector<std::uint8_t> &to, std::size_t size);
    void stop(std::string why) { trouble_ = std::move(why); }
    [[nodiscard]] std::uint16_t u16(ByteView at) const;
    [[nodiscard]] std::uint32_t u32(ByteView at) const;

    [[nodiscard]] std::optional<CapturedPacket> next_pcap();
    [[nodiscard]] std::optional<CapturedPacket> next_pcapng();
    [[nodiscard]] std::optional<Block> next_block();
    [[nodiscard]] bool begin_section(std::vector<std::uint8_t> head);
    void add_interface(ByteView body);
    void read_interface_option(Interface &one, unsigned code, ByteView value) const;
    [[nodiscard]] std::optional<CapturedPacket> packet_of(const Block &block);
    [[nodiscard]] CapturedPacket packet(std::size_t interface, std::uint64_t ticks, ByteView data,
                                        std::size_t wire_length);

    ReadSome read_;
    bool is_pcapng_ = false;
    bool swapped_ = false; // the file's byte order is not the one with the least octet first
    std::size_t record_header_ = 16;
    std::vector<Interface> interfaces_;
    std::uint64_t packets_ = 0;
    std::string trouble_;
};

} // namespace mps::codec
