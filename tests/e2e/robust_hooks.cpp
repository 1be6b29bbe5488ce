// SPDX-License-Identifier: MIT
//
// Interfaces that others use too, and interfaces that go away while we are attached to them.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sys/socket.h>

#include <csignal>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "foreign_programs.skel.h"
#include "robust_rig.hpp"

using namespace mps::robust;
using namespace mps;

namespace {

constexpr auto tcx_ingress =
    static_cast<bpf_attach_type>(46); // BPF_TCX_INGRESS, newer than Debian 12's headers

int ifindex_of(const lab::Namespace &ns, const std::string &device) {
    return must(ns.run([&] { return static_cast<int>(::if_nametoindex(device.c_str())); }));
}

// Somebody else's programs, loaded; they stay on a device as long as somebody holds them there.
class Foreign {
  public:
    Foreign() : programs_(foreign_programs__open_and_load()) { REQUIRE(programs_ != nullptr); }
    ~Foreign() { foreign_programs__destroy(programs_); }
    Foreign(const Foreign &) = delete;
    Foreign &operator=(const Foreign &) = delete;

    int xdp() const { return bpf_program__fd(programs_->progs.other_xdp); }
    int tc() const { return bpf_program__fd(programs_->progs.other_tc); }
    std::uint64_t xdp_packets() const { return programs_->bss->xdp_packets; }
    std::uint64_t tc_packets() const { return programs_->bss->tc_packets; }

    void netlink_xdp(const Rig &rig, const std::string &device, std::uint32_t flags) const {
        const int err = must(rig.here().run([&] {
            return bpf_xdp_attach(static_cast<int>(::if_nametoindex(device.c_str())), xdp(), flags, nullptr);
        }));
        REQUIRE(err == 0);
    }
    Fd link_xdp(const Rig &rig, const std::string &device, std::uint32_t flags) const {
        return link(rig, device, xdp(), BPF_XDP, flags);
    }
    Fd link_tcx(const Rig &rig, const std::string &device) const {
        return link(rig, device, tc(), tcx_ingress, 0);
    }
    void filter(const Rig &rig, const std::string &device, std::uint32_t priority) const {
        const int err = must(rig.here().run([&] {
            const auto ifindex = static_cast<int>(::if_nametoindex(device.c_str()));
            LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
            LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = tc(), .handle = 1, .priority = priority);
            return bpf_tc_attach(&hook, &options);
        }));
        REQUIRE(err == 0);
    }

  private:
    Fd link(const Rig &rig, const std::string &device, int program, bpf_attach_type where,
            std::uint32_t flags) const {
        return must(rig.here().run([&] {
            LIBBPF_OPTS(bpf_link_create_opts, options, .flags = flags);
            Fd made(bpf_link_create(program, static_cast<int>(::if_nametoindex(device.c_str())), where,
                                    &options));
            if (!made)
                FAIL("cannot attach somebody else's program: errno " << errno);
            return made;
        }));
    }

    foreign_programs *programs_;
};

// Two packets that nobody waits for arrive on the device.
void knock(const Rig &rig, std::size_t path) {
    const auto &far = rig.network().host(rig.side == lab::Side::a ? lab::Side::b : lab::Side::a);
    const std::string address = rig.network().address(rig.side, path);
    const bool sent = must(far.run([&] {
        const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        sockaddr_in to{.sin_family = AF_INET, .sin_port = ::htons(9), .sin_addr = {}, .sin_zero = {}};
        ::inet_pton(AF_INET, address.c_str(), &to.sin_addr);
        bool good = true;
        for (int i = 0; i < 2; i++)
            good &= ::sendto(socket.get(), "knock", 5, 0, reinterpret_cast<const sockaddr *>(&to),
                             sizeof to) == 5;
        return good;
    }));
    REQUIRE(sent);
}

std::uint32_t xdp_id(const Hooks &hooks) {
    return hooks.xdp_native != 0 ? hooks.xdp_native : hooks.xdp_generic;
}

// What `status` says of an interface, "" if nothing.
std::string state_of(const Json &status, const std::string &device) {
    for (const Json &one : status["interfaces"])
        if (one["name"] == device)
            return one["state"];
    return "";
}

