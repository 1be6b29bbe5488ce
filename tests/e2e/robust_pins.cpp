// SPDX-License-Identifier: MIT
//
// What stands below the bpf file system and is not as it should be: pins of other versions, of other
// people, of killed commands and of namespaces that are gone; and bpf file systems that are not mounted.
#include <filesystem>
#include <functional>
#include <thread>

#include <bpf/bpf.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "robust_rig.hpp"

using namespace mps::robust;
using namespace mps;
namespace fs = std::filesystem;

namespace {

void make_directories(const std::string &path) {
    std::error_code error;
    fs::create_directories(path, error);
    REQUIRE_FALSE(error);
}

Fd some_map(bpf_map_type type, std::uint32_t value_size, const char *name = "other") {
    Fd map(bpf_map_create(type, name, 4, value_size, 1, nullptr));
    REQUIRE(map);
    return map;
}

void pin(int fd, const std::string &path) {
    INFO(path);
    REQUIRE(bpf_obj_pin(fd, path.c_str()) == 0);
}

void unpin(const std::string &path) {
    INFO(path);
    REQUIRE(::unlink(path.c_str()) == 0);
}

std::string problems(const Json &status) {
    return fmt::format("{}", fmt::join(status["problems"].get<std::vector<std::string>>(), "\n"));
}

std::uint64_t cookie(const Rig &rig) { return rig.status()["netns_cookie"].get<std::uint64_t>(); }

bool is_there(const std::string &path) {
    struct stat status{};
    return ::lstat(path.c_str(), &status) == 0;
}

} // namespace

TEST_CASE("pins of a newer version are left alone, and whoever meets them is told", "[robust][pins]") {
    const Rig rig;
    const auto newer = fmt::format("{}/net-{}", rig.abi_folder(MPS_ABI_VERSION + 1), cookie(rig));
    make_directories(newer + "/maps");
    pin(some_map(BPF_MAP_TYPE_ARRAY, 8).get(), newer + "/maps/mps_config");
    const Refusal refusal{
        .code = 3,
        .what = {"newer", fmt::format("ABI {}", MPS_ABI_VERSION + 1), fmt::to_string(MPS_ABI_VERSION)},
        .hint = {"version"}};
    for (const Words &words : {Words{"attach", "dsl"}, Words{"use", "weighted"},
                               Words{"path", "dsl", "weight=2"}, Words{"detach", "dsl"}, Words{"stats"}})
        rig.refused(words, refusal);
    CHECK(is_there(newer + "/maps/mps_config"));
    // Another namespace is not concerned.
    Rig other;
    other.ok({"attach", "dsl"}, {{"MPS_BPFFS", rig.bpffs().path()}});
    other.ok({"detach", "--all"}, {{"MPS_BPFFS", rig.bpffs().path()}});
    CHECK(is_there(newer + "/maps/mps_config"));
    // Only on demand.
    rig.ok({"repair"});
    CHECK(is_there(newer + "/maps/mps_config"));
    rig.ok({"repair", "--force"});
    CHECK(rig.bpffs().tree().empty());
    rig.ok({"attach", "dsl"});
}

