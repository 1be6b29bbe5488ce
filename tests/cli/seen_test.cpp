// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// Commands that show what passes: decode, trace, events, explain, conns --watch, bug-report.
#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "catch.hpp"
#include "fake_cli.hpp"
#include "output/bounded_file.hpp"
#include "output/redraw.hpp"
#include "schema.hpp"

using mps::test::described;
using mps::test::document;
using mps::test::fake;
using mps::test::FakeService;
using mps::test::Json;
using mps::test::Outcome;
using mps::test::RunOptions;
using mps::test::Words;

TEST_CASE("decode tells each packet with MPTCP options, to people and to programs", "[cli]") {
    const std::string any = MPS_SOURCE_DIR "/tests/codec/captures/real-any.pcap";
    const auto decode = [&](Words more) {
        Words words{"decode", any};
        words.insert(words.end(), more.begin(), more.end());
        return fake(words);
    };
    const auto lines = [](const Outcome &outcome) {
        std::vector<Json> all;
        std::istringstream in(outcome.out);
        for (std::string line; std::getline(in, line);)
            all.push_back(Json::parse(line));
        return all;
    };
    const Outcome text = decode({});
    CHECK(text.err.empty());
    CHECK(text.out.contains("192.0.2.2:8000 [SYN]  MP_CAPABLE SYN hmac\n"));
    CHECK(text.out.contains("; MP_PRIO backup\n"));
    CHECK(text.out.contains("ADD_ADDR echo address_id=1 ipv4=198.51.100.2 port=8001\n"));
    CHECK(text.out.contains("3 subflows"));

    Json schema_json = described();
    schema_json["commands"]["packet"] = schema_json["definitions"]["packet"];
    mps::test::Schema schema(schema_json, true);
    const std::vector<Json> all = lines(decode({"--json=2"}));
    REQUIRE(all.size() > 40);
    for (const Json &one : all) {
        INFO(one.dump());
        CHECK(schema.check(one["event"] == "summary" ? "decode" : "packet", one).empty());
    }
    const Json &summary = all.back();
    CHECK(summary["event"] == "summary");
    CHECK(summary["with_mptcp"] == all.size() - 1);
    const std::string token =
        fmt::format("{:08x}", summary["connections"][0]["server_token"].get<std::uint32_t>());

    // What is chosen is shown, and counted; from the first packet of the connection on.
    CHECK(lines(decode({"--json", "--connection", token})).size() == all.size());
    CHECK(lines(decode({"--json", "--connection", "0x00000001"})).size() == 1);
    for (const auto &one : lines(decode({"--json", "--option", "mp_prio", "--option", "REMOVE_ADDR"}))) {
        INFO(one.dump());
        CHECK((one["event"] == "summary" || one["options"].size() == 2));
    }
    CHECK(lines(decode({"--json", "--option", "MP_PRIO"})).size() == 3);
    CHECK(lines(decode({"--json", "--port", "8001", "--host", "198.51.100.1"})).size() > 3);
    CHECK(lines(decode({"--json", "--host", "2001:db8::1"})).size() == 1);
    // Through a pipe, from standard input.
    const std::string octets = mps::test::file_text(any);
    CHECK(fake({"decode", "-"}, {.input = octets}).out == text.out);
    // Cut in the middle: what stands before, and a warning.
    const Outcome cut = fake({"decode", "-"}, {.input = octets.substr(0, octets.size() - 5)});
    CHECK(cut.exit_code == 0);
    CHECK(cut.err.contains("ends within packet"));
    CHECK(cut.out.contains("MP_CAPABLE SYN"));
}

