// SPDX-License-Identifier: MIT
//
// Which idle subflows are probed when, and what follows: against a network that is nothing but "this path carries", "this peer lives".
#include "attach/probe_plan.hpp"
#include "catch.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

using namespace mps;

namespace {

constexpr std::uint64_t second = ProbePlan::second_ns;
constexpr std::uint32_t dsl = 2, lte = 3;

struct World {
    ProbePlan plan;
    ProbePaths paths{{dsl, false}, {lte, true}};
    std::vector<mps_probe_row> rows{};
    std::set<std::uint32_t> dead_paths{}, dead_peers{};
    std::uint64_t now_ns = 1000 * second;
    struct Sent {
        std::uint64_t when_ns, sk;
        std::uint32_t ifindex;
    };
    std::vector<Sent> sent{};
    std::map<std::uint64_t, std::uint32_t> told{}; // by sk: all that was ordered

    explicit World(std::uint32_t idle_s = 5) : plan(idle_s) {}

    // Connection `number` to a peer of that number, with a subflow on each path.
    void connect(std::uint32_t number) {
        for (const std::uint32_t ifindex : {dsl, lte}) {
            mps_probe_row row{};
            row.sk = number * 16ULL + ifindex;
            row.token = number;
            row.ifindex = ifindex;
            row.flags = MPS_PROBE_KNOWN;
            row.local[15] = static_cast<std::uint8_t>(ifindex);
            row.remote[14] = static_cast<std::uint8_t>(number >> 8);
            row.remote[15] = static_cast<std::uint8_t>(number);
            row.heard = jiffies();
            rows.push_back(row);
        }
    }
    // Wraps around a while after the beginning.
    [[nodiscard]] std::uint32_t jiffies() const {
        return static_cast<std::uint32_t>(now_ns / (second / 250)) - 251'000U;
    }
    [[nodiscard]] mps_probe_row &row(std::uint32_t number, std::uint32_t ifindex) {
        return *std::ranges::find(rows, number * 16ULL + ifindex, &mps_probe_row::sk);
    }
    void carry_out(const ProbeOrder &one) {
        mps_probe_row &row = *std::ranges::find(rows, one.sk, &mps_probe_row::sk);
        told[one.sk] |= one.what;
        if (one.what & MPS_PROBE_END)
            row.flags &= ~MPS_PROBE_OURS;
        if (one.what & MPS_PROBE_SILENT)
            row.flags |= MPS_PROBE_IS_SILENT | MPS_PROBE_BY_US;
        if (one.what & MPS_PROBE_HEARD)
            row.flags &= ~(MPS_PROBE_IS_SILENT | MPS_PROBE_BY_US);
        if (!(one.what & MPS_PROBE_SEND))
            return;
        sent.push_back({now_ns, one.sk, one.ifindex});
        row.flags |= MPS_PROBE_OURS;
        row.idle_ns = 0;
        row.unanswered++;
        if (dead_paths.contains(row.ifindex) || dead_peers.contains(row.token))
            return;
        row.unanswered = 0;
        row.heard = jiffies() + 1;
    }
    void pass(std::uint32_t seconds) {
        for (std::uint32_t i = 0; i < seconds; i++) {
            now_ns += second;
            for (mps_probe_row &one : rows) {
                one.idle_ns += second;
                one.now = jiffies();
            }
            for (const ProbeOrder &one : plan.look(rows, paths, now_ns))
                carry_out(one);
        }
    }
    [[nodiscard]] std::ptrdiff_t probes(std::uint32_t ifindex) const {
        return std::ranges::count(sent, ifindex, &Sent::ifindex);
    }
    // The most that left over this path in any `span_s` seconds.
    [[nodiscard]] std::ptrdiff_t most(std::uint32_t ifindex, std::uint32_t span_s) const {
        std::ptrdiff_t most = 0;
        for (const Sent &first : sent)
            most = std::max(most, std::ranges::count_if(sent, [&](const Sent &one) {
                                return one.ifindex == ifindex && one.when_ns >= first.when_ns &&
                                       one.when_ns < first.when_ns + span_s * second;
                            }));
        return most;
    }
    [[nodiscard]] bool is_silent(std::uint32_t number, std::uint32_t ifindex) {
        return (row(number, ifindex).flags & MPS_PROBE_IS_SILENT) != 0;
    }
};

} // namespace

TEST_CASE("over a path that costs no more than one probe leaves in ten seconds, whatever there is to probe",
          "[probe]") {
    World world(1);
    for (std::uint32_t number = 1; number <= 500; number++)
        world.connect(number);
    SECTION("and everything answers") {}
    SECTION("and the path is dead") { world.dead_paths = {lte}; }
    SECTION("and the other path is dead") { world.dead_paths = {dsl}; }
    SECTION("and no peer is there") {
        for (std::uint32_t number = 1; number <= 500; number++)
            world.dead_peers.insert(number);
    }
    world.pass(200);
    CHECK(world.most(lte, 10) == 1);
    CHECK(world.probes(lte) >= 19);
    CHECK(world.most(dsl, 1) <= ProbePlan::most_at_once);
    CHECK(world.probes(dsl) > 500);
}

