// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include <fmt/format.h>
#include <mps/abi.h>

#include "scratch.hpp"
#include "temporary_folder.hpp"

using namespace mps;
using mps::test::Scratch;

namespace {

std::int64_t value_of(const std::vector<Param> &params, const std::string &name) {
    for (const Param &param : params) {
        if (param.name == name)
            return param.value;
    }
    FAIL("there is no parameter " << name);
    return 0;
}

const PolicyInfo *find(const std::vector<PolicyInfo> &policies, const std::string &name) {
    const auto it =
        std::find_if(policies.begin(), policies.end(), [&](const PolicyInfo &p) { return p.name == name; });
    return it == policies.end() ? nullptr : &*it;
}

std::string text_of(const std::string &file) { return test::file_text(MPS_SOURCE_DIR "/" + file); }

/// The table of schedulers/README.md, as the objects describe themselves.
std::string table_of(const std::vector<PolicyInfo> &policies) {
    std::string table = "| policy | rule | parameters |\n|---|---|---|\n";
    for (const PolicyInfo &policy : policies) {
        if (!policy.builtin)
            continue;
        std::string params;
        for (const Param &param : policy.params)
            params += (params.empty() ? "`" : ", `") + param.name + "`";
        table += fmt::format("| [`{0}`]({0}/README.md) | {1} | {2} |\n", policy.name, policy.doc, params);
    }
    return table;
}

} // namespace

TEST_CASE("the tables of policies in the READMEs are what the policies say of themselves") {
    Scratch scratch;
    const auto policies = scratch.instance().policies();
    REQUIRE(policies);
    const auto table = table_of(*policies), reference = text_of("schedulers/README.md");
    INFO("The table in schedulers/README.md has to be:\n" << table);
    CHECK(reference.find("\n\n" + table + "\n") != std::string::npos);

    const auto readme = text_of("README.md");
    for (const PolicyInfo &policy : *policies) {
        if (!policy.builtin)
            continue;
        INFO(policy.name);
        CHECK(readme.find("[`" + policy.name + "`](schedulers/" + policy.name + "/README.md)") !=
              std::string::npos);
        CHECK_FALSE(text_of("schedulers/" + policy.name + "/README.md").empty());
    }
}

TEST_CASE("built-in policies are listed with their parameters before anything is attached") {
    Scratch scratch;
    const auto policies = scratch.instance().policies();
    REQUIRE(policies);
    for (const char *name : {"default", "weighted", "active-standby", "smallest-delay"}) {
        INFO(name);
        const PolicyInfo *policy = find(*policies, name);
        REQUIRE(policy);
        CHECK(policy->builtin);
        CHECK_FALSE(policy->slot);
        CHECK_FALSE(policy->doc.empty());
    }
    for (const Param &param : find(*policies, "weighted")->params) {
        CHECK(param.min <= param.value);
        CHECK(param.value <= param.max);
        CHECK(param.value == param.default_value);
        CHECK_FALSE(param.text.empty());
    }
    CHECK(scratch.pins() == 0);
}

TEST_CASE("use switches, cleans up after the old policy and is what the kernel says") {
    Scratch scratch;
    Instance instance = scratch.instance();
    CHECK(instance.use({.policy = "weighted"}).error().hint.find("attach") != std::string::npos);
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    CHECK(instance.status()->default_policy == "default");
    CHECK(instance.status()->default_slot == 0);

    const auto used =
        instance.use({.policy = "active-standby", .params = {{"hold_ms", "42"}, {"dwell_us", "9"}}});
    REQUIRE(used);
    CHECK(used->previous == "default");
    CHECK(value_of(used->params, "hold_ms") == 42);
    auto status = *instance.status();
    CHECK(status.default_policy == "active-standby");
    CHECK(status.default_slot == used->slot);
    CHECK(value_of(status.engine, "dwell_us") == 9);
    REQUIRE(status.policies.size() == 1);
    CHECK(value_of(status.policies[0].params, "hold_ms") == 42);

    // The very same again keeps its slot, and with it the state of its connections.
    CHECK(instance.use({.policy = "active-standby", .params = {{"hold_ms", "42"}}})->slot == used->slot);
    const auto next = instance.use({.policy = "smallest-delay"});
    REQUIRE(next);
    CHECK(next->previous == "active-standby");
    CHECK(instance.status()->policies.size() == 1);
    CHECK(instance.use({.policy = "default"})->previous == "smallest-delay");
    CHECK(instance.status()->default_policy == "default");
}