TEST_CASE("decode refuses what is no capture and what cannot be asked for, and says what to do", "[cli]") {
    const std::string none = MPS_SOURCE_DIR "/tests/codec/captures/none.pcap";
    const std::vector<std::pair<Words, std::string>> cases{
        {{"decode", "/nonexistent"}, "cannot be opened: No such file"},
        {{"decode", MPS_SOURCE_DIR}, "cannot be read: Is a directory"},
        {{"decode", MPS_JSON_SCHEMA}, "is neither pcap nor pcapng"},
        {{"decode", "/dev/null"}, "is empty"},
        {{"decode", none, "--option", "MP_FOO"}, "there is no MPTCP option 'MP_FOO'"},
        {{"decode", none, "--connection", "xyz"}, "'xyz' is no token"},
        {{"decode", none, "--host", "localhost"}, "'localhost' is no IP address"},
        {{"decode", none, "--port", "65536"}, "'65536' is no port"},
    };
    for (const auto &[words, expected] : cases) {
        const Outcome outcome = fake(words);
        INFO(outcome.err);
        CHECK(outcome.exit_code != 0);
        CHECK(outcome.out.empty());
        CHECK(outcome.err.contains(expected));
        CHECK(outcome.err.contains("hint: "));
    }
}

TEST_CASE(
    "trace tells packets and verdicts, and what was lost, to people, to programs and into files that stay small",
    "[cli]") {
    const RunOptions faked{.environment = {"MPS_FAKE_TRACE=1"}};
    const Outcome text = fake({"trace", "--seconds", "0"}, faked);
    CHECK(text.exit_code == 0);
    CHECK(text.out.contains(
        "wan0 in def48bf1/2  192.0.2.1:49152 > 198.51.100.1:443 [ACK]  MP_PRIO backup (MP_PRIO is ours)\n"));
    CHECK(text.out.contains("def48bf1  weighted: 1 wan0 allowed, 2 lte0 parked (made a backup by a wake)\n"));
    CHECK(text.out.ends_with("1 packet and 1 verdict on wan0, lte0; 3 lost\n"));
    CHECK(text.err.contains("3 packets and verdicts were lost"));

    Json schema_json = described();
    for (const char *name : {"trace_packet", "trace_verdict"})
        schema_json["commands"][name] = schema_json["definitions"][name];
    mps::test::Schema schema(schema_json, true);
    std::istringstream lines(fake({"trace", "--json=2", "--seconds", "0"}, faked).out);
    std::vector<std::string> events;
    for (std::string line; std::getline(lines, line);) {
        const Json one = Json::parse(line);
        const std::string event = one["event"];
        INFO(line);
        CHECK(schema.check(event == "summary" ? "trace" : "trace_" + event, one).empty());
        events.push_back(event);
    }
    CHECK(events == Words{"packet", "verdict", "summary"});
    // Of packets only those that were asked for; verdicts all the same.
    CHECK(fake({"trace", "--seconds", "0", "--option", "DSS"}, faked)
              .out.contains("\n0 packets and 1 verdict on"));
    CHECK(fake({"trace", "--seconds", "0", "--count", "1"}, faked)
              .out.contains("\n1 packet and 0 verdicts on"));

    const std::string path =
        (std::filesystem::temp_directory_path() / ("mpsched-trace-" + std::to_string(getpid()))).string();
    const Outcome written = fake({"trace", "--seconds", "0", "--write", path}, faked);
    const std::string content = mps::test::file_text(path);
    CHECK(written.out.starts_with("1 packet and 1 verdict"));
    CHECK(std::ranges::count(content, '\n') == 2);
    std::filesystem::remove(path);
}

TEST_CASE("a file of bounded size keeps the newest lines, in itself and in one older half", "[cli]") {
    const std::string path =
        (std::filesystem::temp_directory_path() / ("mpsched-bounded-" + std::to_string(getpid()))).string();
    auto file = mps::output::BoundedFile::open(path, 1000);
    REQUIRE(file);
    for (int i = 0; i < 500; i++)
        REQUIRE(file->write(fmt::format("line {:04}\n", i)));
    REQUIRE(file->flush());
    CHECK(file->turned());
    const auto size = std::filesystem::file_size(path), older = std::filesystem::file_size(path + ".1");
    CHECK((size > 0 && size + older <= 1000));
    const std::string content = mps::test::file_text(path);
    CHECK(content.ends_with("line 0499\n"));
    std::filesystem::remove(path);
    std::filesystem::remove(path + ".1");
    CHECK_FALSE(mps::output::BoundedFile::open("/nonexistent/file", 1000));
}

