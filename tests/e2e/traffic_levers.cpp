// SPDX-License-Identifier: MIT
//
// The levers of a verdict on real sockets: what the kernel says each subflow has, before, during and after.
#include <algorithm>
#include <fstream>

#include <fmt/format.h>

#include "mps_fixed_policy.embed.h"
#include "traffic.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

// The most that one push hands over (MPTCP_SEND_BURST_SIZE). As a rule it is one piece of 32 KiB beyond the lever, but one of six runs
// had more for a moment.
constexpr std::size_t bytes_of_one_burst = 64 * 1024;

/// One subflow's value of `key`, as mpsched reads it from the kernel's socket; nothing if nobody has set it.
std::vector<std::optional<std::uint64_t>> of_subflows(const Cli &mpsched, const char *key) {
    std::vector<std::optional<std::uint64_t>> result;
    for (const Json &connection : mpsched.json("conns"))
        for (const Json &subflow : connection["subflows"])
            result.push_back(subflow[key].is_null() ? std::nullopt
                                                    : std::optional(subflow[key].get<std::uint64_t>()));
    return result;
}

bool all_are(const Cli &mpsched, const char *key, std::optional<std::uint64_t> value, std::size_t subflows) {
    const auto now = of_subflows(mpsched, key);
    return now.size() == subflows && std::ranges::all_of(now, [&](const auto &one) { return one == value; });
}

std::uint64_t most_unsent(const Cli &mpsched) {
    std::uint64_t most = 0;
    for (const auto &one : of_subflows(mpsched, "notsent_bytes"))
        most = std::max(most, one.value_or(0));
    return most;
}

struct Scene {
    Network network = must(Network::create({.paths = {{.name = "dsl", .rate_mbit = path_rate(50)},
                                                      {.name = "lte", .rate_mbit = path_rate(50)}}}));
    Server server = serve(network);
    Attachment attachment{network.a(), network.devices()};
    Cli mpsched{network.a()};
    std::vector<Transfer> transfers;

    void more(unsigned connections) {
        transfers.push_back(upload(network, server, {.connections = connections, .verify = false}));
        REQUIRE(transfers.back().wait_for_subflows(2));
    }
    bool soon(const char *key, std::optional<std::uint64_t> value, std::size_t subflows) const {
        const bool seen = wait_until([&] { return all_are(mpsched, key, value, subflows); }, 5s) >= 0;
        if (!seen) {
            std::string text;
            for (const auto &one : of_subflows(mpsched, key))
                text += one ? fmt::format(" {}", *one) : " none";
            UNSCOPED_INFO(key << ":" << text);
        }
        return seen;
    }
    void finish() {
        for (auto &transfer : transfers) {
            transfer.stop();
            (void)transfer.wait();
        }
    }
};

} // namespace

