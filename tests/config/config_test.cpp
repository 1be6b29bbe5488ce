// SPDX-License-Identifier: MIT

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "catch.hpp"
#include "config/plan.hpp"
#include "config_files.hpp"

namespace {

using namespace mps;
using namespace mps::config;
using namespace mps::test;

NetworkInterface device(const std::string &name, std::uint32_t ifindex, const std::string &type = "ethernet",
                        bool route = false) {
    return {.name = name, .ifindex = ifindex, .type = type, .up = true, .default_route = route};
}

PathWish path(const Desired &desired, const NetworkInterface &interface) {
    const auto wish = desired.path(interface);
    REQUIRE(wish);
    return *wish;
}

// What `apply` would have made of an empty namespace with these interfaces.
Facts after(const Desired &desired, const std::vector<NetworkInterface> &interfaces) {
    Facts facts{.interfaces = interfaces, .option_rules = desired.option_rule_list()};
    for (const ApplicationWish &wish : desired.applications) {
        facts.applications.push_back(wish.grant);
        facts.cgroups.emplace_back(wish.grant.cgroup);
    }
    Status &status = facts.status;
    status.installed = true;
    status.max_connections = 16'384;
    status.engine = desired.engine;
    std::uint32_t slot = 0;
    const auto load_policy = [&](const PolicyWish &wish) {
        status.policies.push_back({.name = wish.checked.name,
                                   .builtin = true,
                                   .slot = ++slot,
                                   .rx = wish.checked.rx,
                                   .params = wish.checked.params});
        return slot;
    };
    // A rule without selector stands for the default.
    const auto use = [&](const UseWish &wish, std::string selector) {
        RuleStatus rule{.selector = std::move(selector)};
        if (!wish.tx_open) {
            rule.policy = wish.tx.checked.name;
            rule.slot = load_policy(wish.tx);
        }
        if (wish.rx) {
            rule.rx_policy = wish.rx->checked.name;
            rule.rx_slot = load_policy(*wish.rx);
        } else if (!wish.rx_open) {
            rule.rx_policy = wish.tx.checked.rx ? rule.policy : "default";
            rule.rx_slot = wish.tx.checked.rx ? rule.slot : 0;
        }
        return rule;
    };
    const RuleStatus fallback = use(desired.fallback, "");
    status.default_policy = fallback.policy;
    status.default_slot = fallback.slot;
    status.rx_default_policy = fallback.rx_policy;
    status.rx_default_slot = fallback.rx_slot;
    for (const RuleWish &rule : desired.rules) {
        facts.selectors.emplace_back(rule.selector);
        status.rules.push_back(use(rule.use, rule.selector));
    }
    for (const PathWish &wish : desired.paths(interfaces)) {
        status.paths.push_back({.name = wish.name,
                                .ifindex = wish.ifindex,
                                .attached = wish.attach,
                                .wanted = wish.attach,
                                .attributes = wish.attributes});
        status.interfaces.push_back(
            {.name = wish.name, .ifindex = wish.ifindex, .mode = Mode::tc, .role = wish.role});
    }
    return facts;
}

std::vector<std::string> actions(const Desired &desired, const Facts &facts) {
    std::vector<std::string> texts;
    for (const Action &action : make_plan(desired, facts).actions)
        texts.push_back(action.text);
    return texts;
}

using Texts = std::vector<std::string>;

} // namespace

