// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <mps/abi.h>
#include <net/if.h>

#include "base/child.hpp"
#include "scratch.hpp"

using namespace mps;
using mps::test::run;
using mps::test::Scratch;

namespace {

// An XDP program that is not ours, attached without a link, as `ip link set … xdp` does. Returns its id.
std::uint32_t attach_foreign_xdp(const char *interface) {
    const bpf_insn pass[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = XDP_PASS},
        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
    const int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "somebody_elses", "GPL", pass, 2, nullptr);
    REQUIRE(fd >= 0);
    REQUIRE(bpf_xdp_attach(static_cast<int>(if_nametoindex(interface)), fd, 0, nullptr) == 0);
    bpf_prog_info info{};
    std::uint32_t length = sizeof info;
    REQUIRE(bpf_obj_get_info_by_fd(fd, &info, &length) == 0);
    ::close(fd);
    return info.id;
}

std::uint32_t xdp_on(const char *interface) {
    std::uint32_t id = 0;
    REQUIRE(bpf_xdp_query_id(static_cast<int>(if_nametoindex(interface)), 0, &id) == 0);
    return id;
}

// Ids of the maps of a program; none if it cannot be asked. `info` becomes what the kernel tells besides.
std::set<std::uint32_t> maps_of(int program, bpf_prog_info &info) {
    std::array<std::uint32_t, 64> maps{};
    std::uint32_t length = sizeof info;
    info.nr_map_ids = maps.size();
    info.map_ids = reinterpret_cast<std::uintptr_t>(maps.data());
    if (program < 0 || bpf_obj_get_info_by_fd(program, &info, &length))
        return {};
    return {maps.begin(), maps.begin() + std::min<std::size_t>(info.nr_map_ids, maps.size())};
}

// What the kernel holds, by name, of programs that use one of our maps: data path and policies.
std::multiset<std::string> loaded_programs(const Scratch &scratch) {
    std::set<std::uint32_t> ours;
    for (const auto &entry : std::filesystem::directory_iterator(scratch.installation() + "/maps")) {
        const int fd = bpf_obj_get(entry.path().c_str());
        bpf_map_info info{};
        std::uint32_t length = sizeof info;
        REQUIRE(bpf_obj_get_info_by_fd(fd, &info, &length) == 0);
        ours.insert(info.id);
        ::close(fd);
    }
    std::multiset<std::string> names;
    for (std::uint32_t id = 0; !bpf_prog_get_next_id(id, &id);) {
        const int fd = bpf_prog_get_fd_by_id(id);
        bpf_prog_info info{};
        if (std::ranges::any_of(maps_of(fd, info), [&](std::uint32_t map) { return ours.contains(map); }))
            names.insert(info.name);
        if (fd >= 0)
            ::close(fd);
    }
    return names;
}

// Maps of the policy in slot 1, by what calls it.
std::set<std::uint32_t> policy_maps(const Scratch &scratch, const char *slots) {
    const int slots_fd = bpf_obj_get((scratch.installation() + "/maps/" + slots).c_str());
    REQUIRE(slots_fd >= 0);
    std::uint32_t slot = 1, id = 0;
    std::set<std::uint32_t> result;
    if (!bpf_map_lookup_elem(slots_fd, &slot, &id)) {
        const int fd = bpf_prog_get_fd_by_id(id);
        bpf_prog_info info{};
        result = maps_of(fd, info);
        REQUIRE_FALSE(result.empty());
        ::close(fd);
    }
    ::close(slots_fd);
    return result;
}

struct WithoutFeature {
    explicit WithoutFeature(const char *names) { ::setenv("MPS_WITHOUT", names, 1); }
    ~WithoutFeature() { ::unsetenv("MPS_WITHOUT"); }
};

} // namespace

