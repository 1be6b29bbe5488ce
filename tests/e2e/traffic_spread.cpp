// SPDX-License-Identifier: MIT
//
// `mpsched spread` in a network with four paths of equal cost: which links carry what, by their own byte counters.
#include <algorithm>
#include <fstream>
#include <set>
#include <thread>

#include "fabric.hpp"
#include "traffic.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr const char *middles[] = {"m1", "m2", "m3", "m4"};

/// Hosts a and b, four paths of this rate, and a's own link, which is narrower than the four together: so it is full when all are used.
struct Scene {
    Fabric fabric;
    Cli mpsched;
    Server server;
    Server tcp_server;
    TemporaryFolder folder;

    explicit Scene(Fabric::By by, double link = path_rate(8))
        : fabric(built(by, link)),
          mpsched(fabric.ns("a")),
          server(must(Server::start(fabric.ns("b"), {.family = fabric.family()}))),
          tcp_server(
              must(Server::start(fabric.ns("b"), {.family = fabric.family(), .protocol = Protocol::tcp}))) {}
    Scene(const Scene &) = delete;
    Scene &operator=(const Scene &) = delete;
    ~Scene() { std::ignore = mpsched.try_run("detach --all"); }

    static Fabric built(Fabric::By by, double link) {
        Fabric fabric(by, 4);
        build_four_paths(fabric, link, 3.6 * link);
        return fabric;
    }
    /// With a subflow for each path.
    Transfer upload(unsigned connections = 1) const {
        Transfer transfer = must(Transfer::start(
            fabric.ns("a"),
            {.address = fabric.address("b"), .port = server.port(), .connections = connections}));
        REQUIRE(transfer.wait_for_subflows(4, 30s));
        return transfer;
    }
    /// What each of the four paths carries of what all of them do, from now on.
    std::vector<double> shares(std::chrono::milliseconds duration) const {
        const auto before = sent();
        std::this_thread::sleep_for(duration);
        const auto after = sent();
        std::vector<double> bytes;
        for (std::size_t i = 0; i < before.size(); i++)
            bytes.push_back(static_cast<double>(after[i] - before[i]));
        return ratios(bytes);
    }
    /// Until each of the four carries at least that of all.
    bool all_carry(double least, std::chrono::seconds patience = 120s) const {
        return wait_until(
                   [&] {
                       const auto now = shares(2s);
                       report(fmt::format("shares of the paths {:.2f}", fmt::join(now, " ")));
                       return std::ranges::min(now) >= least;
                   },
                   patience, 0ms) >= 0;
    }
    std::string file(const std::string &contents) const {
        const std::string path = folder / "map";
        std::ofstream(path) << contents;
        return path;
    }
    bool nothing_left() const {
        return mpsched.json("spread list")["interfaces"].empty() &&
               !must(fabric.ns("a").spawn({"tc", "filter", "show", "dev", "nic", "egress"}))
                    .out.contains("mps_");
    }

  private:
    std::vector<std::uint64_t> sent() const {
        std::vector<std::uint64_t> all;
        for (const char *middle : middles)
            all.push_back(fabric.sent("near", middle));
        return all;
    }
};

void check_ended(Transfer &transfer) {
    transfer.stop();
    check_clean(transfer.wait());
}

} // namespace

TEST_CASE("subflows over IPv6 find four paths by other labels while they live, and plain TCP is left alone") {
    const Scene scene(Fabric::By::labels);
    Transfer transfer = scene.upload();
    CHECK(scene.mpsched("spread list").out.contains("off"));
    scene.mpsched("spread on nic");
    CHECK(scene.all_carry(.12));
    const Transfer tcp = must(Transfer::start(
        scene.fabric.ns("a"),
        {.address = scene.fabric.address("b"), .port = scene.tcp_server.port(), .protocol = Protocol::tcp}));
    std::this_thread::sleep_for(1s);
    const Json list = scene.mpsched.json("spread list");
    REQUIRE(list["subflows"].size() == 4);
    for (const Json &one : list["subflows"]) {
        CHECK(one["label"].is_number());
        CHECK(one["peer"] == fmt::format("[{}]:{}", scene.fabric.address("b"), scene.server.port()));
    }
    CHECK(list["interfaces"][0]["speed_bit_s"].is_number());
    scene.mpsched("spread off nic");
    CHECK(scene.nothing_left());
    check_ended(transfer);
}

TEST_CASE("a path that swallows everything is left") {
    const Scene scene(Fabric::By::labels);
    scene.mpsched("spread on nic");
    Transfer transfer = scene.upload();
    REQUIRE(scene.all_carry(.12));
    must(scene.fabric.ns("m2").ip("route replace blackhole 2001:db8:2::/64"));
    CHECK(wait_until(
              [&] {
                  const std::uint64_t before = transfer.progress_bytes();
                  const auto now = scene.shares(2s);
                  report(fmt::format("shares of the paths {:.2f}, m2 is dead", fmt::join(now, " ")));
                  return now[1] < .01 && transfer.progress_bytes() > before;
              },
              120s, 0ms) >= 0);
    check_ended(transfer);
}

