// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// From words to commands, without running them.

#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "cli/parser.hpp"
#include "commands/commands.hpp"
#include "table/command_table.hpp"

namespace {

using Words = std::vector<std::string>;
using Given = std::map<std::string, Words>;

struct GoodCase {
    std::string name;
    Words words;
    std::string command;
    Given given;
};

struct BadCase {
    std::string name;
    Words words;
    std::string what; // part of the error's first line
    std::string hint; // part of its second
};

std::string line_of(const Words &words) {
    std::string line = "mpsched";
    for (const std::string &word : words)
        line += " [" + word + "]";
    return line;
}

} // namespace

TEST_CASE("command lines that are right", "[cli]") {
    const std::vector<GoodCase> cases{
        {"a query", {"status"}, "status", {}},
        {"several interfaces", {"attach", "wan0", "lte0"}, "attach", {{"IFACE", {"wan0", "lte0"}}}},
        {"an option between arguments",
         {"attach", "wan0", "--mode", "tc", "lte0", "--force"},
         "attach",
         {{"IFACE", {"wan0", "lte0"}}, {"--mode", {"tc"}}, {"--force", {"true"}}}},
        {"a number in its own words",
         {"attach", "wan0", "--max-connections", "64Ki"},
         "attach",
         {{"IFACE", {"wan0"}}, {"--max-connections", {"64Ki"}}}},
        {"an option with =",
         {"attach", "wan0", "--mode=native"},
         "attach",
         {{"IFACE", {"wan0"}}, {"--mode", {"native"}}}},
        {"a sub-verb", {"policy", "show", "weighted"}, "policy show", {{"POLICY", {"weighted"}}}},
        {"a policy named like a verb", {"use", "status"}, "use", {{"POLICY", {"status"}}}},
        {"an interface named like a verb",
         {"attach", "status", "use"},
         "attach",
         {{"IFACE", {"status", "use"}}}},
        {"a policy named like a sub-verb", {"policy", "show", "list"}, "policy show", {{"POLICY", {"list"}}}},
        {"-s takes one word, also before the policy",
         {"use", "-s", "a=1", "weighted", "-s", "b=2"},
         "use",
         {{"POLICY", {"weighted"}}, {"--set", {"a=1", "b=2"}}}},
        {"-s without a blank",
         {"use", "weighted", "-sa=1"},
         "use",
         {{"POLICY", {"weighted"}}, {"--set", {"a=1"}}}},
        {"negative and odd values",
         {"set", "a=-1", "b=", "c=0x10", "d==", "e={}"},
         "set",
         {{"key=value", {"a=-1", "b=", "c=0x10", "d==", "e={}"}}}},
        {"a selector",
         {"use", "weighted", "--for", "remote=[2001:db8::/32]:443,mark=0x1/0xff", "--new-only"},
         "use",
         {{"POLICY", {"weighted"}},
          {"--for", {"remote=[2001:db8::/32]:443,mark=0x1/0xff"}},
          {"--new-only", {"true"}}}},
        {"an empty selector is passed on",
         {"use", "weighted", "--for", ""},
         "use",
         {{"POLICY", {"weighted"}}, {"--for", {""}}}},
        {"path without anything", {"path"}, "path", {}},
        {"path with an interface", {"path", "wan0"}, "path", {{"IFACE", {"wan0"}}}},
        {"path with settings",
         {"path", "wan0", "weight=3", "cost=2"},
         "path",
         {{"IFACE", {"wan0"}}, {"key=value", {"weight=3", "cost=2"}}}},
        {"rule add",
         {"rule", "add", "wan0", "in", "mp_join", "neutralise", "rport=443", "--position", "2"},
         "rule add",
         {{"IFACE", {"wan0"}},
          {"DIRECTION", {"in"}},
          {"OPTION", {"mp_join"}},
          {"ACTION", {"neutralise"}},
          {"key=value", {"rport=443"}},
          {"--position", {"2"}}}},
        {"cc use",
         {"cc", "use", "lia", "--for", "rport=443", "--plain-tcp"},
         "cc use",
         {{"NAME", {"lia"}}, {"--for", {"rport=443"}}, {"--plain-tcp", {"true"}}}},
        {"cc unload that waits",
         {"cc", "unload", "lia", "olia", "--drain=60"},
         "cc unload",
         {{"NAME", {"lia", "olia"}}, {"--drain", {"60"}}}},
        {"spread on with a map",
         {"spread", "on", "eth0", "eth1", "--map", "x.map", "--no-move"},
         "spread on",
         {{"IFACE", {"eth0", "eth1"}}, {"--map", {"x.map"}}, {"--no-move", {"true"}}}},
        {"spread probe",
         {"spread", "probe", "2001:db8::2", "--from", "2001:db8::1", "--by", "port", "--port", "5001"},
         "spread probe",
         {{"ADDRESS", {"2001:db8::2"}},
          {"--from", {"2001:db8::1"}},
          {"--by", {"port"}},
          {"--port", {"5001"}}}},
        {"app attach",
         {"app", "attach", "--cgroup", "user.slice", "--allow-policy", "weighted", "--allow-policy", "ecf",
          "--max-cost", "5"},
         "app attach",
         {{"--cgroup", {"user.slice"}}, {"--allow-policy", {"weighted", "ecf"}}, {"--max-cost", {"5"}}}},
        {"proxy start",
         {"proxy", "start", "--lan", "lan0", "--lan", "lan1", "--port", "443", "--foreground"},
         "proxy start",
         {{"--lan", {"lan0", "lan1"}}, {"--port", {"443"}}, {"--foreground", {"true"}}}},
        {"rule del", {"rule", "del", "1", "3"}, "rule del", {{"NUMBER", {"1", "3"}}}},
        {"detach all", {"detach", "--all"}, "detach", {{"--all", {"true"}}}},
        {"an interface that looks like an option", {"attach", "--", "-x"}, "attach", {{"IFACE", {"-x"}}}},
        {"help of nothing", {"help"}, "help", {}},
        {"help of a sub-verb", {"help", "policy", "show"}, "help", {{"COMMAND", {"policy", "show"}}}},
        {"--help in front", {"--help"}, "help", {}},
        {"--help of a verb that lacks its argument", {"use", "--help"}, "help", {{"COMMAND", {"use"}}}},
        {"-h of a sub-verb", {"policy", "show", "-h"}, "help", {{"COMMAND", {"policy", "show"}}}},
        {"-h of a verb with sub-verbs", {"policy", "-h"}, "help", {{"COMMAND", {"policy"}}}},
        {"--version", {"--version"}, "version", {}},
        {"--version wins over a verb", {"status", "--version"}, "version", {}},
    };
    for (const GoodCase &one : cases) {
        INFO(one.name << ": " << line_of(one.words));
        const auto parsed = mps::cli::parse(one.words);
        if (!parsed)
            FAIL(parsed.error().what);
        CHECK(parsed->command->name() == one.command);
        CHECK(parsed->given == one.given);
        CHECK(static_cast<bool>(parsed->run));
    }
}

