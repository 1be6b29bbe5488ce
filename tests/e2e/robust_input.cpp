// SPDX-License-Identifier: MIT
//
// Requests that cannot be granted: each is told in two lines (and as JSON), with the right exit code, and
// changes nothing in the kernel.
#include <fcntl.h>
#include <fstream>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <fmt/format.h>

#include "robust_rig.hpp"
#include "schema.hpp"

using namespace mps::robust;
using namespace mps;

namespace {

const std::vector<std::string> policies = {"default", "weighted", "active-standby", "smallest-delay"};

// Something of everything, so that a change would show.
void install(const Rig &rig) {
    rig.ok({"attach", "dsl", "lte", "--mode", "tc"});
    rig.ok({"use", "weighted", "-s", "lead_bytes=40000"});
    rig.ok({"use", "smallest-delay", "--for", "rport=443"});
    rig.ok({"path", "dsl", "weight=3", "energy=5g"});
}

} // namespace

TEST_CASE("an unknown interface is refused, and the known ones are told", "[robust][input]") {
    const Rig rig;
    const Refusal refusal{.code = 2, .what = {"'wan7'"}, .hint = {"lo", "dsl", "lte"}};
    SECTION("with nothing installed") {
        rig.refused({"attach", "wan7"}, refusal);
        rig.refused({"attach", "dsl", "wan7", "lte"}, refusal);
        rig.refused({"detach", "wan7"}, refusal);
        CHECK(rig.bpffs().tree().empty());
    }
    SECTION("with an installation") {
        install(rig);
        rig.refused({"attach", "wan7"}, refusal);
        rig.refused({"attach", "dsl", "wan7", "--mode", "native"}, refusal);
        rig.refused({"detach", "dsl", "wan7"}, refusal);
        // A modem that is not plugged in yet may be described; that it is not there is said.
        CHECK(rig.ok({"path", "wan7", "weight=2"}).err.contains("no interface wan7 now"));
        rig.ok({"path", "wan7", "--forget"});
        rig.refused({"use", "weighted", "--for", "dev=wan7"},
                    {.code = 2, .what = {"wan7"}, .hint = {"dsl", "lte"}});
    }
    SECTION("however it is written") {
        // Longer than the kernel allows, empty, and with characters that no terminal should get.
        rig.refused({"attach", std::string(300, 'x')}, {.code = 2, .what = {"xxx"}, .hint = {"dsl", "lte"}});
        rig.refused({"attach", ""}, {.code = 2, .hint = {"dsl", "lte"}});
        rig.refused({"attach", "../dsl"}, {.code = 2, .what = {"../dsl"}, .hint = {"dsl", "lte"}});
        const auto control = rig.run({"attach", "a\033[31mb\nc"});
        CHECK(control.exit_code == 2);
        CHECK_FALSE(control.err.contains('\033'));
        CHECK(std::ranges::count(control.err, '\n') == 2);
    }
}

TEST_CASE("an unknown policy is refused, and the known ones are told", "[robust][input]") {
    const Rig rig;
    install(rig);
    const Refusal refusal{.code = 2, .what = {"'fair'"}, .hint = policies};
    rig.refused({"use", "fair"}, refusal);
    rig.refused({"use", "fair", "-s", "lead_bytes=5000", "--for", "rport=80"}, refusal);
    rig.refused({"policy", "show", "fair"}, refusal);
    rig.refused({"policy", "unload", "fair"}, refusal);
    rig.refused({"policy", "load", "fair"}, refusal);
    rig.refused({"set", "--policy", "fair", "lead_bytes=5000"}, refusal);
    rig.refused({"conns", "--policy", "fair"}, refusal);
    rig.refused({"use", std::string(5000, 'p')}, {.code = 2, .what = {"ppp"}, .hint = policies});
}