TEST_CASE("with a map that a probe made, four subflows take four paths from the beginning") {
    const Scene scene(Fabric::By::labels);
    const std::string file = scene.folder / "map";
    const Json pairs = scene.mpsched.json(fmt::format("spread probe {} --port {} --save {}",
                                                      scene.fabric.address("b"), scene.server.port(), file));
    REQUIRE(pairs.size() == 4); // addresses of a
    for (const Json &pair : pairs) {
        CHECK(pair["problem"].is_null());
        CHECK(pair["paths"].size() == 4);
    }
    scene.mpsched(fmt::format("spread on nic --no-move --map {}", file));
    CHECK(scene.mpsched.json("spread list")["map"].size() == 4);
    Transfer transfer = scene.upload();
    CHECK(scene.all_carry(.15));
    std::set<int> paths;
    const Json list = scene.mpsched.json("spread list");
    for (const Json &one : list["subflows"])
        paths.insert(one["path"].get<int>());
    CHECK(paths == std::set{1, 2, 3, 4});
    check_ended(transfer);
    CHECK(scene.mpsched("detach --all").out.contains("gone with it: 'spread'"));
    CHECK(scene.nothing_left());
}

TEST_CASE("subflows over IPv4 take four paths by source ports, the kernel's joins among them") {
    const Scene scene(Fabric::By::ports);
    const std::string file = scene.folder / "map";
    const Json pairs = scene.mpsched.json(fmt::format("spread probe {} --port {} --save {}",
                                                      scene.fabric.address("b"), scene.server.port(), file));
    REQUIRE(pairs.size() == 4);
    scene.mpsched(fmt::format("spread on nic --map {}", file));
    std::set<int> ports;
    // Two at once: each subflow has a port of its own.
    Transfer transfer = scene.upload(2);
    CHECK(scene.all_carry(.15));
    const Json list = scene.mpsched.json("spread list");
    CHECK(list["ports_given"] == 8);
    CHECK(list["ports_exhausted"] == 0);
    REQUIRE(list["subflows"].size() == 8);
    for (const Json &one : list["subflows"]) {
        REQUIRE(one["port"].is_number());
        ports.insert(one["port"].get<int>());
        CHECK(one["local"].get<std::string>().ends_with(fmt::format(":{}", one["port"].get<int>())));
    }
    CHECK(ports.size() == 8);
    check_ended(transfer);
    scene.mpsched("spread off --all");
    Transfer after = scene.upload();
    CHECK(scene.mpsched("spread list").out.contains("off"));
    check_ended(after);
}

TEST_CASE("when all source ports of a path are taken the kernel chooses, and connections work all the same") {
    const Scene scene(Fabric::By::ports);
    std::string map;
    for (int i = 1; i <= 4; i++)
        map += fmt::format("port {} {} {} 1:{}\n", scene.fabric.address("a", i), scene.fabric.address("b"),
                           scene.server.port(), 20000 + i);
    scene.mpsched(fmt::format("spread on nic --map {}", scene.file(map)));
    Transfer transfer = scene.upload(2);
    const Json list = scene.mpsched.json("spread list");
    CHECK(list["ports_given"] == 4);
    CHECK(list["ports_exhausted"] == 4);
    CHECK(scene.mpsched("spread list").out.contains("all taken 4 times"));
    check_ended(transfer);
}

TEST_CASE("a probe tells of routers that do not look at labels") {
    const Scene scene(Fabric::By::labels);
    for (const char *router : {"near", "far"})
        scene.fabric.hash_by(router, Fabric::By::ports);
    const std::string file = scene.folder / "map";
    const auto probe = scene.mpsched(fmt::format("spread probe {} --from {} --save {}",
                                                 scene.fabric.address("b"), scene.fabric.address("a"), file));
    CHECK(probe.out.contains("routers do not look at labels, but at ports"));
    CHECK(probe.err.contains("nothing was saved"));
    const Json by_port = scene.mpsched.json(fmt::format("spread probe {} --from {} --by port --port {}",
                                                        scene.fabric.address("b"), scene.fabric.address("a"),
                                                        scene.server.port()));
    CHECK(by_port[0]["problem"].is_null());
    CHECK(by_port[0]["paths"].size() == 4);
}

TEST_CASE("what is wrong about placing subflows is told in a line, and nothing changes") {
    const Scene scene(Fabric::By::labels);
    const auto refused = [&](const std::string &words, const std::string &what) {
        const auto result = scene.mpsched.try_run(words);
        INFO(words << ": " << result.err);
        CHECK(result.exit_code == 2);
        CHECK(result.err.contains(what));
        CHECK(scene.nothing_left());
    };
    refused("spread on nowhere", "nowhere");
    refused("spread on nic nowhere", "nowhere");
    refused("spread on nic --map /nonexistent", "/nonexistent cannot be read");
    refused("spread on nic --map " + scene.file("label any x 1:1\n"), "map:1: 'x' is no IP address");
    refused("spread on nic --map x --no-map", "exclude each other");
    refused("spread off", "needs IFACE or --all");
    refused("spread off nic", "nothing is placed on nic");
    refused("spread probe 2001:db8::/32", "no single address");
    CHECK(scene.mpsched("spread off --all").out.contains("no subflows were placed"));
    scene.mpsched("spread on nic");
    CHECK(scene.mpsched.try_run("spread off lo").exit_code == 2);
    CHECK(scene.mpsched.json("spread list")["interfaces"].size() == 1);
    // An interface that goes takes what is placed there along, and the next command notices.
    must(scene.fabric.ns("a").ip("link del nic"));
    CHECK(scene.mpsched.try_run("spread off --all").exit_code == 0);
    CHECK(scene.nothing_left());
}
