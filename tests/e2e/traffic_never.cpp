// SPDX-License-Identifier: MIT
//
// Paths with use=never: what they carry is read from the kernels' own counters.
#include <string>
#include <thread>

#include "traffic.hpp"

#include <fmt/format.h>

using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr double idle = 0.01;
constexpr double used = 0.3;

struct Shares {
    double up, down; // negative where nothing moved
};
bool is_idle(const Shares &lte) { return lte.up >= 0 && lte.up < idle && lte.down >= 0 && lte.down < idle; }

/// Two paths, and one transfer in each direction; only the client is steered.
struct Scene {
    Network network = must(Network::create(
        {.paths = {{.name = "dsl", .rate_mbit = path_rate(20)}, {.name = "lte", .rate_mbit = path_rate(20)}},
         .congestion_control = "cubic"}));
    Server server = serve(network);
    Attachment attachment{network.a(), network.devices()};
    Cli mpsched{network.a()};
    Transfer up = upload(network, server);
    Transfer down = upload(network, server, {.direction = Direction::download});

    // What went over lte meanwhile. What was queued before drains first.
    Shares on_lte(const std::string &when, std::chrono::milliseconds settle = 800ms) const {
        std::this_thread::sleep_for(path_time(settle));
        const auto before_up = moved(network, up);
        const auto before_down = moved(network, down);
        std::this_thread::sleep_for(path_time(700ms));
        const Shares result{share(before_up, moved(network, up)), share(before_down, moved(network, down))};
        report(
            fmt::format("{}: on lte {:.1f} % up, {:.1f} % down", when, result.up * 100, result.down * 100));
        return result;
    }
    void finish() {
        for (Transfer *one : {&up, &down}) {
            one->stop();
            check_clean(one->wait());
        }
    }

  private:
    static double share(const std::vector<double> &before, std::vector<double> after) {
        for (std::size_t path = 0; path < after.size(); ++path)
            after[path] -= before[path];
        return after[0] + after[1] > 0 ? ratios(after)[1] : -1;
    }
};

} // namespace

TEST_CASE(
    "a path with use=never carries nothing in either direction under any kind of policy, until it may be used again",
    "[e2e][never]") {
    Scene scene;
    scene.mpsched("use weighted");
    auto lte = scene.on_lte("weighted");
    CHECK((lte.up > used && lte.down > used));
    scene.mpsched("path lte use=never");
    lte = scene.on_lte("weighted, never");
    CHECK(is_idle(lte));
    // It is the preferred one, so the policy would use it alone.
    scene.mpsched("path dsl priority=5");
    scene.mpsched("use active-standby");
    lte = scene.on_lte("active-standby, never");
    CHECK(is_idle(lte));
    scene.mpsched("use default");
    lte = scene.on_lte("default, never");
    CHECK(is_idle(lte));
    scene.mpsched("path lte use=policy");
    lte = scene.on_lte("default");
    CHECK((lte.up > used && lte.down > used));
    scene.finish();
}

TEST_CASE("paths with use=never are used where a connection has nothing else", "[e2e][never]") {
    Scene scene;
    scene.mpsched("use weighted");
    scene.mpsched("path lte use=never");
    scene.mpsched("path dsl use=never");
    auto lte = scene.on_lte("both never");
    CHECK((lte.up > used && lte.down > used));

    scene.mpsched("path dsl use=policy");
    lte = scene.on_lte("lte never");
    CHECK(is_idle(lte));
    must(scene.network.set_blackhole(0, true));
    lte = scene.on_lte("the other one is dead", 2500ms);
    CHECK((lte.up > 1 - idle && lte.down > 1 - idle));
    must(scene.network.set_blackhole(0, false));
    // TCP's timers on it have backed off meanwhile, and a moment may pass in which nothing moves at all.
    CHECK(wait_until(
              [&] {
                  lte = scene.on_lte("and alive again", 200ms);
                  return is_idle(lte);
              },
              path_time(15s), 0ms) >= 0);
    scene.finish();
}
