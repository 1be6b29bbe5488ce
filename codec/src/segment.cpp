// SPDX-License-Identifier: MIT

#include "codec/segment.hpp"

#include <algorithm>
#include <optional>

#include <netinet/in.h>

namespace mps::codec {

namespace {

constexpr unsigned ethertype_ipv4 = 0x0800, ethertype_ipv6 = 0x86dd, ethertype_vlan = 0x8100,
                   ethertype_qinq = 0x88a8;
constexpr std::size_t ethernet_length = 14, sll_length = 16, sll2_length = 20, null_length = 4;
constexpr std::size_t ipv4_length = 20, ipv6_length = 40, tcp_length = 20;
constexpr unsigned max_extensions = 16; // headers of IPv6 in front of TCP

// What is looked at next: its first octet, and how far it goes on the wire.
class Walk {
  public:
    Walk(ByteView captured, std::size_t wire_length, LinkType link)
        : data_(captured), end_(std::max(wire_length, captured.size())), link_(link) {}

    Dissected run() {
        out_.content = is_known(link_) ? link() : Content::unknown_link;
        return std::move(out_);
    }

  private:
    [[nodiscard]] bool has(std::size_t octets) const { return at_ + octets <= data_.size(); }
    // The packet ends before what it must have; or the capture does.
    [[nodiscard]] Content short_of(std::size_t octets) const {
        return at_ + octets > end_ ? Content::malformed : Content::cut;
    }
    [[nodiscard]] unsigned u8(std::size_t at) const { return data_[at_ + at]; }
    [[nodiscard]] unsigned u16(std::size_t at) const {
        return static_cast<unsigned>(number_of(data_.subspan(at_ + at, 2)));
    }
    [[nodiscard]] std::uint32_t u32(std::size_t at) const {
        return static_cast<std::uint32_t>(number_of(data_.subspan(at_ + at, 4)));
    }

    Content link() {
        switch (link_) {
        case LinkType::ethernet:
            return link_header(ethernet_length, 12);
        case LinkType::linux_sll:
            return link_header(sll_length, 14);
        case LinkType::linux_sll2:
            return link_header(sll2_length, 0);
        case LinkType::null:
        case LinkType::loop:
            // The family's number is another one on each system, so the version of IP tells.
            if (!has(null_length))
                return short_of(null_length);
            at_ += null_length;
            return network();
        default:
            return network();
        }
    }

    Content link_header(std::size_t length, std::size_t type_at) {
        if (!has(length))
            return short_of(length);
        unsigned type = u16(type_at);
        at_ += length;
        while (type == ethertype_vlan || type == ethertype_qinq) {
            if (!has(4))
                return short_of(4);
            out_.segment.vlans.push_back(static_cast<std::uint16_t>(u16(0) & 0xfff));
            type = u16(2);
            at_ += 4;
        }
        return type == ethertype_ipv4 || type == ethertype_ipv6 ? network() : Content::other;
    }

    Content network() {
        if (!has(1))
            return short_of(1);
        const unsigned version = u8(0) >> 4;
        return version == 4 ? ipv4() : version == 6 ? ipv6() : Content::other;
    }

    void addresses(bool is_ipv6, std::size_t from) {
        const std::size_t size = is_ipv6 ? 16 : 4;
        Segment &segment = out_.segment;
        segment.source.ipv6 = segment.destination.ipv6 = is_ipv6;
        std::ranges::copy(data_.subspan(at_ + from, size), segment.source.address.begin());
        std::ranges::copy(data_.subspan(at_ + from + size, size), segment.destination.address.begin());
    }

    // The packet of IP ends here, which link-layer padding may follow.
    [[nodiscard]] bool ends_at(std::size_t length) {
        if (at_ + length > end_)
            return false;
        end_ = at_ + length;
        return true;
    }

    Content ipv4() {
        if (!has(ipv4_length))
            return short_of(ipv4_length);
        const std::size_t header = (u8(0) & 15U) * 4U, total = u16(2);
        if (u8(9) != IPPROTO_TCP)
            return Content::other;
        // 0: of a packet beyond 64 KiB that the card is going to divide, in a capture of what leaves.
        if (header < ipv4_length || (total != 0 && (total < header || !ends_at(total))))
            return Content::malformed;
        addresses(false, 12);
        const unsigned fragment = u16(6);
        if ((fragment & 0x1fff) != 0)
            return Content::fragment;
        out_.segment.first_fragment = (fragment & 0x2000) != 0;
        at_ += header;
        return tcp();
    }

    Content ipv6() {
        if (!has(ipv6_length))
            return short_of(ipv6_length);
        const std::size_t payload = u16(4);
        unsigned next = u8(6);
        // 0: a jumbogram.
        if (payload != 0 && !ends_at(ipv6_length + payload))
            return Content::malformed;
        addresses(true, 8);
        at_ += ipv6_length;
        for (unsigned i = 0; i < max_extensions; i++) {
            if (next == IPPROTO_TCP)
                return tcp();
            const auto stop = extension(next);
            if (stop)
                return *stop;
        }
        return Content::malformed;
    }

    // Steps over one, or tells why not.
    std::optional<Content> extension(unsigned &next) {
        const bool fragment = next == IPPROTO_FRAGMENT, authentication = next == IPPROTO_AH;
        if (!fragment && !authentication && next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
            next != IPPROTO_DSTOPTS)
            return Content::other;
        if (!has(8))
            return short_of(8);
        if (fragment) {
            if ((u16(2) & 0xfff8) != 0)
                return u8(0) == IPPROTO_TCP ? Content::fragment : Content::other;
            out_.segment.first_fragment = (u16(2) & 1) != 0;
        }
        const std::size_t length = fragment ? 8 : authentication ? (u8(1) + 2U) * 4U : (u8(1) + 1U) * 8U;
        next = u8(0);
        if (at_ + length > end_)
            return Content::malformed;
        at_ += length;
        return std::nullopt;
    }

    Content tcp() {
        if (!has(tcp_length))
            return short_of(tcp_length);
        Segment &segment = out_.segment;
        const std::size_t header = (u8(12) >> 4) * 4U;
        // Of a fragment the rest of the header may be in the next one.
        if (header < tcp_length || (at_ + header > end_ && !segment.first_fragment))
            return Content::malformed;
        segment.source.port = static_cast<std::uint16_t>(u16(0));
        segment.destination.port = static_cast<std::uint16_t>(u16(2));
        segment.seq = u32(4);
        segment.ack = u32(8);
        segment.flags = static_cast<std::uint8_t>(u8(13));
        segment.window = static_cast<std::uint16_t>(u16(14));
        segment.options_length = header - tcp_length;
        segment.options =
            part_of(data_.first(std::min(data_.size(), end_)), at_ + tcp_length, segment.options_length);
        segment.payload = at_ + header < end_ ? end_ - at_ - header : 0;
        return Content::tcp;
    }

    ByteView data_;
    std::size_t end_; // of the packet, from the start of `data_`
    LinkType link_;
    std::size_t at_ = 0;
    Dissected out_;
};

} // namespace

bool is_known(LinkType link) {
    switch (link) {
    case LinkType::null:
    case LinkType::ethernet:
    case LinkType::raw:
    case LinkType::raw_bsd:
    case LinkType::raw_openbsd:
    case LinkType::loop:
    case LinkType::linux_sll:
    case LinkType::ipv4:
    case LinkType::ipv6:
    case LinkType::linux_sll2:
        return true;
    }
    return false;
}

Dissected dissect(ByteView captured, std::size_t wire_length, LinkType link) {
    return Walk(captured, wire_length, link).run();
}

} // namespace mps::codec