TEST_CASE("attach and detach leave status and kernel in agreement, in every mode and change of mode") {
    const std::string without = GENERATE("", "tcx", "rdonly_cast");
    INFO("without " << without);
    const WithoutFeature forced(without.c_str());
    Scratch scratch;
    scratch.add_veth();
    Instance instance = scratch.instance();
    CHECK_FALSE(instance.installed());
    for (const Mode mode :
         {Mode::tc, Mode::native, Mode::generic, Mode::tc, Mode::generic, Mode::native, Mode::tc}) {
        INFO("mode " << to_string(mode));
        const auto attached = instance.attach({.interfaces = {"v0", "v1", "v0"}, .mode = mode});
        REQUIRE(attached);
        CHECK(attached->interfaces.size() == 2);
        const auto status = instance.status();
        REQUIRE(status);
        REQUIRE(status->interfaces.size() == 2);
        for (const InterfaceStatus &interface : status->interfaces) {
            CHECK(interface.mode == mode);
            CHECK(interface.problem.empty());
            CHECK(interface.tc_hook == (without == "tcx" ? "clsact" : "tcx"));
            CHECK(interface.xdp_prog_id == xdp_on(interface.name.c_str()));
            CHECK((interface.xdp_prog_id == 0) == (mode == Mode::tc));
        }
        CHECK(status->problems.empty());
    }
    const auto again = instance.attach({.interfaces = {"v0"}});
    REQUIRE(again);
    CHECK_FALSE(again->interfaces[0].changed);

    const auto one = instance.detach({.interfaces = {"v0"}});
    REQUIRE(one);
    CHECK(one->interfaces == std::vector<std::string>{"v0"});
    CHECK_FALSE(one->removed_everything);
    CHECK(instance.status()->interfaces.size() == 1);
    const auto rest = instance.detach({.all = true});
    REQUIRE(rest);
    CHECK(rest->removed_everything);
    CHECK(scratch.pins() == 0);
    CHECK(xdp_on("v0") == 0);
    run("test -z \"$(tc qdisc show | grep clsact)\"");
    // And once more: what was asked for is already so.
    CHECK(instance.detach({.all = true}));
    CHECK(instance.detach({.interfaces = {"v0"}}));
}

