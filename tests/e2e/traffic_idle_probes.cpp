// SPDX-License-Identifier: MIT
//
// Idle subflows are probed while `attach --follow --probe-idle` runs. Segments that left, timers and subflows are the kernel's own account of them,
// as ss(8) shows it, and its counter of keepalive probes.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/fd.hpp"
#include "standby_pair.hpp"

using namespace mps::lab;
using namespace mps::e2e;
using mps::Fd;

namespace {

struct IdleSubflows {
    int number = 0;
    int segments_sent = 0; // all of them together, handshake included
    int keepalive_timers = 0;
};

// ADDRESS:PORT, ADDRESS%DEVICE:PORT, [ADDRESS]:PORT
bool is_from(const std::string &local, const std::string &address) {
    const auto at = local.find(address);
    return at != local.npos && std::string_view(":%]").contains(local[at + address.size()]);
}

int number_after(const std::string &line, const std::string &label) {
    const auto at = line.find(label);
    return at == line.npos ? 0 : std::stoi(line.substr(at + label.size()));
}

// A socket of this namespace that listens at this address, whose port comes back in it, or is connected to it.
Fd open_socket(const Namespace &ns, sockaddr_storage &address, bool listens) {
    Fd fd = must(ns.run([&]() -> Result<Fd> {
        return Fd(::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
    }));
    REQUIRE(fd);
    auto *at = reinterpret_cast<sockaddr *>(&address);
    socklen_t length = sizeof address;
    if (!listens) {
        REQUIRE(::connect(fd.get(), at, length) == 0);
        return fd;
    }
    REQUIRE(::bind(fd.get(), at, length) == 0);
    REQUIRE(::listen(fd.get(), 64) == 0);
    REQUIRE(::getsockname(fd.get(), at, &length) == 0);
    return fd;
}

sockaddr_storage any_port_of(const std::string &address) {
    sockaddr_storage at{};
    if (address.contains(':')) {
        auto &v6 = reinterpret_cast<sockaddr_in6 &>(at);
        v6.sin6_family = AF_INET6;
        REQUIRE(::inet_pton(AF_INET6, address.c_str(), &v6.sin6_addr) == 1);
    } else {
        auto &v4 = reinterpret_cast<sockaddr_in &>(at);
        v4.sin_family = AF_INET;
        REQUIRE(::inet_pton(AF_INET, address.c_str(), &v4.sin_addr) == 1);
    }
    return at;
}

// Connections over which nothing goes but what a test asks for.
struct Scene : StandbyPair {
    struct Connection {
        Fd client, accepted;
    };
    Fd listener{}; // which takes joins, too
    std::vector<Connection> connections{};

    explicit Scene(int number = 1, Family family = Family::ipv4) : StandbyPair(family) {
        sockaddr_storage address = any_port_of(network.address(Side::b, 0));
        listener = open_socket(network.b(), address, true);
        for (int i = 0; i < number; i++) {
            Fd client = open_socket(network.a(), address, false);
            connections.push_back(
                {std::move(client), Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC))});
            (void)request(connections.back()); // joins follow the first data
        }
        REQUIRE(wait_until([&] { return look(0).number == number && look(1).number == number; }, 20s) >= 0);
        std::this_thread::sleep_for(200ms);
        (void)request();
    }
    // An octet there and back; how long it took.
    [[nodiscard]] static double request(const Connection &connection) {
        const auto begun = std::chrono::steady_clock::now();
        char octet = 'x';
        REQUIRE(::write(connection.client.get(), &octet, 1) == 1);
        REQUIRE(::read(connection.accepted.get(), &octet, 1) == 1);
        REQUIRE(::write(connection.accepted.get(), &octet, 1) == 1);
        REQUIRE(::read(connection.client.get(), &octet, 1) == 1);
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    }
    [[nodiscard]] double request() const { return request(connections.front()); }
    // From this path's address.
    [[nodiscard]] IdleSubflows look(std::size_t path) const {
        IdleSubflows all;
        const std::string address = network.address(Side::a, path);
        std::istringstream lines(
            must(network.a().spawn_checked({"ss", "-tinoHO", "state", "established"})).out);
        for (std::string line; std::getline(lines, line);) {
            std::istringstream columns(line);
            std::string receive_queue, send_queue, local;
            columns >> receive_queue >> send_queue >> local;
            if (!is_from(local, address) || !line.contains("tcp-ulp-mptcp"))
                continue;
            all.number++;
            all.segments_sent += number_after(line, " segs_out:");
            all.keepalive_timers += line.contains("timer:(keepalive");
        }
        return all;
    }
    [[nodiscard]] std::int64_t probes() const {
        return must(must(read_counters(network.a())).get("TcpExtTCPKeepAlive"));
    }
    [[nodiscard]] bool is_open(std::size_t path) const {
        return std::ranges::any_of(kernel_subflows(network.a()), [&](const KernelSubflow &one) {
            return is_from(one.local, network.address(Side::a, path)) && !one.backup;
        });
    }
};