TEST_CASE("a path that costs nothing any more is probed as often as asked, and one that costs now is not",
          "[probe]") {
    World world(2);
    world.connect(1);
    world.pass(60);
    CHECK(world.most(lte, 10) == 1);
    const auto before = world.probes(lte);
    CHECK(before >= 5);
    world.paths[lte] = false;
    world.pass(60);
    CHECK(world.probes(lte) >= before + 20);
    world.paths[lte] = true;
    const std::size_t first = world.sent.size();
    world.pass(60);
    world.sent.erase(world.sent.begin(), world.sent.begin() + static_cast<std::ptrdiff_t>(first));
    CHECK(world.most(lte, 10) == 1);
    CHECK(world.probes(lte) <= 6);
}

TEST_CASE("subflows between two addresses are probed by one of them", "[probe]") {
    World world;
    for (std::uint32_t number = 1; number <= 1000; number++) {
        world.connect(number);
        for (const std::uint32_t ifindex : {dsl, lte})
            world.row(number, ifindex).remote[14] = world.row(number, ifindex).remote[15] = 7;
    }
    world.pass(60);
    CHECK(world.probes(dsl) <= 12);
    world.dead_paths = {dsl};
    world.pass(15);
    CHECK(std::ranges::all_of(world.rows, [](const mps_probe_row &one) {
        return (one.ifindex == dsl) == ((one.flags & MPS_PROBE_IS_SILENT) != 0);
    }));
}

TEST_CASE("silent is what does not answer twice while the peer answers elsewhere, until it answers",
          "[probe]") {
    const std::uint32_t died = GENERATE(dsl, lte);
    World world;
    world.connect(1);
    world.pass(30);
    world.dead_paths = {died};
    world.pass(6);
    CHECK(!world.is_silent(1, died));
    world.pass(30);
    CHECK(world.is_silent(1, died));
    CHECK(!world.is_silent(1, died == dsl ? lte : dsl));
    world.dead_paths = {};
    world.pass(60);
    CHECK(!world.is_silent(1, died));
    CHECK(std::ranges::none_of(world.rows, [](const mps_probe_row &one) { return one.unanswered != 0; }));
    world.pass(2);
    CHECK((world.told[1 * 16 + died] & MPS_PROBE_END) != 0);
}

TEST_CASE("a peer that has gone makes no path silent, and a lost probe neither", "[probe]") {
    World world;
    for (const std::uint32_t number : {1U, 2U})
        world.connect(number);
    SECTION("gone") {
        world.dead_peers = {1};
        world.pass(300);
    }
    SECTION("lost") {
        for (int i = 0; i < 20; i++) {
            world.pass(7);
            world.dead_paths = {dsl};
            const std::size_t before = world.sent.size();
            while (world.sent.size() == before)
                world.pass(1);
            world.dead_paths = {};
        }
        CHECK(world.probes(dsl) > 10);
    }
    for (const mps_probe_row &one : world.rows)
        CHECK((one.flags & MPS_PROBE_IS_SILENT) == 0);
}

TEST_CASE("what carries something, and what an application keeps alive itself, is not probed", "[probe]") {
    World world;
    world.connect(1);
    SECTION("data is under way") { world.row(1, dsl).flags = MPS_PROBE_UNDER_WAY; }
    SECTION("a keepalive of its own") { world.row(1, dsl).flags = MPS_PROBE_OWN; }
    SECTION("silent already, by its data") { world.row(1, dsl).flags = MPS_PROBE_IS_SILENT; }
    world.pass(60);
    CHECK(world.probes(dsl) == 0);
    CHECK(world.probes(lte) > 0);
    const std::size_t before = world.sent.size();
    world.row(1, dsl).flags = MPS_PROBE_KNOWN;
    for (int i = 0; i < 30; i++) {
        for (mps_probe_row &one : world.rows)
            one.idle_ns = 0; // requests go to and fro
        world.pass(1);
    }
    CHECK(world.sent.size() == before);
}

TEST_CASE("a path that is detached or goes down during a probe leaves nothing behind", "[probe]") {
    World world;
    world.connect(1);
    world.pass(20);
    world.dead_paths = {dsl};
    world.pass(30);
    REQUIRE(world.is_silent(1, dsl));
    world.paths.erase(dsl);
    world.pass(1);
    CHECK(!world.is_silent(1, dsl));
    CHECK((world.row(1, dsl).flags & MPS_PROBE_OURS) == 0);
    const auto before = world.probes(dsl);
    world.pass(30);
    CHECK(world.probes(dsl) == before);
    world.paths[dsl] = false;
    world.dead_paths = {};
    world.pass(30);
    CHECK(world.probes(dsl) > before);
    CHECK(!world.is_silent(1, dsl));
}

TEST_CASE("a socket is probed no more before the kernel would close it, and is not silent for ever",
          "[probe]") {
    World world(1);
    world.connect(1);
    world.paths[lte] = false;
    world.dead_paths = {dsl};
    world.pass(3600);
    CHECK(world.is_silent(1, dsl));
    world.pass(8 * 3600);
    CHECK(world.row(1, dsl).unanswered == ProbePlan::most_unanswered);
    CHECK(!world.is_silent(1, dsl));
    CHECK((world.row(1, dsl).flags & MPS_PROBE_OURS) == 0);
}
