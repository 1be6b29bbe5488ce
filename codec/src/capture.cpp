// SPDX-License-Identifier: MIT

#include "codec/capture.hpp"

#include "base/try.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace mps::codec {

namespace {

// Beyond every packet and every block that tools write; what claims more is damaged.
constexpr std::size_t max_block = std::size_t{16} << 20;
constexpr std::size_t piece = std::size_t{64} << 10;

constexpr std::uint32_t pcap_us = 0xa1b2c3d4, pcap_ns = 0xa1b23c4d, pcap_modified = 0xa1b2cd34;
constexpr std::uint32_t section_header = 0x0a0d0d0a, byte_order = 0x1a2b3c4d;
constexpr std::uint32_t interface_description = 1, old_packet = 2, simple_packet = 3, enhanced_packet = 6;
constexpr unsigned option_name = 2, option_resolution = 9, option_offset = 14;

std::uint32_t little(ByteView at) {
    return static_cast<std::uint32_t>(at[0]) | static_cast<std::uint32_t>(at[1]) << 8 |
           static_cast<std::uint32_t>(at[2]) << 16 | static_cast<std::uint32_t>(at[3]) << 24;
}

constexpr std::uint64_t ns_per_s = 1000000000;

std::uint64_t to_ns(std::uint64_t ticks, std::uint64_t per_s, std::int64_t offset_s) {
    const std::uint64_t rest = ticks % per_s;
    // Of clocks finer than a nanosecond the product would not fit.
    const std::uint64_t rest_ns = per_s <= 10 * ns_per_s
                                      ? rest * ns_per_s / per_s
                                      : static_cast<std::uint64_t>(static_cast<long double>(rest) * ns_per_s /
                                                                   static_cast<long double>(per_s));
    return (ticks / per_s + static_cast<std::uint64_t>(offset_s)) * ns_per_s + rest_ns;
}

// Files that users have at hand in place of a capture.
std::optional<std::string_view> packer_of(ByteView head) {
    static constexpr std::pair<std::array<std::uint8_t, 3>, std::string_view> known[] = {
        {{0x1f, 0x8b, 0x08}, "gunzip"},
        {{0x28, 0xb5, 0x2f}, "zstd -d"},
        {{0xfd, 0x37, 0x7a}, "xz -d"},
        {{0x04, 0x22, 0x4d}, "lz4 -d"}};
    for (const auto &[magic, command] : known)
        if (std::ranges::equal(magic, head.first(magic.size())))
            return command;
    return std::nullopt;
}

} // namespace

std::uint16_t CaptureReader::u16(ByteView at) const {
    const auto value = static_cast<std::uint16_t>(at[0] | at[1] << 8);
    return swapped_ ? static_cast<std::uint16_t>(value >> 8 | value << 8) : value;
}

std::uint32_t CaptureReader::u32(ByteView at) const {
    const std::uint32_t value = little(at);
    return swapped_ ? __builtin_bswap32(value) : value;
}

// In pieces: what a damaged file claims is not taken from memory before it is there.
bool CaptureReader::fill(std::vector<std::uint8_t> &to, std::size_t size) {
    to.clear();
    while (to.size() < size) {
        const std::size_t had = to.size(), want = std::min(size - had, piece);
        to.resize(had + want);
        const std::ptrdiff_t got = read_(std::span(to).subspan(had));
        to.resize(had + static_cast<std::size_t>(std::max<std::ptrdiff_t>(got, 0)));
        if (got < 0)
            stop(fmt::format("cannot be read: {}", std::strerror(static_cast<int>(-got))));
        if (got <= 0)
            return false;
    }
    return true;
}

std::expected<CaptureReader, CaptureError> CaptureReader::open(ReadSome read) {
    CaptureReader reader(std::move(read));
    MPS_TRY(reader.begin());
    return reader;
}