// How long a request takes whose path died in the pause before it.
double request_after_pause(const char *follow, bool probes, Family family) {
    Scene scene(1, family);
    const std::int64_t before = scene.probes();
    const Process follower = scene.mpsched.start(follow);
    std::this_thread::sleep_for(500ms);
    must(scene.network.set_blackhole(0, true));
    if (probes)
        CHECK(wait_until([&] { return scene.look(0).number == 0; }, 20s, 5ms) >= 0);
    else
        std::this_thread::sleep_for(1500ms);
    CHECK(scene.look(0).number == (probes ? 0 : 1));
    CHECK((scene.probes() - before >= 2) == probes);
    const double took = scene.request();
    must(scene.network.set_blackhole(0, false));
    if (probes)
        CHECK(wait_until([&] { return scene.look(0).number == 1; }, 20s) >= 0);
    return took;
}

void check_died_in_pause(Family family) {
    struct Seen {
        double probed, left;
    };
    const auto seen = undisturbed(
        [&] {
            return Seen{request_after_pause("attach --follow --probe-idle 1 --close-silent", true, family),
                        request_after_pause("attach --follow", false, family)};
        },
        [](const Seen &s) { return s.probed < 0.5 * s.left; }, 2);
    report(fmt::format("request after the pause: {:.0f} ms, {:.0f} ms without probes", seen.probed * 1000,
                       seen.left * 1000));
    CHECK(seen.probed < 0.5 * seen.left);
}

// `end`: what follows a follower that was killed; "": it ends by itself.
void check_put_back(const std::string &end) {
    Scene scene;
    CHECK(wait_until([&] { return !scene.is_open(1); }, 5s) >= 0);
    Process follower = scene.mpsched.start("attach --follow --probe-idle 1");
    std::this_thread::sleep_for(300ms);
    must(scene.network.set_blackhole(0, true));
    CHECK(wait_until([&] { return scene.is_open(1); }, 20s) >= 0);
    CHECK(wait_until([&] { return scene.look(0).keepalive_timers == 1; }, 20s) >= 0);
    must(follower.signal(end.empty() ? SIGTERM : SIGKILL));
    (void)follower.wait(5s);
    if (!end.empty()) {
        CHECK(scene.look(0).keepalive_timers == 1);
        scene.mpsched(end);
    }
    CHECK(scene.look(0).number == 1);
    CHECK(scene.look(0).keepalive_timers == 0);
    CHECK(scene.look(1).keepalive_timers == 0);
    const std::int64_t before = scene.probes();
    must(scene.network.set_blackhole(0, false));
    std::this_thread::sleep_for(2s);
    CHECK(scene.probes() == before);
}

} // namespace

TEST_CASE("a path that died in a pause is left before the next request meets it", "[e2e][guard]") {
    check_died_in_pause(Family::ipv4);
}

TEST_CASE("a path that died in a pause is left before the next request meets it, with IPv6",
          "[.][long][e2e][guard]") {
    check_died_in_pause(Family::ipv6);
}

TEST_CASE(
    "what is parked is opened in a pause in favour of what does not answer, and what probes changed is put back",
    "[e2e][guard]") {
    check_put_back("repair");
}

TEST_CASE("what probes changed is put back by who follows, at its end, and by detach",
          "[.][long][e2e][guard]") {
    check_put_back(GENERATE("", "detach --all"));
}

