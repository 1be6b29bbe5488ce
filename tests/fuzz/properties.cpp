// SPDX-License-Identifier: MIT

#include "properties.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "codec/capture.hpp"
#include "codec/connections.hpp"
#include "codec/text.hpp"
#include "datapath_host.h"
#include "decode.hpp"

namespace mps::fuzz {

namespace {

void must(bool holds, const char *what) {
    if (holds)
        return;
    std::fprintf(stderr, "does not hold: %s\n", what);
    std::abort();
}

// What the decoder finds of a packet. The last MP_PRIO counts, or an MP_JOIN as of a handshake behind it, where Linux keeps the B bit at the same place.
struct Seen {
    bool tcp = false, mptcp = false, handshake = false, prio = false, backup = false, completes = false;
    std::size_t prio_off = 0;
};

// Linux takes a DSS with a checksum for none that follows, too, which is no form of the RFC.
bool is_dss_with_stray_checksum(const codec::TcpOption &one) {
    packet::Bytes shorter(one.octets.begin(), one.octets.end());
    if (shorter.size() < 6)
        return false;
    shorter.resize(shorter.size() - 2);
    shorter[1] = static_cast<std::uint8_t>(shorter.size());
    const auto list = codec::split_options(shorter, shorter.size());
    const codec::MptcpOption option(list.options.at(0));
    return option.subtype() == MPTCP_SUB_DSS && option.form() != MPTCP_FORM_UNKNOWN &&
           !option.flag(MPTCP_DSS_M);
}

// Whether it completes a join, as Linux judges.
bool completes(const codec::TcpOption &one) {
    const codec::MptcpOption option(one);
    if (option.form() == MPTCP_FORM_UNKNOWN)
        return is_dss_with_stray_checksum(one) && (one.octets[3] & MPTCP_DSS_A) != 0;
    return option.subtype() == MPTCP_SUB_DSS
               ? option.flag(MPTCP_DSS_A)
               : option.subtype() == MPTCP_SUB_ADD_ADDR && option.version() != 0;
}

Seen decode(packet::ByteView data, codec::LinkType link) {
    const auto dissected = codec::dissect(data, data.size(), link);
    Seen seen;
    if (dissected.content != codec::Content::tcp || dissected.segment.first_fragment)
        return seen;
    const auto &segment = dissected.segment;
    const auto list = codec::split_options(segment.options, segment.options_length);
    seen.tcp = true;
    seen.handshake = segment.has(codec::TcpFlag::syn) || segment.has(codec::TcpFlag::rst);
    for (const codec::TcpOption &one : list.options) {
        if (one.kind != TCPOPT_MPTCP)
            continue;
        const codec::MptcpOption option(one);
        (void)codec::option_text(option);
        seen.mptcp |= option.has_subtype();
        // The data path looks at the last of those that may.
        if (option.has_subtype() && (option.subtype() == MPTCP_SUB_ADD_ADDR ||
                                     (option.subtype() == MPTCP_SUB_DSS && one.octets.size() > 3 &&
                                      (one.octets[3] & MPTCP_DSS_A) != 0)))
            seen.completes = completes(one);
        const bool prio = option.form() == MPTCP_FORM_prio;
        seen.prio |= prio;
        if (prio || option.form() == MPTCP_FORM_join_syn || option.form() == MPTCP_FORM_join_synack) {
            seen.backup = option.flag(prio ? MPTCP_MP_PRIO_B : MPTCP_MP_JOIN_B);
            seen.prio_off = static_cast<std::size_t>(one.octets.data() - segment.options.data());
        }
    }
    return seen;
}

// The bit was as it was wanted, and the checksum of all ones became one of zeros: the same number to whoever adds it up.
bool is_other_zero(packet::ByteView before, packet::ByteView after, packet::Link link) {
    const auto layout = packet::find_tcp(before, link);
    if (!layout || before.size() != after.size())
        return false;
    const std::size_t at = layout->tcp + 16;
    packet::Bytes same(after.begin(), after.end());
    same[at] = before[at];
    same[at + 1] = before[at + 1];
    return std::ranges::equal(same, before) && before[at] == before[at + 1] && after[at] == after[at + 1] &&
           (before[at] ^ after[at]) == 0xff && (before[at] == 0 || before[at] == 0xff);
}

bool check_edit(packet::ByteView data, bool l3, bool backup, std::uint32_t mtu) {
    const auto link = l3 ? packet::Link::raw_ip : packet::Link::ethernet;
    const std::uint8_t *edited = nullptr;
    std::size_t size = 0;
    const enum host_edit what = ::host_edit(data.data(), data.size(), l3, backup, mtu, &edited, &size);
    const packet::ByteView after(edited, size);
    if (is_other_zero(data, after, link))
        return false;
    const auto change = packet::classify_change(data, after, link);
    if (change.kind == packet::Change::Kind::forbidden)
        std::fprintf(stderr, "%s\n%s%s", change.why.c_str(), packet::explain(data, link).c_str(),
                     packet::explain(after, link).c_str());
    must(change.kind != packet::Change::Kind::forbidden, "an edit is right, checksums included, or none");
    if (change.kind == packet::Change::Kind::none)
        return false;
    must(what == HOST_DONE, "what is not called done changes nothing");
    must(change.backup == backup, "the B bit is the one that was wanted");
    // Pure ACKs are short enough for every MTU.
    const auto layout = packet::find_tcp(data, link);
    if (size > data.size() && layout && layout->end > layout->payload)
        must(size <= mtu + 14, "no packet with contents grows beyond the MTU");
    return true;
}

} // namespace

void check_capture(const std::uint8_t *data, std::size_t size) {
    std::size_t at = 0, octets = 0;
    auto reader = codec::CaptureReader::open([&](std::span<std::uint8_t> to) -> std::ptrdiff_t {
        const std::size_t some = std::min(to.size(), size - at);
        std::copy_n(data + at, some, to.begin());
        at += some;
        return static_cast<std::ptrdiff_t>(some);
    });
    if (!reader) {
        must(!reader.error().what.empty(), "what is no capture is refused with a reason");
        return;
    }
    codec::Connections connections;
    while (const auto packet = reader->next()) {
        octets += packet->data.size();
        must(octets <= size, "no packet is longer than the file");
        const auto dissected = codec::dissect(packet->data, packet->wire_length, packet->link);
        if (dissected.content != codec::Content::tcp)
            continue;
        const auto list = codec::split_options(dissected.segment.options, dissected.segment.options_length);
        const auto options = codec::mptcp_options(list);
        for (const codec::MptcpOption &option : options)
            must(!codec::option_text(option).empty(), "every option is told");
        connections.learn(dissected.segment, options);
    }
}

bool check_packet(const std::uint8_t *data, std::size_t size) {
    if (size < 2 || size > HOST_MOST)
        return false;
    const bool l3 = (data[0] & 1) != 0, backup = (data[0] & 2) != 0;
    const std::uint32_t mtu = (data[0] & 4) != 0 ? static_cast<std::uint32_t>(size - 1) : 1500;
    const packet::ByteView packet(data + 1, size - 1);
    const host_packet parsed = host_parse(packet.data(), packet.size(), l3);
    const Seen seen = decode(packet, l3 ? codec::LinkType::raw : codec::LinkType::ethernet);

    must(!(parsed.leaves_early && parsed.parsed == HOST_MPTCP),
         "what leaves early has nothing for the whole parser");
    if (parsed.parsed == HOST_MPTCP) {
        must(seen.tcp && seen.mptcp && !seen.handshake, "the decoder sees what the data path takes");
        must((parsed.has_prio != 0) == seen.prio, "both see the same MP_PRIO");
        must((parsed.completes != 0) == seen.completes, "both see the same end of a join");
        if (seen.prio)
            must((parsed.prio_backup != 0) == seen.backup && parsed.prio_off == seen.prio_off,
                 "both go by the last one");
    }
    return check_edit(packet, l3, backup, mtu);
}

} // namespace mps::fuzz
