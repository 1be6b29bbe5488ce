// SPDX-License-Identifier: MIT
#include "shapes.hpp"

namespace mps::test {

using namespace mps::packet;

namespace {

struct Headers {
    std::string name;
    Link link;
    Packet headers;
};

std::vector<Headers> network_headers(const Flow &flow) {
    std::vector<Headers> out;

    if (flow.ipv6) {
        IPv6 ip = flow.ipv6_header();

        out.push_back({"IPv6", Link::raw_ip, ip});
        out.push_back({"IPv6 with hop-by-hop options", Link::raw_ip, ip / hop_by_hop()});
        out.push_back({"IPv6 with a routing header", Link::raw_ip, ip / routing()});
        out.push_back({"IPv6 with destination options", Link::raw_ip,
                       ip / dest_opts{.options = {0x1e, 20, 1,  2,  3,  4,  5,  6,  7,  8,  9,
                                                  10,   11, 12, 13, 14, 15, 16, 17, 18, 19, 20}}});
        out.push_back({"IPv6 with three extension headers", Link::raw_ip,
                       ip / hop_by_hop() / routing{.data = Bytes(20)} / dest_opts()});
        out.push_back({"IPv6 with as many extension headers as are followed", Link::raw_ip,
                       ip / hop_by_hop() / dest_opts() / routing() / dest_opts() / dest_opts()});
        ip.traffic_class = 0xff;
        ip.flow_label = 0xfffff;
        ip.hop_limit = 1;
        out.push_back({"IPv6 with all header bits used", Link::raw_ip, ip});
        return out;
    }
    IPv4 ip = flow.ipv4();
    out.push_back({"IPv4", Link::raw_ip, ip});
    ip.options = {0x94, 4, 0, 0}; // router alert
    out.push_back({"IPv4 with 4 octets of options", Link::raw_ip, ip});
    ip.options = Bytes(40, 1);
    out.push_back({"IPv4 with 40 octets of options", Link::raw_ip, ip});
    ip.options = {};
    ip.tos = 0xff;
    ip.id = 0xffff;
    ip.dont_fragment = false;
    ip.ttl = 255;
    out.push_back({"IPv4 that may be fragmented, unusual fields", Link::raw_ip, ip});
    return out;
}

std::vector<Headers> link_and_network_headers(const Flow &flow) {
    std::vector<Headers> out;

    for (const Headers &net : network_headers(flow)) {
        out.push_back({"raw " + net.name, Link::raw_ip, net.headers});
        out.push_back({"Ethernet, " + net.name, Link::ethernet, Ethernet() / net.headers});
        out.push_back({"VLAN, " + net.name, Link::ethernet, Ethernet() / Vlan{.id = 5} / net.headers});
        out.push_back({"QinQ, " + net.name, Link::ethernet,
                       Ethernet() / Vlan{.id = 100, .priority = 7, .tpid = ethertype_qinq} /
                           Vlan{.id = 4094} / net.headers});
    }
    return out;
}

Packet usual_options(const Flow &flow) {
    return nop() / nop() / flow.timestamp() / dss{.data_ack64 = 0x1122334455667788};
}

TCP checksummed(TCP tcp, std::uint16_t checksum) {
    tcp.checksum = checksum;
    return tcp;
}

} // namespace

std::vector<std::pair<std::string, Packet>> roomy_options(const Flow &flow) {
    const dss ack4{.data_ack = 0x01020304}, ack8{.data_ack64 = 0x0102030405060708};

    return {
        {"timestamps and DSS with an 8-octet ACK", usual_options(flow)},
        {"timestamps and DSS with a 4-octet ACK", nop() / nop() / flow.timestamp() / ack4},
        {"timestamps and DSS with a mapping, exactly 4 octets left",
         nop() / nop() / flow.timestamp() / dss{.data_ack64 = 5, .map = mapping()} / nop() / nop()},
        {"timestamps, DSS with a mapping and checksum",
         nop() / nop() / flow.timestamp() / dss{.data_ack = 5, .map = mapping{.checksum = 7}}},
        {"DSS alone", Packet(ack8)},
        {"DSS with DATA_FIN",
         Packet(dss{.data_ack64 = 5, .map = mapping{.length = 1}, .data_fin = true}) / nop() / nop()},
        {"DSS before timestamps", ack8 / flow.timestamp() / nop() / nop()},
        {"DSS between NOPs at an odd offset", nop() / ack8 / nop() / nop() / nop()},
        {"timestamps without their NOPs", flow.timestamp() / ack8},
        {"one SACK block, exactly 4 octets left",
         nop() / nop() / flow.timestamp() / nop() / nop() / sack() / ack8},
        {"two SACK blocks without timestamps", nop() / nop() / sack{.blocks = {{1, 2}, {3, 4}}} / ack4},
        {"ADD_ADDR echo", nop() / nop() / flow.timestamp() / add_addr{.echo = true}},
        {"ADD_ADDR with IPv6", Packet(add_addr{.ipv6 = Ipv6Address("2001:db8::3")})},
        {"REMOVE_ADDR and DSS", remove_addr() / ack8},
        {"MP_FAIL and DSS", mp_fail() / ack8},
        {"MP_FASTCLOSE", Packet(mp_fastclose())},
        {"MP_JOIN ACK", Packet(mp_join_ack())},
        {"MP_CAPABLE with both keys", Packet(mp_capable{.sender_key = 1, .receiver_key = 2})},
        {"an MPTCP subtype of the future", Packet(raw_option{.kind = 30, .data = {0xd0, 0}})},
        {"an unknown option first", raw_option{.kind = 253, .data = {0x0f, 0x89}} / ack8},
        {"an unknown option last", ack8 / raw_option{.kind = 254, .data = {1, 2, 3, 4, 5, 6}}},
        {"end of options, then rubbish",
         Packet(ack8) / end_of_options() / raw_option{.kind = 30, .data = {0}, .length = 0}},
        {"the shortest MPTCP option", Packet(raw_option{.kind = 30, .data = {0xf0}}) / nop()},
    };
}

std::vector<Shape> editable_headers(const Flow &flow) {
    std::vector<Shape> out;

    for (const Headers &h : link_and_network_headers(flow))
        out.push_back({h.name, h.link, h.headers / flow.tcp() / usual_options(flow) / Payload(13)});
    return out;
}

std::vector<Shape> editable(const Flow &flow) {
    std::vector<Shape> out;
    TCP odd = flow.tcp();

    odd.flags = ACK | PSH | URG | ECE | CWR;
    odd.window = 0xffff;
    odd.urgent = 0xabcd;
    odd.reserved_bits = 1; // accurate ECN, RFC 9768
    for (const Headers &h : link_and_network_headers(flow)) {
        for (const auto &[name, options] : roomy_options(flow))
            for (std::size_t payload : {0u, 1u, 777u})
                out.push_back({h.name + ", " + name + ", " + std::to_string(payload) + " octets", h.link,
                               h.headers / flow.tcp() / options / Payload(payload)});
        out.push_back({h.name + ", every flag that an edit allows", h.link,
                       h.headers / odd / usual_options(flow) / Payload(9)});
        // Payloads that take the checksum through its corners: zeros, ones, and a sum of 0xffff.
        for (std::uint8_t fill : {std::uint8_t{0}, std::uint8_t{0xff}})
            out.push_back({h.name + ", uniform payload", h.link,
                           h.headers / flow.tcp() / usual_options(flow) / Payload(Bytes(64, fill))});
        for (std::uint16_t seed : {std::uint16_t{0}, std::uint16_t{0xffff}})
            out.push_back({h.name + ", a checksum that is wrong on arrival", h.link,
                           h.headers / checksummed(flow.tcp(), seed) / usual_options(flow) / Payload(5)});
    }
    return out;
}

std::vector<Untouched> untouched(const Flow &flow) {
    std::vector<Untouched> out;
    const Packet net = flow.ipv6 ? Packet(flow.ipv6_header()) : Packet(flow.ipv4());
    const Packet options = usual_options(flow);
    const TCP tcp = flow.tcp();
    auto with = [&](auto change) {
        TCP changed = tcp;
        change(changed);
        return changed;
    };
    auto add_raw = [&](const std::string &name, const Packet &packet,
                       std::map<mps_counter, std::uint64_t> counted = {}) {
        out.push_back({{name, Link::raw_ip, packet}, counted});
        out.push_back({{"Ethernet, " + name, Link::ethernet, Ethernet() / packet}, counted});
        out.push_back({{"VLAN, " + name, Link::ethernet, Ethernet() / Vlan() / packet}, counted});
    };
    auto add_ethernet = [&](const std::string &name, const Packet &packet,
                            std::map<mps_counter, std::uint64_t> counted = {}) {
        out.push_back({{name, Link::ethernet, packet}, counted});
    };
    const std::map<mps_counter, std::uint64_t> malformed{{MPS_C_MALFORMED, 1}};
    const std::map<mps_counter, std::uint64_t> decided{{MPS_C_SEEN, 1}, {MPS_C_DECIDED, 1}};
    auto decided_but = [&](mps_counter why) {
        auto counted = decided;
        counted[why] = 1;
        return counted;
    };

    // Not TCP.
    add_ethernet("ARP", Ethernet() / ARP());
    add_ethernet("an unknown EtherType", Ethernet() / Payload(64));
    add_ethernet("three VLAN tags", Ethernet() / Vlan() / Vlan() / Vlan() / net / tcp / options);
    add_ethernet("802.3 with a length", Ethernet{.type = 46} / Payload(46));
    add_raw("UDP", net / UDP{.sport = flow.remote_port, .dport = flow.local_port} / Payload(60));
    add_raw("UDP whose payload looks like TCP options", net / UDP() / Payload((tcp / options).build()));
    add_raw("an unknown protocol", net / Payload(60));
    if (flow.ipv6) {
        add_raw("ICMPv6", net / ICMPv6() / Payload(60));
        add_raw("ICMPv6 error about one of our segments",
                net / ICMPv6{.type = 1} / Payload((net / tcp / options).build()));
        add_raw("no next header", IPv6{.next_header = protocol_none} / Payload(60));
        add_raw("authentication header",
                IPv6{.src = flow.remote, .dst = flow.local, .next_header = 51} / dest_opts() / tcp / options);
        add_raw("a first fragment", net / fragment{.more = true} / tcp / options);
        add_raw("a later fragment", net / fragment{.offset_bytes = 64} / tcp / options);
        add_raw("an atomic fragment", net / fragment() / tcp / options);
        add_raw("a fragment behind other extension headers",
                net / hop_by_hop() / fragment{.more = true} / tcp / options);
        add_raw("more extension headers than are followed", net / hop_by_hop() / dest_opts() / dest_opts() /
                                                                dest_opts() / dest_opts() / dest_opts() /
                                                                dest_opts() / tcp / options);
        add_raw("an extension header longer than the packet",
                net / dest_opts{.length_units = 255} / tcp / options);
        add_raw("a jumbogram",
                IPv6{.src = flow.remote, .dst = flow.local, .payload_length = 0} / hop_by_hop() / tcp /
                    options,
                malformed);
        add_raw("a payload length beyond the packet",
                IPv6{.src = flow.remote, .dst = flow.local, .payload_length = 2000} / tcp / options,
                malformed);
        add_raw("a payload length inside the TCP header",
                IPv6{.src = flow.remote, .dst = flow.local, .payload_length = 19} / tcp / options, malformed);
        add_ethernet("EtherType IPv6 with version 4",
                     Ethernet() / IPv6{.src = flow.remote, .dst = flow.local, .version = 4} / tcp / options,
                     malformed);
    } else {
        auto ip = [&](auto change) {
            IPv4 changed = flow.ipv4();
            change(changed);
            return changed;
        };

        add_raw("ICMP", net / ICMP() / Payload(60));
        add_raw("ICMP error about one of our segments",
                net / ICMP{.type = 3} / Payload((net / tcp / options).build()));
        add_raw("a first fragment",
                ip([](IPv4 &i) { i.dont_fragment = false, i.more_fragments = true; }) / tcp / options);
        add_raw("a later fragment", ip([](IPv4 &i) { i.fragment_offset_bytes = 64; }) / tcp / options);
        add_raw("a header length below 5 words", ip([](IPv4 &i) { i.header_words = 4; }) / tcp / options,
                malformed);
        add_raw("a header length beyond the packet", ip([](IPv4 &i) { i.header_words = 15; }) / tcp,
                malformed);
        add_raw("a total length beyond the packet",
                ip([](IPv4 &i) { i.total_length = 2000; }) / tcp / options, malformed);
        add_raw("a total length inside the TCP header",
                ip([](IPv4 &i) { i.total_length = 39; }) / tcp / options, malformed);
        add_raw("a total length of 0", ip([](IPv4 &i) { i.total_length = 0; }) / tcp / options, malformed);
        add_ethernet("EtherType IPv4 with version 6",
                     Ethernet() / ip([](IPv4 &i) { i.version = 6; }) / tcp / options, malformed);
    }
    // Read as IPv4, an IPv6 header names no TCP; read as IPv6, an IPv4 header has the wrong version.
    add_ethernet("EtherType of the other family",
                 Ethernet{.type = flow.ipv6 ? ethertype_ipv4 : ethertype_ipv6} / net / tcp / options,
                 flow.ipv6 ? std::map<mps_counter, std::uint64_t>() : malformed);

    // TCP without MPTCP, and the handshakes.
    add_raw("TCP without options", net / tcp / Payload(20));
    add_raw("TCP with timestamps only", net / tcp / nop() / nop() / flow.timestamp() / Payload(20));
    add_raw("TCP with options of everything else",
            net / tcp / sack{.blocks = {{1, 2}, {3, 4}, {5, 6}}} / flow.timestamp());
    add_raw("SYN with MP_CAPABLE", net / with([](TCP &t) { t.flags = SYN; }) / mss() / sack_permitted() /
                                       flow.timestamp() / nop() / window_scale() / mp_capable());
    add_raw("SYN/ACK with MP_CAPABLE",
            net / with([](TCP &t) { t.flags = SYN | ACK; }) / mp_capable{.sender_key = 1});
    add_raw("SYN with MP_JOIN", net / with([](TCP &t) { t.flags = SYN; }) / mp_join_syn{.backup = true});
    add_raw("RST with MP_TCPRST", net / with([](TCP &t) { t.flags = RST | ACK; }) / mp_tcprst());
    add_raw("RST with MP_FASTCLOSE", net / with([](TCP &t) { t.flags = RST; }) / mp_fastclose() / options);
    add_raw("SYN and FIN at once", net / with([](TCP &t) { t.flags = SYN | FIN; }) / options);

    // Impossible TCP.
    add_raw("a data offset below 5 words", net / with([](TCP &t) { t.data_offset_words = 4; }) / options,
            malformed);
    add_raw("a data offset of 0", net / with([](TCP &t) { t.data_offset_words = 0; }) / options, malformed);
    add_raw("a data offset beyond the packet", net / with([](TCP &t) { t.data_offset_words = 15; }) / options,
            malformed);
    add_raw("an option of length 0",
            net / tcp / options / raw_option{.kind = 99, .data = {0, 0}, .length = 0}, malformed);
    add_raw("an option of length 1",
            net / tcp / options / raw_option{.kind = 99, .data = {0, 0}, .length = 1}, malformed);
    add_raw("an option that ends beyond the header",
            net / tcp / options / raw_option{.kind = 99, .data = {0, 0}, .length = 5}, malformed);
    add_raw("an MPTCP option that ends beyond the header",
            net / tcp / raw_option{.kind = 30, .data = {0x20, 0}, .length = 9}, malformed);
    add_raw("an option whose length is outside the header",
            net / tcp / nop() / nop() / nop() / TcpOption{"kind", {99}}, malformed);
    add_raw("an MPTCP option without a subtype", net / tcp / raw_option{.kind = 30} / nop() / nop());
    add_raw("an MPTCP option behind the end of options", net / tcp / end_of_options() / dss{.data_ack = 1});

    // MPTCP, but nothing may be written into it.
    add_raw("MPTCP for nobody here", net / with([](TCP &t) { t.sport = 9; }) / options,
            {{MPS_C_SEEN, 1}, {MPS_C_NO_SOCKET, 1}});
    add_raw("FIN with DSS", net / with([](TCP &t) { t.flags = FIN | ACK; }) / options, decided);
    add_raw("40 octets of options",
            net / tcp / nop() / nop() / flow.timestamp() / dss{.data_ack64 = 5, .map = mapping{.dsn64 = 6}} /
                nop() / nop() / Payload(9),
            decided_but(MPS_C_SKIP_ROOM));
    add_raw("40 octets of options by SACK",
            net / tcp / nop() / nop() / flow.timestamp() / sack{.blocks = {{1, 2}}} / dss{.data_ack = 5} /
                dss{.data_ack = 5} / nop() / nop(),
            decided_but(MPS_C_SKIP_ROOM));
    return out;
}

} // namespace mps::test
