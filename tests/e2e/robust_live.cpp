// SPDX-License-Identifier: MIT
//
// Changes under running traffic: another mode without a gap, leaving with every backup bit as the peers
// asked for, and the same work on kernels that lack what ours has.
#include <algorithm>
#include <cstdio>
#include <thread>

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <mpsched/lab/counters.hpp>

#include "datapath.skel.h"
#include "robust_rig.hpp"

using namespace mps::robust;
using namespace mps;
using namespace std::chrono_literals;

namespace {

std::size_t parked(const std::vector<SubflowBits> &subflows) {
    return static_cast<std::size_t>(std::ranges::count(subflows, true, &SubflowBits::backup));
}

std::string text_of(const std::vector<SubflowBits> &subflows) {
    std::string text;
    for (const SubflowBits &one : subflows)
        text += fmt::format("{} -> {} backup={}\n", one.local, one.remote, one.backup);
    return text;
}

// Longest time in which nothing arrived on any of the devices.
double longest_gap_s(const lab::ThroughputSampler &sampler, double from_s) {
    double last = from_s, longest = 0;
    std::uint64_t before = 0;
    for (const auto &point : sampler.series()) {
        std::uint64_t bytes = 0;
        for (const auto one : point.rx_bytes)
            bytes += one;
        if (point.at_s > from_s)
            longest = std::max(longest, point.at_s - last);
        // Less than a packet of data is somebody's ACK or neighbour discovery.
        if (bytes > before + 1000 && point.at_s > from_s)
            last = point.at_s;
        before = bytes > before + 1000 ? bytes : before;
    }
    return longest;
}

// What mps_rdonly_cast is in the loaded data path.
std::optional<bool> reads_with_rdonly_cast(const Rig &rig, const std::string &mode) {
    const char *name = mode == "tc" ? "mps_tc_eth" : "mps_xdp_eth";
    const Fd program(bpf_obj_get(fmt::format("{}/progs/{}", rig.installation(), name).c_str()));
    std::uint32_t maps[64];
    bpf_prog_info info{};
    info.nr_map_ids = 64;
    info.map_ids = reinterpret_cast<std::uint64_t>(maps);
    std::uint32_t length = sizeof info;
    if (bpf_obj_get_info_by_fd(program.get(), &info, &length) != 0)
        return std::nullopt;
    for (std::uint32_t i = 0; i < info.nr_map_ids; i++) {
        const Fd map(bpf_map_get_fd_by_id(maps[i]));
        bpf_map_info about{};
        length = sizeof about;
        if (bpf_obj_get_info_by_fd(map.get(), &about, &length) != 0 ||
            !std::string_view(about.name).ends_with(".rodata"))
            continue;
        std::vector<char> value(about.value_size);
        const std::uint32_t zero = 0;
        if (bpf_map_lookup_elem(map.get(), &zero, value.data()) != 0)
            return std::nullopt;
        using Rodata = std::remove_pointer_t<decltype(datapath::rodata)>;
        if (value.size() < sizeof(Rodata))
            return std::nullopt;
        return reinterpret_cast<const Rodata *>(value.data())->mps_rdonly_cast != 0;
    }
    return std::nullopt;
}

// Whether this kernel has a feature, as `mpsched probe` says.
bool kernel_has(const Rig &rig, const std::string &feature) {
    const auto features = rig.json({"probe"})["features"]; // g++ 12 would not keep it alive for the loop
    for (const auto &one : features) {
        if (one["name"] == feature)
            return one["answer"] == "available";
    }
    FAIL("mpsched probe does not know " << feature);
    return false;
}

} // namespace