TEST_CASE("pins under our names that are not ours are told, touched by nobody but detach --all",
          "[robust][pins]") {
    const Rig rig;
    rig.ok({"attach", "dsl", "lte", "--mode", "tc"});
    rig.ok({"use", "weighted"});
    auto programs = rig.programs();
    const std::string base = rig.installation();
    const std::string config = base + "/maps/mps_config";
    std::string culprit = config;

    SECTION("a map of another size") {
        unpin(config);
        pin(some_map(BPF_MAP_TYPE_ARRAY, 8, "mps_config").get(), config);
    }
    SECTION("a map of another type") {
        culprit = base + "/maps/mps_rules";
        unpin(culprit);
        pin(some_map(BPF_MAP_TYPE_HASH, sizeof(mps_rule), "mps_rules").get(), culprit);
    }
    SECTION("a map with another name") {
        unpin(config);
        pin(some_map(BPF_MAP_TYPE_ARRAY, 96, "somebody").get(), config);
    }
    SECTION("a program instead of a map") {
        unpin(config);
        const Fd program(bpf_obj_get((base + "/progs/mps_dump").c_str()));
        pin(program.get(), config);
    }
    SECTION("a map instead of a program") {
        culprit = base + "/progs/mps_tc_eth";
        unpin(culprit);
        pin(some_map(BPF_MAP_TYPE_ARRAY, 8).get(), culprit);
    }
    SECTION("a directory instead of a map") {
        unpin(config);
        make_directories(config);
    }
    SECTION("a map that is missing") {
        culprit = base + "/maps/mps_conns";
        unpin(culprit);
    }
    SECTION("a map instead of a link") {
        culprit.clear();
        for (const auto &[path, what] : rig.bpffs().tree())
            if (what.starts_with("link") && path.contains("-tc"))
                culprit = rig.bpffs().path() + "/" + path;
        REQUIRE_FALSE(culprit.empty());
        unpin(culprit);
        pin(some_map(BPF_MAP_TYPE_ARRAY, 8).get(), culprit);
    }

    // No crash, no reading beyond what is there, and a way out is told.
    const auto name = fs::path(culprit).filename().string();
    const Refusal refusal{.code = 1, .what = {name, "not ours"}, .hint = {"mpsched detach --all"}};
    rig.refused({"use", "smallest-delay"}, refusal);
    rig.refused({"attach", "dsl"}, refusal);
    rig.refused({"path", "dsl", "weight=4"}, refusal);
    const auto status = rig.run({"status", "--json"});
    INFO(status.out << status.err);
    if (status.exit_code == 0)
        CHECK(problems(Json::parse(status.out)).contains(name));
    else
        CHECK(status.out.contains(name));

    programs.merge(rig.programs());
    rig.ok({"detach", "--all"});
    rig.no_trace(programs);
    rig.ok({"attach", "dsl"});
    CHECK(rig.status()["problems"].empty());
}

TEST_CASE("a folder of ours with nothing in it is told and removed by detach --all", "[robust][pins]") {
    const Rig rig;
    make_directories(fmt::format("{}/net-{}", rig.abi_folder(), cookie(rig)));
    rig.refused({"attach", "dsl"}, {.code = 1, .what = {"not ours"}, .hint = {"detach --all"}});
    rig.ok({"detach", "--all"});
    rig.no_trace({});
}

TEST_CASE("things of other people below our folder stay where they are", "[robust][pins]") {
    const Rig rig;
    const auto top = rig.bpffs().path() + "/mpsched";
    make_directories(rig.abi_folder() + "/keepsake");
    make_directories(top + "/other");
    pin(some_map(BPF_MAP_TYPE_ARRAY, 8).get(), rig.abi_folder() + "/keepsake/map");
    pin(some_map(BPF_MAP_TYPE_ARRAY, 8).get(), top + "/other/map");
    const PinTree before = rig.bpffs().tree();
    rig.ok({"attach", "dsl"});
    CHECK(problems(rig.status()).contains("keepsake"));
    rig.ok({"use", "weighted"});
    rig.ok({"repair", "--force"});
    rig.ok({"detach", "--all"});
    CHECK(rig.bpffs().tree() == before);
    // A file in place of the folder.
    const Rig second;
    pin(some_map(BPF_MAP_TYPE_ARRAY, 8).get(), second.bpffs().path() + "/mpsched");
    const PinTree blocked = second.bpffs().tree();
    CHECK(second.run({"status"}).exit_code == 0);
    second.refused({"attach", "dsl"}, {.code = 1, .what = {"mpsched"}});
    CHECK(second.run({"detach", "--all"}).exit_code == 0);
    CHECK(second.bpffs().tree() == blocked);
}

