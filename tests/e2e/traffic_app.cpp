// SPDX-License-Identifier: MIT
//
// Applications that choose for their own connections: where these send is read from the devices' byte counters.
#include <string>
#include <thread>

#include "app_sockets.hpp"
#include "cgroup.hpp"

#include <net/if.h>

#include <fmt/format.h>

using mps::Fd;
using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr double idle = 0.02;
constexpr double used = 0.3;

/// Two paths, both ends in this process and its cgroup; the steered side may choose between two policies, of which active-standby
/// prefers dsl.
struct Scene {
    Network network = must(Network::create(
        {.paths = {{.name = "dsl", .rate_mbit = path_rate(20)}, {.name = "lte", .rate_mbit = path_rate(20)}},
         .congestion_control = "cubic"}));
    const Namespace &steered;
    Attachment attachment;
    Cli mpsched;
    Cgroup group;

    explicit Scene(Side side = Side::a)
        : steered(side == Side::a ? network.a() : network.b()),
          attachment(steered, network.devices()),
          mpsched(steered) {
        REQUIRE(group.enter());
        mpsched("use default");
        mpsched("path lte priority=1");
        mpsched(fmt::format("app attach --cgroup {} --allow-policy active-standby --allow-policy weighted",
                            group.path()));
    }

    unsigned index(const std::string &device) const {
        return must(steered.run([&] { return ::if_nametoindex(device.c_str()); }));
    }
    Pair connect(const Listener &listener) const {
        return Pair(make_socket(network.a(), IPPROTO_MPTCP), listener);
    }
    // The part of what `to` receives from `from` that comes over lte, by the receiving host's devices.
    double on_lte(int from, int to, const Namespace &receiver, const std::string &when) const {
        const Flow flow(from, to);
        std::this_thread::sleep_for(
            path_time(1000ms)); // the receiver hears of a change, and what was queued is over
        const Window window = Meter(receiver, network.devices()).over(path_time(500ms));
        report(fmt::format("{}: {:.1f} % on lte", when, window.share[1] * 100));
        REQUIRE(window.total_mbit > 1);
        return window.share[1];
    }
    double up(const Pair &pair, const std::string &when) const {
        return on_lte(pair.client.get(), pair.accepted.get(), network.b(), when + ", up");
    }
    double down(const Pair &pair, const std::string &when) const {
        return on_lte(pair.accepted.get(), pair.client.get(), network.a(), when + ", down");
    }
};

} // namespace

TEST_CASE("two connections of one process go the ways that each chose, before connect and after",
          "[e2e][app]") {
    Scene scene;
    const Listener listener(scene.network);
    Fd early = make_socket(scene.network.a(), IPPROTO_MPTCP);
    CHECK(set_policy(early.get(), "active-standby") == 0);
    CHECK(state_of(early.get()).token == 0);
    const Pair first(std::move(early), listener);
    const Pair second = scene.connect(listener);
    CHECK(set_policy(second.client.get(), "weighted") == 0);

    CHECK(scene.up(first, "active-standby, chosen before connect") < idle);
    CHECK(scene.up(second, "weighted, chosen after connect") > used);
    CHECK(state_of(first.client.get()).flags & MPSCHED_IN_FORCE);
    CHECK(std::string(state_of(second.client.get()).policy) == "weighted");
    // Rules and the default say something else, for everybody.
    scene.mpsched("use weighted");
    CHECK(scene.up(first, "active-standby, others use weighted") < idle);
    CHECK(set_policy(first.client.get(), "weighted") == 0);
    CHECK(scene.up(first, "weighted instead") > used);
    CHECK(set_policy(first.client.get(), "active-standby") == 0);
    CHECK(scene.up(first, "and back") < idle);
    CHECK(set_policy(first.client.get(), "") == 0);
    CHECK(scene.up(first, "taken back: weighted as all") > used);
    // Nobody may choose any more.
    CHECK(set_policy(first.client.get(), "active-standby") == 0);
    scene.mpsched("app detach --all");
    CHECK(scene.up(first, "detached") > used);
}

TEST_CASE("a policy that is unloaded under a connection which chose it leaves that to what all others have",
          "[e2e][app]") {
    Scene scene;
    scene.mpsched("use weighted");
    const Listener listener(scene.network);
    const Pair pair = scene.connect(listener);
    CHECK(set_policy(pair.client.get(), "active-standby") == 0);
    CHECK(scene.up(pair, "active-standby") < idle);
    {
        const Flow flow(pair.client.get(), pair.accepted.get());
        scene.mpsched(fmt::format("app attach --cgroup {} --allow-policy weighted", scene.group.path()));
        // It may have gone with the last one who might choose it.
        std::ignore = scene.mpsched.try_run("policy unload active-standby");
    }
    for (const Json status = scene.mpsched.json("status"); const Json &policy : status.at("policies"))
        CHECK(policy.at("name") != "active-standby");
    CHECK(std::string(state_of(pair.client.get()).policy).empty());
    CHECK(scene.up(pair, "active-standby is unloaded: weighted as all") > used);
    CHECK(set_policy(pair.client.get(), "active-standby") == ENOENT);
    // Another one in its place is not what was chosen.
    scene.mpsched("policy load ecf");
    CHECK(std::string(state_of(pair.client.get()).policy).empty());
    CHECK(scene.up(pair, "another policy is loaded in its place") > used);
}

