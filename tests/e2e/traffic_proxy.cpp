// SPDX-License-Identifier: MIT
//
// `mpsched proxy`: hosts and servers that know nothing of MPTCP, and haproxy on the gateway between them. That connections are MPTCP's is read from the
// counters of the kernels, where bytes go from those of the devices.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <thread>

#include "gateway_rig.hpp"
#include "proxy_network.hpp"

using namespace mps::e2e;
using mps::Fd, mps::lab::Namespace, mps::lab::ProcessOptions, mps::lab::Protocol, mps::lab::TransferSpec,
    mps::lab::run_process;
namespace fs = std::filesystem;

namespace {

// haproxy as the kernel lets another user start it: what is unpacked for tests is below root's home.
struct Haproxy {
    TemporaryFolder folder;

    Haproxy() {
        const auto unpacked =
            must(run_process({MPS_SOURCE_DIR "/tests/fetch-program", "haproxy"}, {.timeout = 300s}));
        INFO(unpacked.err);
        REQUIRE(unpacked.ok());
        const fs::path root = unpacked.out.substr(0, unpacked.out.find('\n'));
        REQUIRE(::chmod(folder.path().c_str(), 0755) == 0);
        fs::copy(root / "usr/sbin/haproxy", folder.path());
        for (const auto &file : fs::recursive_directory_iterator(root / "usr/lib"))
            if (const std::string name = file.path().filename();
                name.contains(".so") && fs::exists(file.path()))
                fs::copy_file(fs::canonical(file), folder / name, fs::copy_options::skip_existing);
        ::setenv("LD_LIBRARY_PATH", folder.path().c_str(), 1);
    }
    std::string relay() const { return " --relay " + folder / "haproxy"; }
};

struct Proxied : ProxyNetwork {
    Haproxy haproxy;
    Cli mpsched{network.gateway};
    CleanupGuard guard{[cli = Cli(network.gateway)] {
        std::ignore = cli.try_run("proxy stop");
        std::ignore = cli.try_run("detach --all");
    }};

    explicit Proxied(double mbit = 0, Family family = Family::ipv4) : ProxyNetwork(mbit, family) {}
    ~Proxied() {
        std::ignore = mpsched.try_run("proxy stop");
        std::ignore = mpsched.try_run("detach --all");
    }
    void start(const std::string &words = "") const {
        mpsched("proxy start --lan lan " + words + haproxy.relay());
    }
    Json status() const {
        const Json all = mpsched.json("proxy status");
        return all.empty() ? Json() : all.at(0);
    }
    Json relay() const { return status().at("relay"); }
    bool relay_is(const std::string &state) const { return relay().at("state") == state; }
    std::vector<pid_t> processes() const {
        std::istringstream lines(must(run_process({"ip", "netns", "pids", network.gateway.name()})).out);
        std::vector<pid_t> found;
        for (pid_t pid = 0; lines >> pid;)
            found.push_back(pid);
        return found;
    }
};

// Of a proxy in another namespace.
struct Ending {
    Cli mpsched;
    CleanupGuard guard{[cli = mpsched] {
        std::ignore = cli.try_run("proxy stop");
        std::ignore = cli.try_run("detach --all");
    }};

    explicit Ending(const Cli &of) : mpsched(of) {}
    Ending(const Ending &) = delete;
    Ending &operator=(const Ending &) = delete;
    ~Ending() {
        std::ignore = mpsched.try_run("proxy stop");
        std::ignore = mpsched.try_run("detach --all");
    }
};

} // namespace

