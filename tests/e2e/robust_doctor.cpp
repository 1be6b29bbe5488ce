// SPDX-License-Identifier: MIT
//
// What is not steered is said: `doctor`, the problems and notes of `status`, and what `conns` calls things.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include <fmt/format.h>

#include "robust_rig.hpp"

using namespace mps::robust;
using namespace mps;

namespace {

#ifndef IPPROTO_MPTCP
constexpr int IPPROTO_MPTCP = 262;
#endif

// What `doctor` says under this id, null if nothing. Its exit code has to agree with what it says.
Json finding(const Rig &rig, const std::string &id) {
    const auto result = rig.run({"doctor", "--json"});
    INFO(result.out << result.err);
    const Json all = Json::parse(result.out);
    CHECK(result.exit_code == (all["problems"].get<int>() ? 1 : 0));
    for (const Json &one : all["findings"])
        if (one["id"] == id)
            return one;
    return nullptr;
}

bool is_told(const Json &lines, const std::string &text) { return lines.dump().contains(text); }

// Pure ACKs with a data ACK (RFC 8684 3.3), of a connection that nobody here has.
void send_foreign_acks(const Rig &rig, std::size_t path, int count) {
    const bool sent = must(rig.network().b().run([&] {
        const Fd socket(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP));
        const auto to = e2e::endpoint(rig.network().address(lab::Side::a, path), 0);
        std::array<std::uint8_t, 28> segment{0x12, 0x34, 0x56, 0x78, 0,    0,    0, 1, 0, 0,
                                             0,    1,    0x70, 0x10, 0x01, 0x00, 0, 0, 0, 0,
                                             30,   8,    0x20, 0x01, 0,    0,    0, 7};
        bool good = true;
        for (int i = 0; i < count; i++)
            good &= ::sendto(socket.get(), segment.data(), segment.size(), 0,
                             reinterpret_cast<const sockaddr *>(&to),
                             sizeof to) == static_cast<ssize_t>(segment.size());
        return good;
    }));
    REQUIRE(sent);
}

Fd connected(const lab::Namespace &ns, const std::string &address, std::uint16_t port) {
    return must(ns.run([&] {
        Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
        const auto to = e2e::endpoint(address, port);
        if (::connect(socket.get(), reinterpret_cast<const sockaddr *>(&to), sizeof to))
            FAIL("cannot connect: errno " << errno);
        return socket;
    }));
}

Fd plain_listener(const lab::Namespace &ns, std::uint16_t port) {
    return must(ns.run([&] {
        Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
        const auto at = e2e::endpoint("0.0.0.0", port);
        if (::bind(socket.get(), reinterpret_cast<const sockaddr *>(&at), sizeof at) ||
            ::listen(socket.get(), 4))
            FAIL("cannot listen: errno " << errno);
        return socket;
    }));
}

} // namespace

TEST_CASE(
    "a subflow on an interface that is not attached is called unsteered, and doctor says what to attach",
    "[robust][doctor]") {
    const Rig rig(two_paths(20));
    rig.ok({"attach", "dsl", "--policy", "weighted"});
    const auto server = e2e::serve(rig.network());
    auto transfer = rig.transfer(server, {});
    REQUIRE(eventually([&] { return !finding(rig, "unsteered").is_null(); }));
    const Json told = finding(rig, "unsteered");
    CHECK(told["severity"] == "problem");
    CHECK(told["subject"] == "lte");
    CHECK(told["next"] == "'mpsched attach lte'");
    CHECK(is_told(rig.status()["problems"], "lte, which is not attached"));
    const std::string text = rig.ok({"conns"}).out;
    CHECK(text.contains("unsteered"));

    // The kernel's bytes per time, not what TCP would let go.
    double acked = 0;
    CHECK(eventually([&] {
        acked = 0;
        for (const Json &connection : rig.json({"conns"}))
            for (const Json &subflow : connection["subflows"])
                acked +=
                    subflow["acked_bytes_s"].is_null() ? 0 : subflow["acked_bytes_s"].get<double>() * 8 / 1e6;
        return acked > 8;
    }));
    e2e::report(fmt::format("throughput of 2 x 20 Mbit/s: {:.1f}", acked));
    CHECK(acked < 60);

    rig.ok({"attach", "lte"});
    CHECK(eventually([&] { return rig.status()["problems"].empty(); }));
    CHECK_FALSE(rig.ok({"conns"}).out.contains("unsteered"));
    transfer.stop();
    (void)transfer.wait();
    rig.ok({"detach", "--all"});
}