// The path's device and its address, as they were before: another device, with another index.
void bring_back(Rig &rig, std::size_t path, const std::string &device) {
    const auto a = rig.network().address(lab::Side::a, path), b = rig.network().address(lab::Side::b, path);
    must(rig.here().ip(fmt::format("link add {} type veth peer name {} netns {}\naddr add {}/28 dev {}",
                                   device, device, rig.network().b().name(), a, device)));
    must(rig.network().b().ip(fmt::format("addr add {}/28 dev {}\nlink set {} up", b, device, device)));
    must(rig.network().set_link(path, true));
}

// `attach --follow` in the background.
class Follower {
  public:
    Follower(const Rig &rig, Words words)
        : process_(must(lab::Process::start(rig.command(words), {.environment = rig.environment()}))) {}

    void signal(int number) { must(process_.signal(number)); }
    // It has to end well, at SIGTERM; what it said, a document a line.
    std::vector<Json> end() {
        signal(SIGTERM);
        const auto result = must(process_.wait(std::chrono::seconds(10)));
        INFO(result.out << result.err);
        CHECK(result.exit_code == 0);
        std::vector<Json> events;
        std::istringstream lines(result.out);
        for (std::string line; std::getline(lines, line);)
            events.push_back(Json::parse(line));
        return events;
    }

  private:
    lab::Process process_;
};

bool steers(const Rig &rig) {
    const auto server = e2e::serve(rig.network());
    const Json before = rig.json({"stats"});
    auto transfer = rig.transfer(server, {.bytes = 3'000'000});
    e2e::check_clean(transfer.wait());
    return rig.json({"stats"})["seen"].get<std::uint64_t>() > before["seen"].get<std::uint64_t>() + 50;
}

} // namespace

TEST_CASE("an XDP program of somebody else is not replaced unless that is asked for", "[robust][hooks]") {
    const Rig rig;
    const Foreign foreign;
    const bool native = GENERATE(true, false);
    const bool by_link = !native;
    CAPTURE(native, by_link);
    const std::uint32_t flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
    Fd link;
    if (by_link)
        link = foreign.link_xdp(rig, "dsl", flags);
    else
        foreign.netlink_xdp(rig, "dsl", flags);
    const std::uint32_t theirs = xdp_id(rig.hooks("dsl"));
    REQUIRE(theirs != 0);

    const Refusal refusal{.code = 1, .what = {"dsl", "other_xdp"}, .hint = {"--mode tc", "--force"}};
    rig.refused({"attach", "dsl", "--mode", "native"}, refusal);
    rig.refused({"attach", "lte", "dsl", "--mode", "generic"}, refusal);
    CHECK(rig.bpffs().tree().empty());
    CHECK(rig.json({"probe"})["interfaces"].dump().contains("other_xdp"));

    // Beside it.
    rig.ok({"attach", "dsl", "lte", "--mode", "tc"});
    CHECK(xdp_id(rig.hooks("dsl")) == theirs);
    CHECK(our_programs(rig.here(), "dsl") == std::vector<std::string>{"mps_tc_eth"});
    rig.ok({"use", "weighted"});
    const auto before = foreign.xdp_packets();
    CHECK(steers(rig));
    CHECK(foreign.xdp_packets() > before);
    rig.refused({"attach", "dsl", "--mode", "native"}, refusal);
    rig.ok({"detach", "--all"});
    CHECK(xdp_id(rig.hooks("dsl")) == theirs);

    // In its place.
    const Json answer =
        rig.json({"attach", "dsl", "lte", "--mode", native ? "native" : "generic", "--force"});
    CHECK(answer["warnings"].dump().contains("other_xdp"));
    CHECK(our_programs(rig.here(), "dsl") == std::vector<std::string>{"mps_wake_eth", "mps_xdp_eth"});
    CHECK(steers(rig));
    const auto programs = rig.programs();
    rig.ok({"detach", "--all"});
    rig.no_trace(programs);
}