TEST_CASE("half-made installations are told and removed by the next command", "[robust][pins]") {
    const Rig rig;
    const auto root = rig.abi_folder();
    // Of a process that has ended: 4194304 is the highest a process id can be.
    const auto make = [&] {
        for (const char *name : {"new-4194304", "old-4194304-net-77"}) {
            make_directories(fmt::format("{}/{}/maps", root, name));
            pin(some_map(BPF_MAP_TYPE_ARRAY, 8).get(), fmt::format("{}/{}/maps/mps_config", root, name));
        }
    };
    make();
    CHECK(problems(rig.status()).contains("new-4194304"));
    SECTION("by attach") {
        rig.ok({"attach", "dsl"});
        CHECK(rig.status()["problems"].empty());
    }
    SECTION("by use") {
        const auto refused = rig.run({"use", "weighted"});
        CHECK(refused.exit_code == 1);
        CHECK(refused.err.contains("attach"));
    }
    SECTION("by repair") {
        const Json answer = rig.json({"repair"});
        CHECK(answer["removed"].size() == 2);
        CHECK(answer["left"].empty());
    }
    SECTION("by detach") { rig.ok({"detach", "--all"}); }
    CHECK_FALSE(is_there(root + "/new-4194304"));
    CHECK_FALSE(is_there(root + "/old-4194304-net-77"));
    rig.ok({"detach", "--all"});
    rig.no_trace({});
}

TEST_CASE("pins of a namespace that is gone are told and removed, those of a living one are not",
          "[robust][pins]") {
    const Rig rig;
    std::set<std::uint32_t> programs;
    std::string stale;
    const auto mode = GENERATE("tc", "native");
    {
        const Rig gone;
        const Environment here{{"MPS_BPFFS", rig.bpffs().path()}};
        gone.ok({"attach", "dsl", "lte", "--mode", mode}, here);
        gone.ok({"use", "weighted"}, here);
        programs = pinned_programs(rig.bpffs().tree());
        stale = fmt::format("net-{}", gone.json({"status"}, here)["netns_cookie"].get<std::uint64_t>());
    }
    CHECK(programs.size() >= 6);
    const auto path = rig.abi_folder() + "/" + stale;
    REQUIRE(is_there(path));
    // A namespace is destroyed a moment after its last user, and with it its links.
    CHECK(eventually([&] { return problems(rig.status()).contains(stale); }));
    rig.ok({"attach", "dsl"});
    CHECK_FALSE(is_there(path));
    CHECK(rig.status()["problems"].empty());
    CHECK(programs_vanish(programs));
    const Rig third;
    third.ok({"attach", "dsl"}, {{"MPS_BPFFS", rig.bpffs().path()}});
    CHECK(rig.status()["interfaces"].size() == 1);
    CHECK(our_programs(rig.here(), "dsl").size() == 1);
}

TEST_CASE("of a namespace that is gone nothing is left after repair, in whatever order it went",
          "[robust][pins]") {
    // Installations without a namespace to live in for long, as a host of containers makes them all day.
    const Rig rig;
    const Environment here{{"MPS_BPFFS", rig.bpffs().path()}};
    struct Gone {
        std::set<std::uint32_t> programs;
        std::string pins;
    };
    std::vector<Gone> all;
    constexpr int count = 20;
    const auto pins_in = [&](const std::string &name) { return is_there(rig.abi_folder() + "/" + name); };
    for (int i = 0; i < count; i++) {
        auto ns = must(lab::Namespace::create("gone"));
        const auto mpsched = [&](Words words) {
            words.insert(words.begin(), {e2e::Cli::default_binary(), "--netns", ns.name()});
            return must(lab::run_checked(words, {.environment = rig.environment(here)})).out;
        };
        must(ns.spawn_checked({"ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"}));
        must(ns.spawn_checked({"ip", "link", "set", "v0", "up"}));
        const auto known = rig.programs();
        mpsched({"attach", "v0", "--policy", "default", "--mode", i % 2 == 0 ? "tc" : "native"});
        const auto cookie = Json::parse(mpsched({"status", "--json"}))["netns_cookie"].get<std::uint64_t>();
        all.push_back({.programs = {}, .pins = fmt::format("net-{}", cookie)});
        for (const std::uint32_t id : pinned_programs(rig.bpffs().tree()))
            if (!known.contains(id))
                all.back().programs.insert(id);
        // The interface goes first, or with the namespace, and somebody notices in between or nobody does.
        if (i % 4 >= 2)
            must(ns.spawn_checked({"ip", "link", "del", "v0"}));
        if (i % 8 >= 6)
            mpsched({"path", "lo", "weight=2"});
        CHECK(pins_in(all.back().pins));
    }
    INFO(rig.json({"repair"}).dump());
    CHECK(eventually([&] {
        rig.ok({"repair"});
        return std::ranges::none_of(all, [&](const Gone &one) { return pins_in(one.pins); });
    }));
    for (const Gone &one : all)
        CHECK(programs_vanish(one.programs));
    rig.no_trace({});
}