TEST_CASE("only programs that an interface needs are loaded, and the others when one needs them") {
    Scratch scratch;
    scratch.add_veth();
    run("ip tuntap add dev t0 mode tun && ip link set t0 up");
    Instance instance = scratch.instance();
    std::multiset<std::string> expected{"mps_apply", "mps_dump", "mps_inject", "mps_netns_alive",
                                        "mps_sockops"};
    const auto are_loaded = [&](std::initializer_list<const char *> more) {
        expected.insert(more.begin(), more.end());
        CHECK(loaded_programs(scratch) == expected);
        CHECK(instance.status()->problems.empty());
    };
    SECTION("first tc") {
        REQUIRE(instance.attach({.interfaces = {"v0"}, .mode = Mode::tc, .policy = "weighted"}));
        are_loaded({"mps_tc_eth", "mps_policy_tc", "mps_out_eth", "mps_take_back"});
        // What was set belongs to both programs of a policy.
        REQUIRE(instance.set({{"lead_bytes", "20000"}}));
        REQUIRE(instance.attach({.interfaces = {"v1"}, .mode = Mode::native}));
        are_loaded({"mps_xdp_eth", "mps_wake_eth", "mps_policy_xdp"});
        CHECK(policy_maps(scratch, MPS_MAP_XDP_SLOTS) == policy_maps(scratch, MPS_MAP_TC_SLOTS));
        CHECK(instance.status()->policies.at(0).params.at(0).value == 20000);
        CHECK(instance.status()->policies.at(0).sha256.size() == 64);
        REQUIRE(instance.attach({.interfaces = {"t0"}}));
        are_loaded({"mps_tc_l3", "mps_out_l3"});
        // One that is used now is needed for both.
        REQUIRE(instance.use({.policy = "smallest-delay"}));
        are_loaded({});
    }
    SECTION("first native, and another mode for the same interface") {
        REQUIRE(instance.attach({.interfaces = {"v0"}, .mode = Mode::native, .policy = "weighted"}));
        // It decides about what peers send at TC egress.
        are_loaded({"mps_xdp_eth", "mps_wake_eth", "mps_policy_xdp", "mps_out_eth", "mps_take_back",
                    "mps_policy_tc"});
        REQUIRE(instance.load_policy("smallest-delay"));
        are_loaded({"mps_policy_xdp"});
        REQUIRE(instance.attach({.interfaces = {"v0"}, .mode = Mode::tc}));
        are_loaded({"mps_tc_eth", "mps_policy_tc"});
    }
    SECTION("nothing is there to be attached yet") {
        REQUIRE(instance.path("v0", {{"weight", "2"}}));
        are_loaded({});
        REQUIRE(instance.attach({.interfaces = {"v0"}, .mode = Mode::generic, .policy = "auto"}));
        are_loaded({"mps_xdp_eth", "mps_wake_eth", "mps_policy_xdp", "mps_out_eth", "mps_take_back",
                    "mps_policy_tc"});
        REQUIRE(instance.detach({.interfaces = {"v0"}}));
    }
    SECTION("a policy from a file, which may be gone when the other program is needed") {
        REQUIRE(instance.attach({.interfaces = {"v0"}, .mode = Mode::tc, .policy = "default"}));
        are_loaded({"mps_tc_eth", "mps_out_eth", "mps_take_back"});
        REQUIRE(instance.use({.policy = MPS_OUTSIDE_DIR "/outside_1.bpf.o"}));
        are_loaded({"mps_policy_tc", "mps_policy_xdp"});
    }
    SECTION("XDP is taken off behind our back") {
        REQUIRE(instance.attach({.interfaces = {"v0"}, .mode = Mode::native, .policy = "weighted"}));
        run("rm " + scratch.installation() + "/links/" + std::to_string(if_nametoindex("v0")) + "-xdp");
        REQUIRE(instance.set({{"lead_bytes", "20000"}}));
        // The next command goes on in mode tc, with the policy.
        expected.insert({"mps_xdp_eth", "mps_wake_eth", "mps_policy_xdp", "mps_out_eth", "mps_take_back",
                         "mps_policy_tc"});
        are_loaded({"mps_tc_eth"});
        CHECK(instance.status()->interfaces.at(0).mode == Mode::tc);
    }
}

TEST_CASE("auto chooses tc where native XDP costs more than it gives, and says why") {
    Scratch scratch;
    scratch.add_veth();
    run("ip tuntap add dev t0 mode tun && ip link set t0 up");
    Instance instance = scratch.instance();
    const auto attached = instance.attach({.interfaces = {"v0", "t0", "lo"}});
    REQUIRE(attached);
    for (const AttachedInterface &interface : attached->interfaces) {
        CHECK(interface.mode == Mode::tc);
        CHECK_FALSE(interface.why.empty());
    }
    const auto status = instance.status();
    REQUIRE(status);
    for (const InterfaceStatus &interface : status->interfaces)
        CHECK(interface.layer3 == (interface.name == "t0"));
    REQUIRE(instance.detach({.all = true}));
}

TEST_CASE(
    "a port of a bridge is attached with a word about it, and what steers nothing is refused unloaded") {
    Scratch scratch;
    scratch.add_veth();
    run("ip link add br0 type bridge && ip link set v0 master br0 && ip link add ifb7 type ifb");
    Instance instance = scratch.instance();
    const auto refused = instance.attach({.interfaces = {"v1", "ifb7"}});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::unsupported);
    CHECK(scratch.pins() == 0);
    const auto attached = instance.attach({.interfaces = {"v0"}});
    REQUIRE(attached);
    REQUIRE(attached->warnings.size() == 1);
    CHECK(attached->warnings[0] == "v0 is a port of the bridge br0: sockets use br0; attach br0 instead");
    CHECK(instance.status()->problems.empty());
    REQUIRE(instance.detach({.all = true}));
}