TEST_CASE("a mistake is told with its file, line and column, and with what is allowed", "[config]") {
    struct Case {
        const char *text;
        const char *where; // line and column
        const char *what;
        const char *hint;
    };
    const std::vector<Case> cases{
        {"", ":1:1: ", "'version' is missing", "1"},
        {"version = 2", ":1:11: ", "for a newer mpsched", "knows version = 1"},
        {"version = 0", ":1:11: ", "there is no format '0'", "version = 1"},
        {"version = \"one\"", ":1:11: ", "there is no format 'one'", "version = 1"},
        {"version = 1\nversion = 1", ":2:", "cannot redefine", "a key stands once"},
        {"version = 1\n[defaul", ":2:", "", "half written"},
        {"version = 1\n[default]\npolicy = \"over", ":3:", "", "half written"},
        {"version = 1\n\xff", ":1:12: ", "utf-8", "no TOML"},
        {"version = 1\nspeed = 3", ":2:1: ", "unknown key 'speed'", "there are: version"},
        {"version = 1\n[defaults]\npolicy = \"auto\"", ":2:2: ", "unknown key 'defaults'",
         "did you mean 'default'"},
        {"version = 1\n[interface]\nname = \"a\"", ":2:1: ", "'interface' is written [[interface]]",
         "two brackets"},
        {"version = 1\n[[default]]\npolicy = \"auto\"", ":2:1: ", "'default' is written [default]",
         "one bracket"},
        {"version = 1\ndefault = 3", ":2:11: ", "'default' is written [default]", "one bracket"},
        {"version = 1\nmax_connections = 1", ":2:19: ", "out of range", "from "},
        {"version = 1\n[default]", ":2:1: ", "'policy' is missing", "what all connections use"},
        {"version = 1\n[default]\npolicy = \"weightd\"", ":3:10: ", "weightd", "did you mean 'weighted'"},
        {"version = 1\n[default]\npolicy = \"redundant\"", ":3:10: ", "redundant", ""},
        {"version = 1\n[default]\npolicy = \"./nosuch.o\"", ":3:10: ", "nosuch.o", ""},
        {"version = 1\n[default]\npolicy = \"weighted\"\nset = { led = 1 }", ":4:15: ", "led", "lead_bytes"},
        {"version = 1\n[default]\npolicy = \"weighted\"\nset = { lead_bytes = \"1x\" }",
         ":4:22: ", "lead_bytes", ""},
        {"version = 1\n[default]\npolicy = \"weighted\"\nset = { lead_bytes = 1.5 }",
         ":4:22: ", "a number or a text", ""},
        {"version = 1\n[engine]\ndwell = 3", ":3:1: ", "unknown key 'dwell' in [engine]",
         "did you mean 'dwell_us'"},
        {"version = 1\n[engine]\ndwell_us = \"1h\"", ":3:12: ", "dwell_us", "10000000"},
        {"version = 1\n[[interface]]\nweight = 3", ":2:1: ", "'name' is missing", "which interfaces"},
        {"version = 1\n[[interface]]\nname = \"a/b\"", ":3:8: ", "no interface can have the name 'a/b'",
         "pattern"},
        {"version = 1\n[[interface]]\nname = [\"a\", \"a\"]", ":3:8: ", "twice", "once"},
        {"version = 1\n[[interface]]\nname = []", ":3:8: ", "empty", "pattern"},
        {"version = 1\n[[interface]]\nname = [3]", ":3:9: ", "in its list", "texts in quotes"},
        {"version = 1\n[[interface]]\nname = \"a\"\nweight = 0", ":4:10: ", "weight=0: out of range",
         "1..10000"},
        {"version = 1\n[[interface]]\nname = \"a\"\nweight = true", ":4:10: ", "a whole number", "1..10000"},
        {"version = 1\n[[interface]]\nname = \"a\"\nweight = 2026-01-01", ":4:10: ", "a whole number",
         "1..10000"},
        {"version = 1\n[[interface]]\nname = \"a\"\nenergy = \"coal\"", ":4:10: ", "unknown class", "lte"},
        {"version = 1\n[[interface]]\nname = \"a\"\nuse = \"seldom\"", ":4:7: ", "use=seldom", "never"},
        {"version = 1\n[[interface]]\nname = \"a\"\nquota = \"5 elephants\"", ":4:9: ", "quota=5 elephants",
         "bytes"},
        {"version = 1\n[[interface]]\nname = \"a\"\nquota_then = \"5 apples\"",
         ":4:14: ", "quota_then=5 apples", "256kbit"},
        {"version = 1\n[[interface]]\nname = \"a\"\nquota_period = \"fortnight\"", ":4:16: ", "quota_period",
         "month; or "},
        {"version = 1\n[[interface]]\nname = \"a\"\nquota_day = 3", ":4:13: ", "is for quota_period", "both"},
        {"version = 1\n[[interface]]\nname = \"a\"\nquota_period = \"month\"\nquota_day = 32",
         ":5:13: ", "quota_day=32", "1..31"},
        {"version = 1\n[[interface]]\nname = \"a\"\nmode = \"fast\"", ":4:8: ", "fast", "native"},
        {"version = 1\n[[interface]]\nname = \"a\"\nrole = \"router\"", ":4:8: ", "router", "gateway"},
        {"version = 1\n[[interface]]\nname = \"a\"\nrole = \"gateway\"\nmode = \"native\"",
         ":5:8: ", "stand at TC", "leave out"},
        {"version = 1\n[[interface]]\nname = \"a\"\ntype = \"wlan\"", ":4:8: ", "there is no type 'wlan'",
         "wifi"},
        {"version = 1\n[[interface]]\nname = \"a\"\nattach = \"yes\"", ":4:10: ", "true or false", ""},
        {"version = 1\n[[interface]]\nname = \"a\"\n[[interface]]\nname = \"a\"", ":4:1: ", "already",
         "line 2"},
        {"version = 1\n[[rule]]\npolicy = \"auto\"", ":2:1: ", "'for' is missing", "selector"},
        {"version = 1\n[[rule]]\nfor = \"unit=a.timer\"\npolicy = \"auto\"", ":3:7: ", "no unit",
         "systemctl"},
        {"version = 1\n[[rule]]\nfor = \"host=192.0.2.1\"\npolicy = \"auto\"", ":3:7: ", "no host",
         "remote="},
        {"version = 1\n[[rule]]\nfor = \"rport=443\"", ":2:1: ", "'policy' is missing", "enabled = false"},
        {"version = 1\n[default]\npolicy = \"auto\"\nrx_policy = \"ecf\"",
         ":4:13: ", "has no rule for what peers send", "policy list --json"},
        {"version = 1\n[default]\npolicy = \"auto\"\nrx_policy = \"open\"", ":4:13: ", "open", ""},
        {"version = 1\n[default]\npolicy = \"auto\"\nrx_set = { x = 1 }",
         ":4:10: ", "'rx_set' needs 'rx_policy'", "parameters"},
        {"version = 1\n[default]\npolicy = \"auto\"\nrx_policy = \"weighted\"\nrx_set = { led = 1 }",
         ":5:18: ", "led", "lead_bytes"},
        {"version = 1\n[[rule]]\nfor = \"rport=1\"\nrx_policy = \"open\"", ":2:1: ", "both directions open",
         "policy"},
        {"version = 1\n[[rule]]\nfor = \"rport=1\"\npolicy = \"auto\"\nrx_policy = \"open\"\nrx_set = { x = 1 }",
         ":6:10: ", "no policy is named", "leave rx_set out"},
        {"version = 1\n[[rule]]\nfor = \"rport=1\"\nrx_policy = \"auto\"\nset = { x = 1 }",
         ":5:7: ", "'set' needs 'policy'", "parameters"},
        {"version = 1\n[[rule]]\nfor = \"rport=99999\"\npolicy = \"auto\"", ":3:7: ", "99999", "parts: "},
        {"version = 1\n[[rule]]\nfor = \"dev=a/b\"\npolicy = \"auto\"", ":3:7: ", "a/b", ""},
        {"version = 1\n[[rule]]\nfor = \"dev=a,dev=b\"\npolicy = \"auto\"", ":3:7: ", "twice", ""},
        {"version = 1\n[[rule]]\nfor = \"rport=1\"\npolicy = \"auto\"\n[[rule]]\nfor = \"rport=1\"\npolicy = \"auto\"",
         ":5:1: ", "a rule for 'rport=1' already", ""},
        {"version = 1\n[[option_rule]]\ninterface = \"a\"\ndirection = \"in\"\noption = \"dss\"",
         ":2:1: ", "'action' is missing", "allow"},
        {"version = 1\n[[option_rule]]\ninterface = \"a\"\ndirection = \"in\"\noption = \"mp_join\"\naction = \"neutralise\"\nport = 443",
         ":7:1: ", "unknown key 'port' in [[option_rule]]", "did you mean 'lport'"},
        {"version = 1\n[[option_rule]]\ninterface = \"a\"\ndirection = \"in\"\noption = \"mp_join\"\naction = \"neutralise\"\nrport = 65536",
         ":2:1: ", "'65536' is no port", "1 to 65535"},
        {"version = 1\n[[option_rule]]\ninterface = \"a\"\ndirection = \"in\"\noption = \"mp_join\"\naction = \"neutralise\"\nremote = 7",
         ":7:10: ", "'remote' is a text in quotes", "192.0.2.0/24"},
        {"version = 1\n[[option_rule]]\ninterface = \"a\"\ndirection = \"in\"\noption = \"mp_join\"\naction = \"neutralise\"\naddress = \"10.0.0.0/8\"",
         ":2:1: ", "address= is for add_addr", ""},
        {"version = 1\n[[option_rule]]\ninterface = \"a\"\ndirection = \"in\"\noption = \"mp_join\"\naction = \"neutralise\"\nstate = [\"syn\", \"established\"]",
         ":2:1: ", "is for its handshake", "state=syn,synack"},
        {"version = 1\n[[option_rule]]\ninterface = \"a\"\ndirection = \"in\"\noption = \"mp_join\"\naction = \"neutralise\"\n[[option_rule]]\ninterface = \"a\"\ndirection = \"in\"\noption = \"mp_join\"\naction = \"neutralise\"\n",
         ":7:1: ", "there is this rule already", ":2:1"},
    };
    for (const Case &one : cases) {
        const Error error = wrong(one.text);
        INFO(one.text << "\n-> " << error.what << "\n   " << error.hint << "\n" << error.detail);
        CHECK(error.code == ErrorCode::usage);
        CHECK(error.what.contains("/mpsched.toml"));
        CHECK(error.what.contains(one.where));
        CHECK(error.what.contains(one.what));
        CHECK(error.hint.contains(one.hint));
    }
}

