// SPDX-License-Identifier: MIT
//
// SIGKILL in the middle of every command that changes something, 200 times, while a transfer runs. Half of
// the kills come after a random time, half behind a random one of the command's system calls that change
// something, so that also points which pass too quickly for any timer are met.
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include <fcntl.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <mpsched/lab/counters.hpp>

#include "robust_rig.hpp"

using namespace mps::robust;
using namespace mps;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

// Does this system call change something outside of the process, or mark a step on the way there?
bool is_step(const __ptrace_syscall_info &entry) {
    switch (entry.entry.nr) {
    case SYS_bpf:
        switch (entry.entry.args[0]) {
        case BPF_MAP_CREATE:
        case BPF_MAP_UPDATE_ELEM:
        case BPF_MAP_DELETE_ELEM:
        case BPF_PROG_LOAD:
        case BPF_OBJ_PIN:
        case BPF_PROG_TEST_RUN:
        case BPF_LINK_CREATE:
        case BPF_LINK_UPDATE:
        case BPF_LINK_DETACH:
            return true;
        default:
            return false;
        }
#ifdef SYS_rename
    case SYS_rename:
    case SYS_mkdir:
    case SYS_rmdir:
    case SYS_unlink:
#endif
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_mkdirat:
    case SYS_unlinkat:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_flock:
    case SYS_membarrier:
        return true;
    // The live configuration is changed through a mapping, between two system calls.
    case SYS_mmap:
        return (entry.entry.args[3] & MAP_SHARED) != 0;
    default:
        return false;
    }
}

struct Traced {
    unsigned steps = 0;
    bool killed = false;
    int exit_code = -1;
};

// Runs the command and kills it when its `last`th step is done. 0: lets it run and only counts.
Traced run_to_step(const Rig &rig, const Words &words, unsigned last) {
    const Words argv_text = rig.command(words);
    std::vector<char *> argv;
    for (const std::string &word : argv_text)
        argv.push_back(const_cast<char *>(word.c_str()));
    argv.push_back(nullptr);
    // The leak checker of a sanitizer build cannot work while somebody else traces the process.
    std::vector<std::string> environment_text{"ASAN_OPTIONS=detect_leaks=0",
                                              "PATH=" + std::string(std::getenv("PATH"))};
    for (const auto &[name, value] : rig.environment())
        environment_text.push_back(fmt::format("{}={}", name, value));
    std::vector<char *> environment;
    for (std::string &one : environment_text)
        environment.push_back(one.data());
    environment.push_back(nullptr);

    const pid_t child = ::fork();
    if (child == 0) {
        const int null = ::open("/dev/null", O_RDWR);
        for (const int fd : {0, 1, 2})
            ::dup2(null, fd);
        ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        ::execve(argv[0], argv.data(), environment.data());
        ::_exit(127);
    }
    REQUIRE(child > 0);
    Traced result;
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WIFSTOPPED(status));
    ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    bool inside = false;
    for (int signal = 0;;) {
        ::ptrace(PTRACE_SYSCALL, child, nullptr, signal);
        ::waitpid(child, &status, 0);
        if (WIFEXITED(status) || WIFSIGNALED(status))
            break;
        signal = 0;
        if (!WIFSTOPPED(status) || WSTOPSIG(status) != (SIGTRAP | 0x80)) {
            if (WSTOPSIG(status) != SIGTRAP)
                signal = WSTOPSIG(status);
            continue;
        }
        __ptrace_syscall_info info{};
        ::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info);
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
            inside = is_step(info);
        } else if (inside && info.op == PTRACE_SYSCALL_INFO_EXIT) {
            inside = false;
            if (++result.steps == last)
                ::kill(child, SIGKILL);
        }
    }
    result.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return result;
}

Traced run_for(const Rig &rig, const Words &words, std::chrono::microseconds delay) {
    auto process = must(lab::Process::start(rig.command(words), {.environment = rig.environment()}));
    std::this_thread::sleep_for(delay);
    (void)process.signal(SIGKILL);
    const auto result = must(process.wait(10s));
    return {.killed = result.signal == SIGKILL, .exit_code = result.exit_code};
}

