// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// The command line as a process: arguments, exit codes, streams, signals. What needs no loader is asked of the real program.
#include <csignal>
#include <string>
#include <vector>

#include <sys/wait.h>

#include "catch.hpp"
#include "fake_cli.hpp"

using mps::test::CallLog;
using mps::test::document;
using mps::test::fake;
using mps::test::FakeService;
using mps::test::Json;
using mps::test::Outcome;
using mps::test::RunOptions;
using mps::test::Words;

TEST_CASE("what was asked for reaches the loader as it was written", "[cli]") {
    const CallLog log;
    const RunOptions options{.environment = {log.setting()}};
    CHECK(fake({"attach", "wan0", "lte0", "--mode", "generic", "--netns", "client", "--force"}, options)
              .exit_code == 0);
    CHECK(fake({"attach", "wan0", "--policy", "./my.o"}, options).exit_code == 0);
    RunOptions other = options;
    other.environment.emplace_back("MPS_POLICY=weighted");
    CHECK(fake({"attach", "wan0"}, other).exit_code == 0);
    CHECK(fake({"use", "./my.o", "-s", "a=1", "-s", "b= 2", "--for", "mark=1,rport=2", "--new-only"}, options)
              .exit_code == 0);
    CHECK(fake({"set", "a=-1", "b=0x10", "--policy", "weighted"}, options).exit_code == 0);
    CHECK(fake({"probe", "--netns", "client"}, options).exit_code == 0);
    CHECK(fake({"path", "wan0", "weight=18446744073709551616"}, options).exit_code == 0);
    const std::string text = log.text();
    INFO(text);
    CHECK(text.contains(
        "open netns=[client]\nattach [\"wan0\", \"lte0\"] mode=generic policy=auto? force=true\nattached\n"));
    CHECK(text.contains("mode=auto policy=./my.o force=false\n"));
    CHECK(text.contains("mode=auto policy=weighted? force=false\n"));
    CHECK(text.contains("use [./my.o] [a]=[1] [b]=[ 2] for=[mark=1,rport=2] new_only=true\n"));
    CHECK(text.contains("set policy=[weighted] for=[none] slot=0 [a]=[-1] [b]=[0x10]\n"));
    CHECK(text.contains("probe netns=[client]\n"));
    CHECK(text.contains("path [wan0] [weight]=[18446744073709551616]\n"));
}

TEST_CASE("usage errors exit with 2, in both forms", "[cli]") {
    const std::vector<Words> cases{
        {"stauts"},
        {"status", "extra"},
        {"attach"},
        {"attach", "wan0", "--mode", "foo"},
        {"attach", "wan0", "--role", "foo"},
        {"attach", "wan0", "--mode"},
        {"policy"},
        {"policy", "lst"},
        {"use"},
        {"detach"},
        {"detach", "--all", "wan0"},
        {"use", "weighted", "-s", "quantum_ms"},
        {"use", "weighted", "-s", "=1"},
        {"use", "weighted", "-s", "a=1", "-s", "a=2"},
        {"set", "a=1", "a=1"},
        {"path", "weight=3"},
        {"unuse", "rport=1"},
        {"conns", "--policy", "nosuch"},
        {"policy", "show", "nosuch"},
        {"help", "nosuch"},
        {"--unknown"},
        {},
    };
    for (Words words : cases) {
        INFO((words.empty() ? "nothing" : words[0]));
        const Outcome people = fake(words);
        CHECK(people.exit_code == 2);
        CHECK(people.out.empty());
        INFO(people.err);
        CHECK(people.err.starts_with("mpsched: "));
        CHECK(people.err.contains("\n  hint: "));

        words.insert(words.begin(), "--json");
        const Outcome script = fake(words);
        CHECK(script.exit_code == 2);
        CHECK(script.err.empty());
        const Json error = document(script);
        CHECK(error["error"]["code"] == 2);
        CHECK_FALSE(error["error"]["what"].get<std::string>().empty());
        CHECK_FALSE(error["error"]["hint"].get<std::string>().empty());
    }
}

