// SPDX-License-Identifier: MIT
//
// `mpsched run`: whose sockets become MPTCP's, by what the kernel says of the socket and by the peer's counters, and that a command runs
// under it as it would without.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include <netinet/in.h>
#include <unistd.h>

#include <fmt/format.h>
#include <mpsched/lab/counters.hpp>
#include <mpsched/lab/netns.hpp>

#include "traffic.hpp"

using namespace mps;
using mps::e2e::Json;
namespace fs = std::filesystem;
using mps::e2e::must;
using namespace std::chrono_literals;

namespace {

const std::string program = MPS_RUN_PROGRAM;

std::vector<std::string> under_run(const std::vector<std::string> &command, const std::string &way = "auto") {
    std::vector<std::string> words{e2e::Cli::default_binary(), "run", "--way", way, "--"};
    words.insert(words.end(), command.begin(), command.end());
    return words;
}

lab::ProcessResult run(const lab::Namespace &ns, const std::vector<std::string> &command,
                       const std::string &way = "auto") {
    return must(ns.spawn(under_run(command, way)));
}

/// Those that this kernel has.
const std::vector<std::string> &ways() {
    static const std::vector<std::string> all = [] {
        std::vector<std::string> found{"seccomp"};
        const auto probed = must(lab::run_process({e2e::Cli::default_binary(), "probe", "--json"}));
        for (const Json parsed = Json::parse(probed.out); const Json &feature : parsed.at("features"))
            if (feature.at("name") == "fmod_ret" && feature.at("answer") == "available")
                found.push_back("fmod_ret");
        return found;
    }();
    return all;
}

/// What the command and its supervisor wrote, when both have ended.
std::string all_output(const lab::Namespace &ns, const std::vector<std::string> &command,
                       const std::string &way = "auto") {
    std::vector<std::string> words{"sh", "-c", "\"$@\" 2>&1 | cat", "sh"};
    const auto more = under_run(command, way);
    words.insert(words.end(), more.begin(), more.end());
    return must(ns.spawn(words)).out;
}

lab::Namespace make_namespace(bool mptcp = true) {
    auto ns = must(lab::Namespace::create("run"));
    must(ns.set_sysctl("mptcp/enabled", mptcp ? "1" : "0"));
    return ns;
}

// Processes whose name is that of supervisors, started by this test: they are in its namespace.
std::vector<pid_t> supervisors(const lab::Namespace &ns) {
    std::vector<pid_t> found;
    const auto listed = must(lab::run_process({"ip", "netns", "pids", ns.name()}));
    std::istringstream lines(listed.out);
    for (pid_t pid = 0; lines >> pid;) {
        std::string name;
        std::getline(std::ifstream(fmt::format("/proc/{}/comm", pid)), name);
        if (name == "mpsched-run")
            found.push_back(pid);
    }
    return found;
}

// They end a moment after the last process that they answer for.
bool supervisors_end(const lab::Namespace &ns) {
    for (int i = 0; i < 100 && !supervisors(ns).empty(); i++)
        std::this_thread::sleep_for(50ms);
    return supervisors(ns).empty();
}

/// Established ends of connections in that namespace: both of one over loopback.
int connections(const lab::Namespace &ns) {
    const auto listed = must(ns.spawn({"cat", "/proc/thread-self/net/tcp"}));
    std::istringstream lines(listed.out);
    int count = 0;
    std::string line;
    for (std::getline(lines, line); std::getline(lines, line);) {
        std::istringstream words(line);
        std::string number, local, remote, state;
        words >> number >> local >> remote >> state;
        count += state == "01";
    }
    return count;
}

std::string output_of(const lab::Namespace &ns, const std::vector<std::string> &command,
                      const std::string &way = "auto") {
    const auto result = run(ns, command, way);
    INFO(result.err);
    CHECK(result.exit_code == 0);
    return result.out;
}

} // namespace

TEST_CASE("sockets of a static program are MPTCP's, with the flags it asked for, in both families") {
    const auto ns = make_namespace();
    for (const std::string &way : ways()) {
        INFO(way);
        CHECK(output_of(ns, {program, "one"}, way) == "262 0 1 1\n");
        CHECK(output_of(ns, {program, "one", "6"}, way) == "262 0 1 1\n");
        // Whatever starts it, and however far below.
        CHECK(all_output(ns, {"sh", "-c", fmt::format("{0} one & wait; ({0} one); exec {0} one", program)},
                         way) == "262 0 1 1\n262 0 1 1\n262 0 1 1\nmpsched run: 3 sockets became MPTCP\n");
        CHECK(must(ns.spawn({program, "one"})).out == "6 0 1 1\n"); // as it is without
        CHECK(supervisors_end(ns));
    }
}