// A kind of command, with what a whole one takes.
struct Kind {
    std::string name;
    std::chrono::microseconds duration{};
    unsigned steps = 0;
    unsigned killed = 0;
    unsigned completed = 0;
};

const std::array modes{"tc", "native", "generic"};
const std::array policies{"default", "weighted", "active-standby", "smallest-delay"};

// The server never asks for a backup: no bit is set, …
void no_backup(const Rig &rig, std::uint16_t port) {
    for (const SubflowBits &subflow : subflow_bits(rig.here(), port))
        REQUIRE_FALSE(subflow.backup);
}

// … and none that we set is taken for its wish.
void no_wish(const Rig &rig) {
    const Json connections = rig.json({"conns"});
    INFO("connections: " << connections.dump());
    for (const Json &connection : connections)
        for (const Json &subflow : connection["subflows"])
            REQUIRE(subflow["peer_backup"] == false);
}

class Campaign {
  public:
    Campaign(const Rig &rig, std::uint16_t port, std::uint32_t seed)
        : rig_(rig), port_(port), random_(seed) {}

    void measure() {
        for (Kind &kind : kinds_) {
            prepare(kind);
            const auto begin = Clock::now();
            rig_.ok(command(kind));
            kind.duration = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin);
            prepare(kind);
            const auto traced = run_to_step(rig_, command(kind), 0);
            REQUIRE(traced.exit_code == 0);
            kind.steps = traced.steps;
        }
    }

    void strike(unsigned number) {
        Kind &kind = kinds_[number % kinds_.size()];
        prepare(kind);
        const Words words = command(kind);
        const bool by_step = (number / kinds_.size()) % 2 == 0;
        Traced end;
        std::string when;
        if (by_step) {
            const unsigned step = between(1, kind.steps);
            when = fmt::format("behind step {} of {}", step, kind.steps);
            end = run_to_step(rig_, words, step);
            // It had more to do when it was measured.
            if (!end.killed)
                kind.steps = std::max(end.steps, 5U);
        } else {
            const auto delay =
                std::chrono::microseconds(between(0, static_cast<unsigned>(kind.duration.count())));
            when = fmt::format("after {} of {} us", delay.count(), kind.duration.count());
            end = run_for(rig_, words, delay);
            // The machine was busier when it was measured.
            if (!end.killed)
                kind.duration = delay;
        }
        (end.killed ? kind.killed : kind.completed)++;
        INFO(fmt::format("kill {}: mpsched {} {}: {}", number, fmt::join(words, " "), when,
                         end.killed ? "killed" : fmt::format("exit code {}", end.exit_code)));
        // Either it was killed, or it was through: never did it fail of something.
        CHECK((end.killed || end.exit_code == 0));
        recover(number);
        note_programs();
    }

    const std::vector<Kind> &kinds() const { return kinds_; }
    const std::set<std::uint32_t> &programs() const { return programs_; }
    unsigned repaired() const { return repaired_; }

  private:
    unsigned between(unsigned low, unsigned high) {
        return std::uniform_int_distribution(low, std::max(low, high))(random_);
    }
    template <class List>
    const char *one_of(const List &list) {
        return list[between(0, static_cast<unsigned>(list.size()) - 1)];
    }

    // Everything but attach needs something to work on; attach is most interesting where nothing is.
    void prepare(const Kind &kind) {
        const bool installed = rig_.status()["interfaces"].size() == 2;
        if (kind.name == "first attach")
            rig_.ok({"detach", "--all"});
        else if (!installed)
            rig_.ok({"attach", "dsl", "lte", "--mode", one_of(modes)});
        if (kind.name == "set" || kind.name == "detach" || kind.name == "detach all")
            rig_.ok({"use", "weighted"});
    }

    Words command(const Kind &kind) {
        if (kind.name == "first attach")
            return {"attach", "dsl", "lte", "--mode", one_of(modes), "--policy", "auto"};
        if (kind.name == "attach again") {
            // Another mode than it has, or nothing would be done.
            const std::string now = rig_.status()["interfaces"][0]["mode"];
            std::string mode;
            do
                mode = one_of(modes);
            while (mode == now);
            return {"attach", "dsl", "lte", "--mode", mode};
        }
        if (kind.name == "use")
            return {"use", one_of(policies)};
        if (kind.name == "use for")
            return {"use", one_of(policies), "--for", fmt::format("rport={}", between(1, 20))};
        if (kind.name == "set")
            return {"set", fmt::format("lead_bytes={}", between(20'000, 90'000)),
                    fmt::format("dwell_us={}", between(500, 2000))};
        if (kind.name == "path")
            return {"path", one_of(std::array{"dsl", "lte"}), fmt::format("weight={}", between(1, 5)),
                    fmt::format("priority={}", between(0, 3))};
        if (kind.name == "detach")
            return {"detach", one_of(std::array{"dsl", "lte"})};
        return {"detach", "--all"};
    }

    // The very next command works and leaves a whole state behind.
    void recover(unsigned number) {
        const Json found = rig_.status();
        INFO("found: " << found.dump());
        if (!faults(found).empty())
            repaired_++;
        switch (number % 10) {
        case 0:
        case 5:
            rig_.ok({"attach", "dsl", "lte"});
            break;
        case 1:
        case 4:
        case 8:
            if (found["installed"] == true)
                rig_.ok({"use", "weighted"});
            else
                CHECK(rig_.run({"use", "weighted"}).err.contains("'mpsched attach"));
            break;
        case 2:
        case 6:
            rig_.ok({"path", "dsl", "weight=2"});
            break;
        case 3:
        case 7:
            rig_.ok({"detach", "dsl"});
            break;
        default:
            rig_.ok({"detach", "--all"});
        }
        consistent();
    }

    // What `status` says is what the kernel has, and there is nothing else.
    void consistent() {
        const Json status = rig_.status();
        INFO("after: " << status.dump());
        CHECK(faults(status).empty());
        for (const std::string &device : rig_.network().devices()) {
            const auto programs = our_programs(rig_.here(), device);
            const auto one = std::ranges::find_if(status["interfaces"],
                                                  [&](const Json &i) { return i["name"] == device; });
            INFO(device << ": " << fmt::format("{}", fmt::join(programs, ", ")));
            if (one == status["interfaces"].end())
                CHECK(programs.empty());
            else if ((*one)["mode"] == "tc")
                CHECK(programs == std::vector<std::string>{"mps_tc_eth"});
            else
                CHECK(programs == std::vector<std::string>{"mps_wake_eth", "mps_xdp_eth"});
        }
        const auto ours = fmt::format("mpsched/v{}/", MPS_ABI_VERSION);
        for (const auto &[path, what] : rig_.bpffs().tree())
            CHECK_FALSE((path.starts_with(ours + "new-") || path.starts_with(ours + "old-")));
        if (status["installed"] == true)
            no_wish(rig_);
        else
            no_backup(rig_, port_);
        // Every policy that is loaded is the default, or a rule's, or a connection's.
        for (const Json &policy : status["policies"])
            CHECK((policy["is_default"] == true || policy["rules"] > 0 || policy["connections"] > 0));
    }

    void note_programs() { programs_.merge(rig_.programs()); }

    const Rig &rig_;
    std::uint16_t port_; // of the server
    std::mt19937 random_;
    std::vector<Kind> kinds_{{"first attach"}, {"attach again"}, {"use"},    {"use for"},
                             {"set"},          {"path"},         {"detach"}, {"detach all"}};
    std::set<std::uint32_t> programs_;
    unsigned repaired_ = 0;
};