TEST_CASE("global options are accepted anywhere on the line", "[cli]") {
    const std::vector<Words> lines{
        {"status"},
        {"attach", "wan0", "lte0"},
        {"attach", "wan0", "--mode", "tc"},
        {"policy", "list"},
        {"policy", "show", "weighted"},
        {"use", "weighted", "-s", "a=1", "--for", "rport=1", "--new-only"},
        {"set", "a=1"},
        {"path", "wan0", "weight=1"},
        {"path"},
        {"detach", "--all"},
        {"help", "use"},
    };
    const std::vector<Words> globals{
        {"--json"}, {"--netns", "client"}, {"--netns=client"}, {"-v"}, {"--verbose"}};
    for (const Words &line : lines) {
        for (const Words &global : globals) {
            for (std::size_t at = 0; at <= line.size(); at++) {
                // Not between an option and its value.
                if (at > 0 && (line[at - 1] == "--mode" || line[at - 1] == "-s" || line[at - 1] == "--for"))
                    continue;
                Words words = line;
                words.insert(words.begin() + static_cast<std::ptrdiff_t>(at), global.begin(), global.end());
                INFO(line_of(words));
                const auto parsed = mps::cli::parse(words);
                if (!parsed)
                    FAIL(parsed.error().what);
                CHECK(parsed->globals.json == (global[0] == "--json"));
                CHECK(parsed->globals.verbose == (global[0] == "-v" || global[0] == "--verbose"));
                CHECK(parsed->globals.netns == (global[0].starts_with("--netns") ? "client" : ""));
                // And the rest means what it meant without.
                Given given = parsed->given;
                for (const char *name : {"--json", "--netns", "--verbose"})
                    given.erase(name);
                const auto plain = mps::cli::parse(line);
                REQUIRE(plain);
                CHECK(parsed->command == plain->command);
                CHECK(given == plain->given);
            }
        }
    }
}