TEST_CASE("a client and a server in python speak MPTCP, by the counters of the kernel") {
    const auto ns = make_namespace();
    const std::string script = "import socket, threading\n"
                               "s = socket.create_server(('127.0.0.1', 0))\n"
                               "def serve():\n"
                               "    c, _ = s.accept(); c.sendall(c.recv(9)); c.close()\n"
                               "threading.Thread(target=serve).start()\n"
                               "c = socket.create_connection(s.getsockname())\n"
                               "c.sendall(b'something'); print(c.recv(9, socket.MSG_WAITALL).decode())\n";
    const auto before = must(lab::read_counters(ns));
    CHECK(all_output(ns, {"python3", "-c", script}) == "something\nmpsched run: 2 sockets became MPTCP\n");
    const auto counted = must(lab::read_counters(ns)) - before;
    CHECK(must(counted.get("MPTcpExtMPCapableSYNRX")) == 1);
    CHECK(must(counted.get("MPTcpExtMPCapableACKRX")) == 1);
}

TEST_CASE("exit status, signals, process number and group are the command's own") {
    const auto ns = make_namespace();
    CHECK(run(ns, {"sh", "-c", "exit 7"}).exit_code == 7);
    CHECK(run(ns, {"sh", "-c", "kill -TERM $$"}).signal == SIGTERM);
    CHECK(run(ns, {"/nonexistent/command"}).exit_code == 127);
    CHECK(run(ns, {"/dev"}).exit_code == 126);

    auto process = must(ns.start(under_run({"sh", "-c",
                                            "echo $$; ps -o pgid= -p $$; trap 'echo caught; exit 3' USR1; "
                                            "while :; do sleep .05; done"})));
    // Until the shell catches it: mpsched takes its time on a busy machine.
    REQUIRE(e2e::wait_until(
                [&] {
                    std::ifstream status(fmt::format("/proc/{}/status", process.pid()));
                    for (std::string word; status >> word;)
                        if (word == "SigCgt:" && status >> word)
                            return (std::stoull(word, nullptr, 16) >> (SIGUSR1 - 1) & 1) != 0;
                    return false;
                },
                30s) >= 0);
    must(process.signal(SIGUSR1));
    const auto result = must(process.wait(5s));
    CHECK(result.exit_code == 3);
    std::istringstream lines(result.out);
    pid_t own = 0, group = 0;
    std::string caught;
    lines >> own >> group >> caught;
    CHECK(own == process.pid());
    CHECK(group == process.pid());
    CHECK(caught == "caught");

    // It has no child that it did not start itself.
    CHECK(run(ns, {"sh", "-c", "ps -o comm= --ppid $$ | grep -cv '^ps$\\|^grep$'"}).out == "0\n");
}

TEST_CASE("what MPTCP cannot do stays TCP, and is counted") {
    for (const std::string &way : ways()) {
        INFO(way);
        const auto off = make_namespace(false);
        CHECK(
            all_output(off, {program, "one"}, way) ==
            "6 0 1 1\nmpsched run: 0 sockets became MPTCP; 1 stayed TCP: 1 the kernel refused MPTCP, see 'mpsched doctor'\n");

        // A listener stays bound and listening when a signature takes it back to TCP.
        const auto ns = make_namespace();
        CHECK(all_output(ns, {program, "signed"}, way) ==
              "262 6 0 1790 1 1\nmpsched run: 1 socket became MPTCP; 1 stayed TCP: 1 "
              "with an option that MPTCP does not have\n");

        const std::string without =
            must(ns.spawn({"sh", "-c", fmt::format("ulimit -n 20; {} refused", program)})).out;
        CHECK(output_of(ns, {"sh", "-c", fmt::format("ulimit -n 20; {} refused", program)}, way) == without);
        CHECK(without.ends_with(fmt::format("{}\n", EMFILE)));
    }
}