unsigned setting(const char *name, unsigned otherwise) {
    const char *text = std::getenv(name);
    return text == nullptr ? otherwise : static_cast<unsigned>(std::stoul(text));
}

} // namespace

TEST_CASE("a command killed at any point breaks no transfer, and the next one recovers", "[robust][kill]") {
    const unsigned kills = setting("MPS_KILLS", 200);
    const unsigned seed = setting("MPS_SEED", 20'250'101);
    const Rig rig(two_paths(20));
    const auto server = e2e::serve(rig.network());
    const e2e::Health health(rig.network().a(), rig.network().b());
    const auto sampler =
        must(lab::ThroughputSampler::start(rig.network().b(), rig.network().devices(), 50ms));
    auto transfer = rig.transfer(server, {.connections = 2});
    REQUIRE(transfer.wait_for_subflows(2));

    Campaign campaign(rig, server.port(), seed);
    campaign.measure();
    for (unsigned i = 0; i < kills; i++) {
        campaign.strike(i);
        REQUIRE(transfer.running());
    }

    unsigned killed = 0;
    for (const Kind &kind : campaign.kinds()) {
        killed += kind.killed;
        e2e::report(fmt::format("{:<13} {:>7} us, {:>3} steps: {:>2} killed, {:>2} completed", kind.name,
                                kind.duration.count(), kind.steps, kind.killed, kind.completed));
        CHECK(kind.killed >= (kind.killed + kind.completed) / 2);
        CHECK(kind.steps >= 5);
    }
    e2e::report(
        fmt::format("{} of {} killed, {} left something to repair", killed, kills, campaign.repaired()));
    CHECK(killed >= kills * 7 / 10);
    // Else the kills were too early or too late to be worth anything.
    CHECK(campaign.repaired() >= kills / 40);

    // All this time data arrived.
    const auto points = sampler.series();
    double last = 0, gap = 0;
    std::uint64_t before = 0;
    for (const auto &point : points) {
        const std::uint64_t bytes = point.rx_bytes[0] + point.rx_bytes[1];
        gap = std::max(gap, point.at_s - last);
        if (bytes >= before + 3000) {
            before = bytes;
            last = point.at_s;
        }
    }
    e2e::report(fmt::format("longest time without data {:.2f} s", gap));
    CHECK(gap < 2);

    rig.ok({"attach", "dsl", "lte"});
    rig.ok({"use", "weighted"});
    auto programs = campaign.programs();
    programs.merge(rig.programs());
    const auto answer = rig.json({"detach", "--all"});
    CHECK(answer["unrestored"].empty());
    rig.no_trace(programs);
    no_backup(rig, server.port());
    // Nor do levers remain; only mpsched can read them.
    rig.ok({"attach", "dsl", "lte"});
    for (const Json &connection : rig.json({"conns"}))
        for (const Json &subflow : connection["subflows"])
            CHECK(subflow["notsent_lowat"].is_null());
    rig.ok({"detach", "--all"});
    transfer.stop();
    const auto result = transfer.wait();
    e2e::check_clean(result);
    CHECK(result.min_subflows() == 2);
    health.check();
}

// For some packets both programs are there. What one wrote into them is not what the peer asked for.
TEST_CASE("a change between XDP and TC under load leaves no bit behind", "[robust][kill]") {
    const Rig rig(two_paths(20));
    const auto server = e2e::serve(rig.network());
    auto transfer = rig.transfer(server, {.connections = 4});
    REQUIRE(transfer.wait_for_subflows(2));
    rig.ok({"attach", "dsl", "lte", "--mode", "tc"});
    rig.ok({"use", "weighted"});
    for (unsigned round = 0; round < setting("MPS_ROUNDS", 20); round++) {
        for (const char *mode : {"generic", "tc", "native", "tc"})
            rig.ok({"attach", "dsl", "lte", "--mode", mode});
        INFO("round " << round);
        no_wish(rig);
    }
    CHECK(rig.json({"stats"})["inserted"] > 0);
    CHECK(rig.json({"detach", "--all"})["unrestored"].empty());
    no_backup(rig, server.port());
    transfer.stop();
    e2e::check_clean(transfer.wait());
}