TEST_CASE("an unknown interface is a usage error that lists the valid ones, and nothing is changed") {
    Scratch scratch;
    scratch.add_veth();
    Instance instance = scratch.instance();
    for (const auto &interfaces :
         {std::vector<std::string>{"v0", "nosuch"}, {""}, {"a-name-that-is-too-long"}, {}}) {
        const auto attached = instance.attach({.interfaces = interfaces});
        REQUIRE_FALSE(attached);
        CHECK(attached.error().code == ErrorCode::usage);
        CHECK(attached.error().hint.find("v0") != std::string::npos);
    }
    CHECK(instance.detach({.interfaces = {"nosuch"}}).error().code == ErrorCode::usage);
    CHECK(instance.detach({}).error().code == ErrorCode::usage);
    CHECK(instance.path("nosuch", {}).error().code == ErrorCode::usage);
    CHECK(instance.path("no/such", {{"weight", "2"}}).error().code == ErrorCode::usage);
    CHECK(scratch.pins() == 0);
}

TEST_CASE("somebody else's XDP program stays unless forced, and tc works beside it") {
    Scratch scratch;
    scratch.add_veth();
    Instance instance = scratch.instance();
    const std::uint32_t foreign = attach_foreign_xdp("v1");

    // All or nothing: v0 came first and is undone.
    const auto refused = instance.attach({.interfaces = {"v0", "v1"}, .mode = Mode::native});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::failed);
    CHECK(refused.error().what.find("somebody_elses") != std::string::npos);
    CHECK(refused.error().hint.find("--mode tc") != std::string::npos);
    CHECK(xdp_on("v0") == 0);
    CHECK(xdp_on("v1") == foreign);
    CHECK(scratch.pins() == 0);

    // Forced, but another interface fails: the program is back where it was.
    run("ip tuntap add dev t9 mode tun");
    const auto failed = instance.attach({.interfaces = {"v1", "t9"}, .mode = Mode::native, .force = true});
    REQUIRE_FALSE(failed);
    CHECK(failed.error().code == ErrorCode::unsupported);
    CHECK(xdp_on("v1") == foreign);
    CHECK(scratch.pins() == 0);

    REQUIRE(instance.attach({.interfaces = {"v1"}, .mode = Mode::tc}));
    CHECK(xdp_on("v1") == foreign);
    const auto forced = instance.attach({.interfaces = {"v1"}, .mode = Mode::native, .force = true});
    REQUIRE(forced);
    CHECK(forced->warnings.size() == 2); // the other one is about native XDP on a veth
    CHECK(xdp_on("v1") != foreign);
    REQUIRE(instance.detach({.all = true}));
    CHECK(xdp_on("v1") == 0);
}

TEST_CASE("somebody else's clsact qdisc and filter stay") {
    const WithoutFeature forced("tcx");
    Scratch scratch;
    scratch.add_veth();
    run("tc qdisc add dev v0 clsact && tc filter add dev v0 egress protocol all bpf bytecode '1,6 0 0 0'");
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"v0", "v1"}}));
    // Ours, but with a guest by the time we leave.
    run("tc filter add dev v1 egress protocol all bpf bytecode '1,6 0 0 0'");
    REQUIRE(instance.detach({.all = true}));
    run("tc filter show dev v0 egress | grep -q bytecode");
    run("tc filter show dev v1 egress | grep -q bytecode");
    run("test -z \"$(tc filter show dev v0 ingress; tc filter show dev v1 ingress)\"");
}

