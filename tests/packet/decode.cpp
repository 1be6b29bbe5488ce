// SPDX-License-Identifier: MIT
#include "decode.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <fmt/format.h>

namespace mps::packet {
namespace {

constexpr std::size_t eth_header = 14;

// Reads past the end give zeros and set `ended`.
class Reader {
  public:
    explicit Reader(ByteView data) : data_(data) {}
    unsigned u8(std::size_t at) const {
        if (at >= data_.size()) {
            ended_ = true;
            return 0;
        }
        return data_[at];
    }
    unsigned u16(std::size_t at) const { return u8(at) << 8 | u8(at + 1); }
    std::uint32_t u32(std::size_t at) const {
        return static_cast<std::uint32_t>(u16(at)) << 16 | u16(at + 2);
    }
    bool ended() const { return ended_; }
    std::size_t size() const { return data_.size(); }
    std::string hex(std::size_t at, std::size_t length) const {
        std::string out;

        for (std::size_t i = at; i < at + length && i < data_.size(); i++)
            out += fmt::format("{:02x}", data_[i]);
        return out;
    }
    std::string address(std::size_t at, int family) const {
        std::uint8_t octets[16] = {};
        char text[INET6_ADDRSTRLEN] = {};

        for (std::size_t i = 0; i < (family == AF_INET ? 4u : 16u); i++)
            octets[i] = static_cast<std::uint8_t>(u8(at + i));
        inet_ntop(family, octets, text, sizeof(text));
        return text;
    }

  private:
    ByteView data_;
    mutable bool ended_ = false;
};

// One's complement sum as arithmetic modulo 65535: a packet is right when its sum is 0 there, and a sum
// tells by how much it is wrong. No carries to fold, unlike the builder's and the data path's way.
class Residue {
  public:
    void add16(unsigned word) { sum_ = (sum_ + word) % 65535; }
    void add(ByteView data) {
        for (std::size_t i = 0; i < data.size(); i += 2)
            add16(static_cast<unsigned>(data[i]) * 256 + (i + 1 < data.size() ? data[i + 1] : 0u));
    }
    void subtract16(unsigned word) { sum_ = (sum_ + 65535 - word % 65535) % 65535; }
    unsigned value() const { return sum_; }
    // What the checksum field should hold if the present content, without it, sums to this.
    unsigned complement() const { return 65535 - sum_; }