TEST_CASE("subflows have the policy's lowat while it is in use, new ones too, and none afterwards",
          "[e2e][levers]") {
    Scene scene;
    scene.more(2);
    CHECK(scene.soon("notsent_lowat", std::nullopt, 4));
    std::uint64_t unbound = 0;
    CHECK(wait_until([&] { return (unbound = most_unsent(scene.mpsched)) > 16'384 + bytes_of_one_burst; },
                     5s) >= 0);

    scene.mpsched("use weighted");
    // At the command and not at some later time; only idle connections may be late.
    CHECK(scene.soon("notsent_lowat", 16'384, 4));
    CHECK(scene.mpsched.json("status")["problems"].empty());
    scene.more(1);
    CHECK(scene.soon("notsent_lowat", 16'384, 6));

    // What was there before drains, then no more than that comes.
    const auto bounded = [&] { return most_unsent(scene.mpsched) <= 16'384 + bytes_of_one_burst; };
    CHECK(wait_until(bounded, 5s) >= 0);
    for (int i = 0; i < 20; ++i) {
        CHECK(bounded());
        std::this_thread::sleep_for(10ms);
    }
    report(fmt::format("most unsent bytes in a subflow: {} before, {} with lowat_bytes=16384", unbound,
                       most_unsent(scene.mpsched)));

    scene.mpsched("set lowat_bytes=65536");
    CHECK(scene.soon("notsent_lowat", 65'536, 6));
    scene.mpsched("set lowat_bytes=0");
    CHECK(scene.soon("notsent_lowat", std::nullopt, 6));
    scene.mpsched("set lowat_bytes=20000");
    CHECK(scene.soon("notsent_lowat", 20'000, 6));

    scene.mpsched("use default");
    CHECK(scene.soon("notsent_lowat", std::nullopt, 6));
    scene.more(1);
    CHECK(scene.soon("notsent_lowat", std::nullopt, 8));

    // The way out by detach; only by attaching again can it be looked at.
    scene.mpsched("use weighted");
    CHECK(scene.soon("notsent_lowat", 16'384, 8));
    scene.attachment.detach();
    scene.mpsched("attach dsl lte --policy default");
    CHECK(scene.soon("notsent_lowat", std::nullopt, 8));
    scene.mpsched("detach --all");
    scene.finish();
}

TEST_CASE("only the connections of a rule have its policy's levers", "[e2e][levers]") {
    Scene scene;
    scene.more(1);
    scene.mpsched(fmt::format("use weighted --for rport={}", scene.server.port() + 1));
    CHECK(scene.soon("notsent_lowat", std::nullopt, 2));
    scene.mpsched(fmt::format("use weighted --for rport={}", scene.server.port()));
    CHECK(scene.soon("notsent_lowat", 16'384, 2));
    scene.finish();
}

TEST_CASE("where sockops programs cannot be attached, subflows get their levers at the next command",
          "[e2e][levers]") {
    Scene scene;
    scene.more(1);
    ::setenv("MPS_WITHOUT", "sockops", 1);
    const auto used = scene.mpsched.try_run("use weighted");
    CHECK(used.exit_code == 0);
    CHECK((used.out + used.err).find("only subflows that exist") != std::string::npos);
    CHECK(scene.soon("notsent_lowat", 16'384, 2));
    CHECK_FALSE(scene.mpsched.json("status")["problems"].empty());
    scene.more(1);
    std::this_thread::sleep_for(500ms);
    CHECK_FALSE(all_are(scene.mpsched, "notsent_lowat", 16'384, 4));
    scene.mpsched("use weighted");
    CHECK(scene.soon("notsent_lowat", 16'384, 4));
    ::unsetenv("MPS_WITHOUT");
    scene.mpsched("use default");
    CHECK(scene.soon("notsent_lowat", std::nullopt, 4));
    scene.finish();
}

TEST_CASE("a policy paces subflows and lets them go again", "[e2e][levers]") {
    const TemporaryFolder folder;
    const auto fixed = folder / "fixed.bpf.o";
    std::ofstream(fixed, std::ios::binary)
        .write(reinterpret_cast<const char *>(mps_fixed_policy_begin),
               mps_fixed_policy_end - mps_fixed_policy_begin);
    Scene scene;
    scene.more(1);
    const double slow = path_rate(50) / 10; // Mbit/s
    const auto pace = static_cast<std::uint64_t>(slow * 1e6 / 8);
    scene.mpsched(fmt::format("use {} -s flags=2 -s pace_bytes_s={}", fixed, pace));
    CHECK(scene.soon("max_pacing_rate", pace, 2));
    Meter meter(scene.network.b(), scene.network.devices());
    std::this_thread::sleep_for(1s); // what waited in the devices
    const auto paced = meter.over(2s);
    report(fmt::format("paced to {:.1f} Mbit/s each: {}", slow, paced.text()));
    CHECK(paced.total_mbit < 2 * slow * 1.15);
    scene.mpsched("use default");
    CHECK(scene.soon("max_pacing_rate", std::nullopt, 2));
    scene.finish();
}
