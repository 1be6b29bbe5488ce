// SPDX-License-Identifier: MIT
//
// Leaving a real, idle connection: nothing passes that could carry an option, so detach has to bring its
// own packet.
#include "catch.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mpsched/lab/counters.hpp>
#include <mpsched/lab/network.hpp>

#include "scratch.hpp"

using namespace mps;
using namespace std::chrono_literals;
using mps::test::Scratch;

namespace {

constexpr std::uint16_t port = 5001;

// A connection over both paths of the network; both ends stay open.
class IdleConnection {
  public:
    explicit IdleConnection(const lab::Network &network) {
        const std::string address = network.server_address();
        // On every address: joins toward announced ones come to the same listener.
        const std::string any = address.find(':') == address.npos ? "0.0.0.0" : "::";
        auto listening = network.b().run([&] { return listen_on(any); });
        REQUIRE(listening);
        listener_ = *listening;
        auto connected = network.a().run([&] { return connect_to(address); });
        REQUIRE(connected);
        client_ = *connected;
        server_ = ::accept(listener_, nullptr, nullptr);
        REQUIRE(server_ >= 0);
    }
    ~IdleConnection() {
        for (const int fd : {client_, server_, listener_})
            ::close(fd);
    }
    IdleConnection(const IdleConnection &) = delete;
    IdleConnection &operator=(const IdleConnection &) = delete;

    // Data and acknowledgements: policies decide on packets.
    void exchange() const {
        const std::vector<char> block(64 * 1024);
        for (int i = 0; i < 40; i++) {
            REQUIRE(::send(client_, block.data(), block.size(), MSG_NOSIGNAL) ==
                    static_cast<ssize_t>(block.size()));
            std::vector<char> got(block.size());
            REQUIRE(::recv(server_, got.data(), got.size(), MSG_WAITALL) == static_cast<ssize_t>(got.size()));
            std::this_thread::sleep_for(5ms);
        }
    }

  private:
    static int make(const std::string &address,
                    const std::function<int(int, const sockaddr *, socklen_t)> &use) {
        addrinfo hints{};
        hints.ai_socktype = SOCK_STREAM;
        hints.ai_flags = AI_NUMERICHOST;
        addrinfo *found = nullptr;
        if (::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found))
            return -1;
        const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 262 /* IPPROTO_MPTCP */);
        const int err = fd < 0 ? -1 : use(fd, found->ai_addr, found->ai_addrlen);
        ::freeaddrinfo(found);
        return err ? -1 : fd;
    }
    static int listen_on(const std::string &address) {
        return make(address, [](int fd, const sockaddr *where, socklen_t length) {
            return ::bind(fd, where, length) || ::listen(fd, 1);
        });
    }
    static int connect_to(const std::string &address) { return make(address, ::connect); }

    int listener_ = -1;
    int client_ = -1;
    int server_ = -1;
};

template <class T, class E>
T must(std::expected<T, E> value) {
    if (!value)
        FAIL(value.error().what);
    return std::move(*value);
}

// Polls until `done` of the only connection, or fails.
ConnectionStatus wait_for(const Instance &instance, const char *what,
                          const std::function<bool(const ConnectionStatus &)> &done) {
    ConnectionStatus last;
    for (int i = 0; i < 200; i++) {
        const auto all = must(instance.connections());
        if (!all.empty()) {
            last = all.front();
            if (done(last))
                return last;
        }
        std::this_thread::sleep_for(10ms);
    }
    for (const SubflowStatus &s : last.subflows)
        UNSCOPED_INFO(s.ifname << ": backup " << s.backup << ", peer " << s.peer_backup << ", local "
                               << s.local_backup << ", allowed " << s.allowed << ", in flight "
                               << s.in_flight);
    FAIL("did not happen: " << what);
    return last;
}

std::size_t parked(const ConnectionStatus &connection) {
    return static_cast<std::size_t>(std::count_if(connection.subflows.begin(), connection.subflows.end(),
                                                  [](const SubflowStatus &s) { return s.backup; }));
}

bool idle(const ConnectionStatus &connection) {
    return std::all_of(connection.subflows.begin(), connection.subflows.end(),
                       [](const SubflowStatus &s) { return s.in_flight == 0; });
}

} // namespace