TEST_CASE("commands that need an installation say that attach comes first", "[robust][input]") {
    const Rig rig;
    const Refusal refusal{
        .code = 1, .what = {"not attached in this network namespace"}, .hint = {"mpsched attach"}};
    for (const Words &words : {Words{"use", "weighted"}, Words{"set", "dwell_us=500"}, Words{"stats"},
                               Words{"unuse", "rport=443"}, Words{"policy", "load", "weighted"}})
        rig.refused(words, refusal);
}

TEST_CASE("detaching what is not attached is no error and changes nothing", "[robust][input]") {
    const Rig rig;
    CHECK(rig.json({"detach", "--all"})["interfaces"].empty());
    CHECK(rig.json({"detach", "dsl"})["interfaces"].empty());
    rig.ok({"attach", "dsl"});
    const Json before = rig.everything();
    const Json answer = rig.json({"detach", "lte"});
    CHECK(answer["interfaces"].empty());
    CHECK(answer["removed_everything"] == false);
    CHECK(rig.everything() == before);
}

TEST_CASE("a parameter out of range, unknown or malformed is refused, and its range is told",
          "[robust][input]") {
    const Rig rig;
    install(rig);
    const Words range{"lead_bytes", "1024", "16777216"};
    const auto bad_value = [&](const std::string &value) {
        rig.refused({"set", "lead_bytes=" + value},
                    {.code = 2, .what = {"lead_bytes"}, .hint = {"1024", "16777216"}});
        rig.refused({"use", "weighted", "-s", "lead_bytes=" + value},
                    {.code = 2, .what = {"lead_bytes"}, .hint = {"1024", "16777216"}});
    };
    SECTION("values of a policy's parameter") {
        for (const char *value : {"1023", "16777217", "-1", "18446744073709552640", "1e6", "64M", "64 k",
                                  "5000s", "0.5", "", " 5000", "0x"})
            bad_value(value);
    }
    SECTION("the engine's parameter") {
        for (const char *value : {"99999999", "-1", "fast", "10000001"})
            rig.refused({"set", std::string("dwell_us=") + value},
                        {.code = 2, .what = {"dwell_us"}, .hint = {"10000000"}});
    }
    SECTION("unknown names") {
        rig.refused({"set", "speed=9"}, {.code = 2, .what = {"speed"}, .hint = range});
        rig.refused({"use", "weighted", "-s", "speed=9"}, {.code = 2, .what = {"speed"}, .hint = range});
        rig.refused({"use", "default", "-s", "speed=9"},
                    {.code = 2, .what = {"speed"}, .hint = {"dwell_us"}});
    }
    SECTION("one bad setting spoils the good ones beside it") {
        rig.refused({"set", "lead_bytes=2048", "dwell_us=-5"}, {.code = 2, .what = {"dwell_us"}});
        rig.refused({"set", "dwell_us=700", "lead_bytes=1"}, {.code = 2, .what = {"lead_bytes"}});
        rig.refused({"path", "dsl", "weight=4", "priority=256"},
                    {.code = 2, .what = {"priority"}, .hint = {"255"}});
    }
    SECTION("no setting at all") {
        rig.refused({"set", "lead_bytes"}, {.code = 2, .what = {"lead_bytes"}});
        rig.refused({"set", "=5"}, {.code = 2});
        rig.refused({"set", "dwell_us=500", "dwell_us=600"}, {.code = 2, .what = {"dwell_us"}});
    }
    SECTION("path attributes") {
        rig.refused({"path", "dsl", "weight=0"}, {.code = 2, .what = {"weight"}, .hint = {"1", "10000"}});
        rig.refused({"path", "dsl", "weight=10001"}, {.code = 2, .what = {"weight"}, .hint = {"1", "10000"}});
        rig.refused({"path", "dsl", "cost=1000001"}, {.code = 2, .what = {"cost"}, .hint = {"1000000"}});
        rig.refused({"path", "dsl", "energy=coal"}, {.code = 2, .what = {"energy"}, .hint = {"wifi", "5g"}});
        rig.refused({"path", "dsl", "colour=red"},
                    {.code = 2, .what = {"colour"}, .hint = {"weight", "energy"}});
    }
    SECTION("selectors") {
        for (const char *selector : {"rport=0", "rport=65536", "remote=300.1.2.3", "remote=192.0.2.0/33",
                                     "nonsense", "rport=1,rport=2", "", "cgroup=/no/such/group"})
            rig.refused({"use", "weighted", "--for", selector}, {.code = 2});
    }
    SECTION("a mode that does not exist") {
        rig.refused({"attach", "dsl", "--mode", "magic"},
                    {.code = 2, .what = {"magic"}, .hint = {"native", "generic", "tc"}});
    }
}