TEST_CASE(
    "without tcx an ingress qdisc is shared when it is there first, and attach foretells that a later one fails") {
    const WithoutFeature forced("tcx");
    Scratch scratch;
    scratch.add_veth();
    run("tc qdisc add dev v0 handle ffff: ingress && tc filter add dev v0 parent ffff: protocol all prio 10 bpf "
        "bytecode '1,6 0 0 0'");
    Instance instance = scratch.instance();
    const auto attached = instance.attach({.interfaces = {"v0", "v1"}});
    REQUIRE(attached);
    REQUIRE(attached->warnings.size() == 2);
    CHECK(attached->warnings[0].starts_with("v0: what peers send is not steered: v0 has an ingress qdisc"));
    CHECK(attached->warnings[1].starts_with("v1: this kernel has no tcx"));
    CHECK(instance.status()->problems.empty());
    const auto seen = instance.status();
    REQUIRE(seen);
    for (const InterfaceStatus &one : seen->interfaces)
        CHECK((one.out_prog_id == 0) == (one.name == "v0"));
    run("tc qdisc show dev v0 | grep -q 'qdisc ingress'");
    run("tc filter show dev v0 ingress | grep -q bytecode");
    // As sqm-scripts do it.
    run("tc qdisc add dev v1 handle ffff: ingress 2>&1 | grep -q 'Exclusivity flag on'");
    REQUIRE(instance.detach({.all = true}));
    run("tc filter show dev v0 ingress | grep -q bytecode");
    run("tc qdisc add dev v1 handle ffff: ingress");
    // No clsact of ours, but neither of them has an egress.
    const auto both = instance.attach({.interfaces = {"v0", "v1"}});
    REQUIRE(both);
    REQUIRE(both->warnings.size() == 2);
    CHECK(both->warnings[1].starts_with("v1: what peers send is not steered"));
    REQUIRE(instance.detach({.all = true}));
}

TEST_CASE("an interface that disappears while attached is reported and cleaned up") {
    Scratch scratch;
    scratch.add_veth();
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"v0", "v1", "lo"}, .mode = Mode::generic}));
    run("ip link del v0");
    const auto status = instance.status();
    REQUIRE(status);
    CHECK(status->problems.empty());
    for (const InterfaceStatus &interface : status->interfaces)
        CHECK(interface.state ==
              (interface.name == "lo" ? InterfaceState::attached : InterfaceState::absent));
    // The interface is gone, what was to be attached can still be let go.
    const auto detached = instance.detach({.interfaces = {"v0"}});
    REQUIRE(detached);
    CHECK(detached->interfaces == std::vector<std::string>{"v0"});
    CHECK_FALSE(detached->removed_everything);
    CHECK(instance.status()->interfaces.size() == 2);
    REQUIRE(instance.detach({.all = true}));
    CHECK(scratch.pins() == 0);
}

TEST_CASE("a program taken away by somebody else is reported, and the next command mends it") {
    Scratch scratch;
    scratch.add_veth();
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"v0"}, .mode = Mode::native}));
    const std::string link = fmt::format("{}/links/{}-xdp", scratch.installation(), if_nametoindex("v0"));
    const int fd = bpf_obj_get(link.c_str());
    REQUIRE(bpf_link_detach(fd) == 0);
    ::close(fd);
    CHECK(instance.status()->problems.size() == 1);
    REQUIRE(instance.set({{"dwell_us", "5"}}));
    const auto status = instance.status();
    REQUIRE(status);
    CHECK(status->problems.empty());
    REQUIRE(status->interfaces.size() == 1);
    CHECK(status->interfaces[0].mode == Mode::tc);
    REQUIRE(instance.detach({.all = true}));
}