TEST_CASE("the real program answers what needs no kernel", "[cli]") {
    const Outcome version = mps::test::run({MPS_CLI, "--version"});
    CHECK(version.exit_code == 0);
    CHECK(version.out.starts_with("mpsched "));
    CHECK(version.out.contains("(ABI "));
    CHECK(document(mps::test::run({MPS_CLI, "--json", "version"})).contains("abi"));
    CHECK(mps::test::run({MPS_CLI}).exit_code == 2);
    CHECK(mps::test::run({MPS_CLI, "stauts"}).err.contains("did you mean 'status'"));
    CHECK(mps::test::run({MPS_CLI, "use", "--help"}).out.contains("SELECTOR"));
}

TEST_CASE("an unforeseen exception is an error like any other", "[cli]") {
    const RunOptions options{.environment = {"MPS_FAKE_THROW=1"}};
    const Outcome people = fake({"status"}, options);
    CHECK(people.exit_code == 1);
    CHECK(people.err.starts_with("mpsched: internal error: thrown\n  hint: "));
    CHECK(document(fake({"status", "--json"}, options))["error"]["code"] == 1);
}

TEST_CASE("nothing from outside reaches the terminal raw", "[cli]") {
    for (const Words &words : std::vector<Words>{{"attach", "a\x1b[31m\nb"},
                                                 {"use", "a\x1b[2Jb"},
                                                 {"use", "weighted", "--for", "\x1b]0;x\x07"},
                                                 {"policy", "show", "\x1b[5m"},
                                                 {"policy", "unload", "\x1b[5m"},
                                                 {"unuse", "\x1b[5m"},
                                                 {"path", "\x1b[5m"}}) {
        const Outcome outcome = fake(words);
        CHECK_FALSE(outcome.out.contains('\x1b'));
        CHECK_FALSE(outcome.err.contains('\x1b'));
        CHECK_FALSE(outcome.out.contains('\x07'));
    }
    // Not UTF-8 in a JSON document.
    CHECK(document(fake({"attach", "\xff", "--json"})).contains("interfaces"));
    const RunOptions hostile{.environment = {"MPS_FAKE_ERROR=1|a\x1b[31mb|c\rd|e\x1b[0m"}};
    CHECK_FALSE(fake({"status"}, hostile).err.contains('\x1b'));
}

TEST_CASE("an absent kernel feature is exit code 3 with the whole report", "[cli]") {
    const RunOptions options{.environment = {"MPS_FAKE_EMPTY=1"}};
    const Outcome people = fake({"probe"}, options);
    CHECK(people.exit_code == 3);
    CHECK(people.out.contains("missing"));
    CHECK(people.out.contains("hint: use a kernel with CONFIG_MPTCP"));
    CHECK(people.err.contains("mpsched cannot work here, this is missing: Multipath TCP"));
    const Outcome script = fake({"probe", "--json"}, options);
    CHECK(script.exit_code == 3);
    CHECK(document(script)["usable"] == false);
    CHECK(script.err.empty());
}

TEST_CASE("nothing installed is an answer, not an error", "[cli]") {
    const RunOptions options{.environment = {"MPS_FAKE_EMPTY=1"}};
    CHECK(fake({"status"}, options).out.contains("mpsched attach IFACE"));
    CHECK(document(fake({"status", "--json"}, options))["interfaces"] == Json::array());
    CHECK(document(fake({"conns", "--json"}, options)) == Json::array());
}

TEST_CASE("a policy chosen while no interface is attached comes with a warning", "[cli]") {
    const RunOptions options{.environment = {"MPS_FAKE_EMPTY=1"}};
    const Outcome people = fake({"use", "weighted"}, options);
    CHECK(people.exit_code == 0);
    CHECK(people.err.contains("mpsched: warning: no interface is attached"));
    CHECK(document(fake({"use", "weighted", "--json"}, options))["warnings"].size() == 1);
    CHECK(fake({"use", "weighted"}).err.empty());
}

