// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// What every command answers: documents, text, errors.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fake_cli.hpp"
#include "schema.hpp"
#include "table/command_table.hpp"

using mps::test::described;
using mps::test::document;
using mps::test::fake;
using mps::test::FakeService;
using mps::test::Json;
using mps::test::Outcome;
using mps::test::RunOptions;
using mps::test::Words;

namespace {

const std::vector<Words> every_command{
    {"status"},
    {"conns"},
    {"doctor"},
    // A capture without packets: its only document is the last one.
    {"decode", MPS_SOURCE_DIR "/tests/codec/captures/none.pcap"},
    {"trace", "wan0", "--seconds", "0"},
    {"events", "--for", "0"},
    {"explain", "7a3b12cd"},
    {"top", "--once"},
    {"stats"},
    {"stats", "--all"},
    {"probe"},
    {"app", "attach", "--cgroup", "user.slice", "--allow-policy", "weighted", "--max-cost", "5"},
    {"app", "list"},
    {"app", "detach", "--all"},
    {"proxy", "status"},
    {"proxy", "stop"},
    {"attach", "wan0", "lte0"},
    {"detach", "--all"},
    {"detach", "wan0"},
    {"repair"},
    {"use", "weighted"},
    {"unuse", "rport=443"},
    {"set", "dwell_us=2000"},
    {"policy", "list"},
    {"policy", "list", "--names"},
    {"policy", "show", "weighted"},
    {"policy", "build", MPS_SOURCE_DIR "/schedulers/default/default.bpf.c", "-o", "/dev/null"},
    {"policy", "load", "x.o"},
    {"policy", "unload", "weighted"},
    {"path"},
    {"path", "wan0"},
    {"path", "wan0", "weight=3"},
    {"rule", "add", "wan0", "in", "mp_join", "neutralise", "rport=443"},
    {"rule", "apply"},
    {"rule", "list"},
    {"rule", "counters"},
    {"rule", "del", "1"},
    {"cc", "load", "lia"},
    {"cc", "list"},
    {"cc", "use", "lia", "--for", "rport=443"},
    {"cc", "unuse"},
    {"cc", "unload", "lia", "--drain"},
    {"spread", "on", "eth0", "--map", "x.map"},
    {"spread", "list"},
    {"spread", "off", "--all"},
    {"spread", "probe", "2001:db8::2"},
    {"config", "check"},
    {"config", "diff"},
    {"config", "apply"},
    {"config", "export"},
    {"config", "edit"},
    {"reload"},
    {"web"},
    {"help"},
    {"help", "use"},
    {"version"},
};

bool asks_loader(const Words &words) {
    return words[0] != "help" && words[0] != "version" && words[0] != "probe" && words[0] != "decode" &&
           !(words[0] == "policy" && words[1] == "build") &&
           !(words[0] == "config" && (words[1] == "check" || words[1] == "edit"));
}

// Its output is the other program's.
bool becomes_another_program(const mps::table::Command &command) { return command.verb == "run"; }
// They have tests of their own: one makes another file each time, the other starts a program that stays.
bool has_own_test(const mps::table::Command &command) {
    return command.verb == "bug-report" || command.name() == "proxy start";
}

std::vector<Words> loader_commands() {
    std::vector<Words> all;
    for (const Words &words : every_command)
        if (asks_loader(words))
            all.push_back(words);
    return all;
}

} // namespace

TEST_CASE("every command gives exactly one JSON document with --json", "[cli]") {
    const FakeService service;
    for (Words words : every_command) {
        words.emplace_back("--json");
        INFO(words[0] << " " << words[1]);
        const Outcome outcome = fake(words);
        CHECK(outcome.exit_code == 0);
        CHECK(outcome.err.empty());
        const Json got = document(outcome);
        CHECK((got.is_object() || got.is_array()));
        CHECK_FALSE(outcome.out.contains('\x1b'));
    }
    // And nobody forgot to list a command here.
    for (const mps::table::Command &command : mps::table::commands()) {
        INFO(command.name());
        CHECK((becomes_another_program(command) || has_own_test(command) ||
               std::ranges::any_of(every_command, [&](const Words &words) {
                   return words[0] == command.verb &&
                          (command.sub_verb.empty() || words[1] == command.sub_verb);
               })));
    }
}