TEST_CASE("path attributes are range checked, outlive detach and need no attached interface") {
    Scratch scratch;
    scratch.add_veth();
    Instance instance = scratch.instance();
    // Nothing is made by looking.
    CHECK(instance.path("v0", {})->attributes.weight == 1);
    CHECK(scratch.pins() == 0);
    for (const Setting &wrong : {Setting{"weight", "0"},
                                 {"weight", "10001"},
                                 {"priority", "256"},
                                 {"cost", "1000001"},
                                 {"energy", "coal"},
                                 {"weight", "x"},
                                 {"weight", ""},
                                 {"colour", "red"}}) {
        INFO(wrong.key << "=" << wrong.value);
        const auto path = instance.path("v0", {{"weight", "5"}, wrong});
        REQUIRE_FALSE(path);
        CHECK(path.error().code == ErrorCode::usage);
    }
    CHECK(scratch.pins() == 0);
    const auto set = instance.path("v0", {{"weight", "3"}, {"energy", "lte"}});
    REQUIRE(set);
    CHECK(set->attributes.weight == 3);
    CHECK(set->attributes.energy == "lte");
    CHECK_FALSE(set->attached);
    REQUIRE(instance.attach({.interfaces = {"v0", "v1"}}));
    const auto status = instance.status();
    REQUIRE(status);
    for (const InterfaceStatus &interface : status->interfaces)
        CHECK(interface.attributes.weight == (interface.name == "v0" ? 3 : 1));
    REQUIRE(instance.path("v0", {{"priority", "2"}}));
    REQUIRE(instance.detach({.interfaces = {"v0"}}));
    const auto kept = instance.path("v0", {});
    REQUIRE(kept);
    CHECK(kept->attributes.weight == 3);
    CHECK(kept->attributes.priority == 2);
    CHECK_FALSE(kept->attached);
    REQUIRE(instance.detach({.all = true}));
    CHECK(scratch.pins() == 0);
}