  private:
    unsigned sum_ = 0;
};

struct Network {
    bool ipv6 = false;
    std::size_t ip = 0;
    std::size_t header_end = 0; // of the fixed header and its options
    std::size_t transport = 0;
    std::size_t end = 0;
    unsigned protocol = 0;
    bool is_fragment = false;
    bool complete = false; // all headers present, lengths plausible
};

std::optional<std::size_t> skip_link(const Reader &r, Link link, unsigned &type) {
    if (link == Link::raw_ip) {
        type = r.u8(0) >> 4 == 6 ? 0x86dd : r.u8(0) >> 4 == 4 ? 0x0800 : 0;
        return r.size() ? std::optional<std::size_t>(0) : std::nullopt;
    }
    std::size_t at = eth_header;

    type = r.u16(12);
    while (type == 0x8100 || type == 0x88a8) {
        type = r.u16(at + 2);
        at += 4;
    }
    return r.ended() ? std::nullopt : std::optional<std::size_t>(at);
}

std::optional<Network> find_network(ByteView data, Link link) {
    Reader r(data);
    unsigned type = 0;
    auto start = skip_link(r, link, type);
    Network n;

    if (!start)
        return std::nullopt;
    n.ip = *start;
    if (type == 0x0800 && r.u8(n.ip) >> 4 == 4) {
        std::size_t header = (r.u8(n.ip) & 15) * 4u;

        n.header_end = n.transport = n.ip + header;
        n.end = n.ip + r.u16(n.ip + 2);
        n.protocol = r.u8(n.ip + 9);
        n.is_fragment = r.u16(n.ip + 6) & 0x3fff;
        n.complete = header >= 20 && n.end >= n.transport && n.end <= data.size() && !r.ended();
        return n;
    }
    if (type == 0x86dd && r.u8(n.ip) >> 4 == 6) {
        n.ipv6 = true;
        n.header_end = n.transport = n.ip + 40;
        n.end = n.transport + r.u16(n.ip + 4);
        n.protocol = r.u8(n.ip + 6);
        while (n.protocol == 0 || n.protocol == 43 || n.protocol == 60 || n.protocol == 44) {
            bool frag = n.protocol == 44;

            if (frag && r.u16(n.transport + 2) & 0xfff9)
                n.is_fragment = true;
            n.protocol = r.u8(n.transport);
            n.transport += frag ? 8 : (r.u8(n.transport + 1) + 1) * 8u;
            if (r.ended() || n.is_fragment)
                break;
        }
        n.complete = n.end >= n.transport && n.end <= data.size() && !r.ended();
        return n;
    }
    return std::nullopt;
}

Residue pseudo_header(ByteView data, const Network &n) {
    Residue sum;
    std::size_t source = n.ip + (n.ipv6 ? 8 : 12);

    sum.add(data.subspan(source, n.ipv6 ? 32 : 8));
    sum.add16(n.protocol);
    sum.add16(static_cast<unsigned>(n.end - n.transport));
    return sum;
}

struct Check {
    std::string what;
    std::size_t at;  // of the field
    Residue content; // of everything it covers, the field included
};

std::vector<Check> checks_of(ByteView data, Link link) {
    std::vector<Check> checks;
    auto n = find_network(data, link);

    if (!n || !n->complete)
        return checks;
    if (!n->ipv6) {
        Residue sum;

        sum.add(data.subspan(n->ip, n->header_end - n->ip));
        checks.push_back({"IPv4 header checksum", n->ip + 10, sum});
    }
    if (n->is_fragment)
        return checks;
    ByteView transport = data.subspan(n->transport, n->end - n->transport);
    Residue sum;

    if (n->protocol == 6 && transport.size() >= 20) {
        sum = pseudo_header(data, *n);
        sum.add(transport);
        checks.push_back({"TCP checksum", n->transport + 16, sum});
    } else if (n->protocol == 17 && transport.size() >= 8) {
        sum = pseudo_header(data, *n);
        sum.add(transport);
        if (transport[6] || transport[7])
            checks.push_back({"UDP checksum", n->transport + 6, sum});
    } else if (n->protocol == 1 && transport.size() >= 4) {
        sum.add(transport);
        checks.push_back({"ICMP checksum", n->transport + 2, sum});
    } else if (n->protocol == 58 && transport.size() >= 4) {
        sum = pseudo_header(data, *n);
        sum.add(transport);
        checks.push_back({"ICMPv6 checksum", n->transport + 2, sum});
    }
    return checks;
}

} // namespace

std::optional<TcpLayout> find_tcp(ByteView data, Link link) {
    auto n = find_network(data, link);

    if (!n || !n->complete || n->is_fragment || n->protocol != 6 || n->end < n->transport + 20)
        return std::nullopt;
    TcpLayout out{n->ipv6, n->ip, n->transport, n->transport + 20, 0, n->end};

    out.payload = out.tcp + (data[out.tcp + 12] >> 4) * 4u;
    if (out.payload < out.options || out.payload > out.end)
        return std::nullopt;
    return out;
}

std::vector<std::string> checksum_faults(ByteView data, Link link) {
    std::vector<std::string> faults;

    for (Check &check : checks_of(data, link)) {
        if (check.content.value() == 0)
            continue;
        unsigned held = data[check.at] * 256u + data[check.at + 1];

        check.content.subtract16(held);
        faults.push_back(
            fmt::format("{} is {:04x}, should be {:04x}", check.what, held, check.content.complement()));
    }
    return faults;
}

/* --------------------------------------------------------- pretty printer */

namespace {

class Explainer {
  public:
    Explainer(ByteView data, Link link) : data_(data), r_(data), link_(link) {}

    std::string run() {
        unsigned type = 0;

        if (link_ == Link::ethernet) {
            field(0, 14, "Ethernet",
                  fmt::format("dst {} src {} type {:04x}", r_.hex(0, 6), r_.hex(6, 6), r_.u16(12)));
            type = r_.u16(12);
            for (std::size_t at = eth_header; type == 0x8100 || type == 0x88a8; at += 4) {
                field(at, 4, "VLAN",
                      fmt::format("id {} priority {} type {:04x}", r_.u16(at) & 0xfff, r_.u16(at) >> 13,
                                  r_.u16(at + 2)));
                type = r_.u16(at + 2);
                if (r_.ended())
                    break;
            }
        }
        if (auto n = find_network(data_, link_))
            network(*n);
        for (const std::string &fault : checksum_faults(data_, link_))
            out_ += fmt::format("  WRONG: {}\n", fault);
        return out_ + hex_dump(data_);
    }