TEST_CASE("events tells those of the groups that were asked for, and what it cannot see", "[cli]") {
    const std::vector<std::string> events{"MPS_FAKE_EVENTS=1"};
    const Outcome people = fake({"events", "--for", "0"}, {.environment = events});
    CHECK(people.exit_code == 0);
    CHECK(people.out.contains("  wan0 is down: no carrier, or set down\n"));
    CHECK(people.out.contains("  lte0 has used up its quota: 5.0 GB of 5.0 GB\n"));
    CHECK(people.out.contains("  failover from wan0 to lte0: it does not answer, 3 connections\n"));
    CHECK_FALSE(people.out.contains("parked"));
    CHECK(people.out.ends_with("3 events\n"));
    CHECK(people.err.contains("nobody follows the interfaces"));
    const Outcome all = fake({"events", "--for", "0", "--only", "all"}, {.environment = events});
    CHECK(all.out.contains("  7a3b12cd  subflow 2 (lte0) is parked\n"));

    const Json schema = described();
    mps::test::Schema lines(Json{{"definitions", schema["definitions"]},
                                 {"commands", {{"event", {{"$ref", "#/definitions/event"}}}}}},
                            true);
    const Outcome programs =
        fake({"events", "--for", "0", "--only", "all", "--json=2", "--count", "4"}, {.environment = events});
    CHECK(programs.err.empty());
    std::istringstream in(programs.out);
    std::vector<Json> told;
    for (std::string line; std::getline(in, line);)
        told.push_back(Json::parse(line));
    REQUIRE(told.size() == 5);
    for (std::size_t i = 0; i < 4; i++) {
        INFO(told[i].dump());
        CHECK(lines.check("event", told[i]).empty());
    }
    CHECK(told[2]["why"] == "silent");
    CHECK(told[4]["event"] == "summary");
    CHECK(told[4]["events"] == 4);
    CHECK(told[4]["cannot_see"].size() == 1);
    CHECK(fake({"events", "--only", "nosuch"}).exit_code == 2);
    CHECK(fake({"events", "--for", "soon"}).exit_code == 2);
    CHECK(
        fake({"events", "--only", "all"}, {.environment = events, .output = RunOptions::Output::broken_pipe})
            .exit_code == 0);
}