TEST_CASE("run leaves standard output to the command, and tells its own in the form of the schema", "[cli]") {
    const Outcome outcome = fake({"run", "--json=2", "--", "sh", "-c", "echo --json; exit 9"});
    CHECK(outcome.exit_code == 9);
    CHECK(outcome.out == "--json\n");
    mps::test::Schema schema(described(), false);
    for (const std::string &wrong : schema.check("run", Json::parse(outcome.err)))
        FAIL(wrong);
    CHECK(fake({"run", "--quiet", "--", "true"}).err.empty());
    const Outcome none = fake({"run", "--json=2"});
    CHECK(none.exit_code == 2);
    CHECK(document(none)["error"]["kind"] == "usage");
    CHECK(fake({"--netns", "blue", "run", "--", "true"}).exit_code == 2);
}

TEST_CASE("every command's --json=2 document is what the schema describes, errors included", "[cli]") {
    const FakeService service;
    // Not strict: who adds a member must not be kept from it here, only the real documents are to be described whole.
    mps::test::Schema schema(described(), false);
    std::set<std::string> seen;
    const auto check = [&](const std::string &command, const Json &got) {
        INFO(command << ": " << got.dump(1));
        for (const std::string &wrong : schema.check(command, got))
            FAIL(wrong);
        CHECK(got["version"] == 2);
    };
    for (Words words : every_command) {
        words.emplace_back("--json=2");
        const std::string name = words[0] == "policy" || words[0] == "config" || words[0] == "rule" ||
                                         words[0] == "cc" || words[0] == "spread" || words[0] == "app" ||
                                         words[0] == "proxy"
                                     ? words[0] + " " + words[1]
                                     : words[0];
        seen.insert(name);
        check(name, document(fake(words)));
        if (asks_loader(words))
            check("error",
                  document(
                      fake(words, {.environment = {"MPS_FAKE_ERROR=1|it went wrong|do this|R1 invalid"}})));
    }
    for (const mps::table::Command &command : mps::table::commands())
        CHECK((becomes_another_program(command) || has_own_test(command) || seen.contains(command.name())));
    check("error", document(fake({"stauts", "--json=2"})));
    CHECK(fake({"status", "--json=3"}).exit_code == 2);
    CHECK(document(fake({"conns", "--json=1"})).is_array());
    CHECK(document(fake({"conns", "--json=2"}))["connections"].size() == 3);
    // The checker itself says no.
    CHECK_FALSE(schema.check("conns", Json{{"version", 2}, {"warnings", Json::array()}}).empty());
    CHECK_FALSE(schema.check("conns", Json::array()).empty());
}

TEST_CASE("every command writes text for people, without colours into a pipe", "[cli]") {
    const FakeService service;
    for (const Words &words : every_command) {
        INFO(words[0]);
        const Outcome outcome = fake(words);
        CHECK(outcome.exit_code == 0);
        CHECK_FALSE(outcome.out.empty());
        CHECK(outcome.out.ends_with('\n'));
        CHECK_FALSE(outcome.out.contains('\x1b'));
        CHECK_FALSE(outcome.out.contains(" \n"));
    }
}

TEST_CASE("doctor's exit code tells a problem from a note", "[cli]") {
    const Outcome note = fake({"doctor", "--json"});
    CHECK(note.exit_code == 0);
    CHECK(document(note)["findings"][0]["severity"] == "note");
    const Outcome problem = fake({"doctor", "--json"}, {.environment = {"MPS_FAKE_PROBLEM=1"}});
    CHECK(problem.exit_code == 1);
    CHECK(document(problem)["problems"] == 1);
    CHECK(document(problem)["findings"][0]["next"] == "'mpsched attach --follow'");
    CHECK(fake({"doctor"}).out.contains("why  its attributes wait for it"));
    // A status with problems has still done what it was asked for.
    CHECK(fake({"status"}, {.environment = {"MPS_FAKE_PROBLEM=1"}}).exit_code == 0);
}

