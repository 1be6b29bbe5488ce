// SPDX-License-Identifier: MIT
//
// What is remembered of a connection stays as long as the connection does, and no longer: the table of connections.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <deque>

#include <fmt/format.h>

#include "base/fd.hpp"
#include <mpsched/lab/mptcp.hpp>

#include "traffic.hpp"

using mps::Fd;
using namespace mps::lab;
using namespace mps::e2e;

namespace {

#ifndef IPPROTO_MPTCP
constexpr int IPPROTO_MPTCP = 262;
#endif

constexpr int room = 16; // the least that can be asked for

Fd mptcp_socket() { return Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP)); }

// Both ends of a connection. It carries something when it is told to, and else nothing.
struct Pair {
    Fd client, server;

    void talk() const {
        char octet = 'x';
        const bool said = ::send(client.get(), &octet, 1, 0) == 1 &&
                          ::recv(server.get(), &octet, 1, 0) == 1 &&
                          ::send(server.get(), &octet, 1, 0) == 1 && ::recv(client.get(), &octet, 1, 0) == 1;
        REQUIRE(said);
    }
    std::size_t subflows() const { return must(sample_connection(client.get())).subflows.size(); }
};

// Ends by MP_FASTCLOSE and RST, without FIN.
void reset(Fd &socket) {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    socket = Fd();
}

// Two hosts, two paths; A is steered by active-standby, which parks what is on lte, and has room for 16 connections.
class Scene {
  public:
    Scene() {
        mpsched(fmt::format("attach dsl --policy default --max-connections {}", room));
        attachment_.emplace(network_.a(), std::vector<std::string>{"dsl", "lte"}, "tc");
        mpsched("path lte priority=1");
        mpsched("use active-standby");
        must(network_.b().run([&] {
            const auto any = endpoint("0.0.0.0", port_);
            listener_ = mptcp_socket();
            if (::bind(listener_.get(), reinterpret_cast<const sockaddr *>(&any), sizeof any) ||
                ::listen(listener_.get(), 64))
                FAIL("cannot listen: errno " << errno);
        }));
    }

    Pair open() {
        Pair pair;
        must(network_.a().run([&] {
            const auto to = endpoint(network_.server_address(), port_);
            pair.client = mptcp_socket();
            if (::connect(pair.client.get(), reinterpret_cast<const sockaddr *>(&to), sizeof to))
                FAIL("cannot connect: errno " << errno);
        }));
        pair.server = Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        pair.talk();
        const bool joined = wait_until([&] { return pair.subflows() == 2; }, 5s, 2ms) >= 0;
        REQUIRE(joined);
        pair.talk();
        return pair;
    }

    // Subflows of A that are backups as its kernel has it; ours is the only word on that.
    std::ptrdiff_t parked() const {
        return std::ranges::count_if(kernel_subflows(network_.a()), &KernelSubflow::backup);
    }
    // While the connection talks.
    void check_parked(const Pair &talking, std::ptrdiff_t expected) const {
        wait_until(
            [&] {
                talking.talk();
                return parked() == expected;
            },
            5s, 10ms);
        CHECK(parked() == expected);
    }
    std::int64_t counter(const std::string &name) const { return mpsched.json("stats")[name]; }
    void detach() { attachment_->detach(); }

  private:
    static constexpr std::uint16_t port_ = 5201;
    Network network_ = must(Network::create({.paths = {{.name = "dsl"}, {.name = "lte"}}}));
    Fd listener_;

  public:
    Cli mpsched{network_.a()};

  private:
    std::optional<Attachment> attachment_;
};

} // namespace

TEST_CASE("what is known of an idle connection stays however many connections come and go meanwhile",
          "[e2e]") {
    Scene scene;
    Pair idle = scene.open();
    scene.check_parked(idle, 1);
    for (int i = 0; i < 5 * room; ++i) {
        Pair brief = scene.open();
        // In order, by the client's reset, and by the server's.
        if (i % 3)
            reset(i % 3 == 1 ? brief.client : brief.server);
    }
    CHECK(scene.counter("conn_new") == 1 + 5 * room);
    CHECK(scene.counter("conn_full") == 0);
    wait_until([&] { return scene.parked() == 1; }, 5s);
    scene.mpsched("path lte priority=0");
    scene.check_parked(idle, 0);
    scene.mpsched("path lte priority=1");
    scene.check_parked(idle, 1);
    scene.detach();
    CHECK(scene.parked() == 0);
}

TEST_CASE("a connection that finds no room is not steered and is told, until one that has room ends",
          "[e2e]") {
    Scene scene;
    std::deque<Pair> all;
    for (int i = 0; i < room; ++i) {
        all.push_back(scene.open());
        scene.check_parked(all.back(), i + 1);
    }
    Pair late = scene.open();
    for (int i = 0; i < 30; ++i) {
        late.talk();
        std::this_thread::sleep_for(2ms);
    }
    CHECK(scene.parked() == room);
    CHECK(scene.counter("conn_full") == 1);
    CHECK(scene.mpsched("status").out.contains("1 connection found no room in the table"));
    // Those that have it are steered as before.
    scene.mpsched("path lte priority=0");
    for (const Pair &one : all)
        one.talk();
    scene.check_parked(all.front(), 0);
    scene.mpsched("path lte priority=1");
    for (std::size_t i = 0; i < all.size(); ++i)
        scene.check_parked(all[i], static_cast<std::ptrdiff_t>(i) + 1);

    reset(all.front().client);
    all.pop_front();
    scene.check_parked(late, room);
}

TEST_CASE("the size of the table is chosen at the first attach and told", "[e2e]") {
    Scene scene;
    CHECK(scene.mpsched.json("status")["max_connections"] == room);
    CHECK(scene.mpsched(fmt::format("attach dsl --max-connections {}", room)).exit_code == 0);
    const auto other = scene.mpsched.try_run("attach dsl --max-connections 1k");
    CHECK(other.exit_code == 2);
    CHECK(other.err.contains("was made for 16 connections"));
    for (const auto *wrong : {"15", "0", "-1", "2M", "many", "16x"}) {
        INFO(wrong);
        CHECK(scene.mpsched.try_run(fmt::format("attach dsl --max-connections={}", wrong)).exit_code == 2);
    }
}
