// SPDX-License-Identifier: MIT
//
// `attach --role gateway`: a router between two hosts on which mpsched does not run.
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <random>
#include <thread>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

#include "gateway_rig.hpp"
#include "packet.hpp"

using mps::Fd;
using namespace mps::lab;
using namespace mps::e2e;

namespace {

// What the kernel of the client says of its subflow to this server address.
SubflowSample subflow_to(const Transfer &transfer, const std::string &address) {
    for (const ConnectionSample &connection : transfer.sample())
        for (const SubflowSample &one : connection.subflows)
            if (one.remote_address == address)
                return one;
    FAIL("no subflow to " << address);
    return {};
}

void check_watched(Family family, Direction direction) {
    Gateway gateway(family);
    gateway.mpsched("attach --role gateway up0 up1 --policy default");
    auto transfer = gateway.network.start(gateway.server, {.direction = direction});
    REQUIRE(transfer.wait_for_subflows(2));
    std::this_thread::sleep_for(1s);
    const bool up = direction == Direction::upload;
    const auto bytes = [&](int i) {
        const SubflowSample one = subflow_to(transfer, gateway.network.server_address(i));
        return up ? one.bytes_acked : one.bytes_received;
    };
    const std::uint64_t before[] = {bytes(0), bytes(1)};
    const Json all = gateway.forwarded();
    REQUIRE(all.size() == 1);
    INFO(all.dump(1));
    const ConnectionSample kernel = transfer.sample().at(0);
    CHECK(all[0].at("token") == kernel.token);
    const Json &subflows = all[0].at("forwarded").at("subflows");
    REQUIRE(subflows.size() == 2);
    for (int i = 0; i < 2; i++) {
        const std::uint64_t after = bytes(i);
        const Json &one = subflows[static_cast<std::size_t>(i)];
        const Json &way = one.at(up ? "up" : "down");
        CHECK(one.at("interface") == fmt::format("up{}", i));
        CHECK(one.at("initiator") == subflow_to(transfer, gateway.network.server_address(i)).local);
        CHECK(one.at("responder") == subflow_to(transfer, gateway.network.server_address(i)).remote);
        // What is on its way between the two looks is on one side only.
        constexpr std::uint64_t under_way = 400'000;
        CHECK(way.at("bytes").get<std::uint64_t>() + under_way >= before[i]);
        CHECK(way.at("bytes").get<std::uint64_t>() <= after + under_way);
        CHECK(way.at("bytes").get<std::uint64_t>() > 500'000);
        const std::uint64_t rtt_us = one.at("up").at("srtt_us").get<std::uint64_t>() +
                                     one.at("down").at("srtt_us").get<std::uint64_t>();
        const std::uint64_t kernel_us = subflow_to(transfer, gateway.network.server_address(i)).rtt_us;
        report(fmt::format("up{}: {} bytes passed, the kernel says {}; round trip {} us, the kernel says {}",
                           i, way.at("bytes").get<std::uint64_t>(), after, rtt_us, kernel_us));
        CHECK(rtt_us > 0);
    }
    transfer.stop();
    check_clean(transfer.wait());
    CHECK(wait_until([&] { return gateway.known() == 0; }, 3s, 100ms) >= 0);
    gateway.check_hosts();
    gateway.mpsched("detach --all");
}

// Frames on their way to the gateway, as whoever sits beside the client can send them.
class Forger {
  public:
    explicit Forger(const Gateway &gateway) {
        must(gateway.network.client.run([&]() -> Result<void> {
            fd_ = Fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
            sockaddr_ll at{};
            at.sll_family = AF_PACKET;
            at.sll_ifindex = static_cast<int>(::if_nametoindex("eth0"));
            if (!fd_ || ::bind(fd_.get(), reinterpret_cast<sockaddr *>(&at), sizeof(at)) != 0)
                return os_error("open a packet socket on", "eth0", errno);
            return {};
        }));
        const auto link =
            Json::parse(must(gateway.network.gateway.spawn_checked({"ip", "-j", "link", "show", "lan"})).out);
        ethernet_.dst = mps::packet::MacAddress(link.at(0).at("address").get<std::string>().c_str());
    }
    mps::packet::Packet head(const std::string &from, const std::string &to) const {
        return ethernet_ / mps::packet::IPv4{.src = mps::packet::Ipv4Address(from.c_str()),
                                             .dst = mps::packet::Ipv4Address(to.c_str())};
    }
    void send(const mps::packet::Packet &packet) const {
        const auto frame = packet.build();
        (void)::send(fd_.get(), frame.data(), frame.size(), 0);
    }

  private:
    Fd fd_;
    mps::packet::Ethernet ethernet_{};
};

std::uint16_t port_of(const std::string &end) {
    return static_cast<std::uint16_t>(std::stoi(end.substr(end.rfind(':') + 1)));
}

// SYNs of connections and joins to a port where nobody listens, and packets of the connections that there are, with numbers that are guessed.
void flood(const Gateway &gateway, const Json &known, unsigned packets) {
    using namespace mps::packet;
    const Forger forger(gateway);
    std::mt19937 random(7);
    const Packet tail = nop() / nop() / timestamp();
    for (unsigned i = 0; i < packets; i++) {
        const Json &one = known.at(i / 4 % known.size());
        const Json &subflow = one.at("forwarded").at("subflows").at(i / 8 % 2);
        const auto any = static_cast<std::uint32_t>(random());
        TCP tcp{.sport = static_cast<std::uint16_t>(any),
                .dport = 9,
                .seq = any * 31,
                .ack_seq = any * 17,
                .flags = SYN};
        const auto strange =
            forger.head("203.0.113." + std::to_string(any % 250 + 1), gateway.network.server_address(0));
        TCP inside = tcp;
        inside.sport = port_of(subflow.at("initiator"));
        inside.dport = port_of(subflow.at("responder"));
        inside.flags = i % 8 < 4 ? RST : ACK;
        const auto own = forger.head(gateway.network.client_address(),
                                     gateway.network.server_address(static_cast<int>(i / 8 % 2)));
        switch (i % 4) {
        case 0:
            forger.send(strange / tcp / mp_capable());
            break;
        case 1:
            forger.send(strange / tcp /
                        mp_join_syn{.token = one.at("forwarded").at("responder_token").get<std::uint32_t>()});
            break;
        case 2:
            forger.send(strange / tcp / mp_join_syn{.token = any});
            break;
        default:
            forger.send(own / inside / tail / dss{.data_ack = any});
        }
    }
}

void pass_quick_connections(unsigned rounds) {
    Gateway gateway(Family::ipv4, 0);
    gateway.mpsched("attach --role gateway up0 up1 --policy default");
    constexpr unsigned each = 100;
    for (unsigned i = 0; i < rounds; i++) {
        auto transfer = gateway.network.start(gateway.server,
                                              {.direction = i % 2 ? Direction::upload : Direction::download,
                                               .connections = each,
                                               .bytes = 20'000,
                                               .sample_interval = 0ms});
        check_clean(transfer.wait());
    }
    CHECK(count(gateway, "gw_conns") == rounds * each);
    CHECK(count(gateway, "gw_subflows") > rounds * each);
    CHECK(wait_until([&] { return gateway.known() == 0; }, 3s, 100ms) >= 0);
    gateway.check_hosts(false);
}

// Of what clients send.
std::uint64_t late_bytes(const Gateway &gateway) {
    std::uint64_t sum = 0;
    for (const Json &connection : gateway.forwarded())
        for (const Json &one : connection.at("forwarded").at("subflows"))
            sum += one.at("up").at("late_bytes").get<std::uint64_t>();
    return sum;
}

} // namespace

TEST_CASE("a gateway knows connections that pass it, by both hosts' tokens, and what they carry",
          "[e2e][gateway]") {
    check_watched(Family::ipv4, Direction::upload);
    check_watched(Family::ipv6, Direction::download);
}

TEST_CASE("a gateway moves what both hosts send from one uplink to the other and back, live",
          "[e2e][gateway]") {
    check_moved({.family = Family::ipv4, .mbit = path_mbit});
    check_moved({.family = Family::ipv6, .mbit = path_mbit});
}

TEST_CASE("weights at a gateway share what both hosts send", "[e2e][gateway]") {
    Gateway gateway(Family::ipv4);
    gateway.mpsched("attach --role gateway up0 up1 --policy default");
    gateway.mpsched("path up0 weight=3");
    gateway.mpsched("use weighted");
    BothWays traffic(gateway);
    std::this_thread::sleep_for(1500ms);
    Meters meters(gateway);
    const Shares seen = undisturbed([&] { return meters.over(2s); },
                                    [](const Shares &one) {
                                        return std::abs(one.up.share[0] - 0.75) < 0.07 &&
                                               std::abs(one.down.share[0] - 0.75) < 0.07;
                                    });
    report(seen.text());
    CHECK(seen.up.share[0] == Approx(0.75).margin(0.07));
    CHECK(seen.down.share[0] == Approx(0.75).margin(0.07));
    traffic.finish();
    gateway.check_hosts();
}

TEST_CASE(
    "rules at a gateway go by the ends of a connection, and no user, unit or cgroup of the box is theirs",
    "[e2e][gateway]") {
    Gateway gateway(Family::ipv4);
    gateway.mpsched("attach --role gateway up0 up1 --policy default");
    gateway.mpsched("path up1 priority=1");
    BothWays traffic(gateway);
    std::this_thread::sleep_for(1s);
    Meters meters(gateway);
    for (const char *rule : {"user=0", "cgroup=/", "mark=0x1"})
        gateway.mpsched(fmt::format("use active-standby --for {}", rule));
    std::this_thread::sleep_for(500ms);
    Shares seen = meters.over(700ms);
    report("rules of sockets: " + seen.text());
    CHECK(count(gateway, "told") == 0);
    CHECK(seen.up.share[1] > 0.2);
    CHECK(seen.down.share[1] > 0.2);

    // To who receives what the server sends, the server's is the remote port.
    gateway.mpsched(fmt::format("use active-standby --for rport={}", gateway.server.port()));
    std::this_thread::sleep_for(1s);
    seen = meters.over(700ms);
    report("a rule of the server's port: " + seen.text());
    CHECK(seen.up.share[1] > 0.2);
    CHECK(seen.down.share[1] < 0.12);
    traffic.finish();
    gateway.check_hosts();
}

TEST_CASE("a thousand quick connections pass a gateway, each is seen, and none stays", "[e2e][gateway]") {
    pass_quick_connections(10);
}

TEST_CASE("ten thousand quick connections pass a gateway, each is seen, and none stays",
          "[.][long][e2e][gateway]") {
    pass_quick_connections(100);
}

TEST_CASE("a gateway sees contents out of order where the receiving host has to keep them",
          "[e2e][gateway]") {
    Gateway gateway(Family::ipv4);
    gateway.mpsched("attach --role gateway up0 up1 --policy default");
    auto transfer = gateway.network.start(gateway.server, {.direction = Direction::upload});
    REQUIRE(transfer.wait_for_subflows(2));
    // Octets that passed late; packets that the receiver's kernel has put into its queue for what is out of order.
    const auto over = [&](std::chrono::milliseconds duration) {
        const auto kept = [&] {
            return must(mps::lab::read_counters(gateway.network.server)).get_or("MPTcpExtOFOQueue", 0);
        };
        const auto before = kept();
        const std::uint64_t late = late_bytes(gateway);
        std::this_thread::sleep_for(duration);
        return std::pair(late_bytes(gateway) - late, kept() - before);
    };
    const auto [late, kept] = over(1s);
    report(fmt::format("over both uplinks: {} octets late, {} packets kept", late, kept));
    CHECK(late > 0);
    CHECK(kept > 0);
    gateway.mpsched("path up1 priority=1");
    gateway.mpsched("use active-standby");
    std::this_thread::sleep_for(2s);
    const auto [late_alone, kept_alone] = over(1s);
    report(fmt::format("over one: {} octets late, {} packets kept", late_alone, kept_alone));
    CHECK(late_alone < late / 10);
    CHECK(kept_alone < kept / 10);
    transfer.stop();
    check_clean(transfer.wait());
}

TEST_CASE("a flood of forged SYNs, joins and packets changes nothing for connections that are known",
          "[e2e][gateway]") {
    Gateway gateway(Family::ipv4);
    gateway.mpsched("attach --role gateway up0 up1 --policy default");
    gateway.mpsched("path up1 priority=1");
    gateway.mpsched("use active-standby -s hold_ms=0");
    BothWays traffic(gateway);
    const Json before = gateway.forwarded();
    REQUIRE(before.size() == 2);
    std::thread forger([&] { flood(gateway, before, 100'000); });
    std::this_thread::sleep_for(500ms);
    gateway.mpsched("path up0 priority=2");
    forger.join();
    const Json after = gateway.forwarded();
    REQUIRE(after.size() == 2);
    for (std::size_t i = 0; i < 2; i++) {
        CHECK(after[i].at("token") == before[i].at("token"));
        CHECK(after[i].at("forwarded").at("subflows").size() == 2);
    }
    CHECK(count(gateway, "gw_conns") == 2);
    CHECK(count(gateway, "gw_subflows") == 4);
    CHECK(count(gateway, "gw_doubt") > 10'000);
    std::this_thread::sleep_for(1s);
    const Shares seen = Meters(gateway).over(1s);
    report(fmt::format("after 100,000 forged packets: {}", seen.text()));
    CHECK(seen.on(1, 0.06));
    traffic.finish();
    CHECK(wait_until([&] { return gateway.known() == 0; }, 3s, 100ms) >= 0);
    gateway.check_hosts();
}

TEST_CASE("an interface has one role at a time, and a gateway's is told and repaired", "[e2e][gateway]") {
    Gateway gateway(Family::ipv4, 0);
    gateway.mpsched("attach --role gateway up0");
    CHECK(gateway.mpsched.try_run("attach up0").exit_code != 0);
    CHECK(gateway.mpsched.try_run("attach --role gateway --mode native up1").exit_code != 0);
    gateway.mpsched("attach lan");
    CHECK(gateway.mpsched.try_run("attach --role gateway lan").exit_code != 0);
    const auto role = [&](const char *name) {
        const Json status = gateway.mpsched.json("status");
        for (const Json &one : status.at("interfaces"))
            if (one.at("name") == name)
                return one.at("role").get<std::string>() + (one.at("problem").is_null() ? "" : " problem");
        return std::string();
    };
    CHECK(role("up0") == "gateway");
    CHECK(role("lan") == "host");
    gateway.mpsched("detach up0");
    CHECK(role("up0").empty());
    gateway.mpsched("attach --role gateway up0 up1");
    gateway.mpsched("repair");
    CHECK(role("up1") == "gateway");
    gateway.mpsched("detach --all");
}