TEST_CASE("command lines that are wrong", "[cli]") {
    const std::string long_word(5000, 'x');
    const std::vector<BadCase> cases{
        {"nothing", {}, "no command given", "status, conns"},
        {"only options", {"--json"}, "no command given", "status, conns"},
        {"an unknown verb", {"stauts"}, "unknown command 'stauts'", "did you mean 'status'"},
        {"a prefix", {"det"}, "unknown command 'det'", "did you mean 'detach'"},
        {"a verb nobody could mean", {"frobnicate"}, "unknown command 'frobnicate'", "commands: status"},
        {"a sub-verb alone", {"unload", "x"}, "unknown command 'unload'", "did you mean 'policy unload'"},
        {"a verb in capitals", {"STATUS"}, "unknown command 'STATUS'", "status"},
        {"an empty verb", {""}, "unknown command ''", "commands"},
        {"a very long verb", {long_word}, "(5000 bytes)", "commands"},
        {"a verb with control characters", {"st\x1b[31m\n"}, "unknown command 'st\\x1b[31m\\n'", "commands"},
        {"a verb that is not UTF-8", {"\xff\xfe"}, "unknown command '\\xff\\xfe'", "commands"},
        {"policy alone", {"policy"}, "'policy' alone is no command", "list, show, build, load, unload"},
        {"an unknown sub-verb",
         {"policy", "lst"},
         "unknown command 'policy lst'",
         "did you mean 'policy list'"},
        {"a missing argument", {"use"}, "'use' needs POLICY", "usage: mpsched use POLICY"},
        {"an argument too many",
         {"status", "wan0"},
         "unexpected argument 'wan0' of 'status'",
         "usage: mpsched status"},
        {"two policies", {"use", "a", "b"}, "unexpected argument 'b' of 'use'", "usage: mpsched use"},
        {"two verbs", {"status", "conns"}, "unexpected argument 'conns' of 'status'", "usage"},
        {"an unknown option",
         {"attach", "wan0", "--mdoe", "tc"},
         "unknown option '--mdoe' of 'attach'",
         "did you mean '--mode'"},
        {"an unknown option with =",
         {"attach", "wan0", "--mdoe=tc"},
         "unknown option '--mdoe=tc' of 'attach'",
         "did you mean '--mode'"},
        {"an unknown option without a verb", {"--jsn"}, "unknown option '--jsn'", "did you mean '--json'"},
        {"an option of another command",
         {"status", "--all"},
         "unknown option '--all' of 'status'",
         "there is 'mpsched stats --all' and 'mpsched detach --all' and 'mpsched unuse --all' and 'mpsched rule del --all' and 'mpsched cc unuse --all' and 'mpsched spread off --all' and 'mpsched app detach --all'; 'status' has no options of its own"},
        {"a command that other tools have", {"monitor"}, "unknown command 'monitor'", "'top' shows"},
        {"another one", {"log"}, "unknown command 'log'", "'trace' tells"},
        {"a service", {"daemon"}, "unknown command 'daemon'", "mpschedd is the service"},
        {"an option before its command",
         {"--all", "stats"},
         "option '--all' stands before its command",
         "after 'stats'"},
        {"an unknown short option", {"status", "-x"}, "unknown option '-x' of 'status'", "--json"},
        {"a number like an option", {"-5"}, "unknown option '-5'", "--json"},
        {"a value that is not allowed",
         {"attach", "wan0", "--mode", "xdp"},
         "option '--mode' of 'attach' cannot be 'xdp'",
         "auto, native, generic, tc"},
        {"a value nearly allowed",
         {"attach", "wan0", "--mode", "natve"},
         "cannot be 'natve'",
         "did you mean 'native'"},
        {"an empty value",
         {"attach", "wan0", "--mode", ""},
         "option '--mode' of 'attach' cannot be ''",
         "auto"},
        {"an option without its value",
         {"attach", "wan0", "--mode"},
         "option '--mode' needs a value MODE",
         "auto"},
        {"a global option without its value",
         {"status", "--netns"},
         "option '--netns' needs a value NAME",
         "namespace"},
        {"an option where a value is due",
         {"--netns", "--json", "status"},
         "needs a value NAME, not '--json'",
         "namespace"},
        {"an empty value with =", {"--netns=", "status"}, "option '--netns=' has an empty value", "value"},
        {"an empty network namespace",
         {"--netns", "", "status"},
         "option '--netns' has an empty value",
         "NAME"},
        {"an option twice",
         {"attach", "wan0", "--mode", "tc", "--mode", "tc"},
         "option '--mode' was given 2 times",
         "once"},
        {"a global option twice",
         {"--netns", "a", "status", "--netns", "b"},
         "option '--netns' was given 2 times",
         "once"},
        {"a flag with a value",
         {"status", "--verbose=yes"},
         "option '--verbose' takes no value",
         "--verbose"},
        {"a form of JSON that there is not",
         {"status", "--json=3"},
         "option '--json' cannot be '3'",
         "1 (as without"},
        {"a flag of a command with a value", {"stats", "--all=1"}, "option '--all' takes no value", "--all"},
        {"--help with an unknown option", {"status", "--help", "--foo"}, "unknown option '--foo'", "--json"},
    };
    for (const BadCase &one : cases) {
        INFO(one.name << ": " << line_of(one.words).substr(0, 200));
        const auto parsed = mps::cli::parse(one.words);
        REQUIRE_FALSE(parsed);
        INFO("what: " << parsed.error().what);
        INFO("hint: " << parsed.error().hint);
        CHECK(parsed.error().code == mps::ErrorCode::usage);
        CHECK(parsed.error().what.contains(one.what));
        CHECK(parsed.error().hint.contains(one.hint));
        CHECK_FALSE(parsed.error().hint.empty());
        for (const std::string &text : {parsed.error().what, parsed.error().hint}) {
            CHECK_FALSE(text.contains('\n'));
            CHECK_FALSE(text.contains('\x1b'));
            CHECK(text.size() < 600);
        }
    }
}