  private:
    void field(std::size_t at, std::size_t length, const char *layer, const std::string &text) {
        out_ += fmt::format("  [{:3}] {:9} {}{}\n", at, layer, text,
                            at + length > data_.size() ? "  (CUT SHORT)" : "");
    }

    void network(const Network &n) {
        if (n.ipv6)
            field(n.ip, 40, "IPv6",
                  fmt::format("{} > {} payload_length {} next_header {} hop_limit {}",
                              r_.address(n.ip + 8, AF_INET6), r_.address(n.ip + 24, AF_INET6),
                              r_.u16(n.ip + 4), r_.u8(n.ip + 6), r_.u8(n.ip + 7)));
        else
            field(n.ip, n.header_end - n.ip, "IPv4",
                  fmt::format(
                      "{} > {} total_length {} header {} protocol {} ttl {} fragment {:04x} checksum {:04x}",
                      r_.address(n.ip + 12, AF_INET), r_.address(n.ip + 16, AF_INET), r_.u16(n.ip + 2),
                      n.header_end - n.ip, r_.u8(n.ip + 9), r_.u8(n.ip + 8), r_.u16(n.ip + 6),
                      r_.u16(n.ip + 10)));
        if (n.ipv6 && n.transport > n.header_end)
            field(n.header_end, n.transport - n.header_end, "IPv6 ext",
                  r_.hex(n.header_end, n.transport - n.header_end));
        if (n.is_fragment)
            field(n.transport, 0, "fragment", "");
        else if (n.protocol == 6)
            tcp(n);
        else
            field(n.transport, 0, "transport", fmt::format("protocol {}", n.protocol));
    }

    void tcp(const Network &n) {
        std::size_t at = n.transport;
        std::size_t header = (r_.u8(at + 12) >> 4) * 4u;
        static const char letters[] = "FSRPAUEC";
        std::string flags;

        for (unsigned i = 0; i < 8; i++)
            if (r_.u8(at + 13) >> i & 1)
                flags += letters[i];
        field(at, header, "TCP",
              fmt::format("{} > {} seq {} ack {} header {} flags {} window {} checksum {:04x}", r_.u16(at),
                          r_.u16(at + 2), r_.u32(at + 4), r_.u32(at + 8), header, flags, r_.u16(at + 14),
                          r_.u16(at + 16)));
        std::size_t end = std::min(at + header, data_.size());

        for (at += 20; at < end;) {
            unsigned kind = r_.u8(at);
            std::size_t length = kind < 2 ? 1 : r_.u8(at + 1);

            field(at, length, "option", fmt::format("{} {}", option_name(at), r_.hex(at, length)));
            if (kind == 0 || (kind > 1 && length < 2))
                break;
            at += length;
        }
        if (n.end > end)
            field(end, n.end - end, "payload", fmt::format("{} octets", n.end - end));
    }

    std::string option_name(std::size_t at) const {
        static const char *const mptcp[] = {"mp_capable", "mp_join",      "dss",
                                            "add_addr",   "remove_addr",  "mp_prio",
                                            "mp_fail",    "mp_fastclose", "mp_tcprst"};
        unsigned subtype = r_.u8(at + 2) >> 4;

        switch (r_.u8(at)) {
        case 0:
            return "end_of_options";
        case 1:
            return "nop";
        case 2:
            return "mss";
        case 3:
            return "window_scale";
        case 4:
            return "sack_permitted";
        case 5:
            return "sack";
        case 8:
            return "timestamp";
        case 30:
            return subtype < std::size(mptcp) ? mptcp[subtype] : fmt::format("mptcp subtype {}", subtype);
        default:
            return fmt::format("kind {}", r_.u8(at));
        }
    }

