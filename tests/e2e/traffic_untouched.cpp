// SPDX-License-Identifier: MIT
//
// What is not ours passes bit for bit, while connections on the same devices are steered and woken. Host B
// sends raw frames; host A captures them behind our programs: a packet socket bound to one protocol is
// served after generic XDP and after TC ingress (net/core/dev.c, deliver_ptype_list_skb() at the end of
// __netif_receive_skb_core()).
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

#include "decode.hpp"
#include "packet.hpp"
#include "traffic.hpp"
#include "traffic_wire.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

using namespace mps::packet;
using mps::Fd;
using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr std::uint16_t ethertype_experimental = 0x88b5; // IEEE 802, local experiments
constexpr std::uint16_t protocol_8022 =
    0x0004; // what the kernel calls frames with a length instead of a type
const char *const marker = "02:00:5e:00:53:77"; // our frames' source; nobody else has it

std::string mac_of(const Namespace &ns, const std::string &device) {
    const auto link = Json::parse(must(ns.spawn_checked({"ip", "-j", "link", "show", device})).out);
    return link.at(0).at("address").get<std::string>();
}

/// Captures one protocol on one device.
class Tap {
  public:
    Tap(const Namespace &ns, const std::string &device, std::uint16_t protocol) {
        must(ns.run([&]() -> Result<void> {
            fd_ = Fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            const int bytes = 64 << 20;
            sockaddr_ll address{};
            address.sll_family = AF_PACKET;
            address.sll_protocol = htons(protocol);
            address.sll_ifindex = static_cast<int>(::if_nametoindex(device.c_str()));
            if (!fd_ || ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0 ||
                ::bind(fd_.get(), reinterpret_cast<sockaddr *>(&address), sizeof(address)) != 0) {
                return os_error("capture on", device, errno);
            }
            return {};
        }));
    }

    std::vector<Bytes> take() const {
        std::vector<Bytes> all;
        for (;;) {
            Bytes frame(65536);
            const auto size = ::recv(fd_.get(), frame.data(), frame.size(), 0);
            if (size < 0) {
                return all;
            }
            frame.resize(static_cast<std::size_t>(size));
            all.push_back(std::move(frame));
        }
    }

  private:
    Fd fd_;
};

class RawSender {
  public:
    RawSender(const Namespace &ns, const std::string &device) {
        must(ns.run([&]() -> Result<void> {
            // No protocol: it receives nothing.
            fd_ = Fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
            address_.sll_family = AF_PACKET;
            address_.sll_ifindex = static_cast<int>(::if_nametoindex(device.c_str()));
            return fd_ ? Result<void>{} : Result<void>(os_error("open", "a packet socket", errno));
        }));
    }

    void send(const Bytes &frame, std::uint16_t protocol = 0) {
        address_.sll_protocol = htons(protocol);
        const auto sent = ::sendto(fd_.get(), frame.data(), frame.size(), 0,
                                   reinterpret_cast<const sockaddr *>(&address_), sizeof(address_));
        if (sent != static_cast<ssize_t>(frame.size())) {
            FAIL("cannot send " << frame.size() << " bytes: " << std::strerror(errno) << "\n"
                                << explain(frame, Link::ethernet));
        }
    }

  private:
    Fd fd_;
    sockaddr_ll address_{};
};

/// A steered subflow, in whose name some of the packets come.
struct Live {
    std::string peer;
    std::string local;
    std::uint16_t peer_port = 0;
    std::uint16_t local_port = 0;
};