TEST_CASE("packets that find no socket are told with their interface and the likely reason",
          "[robust][doctor]") {
    const Rig rig;
    const std::string mode = GENERATE("tc", "native", "generic");
    CAPTURE(mode);
    rig.ok({"attach", "dsl", "lte", "--mode", mode});
    send_foreign_acks(rig, 1, 30);
    REQUIRE(eventually([&] { return !finding(rig, "no-socket").is_null(); }));
    const Json told = finding(rig, "no-socket");
    CHECK(told["subject"] == "lte");
    CHECK(told["severity"] == "note");
    CHECK(told["what"].get<std::string>().contains("30 MPTCP packets"));
    CHECK(told["what"].get<std::string>().contains(rig.network().address(lab::Side::b, 1) + ":4660"));
    CHECK(told["why"].get<std::string>().contains("an address of this host"));
    CHECK(is_told(rig.status()["notes"], "lte: 30 MPTCP packets found no socket"));

    // Below a bridge sockets know another device: now it is the place that is wrong.
    must(rig.here().ip("link add br0 type bridge\nlink set lte master br0"));
    const Json below = finding(rig, "no-socket");
    CHECK(below["severity"] == "problem");
    CHECK(below["why"].get<std::string>().contains("br0"));
    rig.ok({"detach", "--all"});
}

TEST_CASE("MPTCP that is switched off, has no limits, or flags that overrule a policy, is told",
          "[robust][doctor]") {
    auto spec = two_paths();
    spec.paths[1].backup = true;
    const Rig rig(spec);
    // Also before the first attach.
    CHECK(finding(rig, "not-attached")["severity"] == "note");
    rig.ok({"attach", "dsl", "lte"});
    CHECK(rig.status()["problems"].empty());
    const Json flag = finding(rig, "backup-endpoint");
    CHECK(flag["subject"].is_null() + (flag["subject"] == "lte") == 1);
    CHECK(flag["next"].get<std::string>().contains("nobackup"));
    CHECK(flag["what"].get<std::string>().contains(rig.network().address(lab::Side::a, 1)));

    must(rig.here().spawn_checked({"ip", "mptcp", "limits", "set", "subflows", "0"}));
    CHECK(finding(rig, "no-subflows-allowed")["severity"] == "problem");
    must(rig.here().spawn_checked({"ip", "mptcp", "limits", "set", "subflows", "8"}));
    must(rig.here().spawn_checked({"ip", "mptcp", "endpoint", "flush"}));
    CHECK(finding(rig, "no-endpoints")["severity"] == "note");
    must(rig.here().spawn_checked({"sysctl", "-qw", "net.mptcp.enabled=0"}));
    CHECK(finding(rig, "mptcp-off")["severity"] == "problem");
    CHECK(is_told(rig.status()["problems"], "switched off"));
    rig.ok({"detach", "--all"});
}

TEST_CASE("a connection whose peer has no MPTCP is called plain TCP", "[robust][doctor]") {
    const Rig rig;
    rig.ok({"attach", "dsl", "lte"});
    const auto listener = plain_listener(rig.network().b(), 4444);
    const auto socket = connected(rig.here(), rig.network().address(lab::Side::b, 0), 4444);
    const Json told = finding(rig, "plain-tcp");
    REQUIRE_FALSE(told.is_null());
    CHECK(told["what"].get<std::string>().contains(":4444"));
    CHECK(rig.json({"conns"})[0]["plain_tcp"] == true);
    CHECK(rig.ok({"conns"}).out.contains("plain TCP"));
    CHECK(finding(rig, "one-subflow").is_null());
    rig.ok({"detach", "--all"});
}