TEST_CASE("attach chooses a policy where there is none yet, or where one is asked for") {
    Scratch scratch;
    scratch.add_veth();
    Instance instance = scratch.instance();
    const auto now = [&] { return instance.status()->default_policy; };
    const auto first =
        instance.attach({.interfaces = {"lo"}, .policy = "auto", .policy_only_if_first = true});
    REQUIRE(first);
    CHECK(first->policy == "auto");
    REQUIRE(first->warnings.size() == 1);
    CHECK(first->warnings[0].find("lo carries only") != std::string::npos);
    CHECK(now() == "auto");

    const auto second =
        instance.attach({.interfaces = {"v0"}, .policy = "weighted", .policy_only_if_first = true});
    REQUIRE(second);
    CHECK(second->policy.empty());
    CHECK(now() == "auto");

    // Asked for in so many words, so both or nothing.
    CHECK(instance.attach({.interfaces = {"v1"}, .policy = "nosuch"}).error().code == ErrorCode::usage);
    CHECK(now() == "auto");
    CHECK(instance.status()->interfaces.size() == 2);
    REQUIRE(instance.attach({.interfaces = {"v1"}, .policy = "load-balancing"})->policy == "weighted");
    CHECK(now() == "weighted");
    CHECK(instance.status()->policies.size() == 1);

    // The kernel's own scheduling is a choice as well, and attaching more does not take it back.
    REQUIRE(instance.detach({.all = true}));
    CHECK(instance.attach({.interfaces = {"v0"}, .policy = "default"})->policy == "default");
    CHECK(now() == "default");
    CHECK(instance.attach({.interfaces = {"v1"}, .policy = "auto", .policy_only_if_first = true})
              ->policy.empty());
    CHECK(now() == "default");
}

TEST_CASE("a first attach whose policy cannot be had") {
    Scratch scratch;
    Instance instance = scratch.instance();
    // No such policy is a mistake, and nothing is left of the attempt.
    for (const bool only_if_first : {true, false}) {
        const auto unknown = instance.attach(
            {.interfaces = {"lo"}, .policy = "nosuch", .policy_only_if_first = only_if_first});
        REQUIRE_FALSE(unknown);
        CHECK(unknown.error().code == ErrorCode::usage);
        CHECK(scratch.pins() == 0);
    }
    const std::string unloadable = "/proc/self/exe";
    CHECK_FALSE(instance.attach({.interfaces = {"lo"}, .policy = unloadable}));
    CHECK(scratch.pins() == 0);
    // Where nobody asked for it, attaching is what counts.
    const auto attached =
        instance.attach({.interfaces = {"lo"}, .policy = unloadable, .policy_only_if_first = true});
    REQUIRE(attached);
    CHECK(attached->policy.empty());
    REQUIRE(attached->warnings.size() == 2);
    CHECK(attached->warnings[0].find("the kernel schedules as always") != std::string::npos);
    CHECK(instance.status()->interfaces.size() == 1);
    CHECK(instance.status()->default_policy == "default");
}

TEST_CASE("a use that cannot be done changes nothing") {
    Scratch scratch;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    REQUIRE(instance.use({.policy = "active-standby", .params = {{"hold_ms", "42"}}}));
    const UseRequest wrong[] = {
        {.policy = "nosuch"},
        {.policy = ""},
        {.policy = "./nosuch.o"},
        {.policy = "smallest-delay", .params = {{"hold_ms", "1"}}},
        {.policy = "active-standby", .params = {{"hold_ms", "600001"}}},
        {.policy = "active-standby", .params = {{"hold_ms", "x"}}},
        {.policy = "active-standby", .params = {{"hold_ms", "1"}, {"hold_ms", "2"}}},
        {.policy = "smallest-delay", .params = {{"dwell_us", "10000001"}}},
        {.policy = "smallest-delay", .selector = "colour=red"},
    };
    for (const UseRequest &request : wrong) {
        INFO(request.policy);
        const auto used = instance.use(request);
        REQUIRE_FALSE(used);
        CHECK(used.error().code == ErrorCode::usage);
        CHECK_FALSE(used.error().hint.empty());
        const auto status = instance.status();
        REQUIRE(status);
        CHECK(status->default_policy == "active-standby");
        CHECK(status->policies.size() == 1);
        CHECK(value_of(status->policies[0].params, "hold_ms") == 42);
        CHECK(value_of(status->engine, "dwell_us") == 1000);
        CHECK(status->rules.empty());
    }
    CHECK(instance.use({.policy = "nosuch"}).error().hint.find("weighted") != std::string::npos);
}