// Every kind of thing that is no MPTCP packet of a connection of this host. `live` only where it is no such
// packet for another reason: no MPTCP option, a fragment, impossible lengths.
std::vector<Packet> network_layer_packets(const Live &live) {
    const IPv4 ip4{.src = "198.51.100.250", .dst = "198.51.100.1"};
    const IPv6 ip6{.src = "2001:db8::fe", .dst = "2001:db8::a"};
    const IPv4 live_ip{.src = live.peer, .dst = live.local};
    const TCP live_tcp{.sport = live.peer_port, .dport = live.local_port};
    const auto ours = nop() / nop() / timestamp{} / dss{.data_ack64 = 7, .map = mapping{.dsn64 = 9}};
    std::vector<Packet> all;
    for (const Packet &ip : {Packet(ip4), Packet(ip6)}) {
        for (const Packet &l4 : {
                 Packet(UDP{} / Payload(11)),
                 UDP{.checksum = 0} / Payload(1000),
                 UDP{.length = 3, .checksum = 0xbad} / Payload(20),
                 TCP{.flags = SYN} / mss{} / sack_permitted{} / timestamp{} / nop() / window_scale{},
                 TCP{.flags = SYN} / mss{} / mp_capable{},
                 TCP{.flags = SYN | ACK} / mp_capable{.sender_key = 1},
                 TCP{} / mp_capable{.sender_key = 1, .receiver_key = 2, .data_length = 10} / Payload(10),
                 TCP{.flags = SYN} / mp_join_syn{},
                 TCP{.flags = SYN | ACK} / mp_join_synack{},
                 TCP{} / mp_join_ack{},
                 TCP{} / ours,
                 TCP{} / ours / Payload(1000),
                 TCP{.checksum = 0x1234} / ours / Payload(33),
                 TCP{} / mp_prio{} / nop(),
                 TCP{} / mp_prio{.backup = true, .address_id = 3},
                 TCP{} / add_addr{},
                 TCP{} / remove_addr{},
                 TCP{} / mp_fail{} / mp_tcprst{},
                 TCP{.flags = RST} / mp_fastclose{},
                 TCP{} / nop() / nop() / timestamp{} / Payload(700),
                 TCP{} / nop() / nop() / sack{},
                 TCP{.flags = FIN | ACK} / Payload(1),
                 TCP{.data_offset_words = 4} / Payload(40),
                 TCP{.data_offset_words = 15} / nop(),
                 TCP{} / raw_option{.kind = 30, .length = 0} / nop(),
                 TCP{} / raw_option{.kind = 30, .length = 1} / nop(),
                 TCP{} / raw_option{.kind = 30, .data = {0x50}, .length = 40},
                 TCP{} / raw_option{.kind = 30, .data = {0x20}} / nop(),
                 TCP{} / raw_option{.kind = 253, .data = Bytes(30, 7)},
                 TCP{.reserved_bits = 15} / ours,
             }) {
            all.push_back(ip / l4);
        }
    }
    all.push_back(ip4 / ICMP{} / Payload(56));
    all.push_back(ip4 / ICMP{.type = 3, .code = 4, .checksum = 1} / Payload(28));
    all.push_back(ip6 / ICMPv6{} / Payload(56));
    all.push_back(ip6 / ICMPv6{.type = 2} / Payload(40));
    // Fragments: only the first has the TCP header, and it is not ours to edit either.
    auto fragment4 = live_ip;
    fragment4.dont_fragment = false;
    fragment4.more_fragments = true;
    all.push_back(fragment4 / live_tcp / ours / Payload(400));
    fragment4.fragment_offset_bytes = 512;
    all.push_back(fragment4 / Payload(512));
    fragment4.more_fragments = false;
    all.push_back(fragment4 / live_tcp / ours);
    all.push_back(ip6 / fragment{.more = true} / TCP{} / ours / Payload(404));
    all.push_back(ip6 / fragment{.offset_bytes = 512, .more = true} / Payload(512));
    all.push_back(ip6 / fragment{} / UDP{} / Payload(8));
    // IPv4 headers as they may and may not be.
    all.push_back(IPv4{.options = Bytes(40, 1)} / TCP{} / ours);
    all.push_back(IPv4{.header_words = 4} / TCP{} / ours);
    all.push_back(IPv4{.header_words = 15} / UDP{});
    all.push_back(IPv4{.version = 7} / TCP{} / ours);
    all.push_back(IPv4{.total_length = 19} / TCP{} / ours);
    all.push_back(IPv4{.total_length = 41} / TCP{} / ours / Payload(100));
    all.push_back(IPv4{.total_length = 65535} / TCP{} / ours);
    all.push_back(IPv4{.protocol = 51} / Payload(64));
    all.push_back(IPv4{.protocol = 132, .checksum = 0xdead} / Payload(64));
    all.push_back(IPv4{.ttl = 0} / TCP{} / ours);
    // IPv6 and its chains.
    all.push_back(ip6 / hop_by_hop{} / TCP{} / ours);
    all.push_back(ip6 / routing{} / dest_opts{} / TCP{} / ours);
    all.push_back(ip6 / dest_opts{} / dest_opts{} / dest_opts{} / dest_opts{} / dest_opts{} / dest_opts{} /
                  dest_opts{} / dest_opts{} / dest_opts{} / dest_opts{} / TCP{} / ours);
    all.push_back(ip6 / hop_by_hop{.length_units = 255} / TCP{} / ours);
    all.push_back(IPv6{.payload_length = 0} / TCP{} / ours);
    all.push_back(IPv6{.payload_length = 65535} / TCP{} / ours);
    all.push_back(IPv6{.next_header = 59} / Payload(30));
    all.push_back(IPv6{.next_header = 51} / Payload(30));
    // In the name of the live connection.
    all.push_back(live_ip / live_tcp / nop() / nop() / timestamp{});
    all.push_back(live_ip / TCP{.sport = live.peer_port, .dport = live.local_port, .flags = SYN} /
                  mp_capable{});
    all.push_back(live_ip / live_tcp / raw_option{.kind = 30, .length = 0} / nop());
    all.push_back(live_ip / live_tcp / raw_option{.kind = 30, .data = {0x20}, .length = 39});
    all.push_back(live_ip / TCP{.sport = live.peer_port, .dport = live.local_port, .data_offset_words = 3});
    return all;
}