TEST_CASE("detach gives an idle parked subflow its bit back", "[robust][live][restore]") {
    const Rig rig(two_paths(20));
    const auto [mode, all] = GENERATE(
        std::pair<std::string, bool>{"tc", false}, std::pair<std::string, bool>{"tc", true},
        std::pair<std::string, bool>{"native", false}, std::pair<std::string, bool>{"generic", true});
    CAPTURE(mode, all);
    rig.ok({"attach", "dsl", "lte", "--mode", mode});
    rig.ok({"path", "lte", "priority=2"});
    rig.ok({"use", "active-standby"});
    const auto server = e2e::serve(rig.network());
    // A burst in which the standby path is parked, then a silence.
    auto transfer = e2e::upload(rig.network(), server,
                                {.direction = lab::Direction::requests,
                                 .request_bytes = 1'500'000,
                                 .requests = 2,
                                 .think_time = 1500ms});
    REQUIRE(transfer.wait_for_subflows(2));
    const auto bits = [&] { return subflow_bits(rig.here(), server.port()); };
    REQUIRE(eventually([&] { return transfer.progress_bytes() > 1'400'000; }));
    std::this_thread::sleep_for(300ms);
    const auto idle = bits();
    INFO("idle:\n" << text_of(idle));
    REQUIRE(idle.size() == 2);
    REQUIRE(parked(idle) == 1);
    const auto which = std::ranges::find(idle, true, &SubflowBits::backup);
    const auto device = rig.network().devices()[rig.network().path_of(which->local).value()];

    const auto programs = rig.programs();
    const Json answer = all ? rig.json({"detach", "--all"}) : rig.json({"detach", device});
    const auto left = bits();
    INFO("left:\n" << text_of(left) << answer.dump(1));
    CHECK(left.size() == 2);
    CHECK(parked(left) == 0);
    CHECK(answer["restored"].get<int>() >= 1);
    CHECK(answer["unrestored"].empty());
    if (!all)
        rig.ok({"detach", "--all"});
    CHECK(parked(bits()) == 0);
    rig.no_trace(programs);
    e2e::check_clean(transfer.wait());
}

TEST_CASE("a subflow that its peer wants as backup is one again after detach", "[robust][live][restore]") {
    // Host A asks for backup on lte; host B sends, so B is steered.
    auto spec = two_paths(20);
    spec.paths[1].backup = true;
    Rig rig(spec);
    rig.side = lab::Side::b;
    const std::string mode = GENERATE("tc", "native");
    const bool all = GENERATE(false, true);
    CAPTURE(mode, all);
    const auto server = e2e::serve(rig.network());
    auto transfer = rig.transfer(server, {.direction = lab::Direction::download});
    REQUIRE(transfer.wait_for_subflows(2));
    const auto bits = [&] { return subflow_bits(rig.here(), server.port()); };
    const auto as_asked = [&] {
        const auto now = bits();
        return now.size() == 2 && std::ranges::all_of(now, [&](const SubflowBits &one) {
                   return one.backup == (rig.network().path_of(one.remote) == 1U);
               });
    };
    INFO(text_of(bits()));
    REQUIRE(as_asked());
    rig.ok({"attach", "dsl", "lte", "--mode", mode});
    // dsl hardly at all: lte must be opened against the peer's wish, dsl parked.
    rig.ok({"path", "lte", "weight=50"});
    rig.ok({"use", "weighted"});
    REQUIRE(eventually([&] { return !as_asked(); }));
    std::this_thread::sleep_for(500ms);
    if (all) {
        rig.ok({"detach", "--all"});
    } else {
        rig.ok({"detach", "lte"});
        rig.ok({"detach", "dsl"});
    }
    INFO("left:\n" << text_of(bits()));
    CHECK(as_asked());
    // And it stays so: nothing of ours is on its way any more.
    std::this_thread::sleep_for(300ms);
    CHECK(as_asked());
    transfer.stop();
    e2e::check_clean(transfer.wait());
}