TEST_CASE("all mistakes are told at once, in their order", "[config]") {
    const Error error = wrong(
        "version = 1\n[[interface]]\nname = \"a\"\nwieght = 3\ncost = 0x7fffffff\n[[rule]]\nfor = \"x\"\n"
        "policy = \"auto\"\n");
    CHECK(error.what.contains(":4:1: unknown key 'wieght'"));
    const auto second = error.detail.find(":5:8: ");
    const auto third = error.detail.find(":7:7: ");
    INFO(error.detail);
    CHECK(second != error.detail.npos);
    CHECK(third != error.detail.npos);
    CHECK(second < third);
}

TEST_CASE("a file that others can write, that is missing, or that is no file is refused", "[config]") {
    const Folder folder;
    CHECK(load(folder.main()).error().what.contains("ENOENT"));
    folder.put("mpsched.toml", "version = 1\n");
    REQUIRE(load(folder.main()));
    ::chmod(folder.main().c_str(), 0666);
    CHECK(load(folder.main()).error().code == ErrorCode::not_permitted);
    std::filesystem::remove(folder.main());
    std::filesystem::create_directory(folder.main());
    CHECK(load(folder.main()).error().what.contains("is not a file"));
    std::filesystem::remove(folder.main());
    folder.put("mpsched.toml", std::string(2 << 20, '#'));
    CHECK(load(folder.main()).error().what.contains("larger than"));
}