TEST_CASE("TCP of hosts behind a gateway fills both its uplinks, under policies that are swapped live",
          "[e2e][proxy]") {
    Proxied proxied(path_mbit);
    proxied.start();
    proxied.mpsched("attach up0 up1");
    const double sum = 2 * path_mbit;
    for (const Direction direction : {Direction::download, Direction::upload}) {
        const bool is_down = direction == Direction::download;
        const Counters before = proxied.gateway_counters();
        Transfer transfer = proxied.begin({.direction = direction});
        Meter meter(is_down ? proxied.network.gateway : proxied.network.server, {"up0", "up1"});
        const auto over = [&](const std::string &what) {
            std::this_thread::sleep_for(path_time(1s));
            const Window window = meter.over(path_time(2s));
            report(fmt::format("{} {}: {}", is_down ? "download" : "upload", what, window.text()));
            return window;
        };
        proxied.mpsched("use default");
        CHECK(undisturbed([&] { return over("default").total_mbit; },
                          [&](double got) { return got >= .95 * sum; }) >= .95 * sum);
        // One uplink alone, then the other, under the same connection.
        for (const std::size_t only : {std::size_t{1}, std::size_t{0}}) {
            proxied.mpsched(fmt::format("path up{} priority=1", only));
            proxied.mpsched(fmt::format("path up{} priority=2", 1 - only));
            proxied.mpsched("use active-standby --direction both");
            const auto carries = [&](const Window &window) { return window.share[only] > .9; };
            CHECK(carries(undisturbed([&] { return over(fmt::format("up{} alone", only)); }, carries)));
        }
        transfer.stop();
        const auto result = transfer.wait();
        CHECK(result.errors() == 0);
        CHECK(result.verified());
        CHECK(result.any_fallback()); // the host's side is TCP
        const Counters moved = proxied.gateway_counters() - before;
        CHECK(must(moved.get("MPTcpExtMPCapableSYNTX")) == 1);
        CHECK(must(moved.get("MPTcpExtMPCapableSYNACKRX")) == 1);
        CHECK(must(moved.get("MPTcpExtMPJoinSynAckRx")) >= 1);
    }
    CHECK(proxied.status().at("connections").at("taken") == 2);
}

