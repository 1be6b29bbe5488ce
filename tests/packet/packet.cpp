// SPDX-License-Identifier: MIT
#include "packet.hpp"

#include <algorithm>
#include <stdexcept>

#include "codec/options.hpp"

namespace mps::packet {
namespace {

class Writer {
  public:
    Writer &u8(unsigned value) {
        out_.push_back(static_cast<std::uint8_t>(value));
        return *this;
    }
    template <class T>
    Writer &put(const T &value) {
        for (std::uint8_t octet : value.octets())
            out_.push_back(octet);
        return *this;
    }
    Writer &bytes(ByteView data) {
        out_.insert(out_.end(), data.begin(), data.end());
        return *this;
    }
    std::size_t size() const { return out_.size(); }
    Bytes take() { return std::move(out_); }

  private:
    Bytes out_;
};

void store(Bytes &data, std::size_t at, be16 value) {
    data.at(at) = value.octets()[0];
    data.at(at + 1) = value.octets()[1];
}

struct Field {
    mptcp_field id;
    Bytes octets;
};

template <class T>
Bytes octets_of(const T &value) {
    return {value.octets().begin(), value.octets().end()};
}

// The form with these fields, whatever their order, and this head; nullptr if the RFC has none.
const codec::FormInfo *find_form(unsigned subtype, unsigned head, const std::vector<Field> &fields) {
    for (const codec::FormInfo &form : codec::forms()) {
        std::size_t found = 0, implied = 0;
        for (const mptcp_field id : form.fields) {
            implied += id == MPTCP_FIELD_flags || id == MPTCP_FIELD_reserved;
            found += std::ranges::find(fields, id, &Field::id) != fields.end();
        }
        if (form.subtype == subtype && (head & form.mask) == form.value && found == fields.size() &&
            found + implied == form.fields.size())
            return &form;
    }
    return nullptr;
}

// In the order and with the flags and reserved octets of the description; what is no form of the RFC's stands as given. The length octet is
// filled in here, so no option below states its own length. `head`: twelve bits.
TcpOption mptcp_option(std::string name, unsigned subtype, unsigned head, const std::vector<Field> &fields) {
    Bytes rest;
    const auto add = [&](const Bytes &octets) { rest.insert(rest.end(), octets.begin(), octets.end()); };

    if (const codec::FormInfo *form = find_form(subtype, head, fields)) {
        for (const mptcp_field id : form->fields)
            if (id == MPTCP_FIELD_flags)
                add({static_cast<std::uint8_t>(head)});
            else if (id == MPTCP_FIELD_reserved)
                add({0});
            else
                add(std::ranges::find(fields, id, &Field::id)->octets);
    } else {
        for (const Field &field : fields)
            add(field.octets);
    }
    Writer w;

    w.u8(TCPOPT_MPTCP)
        .u8(static_cast<unsigned>(rest.size()) + MPTCP_HEAD_LEN)
        .u8(subtype << 4 | head >> 8)
        .bytes(rest);
    return {std::move(name), w.take()};
}

} // namespace

Payload::Payload(std::size_t size) : data_(size) {
    for (std::size_t i = 0; i < size; i++)
        data_[i] = static_cast<std::uint8_t>(i * 7 + 3);
}

TcpOption nop::option() const { return {"nop", {1}}; }

TcpOption end_of_options::option() const { return {"end_of_options", {0}}; }

TcpOption mss::option() const {
    Writer w;

    w.u8(2).u8(4).put(bytes);
    return {"mss", w.take()};
}

TcpOption window_scale::option() const { return {"window_scale", {3, 3, shift}}; }

TcpOption sack_permitted::option() const { return {"sack_permitted", {4, 2}}; }

TcpOption sack::option() const {
    Writer w;

    w.u8(5).u8(static_cast<unsigned>(2 + 8 * blocks.size()));
    for (const auto &[left, right] : blocks)
        w.put(left).put(right);
    return {"sack", w.take()};
}

TcpOption timestamp::option() const {
    Writer w;

    w.u8(8).u8(10).put(value).put(echo);
    return {"timestamp", w.take()};
}

TcpOption raw_option::option() const {
    Writer w;

    w.u8(kind).u8(length.value_or(static_cast<std::uint8_t>(data.size() + 2))).bytes(data);
    return {"raw_option", w.take()};
}

TcpOption mp_capable::option() const {
    std::vector<Field> fields;

    if (sender_key)
        fields.push_back({MPTCP_FIELD_sender_key, octets_of(*sender_key)});
    if (receiver_key)
        fields.push_back({MPTCP_FIELD_receiver_key, octets_of(*receiver_key)});
    if (data_length)
        fields.push_back({MPTCP_FIELD_data_length, octets_of(*data_length)});
    if (checksum)
        fields.push_back({MPTCP_FIELD_checksum, octets_of(*checksum)});
    return mptcp_option("mp_capable", MPTCP_SUB_MP_CAPABLE, static_cast<unsigned>(version << 8 | flags),
                        fields);
}

TcpOption mp_join_syn::option() const {
    return mptcp_option("mp_join_syn", MPTCP_SUB_MP_JOIN, backup ? MPTCP_MP_JOIN_B : 0,
                        {{MPTCP_FIELD_address_id, {address_id}},
                         {MPTCP_FIELD_token, octets_of(token)},
                         {MPTCP_FIELD_nonce, octets_of(nonce)}});
}

TcpOption mp_join_synack::option() const {
    return mptcp_option("mp_join_synack", MPTCP_SUB_MP_JOIN, backup ? MPTCP_MP_JOIN_B : 0,
                        {{MPTCP_FIELD_address_id, {address_id}},
                         {MPTCP_FIELD_truncated_hmac, octets_of(truncated_hmac)},
                         {MPTCP_FIELD_nonce, octets_of(nonce)}});
}

TcpOption mp_join_ack::option() const {
    return mptcp_option("mp_join_ack", MPTCP_SUB_MP_JOIN, 0, {{MPTCP_FIELD_hmac, hmac}});
}

TcpOption dss::option() const {
    unsigned head = data_fin ? MPTCP_DSS_F : 0;
    std::vector<Field> fields;

    if (data_ack64) {
        head |= MPTCP_DSS_A | MPTCP_DSS_a;
        fields.push_back({MPTCP_FIELD_data_ack64, octets_of(*data_ack64)});
    } else if (data_ack) {
        head |= MPTCP_DSS_A;
        fields.push_back({MPTCP_FIELD_data_ack, octets_of(*data_ack)});
    }
    if (map) {
        head |= map->dsn64 ? MPTCP_DSS_M | MPTCP_DSS_m : MPTCP_DSS_M;
        if (map->dsn64)
            fields.push_back({MPTCP_FIELD_dsn64, octets_of(*map->dsn64)});
        else
            fields.push_back({MPTCP_FIELD_dsn, octets_of(map->dsn)});
        fields.push_back({MPTCP_FIELD_subflow_seq, octets_of(map->subflow_seq)});
        fields.push_back({MPTCP_FIELD_data_length, octets_of(map->length)});
        if (map->checksum)
            fields.push_back({MPTCP_FIELD_checksum, octets_of(*map->checksum)});
    }
    return mptcp_option("dss", MPTCP_SUB_DSS, head, fields);
}

TcpOption add_addr::option() const {
    std::vector<Field> fields{{MPTCP_FIELD_address_id, {address_id}}};

    if (ipv6)
        fields.push_back({MPTCP_FIELD_ipv6, octets_of(*ipv6)});
    else
        fields.push_back({MPTCP_FIELD_ipv4, octets_of(ipv4)});
    if (port)
        fields.push_back({MPTCP_FIELD_port, octets_of(*port)});
    if (!echo)
        fields.push_back({MPTCP_FIELD_address_hmac, octets_of(truncated_hmac)});
    return mptcp_option("add_addr", MPTCP_SUB_ADD_ADDR, echo ? MPTCP_ADD_ADDR_E : 0, fields);
}

TcpOption remove_addr::option() const {
    return mptcp_option("remove_addr", MPTCP_SUB_REMOVE_ADDR, 0, {{MPTCP_FIELD_address_id, address_ids}});
}

TcpOption mp_prio::option() const {
    const unsigned head =
        static_cast<unsigned>(reserved_bits << 9) | (backup ? static_cast<unsigned>(MPTCP_MP_PRIO_B) : 0U);

    return address_id
               ? mptcp_option("mp_prio", MPTCP_SUB_MP_PRIO, head, {{MPTCP_FIELD_address_id, {*address_id}}})
               : mptcp_option("mp_prio", MPTCP_SUB_MP_PRIO, head, {});
}

TcpOption mp_fail::option() const {
    return mptcp_option("mp_fail", MPTCP_SUB_MP_FAIL, 0, {{MPTCP_FIELD_dsn64, octets_of(dsn)}});
}

TcpOption mp_fastclose::option() const {
    return mptcp_option("mp_fastclose", MPTCP_SUB_MP_FASTCLOSE, 0,
                        {{MPTCP_FIELD_receiver_key, octets_of(receiver_key)}});
}

TcpOption mp_tcprst::option() const {
    return mptcp_option("mp_tcprst", MPTCP_SUB_MP_TCPRST, static_cast<unsigned>(flags) << 8,
                        {{MPTCP_FIELD_reason, {reason}}});
}

std::uint16_t internet_checksum(ByteView data, std::uint32_t sum) {
    for (std::size_t i = 0; i < data.size(); i++)
        sum += i % 2 ? data[i] : static_cast<std::uint32_t>(data[i]) << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

std::uint16_t dss_checksum(const mapping &map, ByteView payload) {
    Writer w;

    w.put(map.dsn64.value_or(be64(map.dsn.host())))
        .put(map.subflow_seq)
        .put(map.length)
        .u8(0)
        .u8(0)
        .bytes(payload);
    return internet_checksum(w.take());
}

namespace {

template <class... F>
struct Overloaded : F... {
    using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

std::uint8_t protocol_of(const Layer &layer, bool ipv6) {
    return std::visit(Overloaded{
                          [](const TCP &) { return protocol_tcp; },
                          [](const UDP &) { return protocol_udp; },
                          [](const ICMP &) { return protocol_icmp; },
                          [](const ICMPv6 &) { return protocol_icmpv6; },
                          [](const hop_by_hop &) { return protocol_hop_by_hop; },
                          [](const dest_opts &) { return protocol_dest_opts; },
                          [](const routing &) { return protocol_routing; },
                          [](const fragment &) { return protocol_fragment; },
                          // Payload right after IP: an experimental protocol number (RFC 3692) or "none".
                          [ipv6](const auto &) { return ipv6 ? protocol_none : std::uint8_t{253}; },
                      },
                      layer);
}

be16 ethertype_of(const Layer &layer) {
    return std::visit(Overloaded{
                          [](const Vlan &v) { return v.tpid; },
                          [](const IPv4 &) { return be16(ethertype_ipv4); },
                          [](const IPv6 &) { return be16(ethertype_ipv6); },
                          [](const ARP &) { return be16(ethertype_arp); },
                          [](const auto &) { return be16(0x88b5); }, // local experimental, IEEE 802
                      },
                      layer);
}

// Builds from the last layer to the first, so that every header knows what it carries.
class Builder {
  public:
    explicit Builder(const std::vector<Layer> &layers) : layers_(layers) {}

    Bytes build() {
        for (at_ = layers_.size(); at_-- > 0;)
            std::visit([this](const auto &layer) { prepend(layer); }, layers_[at_]);
        if (!options_.empty())
            throw std::logic_error("TCP options without a TCP header before them");
        return std::move(rest_);
    }

  private:
    const Layer *next() const {
        for (std::size_t i = at_ + 1; i < layers_.size(); i++)
            if (!std::holds_alternative<TcpOption>(layers_[i]))
                return &layers_[i];
        return nullptr;
    }
    be16 next_ethertype() const { return next() ? ethertype_of(*next()) : be16(0x88b5); }
    std::uint8_t next_protocol(bool ipv6) const {
        return next() ? protocol_of(*next(), ipv6) : protocol_of(Payload(0), ipv6);
    }
    void set(Bytes header) {
        header.insert(header.end(), rest_.begin(), rest_.end());
        rest_ = std::move(header);
    }

    // The sum of the pseudo header of the IP layer before this one (RFC 9293 3.1, RFC 8200 8.1).
    std::uint32_t pseudo_sum(std::uint8_t protocol, std::size_t length) const {
        Writer w;

        for (std::size_t i = at_; i-- > 0;) {
            if (const auto *v4 = std::get_if<IPv4>(&layers_[i])) {
                w.put(v4->src).put(v4->dst);
                break;
            }
            if (const auto *v6 = std::get_if<IPv6>(&layers_[i])) {
                w.put(v6->src).put(v6->dst);
                break;
            }
        }
        w.u8(0).u8(protocol).put(be32(static_cast<std::uint32_t>(length)));
        return static_cast<std::uint16_t>(~internet_checksum(w.take()));
    }
    void finish_checksum(std::size_t at, const std::optional<be16> &given, std::uint32_t pseudo) {
        store(rest_, at, given.value_or(be16(internet_checksum(rest_, pseudo))));
    }

    void prepend(const Payload &payload) { set(payload.data()); }

    void prepend(const TcpOption &option) {
        options_.insert(options_.begin(), option.data.begin(), option.data.end());
    }

    void prepend(const TCP &tcp) {
        while (options_.size() % 4)
            options_.push_back(0);
        auto words = tcp.data_offset_words.value_or(static_cast<std::uint8_t>(5 + options_.size() / 4));

        if (!tcp.data_offset_words && options_.size() > 40)
            throw std::logic_error("more than 40 octets of TCP options");
        Writer w;

        w.put(tcp.sport).put(tcp.dport).put(tcp.seq).put(tcp.ack_seq);
        w.u8(static_cast<unsigned>(words) << 4 | tcp.reserved_bits).u8(tcp.flags);
        w.put(tcp.window).u8(0).u8(0).put(tcp.urgent).bytes(options_);
        options_.clear();
        set(w.take());
        finish_checksum(16, tcp.checksum, pseudo_sum(protocol_tcp, rest_.size()));
    }

    void prepend(const UDP &udp) {
        Writer w;

        w.put(udp.sport).put(udp.dport);
        w.put(udp.length.value_or(be16(static_cast<std::uint16_t>(rest_.size() + 8)))).u8(0).u8(0);
        set(w.take());
        finish_checksum(6, udp.checksum, pseudo_sum(protocol_udp, rest_.size()));
    }

    void prepend(const ICMP &icmp) {
        Writer w;

        w.u8(icmp.type).u8(icmp.code).u8(0).u8(0).put(icmp.rest);
        set(w.take());
        finish_checksum(2, icmp.checksum, 0);
    }

    void prepend(const ICMPv6 &icmp) {
        Writer w;

        w.u8(icmp.type).u8(icmp.code).u8(0).u8(0).put(icmp.rest);
        set(w.take());
        finish_checksum(2, icmp.checksum, pseudo_sum(protocol_icmpv6, rest_.size()));
    }

    void prepend(const IPv4 &ip) {
        Bytes options = ip.options;

        options.resize((options.size() + 3) / 4 * 4);
        auto words = ip.header_words.value_or(static_cast<std::uint8_t>(5 + options.size() / 4));
        unsigned fragment_word = ip.fragment_offset_bytes / 8u;

        if (ip.dont_fragment)
            fragment_word |= 0x4000;
        if (ip.more_fragments)
            fragment_word |= 0x2000;
        Writer w;

        w.u8(static_cast<unsigned>(ip.version.value_or(4)) << 4 | words).u8(ip.tos);
        w.put(ip.total_length.value_or(be16(static_cast<std::uint16_t>(20 + options.size() + rest_.size()))));
        w.put(ip.id).put(be16(static_cast<std::uint16_t>(fragment_word)));
        w.u8(ip.ttl).u8(ip.protocol.value_or(next_protocol(false))).u8(0).u8(0);
        w.put(ip.src).put(ip.dst).bytes(options);
        Bytes header = w.take();

        store(header, 10, ip.checksum.value_or(be16(internet_checksum(header))));
        set(std::move(header));
    }

    void prepend(const IPv6 &ip) {
        Writer w;

        w.put(be32(static_cast<std::uint32_t>(ip.version.value_or(6)) << 28 |
                   static_cast<std::uint32_t>(ip.traffic_class) << 20 | ip.flow_label));
        w.put(ip.payload_length.value_or(be16(static_cast<std::uint16_t>(rest_.size()))));
        w.u8(ip.next_header.value_or(next_protocol(true))).u8(ip.hop_limit).put(ip.src).put(ip.dst);
        set(w.take());
    }

    template <class T>
    void prepend_options_header(const T &header) {
        Bytes options = header.options;
        std::size_t pad = (8 - (options.size() + 2) % 8) % 8;

        if (pad == 1) {
            options.push_back(0);
        } else if (pad) {
            options.push_back(1);
            options.push_back(static_cast<std::uint8_t>(pad - 2));
            options.resize(options.size() + pad - 2);
        }
        auto units = static_cast<std::uint8_t>((options.size() + 2) / 8 - 1);
        Writer w;

        w.u8(header.next_header.value_or(next_protocol(true))).u8(header.length_units.value_or(units));
        w.bytes(options);
        set(w.take());
    }
    void prepend(const hop_by_hop &header) { prepend_options_header(header); }
    void prepend(const dest_opts &header) { prepend_options_header(header); }

    void prepend(const routing &header) {
        Bytes data = header.data;

        while ((data.size() + 4) % 8)
            data.push_back(0);
        auto units = static_cast<std::uint8_t>((data.size() + 4) / 8 - 1);
        Writer w;

        w.u8(header.next_header.value_or(next_protocol(true))).u8(header.length_units.value_or(units));
        w.u8(header.type).u8(header.segments_left).bytes(data);
        set(w.take());
    }

    void prepend(const fragment &header) {
        Writer w;

        w.u8(header.next_header.value_or(next_protocol(true))).u8(0);
        w.put(be16(static_cast<std::uint16_t>(header.offset_bytes | (header.more ? 1 : 0)))).put(header.id);
        set(w.take());
    }

    void prepend(const Ethernet &eth) {
        Writer w;

        w.put(eth.dst).put(eth.src).put(eth.type.value_or(next_ethertype()));
        set(w.take());
    }

    void prepend(const Vlan &vlan) {
        Writer w;

        w.put(be16(static_cast<std::uint16_t>(vlan.priority << 13 | vlan.drop_eligible << 12 | vlan.id)));
        w.put(vlan.type.value_or(next_ethertype()));
        set(w.take());
    }

    void prepend(const ARP &arp) {
        Writer w;

        w.put(be16(1)).put(be16(ethertype_ipv4)).u8(6).u8(4).put(arp.operation);
        w.put(arp.sender_mac).put(arp.sender).put(arp.target_mac).put(arp.target);
        set(w.take());
    }

    const std::vector<Layer> &layers_;
    std::size_t at_ = 0;
    Bytes rest_;
    Bytes options_;
};

} // namespace

Bytes Packet::build() const { return Builder(layers_).build(); }

Packet Packet::with_first_options(const Packet &options) const {
    Packet out = *this;
    auto tcp = std::find_if(out.layers_.begin(), out.layers_.end(),
                            [](const Layer &layer) { return std::holds_alternative<TCP>(layer); });

    if (tcp == out.layers_.end())
        throw std::logic_error("no TCP header to put options into");
    out.layers_.insert(tcp + 1, options.layers_.begin(), options.layers_.end());
    return out;
}

} // namespace mps::packet