TEST_CASE("a user without rights has it as well, and sockets belong to who asked for them") {
    const auto ns = make_namespace();
    const std::vector<std::string> as_nobody{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"};
    auto inside = as_nobody;
    inside.insert(inside.end(), {program, "one"});
    CHECK(output_of(ns, inside) == "262 65534 1 1\n");

    auto outside = as_nobody;
    const auto command = under_run({program, "one"});
    outside.insert(outside.end(), command.begin(), command.end());
    const auto result = must(ns.spawn(outside));
    INFO(result.err);
    CHECK(result.out == "262 65534 1 1\n");
}

TEST_CASE("sockets of a process in another network namespace are of that one") {
    for (const std::string &way : ways()) {
        INFO(way);
        const auto ns = make_namespace(), other = make_namespace(false);
        const std::vector<std::string> inside{"nsenter", fmt::format("--net=/run/netns/{}", other.name()),
                                              program, "one"};
        // Where MPTCP is switched off the kernel refuses; in the namespace of the supervisor it would not.
        CHECK(output_of(ns, inside, way) == "6 0 1 1\n");
        must(other.set_sysctl("mptcp/enabled", "1"));
        CHECK(output_of(ns, inside, way) == "262 0 1 1\n");
    }
}

TEST_CASE("the kernel makes the sockets where it can, else a process does, and which is told") {
    const auto ns = make_namespace();
    const auto told = [&](const std::string &way, const std::string &without) {
        auto words = under_run({program, "one"}, way);
        words.insert(words.begin() + 2, "--json");
        words.insert(words.begin(),
                     {"env", "MPS_WITHOUT=" + without, "sh", "-c", "\"$@\" 2>&1 | tail -n 1", "sh"});
        return Json::parse(must(ns.spawn(words)).out);
    };
    const bool has = ways().size() > 1;
    CHECK(told("auto", "").at("way") == (has ? "fmod_ret" : "seccomp"));
    CHECK(told("auto", "fmod_ret").at("way") == "seccomp");
    CHECK(told("seccomp", "").at("way") == "seccomp");
    CHECK(told("seccomp", "").at("mptcp") == 1);
    const auto forced = must(ns.spawn({"env", "MPS_WITHOUT=fmod_ret", e2e::Cli::default_binary(), "run",
                                       "--way", "fmod_ret", "--", program, "one"}));
    CHECK(forced.exit_code == 3);
    CHECK(forced.out.empty());
    CHECK(forced.err.contains("MPS_WITHOUT"));
    CHECK(supervisors_end(ns));
}

TEST_CASE("connections go on when both supervisors are killed") {
    for (const std::string &way : ways()) {
        INFO(way);
        const auto ns = make_namespace();
        auto process = must(ns.start(under_run({program, "talk"}, way)));
        // A connection is there when the program waits for the signal.
        REQUIRE(e2e::wait_until([&] { return connections(ns) == 2; }, 20s) >= 0);
        REQUIRE(e2e::wait_until([&] { return supervisors(ns).size() == 2; }, 20s) >= 0);
        // Stopped first: else one that outlives the other by a moment starts a third.
        const auto both = supervisors(ns);
        for (const int signal : {SIGSTOP, SIGKILL})
            for (const pid_t one : both)
                CHECK(::kill(one, signal) == 0);
        REQUIRE(supervisors_end(ns));
        must(process.signal(SIGUSR1));
        const auto result = must(process.wait(20s));
        INFO(result.err);
        // The protocol, what came back of 100,000 octets, and what socket() makes now.
        CHECK(result.out ==
              (way == "seccomp" ? fmt::format("262 100000 {}\n", -ENOSYS) : std::string("262 100000 6\n")));
        // The cgroup that nobody was there to remove is gone with the next command.
        CHECK(run(ns, {program, "one"}, way).out == "262 0 1 1\n");
        CHECK(must(lab::run_process(
                       {"find", "/sys/fs/cgroup", "-name", fmt::format("mpsched-run-{}", process.pid())}))
                  .out.empty());
    }
}

TEST_CASE("no socket fails and nearly all are MPTCP's while supervisors are killed again and again") {
    const auto ns = make_namespace();
    constexpr int wanted = 20'000;
    auto process = must(ns.start(under_run({program, "many", std::to_string(wanted)}, "seccomp")));
    int killed = 0;
    std::set<pid_t> victims;
    while (process.running()) {
        const auto alive = supervisors(ns);
        // The next only when both are there again: nobody is left to take over from both.
        if (alive.size() == 2 && !victims.contains(alive.front())) {
            victims.insert(alive.front());
            killed += ::kill(alive.front(), SIGKILL) == 0;
        }
    }
    const auto result = must(process.wait(30s));
    INFO(result.err);
    int mptcp = 0, tcp = 0, failed = 0;
    REQUIRE(std::sscanf(result.out.c_str(), "%d %d %d", &mptcp, &tcp, &failed) == 3);
    CHECK(killed >= 5);
    CHECK(failed == 0);
    CHECK(mptcp + tcp == wanted);
    CHECK(tcp <= killed);
    CHECK(supervisors_end(ns));
}

TEST_CASE("whoever outlives the command keeps its supervisor, and the last one ends it") {
    for (const std::string &way : ways()) {
        INFO(way);
        const auto ns = make_namespace();
        CHECK(all_output(ns, {"sh", "-c", fmt::format("(sleep .4; exec {} one) & echo ended", program)},
                         way) == "ended\n262 0 1 1\nmpsched run: 1 socket became MPTCP\n");
        CHECK(supervisors_end(ns));
    }
}

TEST_CASE("a command has a policy of its own for as long as it runs") {
    const auto network = must(lab::Network::create({.paths = {{.name = "dsl"}, {.name = "lte"}}}));
    const e2e::Attachment attachment(network.a(), network.devices(), "tc");
    const e2e::Cli mpsched(network.a());
    mpsched("use default");
    const auto rules = [&] { return mpsched.json("status").at("rules"); };
    const auto server = must(network.b().start(
        under_run({"python3", "-c",
                   "import socket\ns = socket.create_server(('0.0.0.0', 7777))\nc, _ = s.accept()\n"
                   "while c.recv(65536): pass\n"})));
    std::this_thread::sleep_for(300ms);
    const std::string script =
        fmt::format("import socket, time\nc = socket.create_connection(('{}', 7777))\n"
                    "print(open('/proc/self/cgroup').read(), flush=True)\n"
                    "for _ in range(40): c.sendall(bytes(20000)); time.sleep(.05)\nexit(4)\n",
                    network.address(lab::Side::b, 0));
    auto words = under_run({"python3", "-c", script});
    words.insert(words.begin() + 2, {"--policy", "active-standby", "-s", "hold_ms=700"});
    auto process = must(network.a().start(words, e2e::Cli::options()));
    // The supervisor made the socket, and it is the command's all the same.
    bool steered = false;
    for (int i = 0; i < 100 && !steered && process.running(); i++)
        for (const Json &connection : mpsched.json("conns"))
            steered |= connection.at("policy") == "active-standby" && connection.at("subflows").size() == 2;
    CHECK(steered);
    const Json during = rules();
    const auto result = must(process.wait(10s));
    INFO(during.dump(1) << result.out << result.err);
    CHECK(result.exit_code == 4);
    REQUIRE(during.size() == 1);
    const std::string selector = during[0].at("selector");
    REQUIRE(selector.starts_with("cgroup="));
    CHECK(result.out.contains("0::" + selector.substr(7) + "\n"));

    CHECK(supervisors_end(network.a()));
    CHECK(rules().empty());
    CHECK(must(lab::run_process({"find", "/sys/fs/cgroup", "-name", fs::path(selector).filename()}))
              .out.empty());
}

TEST_CASE("a service is started under run by a drop-in, and as before when that is gone") {
    // systemd's folders of this test alone.
    const std::string mpsched = e2e::Cli::default_binary();
    const std::string script = fmt::format(
        "set -e; cd /etc/systemd/system; mkdir -p web.service.d\n"
        "printf '[Unit]\\nDescription=x\\n[Service]\\nType=forking\\nExecStart=/bin/old\\nExecStart=-/bin/web -a \\\\\\n  \"b c\"\\n' "
        ">web.service\n"
        "printf '[Service]\\nExecStart=\\nExecStart=-!/bin/true --x\\n' >other.conf; cp web.service second.service\n"
        "{0} run --unit web >/dev/null; tail -n +2 web.service.d/mpsched-run.conf; echo ==\n"
        "mv other.conf web.service.d/; {0} run --unit web.service | tail -n 1; tail -n 1 web.service.d/mpsched-run.conf; echo ==\n"
        "systemd-analyze verify --man=no ./web.service 2>&1 | grep -c mpsched-run || true\n"
        "{0} run --unit web --undo >/dev/null; ls web.service.d; {0} run --unit second --undo\n"
        "{0} run --unit nosuch 2>&1 | head -n 1\n",
        mpsched);
    const auto result = must(lab::run_process(
        {"unshare", "--mount", "sh", "-c",
         "mkdir -p /etc/systemd/system; mount -t tmpfs none /etc/systemd/system; " + script}));
    INFO(result.err);
    CHECK(result.out == fmt::format("[Service]\nExecStart=\nExecStart={0} run --quiet -- /bin/old\n"
                                    "ExecStart=-{0} run --quiet -- /bin/web -a  \"b c\"\n==\n"
                                    "next: systemctl daemon-reload && systemctl restart web.service\n"
                                    "ExecStart=-!{0} run --quiet -- /bin/true --x\n==\n0\n"
                                    "other.conf\nthere was no drop-in of ours for second.service\n"
                                    "mpsched: systemd has no unit nosuch.service\n",
                                    mpsched));
}

TEST_CASE("what a socket costs", "[.][cost]") {
    const auto ns = make_namespace();
    const auto measure = [&](const std::string &when, const std::vector<std::string> &words) {
        const auto told = must(ns.spawn(words));
        int ns_each = 0, protocol = 0;
        REQUIRE(std::sscanf(told.out.c_str(), "%d %d", &ns_each, &protocol) == 2);
        e2e::report(
            fmt::format("{}: socket() and close() {:.1f} us, protocol {}", when, ns_each / 1e3, protocol));
    };
    const std::vector<std::string> command{program, "cost"};
    measure("without", command);
    for (const std::string &way : ways())
        measure(way, under_run(command, way));
    // As MPTCP by itself would cost.
    measure("without again", command);
}