std::expected<void, CaptureError> CaptureReader::begin() {
    std::vector<std::uint8_t> head;
    const auto other = [&](std::string what, std::string hint) {
        return std::unexpected(CaptureError{std::move(what), std::move(hint)});
    };

    if (!fill(head, 4)) {
        if (!trouble_.empty())
            return other(trouble_, "name a capture file, or '-' for standard input");
        return other(head.empty() ? "is empty" : "is too short for a capture",
                     "a capture is what 'tcpdump -w' or Wireshark writes");
    }
    if (little(head) == section_header) {
        is_pcapng_ = true;
        if (!begin_section({}))
            return other(trouble_, "write the capture anew, or repair it with 'editcap'");
        return {};
    }
    const std::uint32_t swapped = __builtin_bswap32(little(head));
    const auto is_pcap = [](std::uint32_t magic) {
        return magic == pcap_us || magic == pcap_ns || magic == pcap_modified;
    };
    if (!is_pcap(little(head)) && !is_pcap(swapped)) {
        if (const auto packer = packer_of(head))
            return other("is compressed", fmt::format("{} <FILE | mpsched decode -", *packer));
        return other("is neither pcap nor pcapng", "a capture is what 'tcpdump -w' or Wireshark writes");
    }
    swapped_ = is_pcap(swapped);
    const std::uint32_t magic = swapped_ ? swapped : little(head);
    if (!fill(head, 20))
        return other("ends within its header", "a capture is what 'tcpdump -w' or Wireshark writes");
    if (magic == pcap_modified)
        record_header_ = 24;
    // The upper bits tell of checksums behind the frame.
    interfaces_.push_back({.link = static_cast<LinkType>(u32(std::span(head).subspan(16)) & 0xffff),
                           .snap_length = u32(std::span(head).subspan(12)),
                           .ticks_per_s = magic == pcap_ns ? 1000000000U : 1000000U});
    return {};
}

std::optional<CapturedPacket> CaptureReader::next() {
    if (!trouble_.empty())
        return std::nullopt;
    return is_pcapng_ ? next_pcapng() : next_pcap();
}

CapturedPacket CaptureReader::packet(std::size_t interface, std::uint64_t ticks, ByteView data,
                                     std::size_t wire_length) {
    const Interface &on = interfaces_[interface];
    return {.number = ++packets_,
            .time_ns = to_ns(ticks, on.ticks_per_s, on.offset_s),
            .link = on.link,
            .interface = on.name,
            .wire_length = wire_length,
            .data = {data.begin(), data.end()}};
}

std::optional<CapturedPacket> CaptureReader::next_pcap() {
    std::vector<std::uint8_t> head, data;
    if (!fill(head, record_header_)) {
        if (!head.empty() && trouble_.empty())
            stop(fmt::format("ends in the header of packet {}", packets_ + 1));
        return std::nullopt;
    }
    const ByteView at(head);
    const std::uint32_t captured = u32(at.subspan(8));
    if (captured > max_block) {
        stop(fmt::format("is damaged: packet {} claims {} octets", packets_ + 1, captured));
        return std::nullopt;
    }
    if (!fill(data, captured)) {
        if (trouble_.empty())
            stop(fmt::format("ends within packet {}", packets_ + 1));
        return std::nullopt;
    }
    const std::uint64_t per_s = interfaces_[0].ticks_per_s;
    return packet(0, u32(at) * per_s + u32(at.subspan(4)), data, u32(at.subspan(12)));
}

// ----------------------------------------------------------------------------------------------------------- pcapng

// Behind the type of a section's first block; `head` are its length and byte order, if they were read already.
bool CaptureReader::begin_section(std::vector<std::uint8_t> head) {
    std::vector<std::uint8_t> rest;
    const auto damaged = [&] {
        if (trouble_.empty())
            stop("is damaged: a section's header cannot be read");
        return false;
    };
    if (head.empty() && !fill(head, 8))
        return damaged();
    const ByteView at(head);
    swapped_ = little(at.subspan(4)) != byte_order;
    if (u32(at.subspan(4)) != byte_order)
        return damaged();
    const std::uint32_t length = u32(at);
    if (length < 28 || length % 4 != 0 || length > max_block || !fill(rest, length - 12))
        return damaged();
    interfaces_.clear();
    return true;
}