TEST_CASE("status tells of mpschedd where one runs, and reload says where none does", "[cli]") {
    const Outcome none = fake({"reload"});
    CHECK(none.exit_code == 1);
    CHECK(none.err.contains("no mpschedd runs"));
    CHECK_FALSE(document(fake({"status", "--json"})).contains("service"));
    const FakeService service;
    CHECK(fake({"status"}).out.contains("mpschedd  process 9, revision abc"));
    CHECK(document(fake({"status", "--json"}))["service"]["revision"] == "abc");
    CHECK(fake({"reload"}).out.contains("rule rport=1    waits"));
    CHECK(fake({"web"}).out == "http://127.0.0.1:9465/#0123\n");
}

TEST_CASE("zero counters are hidden unless asked for", "[cli]") {
    CHECK_FALSE(fake({"stats"}).out.contains("malformed"));
    CHECK(fake({"stats", "--all"}).out.contains("malformed"));
    CHECK(fake({"stats"}).out.contains("1 234 567"));
}

TEST_CASE("status tells problems and how to repair them", "[cli]") {
    const std::string text = fake({"status"}).out;
    CHECK(text.contains("problems\n  lte0: program replaced by another one\n"));
    CHECK(text.contains("mpsched doctor"));
}

TEST_CASE("verbose goes to standard error and leaves the document alone", "[cli]") {
    const Outcome outcome = fake({"status", "--json", "-v"});
    CHECK(outcome.err == "libbpf: open netns=[]\n");
    CHECK(document(outcome).contains("interfaces"));
}

TEST_CASE("a reader that goes away is no trouble, a full disk is", "[cli]") {
    const CallLog log;
    const Outcome gone =
        fake({"attach", "wan0"}, {.environment = {log.setting()}, .output = RunOptions::Output::broken_pipe});
    CHECK(gone.exit_code == 0);
    CHECK(gone.signal == 0);
    CHECK_FALSE(gone.err.contains("cannot write"));
    CHECK(log.text().contains("attached"));
    const Outcome full = fake({"status"}, {.output = RunOptions::Output::full_device});
    CHECK(full.exit_code == 1);
    CHECK(full.err.contains("cannot write to standard output"));
    CHECK(fake({"status", "--json"}, {.output = RunOptions::Output::full_device}).exit_code == 1);
    CHECK(fake({"status"}, {.output = RunOptions::Output::closed}).exit_code == 0);
}

TEST_CASE("a signal during a change lets it finish and be reported, then ends the process", "[cli]") {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        const CallLog log;
        bool sent = false;
        const Outcome outcome =
            fake({"attach", "wan0", "--json"}, {.environment = {log.setting(), "MPS_FAKE_HOLD=300"},
                                                .on_error_output = [&](pid_t child, const std::string &) {
                                                    if (!sent)
                                                        kill(child, signal);
                                                    sent = true;
                                                }});
        REQUIRE(sent);
        CHECK(outcome.signal == signal);
        CHECK(log.text().contains("attached"));
        CHECK(document(outcome)["interfaces"][0]["name"] == "wan0");
    }
}

TEST_CASE("a second signal ends a change at once", "[cli]") {
    const CallLog log;
    bool sent = false;
    const auto lives = [](pid_t child) {
        siginfo_t info{};
        return waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
               info.si_pid == 0;
    };
    const Outcome outcome =
        fake({"attach", "wan0"}, {.environment = {log.setting(), "MPS_FAKE_HOLD=5000"},
                                  .on_error_output = [&](pid_t child, const std::string &) {
                                      // On a busy machine two that follow each other closely are one.
                                      for (int i = 0; !sent && i < 40 && lives(child); i++) {
                                          kill(child, SIGINT);
                                          usleep(100'000);
                                      }
                                      sent = true;
                                  }});
    CHECK(outcome.signal == SIGINT);
    CHECK(outcome.out.empty());
    CHECK_FALSE(log.text().contains("attached"));
}