TEST_CASE("a quota is checked, counted from when it is set, and kept when it is changed") {
    Scratch scratch;
    scratch.add_veth();
    Instance instance = scratch.instance();
    for (const Setting &wrong : {Setting{"quota", "0"},
                                 {"quota", "10X"},
                                 {"quota", "99999T"},
                                 {"quota", "-1"},
                                 {"quota", "M"},
                                 {"quota_period", "0"},
                                 {"quota_period", "1y"},
                                 {"quota_period", "99999999d"},
                                 {"quota_used", "none"},
                                 {"quota_used", "5"}}) { // there is no quota
        INFO(wrong.key << "=" << wrong.value);
        const auto path = instance.path("v0", {wrong});
        REQUIRE_FALSE(path);
        CHECK(path.error().code == ErrorCode::usage);
    }
    CHECK_FALSE(instance.path("v0", {})->attributes.quota_bytes);

    REQUIRE(instance.attach({.interfaces = {"v0", "v1"}}));
    const auto set = instance.path("v0", {{"quota", "10M"}, {"quota_period", "30d"}});
    REQUIRE(set);
    CHECK(set->attributes.quota_bytes == 10'000'000U);
    CHECK(set->attributes.quota_period_s == 30U * 86'400);
    CHECK(set->quota_used_bytes == 0);
    CHECK(instance.path("v0", {{"quota_used", "4k"}})->quota_used_bytes == 4000);
    CHECK(instance.path("v0", {{"quota", "5G"}})->quota_used_bytes == 4000);
    CHECK(instance.path("v0", {{"quota_period", "none"}})->quota_used_bytes == 4000);
    CHECK(instance.path("v0", {{"weight", "2"}})->attributes.quota_bytes == 5'000'000'000U);
    // A period that is over counts nothing.
    REQUIRE(instance.path("v0", {{"quota_period", "1"}}));
    std::this_thread::sleep_for(std::chrono::milliseconds(1100));
    CHECK(instance.path("v0", {})->quota_used_bytes == 0);
    // Attributes outlive detach, and a quota taken away starts over.
    REQUIRE(instance.detach({.interfaces = {"v0"}}));
    CHECK(instance.path("v0", {})->attributes.quota_bytes == 5'000'000'000U);
    CHECK_FALSE(instance.path("v0", {{"quota", "none"}})->attributes.quota_bytes);
    CHECK(instance.path("v0", {{"quota", "1M"}})->quota_used_bytes == 0);
    REQUIRE(instance.detach({.all = true}));
    CHECK(scratch.pins() == 0);
}

TEST_CASE("killed at any moment, the next command recovers") {
    const std::string without = GENERATE("", "tcx");
    INFO("without " << without);
    const WithoutFeature forced(without.c_str());
    Scratch scratch;
    scratch.add_veth();
    std::srand(1);
    for (int round = 0; round < 40; round++) {
        auto child = Child::fork([&] {
            // What succeeds is of no interest here, only what a kill leaves.
            auto victim = Instance::open(scratch.options());
            for (int step = round; victim; step++) {
                switch (step % 5) {
                case 0:
                    (void)victim->attach({.interfaces = {"v0", "v1"}, .mode = Mode::native});
                    break;
                case 1:
                    (void)victim->use({.policy = "active-standby"});
                    break;
                case 2:
                    (void)victim->attach({.interfaces = {"v0", "v1"}, .mode = Mode::generic});
                    break;
                case 3:
                    (void)victim->use({.policy = "smallest-delay", .selector = "rport=443"});
                    break;
                default:
                    (void)victim->detach({.all = true});
                }
            }
            return 0;
        });
        REQUIRE(child);
        std::this_thread::sleep_for(std::chrono::microseconds(std::rand() % 300'000));
        child->end();

        Instance instance = scratch.instance();
        CHECK(instance.status());
        const auto attached = instance.attach({.interfaces = {"v0", "v1"}});
        if (!attached)
            FAIL(attached.error().what);
        const auto status = instance.status();
        REQUIRE(status);
        CHECK(status->problems.empty());
        CHECK(status->interfaces.size() == 2);
        for (const PolicyInfo &policy : status->policies)
            CHECK((policy.is_default || policy.rules));
    }
    REQUIRE(scratch.instance().detach({.all = true}));
    CHECK(scratch.pins() == 0);
    CHECK(xdp_on("v0") == 0);
    run("test -z \"$(tc qdisc show | grep clsact)\"");
}

TEST_CASE("programs decide by the kind of an error", "[loader]") {
    const Scratch scratch;
    scratch.add_veth();
    auto instance = scratch.instance();
    CHECK(instance.connections().error().kind == ErrorKind::not_installed);
    CHECK(instance.set_path("v0", {.weight = 0}).error().kind == ErrorKind::usage);
    CHECK_FALSE(instance.installed());
    CHECK(instance.attach({.interfaces = {"nosuch0"}}).error().kind == ErrorKind::no_such_interface);
    CHECK(Instance::open({.netns = "no-such-netns"}).error().kind == ErrorKind::no_such_netns);
    const auto foreign = attach_foreign_xdp("v0");
    CHECK(instance.attach({.interfaces = {"v0"}, .mode = Mode::generic}).error().kind == ErrorKind::in_use);
    CHECK(xdp_on("v0") == foreign);
    REQUIRE(bpf_xdp_detach(static_cast<int>(if_nametoindex("v0")), 0, nullptr) == 0);
    REQUIRE(instance.attach({.interfaces = {"v0"}}));
    CHECK(instance.use({.policy = "no-such"}).error().kind == ErrorKind::no_such_policy);
    CHECK(instance.use({.policy = "auto", .selector = "mark=1", .before = "mark=2"}).error().kind ==
          ErrorKind::no_such_rule);
    const auto path = instance.set_path("v0", {.weight = 3, .quota_bytes = 1'000'000});
    CHECK((path && path->attributes.weight == 3 && path->attributes.quota_bytes == 1'000'000U));
    CHECK(instance.use({.policy = "latency-budget", .params = {{"budget_ms", 80}}})->params.front().value ==
          80);
    CHECK(instance.unload_policy("latency-budget").error().kind == ErrorKind::in_use);
}