TEST_CASE("an XDP program that was replaced comes back when the rest of the command fails",
          "[robust][hooks]") {
    const Rig rig;
    const Foreign foreign;
    foreign.netlink_xdp(rig, "dsl", XDP_FLAGS_DRV_MODE);
    // The loopback device has no native XDP.
    rig.refused({"attach", "dsl", "lo", "--mode", "native", "--force"},
                {.code = 3, .what = {"lo"}, .hint = {"--mode tc"}});
    CHECK(program_name(rig.hooks("dsl").xdp_native) == "other_xdp");
}

TEST_CASE("programs of others at TC go on working beside ours and stay when we leave", "[robust][hooks]") {
    const Rig rig;
    const Foreign foreign;
    const auto [how, mode, without_tcx] = GENERATE(table<std::string, std::string, bool>({
        {"tcx before", "tc", false},
        {"tcx after", "native", false},
        {"tcx after", "tc", true},
        {"filter before", "tc", true},
        {"filter after", "native", true},
        {"filter before", "native", false},
    }));
    CAPTURE(how, mode, without_tcx);
    const Environment environment{{"MPS_WITHOUT", without_tcx ? "tcx" : ""}};
    const bool before_us = how.ends_with("before");
    Fd link;
    const auto install = [&] {
        if (how.starts_with("tcx")) {
            link = foreign.link_tcx(rig, "dsl");
        } else {
            // Ours or theirs may have made the qdisc: whoever comes second finds it there.
            (void)rig.here().tc("qdisc add dev dsl clsact");
            foreign.filter(rig, "dsl", 10);
        }
    };
    if (before_us)
        install();
    rig.ok({"attach", "dsl", "lte", "--mode", mode}, environment);
    if (!before_us)
        install();
    rig.ok({"use", "weighted"}, environment);

    auto seen = foreign.tc_packets();
    CHECK(steers(rig));
    CHECK(foreign.tc_packets() > seen);
    // Another mode, still beside it.
    rig.ok({"attach", "dsl", "--mode", mode == "tc" ? "native" : "tc"}, environment);
    seen = foreign.tc_packets();
    knock(rig, 0);
    CHECK(eventually([&] { return foreign.tc_packets() >= seen + 2; }));

    const auto programs = pinned_programs(rig.bpffs().tree());
    rig.ok({"detach", "--all"}, environment);
    CHECK(our_programs(rig.here(), "dsl").empty());
    CHECK(rig.bpffs().tree().empty());
    CHECK(programs_vanish(programs));
    seen = foreign.tc_packets();
    knock(rig, 0);
    CHECK(eventually([&] { return foreign.tc_packets() >= seen + 2; }));
}

TEST_CASE("a clsact qdisc that we made goes with us, one that was there stays", "[robust][hooks]") {
    const Rig rig;
    const Environment without{{"MPS_WITHOUT", "tcx"}};
    must(rig.here().tc("qdisc add dev lte clsact"));
    rig.ok({"attach", "dsl", "lte", "--mode", "tc"}, without);
    CHECK(rig.status()["interfaces"][0]["tc_hook"] == "clsact");
    CHECK(rig.hooks("dsl").filters.size() == 1);
    CHECK(rig.hooks("lte").filters.size() == 1);
    CHECK(rig.hooks("dsl").tcx.empty());
    // Twice, and in another mode: still the same owner.
    rig.ok({"attach", "dsl", "lte", "--mode", "native"}, without);
    rig.ok({"attach", "dsl", "lte", "--mode", "tc"}, without);
    const auto programs = rig.programs();
    const bool one_by_one = GENERATE(true, false);
    if (one_by_one) {
        rig.ok({"detach", "dsl"}, without);
        CHECK_FALSE(rig.hooks("dsl").clsact);
        rig.ok({"detach", "lte"}, without);
    } else {
        rig.ok({"detach", "--all"}, without);
    }
    CHECK_FALSE(rig.hooks("dsl").clsact);
    CHECK(rig.hooks("lte").clsact);
    CHECK(rig.hooks("lte").filters.empty());
    CHECK(rig.bpffs().tree().empty());
    CHECK(programs_vanish(programs));
}