TEST_CASE("flags may be repeated", "[cli]") {
    const auto parsed = mps::cli::parse({"--json", "status", "--json", "-v", "-v"});
    REQUIRE(parsed);
    CHECK(parsed->globals.json);
    CHECK(parsed->globals.verbose);
}

TEST_CASE("every command of the table can be called with the least it needs", "[cli]") {
    for (const mps::table::Command &command : mps::table::commands()) {
        Words words{std::string(command.verb)};
        if (!command.sub_verb.empty())
            words.emplace_back(command.sub_verb);
        for (const mps::table::Argument &argument : command.arguments)
            if (argument.required)
                words.emplace_back("x=1");
        INFO(line_of(words));
        const auto parsed = mps::cli::parse(words);
        if (!parsed)
            FAIL(parsed.error().what);
        CHECK(parsed->command == &command);
    }
    CHECK(std::size(mps::cli::command_codes) == mps::table::commands().size());
}

TEST_CASE("every example of the table is a right command line", "[cli]") {
    const auto check = [](std::string_view line) {
        Words words;
        std::string word;
        for (const char c : std::string(line) + " ") {
            if (c != ' ') {
                word += c;
            } else if (!word.empty()) {
                words.push_back(word);
                word.clear();
            }
        }
        INFO(line);
        const auto parsed = mps::cli::parse(words);
        if (!parsed)
            FAIL(parsed.error().what);
    };
    for (const mps::table::Example &example : mps::table::examples())
        check(example.line);
    for (const mps::table::Command &command : mps::table::commands()) {
        INFO(command.name());
        CHECK_FALSE(command.examples.empty());
        for (const mps::table::Example &example : command.examples)
            check(example.line);
    }
}
