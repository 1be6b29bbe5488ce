// SPDX-License-Identifier: MIT
#include "samples.hpp"

#include <algorithm>
#include <memory>

namespace mps::test {

namespace {

std::uint8_t octet(Random &random) { return static_cast<std::uint8_t>(random()); }

class FileWriter {
  public:
    explicit FileWriter(Order order) : order_(order) {}

    FileWriter &u32(std::uint32_t value) { return number(value, 4); }
    FileWriter &u16(std::uint32_t value) { return number(value, 2); }
    FileWriter &bytes(const Bytes &data) {
        out_.insert(out_.end(), data.begin(), data.end());
        return *this;
    }
    FileWriter &pad() {
        while (out_.size() % 4 != 0)
            out_.push_back(0);
        return *this;
    }
    // A block of pcapng around `body`.
    FileWriter &block(std::uint32_t type, FileWriter body) {
        const auto length = static_cast<std::uint32_t>(body.pad().out_.size() + 12);
        return u32(type).u32(length).bytes(body.out_).u32(length);
    }
    Bytes take() { return std::move(out_); }

  private:
    FileWriter &number(std::uint32_t value, unsigned octets) {
        for (unsigned i = 0; i < octets; i++)
            out_.push_back(
                static_cast<std::uint8_t>(value >> 8 * (order_ == Order::little ? i : octets - 1 - i)));
        return *this;
    }

    Order order_;
    Bytes out_;
};

std::uint32_t wire_length(const Record &record) {
    return record.wire_length ? record.wire_length : static_cast<std::uint32_t>(record.data.size());
}

} // namespace

Bytes random_option(const codec::FormInfo &form, Random &random) {
    const std::size_t more = form.repeats ? random() % 7 : 0;
    Bytes option(form.length + more);

    std::ranges::generate(option, [&] { return octet(random); });
    option[0] = TCPOPT_MPTCP;
    option[1] = static_cast<std::uint8_t>(option.size());
    const unsigned first = form.subtype << 4 | ((option[2] & ~form.mask >> 8 & 15U) | form.value >> 8);
    option[2] = static_cast<std::uint8_t>(first);
    if (option.size() > 3 && (form.mask & 0xff) != 0)
        option[3] = static_cast<std::uint8_t>((option[3] & ~form.mask) | (form.value & 0xff));
    // tshark stops at keys of an algorithm that it does not know.
    if (form.subtype == MPTCP_SUB_MP_CAPABLE)
        option[3] = static_cast<std::uint8_t>((option[3] & 0xe0) | MPTCP_MP_CAPABLE_H);
    return option;
}

Bytes random_packet(Random &random) {
    using namespace packet;
    const codec::FormInfo &form = codec::forms()[random() % codec::forms().size()];
    Bytes option = random_option(form, random);
    const unsigned damage = random() % 16;

    if (damage == 0)
        option[1 + random() % (option.size() - 1)] = octet(random);
    else if (damage == 1)
        option[2] = static_cast<std::uint8_t>(random());
    // Connections of their own: tshark follows what they say.
    TCP tcp{.sport = static_cast<std::uint16_t>(random()),
            .dport = static_cast<std::uint16_t>(random()),
            .flags = static_cast<TcpFlag>(random() % 2 ? ACK : static_cast<TcpFlag>(random() & 0x3f))};
    Packet head = random() % 2 ? Packet(IPv4()) : Packet(IPv6());
    if (random() % 4 == 0)
        head = Packet(Vlan{.id = static_cast<std::uint16_t>(random() % 4095)}) / head;
    Packet packet = Packet(Ethernet()) / head / tcp;
    for (std::size_t room = 40 - option.size(), n = random() % 3; n > 0 && room > 0; n--, room--)
        packet = packet / nop();
    if (option.size() <= 28 && random() % 2)
        packet = packet / timestamp();
    packet = packet / TcpOption{"random", option} / Payload(random() % 40);
    Bytes data = packet.build();
    if (damage == 2)
        data[random() % data.size()] = octet(random);
    return data;
}

Bytes pcap_file(std::uint32_t link, const std::vector<Record> &records, Order order, bool nanoseconds) {
    FileWriter file(order);

    file.u32(nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4).u16(2).u16(4).u32(0).u32(0).u32(262144).u32(link);
    for (const Record &record : records)
        file.u32(record.time_us / 1000000)
            .u32(record.time_us % 1000000 * (nanoseconds ? 1000 : 1))
            .u32(static_cast<std::uint32_t>(record.data.size()))
            .u32(wire_length(record))
            .bytes(record.data);
    return file.take();
}

Bytes pcapng_file(const std::vector<std::uint32_t> &links, const std::vector<Record> &records, Order order) {
    FileWriter file(order);

    file.block(0x0a0d0d0a, FileWriter(order).u32(0x1a2b3c4d).u16(1).u16(0).u32(0xffffffff).u32(0xffffffff));
    for (std::size_t i = 0; i < links.size(); i++)
        // With a name (option 2) "if0" and so on.
        file.block(1, FileWriter(order)
                          .u16(links[i])
                          .u16(0)
                          .u32(0)
                          .u16(2)
                          .u16(3)
                          .bytes({'i', 'f', static_cast<std::uint8_t>('0' + i), 0})
                          .u32(0));
    for (const Record &record : records)
        file.block(6, FileWriter(order)
                          .u32(record.interface)
                          .u32(0)
                          .u32(record.time_us)
                          .u32(static_cast<std::uint32_t>(record.data.size()))
                          .u32(wire_length(record))
                          .bytes(record.data));
    return file.take();
}

codec::ReadSome reader_of(const Bytes &file, std::size_t at_most) {
    return [&file, at_most, at = std::size_t{0}](std::span<std::uint8_t> to) mutable -> std::ptrdiff_t {
        const std::size_t size = std::min({to.size(), at_most, file.size() - at});
        std::copy_n(file.begin() + static_cast<std::ptrdiff_t>(at), size, to.begin());
        at += size;
        return static_cast<std::ptrdiff_t>(size);
    };
}

} // namespace mps::test