TEST_CASE("status, conns and stats have the keys that scripts rely on", "[cli]") {
    const Json status = document(fake({"status", "--json"}));
    CHECK(status["interfaces"][0]["name"] == "wan0");
    CHECK(status["interfaces"][0]["ifindex"] == 2);
    CHECK(status["interfaces"][0]["mode"] == "native");
    CHECK(status["interfaces"][0]["role"] == "host");
    CHECK(status["default_policy"] == "weighted");
    CHECK(status["policies"][0]["name"] == "weighted");
    CHECK(status["policies"][0]["slot"] == 1);
    CHECK(status["policies"][0]["params"]["quantum_ms"] == 25);
    CHECK(status["connections"] == 2);

    const Json conns = document(fake({"conns", "--json"}));
    REQUIRE(conns.is_array());
    REQUIRE(conns.size() == 3);
    CHECK(conns[1]["forwarded"].is_null());
    CHECK(conns[2]["forwarded"]["subflows"][0]["responder"] == "198.51.100.1:443");
    CHECK(conns[1]["token"] == 0x7a3b12cd);
    CHECK(conns[1]["policy"] == "weighted");
    const Json &subflow = conns[1]["subflows"][1];
    for (const char *key : {"id", "ifname", "local", "remote", "backup", "peer_backup", "srtt_us", "cwnd",
                            "in_flight", "queued_bytes", "bytes_acked", "allowed"}) {
        INFO(key);
        CHECK(subflow.contains(key));
    }
    CHECK(subflow["allowed"] == false);
    CHECK(subflow["verdict"] == "parked");
    CHECK(subflow["reason"] == Json{{"code", 2},
                                    {"name", "later"},
                                    {"number", 61'000},
                                    {"unit", "us"},
                                    {"than", 1},
                                    {"text", "its burst would arrive 61.0 ms later than wan0's"}});
    CHECK(fake({"conns"}).out.contains("its burst would arrive 61.0 ms later than wan0's"));
    CHECK(conns[1]["subflows"][0]["reason"].is_null());
    CHECK(conns[0]["subflows"][0]["allowed"].is_null());
    CHECK(conns[0]["subflows"][0]["verdict"] == "unsteered");
    CHECK(document(fake({"conns", "--policy", "weighted", "--json"})).size() == 1);

    const Json stats = document(fake({"stats", "--json"}));
    CHECK(stats == Json{{"seen", 1234567}, {"malformed", 0}});
}

TEST_CASE("commands that change something say what", "[cli]") {
    CHECK(document(fake({"attach", "wan0", "--json"}))["interfaces"][0]["mode"] == "tc");
    CHECK(document(fake({"attach", "wan0", "--json"}))["warnings"] == Json{"lte0 is down"});
    CHECK(document(fake({"attach", "wan0", "--policy", "weighted", "--json"}))["policy"] == "weighted");
    CHECK(fake({"attach", "wan0"}).out.contains("all connections use auto\n"));
    CHECK(document(fake({"detach", "--all", "--json"}))["interfaces"] == Json{"wan0", "lte0"});
    const Json used = document(fake({"use", "weighted", "--for", "rport=443", "--json"}));
    CHECK(used["policy"] == "weighted");
    CHECK(used["for"] == "rport=443");
    CHECK(used["previous"] == "default");
    CHECK(used["params"]["quantum_ms"] == 25);
    CHECK(document(fake({"set", "dwell_us=1000", "--json"}))["changed"] == Json{{"dwell_us", 1000}});
    CHECK(document(fake({"path", "wan0", "weight=3", "--json"}))["weight"] == 3);
}

TEST_CASE("an error of the library is two lines for people and one document for scripts", "[cli]") {
    const FakeService service;
    for (const auto &[code, kind] :
         {std::pair{1, "failed"}, {2, "usage"}, {3, "unsupported"}, {4, "not-permitted"}}) {
        const RunOptions options{.environment = {"MPS_FAKE_ERROR=" + std::to_string(code) +
                                                 "|it went wrong|do this|R1 invalid\nR2 too"}};
        for (Words words : loader_commands()) {
            INFO(words[0] << " code " << code);
            const Outcome people = fake(words, options);
            CHECK(people.exit_code == code);
            CHECK(people.out.empty());
            CHECK(people.err == "mpsched: it went wrong\n    R1 invalid\n    R2 too\n  hint: do this\n");

            words.insert(words.begin(), "--json");
            const Outcome script = fake(words, options);
            CHECK(script.exit_code == code);
            CHECK(script.err.empty());
            CHECK(document(script) == Json{{"error",
                                            {{"what", "it went wrong"},
                                             {"hint", "do this"},
                                             {"code", code},
                                             {"kind", kind},
                                             {"detail", {"R1 invalid", "R2 too"}}}}});
        }
    }
}