TEST_CASE("a filter of another kind in our place is told and stays", "[robust][hooks]") {
    const Rig rig;
    must(rig.here().tc("qdisc add dev dsl clsact"));
    if (!rig.here().tc("filter add dev dsl ingress prio 1 protocol all matchall action pass"))
        test::skip("this kernel has no classifier but BPF's");
    rig.refused({"attach", "dsl", "--mode", "tc"}, {.code = 1, .what = {"dsl"}, .hint = {"tc filter show"}},
                {{"MPS_WITHOUT", "tcx"}});
    CHECK(rig.bpffs().tree().empty());
    rig.ok({"attach", "dsl", "--mode", "tc"});
}

TEST_CASE("an interface that disappears is told, and the others go on", "[robust][hooks]") {
    const Rig rig(two_paths(20));
    const auto [mode, without_tcx, same_index] = GENERATE(table<std::string, bool, bool>({
        {"tc", false, false},
        {"tc", true, true},
        {"native", true, false},
        {"native", false, true},
        {"generic", false, false},
    }));
    CAPTURE(mode, without_tcx, same_index);
    const Environment environment{{"MPS_WITHOUT", without_tcx ? "tcx" : ""}};
    rig.ok({"attach", "dsl", "lte", "--mode", mode}, environment);
    rig.ok({"use", "weighted"}, environment);
    rig.ok({"path", "lte", "weight=2"}, environment);
    auto programs = rig.programs();
    const auto server = e2e::serve(rig.network());
    auto transfer = rig.transfer(server, {});
    REQUIRE(transfer.wait_for_subflows(2));
    const int old_index = ifindex_of(rig.here(), "lte");

    must(rig.here().ip("link del lte"));
    const Json status = rig.json({"status"}, environment);
    INFO(status.dump(1));
    CHECK(state_of(status, "lte") == "absent");
    rig.ok({"status"}, environment);
    const auto progress = transfer.progress_bytes();
    // Queries and changes work as always.
    rig.ok({"conns"}, environment);
    rig.ok({"stats"}, environment);
    rig.ok({"set", "dwell_us=900"}, environment);
    const Json after = rig.json({"status"}, environment);
    INFO(after.dump(1));
    CHECK(state_of(after, "dsl") == "attached");
    CHECK(state_of(after, "lte") == "absent");
    CHECK(eventually([&] { return transfer.progress_bytes() > progress + 500'000; }));

    // It comes back: with a new index, or, where somebody asks for that, with the old one.
    must(rig.here().ip(
        fmt::format("link add lte{} type veth peer name back\nlink set lte up\nlink set back up",
                    same_index ? fmt::format(" index {}", old_index) : "")));
    CHECK((ifindex_of(rig.here(), "lte") == old_index) == same_index);
    CHECK(our_programs(rig.here(), "lte").empty());
    CHECK(state_of(rig.json({"status"}, environment), "lte") == "detached");
    rig.ok({"attach", "lte", "--mode", mode}, environment);
    CHECK(our_programs(rig.here(), "lte") == our_programs(rig.here(), "dsl"));
    CHECK(state_of(rig.json({"status"}, environment), "lte") == "attached");
    transfer.stop();
    e2e::check_clean(transfer.wait());
    programs.merge(rig.programs());
    rig.ok({"detach", "--all"}, environment);
    rig.no_trace(programs);
}

TEST_CASE("an interface that disappears between two commands leaves nothing for detach", "[robust][hooks]") {
    const Rig rig;
    rig.ok({"attach", "dsl", "lte"});
    const auto programs = rig.programs();
    must(rig.here().ip("link del lte"));
    SECTION("by name") {
        const auto result = rig.ok({"detach", "lte"});
        INFO(result.out << result.err);
        CHECK(rig.status()["interfaces"].size() == 1);
        rig.ok({"detach", "dsl"});
    }
    SECTION("all") { rig.ok({"detach", "--all"}); }
    CHECK(our_programs(rig.here(), "dsl").empty());
    CHECK(rig.bpffs().tree().empty());
    CHECK(programs_vanish(programs));
}

TEST_CASE("an interface with the index of one that disappeared is not taken for it", "[robust][hooks]") {
    const Rig rig;
    const std::string mode = GENERATE("tc", "native");
    rig.ok({"attach", "dsl", "lte", "--mode", mode});
    const int index = ifindex_of(rig.here(), "lte");
    must(rig.here().ip(fmt::format("link del lte\nlink add lte index {} type veth peer name back", index)));
    const Json status = rig.status();
    INFO(status.dump(1));
    CHECK_FALSE(status["problems"].empty());
    const Json answer = rig.json({"attach", "lte", "--mode", mode});
    CHECK(answer["interfaces"][0]["changed"] == true);
    CHECK(our_programs(rig.here(), "lte") == our_programs(rig.here(), "dsl"));
    CHECK(rig.status()["problems"].empty());
    const auto programs = rig.programs();
    rig.ok({"detach", "--all"});
    rig.no_trace(programs);
}

TEST_CASE("an interface that moves to another namespace takes nothing of ours along", "[robust][hooks]") {
    const Rig rig;
    const auto [mode, without_tcx] = GENERATE(
        table<std::string, bool>({{"tc", false}, {"tc", true}, {"native", false}, {"generic", true}}));
    CAPTURE(mode, without_tcx);
    const Environment environment{{"MPS_WITHOUT", without_tcx ? "tcx" : ""}};
    const auto elsewhere = must(lab::Namespace::create("elsewhere"));
    rig.ok({"attach", "dsl", "lte", "--mode", mode}, environment);
    const auto programs = rig.programs();
    must(rig.here().ip(fmt::format("link set lte netns {}", elsewhere.name())));
    CHECK(state_of(rig.json({"status"}, environment), "lte") == "absent");
    rig.ok({"path", "dsl", "weight=5"}, environment);
    // The kernel's own endpoint still means the device that has left; of ours nothing is wrong.
    for (const Json status = rig.json({"status"}, environment); const Json &problem : status.at("problems"))
        CHECK(problem.get<std::string>().starts_with("endpoint "));
    CHECK(our_programs(elsewhere, "lte").empty());
    CHECK_FALSE(hooks_of(elsewhere, "lte").clsact);

    must(elsewhere.ip(fmt::format("link set lte netns {}", rig.here().name())));
    rig.ok({"attach", "lte", "--mode", mode}, environment);
    CHECK(our_programs(rig.here(), "lte") == our_programs(rig.here(), "dsl"));
    rig.ok({"detach", "--all"}, environment);
    rig.no_trace(programs);
}

TEST_CASE("an interface that is renamed stays attached under its new name", "[robust][hooks]") {
    const Rig rig;
    rig.ok({"attach", "dsl", "lte"});
    must(rig.here().ip("link set lte down\nlink set lte name wwan9\nlink set wwan9 up"));
    const Json status = rig.status();
    CHECK(status["interfaces"].dump().contains("wwan9"));
    CHECK(status["problems"].empty());
    rig.ok({"detach", "wwan9"});
    CHECK(our_programs(rig.here(), "wwan9").empty());
    must(rig.here().ip("link set wwan9 down\nlink set wwan9 name lte\nlink set lte up"));
}

TEST_CASE(
    "a path that goes and comes back under traffic keeps its weight and its quota's count, and carries again",
    "[robust][hooks]") {
    Rig rig(two_paths(50));
    const std::string mode = GENERATE("tc", "native");
    const bool followed = GENERATE(true, false);
    CAPTURE(mode, followed);
    rig.ok({"attach", "dsl", "lte", "--mode", mode, "--policy", "weighted"});
    rig.ok({"path", "lte", "weight=3", "quota=1G"});
    std::optional<Follower> follower;
    if (followed)
        follower.emplace(rig, Words{"attach", "--follow", "--json"});
    const auto server = e2e::serve(rig.network());
    auto transfer = rig.transfer(server, {});
    const auto path = [&] { return rig.json({"path", "lte"}); };
    REQUIRE(eventually([&] { return path()["quota_used_bytes"].get<std::uint64_t>() > 500'000; }));
    const int before = ifindex_of(rig.here(), "lte");

    must(rig.here().ip("link del lte"));
    REQUIRE(eventually([&] { return path()["present"] == false; }));
    const auto carried = path()["quota_used_bytes"].get<std::uint64_t>();
    CHECK(path()["weight"] == 3);
    CHECK(state_of(rig.status(), "lte") == "absent");

    bring_back(rig, 1, "lte");
    REQUIRE(ifindex_of(rig.here(), "lte") != before);
    const auto clock = std::chrono::steady_clock::now();
    if (followed) {
        CHECK(eventually([&] { return !our_programs(rig.here(), "lte").empty(); }, std::chrono::seconds(2)));
        e2e::report(fmt::format(
            "attached again after {} ms",
            std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - clock)
                .count()));
    } else {
        CHECK(state_of(rig.status(), "lte") == "detached");
        CHECK_FALSE(rig.status()["problems"].empty());
        rig.ok({"repair"});
    }
    CHECK(our_programs(rig.here(), "lte") == our_programs(rig.here(), "dsl"));
    CHECK(state_of(rig.status(), "lte") == "attached");
    CHECK(path()["weight"] == 3);
    CHECK(path()["quota_used_bytes"].get<std::uint64_t>() >= carried);

    // The endpoint is bound to the index that is gone: the kernel's path manager opens no subflow from it until it is made anew.
    CHECK(rig.run({"doctor"}).out.contains("bound to an interface that is gone"));
    must(rig.here().ip(fmt::format("mptcp endpoint flush\nmptcp endpoint add {} dev lte subflow",
                                   rig.network().address(lab::Side::a, 1))));
    transfer.stop();
    (void)transfer.wait();
    auto again = rig.transfer(server, {.bytes = 6'000'000});
    e2e::check_clean(again.wait());
    const auto tx = must(lab::read_counters(rig.here())).devices.at("lte").tx_bytes;
    CHECK(tx > 3'000'000); // three quarters of it, by its weight
    CHECK(path()["quota_used_bytes"].get<std::uint64_t>() > carried + tx / 2);
    if (follower) {
        const auto events = follower->end();
        REQUIRE(events.size() == 3);
        CHECK(events[0]["event"] == "following");
        CHECK(events[1]["event"] == "gone");
        CHECK(events[2]["event"] == "attached");
        CHECK(events[2]["mode"] == mode);
        CHECK(events[2]["name"] == "lte");
    }
    rig.ok({"detach", "--all"});
}

TEST_CASE(
    "attributes wait for an interface, follow one that is renamed, and go when they are to be forgotten",
    "[robust][hooks]") {
    Rig rig;
    rig.ok({"path", "wwan0", "weight=7", "quota=1M"});
    rig.ok({"attach", "dsl"});
    Follower follower(rig, {"attach", "lte", "wwan0", "--mode", "generic", "--follow", "--json"});
    REQUIRE(eventually([&] { return our_programs(rig.here(), "lte").size() == 2; }));

    // A modem appears under one name and gets another: it has that name's attributes, and is attached.
    must(rig.here().ip("link add usb0 type veth peer name far\nlink set usb0 name wwan0"));
    CHECK(eventually([&] { return our_programs(rig.here(), "wwan0").size() == 2; }));
    CHECK(hooks_of(rig.here(), "wwan0").xdp_generic != 0);
    CHECK(rig.json({"path", "wwan0"})["weight"] == 7);
    rig.ok({"path", "wwan0", "weight=7"}); // for which nobody else may be at work on the interface
    // Nobody waits for this name, so attributes and programs stay with the device. What a command finds first is told, too.
    follower.signal(SIGSTOP);
    must(rig.here().ip("link set wwan0 name wwan5"));
    CHECK(eventually([&] { return rig.json({"path"}).dump().contains("wwan5"); }));
    CHECK(rig.json({"path", "wwan5"})["weight"] == 7);
    CHECK(our_programs(rig.here(), "wwan5").size() == 2);
    rig.ok({"path", "wwan5", "--forget"});
    follower.signal(SIGCONT);
    ::sleep(2); // it looks once a second at least
    CHECK(rig.json({"path", "wwan5"})["weight"] == 1);
    CHECK(rig.json({"path", "wwan5"})["quota_bytes"].is_null());
    CHECK(our_programs(rig.here(), "wwan5").size() == 2);
    // What is let go is not followed any more.
    rig.ok({"detach", "wwan5"});
    must(rig.here().ip("link set wwan5 down\nlink set wwan5 up"));
    ::usleep(300'000);
    CHECK(our_programs(rig.here(), "wwan5").empty());
    std::vector<std::string> events;
    for (const Json &event : follower.end())
        events.push_back(event["event"].get<std::string>() + " " + event.value("name", ""));
    CHECK(events == std::vector<std::string>{"following ", "attached wwan0", "renamed wwan5"});
    rig.ok({"detach", "--all"});
}

TEST_CASE("what is known of an interface's name outlives attach and detach", "[robust][hooks]") {
    const Rig rig;
    const auto check = [&rig](const char *when) {
        INFO(when);
        const Json path = rig.json({"path", "lte"});
        CHECK(path["use"] == "never");
        CHECK(path["weight"] == 3);
        CHECK(path["priority"] == 2);
    };
    rig.ok({"path", "lte", "use=never", "weight=3", "priority=2"});
    rig.ok({"attach", "dsl", "lte"});
    check("attached");
    rig.ok({"detach", "lte"});
    check("detached");
    rig.ok({"attach", "lte"});
    check("attached again");
    rig.ok({"detach", "--all"});
}

TEST_CASE("a rule that names an interface matches it again when it is back", "[robust][hooks]") {
    Rig rig;
    rig.ok({"attach", "dsl", "lte"});
    rig.ok({"use", "weighted", "--for", "dev=lte"});
    must(rig.here().ip("link del lte"));
    rig.ok({"path", "dsl", "weight=2"});
    bring_back(rig, 1, "lte");
    rig.ok({"repair"});
    CHECK(rig.status()["rules"][0]["selector"] == "dev=lte");
    rig.ok({"unuse", "dev=lte"});
    rig.ok({"detach", "--all"});
}

TEST_CASE("programs of ours that somebody took off are told and put back", "[robust][hooks]") {
    const Rig rig;
    SECTION("a filter") {
        const Environment environment{{"MPS_WITHOUT", "tcx"}};
        rig.ok({"attach", "dsl", "lte", "--mode", "native"}, environment);
        must(rig.here().tc("filter del dev dsl ingress"));
        const Json status = rig.json({"status"}, environment);
        INFO(status.dump(1));
        CHECK_FALSE((status["problems"].empty() && status["interfaces"][0]["problem"].is_null()));
        rig.ok({"attach", "dsl", "--mode", "native"}, environment);
        CHECK(our_programs(rig.here(), "dsl") == our_programs(rig.here(), "lte"));
        CHECK(rig.json({"status"}, environment)["problems"].empty());
        rig.ok({"detach", "--all"}, environment);
    }
    SECTION("a qdisc") {
        const Environment environment{{"MPS_WITHOUT", "tcx"}};
        rig.ok({"attach", "dsl", "lte", "--mode", "tc"}, environment);
        must(rig.here().tc("qdisc del dev dsl clsact"));
        CHECK_FALSE(rig.json({"status"}, environment)["problems"].empty());
        rig.ok({"attach", "dsl", "--mode", "tc"}, environment);
        CHECK(our_programs(rig.here(), "dsl") == our_programs(rig.here(), "lte"));
        rig.ok({"detach", "--all"}, environment);
    }
    SECTION("a link") {
        rig.ok({"attach", "dsl", "lte", "--mode", "native"});
        for (const auto &[path, what] : rig.bpffs().tree()) {
            if (!what.starts_with("link") ||
                !path.contains(fmt::format("/{}-", ifindex_of(rig.here(), "dsl"))))
                continue;
            const Fd link(bpf_obj_get(fmt::format("{}/{}", rig.bpffs().path(), path).c_str()));
            REQUIRE(bpf_link_detach(link.get()) == 0);
        }
        CHECK(our_programs(rig.here(), "dsl").empty());
        CHECK_FALSE(rig.status()["problems"].empty());
        rig.ok({"attach", "dsl", "--mode", "native"});
        CHECK(our_programs(rig.here(), "dsl") == our_programs(rig.here(), "lte"));
        rig.ok({"detach", "--all"});
    }
    rig.no_trace({});
}