std::optional<CaptureReader::Block> CaptureReader::next_block() {
    std::vector<std::uint8_t> head;
    const auto cut = [&]() -> std::optional<Block> {
        if (trouble_.empty())
            stop(fmt::format("ends within a block behind packet {}", packets_));
        return std::nullopt;
    };
    if (!fill(head, 8))
        return head.empty() && trouble_.empty() ? std::nullopt : cut();
    const ByteView at(head);
    Block block{.type = u32(at), .body = {}};
    // The same in either byte order, and only behind it stands which one.
    if (block.type == section_header) {
        std::vector<std::uint8_t> order;
        if (!fill(order, 4))
            return cut();
        std::vector<std::uint8_t> both(head.begin() + 4, head.end());
        both.insert(both.end(), order.begin(), order.end());
        return begin_section(std::move(both)) ? std::optional(std::move(block)) : std::nullopt;
    }
    const std::uint32_t length = u32(at.subspan(4));
    if (length < 12 || length % 4 != 0 || length > max_block) {
        stop(fmt::format("is damaged: a block behind packet {} claims {} octets", packets_, length));
        return std::nullopt;
    }
    if (!fill(block.body, length - 8))
        return cut();
    if (u32(ByteView(block.body).last(4)) != length) {
        stop(fmt::format("is damaged: the two lengths of a block behind packet {} differ", packets_));
        return std::nullopt;
    }
    block.body.resize(length - 12);
    return block;
}

void CaptureReader::read_interface_option(Interface &one, unsigned code, ByteView value) const {
    if (code == option_name) {
        one.name.assign(value.begin(), std::ranges::find(value, 0));
    } else if (code == option_resolution && !value.empty()) {
        const unsigned power = value[0] & 0x7f;
        std::uint64_t per_s = 1;
        // Finer than a 64-bit counter of a second can be: nonsense, and microseconds are the default.
        if ((value[0] & 0x80) != 0 ? power > 63 : power > 19)
            return;
        for (unsigned i = 0; i < power; i++)
            per_s *= (value[0] & 0x80) != 0 ? 2 : 10;
        one.ticks_per_s = per_s;
    } else if (code == option_offset && value.size() >= 8) {
        const std::uint64_t low = u32(value.subspan(swapped_ ? 4 : 0)),
                            high = u32(value.subspan(swapped_ ? 0 : 4));
        one.offset_s = static_cast<std::int64_t>(high << 32 | low);
    }
}

void CaptureReader::add_interface(ByteView body) {
    Interface one;
    if (body.size() >= 8) {
        one.link = static_cast<LinkType>(u16(body));
        one.snap_length = u32(body.subspan(4));
        for (ByteView rest = body.subspan(8); rest.size() >= 4;) {
            const unsigned code = u16(rest), size = u16(rest.subspan(2));
            const std::size_t padded = (size + 3U) & ~3U;
            if (code == 0 || 4 + padded > rest.size())
                break;
            read_interface_option(one, code, rest.subspan(4, size));
            rest = rest.subspan(4 + padded);
        }
    } else {
        one.link = static_cast<LinkType>(0xffffffff);
    }
    interfaces_.push_back(std::move(one));
}

std::optional<CapturedPacket> CaptureReader::packet_of(const Block &block) {
    const ByteView body(block.body);
    const bool simple = block.type == simple_packet;
    const std::size_t header = simple ? 4 : 20;
    const auto damaged = [&]() -> std::optional<CapturedPacket> {
        stop(fmt::format("is damaged: packet {} contradicts itself", packets_ + 1));
        return std::nullopt;
    };
    if (body.size() < header)
        return damaged();
    const std::size_t interface = simple ? 0 : block.type == old_packet ? u16(body) : u32(body);
    if (interface >= interfaces_.size())
        return damaged();
    if (simple) {
        const std::size_t wire = u32(body), snap = interfaces_[0].snap_length;
        const std::size_t captured = std::min({wire, body.size() - header, snap != 0 ? snap : wire});
        return packet(0, 0, body.subspan(header, captured), wire);
    }
    const std::size_t captured = u32(body.subspan(12));
    if (captured > body.size() - header)
        return damaged();
    const std::uint64_t ticks = static_cast<std::uint64_t>(u32(body.subspan(4))) << 32 | u32(body.subspan(8));
    return packet(interface, ticks, body.subspan(header, captured), u32(body.subspan(16)));
}

std::optional<CapturedPacket> CaptureReader::next_pcapng() {
    while (const auto block = next_block()) {
        if (block->type == interface_description)
            add_interface(block->body);
        else if (block->type == enhanced_packet || block->type == simple_packet || block->type == old_packet)
            return packet_of(*block);
    }
    return std::nullopt;
}

} // namespace mps::codec