TEST_CASE("a relay that is killed comes back, and only its own connections are lost", "[e2e][proxy]") {
    Proxied proxied(path_mbit);
    proxied.start(fmt::format("--port {}", proxied.server.port()));
    const Server other = must(Server::start(proxied.network.server, {}));
    const auto to_other = [&](TransferSpec spec) { return proxied.network.start(other, std::move(spec)); };
    Transfer lost = proxied.begin({.duration = 60s}), passing = to_other({.protocol = Protocol::tcp}),
             speaking = proxied.network.start(proxied.server, {});
    const Json before = proxied.relay();
    CHECK(proxied.status().at("connections").at("taken") == 1);
    CHECK(proxied.status().at("connections").at("mptcp") >= 1);
    REQUIRE(::kill(before.at("pid").get<pid_t>(), SIGKILL) == 0);
    // It is told, the connection that went through it ended, and the next one has a relay again.
    CHECK(lost.wait().errors() == 1);
    REQUIRE(wait_until([&] { return proxied.relay_is("ready"); }, 20s, 50ms) >= 0);
    CHECK(proxied.relay().at("pid") != before.at("pid"));
    CHECK(proxied.relay().at("starts") == 2);
    const Counters counted = proxied.gateway_counters();
    CHECK(proxied.begin({.bytes = 100'000}).wait().verified());
    CHECK(must((proxied.gateway_counters() - counted).get("MPTcpExtMPCapableSYNTX")) == 1);
    passing.stop();
    speaking.stop();
    CHECK(passing.wait().verified());
    const auto spoken = speaking.wait();
    CHECK(spoken.verified());
    CHECK_FALSE(spoken.any_fallback());
}

TEST_CASE("without a relay that answers, and without its keeper, connections pass as they were",
          "[e2e][proxy]") {
    Proxied proxied;
    const std::string before = proxied.network_state();
    const auto processes = proxied.processes();
    proxied.start();
    const auto speaks_mptcp = [&] {
        const Counters counted = proxied.gateway_counters();
        CHECK(proxied.begin({.bytes = 10'000}).wait().verified());
        return must((proxied.gateway_counters() - counted).get("MPTcpExtMPCapableSYNTX")) > 0;
    };
    CHECK(speaks_mptcp());
    const auto relay = proxied.relay().at("pid").get<pid_t>(),
               keeper = proxied.status().at("pid").get<pid_t>();
    REQUIRE(::kill(relay, SIGSTOP) == 0);
    REQUIRE(wait_until([&] { return proxied.relay_is("silent"); }, 30s, 100ms) >= 0);
    CHECK_FALSE(speaks_mptcp());
    REQUIRE(::kill(relay, SIGCONT) == 0);
    REQUIRE(wait_until([&] { return proxied.relay_is("ready"); }, 30s, 100ms) >= 0);
    CHECK(speaks_mptcp());
    REQUIRE(::kill(keeper, SIGKILL) == 0);
    CHECK(wait_until([&] { return proxied.processes() == processes; }, 10s, 50ms) >= 0);
    CHECK(proxied.network_state() != before);
    CHECK_FALSE(speaks_mptcp());
    CHECK(proxied.mpsched.json("proxy stop").at("cleaned") == Json::array({"lan"}));
    CHECK(proxied.network_state() == before);
    // The same when it ends in order.
    proxied.start();
    CHECK(speaks_mptcp());
    CHECK(proxied.mpsched.json("proxy stop").at("stopped") == Json::array({"near"}));
    CHECK(proxied.network_state() == before);
    CHECK(wait_until([&] { return proxied.processes() == processes; }, 10s, 50ms) >= 0);
}

TEST_CASE("servers see the client's address where it is kept", "[e2e][proxy]") {
    for (const Family family : {Family::ipv4, Family::ipv6}) {
        Proxied proxied(0, family);
        proxied.start("--keep-address up0 --keep-address up1");
        const Counters counted = proxied.gateway_counters();
        for (const Direction direction : {Direction::download, Direction::upload})
            CHECK(proxied.begin({.direction = direction, .bytes = 2'000'000}).wait().verified());
        for (const auto &one : proxied.server.finished(2)) {
            INFO(one.peer);
            CHECK(
                one.peer.contains(family == Family::ipv6 ? "2001:db8::2" : proxied.network.client_address()));
        }
        const Counters moved = proxied.gateway_counters() - counted;
        CHECK(must(moved.get("MPTcpExtMPCapableSYNACKRX")) == 2);
    }
}

TEST_CASE("a far end gives servers without MPTCP the gateway's uplinks, and tells them of the client",
          "[e2e][proxy]") {
    Proxied proxied(path_mbit);
    const Cli far(proxied.network.server);
    const Ending ending{far};
    const Server tcp = must(Server::start(proxied.network.server, {.protocol = Protocol::tcp}));
    // At every address: subflows come to the one that the far end's host has announced.
    far(fmt::format("proxy start --listen 7000 --from {}/28{}", proxied.network.address(1, 1),
                    proxied.haproxy.relay()));
    proxied.start(fmt::format("--via {}:7000", proxied.network.server_address(0)));
    const Counters before = must(mps::lab::read_counters(proxied.network.server));
    Transfer transfer =
        proxied.network.start(tcp, {.direction = Direction::download, .protocol = Protocol::tcp});
    Meter meter(proxied.network.gateway, {"up0", "up1"});
    const auto total = [&] {
        std::this_thread::sleep_for(path_time(1s));
        const Window window = meter.over(path_time(2s));
        report("by a far end: " + window.text());
        return window.total_mbit;
    };
    CHECK(undisturbed(total, [](double got) { return got >= .9 * 2 * path_mbit; }) >= .9 * 2 * path_mbit);
    // The near end knows whose connection it is.
    proxied.mpsched("attach up0 up1");
    far("attach up0 up1");
    const Json near_end = proxied.mpsched.json("conns"), far_end = far.json("conns");
    INFO(near_end.dump() << far_end.dump());
    REQUIRE(near_end.size() == 1);
    CHECK(near_end[0].at("client").at("address").get<std::string>().starts_with(
        proxied.network.client_address() + ":"));
    REQUIRE(far_end.size() == 1);
    CHECK(far_end[0].at("client").is_null());
    transfer.stop();
    CHECK(transfer.wait().verified());
    const Counters moved = must(mps::lab::read_counters(proxied.network.server)) - before;
    CHECK(must(moved.get("MPTcpExtMPCapableACKRX")) == 1);
    CHECK(must(moved.get("MPTcpExtMPJoinAckRx")) >= 1);
    far("proxy stop");
    CHECK(far.json("proxy status").empty());
}

TEST_CASE("a far end tells its server of the client by the PROXY protocol", "[e2e][proxy]") {
    Proxied proxied;
    const RoutedNetwork &network = proxied.network;
    const Cli far(network.server);
    const Ending ending{far};
    const auto socket = [](const Namespace &ns, int protocol) {
        return must(ns.run([&] { return Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, protocol)); }));
    };
    const auto size = static_cast<socklen_t>(sizeof(sockaddr_in));
    const Fd listener = socket(network.server, IPPROTO_TCP);
    const sockaddr_in server = endpoint(network.server_address(1), 7002),
                      front = endpoint(network.server_address(0), 7001);
    REQUIRE(::bind(listener.get(), reinterpret_cast<const sockaddr *>(&server), size) == 0);
    REQUIRE(::listen(listener.get(), 1) == 0);
    far(fmt::format("proxy start --listen 7001 --to {}:7002 --send-proxy{}", network.server_address(1),
                    proxied.haproxy.relay()));
    const Counters before = must(mps::lab::read_counters(network.server));
    const Fd client = socket(network.gateway, IPPROTO_MPTCP);
    REQUIRE(::connect(client.get(), reinterpret_cast<const sockaddr *>(&front), size) == 0);
    const Fd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    // Version 2 of haproxy's doc/proxy-protocol.txt, section 2.2: signature, TCP over IPv4, and 12 octets of addresses.
    std::array<std::uint8_t, 28> got{};
    REQUIRE(::recv(accepted.get(), got.data(), got.size(), MSG_WAITALL) == static_cast<ssize_t>(got.size()));
    std::vector<std::uint8_t> wanted{0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51,
                                     0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0,    12};
    sockaddr_in own{};
    socklen_t own_size = sizeof own;
    REQUIRE(::getsockname(client.get(), reinterpret_cast<sockaddr *>(&own), &own_size) == 0);
    for (const auto &[from, length] : {std::pair<const void *, std::size_t>(&own.sin_addr, 4),
                                       {&front.sin_addr, 4},
                                       {&own.sin_port, 2},
                                       {&front.sin_port, 2}})
        wanted.insert(wanted.end(), static_cast<const std::uint8_t *>(from),
                      static_cast<const std::uint8_t *>(from) + length);
    CHECK(std::ranges::equal(got, wanted));
    CHECK(must((must(mps::lab::read_counters(network.server)) - before).get("MPTcpExtMPCapableACKRX")) == 1);
}

namespace {

// One that goes by a relay, from a port of its own; what it has sent has arrived.
struct Relayed {
    Fd client{}, server{};
    std::string from;
    std::uint64_t bytes;
};

Fd make_socket(const Namespace &ns, int protocol) {
    return must(ns.run([&] { return Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, protocol)); }));
}

const sockaddr *as_address(const sockaddr_in &address) {
    return reinterpret_cast<const sockaddr *>(&address);
}

Fd listen_at(const Namespace &ns, int protocol, const sockaddr_in &address) {
    Fd listener = make_socket(ns, protocol);
    REQUIRE(::bind(listener.get(), as_address(address), sizeof address) == 0);
    REQUIRE(::listen(listener.get(), 8) == 0);
    return listener;
}

Relayed relay(const RoutedNetwork &network, const Fd &listener, const sockaddr_in &to, std::uint16_t port,
              std::uint64_t bytes) {
    Relayed one{.client = make_socket(network.client, IPPROTO_TCP),
                .from = fmt::format("{}:{}", network.client_address(), port),
                .bytes = bytes};
    const sockaddr_in from = endpoint(network.client_address(), port);
    REQUIRE(::bind(one.client.get(), as_address(from), sizeof from) == 0);
    REQUIRE(::connect(one.client.get(), as_address(to), sizeof to) == 0);
    one.server = Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    std::uint64_t arrived = 0;
    std::thread reader([&] {
        std::vector<char> buffer(65536);
        for (ssize_t got;
             arrived < bytes && (got = ::read(one.server.get(), buffer.data(), buffer.size())) > 0;)
            arrived += static_cast<std::uint64_t>(got);
    });
    const std::vector<char> contents(bytes, 'x');
    const bool is_sent =
        ::send(one.client.get(), contents.data(), bytes, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes);
    reader.join();
    REQUIRE(is_sent);
    REQUIRE(arrived == bytes);
    return one;
}

// The connections for this client that conns tells, with the proxy that it names.
std::vector<Json> told_for(const Json &connections, const std::string &client, const std::string &proxy) {
    std::vector<Json> found;
    for (const Json &one : connections)
        if (one.at("client") == Json{{"address", client}, {"proxy", proxy}})
            found.push_back(one);
    return found;
}

std::uint64_t acked(const Json &connection) {
    std::uint64_t sum = 0;
    for (const Json &subflow : connection.at("subflows"))
        sum += subflow.at("bytes_acked").get<std::uint64_t>();
    return sum;
}

} // namespace

TEST_CASE("conns tells for which client a relay has a connection", "[e2e][proxy]") {
    Proxied proxied;
    const RoutedNetwork &network = proxied.network;
    proxied.start();
    proxied.mpsched("attach up0 up1");
    const sockaddr_in with_mptcp = endpoint(network.server_address(0), 7003),
                      without = endpoint(network.server_address(0), 7004);
    const Fd mptcp = listen_at(network.server, IPPROTO_MPTCP, with_mptcp),
             tcp = listen_at(network.server, IPPROTO_TCP, without);
    // How many bytes the kernel counts tells which connection is whose.
    std::vector<Relayed> all;
    all.push_back(relay(network, mptcp, with_mptcp, 41001, 1'000'000));
    all.push_back(relay(network, mptcp, with_mptcp, 41002, 10'000));
    all.push_back(relay(network, tcp, without, 41003, 100'000));
    // One of the gateway's own is nobody's.
    const Fd own = make_socket(network.gateway, IPPROTO_MPTCP);
    REQUIRE(::connect(own.get(), as_address(with_mptcp), sizeof with_mptcp) == 0);
    const Json connections = proxied.mpsched.json("conns");
    INFO(connections.dump(1));
    for (const Relayed &one : all) {
        const auto told = told_for(connections, one.from, "near");
        REQUIRE(told.size() == 1);
        CHECK(acked(told[0]) >= one.bytes);
        CHECK(acked(told[0]) < 2 * one.bytes);
        CHECK(told[0].at("plain_tcp") == (one.bytes == 100'000));
    }
    CHECK(std::ranges::count_if(connections, [](const Json &one) { return one.at("client").is_null(); }) ==
          1);
    CHECK(proxied.mpsched("conns").out.contains(fmt::format("for {} (proxy near)", all[1].from)));
    // What has ended is told of no more.
    all[1].client.reset();
    all[1].server.reset();
    CHECK(wait_until([&] { return told_for(proxied.mpsched.json("conns"), all[1].from, "near").empty(); },
                     10s, 50ms) >= 0);
    // A relay that hangs tells nothing, which is said.
    const auto process = proxied.relay().at("pid").get<pid_t>();
    REQUIRE(::kill(process, SIGSTOP) == 0);
    const Json silent = Json::parse(proxied.mpsched("--json=2 conns").out);
    REQUIRE(::kill(process, SIGCONT) == 0);
    INFO(silent.dump(1));
    CHECK(silent.at("warnings").dump().contains("cannot be told"));
    for (const Json &one : silent.at("connections"))
        CHECK(one.at("client").is_null());
}

TEST_CASE("what is wrong with a proxy is told, and nothing is left behind", "[e2e][proxy]") {
    Proxied proxied;
    const std::string before = proxied.network_state();
    const auto refused = [&](const std::string &words) {
        const auto result = proxied.mpsched.try_run("proxy start " + words + proxied.haproxy.relay());
        INFO(words << "\n" << result.err);
        CHECK(result.exit_code != 0);
        CHECK(result.err.contains("hint:"));
        return result.err;
    };
    CHECK(refused("").contains("--lan"));
    CHECK(refused("--lan lan --listen 7000").contains("--lan"));
    CHECK(refused("--listen 7000").contains("--from"));
    CHECK(refused("--lan lan --port 70000").contains("70000"));
    CHECK(refused("--lan lan --via 192.0.2.1").contains("192.0.2.1"));
    CHECK(refused("--lan nothing").contains("nothing"));
    CHECK(refused("--listen 7000 --from there").contains("there"));
    CHECK(proxied.mpsched.try_run("proxy start --lan lan --relay /bin/false").err.contains("ended at once"));
    CHECK(proxied.mpsched.try_run("proxy start --lan lan --relay nonexistent-relay").exit_code == 3);
    CHECK(proxied.mpsched.try_run("proxy stop near").exit_code == 2);
    must(proxied.network.gateway.set_sysctl("mptcp/enabled", "0"));
    CHECK(refused("--lan lan").contains("MPTCP"));
    must(proxied.network.gateway.set_sysctl("mptcp/enabled", "1"));
    must(proxied.network.gateway.set_sysctl("ipv4/conf/lan/forwarding", "0"));
    must(proxied.network.gateway.set_sysctl("ipv6/conf/lan/forwarding", "0"));
    CHECK(refused("--lan lan").contains("passes on nothing"));
    must(proxied.network.gateway.set_sysctl("ipv4/conf/lan/forwarding", "1"));
    CHECK(proxied.network_state() == before);
    proxied.start();
    CHECK(refused("--lan lan").contains("runs already"));
    CHECK(proxied.begin({.bytes = 10'000}).wait().verified());
}

TEST_CASE("2,000 connections go through one proxy at once", "[.][long][e2e][proxy]") {
    Proxied proxied;
    proxied.start();
    const Counters before = proxied.gateway_counters();
    Transfer transfer = proxied.begin(
        {.direction = Direction::requests, .connections = 2000, .requests = 5, .think_time = 1s});
    const auto result = transfer.wait();
    CHECK(result.errors() == 0);
    CHECK(result.connections.size() == 2000);
    CHECK(must((proxied.gateway_counters() - before).get("MPTcpExtMPCapableSYNACKRX")) == 2000);
    CHECK(proxied.relay().at("starts") == 1);
    CHECK(proxied.status().at("connections").at("taken") == 2000);
}