TEST_CASE("a namespace that cannot be entered is told, with those that can", "[robust][input]") {
    const Rig rig;
    const auto run = [&](const std::string &spec) {
        return must(lab::run_process({e2e::Cli::default_binary(), "--netns", spec, "status"},
                                     {.environment = rig.environment()}));
    };
    for (const char *spec : {"mps-no-such", "/run/netns/mps-no-such", "4194999"}) {
        const auto result = run(spec);
        INFO(spec << "\n" << result.err);
        CHECK(result.exit_code == 2);
        CHECK(result.err.contains(spec));
        CHECK(result.err.contains(rig.here().name()));
    }
    CHECK(run("/dev/null").exit_code == 2);
    CHECK(run("").exit_code == 2);
}

TEST_CASE("without rights nothing works, and the missing capabilities are named", "[robust][input]") {
    const Rig rig;
    // In the root namespace of the machine and with the usual bpf file system: an ordinary user's first
    // try. Every interface has a loopback, so nothing else is wrong with the request.
    const passwd *nobody = ::getpwnam("nobody");
    REQUIRE(nobody != nullptr);
    // By descriptor, which is inherited: the build may lie where nobody else can look.
    const Fd binary(::open(e2e::Cli::default_binary().c_str(), O_RDONLY));
    const auto as_nobody = [&](Words words, std::vector<std::string> how) {
        how.insert(how.begin(), "setpriv");
        how.push_back(fmt::format("/proc/self/fd/{}", binary.get()));
        how.insert(how.end(), words.begin(), words.end());
        return must(rig.here().spawn(how, {.environment = {{"MPS_WITHOUT", ""}}}));
    };
    const std::vector<std::string> user{fmt::format("--reuid={}", nobody->pw_uid),
                                        fmt::format("--regid={}", nobody->pw_gid), "--clear-groups"};
    const Json before = rig.everything();
    for (const Words &words :
         {Words{"attach", "dsl"}, Words{"use", "weighted"}, Words{"detach", "--all"}, Words{"stats"},
          Words{"conns"}, Words{"--netns", rig.here().name(), "attach", "dsl"}}) {
        const auto result = as_nobody(words, user);
        INFO(fmt::format("{}\n{}{}", words.front(), result.out, result.err));
        CHECK(result.exit_code == 4);
        CHECK(std::ranges::count(result.err, '\n') == 2);
        CHECK(result.err.contains("CAP_BPF"));
        Words as_json = words;
        as_json.emplace_back("--json");
        const auto document = as_nobody(as_json, user);
        const Json error = Json::parse(document.out, nullptr, false);
        REQUIRE(error.is_object());
        CHECK(document.exit_code == 4);
        CHECK(error["error"]["code"] == 4);
        CHECK(error["error"]["hint"].get<std::string>().contains("CAP_"));
    }
    const auto probe = as_nobody({"probe"}, user);
    INFO(probe.out << probe.err);
    CHECK((probe.exit_code == 3 || probe.exit_code == 4));
    CHECK(probe.out.contains("CAP_NET_ADMIN"));
    CHECK(rig.everything() == before);

    // Root without two of them (CAP_SYS_ADMIN stands in for each of the others): these are named, and no more.
    for (const std::string capability : {"bpf", "net_admin", "perfmon"}) {
        const auto result = as_nobody({"attach", "dsl", "--mode", "native"},
                                      {fmt::format("--bounding-set=-{},-sys_admin", capability)});
        INFO(capability << "\n" << result.out << result.err);
        CHECK(result.exit_code == 4);
        std::string name = fmt::format("CAP_{}", capability);
        std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::toupper(c); });
        CHECK(result.err.contains(fmt::format("lacks {}, CAP_SYS_ADMIN:", name)));
    }
    CHECK(rig.everything() == before);
}