TEST_CASE("an interface that a connection is not to use carries nothing of it in either direction",
          "[e2e][app]") {
    Scene scene;
    scene.mpsched("use weighted");
    const Listener listener(scene.network);
    const Pair pair = scene.connect(listener), other = scene.connect(listener);
    CHECK(scene.up(pair, "nothing chosen") > used);
    CHECK(avoid(pair.client.get(), {scene.index("dsl")}) == 0);
    CHECK(scene.up(pair, "not dsl") > 1 - idle);
    CHECK(scene.down(pair, "not dsl") > 1 - idle);
    CHECK(scene.up(other, "another connection") > used);
    CHECK(scene.up(other, "another connection") < 1 - used);
    // Under the kernel's own scheduler as well; and both at once is as good as none.
    scene.mpsched("use default");
    CHECK(avoid(pair.client.get(), {scene.index("lte")}) == 0);
    CHECK(scene.up(pair, "default, not lte") < idle);
    CHECK(scene.down(pair, "default, not lte") < idle);
    CHECK(avoid(pair.client.get(), {scene.index("lte"), scene.index("dsl")}) == 0);
    CHECK(scene.up(pair, "neither") > 0);
    CHECK(avoid(pair.client.get(), {}) == 0);
    scene.mpsched("path lte cost=7");
    CHECK(set_number(pair.client.get(), MPSCHED_COST_LIMIT, 6) == 0);
    CHECK(scene.up(pair, "cost limit 6") < idle);
    scene.mpsched("use weighted");
    CHECK(set_number(pair.client.get(), MPSCHED_COST_LIMIT, 7) == 0);
    CHECK(scene.up(pair, "weighted, cost limit 7") > used);
    CHECK(scene.down(pair, "weighted, cost limit 7") > used);
}

TEST_CASE("what is accepted has its listener's choice, and may make another one", "[e2e][app]") {
    Scene scene(Side::b);
    scene.mpsched("use weighted");
    const Listener listener(scene.network), other(scene.network);
    CHECK(avoid(listener.fd(), {scene.index("lte")}) == 0);
    const Pair pair = scene.connect(listener), plain = scene.connect(other);
    CHECK(state_of(pair.accepted.get()).avoid.count == 1);
    CHECK(scene.down(pair, "the listener's choice") < idle);
    CHECK(scene.up(pair, "the listener's choice") < idle);
    CHECK(scene.down(plain, "another listener") > used);
    CHECK(avoid(pair.accepted.get(), {}) == 0);
    CHECK(scene.down(pair, "the connection's own choice") > used);
    // The listener's is its own still, and the policy is inherited as well.
    CHECK(set_policy(listener.fd(), "active-standby") == 0);
    CHECK(avoid(listener.fd(), {}) == 0);
    const Pair third = scene.connect(listener);
    CHECK(scene.down(third, "a policy of the listener's") < idle);
}

TEST_CASE("a client that fetches chunks with deadlines keeps off the radio that costs money", "[e2e][app]") {
    Scene scene;
    scene.mpsched("path lte cost=10 energy=lte");
    const std::string example = MPS_SOURCE_DIR "/examples/python/chunks.py";
    ProcessOptions server{.netns_fd = scene.network.b().fd()}, client{.netns_fd = scene.network.a().fd()};
    for (ProcessOptions *one : {&server, &client})
        one->environment = {{"PYTHONPATH", MPS_SOURCE_DIR "/loader/python"},
                            {"PYTHONDONTWRITEBYTECODE", "1"}};
    const Process serving = must(Process::start({"python3", example, "serve", "7000"}, server));
    // What came over lte, by the device's counter.
    const auto fetch = [&](const std::string &when) {
        const auto bytes = [&] { return must(read_counters(scene.network.a())).devices.at("lte").rx_bytes; };
        const auto before = bytes();
        ProcessResult result;
        const auto done = [&] {
            result = must(run_process({"python3", example, "fetch", scene.network.address(Side::b, 0), "7000",
                                       "--chunks", "5", "--bytes", "400000", "--every", "0.7"},
                                      client));
            return result.err.find("refused") == std::string::npos;
        };
        REQUIRE(wait_until(done, 10s) >= 0);
        INFO(result.err);
        CHECK(result.exit_code <= 1); // how many were late
        const auto over_lte = bytes() - before;
        report(fmt::format("{}: {} octets over lte; {}", when, over_lte, result.out));
        return over_lte;
    };
    const auto without = fetch("as for all");
    CHECK(without > 300'000);
    scene.mpsched(fmt::format("app attach --cgroup {} --allow-policy deadline", scene.group.path()));
    CHECK(fetch("with deadlines") * 10 < without * 4);
}