TEST_CASE("policy objects that must be refused are, each for its own reason, and nothing is changed") {
    Scratch scratch;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    const struct {
        const char *name;
        ErrorCode code;
        std::string what; // a part of it
    } cases[] = {
        {"wrong_abi", ErrorCode::unsupported,
         fmt::format("is built for policy ABI {}.{}, this mpsched takes {}.0 to {}.{}",
                     MPS_POLICY_ABI_MAJOR + 1, MPS_POLICY_ABI_MINOR, MPS_POLICY_ABI_MAJOR,
                     MPS_POLICY_ABI_MAJOR, MPS_POLICY_ABI_MINOR)},
        {"newer_abi", ErrorCode::unsupported,
         fmt::format("is built for policy ABI {}.{}, this", MPS_POLICY_ABI_MAJOR, MPS_POLICY_ABI_MINOR + 1)},
        {"no_info", ErrorCode::failed, "no section .rodata.mps"},
        {"short_info", ErrorCode::failed, "has 4 bytes instead of"},
        {"no_name", ErrorCode::failed, "is no name"},
        {"endless_name", ErrorCode::failed, "is no name"},
        {"large_state", ErrorCode::unsupported,
         "wants 1032 bytes of state for each connection, there are 1024"},
        {"no_tc", ErrorCode::failed, "no program mps_policy_tc"},
        {"other_scratch", ErrorCode::unsupported,
         fmt::format("mps_scratch does not fit policy ABI {}.{}", MPS_POLICY_ABI_MAJOR,
                     MPS_POLICY_ABI_MINOR)},
        {"bad_tag", ErrorCode::unsupported, "broken description"},
        {"null_scratch", ErrorCode::failed, "map_value_or_null"},
        {"packet_access", ErrorCode::failed, "verifier refused"},
        {"state_overrun", ErrorCode::failed, "verifier refused"},
        {"unbounded_loop", ErrorCode::failed, "verifier refused"},
        {"long_loop", ErrorCode::failed, "verifier refused"},
    };
    for (const auto &bad : cases) {
        INFO(bad.name);
        const std::string path = fmt::format("{}/{}.bpf.o", MPS_BAD_POLICY_DIR, bad.name);
        const auto used = instance.use({.policy = path});
        REQUIRE_FALSE(used);
        const Error &error = used.error();
        INFO(error.what << " / " << error.hint << " / " << error.detail);
        CHECK(error.code == bad.code);
        CHECK(error.what.find(bad.what) != std::string::npos);
        CHECK_FALSE(error.hint.empty());
        // The verifier takes its time, and it is the same one.
        if (error.detail.empty())
            CHECK(instance.load_policy(path).error().what == error.what);
        const auto status = instance.status();
        REQUIRE(status);
        CHECK(status->policies.empty());
        CHECK(status->default_slot == 0);
    }
}

TEST_CASE("files that are no objects are refused") {
    Scratch scratch;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    const std::string file = scratch.bpffs() + "-text.o";
    std::ofstream(file) << "not an object";
    CHECK(instance.load_policy(file).error().what.find("is no BPF object") != std::string::npos);
    std::ofstream(file, std::ios::trunc).flush();
    CHECK_FALSE(instance.load_policy(file));
    std::remove(file.c_str());
    CHECK(instance.load_policy("/").error().code == ErrorCode::usage);
    CHECK(instance.load_policy("/proc/self/exe").error().code == ErrorCode::failed);
}

