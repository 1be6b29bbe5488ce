// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// The command line as a process: documents, exit codes, streams, signals. Mostly with the fake loader,
// which needs no rights; what needs no loader is asked of the real program.

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catch.hpp"
#include "config/keys.hpp"
#include "output/bounded_file.hpp"
#include "output/redraw.hpp"
#include "process.hpp"
#include "schema.hpp"
#include "table/command_table.hpp"

namespace {

using Json = nlohmann::json;
using Words = std::vector<std::string>;
using mps::test::Outcome;
using mps::test::RunOptions;

Outcome fake(Words words, const RunOptions &options = {}) {
    words.insert(words.begin(), MPS_FAKE_CLI);
    return mps::test::run(words, options);
}

// What `reload` and `status` talk to, at the place where an mpschedd for the fake loader's network namespace would be.
class FakeService {
  public:
    FakeService() {
        ::setenv("MPS_RUN_DIR", folder_.c_str(), 1);
        ::setenv("MPS_CONFIG", (folder_ + "/mpsched.toml").c_str(), 1);
        ::setenv("EDITOR", "true", 1);
        ::unsetenv("VISUAL");
        std::ofstream(folder_ + "/mpsched.toml") << mps::config::example();
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        (folder_ + "/7.sock").copy(address.sun_path, sizeof address.sun_path - 1);
        socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        REQUIRE(::bind(socket_, reinterpret_cast<const sockaddr *>(&address), sizeof address) == 0);
        REQUIRE(::listen(socket_, 8) == 0);
        thread_ = std::thread([this] { serve(); });
    }
    ~FakeService() {
        ::shutdown(socket_, SHUT_RDWR);
        thread_.join();
        ::close(socket_);
        std::filesystem::remove_all(folder_);
        for (const char *name : {"MPS_RUN_DIR", "MPS_CONFIG", "EDITOR"})
            ::unsetenv(name);
    }
    FakeService(const FakeService &) = delete;
    FakeService &operator=(const FakeService &) = delete;

  private:
    static std::string make_folder() {
        std::string name = (std::filesystem::temp_directory_path() / "mpsched-cli-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        return name;
    }
    void serve() const {
        constexpr std::string_view answer =
            R"({"pid": 9, "file": "/etc/x.toml", "revision": "abc", "files": ["/etc/x.toml"], "objects": [)"
            R"({"object": "interface wan0", "state": "in force"},)"
            R"({"object": "rule rport=1", "state": "waits", "why": "no"}]})";
        constexpr std::string_view page = R"({"url": "http://127.0.0.1:9465/#0123"})";
        for (int client = 0; (client = ::accept(socket_, nullptr, nullptr)) >= 0; ::close(client)) {
            char request[256];
            const ssize_t got = ::read(client, request, sizeof request);
            const std::string_view asked(request, static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
            const std::string_view said = asked.contains("\"web\"") ? page : answer;
            if (got > 0 && ::write(client, said.data(), said.size()) < 0)
                std::perror("answering");
        }
    }

    std::string folder_ = make_folder();
    int socket_ = -1;
    std::thread thread_;
};

// Exactly one document, or the test fails.
Json document(const Outcome &outcome) {
    INFO("stdout: " << outcome.out);
    INFO("stderr: " << outcome.err);
    const Json parsed = Json::parse(outcome.out, nullptr, false);
    REQUIRE_FALSE(parsed.is_discarded());
    CHECK(outcome.out.ends_with('\n'));
    return parsed;
}

// A file for the fake loader's calls.
class CallLog {
  public:
    CallLog() : path_(std::filesystem::temp_directory_path() / ("mpsched-cli-" + std::to_string(getpid()))) {
        std::filesystem::remove(path_);
    }
    ~CallLog() { std::filesystem::remove(path_); }
    CallLog(const CallLog &) = delete;
    CallLog &operator=(const CallLog &) = delete;

    [[nodiscard]] std::string setting() const { return "MPS_FAKE_LOG=" + path_.string(); }
    [[nodiscard]] std::string text() const {
        std::ifstream file(path_);
        return {std::istreambuf_iterator<char>(file), {}};
    }

  private:
    std::filesystem::path path_;
};

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
// It has a test of its own: each time it makes another file.
bool makes_a_file(const mps::table::Command &command) { return command.verb == "bug-report"; }

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
        CHECK((becomes_another_program(command) || makes_a_file(command) ||
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
    std::ifstream file(MPS_JSON_SCHEMA);
    REQUIRE(file);
    mps::test::Schema schema(Json::parse(file), false);
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
    std::ifstream file(MPS_JSON_SCHEMA);
    REQUIRE(file);
    // Not strict: who adds a member must not be kept from it here, only the real documents are to be described whole.
    mps::test::Schema schema(Json::parse(file), false);
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
                                         words[0] == "cc" || words[0] == "app"
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
        CHECK((becomes_another_program(command) || makes_a_file(command) || seen.contains(command.name())));
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

TEST_CASE("an error of the library is two lines for people and one document for scripts", "[cli]") {
    const FakeService service;
    for (const int code : {1, 2, 3, 4}) {
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
                                             {"kind", code == 2 ? "usage" : "failed"},
                                             {"detail", {"R1 invalid", "R2 too"}}}}});
        }
    }
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

    std::ifstream file(MPS_JSON_SCHEMA);
    Json schema_json = Json::parse(file);
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
    std::ifstream capture(any, std::ios::binary);
    const std::string octets{std::istreambuf_iterator<char>(capture), {}};
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

    std::ifstream file(MPS_JSON_SCHEMA);
    Json schema_json = Json::parse(file);
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
    std::ifstream in(path);
    const std::string content{std::istreambuf_iterator<char>(in), {}};
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
    std::ifstream in(path);
    const std::string content{std::istreambuf_iterator<char>(in), {}};
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

    std::ifstream file(MPS_JSON_SCHEMA);
    const Json schema = Json::parse(file);
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
    std::ifstream described(MPS_JSON_SCHEMA);
    mps::test::Schema schema(Json::parse(described), true);
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