    ByteView data_;
    Reader r_;
    Link link_;
    std::string out_;
};

} // namespace

std::string explain(ByteView data, Link link) {
    return fmt::format("{} octets\n{}", data.size(), Explainer(data, link).run());
}

std::string compare(ByteView expected, ByteView actual, Link link) {
    auto [left, right] = std::mismatch(expected.begin(), expected.end(), actual.begin(), actual.end());

    if (left == expected.end() && right == actual.end())
        return {};
    return fmt::format("first difference at octet {}\nexpected: {}actual: {}", left - expected.begin(),
                       explain(expected, link), explain(actual, link));
}

namespace {

// The packet is as long as before.
Change classify_rewrite(ByteView before, ByteView after, Link link) {
    auto forbidden = [](std::string why) { return Change{Change::Kind::forbidden, false, std::move(why)}; };
    auto was = find_tcp(before, link), is = find_tcp(after, link);
    std::vector<std::size_t> changed;

    if (!was || !is || was->tcp != is->tcp || was->payload != is->payload)
        return forbidden("changed without becoming longer, and not as a TCP packet");
    for (std::size_t i = 0; i < before.size(); i++)
        if (before[i] != after[i] && i != was->tcp + 16 && i != was->tcp + 17)
            changed.push_back(i);
    if (changed.size() != 1 || changed[0] < was->options + 2 || changed[0] >= was->payload)
        return forbidden("other octets than one of an option and the checksum changed");
    std::size_t at = changed[0];
    const unsigned length = before[at - 1], subtype = before[at] >> 4;
    const bool prio = subtype == 5 && length == 3, join = subtype == 1 && (length == 12 || length == 16);
    if (before[at - 2] != 30 || !(prio || join) || (before[at] ^ after[at]) != 1)
        return forbidden("what changed is not the B bit of an MP_PRIO or MP_JOIN");
    auto sums_before = checks_of(before, link), sums_after = checks_of(after, link);
    for (std::size_t i = 0; i < sums_before.size() && i < sums_after.size(); i++)
        if (sums_before[i].content.value() != sums_after[i].content.value())
            return forbidden(fmt::format("{} no longer matches", sums_after[i].what));
    return {Change::Kind::rewritten, (after[at] & 1) != 0, {}};
}

} // namespace

Change classify_change(ByteView before, ByteView after, Link link) {
    auto forbidden = [](std::string why) { return Change{Change::Kind::forbidden, false, std::move(why)}; };

    if (std::equal(before.begin(), before.end(), after.begin(), after.end()))
        return {};
    if (after.size() == before.size())
        return classify_rewrite(before, after, link);
    if (after.size() != before.size() + 4)
        return forbidden(fmt::format("length changed from {} to {}", before.size(), after.size()));
    auto was = find_tcp(before, link);
    auto is = find_tcp(after, link);

    if (!was || !is)
        return forbidden(was ? "the result is no TCP packet" : "a packet that is no TCP segment was changed");
    if (was->tcp != is->tcp || is->payload != was->payload + 4 || is->end != was->end + 4)
        return forbidden("header, option or packet length does not follow the insertion");
    // The four octets must be MP_PRIO and a NOP, on an option boundary; without them the options are the
    // old ones.
    std::size_t at = is->options;

    while (at < is->payload && !(after[at] == 30 && at + 3 < is->payload && after[at + 2] >> 4 == 5)) {
        if (after[at] < 2)
            at++;
        else if (at + 1 < is->payload && after[at + 1] >= 2)
            at += after[at + 1];
        else
            break;
    }
    if (at + 4 > is->payload || after[at] != 30 || after[at + 1] != 3 || (after[at + 2] & 0xfe) != 0x50 ||
        after[at + 3] != 1)
        return forbidden("the inserted octets are not an MP_PRIO and NOP");
    Bytes undone(after.begin(), after.end());

    undone.erase(undone.begin() + static_cast<std::ptrdiff_t>(at),
                 undone.begin() + static_cast<std::ptrdiff_t>(at) + 4);
    undone[was->tcp + 12] = before[was->tcp + 12];
    for (std::size_t i : {0u, 1u}) {
        undone[was->tcp + 16 + i] = before[was->tcp + 16 + i];
        std::size_t length = was->ip + (was->ipv6 ? 4 : 2) + i;

        undone[length] = before[length];
        if (!was->ipv6)
            undone[was->ip + 10 + i] = before[was->ip + 10 + i];
    }
    if (after[was->tcp + 12] != before[was->tcp + 12] + 0x10)
        return forbidden("the data offset octet changed by something else than one word");
    if (!std::equal(before.begin(), before.end(), undone.begin(), undone.end()))
        return forbidden("other octets than the insertion, lengths and checksums changed");
    auto sums_before = checks_of(before, link);
    auto sums_after = checks_of(after, link);

    for (std::size_t i = 0; i < sums_before.size() && i < sums_after.size(); i++)
        if (sums_before[i].content.value() != sums_after[i].content.value())
            return forbidden(fmt::format("{} no longer matches", sums_after[i].what));
    return {Change::Kind::prio, (after[at + 2] & 1) != 0, {}};
}

} // namespace mps::packet