TEST_CASE("the example is right, and what it asks for is what it says", "[config]") {
    const Desired desired = right(example());
    CHECK(desired.fallback.tx.policy == "overflow");
    CHECK_FALSE(path(desired, device("enp3s0", 2, "ethernet", true)).attributes.quota_bytes);
    CHECK_FALSE(desired.path(device("enp3s0", 2, "ethernet", false)));
    CHECK_FALSE(desired.path(device("enp3s0", 2, "wifi", true)));
    const PathWish modem = path(desired, device("wwan7", 3, "wwan"));
    CHECK(modem.attributes.priority == 1);
    CHECK(modem.attributes.quota_bytes == 5'000'000'000);
    CHECK(modem.period.month_day == 15);
    REQUIRE(desired.rules.size() == 1);
    CHECK(desired.rules[0].use.tx.checked.params.front().value == 16'384);
    CHECK(desired.revision.size() == 12);
}

TEST_CASE("of all sections that an interface matches the later ones decide, key by key", "[config]") {
    const Desired desired = right("version = 1\n[[interface]]\nname = \"*\"\nweight = 2\ncost = 5\n"
                                  "[[interface]]\nname = \"wwan*\"\nweight = 7\nattach = false\n");
    CHECK(path(desired, device("eth0", 2)).attributes.weight == 2);
    const PathWish modem = path(desired, device("wwan0", 3));
    CHECK(modem.attributes.weight == 7);
    CHECK(modem.attributes.cost == 5);
    CHECK_FALSE(modem.attach);
    // Loopback is meant only by its name.
    CHECK_FALSE(desired.path(device("lo", 1, "loopback")));
    CHECK(right("version = 1\n[[interface]]\nname = \"lo\"\n").path(device("lo", 1, "loopback")));
}

TEST_CASE("what is said of metered interfaces is for those that are called so", "[config]") {
    Desired desired = right("version = 1\n[[interface]]\nname = \"wan*\"\nweight = 2\n"
                            "[[interface]]\nname = \"wan*\"\nmetered = true\ncost = 20\n"
                            "[[interface]]\nname = \"hotspot\"\nmetered = true\n"
                            "[[interface]]\nname = \"wan1\"\nmetered = false\npriority = 3\n");
    CHECK(desired.asks_for_metered());
    CHECK(path(desired, device("wan0", 2)).attributes.cost == 0);
    CHECK(path(desired, device("wan1", 3)).attributes.priority == 3);
    // It cannot be waited for by its name: it may come and not be metered.
    CHECK_FALSE(desired.path(device("hotspot", 4)));
    CHECK(desired.paths({}).empty());
    const Facts facts{.interfaces = {device("wan0", 2), device("hotspot", 4)}};
    const auto waiting = make_plan(desired, facts).waiting;
    CHECK(std::ranges::any_of(waiting, [](const Waiting &one) {
        return one.object == "interface hotspot while metered" && one.why == "none of them is called metered";
    }));
    desired.metered = {"wan0", "wan1", "hotspot"};
    CHECK(path(desired, device("wan0", 2)).attributes.cost == 20);
    CHECK(path(desired, device("wan0", 2)).attributes.weight == 2);
    CHECK(path(desired, device("wan1", 3)).attributes.priority == 0);
    CHECK(desired.path(device("hotspot", 4)));
    CHECK_FALSE(right("version = 1\n[[interface]]\nname = \"wan*\"\n").asks_for_metered());
}

TEST_CASE("metrics are served on loopback, elsewhere only where that is asked for, and manage nothing",
          "[config]") {
    const Desired desired = right("version = 1\n[metrics]\nlisten = \"[::1]:9464\"\nprograms = true\n");
    REQUIRE(desired.metrics);
    CHECK(desired.metrics->listen.text() == "[::1]:9464");
    CHECK(desired.metrics->programs);
    // As a file without any section.
    CHECK(desired.empty);
    CHECK_FALSE(right("version = 1\n").metrics);

    const Error open = wrong("version = 1\n[metrics]\nlisten = \"0.0.0.0:9464\"\n");
    CHECK(open.what.contains("mpsched.toml:3:10: 0.0.0.0:9464 can be reached from other machines"));
    CHECK(open.hint.contains("remote = true"));
    CHECK(right("version = 1\n[metrics]\nlisten = \"0.0.0.0:9464\"\nremote = true\n").metrics->listen.host ==
          "0.0.0.0");
    CHECK(wrong("version = 1\n[metrics]\nlisten = \"localhost:9464\"\n")
              .what.contains(":3:10: 'localhost:9464' is no"));
    CHECK(right("version = 1\n[web]\nlisten = \"127.0.0.1:1\"\n").web->text() == "127.0.0.1:1");
    CHECK(right("version = 1\n[web]\nlisten = \"127.0.0.1:1\"\n").empty);
    CHECK(wrong("version = 1\n[web]\nlisten = \"192.0.2.1:1\"\n").hint.contains("ssh -L"));
    CHECK(wrong("version = 1\n[web]\nlisten = \"[::1]:1\"\nremote = true\n")
              .what.contains("unknown key 'remote'"));
    CHECK(wrong("version = 1\n[metrics]\nremote = true\n").what.contains("'listen' is missing"));
    CHECK(wrong("version = 1\n[metrics]\nlisten = 9464\n").what.contains("'listen' is a text in quotes"));
}

TEST_CASE("drop-ins come behind the file in the order of their names, and may say otherwise", "[config]") {
    const Folder folder;
    folder.put(
        "mpsched.toml",
        "version = 1\n[default]\npolicy = \"auto\"\n[[interface]]\nname = \"a\"\nweight = 2\n"
        "[[rule]]\nfor = \"rport=1\"\npolicy = \"auto\"\n[[rule]]\nfor = \"rport=2\"\npolicy = \"auto\"\n");
    const std::string before = load(folder.main())->revision;
    folder.put("mpsched.d/20.toml", "version = 1\n[default]\npolicy = \"weighted\"\n");
    folder.put(
        "mpsched.d/10.toml",
        "version = 1\n[default]\npolicy = \"overflow\"\n[[interface]]\nname = \"a\"\nweight = 9\n"
        "[[rule]]\nfor = \"rport=1\"\nenabled = false\n[[rule]]\nfor = \"rport=2\"\npolicy = \"ecf\"\n");
    folder.put("mpsched.d/ignored.txt", "rubbish");
    folder.put("mpsched.d/.90.toml", "rubbish");
    const auto desired = load(folder.main());
    REQUIRE(desired);
    CHECK(desired->fallback.tx.policy == "weighted");
    CHECK(path(*desired, device("a", 2)).attributes.weight == 9);
    REQUIRE(desired->rules.size() == 1);
    CHECK(desired->rules[0].use.tx.policy == "ecf");
    CHECK(desired->revision != before);
    folder.put("mpsched.d/30.toml", "version = 1\nx = 1\n");
    CHECK(load(folder.main()).error().what.contains("mpsched.d/30.toml:2:1: "));
}

TEST_CASE("what is in force already is left alone, and each difference is one change", "[config]") {
    const std::string text =
        "version = 1\n[default]\npolicy = \"overflow\"\n[[interface]]\nname = [\"wan0\", \"usb0\"]\nweight = 3\n"
        "[[interface]]\nname = \"wwan*\"\nquota = \"1GB\"\nquota_period = \"month\"\n"
        "[[rule]]\nfor = \"rport=1\"\npolicy = \"weighted\"\nset = { lead_bytes = \"32Ki\" }\n"
        "[[rule]]\nfor = \"rport=2\"\npolicy = \"auto\"\n";
    const Desired desired = right(text);
    const std::vector<NetworkInterface> devices{device("lo", 1, "loopback"), device("wan0", 2),
                                                device("wwan0", 3), device("other", 4)};
    const Facts same = after(desired, devices);
    CHECK(actions(desired, same).empty());
    CHECK(same.status.paths.size() == 3); // usb0 is waited for

    Facts facts = same;
    facts.status.paths[0].attributes.weight = 5;
    CHECK(actions(desired, facts) == Texts{"wan0: weight 5 → 3"});
    facts = same;
    facts.status.paths[1].wanted = false;
    CHECK(actions(desired, facts) == Texts{"attach wwan0"});
    facts = same;
    facts.status.paths.push_back(
        {.name = "other", .ifindex = 4, .wanted = true, .attributes = {.weight = 2}});
    CHECK(actions(desired, facts) == Texts{"detach other", "other: default attributes"});
    // A modem that is away may come back, and would be matched then.
    facts = same;
    facts.status.paths.push_back(
        {.name = "wwan4", .ifindex = 0, .wanted = true, .attributes = {.weight = 2}});
    CHECK(actions(desired, facts).empty());
    facts = same;
    std::swap(facts.status.rules[0], facts.status.rules[1]);
    CHECK(actions(desired, facts) == Texts{"rule rport=1: to place 1"});
    facts = same;
    facts.status.rules.push_back({.selector = "rport=3", .policy = "auto", .slot = 1});
    CHECK(actions(desired, facts) == Texts{"remove the rule for rport=3"});
    facts = same;
    facts.status.policies[1].params[0].value = 1;
    REQUIRE(actions(desired, facts).size() == 1);
    CHECK(make_plan(desired, facts).actions[0].only_parameters);
    facts = same;
    facts.status.engine[0].value = 7;
    CHECK(actions(desired, facts) == Texts{"engine: dwell_us=1000"});
    // Files that say nothing manage nothing.
    CHECK(actions(right("version = 1\n"), same).empty());
}

TEST_CASE("an interface is attached in the role that the file says, and another role is one change",
          "[config]") {
    const std::string text = "version = 1\n[[interface]]\nname = \"up*\"\nrole = \"gateway\"\n"
                             "[[interface]]\nname = [\"up1\", \"up2\"]\nweight = 2\n"
                             "[[interface]]\nname = \"lan\"\n";
    const Desired desired = right(text);
    const std::vector<NetworkInterface> devices{device("up0", 2), device("up1", 3), device("lan", 4)};
    CHECK(path(desired, devices[1]).role == Role::gateway);
    CHECK(path(desired, devices[2]).role == Role::host);
    const Texts first = actions(desired, {.interfaces = devices});
    CHECK(first[0] == "attach up0 as a gateway's");
    CHECK(first[1] == "attach up1 as a gateway's");
    CHECK(std::ranges::find(first, "attach up2 as a gateway's when it comes") != first.end());
    const Facts same = after(desired, devices);
    CHECK(actions(desired, same).empty());
    const std::string again = write(exported(same.status));
    INFO(again);
    CHECK(actions(right(again), same).empty());
    Facts facts = same;
    facts.status.interfaces[0].role = Role::host;
    facts.status.interfaces[2].role = Role::gateway;
    CHECK(actions(desired, facts) == Texts{"up0: role host → gateway", "lan: role gateway → host"});
}

TEST_CASE("rules about options are one change, also where nothing else is installed", "[config]") {
    const Desired desired =
        right("version = 1\n"
              "[[option_rule]]\ninterface = \"a\"\ndirection = \"in\"\noption = \"mp_join\"\n"
              "action = \"neutralise\"\nremote = \"192.0.2.7/24\"\nstate = [\"synack\"]\n"
              "[[option_rule]]\ninterface = \"a\"\ndirection = \"out\"\noption = \"dss\"\n"
              "action = \"allow\"\nrport = 443\n");
    Facts facts{};
    CHECK(
        actions(desired, facts) ==
        Texts{
            "option rules: a in mp_join neutralise state=synack remote=192.0.2.0/24; a out dss allow rport=443"});
    facts.option_rules = desired.option_rule_list();
    CHECK(actions(desired, facts).empty());
    CHECK(actions(right(write(exported(after(desired, {}).status, facts.option_rules))), facts).empty());
    std::swap(facts.option_rules[0], facts.option_rules[1]);
    CHECK(actions(desired, facts).size() == 1);
    CHECK(actions(right("version = 1\n[engine]\n"), facts).back() == "remove the option rules");
}

TEST_CASE("a cgroup whose applications may choose is one change, and one that is not there is waited for",
          "[config]") {
    const Desired desired = right("version = 1\n[[interface]]\nname = \"a\"\n"
                                  "[[application]]\ncgroup = \"/user.slice\"\npolicies = [\"ecf\", "
                                  "\"weighted\"]\nmax_cost = 7\n[[application]]\ncgroup = \"/x\"\n");
    Facts facts = after(desired, {device("a", 2)});
    CHECK(actions(desired, facts).empty());
    CHECK(actions(right(write(exported(facts.status, {}, facts.applications))), facts).empty());
    std::swap(facts.applications[0].policies[0], facts.applications[0].policies[1]);
    CHECK(actions(desired, facts).empty()); // the same, in another order
    facts.applications[0].max_cost = 8;
    facts.cgroups[1] = std::unexpected(Error{.what = "no such cgroup"});
    facts.applications[1].cgroup = "/y";
    CHECK(actions(desired, facts) ==
          Texts{"applications of /user.slice may choose: ecf, weighted, cost at most 7",
                "applications of /y may choose no more"});
    const Plan plan = make_plan(desired, facts);
    REQUIRE(plan.waiting.size() == 1);
    CHECK(plan.waiting[0].object == "applications of /x");
    CHECK(wrong("version = 1\n[[application]]\ncgroup = \"x\"\nmax_cost = 1000001\n")
              .what.find("'max_cost' cannot be '1000001'") != std::string::npos);
}

TEST_CASE("rules about congestion control are one change, come back from export, and need nothing attached",
          "[config]") {
    const Desired desired = right("version = 1\n[[congestion]]\ncontrol = \"cubic\"\nplain_tcp = true\n"
                                  "[[congestion]]\ncontrol = \"lia\"\nfor = \"rport=443\"\n");
    Facts facts{.congestion_selectors = {"", "rport=443"}};
    CHECK(actions(desired, facts) ==
          Texts{"congestion control: lia for rport=443; cubic (plain TCP as well)"});
    facts.congestion = {{.name = "mps_lia", .selector = "rport=443", .given = 4},
                        {.name = "cubic", .plain_tcp = true}};
    CHECK(actions(desired, facts).empty());
    const Status installed{.installed = true, .max_connections = 16'384};
    const Desired again = right(write(exported(installed, {}, {}, facts.congestion)));
    Facts same = facts;
    same.congestion_selectors = {"rport=443", ""};
    for (const Action &action : make_plan(again, same).actions)
        CHECK(action.kind != Action::Kind::congestion);
    facts.congestion[0].problem = "it is not loaded";
    CHECK(actions(desired, facts).size() == 1);
    CHECK(actions(right("version = 1\n[engine]\n"), facts).back() ==
          "remove the rules about congestion control");
    CHECK(wrong("version = 1\n[[congestion]]\ncontrol = \"lia\"\nfor = \"rprt=1\"\n").what.contains("rprt"));
    CHECK(wrong("version = 1\n[[congestion]]\ncontrol = \"lia\"\n[[congestion]]\ncontrol = \"olia\"\n")
              .what.contains("there is a [[congestion]] for these connections already"));
    CHECK(wrong("version = 1\n[[congestion]]\ncontrol = \"lia\"\nfor = \"host=example.org\"\n")
              .what.contains("cannot be chosen by host="));
}

TEST_CASE("where subflows are placed is a change for each interface, and one that is not there is waited for",
          "[config]") {
    const Desired desired = right("version = 1\n[spread]\ninterfaces = [\"a\", \"b\"]\nmove = false\n"
                                  "routes = [\"label any 2001:db8::/32 1:5 2:6\"]\n");
    Facts facts{.interfaces = {device("a", 2)}};
    CHECK(actions(desired, facts) == Texts{"place subflows on a"});
    const auto waiting = make_plan(desired, facts).waiting;
    CHECK(std::ranges::find(waiting, "spread on b", &Waiting::object) != waiting.end());
    facts.spread = {.interfaces = {{.name = "a"}, {.name = "c"}}, .moves = false, .map = desired.spread->map};
    CHECK(actions(desired, facts) == Texts{"place no subflows on c any more"});
    facts.spread.interfaces.pop_back();
    CHECK(actions(desired, facts).empty());
    const Desired again =
        right(write(exported({.installed = true, .max_connections = 16'384}, {}, {}, {}, facts.spread)));
    REQUIRE(again.spread);
    CHECK(again.spread->map == desired.spread->map);
    CHECK_FALSE(again.spread->moves);
    facts.spread.map = {};
    CHECK(actions(desired, facts) == Texts{"spread: another map of paths"});
    facts.spread.moves = true;
    CHECK(actions(desired, facts) == Texts{"spread: labels stay for life"});
    facts.spread.interfaces[0].problem = "gone";
    CHECK(actions(desired, facts) == Texts{"place subflows on a"});
    CHECK(wrong("version = 1\n[spread]\ninterfaces = \"a\"\nroutes = [\"label any x 1:1\"]\n")
              .what.contains("routes:1: 'x' is no IP address"));
    CHECK(wrong("version = 1\n[spread]\ninterfaces = \"a\"\nmap = \"none.map\"\n")
              .what.contains("none.map cannot be read"));
}

TEST_CASE("each direction may have its own policy, and each difference is one change", "[config]") {
    const std::string text = "version = 1\n[default]\npolicy = \"overflow\"\nrx_policy = \"auto\"\n"
                             "[[interface]]\nname = \"a\"\n"
                             "[[rule]]\nfor = \"rport=1\"\nrx_policy = \"weighted\"\n"
                             "[[rule]]\nfor = \"rport=2\"\npolicy = \"weighted\"\nrx_policy = \"open\"\n"
                             "[[rule]]\nfor = \"rport=3\"\npolicy = \"weighted\"\nrx_policy = \"weighted\"\n"
                             "rx_set = { lead_bytes = \"32Ki\" }\n";
    const Desired desired = right(text);
    const Facts same = after(desired, {device("a", 2)});
    CHECK(actions(desired, same).empty());
    const std::string again = write(exported(same.status));
    INFO(again);
    CHECK(actions(right(again), same).empty());

    // As 'use auto' leaves it: both follow one policy.
    Facts facts = same;
    facts.status.default_policy = facts.status.rx_default_policy;
    facts.status.default_slot = facts.status.rx_default_slot;
    CHECK(actions(desired, facts) == Texts{"default policy: auto → overflow"});
    CHECK(make_plan(desired, facts).actions[0].direction == Direction::tx);
    facts = same;
    facts.status.rx_default_policy = "default";
    facts.status.rx_default_slot = 0;
    CHECK(actions(desired, facts) == Texts{"default policy: what peers send: default → auto"});
    CHECK(make_plan(desired, facts).actions[0].direction == Direction::rx);
    // No command opens a direction of a rule again.
    facts = same;
    facts.status.rules[0].policy = "weighted";
    facts.status.rules[0].slot = facts.status.rules[0].rx_slot;
    CHECK(actions(desired, facts) ==
          Texts{"remove the rule for rport=1", "rule rport=1: what peers send: left open → weighted"});
    CHECK(make_plan(desired, facts).actions[1].position == 1);
    // One copy of a policy for both has one set of parameters: the differing one gets a copy of its own.
    facts = same;
    facts.status.rules[2].rx_slot = facts.status.rules[2].slot;
    REQUIRE(actions(desired, facts).size() == 1);
    CHECK(!make_plan(desired, facts).actions[0].only_parameters);
    CHECK(make_plan(desired, facts).actions[0].direction == Direction::rx);
    // What 'use --direction tx' left of a policy for both is put right.
    facts = after(right("version = 1\n[default]\npolicy = \"auto\"\n"), {});
    facts.status.rx_default_policy = "default";
    facts.status.rx_default_slot = 0;
    CHECK(actions(right("version = 1\n[default]\npolicy = \"auto\"\n"), facts) ==
          Texts{"default policy: what peers send: default → auto"});
}

TEST_CASE("what is exported is accepted, and asks for what runs", "[config]") {
    const Desired desired = right(
        "version = 1\n[default]\npolicy = \"weighted\"\nset = { lead_bytes = \"32Ki\" }\n"
        "[engine]\ndwell_us = \"2ms\"\n"
        "[[interface]]\nname = \"a\"\nweight = 3\ncost = 2\nenergy = \"lte\"\nquota = \"5GB\"\nquota_period = \"30d\"\nquota_then = \"256kbit\"\n"
        "[[interface]]\nname = \"b\"\nattach = false\npriority = 4\nuse = \"never\"\n"
        "[[rule]]\nfor = \"remote=192.0.2.0/24:443\"\npolicy = \"ecf\"\n");
    const Facts facts = after(desired, {device("a", 2), device("b", 3)});
    const std::string text = write(exported(facts.status));
    INFO(text);
    CHECK(actions(right(text), facts).empty());
}

TEST_CASE("text that is hostile to TOML comes back as it was", "[config]") {
    Section section{.part = Part::interface};
    section.put("name", std::string("a\"\\\x01"
                                    "b"));
    const std::string text = "version = 1\n" + write({section});
    std::vector<Problem> problems;
    const File file = parse("x", text, problems);
    CHECK(problems.empty());
    REQUIRE(file.sections.size() == 2);
    CHECK(file.sections[1].text("name") == "a\"\\\x01"
                                           "b");
}