TEST_CASE("a loaded policy stays until it is unloaded, which is refused while it is in use") {
    Scratch scratch;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    const auto loaded = instance.load_policy("active-standby");
    REQUIRE(loaded);
    CHECK(loaded->policy.kept);
    CHECK_FALSE(loaded->policy.is_default);
    CHECK_FALSE(loaded->was_loaded);
    // Once more is no error, and no second copy.
    const auto again = instance.load_policy("active-standby");
    REQUIRE(again);
    CHECK(again->was_loaded);
    CHECK(again->policy.slot == loaded->policy.slot);
    // Other commands leave it alone.
    REQUIRE(instance.use({.policy = "smallest-delay"}));
    REQUIRE(instance.set({{"hold_ms", "77"}}, {.policy = "active-standby"}));
    CHECK(find(instance.status()->policies, "active-standby"));
    // It is used as it is, with what was set.
    const auto used = instance.use({.policy = "active-standby"});
    REQUIRE(used);
    CHECK(used->slot == *loaded->policy.slot);
    CHECK(value_of(used->params, "hold_ms") == 77);
    REQUIRE(instance.use({.policy = "active-standby", .selector = "rport=443"}));
    const auto refused = instance.unload_policy("active-standby");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().what.find("it is the default policy") != std::string::npos);
    CHECK(refused.error().what.find("rport=443") != std::string::npos);
    REQUIRE(instance.use({.policy = "default"}));
    CHECK_FALSE(instance.unload_policy("active-standby"));
    REQUIRE(instance.use({.policy = "default", .selector = "rport=443"}));
    REQUIRE(instance.unload_policy("active-standby"));
    CHECK_FALSE(find(instance.status()->policies, "active-standby"));
    CHECK(instance.unload_policy("active-standby").error().code == ErrorCode::usage);
    CHECK(instance.unload_policy("nosuch").error().code == ErrorCode::usage);
}

TEST_CASE("set changes live parameters, all of them or none") {
    Scratch scratch;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    // Without a policy there is only the engine.
    CHECK(value_of(instance.set({{"dwell_us", "5"}})->params, "dwell_us") == 5);
    CHECK(instance.set({{"hold_ms", "5"}}).error().code == ErrorCode::usage);
    REQUIRE(instance.use({.policy = "smallest-delay"}));
    const auto set = instance.set({{"margin_pct", "20"}, {"dwell_us", "6"}});
    REQUIRE(set);
    CHECK(value_of(set->params, "margin_pct") == 20);
    CHECK(value_of(set->params, "dwell_us") == 6);
    CHECK(instance.set({{"margin_pct", "30"}, {"dwell_us", "10000001"}}).error().code == ErrorCode::usage);
    CHECK(instance.set({{"dwell_us", "8"}, {"margin_pct", "101"}}).error().code == ErrorCode::usage);
    const auto now = instance.set({});
    REQUIRE(now);
    CHECK(value_of(now->params, "margin_pct") == 20);
    CHECK(value_of(now->params, "dwell_us") == 6);
}

TEST_CASE("the engine's settings are not set beside what is said of some connections only") {
    Scratch scratch;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    const auto refused = [&](const Error &error) {
        CHECK(error.code == ErrorCode::usage);
        CHECK(error.hint.find("'mpsched set dwell_us=0'") != std::string::npos);
        CHECK(value_of(instance.status()->engine, "dwell_us") == 1000);
    };
    refused(
        instance.use({.policy = "weighted", .params = {{"dwell_us", "0"}}, .selector = "rport=1"}).error());
    CHECK(instance.status()->rules.empty());
    REQUIRE(instance.use({.policy = "weighted", .selector = "rport=1"}));
    refused(instance.set({{"dwell_us", "0"}}, {.policy = "weighted"}).error());
    refused(instance.set({{"dwell_us", "0"}}, {.selector = "rport=1"}).error());
    refused(instance.set({{"dwell_us", "0"}}, {.slot = 1}).error());
    // For all connections it is set, and told.
    const auto used = instance.use({.policy = "weighted", .params = {{"dwell_us", "1ms"}}});
    REQUIRE(used);
    CHECK(value_of(used->engine, "dwell_us") == 1000);
    CHECK(instance.use({.policy = "weighted"})->engine.empty());
}