TEST_CASE("another mode is put in place while traffic runs, without a gap", "[robust][live][replace]") {
    const Rig rig(two_paths(30));
    const bool without_tcx = GENERATE(false, true);
    CAPTURE(without_tcx);
    const Environment environment{{"MPS_WITHOUT", without_tcx ? "tcx" : ""}};
    rig.ok({"attach", "dsl", "lte", "--mode", "tc"}, environment);
    rig.ok({"use", "weighted"}, environment);
    rig.ok({"path", "dsl", "weight=2"}, environment);
    const auto server = e2e::serve(rig.network());
    const e2e::Health health(rig.network().a(), rig.network().b());
    const auto sampler =
        must(lab::ThroughputSampler::start(rig.network().b(), rig.network().devices(), 10ms));
    auto transfer = rig.transfer(server, {});
    REQUIRE(transfer.wait_for_subflows(2));
    std::this_thread::sleep_for(500ms);
    const double from = sampler.now_s();

    std::uint64_t decided = rig.json({"stats"}, environment)["decided"];
    for (const char *mode : {"native", "generic", "tc", "generic", "native", "tc"}) {
        const auto programs = rig.programs();
        rig.ok({"attach", "dsl", "lte", "--mode", mode}, environment);
        INFO(mode);
        const Hooks hooks = rig.hooks("dsl");
        CHECK((hooks.xdp_native != 0) == (mode == std::string("native")));
        CHECK((hooks.xdp_generic != 0) == (mode == std::string("generic")));
        CHECK(our_programs(rig.here(), "dsl").size() == (mode == std::string("tc") ? 1 : 2));
        CHECK(our_programs(rig.here(), "dsl") == our_programs(rig.here(), "lte"));
        CHECK(rig.status()["default_policy"] == "weighted");
        std::this_thread::sleep_for(300ms);
        // The programs in the new place do the work.
        const std::uint64_t now = rig.json({"stats"}, environment)["decided"];
        CHECK(now > decided + 10);
        decided = now;
        // It was there before the first packet that asks for it.
        CHECK(rig.json({"stats"}, environment)["policy_failed"] == 0);
    }
    const double gap = longest_gap_s(sampler, from);
    e2e::report(fmt::format("longest gap {:.0f} ms", gap * 1000));
    CHECK(gap < 0.5);
    transfer.stop();
    e2e::check_clean(transfer.wait());
    health.check();
    const auto programs = rig.programs();
    rig.ok({"detach", "--all"}, environment);
    rig.no_trace(programs);
}

TEST_CASE("without a feature of newer kernels the same work is done", "[robust][live][without]") {
    const Rig rig(two_paths(30));
    const std::string feature = GENERATE("tcx", "rdonly_cast", "tcx,rdonly_cast", "live_frames");
    const std::string mode = GENERATE("tc", "native");
    CAPTURE(feature, mode);
    const Environment environment{{"MPS_WITHOUT", feature}};
    // Somebody else's qdisc, to be left alone.
    must(rig.here().tc("qdisc add dev lte clsact"));
    rig.ok({"attach", "dsl", "lte", "--mode", mode}, environment);
    const bool tcx = kernel_has(rig, "tcx") && !feature.contains("tcx");
    CHECK(rig.hooks("dsl").tcx.size() == (tcx ? 1 : 0));
    CHECK(rig.hooks("dsl").filters.size() == (tcx ? 0 : 1));
    CHECK(rig.json({"status"}, environment)["interfaces"][0]["tc_hook"] == (tcx ? "tcx" : "clsact"));
    const bool rdonly_cast = kernel_has(rig, "rdonly_cast") && !feature.contains("rdonly_cast");
    CHECK(reads_with_rdonly_cast(rig, mode) == rdonly_cast);

    rig.ok({"use", "weighted"}, environment);
    rig.ok({"path", "dsl", "weight=3"}, environment);
    const auto server = e2e::serve(rig.network());
    const auto result = rig.transfer(server, {.bytes = 12'000'000}).wait();
    e2e::check_clean(result);
    const auto bytes = result.bytes_per_path(rig.network());
    const double share = static_cast<double>(bytes[0]) / static_cast<double>(bytes[0] + bytes[1]);
    INFO(share);
    CHECK(share == Approx(0.75).margin(0.08));

    const auto programs = rig.programs();
    rig.ok({"detach", "--all"}, environment);
    CHECK_FALSE(rig.hooks("dsl").clsact);
    CHECK(rig.hooks("lte").clsact);
    must(rig.here().tc("qdisc del dev lte clsact"));
    rig.no_trace(programs);
}

TEST_CASE("a feature that does not exist is refused by name", "[robust][live][without]") {
    const Rig rig;
    rig.refused({"attach", "dsl"}, {.code = 2, .what = {"'magic'"}, .hint = {"tcx", "rdonly_cast"}},
                {{"MPS_WITHOUT", "tcx,magic"}});
}