TEST_CASE("an application's own keepalive is left as it is, and comes into force during a probe",
          "[e2e][guard]") {
    Scene scene(2);
    const int on = 1, seconds = 5;
    const auto keep_alive = [&](const Scene::Connection &one) {
        REQUIRE(::setsockopt(one.client.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0);
        (void)::setsockopt(one.client.get(), IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
    };
    keep_alive(scene.connections[0]);
    REQUIRE(scene.look(0).keepalive_timers == 1);
    const Process follower = scene.mpsched.start("attach --follow --probe-idle 1");
    must(scene.network.set_blackhole(0, true));
    CHECK(wait_until([&] { return scene.look(0).keepalive_timers == 2; }, 20s) >= 0);
    keep_alive(scene.connections[1]);
    must(scene.network.set_blackhole(0, false));
    std::this_thread::sleep_for(5s);
    CHECK(scene.look(0).keepalive_timers == 2);
    CHECK(scene.look(1).keepalive_timers == 2);
}

TEST_CASE(
    "a path that costs is probed once in ten seconds, whatever is asked and however many subflows it has",
    "[.][long][e2e][guard]") {
    Scene scene(50);
    scene.mpsched("path lte cost=10");
    const Process follower = scene.mpsched.start("attach --follow --probe-idle 1");
    const int dsl = scene.look(0).segments_sent, lte = scene.look(1).segments_sent;
    for (int second = 1; second <= 25; second++) {
        std::this_thread::sleep_for(1s);
        CHECK(scene.look(1).segments_sent - lte <= 1 + second / 10);
    }
    CHECK(scene.look(1).segments_sent - lte >= 1);
    CHECK(scene.look(0).segments_sent - dsl >= 8);
    scene.mpsched("path lte cost=0");
    const int costly = scene.look(1).segments_sent;
    CHECK(wait_until([&] { return scene.look(1).segments_sent >= costly + 3; }, 15s) >= 0);
}

TEST_CASE("a link that goes down while it is probed is probed again when it is back",
          "[.][long][e2e][guard]") {
    Scene scene;
    const Process follower = scene.mpsched.start("attach --follow --probe-idle 1");
    must(scene.network.set_blackhole(0, true));
    CHECK(wait_until([&] { return scene.look(0).keepalive_timers == 1; }, 20s) >= 0);
    must(scene.network.set_link(0, false, Side::a));
    CHECK(wait_until([&] { return scene.look(0).keepalive_timers == 0; }, 10s) >= 0);
    const int before = scene.look(0).segments_sent;
    std::this_thread::sleep_for(4s);
    CHECK(scene.look(0).segments_sent == before);
    must(scene.network.set_blackhole(0, false));
    must(scene.network.set_link(0, true, Side::a));
    CHECK(wait_until([&] { return scene.look(0).segments_sent >= before + 3; }, 20s) >= 0);
    CHECK(scene.look(0).number == 1);
}

TEST_CASE("of two that follow one probes, and the other takes over when it ends", "[e2e][guard]") {
    const char *follow = "attach --follow --probe-idle 1";
    Scene scene;
    Process first = scene.mpsched.start(follow);
    std::this_thread::sleep_for(300ms);
    must(scene.network.set_blackhole(0, true));
    REQUIRE(wait_until([&] { return scene.look(0).keepalive_timers == 1; }, 20s) >= 0);
    // What a second one puts back at its start and at its end would be the first one's.
    const auto is_put_back = [&] { return scene.look(0).keepalive_timers == 0; };
    Process second = scene.mpsched.start(follow);
    CHECK(wait_until(is_put_back, 3s, 20ms) < 0);
    must(second.signal(SIGTERM));
    CHECK(wait_until(is_put_back, 1500ms, 20ms) < 0);
    (void)second.wait(5s);
    const Process third = scene.mpsched.start(follow);
    std::this_thread::sleep_for(1s);
    must(first.signal(SIGKILL));
    (void)first.wait(5s);
    must(scene.network.set_blackhole(0, false));
    const std::int64_t before = scene.probes();
    CHECK(wait_until([&] { return scene.probes() >= before + 3; }, 20s) >= 0);
}