std::vector<Bytes> frames(const std::string &target, const Live &live) {
    const Ethernet to_a{.dst = target, .src = marker};
    const Ethernet to_other{.dst = "00:00:5e:00:53:99", .src = marker};
    const Ethernet to_all{.dst = "ff:ff:ff:ff:ff:ff", .src = marker};
    std::vector<Bytes> all;
    for (const auto &packet : network_layer_packets(live)) {
        all.push_back((to_a / packet).build());
        all.push_back((to_a / Vlan{.id = 5} / packet).build());
    }
    const auto canonical = IPv4{} / TCP{} / nop() / nop() / timestamp{} / dss{.data_ack64 = 7};
    all.push_back((to_other / canonical).build());
    all.push_back((to_a / Vlan{.id = 100, .tpid = ethertype_qinq} / Vlan{.id = 6} / canonical).build());
    all.push_back((to_a / Vlan{.id = 1} / Vlan{.id = 2} / Vlan{.id = 3} / canonical).build());
    all.push_back((to_all / ARP{}).build());
    all.push_back((to_a / ARP{.operation = 2}).build());
    all.push_back(
        (Ethernet{.dst = target, .src = marker, .type = ethertype_experimental} / Payload(300)).build());
    all.push_back((Ethernet{.dst = target, .src = marker, .type = 60} / Payload(60)).build());
    // Cut at every length, and padded as short frames are.
    for (const auto &packet :
         {to_a / canonical, to_a / IPv6{} / TCP{} / nop() / nop() / timestamp{} / dss{}}) {
        const auto whole = packet.build();
        for (std::size_t size = 14; size < whole.size(); ++size) {
            all.emplace_back(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        }
        auto padded = whole;
        padded.resize(padded.size() + 20, 0xee);
        all.push_back(padded);
    }
    return all;
}

// At this point the kernel has taken the outermost VLAN tag off and, without a device for it, forgotten it.
// Of frames with two tags the inner one is still there.
Bytes as_captured(Bytes frame) {
    const auto type = frame[12] << 8 | frame[13];
    if ((type == ethertype_vlan || type == ethertype_qinq) && frame.size() >= 18) {
        frame.erase(frame.begin() + 12, frame.begin() + 16);
    }
    return frame;
}

// A wake of ours: an ACK for this very subflow with nothing but timestamps and MP_PRIO. If it borrowed the body of one
// of our frames it has the link-layer addresses of that, too.
bool is_wake(const Bytes &frame, const Live &live) {
    constexpr std::size_t ports = 14 + 20;
    constexpr std::size_t prio = ports + 20 + 12;
    const auto word = [&](std::size_t at) { return frame[at] << 8 | frame[at + 1]; };
    return frame.size() == prio + 4 && word(ports) == live.peer_port && word(ports + 2) == live.local_port &&
           word(prio) == 0x1e03 && frame[prio + 2] >> 4 == 5;
}

// Compares as sets: devices have several queues, so order is not the sender's. Reports the first difference.
void check_same(std::vector<Bytes> sent, std::vector<Bytes> captured, Link link) {
    REQUIRE(sent.size() > 100);
    std::ranges::sort(sent);
    std::ranges::sort(captured);
    std::vector<Bytes> missing;
    std::vector<Bytes> extra;
    std::ranges::set_difference(sent, captured, std::back_inserter(missing));
    std::ranges::set_difference(captured, sent, std::back_inserter(extra));
    INFO(sent.size() << " sent, " << captured.size() << " captured, " << missing.size()
                     << " changed or lost");
    if (!missing.empty() && !extra.empty()) {
        FAIL("at least one frame was changed, for example\n" << compare(missing[0], extra[0], link));
    }
    if (!missing.empty()) {
        FAIL("a frame did not arrive:\n" << explain(missing[0], link));
    }
    if (!extra.empty()) {
        FAIL("a frame arrived that was not sent:\n" << explain(extra[0], link));
    }
    SUCCEED();
}

Live live_subflow(const Transfer &transfer, std::size_t index) {
    const auto sample = transfer.sample().at(0);
    const auto &subflow = sample.subflows.at(index);
    const auto split = [](const std::string &text) {
        const auto colon = text.find_last_of(':');
        return std::pair{text.substr(0, colon),
                         static_cast<std::uint16_t>(std::stoi(text.substr(colon + 1)))};
    };
    const auto [local, local_port] = split(subflow.local);
    const auto [peer, peer_port] = split(subflow.remote);
    return {peer, local, peer_port, local_port};
}

constexpr int rounds = 10;

// Frames on both devices, between which the second subflow is woken: its wakes borrow the bodies of these
// frames.
void check_untouched(const char *mode) {
    auto network = must(Network::create({.paths = {{.name = "dsl"}, {.name = "lte"}}}));
    const auto server = serve(network);
    Attachment attachment(network.a(), network.devices(), mode);
    // Merging is the kernel's own way of changing frames.
    must(network.set_offloads({.gro = false}));
    const Cli mpsched(network.a());
    mpsched("path lte priority=1");
    mpsched("use active-standby -s hold_ms=0");
    auto transfer = upload(network, server, light_traffic());
    std::this_thread::sleep_for(200ms);

    for (std::size_t path = 0; path < 2; ++path) {
        const auto device = network.devices()[path];
        const auto all = frames(mac_of(network.a(), device), live_subflow(transfer, path));
        std::vector<Tap> taps;
        for (const auto protocol : {ethertype_ipv4, ethertype_ipv6, ethertype_arp, ethertype_vlan,
                                    ethertype_experimental, protocol_8022}) {
            taps.emplace_back(network.a(), device, protocol);
        }
        RawSender sender(network.b(), device);
        std::vector<Bytes> sent;
        for (int round = 0; round < rounds; ++round) {
            mpsched(fmt::format("path lte priority={}", round % 2));
            for (const auto &frame : all) {
                sender.send(frame);
                sent.push_back(as_captured(frame));
            }
        }
        std::ranges::sort(sent);
        const auto live = live_subflow(transfer, path);
        std::vector<Bytes> captured;
        const auto collect = [&] {
            for (const auto &tap : taps) {
                for (auto &frame : tap.take()) {
                    const bool borrowed = is_wake(frame, live) && !std::ranges::binary_search(sent, frame);
                    if (frame.size() >= 12 && !borrowed &&
                        std::ranges::equal(std::span(frame).subspan(6, 6), MacAddress(marker).octets())) {
                        captured.push_back(std::move(frame));
                    }
                }
            }
            return captured.size() >= sent.size();
        };
        wait_until(collect, 2s);
        const auto stats = mpsched.json("stats");
        report(fmt::format(
            "{} {}: {} frames sent, {} captured, {} wakes landed, {} malformed, {} MPTCP without socket",
            mode, device, sent.size(), captured.size(), stats.at("wake_landed").get<int>(),
            stats.at("malformed").get<int>(), stats.at("no_socket").get<int>()));
        check_same(std::move(sent), std::move(captured), Link::ethernet);
        // It was our programs' business to look at them.
        CHECK(stats.at("malformed").get<int>() > 0);
        CHECK(stats.at("no_socket").get<int>() > 0);
        CHECK(stats.at("wake_landed").get<int>() >= rounds / 2);
    }
    transfer.stop();
    check_clean(transfer.wait());
}

} // namespace