TEST_CASE("of a namespace that goes with connections under way nothing is left after repair",
          "[robust][pins]") {
    const Rig rig;
    // With a parked subflow that is watched by a timer, and with subflows whose levers are set.
    const auto [policy, mode] = GENERATE(std::pair("active-standby", "native"), std::pair("weighted", "tc"));
    CAPTURE(policy, mode);
    std::set<std::uint32_t> programs;
    std::string pins;
    {
        const Rig gone(two_paths(20));
        const Environment here{{"MPS_BPFFS", rig.bpffs().path()}};
        gone.ok({"attach", "dsl", "lte", "--mode", mode}, here);
        gone.ok({"path", "lte", "priority=1"}, here);
        gone.ok({"use", policy}, here);
        const auto server = e2e::serve(gone.network());
        auto transfer = e2e::upload(gone.network(), server);
        REQUIRE(transfer.wait_for_subflows(2));
        REQUIRE(eventually([&] { return transfer.progress_bytes() > 500'000; }));
        programs = pinned_programs(rig.bpffs().tree());
        const auto cookie = gone.json({"status"}, here)["netns_cookie"].get<std::uint64_t>();
        pins = fmt::format("{}/net-{}", rig.abi_folder(), cookie);
        REQUIRE(is_there(pins));
    }
    CHECK(programs.size() >= 6);
    // Their sockets hold it until the other end has answered, also when no process has them any more.
    CHECK(eventually([&] {
        rig.ok({"repair"});
        return !is_there(pins);
    }));
    CHECK(programs_vanish(programs));
    rig.no_trace({});
}

TEST_CASE("a namespace that is held by nothing but a descriptor or a socket is not taken for gone",
          "[robust][pins]") {
    const Rig rig;
    const Environment here{{"MPS_BPFFS", rig.bpffs().path()}};
    Fd held;
    std::string pins;
    {
        auto ns = must(lab::Namespace::create("held"));
        const auto mpsched = [&](Words words) {
            words.insert(words.begin(), {e2e::Cli::default_binary(), "--netns", ns.name()});
            return must(lab::run_checked(words, {.environment = rig.environment(here)})).out;
        };
        must(ns.spawn_checked({"ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"}));
        mpsched({"attach", "v0", "--policy", "default"});
        pins = fmt::format("{}/net-{}", rig.abi_folder(),
                           Json::parse(mpsched({"status", "--json"}))["netns_cookie"].get<std::uint64_t>());
        must(ns.spawn_checked({"ip", "link", "del", "v0"}));
        mpsched({"path", "lo", "weight=2"});
        const std::string path = "/run/netns/" + ns.name();
        SECTION("a descriptor") { held = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)); }
        SECTION("a socket") {
            std::thread([&] {
                const Fd space(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
                REQUIRE(::setns(space.get(), CLONE_NEWNET) == 0);
                held = Fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
            }).join();
        }
        REQUIRE(held);
    }
    ::usleep(500'000);
    rig.ok({"repair"});
    rig.ok({"attach", "dsl"});
    CHECK(is_there(pins));
    CHECK(rig.status()["problems"].empty());
    held.reset();
    CHECK(eventually([&] { return !rig.status()["problems"].empty(); }));
    CHECK(problems(rig.status()).contains("mpsched repair"));
    rig.ok({"repair"});
    CHECK_FALSE(is_there(pins));
}

TEST_CASE("a place that somebody else owns or may write to is refused, and what runs is removed all the same",
          "[robust][bpffs]") {
    const Rig rig;
    const std::string top = rig.bpffs().path() + "/mpsched";
    const Refusal refusal{.code = 1, .what = {"mpsched"}, .hint = {"mode=0700", "MPS_BPFFS"}};
    SECTION("made before us by another user") {
        REQUIRE(::mkdir(top.c_str(), 0755) == 0);
        REQUIRE(::chown(top.c_str(), 65534, 65534) == 0);
        rig.refused({"attach", "dsl"}, refusal);
        rig.refused({"use", "weighted"}, refusal);
        rig.refused({"repair"}, refusal);
        CHECK(problems(rig.status()).contains("belongs to user"));
        CHECK(rig.ok({"detach", "--all"}).err.contains("belongs to user"));
        return;
    }
    rig.ok({"attach", "dsl", "--mode", "native"});
    rig.ok({"attach", "lte", "--mode", "tc"});
    const auto programs = rig.programs();
    SECTION("ours, writable by others") { REQUIRE(::chmod(top.c_str(), 0777) == 0); }
    SECTION("ours, given to another user") { REQUIRE(::chown(rig.abi_folder().c_str(), 65534, 0) == 0); }
    SECTION("in a bpf file system that others may write to, without the sticky bit") {
        REQUIRE(::chmod(rig.bpffs().path().c_str(), 0777) == 0);
    }
    SECTION("in a bpf file system of another user") {
        REQUIRE(::chown(rig.bpffs().path().c_str(), 65534, 65534) == 0);
    }
    for (const Words &words : {Words{"attach", "dsl"}, Words{"use", "weighted"}, Words{"detach", "dsl"}})
        CHECK(rig.run(words).exit_code == 1);
    CHECK_FALSE(rig.status()["problems"].empty());
    rig.ok({"detach", "--all"});
    for (const char *device : {"dsl", "lte"})
        CHECK(our_programs(rig.here(), device).empty());
    CHECK(programs.size() > 2);
}

TEST_CASE("programs whose pins are gone are seen and removed from what the kernel shows", "[robust][pins]") {
    const Rig rig;
    const auto without = GENERATE("", "tcx");
    const Environment kernel{{"MPS_WITHOUT", without}};
    rig.ok({"attach", "dsl", "--mode", "native"}, kernel);
    rig.ok({"attach", "lte", "--mode", "tc"}, kernel);
    rig.ok({"use", "weighted"}, kernel);
    const auto programs = rig.programs();
    const std::string top = rig.bpffs().path() + "/mpsched", away = rig.bpffs().path() + "/away";
    REQUIRE(::rename(top.c_str(), away.c_str()) == 0);
    const auto told = problems(rig.status());
    INFO(told);
    CHECK(told.contains("mps_xdp_eth"));
    CHECK(told.contains("dsl"));
    CHECK(told.contains("mps_wake_eth"));
    CHECK(told.contains("mps_tc_eth"));
    CHECK(told.contains("mps_sockops"));
    // What belongs to another network namespace is none of our business.
    const Rig other;
    const Environment shared{{"MPS_BPFFS", rig.bpffs().path()}};
    other.ok({"attach", "dsl", "--mode", "native"}, shared);
    CHECK(other.json({"status"}, shared)["problems"].empty());
    SECTION("by repair") { CHECK(rig.json({"repair"})["removed"].size() == 6); }
    SECTION("by detach --all") { CHECK(rig.json({"detach", "--all"})["interfaces"].size() == 2); }
    for (const char *device : {"dsl", "lte"})
        CHECK(our_programs(rig.here(), device).empty());
    CHECK(our_programs(other.here(), "dsl").size() == 2);
    std::filesystem::remove_all(away);
    CHECK(programs_vanish(programs));
    CHECK(rig.status()["problems"].empty());
    rig.ok({"attach", "dsl"});
    CHECK(rig.status()["problems"].empty());
}

TEST_CASE("in a user namespace the hint names the initial one", "[robust][bpffs]") {
    const Rig rig;
    const auto result =
        must(lab::run_process({"unshare", "-U", "-r", e2e::Cli::default_binary(), "attach", "lo"},
                              {.environment = {{"MPS_WITHOUT", ""}}}));
    INFO(result.err);
    CHECK(result.exit_code == 4);
    CHECK(result.err.contains("user namespace"));
    CHECK(result.err.contains("initial"));
    CHECK_FALSE(result.err.contains("no capability is missing"));
}

TEST_CASE("commands in two namespaces do not mix", "[robust][netns]") {
    const Rig one, two;
    const Environment shared{{"MPS_BPFFS", one.bpffs().path()}};
    one.ok({"attach", "dsl"}, shared);
    two.ok({"attach", "lte", "--mode", "native"}, shared);
    one.ok({"use", "weighted", "-s", "lead_bytes=5000"}, shared);
    two.ok({"use", "smallest-delay"}, shared);
    one.ok({"path", "dsl", "weight=7"}, shared);

    const auto name_of = [](const Json &status) {
        return status["interfaces"][0]["name"].get<std::string>();
    };
    const Json first = one.json({"status"}, shared), second = two.json({"status"}, shared);
    REQUIRE(first["interfaces"].size() == 1);
    REQUIRE(second["interfaces"].size() == 1);
    CHECK(name_of(first) == "dsl");
    CHECK(name_of(second) == "lte");
    CHECK(first["default_policy"] == "weighted");
    CHECK(second["default_policy"] == "smallest-delay");
    CHECK(first["paths"][0]["weight"] == 7);
    CHECK(first["problems"].empty());
    CHECK(our_programs(one.here(), "dsl").size() == 1);
    CHECK(our_programs(one.here(), "lte").empty());
    CHECK(our_programs(two.here(), "dsl").empty());
    CHECK(our_programs(two.here(), "lte").size() == 2);

    one.ok({"detach", "--all"}, shared);
    CHECK(our_programs(one.here(), "dsl").empty());
    CHECK(our_programs(two.here(), "lte").size() == 2);
    CHECK(two.json({"status"}, shared)["default_policy"] == "smallest-delay");
    two.ok({"detach", "--all"}, shared);
    CHECK(one.bpffs().tree().empty());
}

TEST_CASE("a namespace is given by name, by path, by process, or is the one we are in", "[robust][netns]") {
    const Rig rig;
    rig.ok({"attach", "dsl"});
    const Json expected = rig.status();
    const auto status = [&](Words words) {
        words.insert(words.begin(), e2e::Cli::default_binary());
        const auto result = must(lab::run_process(words, {.environment = rig.environment()}));
        INFO(result.err);
        CHECK(result.exit_code == 0);
        return Json::parse(result.out, nullptr, false);
    };
    const auto name = rig.here().name();
    CHECK(status({"--netns", "/run/netns/" + name, "status", "--json"}) == expected);
    CHECK(status({"status", "--json", "--netns", name}) == expected);
    CHECK(status({"status", "--netns=" + name, "--json"}) == expected);
    const auto sleeper = must(rig.here().start({"sleep", "60"}));
    CHECK(status({"--netns", std::to_string(sleeper.pid()), "status", "--json"}) == expected);
    const auto inside = must(rig.here().spawn_checked({e2e::Cli::default_binary(), "status", "--json"},
                                                      {.environment = rig.environment()}));
    CHECK(Json::parse(inside.out) == expected);
    CHECK(status({"--netns", rig.network().b().name(), "status", "--json"})["interfaces"].empty());
}

TEST_CASE("where no bpf file system is mounted, attach mounts one and looking does not", "[robust][bpffs]") {
    // In mount and process namespaces of their own, so that the machine keeps the one it has.
    const Rig rig;
    const auto mpsched = lab::shell_words({e2e::Cli::default_binary(), "--netns", rig.here().name()});
    const auto script = fmt::format(R"(set -e
        umount -l /sys/fs/bpf || true
        mounted() {{ grep -q ' /sys/fs/bpf bpf ' /proc/mounts; }}
        ! mounted
        {0} status; {0} policy list; {0} detach --all; {0} repair; {0} probe
        ! mounted
        {0} attach dsl --mode tc
        mounted
        {0} use weighted
        {0} status --json >&2
        {0} detach --all
        [ ! -e /sys/fs/bpf/mpsched ]
        )",
                                    mpsched);
    const auto result =
        must(lab::run_process({"unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", script},
                              {.environment = {{"MPS_WITHOUT", ""}}}));
    INFO(result.out << result.err);
    REQUIRE(result.exit_code == 0);
    const Json status = Json::parse(result.err, nullptr, false);
    REQUIRE(status.is_object());
    CHECK(status["default_policy"] == "weighted");
    CHECK(status["interfaces"].size() == 1);
    CHECK(our_programs(rig.here(), "dsl").empty());
}

TEST_CASE("a place that was asked for and is no bpf file system is refused", "[robust][bpffs]") {
    const Rig rig;
    const e2e::TemporaryFolder folder;
    for (const std::string &place : {folder.path(), folder / "missing"})
        for (const Words &words : {Words{"attach", "dsl"}, Words{"status"}, Words{"policy", "list"},
                                   Words{"detach", "--all"}, Words{"repair"}})
            rig.refused(words, {.code = 2, .what = {place, "no bpf file system"}, .hint = {"mount -t bpf"}},
                        {{"MPS_BPFFS", place}});
    CHECK(our_programs(rig.here(), "dsl").empty());
}

TEST_CASE("inside `ip netns exec` pins go where they outlive the command", "[robust][bpffs]") {
    // It remounts /sys in a mount namespace of its own: the bpf file system is out of sight there.
    const Rig rig;
    const auto exec = [&](Words words) {
        Words all{"ip", "netns", "exec", rig.here().name(), e2e::Cli::default_binary()};
        all.insert(all.end(), words.begin(), words.end());
        return must(lab::run_checked(all, {.environment = {{"MPS_WITHOUT", ""}}}));
    };
    // Where everybody's pins are, unlike those of the other tests.
    const auto outside = [&](Words words) {
        Words all{e2e::Cli::default_binary(), "--json", "--netns", rig.here().name()};
        all.insert(all.end(), words.begin(), words.end());
        return must(lab::run_process(all, {.environment = {{"MPS_BPFFS", ""}, {"MPS_WITHOUT", ""}}})).out;
    };
    struct Detach {
        std::function<void()> run;
        ~Detach() { run(); }
    } detach{[&] { outside({"detach", "--all"}); }};
    exec({"attach", "dsl"});
    CHECK(our_programs(rig.here(), "dsl").size() == 1);
    exec({"use", "weighted"});
    CHECK(Json::parse(outside({"status"}))["default_policy"] == "weighted");
    const auto programs = hooks_of(rig.here(), "dsl").ids();
    exec({"detach", "--all"});
    CHECK(our_programs(rig.here(), "dsl").empty());
    CHECK(programs_vanish(programs));
    CHECK(Json::parse(outside({"status"}))["installed"] == false);
}