TEST_CASE("explain puts the verdict, its reason and what the policy saw into words", "[cli]") {
    const Outcome people = fake({"explain", "7a3b12cd"});
    CHECK(people.exit_code == 0);
    INFO(people.out);
    for (const char *line :
         {"7a3b12cd  policy weighted\n",
          "decided 3.2 ms ago; what the policy saw then: 1.2 MB wait for a subflow, ",
          "  1 wan0  allowed: the policy gives no reason\n",
          "  2 lte0  parked: its burst would arrive 61.0 ms later than wan0's\n",
          "12.5 kB queued (leaves in 10.0 ms), pacing rate 10.0 Mbit/s\n", "5.0 MB of its quota left\n",
          "the kernel takes the one whose queue leaves first: wan0, 10.0 ms.\n"})
        CHECK(people.out.contains(line));
    CHECK(fake({"explain", "0x7a3b12cd"}).exit_code == 0);
    CHECK(fake({"explain", "wan0"}).exit_code == 2);
    CHECK(fake({"explain", "7"}).exit_code == 2);
    const Json programs = document(fake({"explain", "7a3b12cd", "--json"}));
    CHECK(programs["inputs"].size() == programs["connection"]["subflows"].size());
    CHECK(programs["inputs"][1]["linger_us"] == 10'000);
}

TEST_CASE("conns --watch ends when its reader has gone or at a signal, and tells a look a line", "[cli]") {
    CHECK(fake({"conns", "--watch", "0.1"}, {.output = RunOptions::Output::broken_pipe}).exit_code == 0);
    CHECK(
        fake({"conns", "--watch", "0.1", "--json"}, {.output = RunOptions::Output::broken_pipe}).exit_code ==
        0);
    CHECK(fake({"conns", "--watch", "0.1"}, {.output = RunOptions::Output::full_device}).exit_code == 1);
    for (const char *wrong : {"0", "0.01", "x", "1e9"})
        CHECK(fake({"conns", "--watch", wrong}).exit_code == 2);
    const Outcome looks = mps::test::run(
        {"timeout", "--signal=INT", "0.7", MPS_FAKE_CLI, "conns", "--watch", "0.2", "--json=2"});
    INFO(looks.err);
    std::istringstream in(looks.out);
    std::size_t lines = 0;
    for (std::string line; std::getline(in, line); lines++) {
        const Json look = Json::parse(line);
        CHECK(look["version"] == 2);
        CHECK(look["connections"].size() == 3);
        CHECK(look.contains("time"));
    }
    CHECK(lines >= 2);
    // Without its value it is the usual one, whatever stands behind it.
    CHECK(fake({"conns", "--watch", "--policy", "weighted"}, {.output = RunOptions::Output::broken_pipe})
              .exit_code == 0);
    CHECK(mps::output::first_rows("a\nb\nc\n", 3) == "a\nb\nc\n");
    CHECK(mps::output::first_rows("a\nb\nc\n", 2) == "a\n… 2 lines more");
}

TEST_CASE("bug-report makes an archive that nobody else can read, with addresses masked", "[cli]") {
    const FakeService service;
    const auto folder = std::filesystem::temp_directory_path() / ("mpsched-bug-" + std::to_string(getpid()));
    std::filesystem::create_directory(folder);
    const std::string file = folder / "report.tar.gz";
    const Outcome made = fake({"bug-report", file});
    INFO(made.err);
    CHECK(made.exit_code == 0);
    CHECK(made.out.contains("Nothing was sent anywhere"));
    CHECK((std::filesystem::status(file).permissions() & std::filesystem::perms::others_all) ==
          std::filesystem::perms::none);
    const auto inside = [&](const std::string &name) {
        return mps::test::run({"tar", "-xzOf", file, "mpsched-report/" + name}).out;
    };
    CHECK(inside("README.txt").contains("Nothing of it was sent anywhere"));
    CHECK(inside("mpsched/conns.txt").contains("7a3b12cd"));
    CHECK_FALSE(inside("mpsched/conns.txt").contains("192.0.2.1"));
    CHECK(inside("mpsched/conns.txt").contains("198.18."));
    CHECK(Json::parse(inside("mpsched/conns.json"))["connections"].size() == 3);
    CHECK(inside("system/uname.txt").starts_with("Linux"));
    CHECK(inside("mpsched/settings.toml").contains("[default]"));
    // It is not overwritten, and can be had as it is.
    CHECK(fake({"bug-report", file}).exit_code == 1);
    const Outcome plain = fake({"bug-report", file + "2", "--unmasked", "--json=2"});
    const Json told = document(plain);
    mps::test::Schema schema(described(), true);
    for (const std::string &wrong : schema.check("bug-report", told))
        FAIL(wrong);
    CHECK(told["masked"] == false);
    CHECK(told["contents"].size() > 20);
    CHECK(mps::test::run({"tar", "-xzOf", file + "2", "mpsched-report/mpsched/conns.txt"})
              .out.contains("192.0.2.1"));
    std::filesystem::remove_all(folder);
}

TEST_CASE("trace refuses sizes and numbers that are none, and says what they look like", "[cli]") {
    for (const Words &words :
         {Words{"--max-size", "1"}, Words{"--max-size", "10Q"}, Words{"--max-size", "99999999999999999999"},
          Words{"--count", "x"}, Words{"--seconds", "1.5"}, Words{"--write", "/nonexistent/x"}}) {
        Words all{"trace", "--seconds", "0"};
        if (words[0] == "--seconds")
            all.resize(1);
        all.insert(all.end(), words.begin(), words.end());
        const Outcome outcome = fake(all);
        INFO(words[0] << " " << words[1] << outcome.err);
        CHECK(outcome.exit_code != 0);
        CHECK(outcome.out.empty());
        CHECK(outcome.err.contains("hint: "));
    }
}