TEST_CASE("where MPTCP is switched off, attach says so and how to switch it on", "[robust][input]") {
    const Rig rig;
    must(rig.here().set_sysctl("mptcp/enabled", "0"));
    const Refusal refusal{.code = 3, .what = {"MPTCP"}, .hint = {"net.mptcp.enabled=1"}};
    rig.refused({"attach", "dsl"}, refusal);
    CHECK(rig.bpffs().tree().empty());

    const auto probe = rig.run({"probe", "--json"});
    CHECK(probe.exit_code == 3);
    const Json found = Json::parse(probe.out);
    CHECK(found["usable"] == false);
    const auto feature =
        std::ranges::find_if(found["features"], [](const Json &f) { return f["name"] == "mptcp_enabled"; });
    REQUIRE(feature != found["features"].end());
    CHECK((*feature)["answer"] == "missing");
    CHECK((*feature)["hint"].get<std::string>().contains("net.mptcp.enabled=1"));

    // What was attached before can still be looked at and taken off.
    must(rig.here().set_sysctl("mptcp/enabled", "1"));
    rig.ok({"attach", "dsl"});
    must(rig.here().set_sysctl("mptcp/enabled", "0"));
    CHECK(rig.status()["interfaces"].size() == 1);
    const auto programs = rig.programs();
    rig.ok({"detach", "--all"});
    rig.no_trace(programs);
}

TEST_CASE("what a real installation writes as JSON is described in the schema, member by member",
          "[robust][input]") {
    const Rig rig;
    std::ifstream file(MPS_SOURCE_DIR "/docs/mpsched.schema.json");
    REQUIRE(file);
    test::Schema schema(Json::parse(file), true);
    const auto check = [&](const std::string &command, Words words, bool fails = false) {
        words.emplace_back("--json=2");
        const auto result = rig.run(words);
        const Json got = Json::parse(result.out, nullptr, false);
        INFO(command << "\n" << result.out << result.err);
        REQUIRE(got.is_object());
        CHECK((result.exit_code != 0) == fails);
        for (const std::string &wrong : schema.check(fails ? "error" : command, got))
            FAIL_CHECK(wrong);
        return got;
    };
    check("status", {"status"});
    check("stats", {"stats"}, true);
    check("probe", {"probe"});
    check("attach", {"attach", "dsl", "lte"});
    const auto server = e2e::serve(rig.network());
    auto transfer = rig.transfer(server, {});
    REQUIRE(transfer.wait_for_subflows(2));
    const Json conns = check("conns", {"conns"});
    REQUIRE(conns["connections"].size() == 1);
    CHECK(conns["connections"][0]["subflows"].size() == 2);
    check("use", {"use", "weighted", "-s", "dwell_us=2ms"});
    check("use", {"use", "overflow", "--for", "rport=443"});
    check("set", {"set", "lead_bytes=20k"});
    check("policy load", {"policy", "load", "ecf"});
    check("policy list", {"policy", "list"});
    check("policy list", {"policy", "list", "--names"});
    check("policy show", {"policy", "show", "weighted"});
    check("policy unload", {"policy", "unload", "ecf"});
    check("path", {"path", "dsl", "quota=5GiB", "quota_period=1w"});
    check("path", {"path"});
    check("status", {"status"});
    check("stats", {"stats"});
    check("use", {"use", "wieghted"}, true);
    check("unuse", {"unuse", "--all"});
    check("repair", {"repair"});
    transfer.stop();
    e2e::check_clean(transfer.wait());
    check("detach", {"detach", "--all"});
    check("version", {"version"});
}