TEST_CASE("of several copies of a policy set asks which one is meant") {
    Scratch scratch;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    REQUIRE(instance.use({.policy = "weighted"}));
    REQUIRE(instance.set({{"lead_bytes", "20k"}}, {.policy = "weighted"}));
    REQUIRE(instance.use({.policy = "weighted", .params = {{"lead_bytes", "30kB"}}, .selector = "rport=1"}));
    const auto values = [&] {
        const auto status = *instance.status();
        std::vector<std::int64_t> all;
        for (const std::uint32_t slot : {status.default_slot, status.rules[0].slot})
            for (const PolicyInfo &policy : status.policies)
                if (policy.slot == slot)
                    all.push_back(value_of(policy.params, "lead_bytes"));
        return all;
    };
    const auto vague = instance.set({{"lead_bytes", "5000"}}, {.policy = "load-balancing"});
    REQUIRE_FALSE(vague);
    CHECK(vague.error().code == ErrorCode::usage);
    CHECK(vague.error().hint.find("--for rport=1") != std::string::npos);
    CHECK(vague.error().hint.find("(the default policy)") != std::string::npos);
    CHECK(values() == std::vector<std::int64_t>{20'000, 30'000});
    REQUIRE(instance.set({{"lead_bytes", "5000"}}, {.selector = "rport=1"}));
    CHECK(values() == std::vector<std::int64_t>{20'000, 5000});
    REQUIRE(instance.set({{"lead_bytes", "16KiB"}}));
    CHECK(values() == std::vector<std::int64_t>{16'384, 5000});
    REQUIRE(instance.set({{"lead_bytes", "6000"}}, {.slot = instance.status()->rules[0].slot}));
    CHECK(values() == std::vector<std::int64_t>{16'384, 6000});
    CHECK(instance.set({{"lead_bytes", "1024"}}, {.selector = "rport=2"}).error().code == ErrorCode::usage);
    CHECK(instance.set({{"lead_bytes", "1024"}}, {.slot = 9}).error().code == ErrorCode::usage);
    CHECK(instance.set({{"lead_bytes", "1024"}}, {.policy = "weighted", .slot = 1}).error().code ==
          ErrorCode::usage);
    // Who shares a slot is told.
    REQUIRE(instance.use({.policy = "weighted", .params = {{"lead_bytes", "6000"}}, .selector = "rport=3"}));
    const auto shared = instance.set({{"lead_bytes", "7000"}}, {.selector = "rport=3"});
    REQUIRE(shared);
    CHECK(shared->also == std::vector<std::string>{"the rule rport=1"});
}

TEST_CASE("status tells whether the last switch was for new connections only") {
    Scratch scratch;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    CHECK_FALSE(instance.status()->new_only);
    REQUIRE(instance.use({.policy = "weighted", .new_only = true}));
    CHECK(instance.status()->new_only);
    REQUIRE(instance.use({.policy = "weighted", .selector = "rport=1"}));
    CHECK_FALSE(instance.status()->new_only);
    REQUIRE(instance.use({.policy = "weighted", .new_only = true}));
    REQUIRE(instance.remove_rule("rport=1"));
    CHECK_FALSE(instance.status()->new_only);
}

TEST_CASE("near misses of names are taken for what they were meant to be") {
    Scratch scratch;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    for (const auto &error :
         {instance.use({.policy = "wieghted"}).error(), instance.policy("wieghted").error(),
          instance.load_policy("wieghted").error()}) {
        CHECK(error.hint.find("did you mean 'weighted'?") != std::string::npos);
        CHECK(error.hint.find("load-balancing") != std::string::npos);
    }
    CHECK(instance.use({.policy = "weighted", .params = {{"lead_byte", "1"}}})
              .error()
              .hint.find("did you mean 'lead_bytes'?") != std::string::npos);
    CHECK(instance.path("lo", {{"wieght", "1"}}).error().hint.find("did you mean 'weight'?") !=
          std::string::npos);
    CHECK(instance.path("lo", {{"quota", "5GiB"}})->attributes.quota_bytes == 5ULL << 30);
    CHECK(instance.path("lo", {{"quota", "5GB"}, {"quota_period", "1w"}})->attributes.quota_period_s ==
          604'800);
    CHECK(instance.path("lo", {{"quota", "99999999T"}}).error().what.find("out of range") !=
          std::string::npos);
    CHECK(instance.path("lo", {{"weight", "99999999999999999999"}}).error().what.find("out of range") !=
          std::string::npos);
    CHECK(instance.path("lo", {{"quota_period", "5M"}}).error().what.find("'M' is no unit of time") !=
          std::string::npos);
}

TEST_CASE("an object without BTF and an unknown feature to do without are called what they are") {
    Scratch scratch;
    REQUIRE(scratch.instance().attach({.interfaces = {"lo"}}));
    const std::string bare = scratch.bpffs() + "-bare.o";
    mps::test::run(
        fmt::format("objcopy -R .BTF -R .BTF.ext -R .rel.BTF -R .rel.BTF.ext {}/outside_1.bpf.o {} "
                    "2>/dev/null || llvm-objcopy-19 -R .BTF -R .BTF.ext -R .rel.BTF -R .rel.BTF.ext "
                    "{}/outside_1.bpf.o {}",
                    MPS_OUTSIDE_DIR, bare, MPS_OUTSIDE_DIR, bare));
    const auto refused = scratch.instance().use({.policy = bare});
    std::remove(bare.c_str());
    REQUIRE_FALSE(refused);
    CHECK(refused.error().what.find("has no BTF") != std::string::npos);
    CHECK(refused.error().hint.find("-g") != std::string::npos);

    REQUIRE(::setenv("MPS_WITHOUT", "tcs", 1) == 0);
    const auto probed = mps::probe();
    const auto opened = Instance::open(scratch.options());
    ::unsetenv("MPS_WITHOUT");
    REQUIRE_FALSE(probed);
    REQUIRE_FALSE(opened);
    CHECK(probed.error().hint.find("did you mean 'tcx'?") != std::string::npos);
}

TEST_CASE("every counter has a name and a meaning") {
    Scratch scratch;
    Instance instance = scratch.instance();
    CHECK_FALSE(instance.stats());
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    const auto stats = instance.stats();
    REQUIRE(stats);
    CHECK(stats->size() > 20);
    for (const CounterValue &counter : *stats) {
        CHECK_FALSE(counter.name.empty());
        CHECK_FALSE(counter.text.empty());
    }
    CHECK(instance.connections()->empty());
}

TEST_CASE("names of ATSSS steering modes are names of our policies") {
    Scratch scratch;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    for (const auto &[alias, name] :
         {std::pair{"load-balancing", "weighted"}, std::pair{"priority-based", "overflow"},
          std::pair{"active-standby", "active-standby"}, std::pair{"smallest-delay", "smallest-delay"}}) {
        INFO(alias);
        const auto used = instance.use({.policy = alias});
        REQUIRE(used);
        CHECK(used->policy == name);
        CHECK(instance.status()->default_policy == name);
        const auto shown = instance.policy(alias);
        REQUIRE(shown);
        CHECK(shown->front().name == name);
    }
    REQUIRE(instance.use({.policy = "load-balancing"}));
    CHECK(instance.set({{"lead_bytes", "20000"}}, {.policy = "load-balancing"}));
    CHECK(find(*instance.policies(), "weighted")->aliases == std::vector<std::string>{"load-balancing"});
}

TEST_CASE("policies for single segments are listed, and refused with the reason and what comes closest") {
    Scratch scratch;
    Instance instance = scratch.instance();
    const auto check = [&] {
        for (const char *name : {"redundant", "raven", "daps", "dems"}) {
            INFO(name);
            for (const auto &refused :
                 {instance.use({.policy = name}).error(), instance.load_policy(name).error()}) {
                CHECK(refused.code == ErrorCode::unsupported);
                CHECK(refused.what.find("mptcp_sched_ops") != std::string::npos);
                CHECK(refused.hint.find("mpsched use ") != std::string::npos);
            }
            const auto policies = instance.policies();
            REQUIRE(policies);
            const PolicyInfo *listed = find(*policies, name);
            REQUIRE(listed);
            CHECK_FALSE(listed->unsupported.empty());
            CHECK_FALSE(listed->slot);
            CHECK(instance.policy(name)->front().unsupported == listed->unsupported);
        }
    };
    check(); // attaching would not help, so it is not asked for
    CHECK(scratch.pins() == 0);
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    REQUIRE(instance.use({.policy = "weighted"}));
    check();
    CHECK(instance.status()->default_policy == "weighted");
}