TEST_CASE("detach gives an idle subflow back the bit its peer asked for, and leaves nothing") {
    const auto family = GENERATE(lab::Family::ipv4, lab::Family::ipv6);
    const auto mode = GENERATE(Mode::tc, Mode::native, Mode::generic);
    const std::string without = GENERATE("", "tcx");
    INFO("IPv" << (family == lab::Family::ipv4 ? 4 : 6) << ", mode " << to_string(mode) << ", without "
               << without);
    ::setenv("MPS_WITHOUT", without.c_str(), 1);
    const Scratch scratch;
    const auto network =
        must(lab::Network::create({.paths = {{.name = "wan"}, {.name = "lte"}}, .family = family}));
    OpenOptions options = scratch.options();
    options.netns = network.a().name();
    auto instance = must(Instance::open(options));
    must(instance.attach({.interfaces = {"wan", "lte"}, .mode = mode}));
    must(instance.path("lte", {{"priority", "1"}}));
    must(instance.use({.policy = "active-standby"}));

    const IdleConnection connection(network);
    connection.exchange();
    wait_for(instance, "two subflows", [](const ConnectionStatus &c) { return c.subflows.size() == 2; });
    connection.exchange();
    const auto before = wait_for(instance, "the standby path is parked and all is quiet",
                                 [](const ConnectionStatus &c) { return parked(c) == 1 && idle(c); });
    CHECK(before.policy == "active-standby");
    for (const SubflowStatus &subflow : before.subflows) {
        CHECK(subflow.backup == (subflow.ifname == "lte"));
        CHECK_FALSE(subflow.peer_backup);
        CHECK(subflow.steerable);
        CHECK(subflow.tcp_state == "established");
        CHECK(subflow.local.starts_with("[") == (family == lab::Family::ipv6));
    }

    const auto detached = must(instance.detach({.all = true}));
    CHECK(detached.restored == 1);
    CHECK(detached.unrestored.empty());
    CHECK(detached.removed_everything);
    CHECK(scratch.pins() == 0);

    // A fresh look, with programs that have seen no packet: the bit is the kernel's own.
    must(instance.attach({.interfaces = {"wan"}, .mode = Mode::tc}));
    const auto after = must(instance.connections());
    REQUIRE(after.size() == 1);
    CHECK(parked(after.front()) == 0);
    connection.exchange();
    must(instance.detach({.all = true}));
    const auto counters = must(lab::read_counters(network.a()));
    CHECK(must(counters.get("TcpInCsumErrors")) == 0);
    ::unsetenv("MPS_WITHOUT");
}

TEST_CASE("detaching one interface restores its subflows and leaves the others to the policy") {
    const Scratch scratch;
    const auto network =
        must(lab::Network::create({.paths = {{.name = "wan"}, {.name = "lte"}, {.name = "sat"}}}));
    OpenOptions options = scratch.options();
    options.netns = network.a().name();
    auto instance = must(Instance::open(options));
    must(instance.attach({.interfaces = {"wan", "lte", "sat"}}));
    must(instance.path("lte", {{"priority", "1"}}));
    must(instance.path("sat", {{"priority", "2"}}));
    must(instance.use({.policy = "active-standby"}));
    const IdleConnection connection(network);
    connection.exchange();
    wait_for(instance, "three subflows", [](const ConnectionStatus &c) { return c.subflows.size() == 3; });
    connection.exchange();
    wait_for(instance, "both standby paths are parked",
             [](const ConnectionStatus &c) { return parked(c) == 2 && idle(c); });

    const auto detached = must(instance.detach({.interfaces = {"lte"}}));
    CHECK(detached.restored == 1);
    CHECK(detached.unrestored.empty());
    CHECK_FALSE(detached.removed_everything);
    const auto now = must(instance.connections());
    REQUIRE(now.size() == 1);
    for (const SubflowStatus &subflow : now.front().subflows) {
        INFO(subflow.ifname);
        CHECK(subflow.backup == (subflow.ifname == "sat"));
        CHECK(subflow.steerable == (subflow.ifname != "lte"));
    }
    CHECK(must(instance.detach({.all = true})).restored == 1);
}

TEST_CASE("what the peer itself asked for is what detach leaves") {
    const Scratch scratch;
    const auto network = must(lab::Network::create(
        {.paths = {{.name = "wan"}, {.name = "lte"}}, .joins = lab::Joins::server_signal}));
    OpenOptions options = scratch.options();
    options.netns = network.a().name();
    auto instance = must(Instance::open(options));
    must(instance.attach({.interfaces = {"wan", "lte"}}));
    must(instance.use({.policy = "default"}));
    const IdleConnection connection(network);
    connection.exchange();
    wait_for(instance, "two subflows", [](const ConnectionStatus &c) { return c.subflows.size() == 2; });
    connection.exchange();
    const auto only = [](const char *name, auto bit) {
        return [name, bit](const ConnectionStatus &c) {
            return idle(c) && std::all_of(c.subflows.begin(), c.subflows.end(), [&](const SubflowStatus &s) {
                       return s.*bit == (s.ifname == name);
                   });
        };
    };

    // A real MP_PRIO on the wire: B wants the second path as backup.
    test::run("ip -n " + network.b().name() + " mptcp endpoint change " + network.address(lab::Side::b, 1) +
              " backup");
    wait_for(instance, "B's wish is seen", only("lte", &SubflowStatus::peer_backup));
    wait_for(instance, "and obeyed", only("lte", &SubflowStatus::backup));
    // Ours is the opposite.
    must(instance.path("wan", {{"priority", "1"}}));
    must(instance.use({.policy = "active-standby", .params = {{"hold_ms", "0"}}}));
    connection.exchange();
    wait_for(instance, "wan is parked and lte is not", only("wan", &SubflowStatus::backup));
    wait_for(instance, "B's wish is not forgotten", only("lte", &SubflowStatus::peer_backup));

    const auto detached = must(instance.detach({.all = true}));
    CHECK(detached.restored == 2);
    CHECK(detached.unrestored.empty());
    must(instance.attach({.interfaces = {"wan"}}));
    wait_for(instance, "B has what it wants", only("lte", &SubflowStatus::backup));
    must(instance.detach({.all = true}));
}