TEST_CASE("what is not ours passes bit for bit in mode tc", "[e2e][untouched]") { check_untouched("tc"); }

TEST_CASE("what is not ours passes bit for bit in mode native", "[e2e][untouched]") {
    check_untouched("native");
}

TEST_CASE("what is not ours passes bit for bit in mode generic", "[e2e][untouched]") {
    check_untouched("generic");
}

TEST_CASE("what is not ours passes bit for bit on an L3 device", "[e2e][untouched][l3]") {
    const WiredNetwork network({{.name = "tun0"}, {.name = "tun1"}});
    const auto server = network.serve();
    Attachment attachment(network.a(), network.devices());
    const Cli mpsched(network.a());
    mpsched("path tun1 priority=1");
    mpsched("use active-standby -s hold_ms=0");
    auto transfer = network.start(server, light_traffic());
    std::this_thread::sleep_for(200ms);

    std::vector<std::pair<Bytes, std::uint16_t>> all;
    for (const auto &packet : network_layer_packets(live_subflow(transfer, 0))) {
        const auto bytes = packet.build();
        // tun takes only what begins like IPv4 or IPv6.
        if (bytes[0] >> 4 == 4) {
            all.emplace_back(bytes, ethertype_ipv4);
        } else if (bytes[0] >> 4 == 6) {
            all.emplace_back(bytes, ethertype_ipv6);
        }
    }
    const std::array taps{Tap(network.a(), "tun0", ethertype_ipv4), Tap(network.a(), "tun0", ethertype_ipv6)};
    RawSender sender(network.b(), "tun0");
    std::vector<Bytes> sent;
    for (int round = 0; round < rounds; ++round) {
        mpsched(fmt::format("path tun1 priority={}", round % 2));
        for (const auto &[packet, protocol] : all) {
            sender.send(packet, protocol);
            sent.push_back(packet);
        }
        std::this_thread::sleep_for(20ms); // the queue of a tun device is short
    }
    // Nothing marks our packets here, so those of the connection are captured with them.
    std::vector<Bytes> captured;
    const auto collect = [&] {
        for (const auto &tap : taps) {
            for (auto &packet : tap.take()) {
                captured.push_back(std::move(packet));
            }
        }
        return captured.size() >= sent.size();
    };
    std::this_thread::sleep_for(300ms);
    collect();
    std::ranges::sort(sent);
    std::ranges::sort(captured);
    std::vector<Bytes> missing;
    std::ranges::set_difference(sent, captured, std::back_inserter(missing));
    report(fmt::format("tun0: {} packets sent, {} missing among {} captured, {} wakes landed", sent.size(),
                       missing.size(), captured.size(), mpsched.json("stats").at("wake_landed").get<int>()));
    if (!missing.empty()) {
        FAIL(missing.size() << " packets were changed or lost, for example\n"
                            << explain(missing[0], Link::raw_ip));
    }
    CHECK(sent.size() > 500);
    transfer.stop();
    check_clean(transfer.wait());
}
