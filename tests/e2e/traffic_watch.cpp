// SPDX-License-Identifier: MIT
//
// Commands that watch: events, explain, conns --watch. What they tell is held against what was done and what the kernel counts.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <thread>

#include <sys/resource.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "app_sockets.hpp"
#include "traffic.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

std::vector<Json> lines_of(const std::string &text) {
    std::vector<Json> all;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);)
        all.push_back(Json::parse(line));
    return all;
}

std::vector<Json> stopped(Process &process) {
    must(process.signal(SIGINT));
    const auto result = must(process.wait(10s));
    INFO(result.err);
    CHECK(result.exit_code == 0);
    return lines_of(result.out);
}

Process start_events(const Cli &mpsched, const std::string &words = "") {
    auto events = mpsched.start("events --json " + words);
    std::this_thread::sleep_for(700ms); // until it has looked for the first time
    return events;
}

std::vector<std::string> names(const std::vector<Json> &events) {
    std::vector<std::string> all;
    for (const Json &event : events) {
        if (event.at("event") == "summary")
            continue;
        std::string text = event.at("event").get<std::string>();
        for (const char *member : {"interface", "about", "now"})
            if (event.at(member).is_string())
                text += " " + event.at(member).get<std::string>();
        all.push_back(text);
    }
    return all;
}

bool has(const std::vector<std::string> &all, const std::string &one) {
    return std::ranges::find(all, one) != all.end();
}

std::uint64_t counters_of(const Namespace &ns, const std::string &device) {
    return must(read_counters(ns)).devices.at(device).rx_bytes;
}

NetworkSpec two_paths() {
    return {
        .paths = {{.name = "dsl", .rate_mbit = path_rate(50)}, {.name = "lte", .rate_mbit = path_rate(50)}},
        .congestion_control = "cubic"};
}

} // namespace

TEST_CASE("events tells what is done to links, addresses, paths and policies, before and after attaching",
          "[e2e][watch]") {
    const auto network = must(Network::create(two_paths()));
    const Cli mpsched(network.a());
    auto events = start_events(mpsched);
    const auto &ns = network.a();
    must(ns.ip("link add name other type veth peer name othersend"));
    must(ns.ip("link set dev othersend up"));
    must(ns.ip("address add 203.0.113.9/24 dev other"));
    must(ns.ip("link set dev other up"));
    std::this_thread::sleep_for(700ms);
    {
        const Attachment attachment(ns, network.devices(), "tc");
        mpsched("use weighted");
        mpsched("use active-standby --for rport=443");
        mpsched("path lte weight=3");
        std::this_thread::sleep_for(700ms);
        must(ns.ip("link set dev other name another"));
    }
    must(ns.ip("link delete another"));
    std::this_thread::sleep_for(700ms);
    const auto told = stopped(events);
    const auto all = names(told);
    INFO(fmt::format("{}", fmt::join(all, "\n")));
    for (const char *one :
         {"link-new other", "address-new other 203.0.113.9", "link-up other", "installed", "attached dsl",
          "attached lte", "policy weighted", "rule-new rport=443 active-standby", "path-changed lte weight 3",
          "link-renamed another another", "removed", "link-gone another"})
        CHECK(has(all, one));
    CHECK(told.back().at("events") == all.size());
}

TEST_CASE("a failover is told once, with who was lost, why, and who carries on", "[e2e][watch]") {
    struct Loss {
        const char *why;
        bool followed;
    };
    for (const Loss loss : {Loss{"silent", true}, Loss{"down", true}, Loss{"silent", false}}) {
        auto network = must(Network::create(two_paths()));
        const auto server = serve(network);
        const Cli mpsched(network.a());
        const Attachment attachment(network.a(), network.devices(), "tc");
        mpsched("path lte priority=1");
        mpsched("use active-standby");
        std::optional<Process> follower;
        if (loss.followed)
            follower.emplace(mpsched.start("attach --follow"));
        TransferSpec spec = light_traffic();
        spec.think_time = 10ms;
        auto transfer = upload(network, server, spec);
        const auto parked = [&] {
            return std::ranges::any_of(kernel_subflows(network.a()), [&](const KernelSubflow &one) {
                return one.backup && one.local.contains(network.address(Side::a, 1));
            });
        };
        REQUIRE(wait_until(parked, 5s) >= 0);
        auto events = start_events(mpsched, "--only failover --only path");
        const auto before = counters_of(network.b(), "lte");
        if (std::string_view(loss.why) == "down")
            must(network.set_link(0, false, Side::a));
        else
            must(network.set_blackhole(0, true));
        std::this_thread::sleep_for(loss.followed ? 1200ms : 3000ms);
        const auto told = stopped(events);
        const auto all = names(told);
        INFO(loss.why << ": " << fmt::format("{}", fmt::join(all, "\n")));
        CHECK(counters_of(network.b(), "lte") > before + 5000); // it did carry on
        const auto failovers =
            std::ranges::count_if(told, [](const Json &one) { return one.at("event") == "failover"; });
        CHECK(failovers == 1);
        for (const Json &one : told) {
            if (one.at("event") != "failover")
                continue;
            CHECK(one.at("interface") == "dsl");
            CHECK(one.at("now") == "lte");
            CHECK(one.at("why") == loss.why);
            CHECK(one.at("connections") == 1);
        }
        CHECK(has(all, "path-down dsl") == (std::string_view(loss.why) == "down"));
        // That nobody follows is said.
        CHECK((told.back().at("cannot_see").size() > 1) == !loss.followed);
        transfer.stop();
        CHECK(transfer.wait().errors() == 0);
    }
}

TEST_CASE("a quota that is used up is told when the kernel has counted so many octets", "[e2e][watch]") {
    const auto network = must(Network::create(two_paths()));
    const auto server = serve(network);
    const Cli mpsched(network.a());
    const Attachment attachment(network.a(), network.devices(), "tc");
    mpsched("path lte priority=1 quota=2000000");
    mpsched("path dsl priority=2");
    mpsched("use quota");
    const auto before = counters_of(network.b(), "lte");
    auto events = start_events(mpsched, "--only quota --for 3");
    auto transfer = upload(network, server);
    const auto result = must(events.wait(12s));
    const auto carried = counters_of(network.b(), "lte") - before;
    transfer.stop();
    check_clean(transfer.wait());
    const auto all = names(lines_of(result.out));
    INFO(fmt::format("{} octets; {}", carried, fmt::join(all, "\n")));
    REQUIRE_FALSE(all.empty());
    CHECK(std::ranges::any_of(
        all, [](const std::string &one) { return one.starts_with("quota-used-up lte 2000000 "); }));
    CHECK(carried > 1'800'000);
}

TEST_CASE("explain tells what the policy saw at its last decision, and what came of it", "[e2e][watch]") {
    const auto network = must(Network::create(two_paths()));
    const auto server = serve(network);
    const Cli mpsched(network.a());
    const Attachment attachment(network.a(), network.devices(), "tc");
    mpsched("path lte priority=1 cost=7");
    mpsched("use active-standby");
    auto transfer = upload(network, server);
    const auto parked = [&] {
        return std::ranges::any_of(kernel_subflows(network.a()), [&](const KernelSubflow &one) {
            return one.backup && one.local.contains(network.address(Side::a, 1));
        });
    };
    REQUIRE(wait_until(parked, 5s) >= 0);
    const auto token = fmt::format("{:08x}", mpsched.json("conns").at(0).at("token").get<std::uint32_t>());
    Json seen;
    const auto is_exact = [&] {
        seen = mpsched.json("explain " + token);
        return seen.at("exact").get<bool>();
    };
    CHECK(wait_until(is_exact, 5s) >= 0);
    INFO(seen.dump(1));
    const Json &standby = seen.at("connection").at("subflows").at(1);
    CHECK(standby.at("ifname") == "lte");
    CHECK(standby.at("verdict") == "parked");
    CHECK(standby.at("reason").at("name") == "priority");
    const Json &inputs = seen.at("inputs");
    CHECK(inputs.at(1).at("priority") == 1);
    CHECK(inputs.at(1).at("cost") == 7);
    CHECK(inputs.at(1).at("backup") == true);
    CHECK(inputs.at(0).at("backup") == false);
    CHECK(inputs.at(0).at("cwnd").get<int>() > 0);
    CHECK(inputs.at(0).at("self") == true); // only its ACKs come
    CHECK(seen.at("decided_us_ago").get<std::int64_t>() < 1'000'000);
    CHECK(seen.at("unacked_bytes").get<std::int64_t>() > 0);
    const auto text = mpsched("explain " + token).out;
    INFO(text);
    CHECK(text.contains("parked: another has a better priority than its 1"));
    CHECK(text.contains("the kernel takes the one whose queue leaves first: dsl"));
    CHECK(mpsched.try_run("explain 1").exit_code == 2);
    transfer.stop();
    check_clean(transfer.wait());
}

TEST_CASE("conns --watch tells a line a look, with the throughput since the one before", "[e2e][watch]") {
    const auto network = must(Network::create(two_paths()));
    const auto server = serve(network);
    const Cli mpsched(network.a());
    const Attachment attachment(network.a(), network.devices(), "tc");
    auto transfer = upload(network, server);
    std::this_thread::sleep_for(1s);
    auto watch = mpsched.start("conns --watch 0.5 --json");
    Meter meter(network.b(), network.devices());
    const auto window = meter.over(2200ms);
    auto looks = stopped(watch);
    INFO(window.text());
    CHECK(looks.size() >= 3);
    CHECK(looks.size() <= 6);
    double rate = 0;
    for (std::size_t i = 1; i < looks.size(); i++)
        for (const Json &subflow : looks[i].at("connections").at(0).at("subflows"))
            rate += subflow.at("acked_bytes_s").get<double>() * 8e-6;
    rate /= static_cast<double>(looks.size() - 1);
    report(fmt::format("told {:.1f} Mbit/s, on the wire {:.1f}", rate, window.total_mbit));
    CHECK(rate > 0.75 * window.total_mbit);
    CHECK(rate < 1.1 * window.total_mbit);
    transfer.stop();
    check_clean(transfer.wait());
}

TEST_CASE(
    "top tells the rates that the kernel carries and what programs cost, which is measured only meanwhile",
    "[e2e][watch]") {
    const auto network = must(Network::create(two_paths()));
    const auto server = serve(network);
    const Cli mpsched(network.a());
    const Attachment attachment(network.a(), network.devices(), "tc");
    mpsched("use round-robin");
    auto transfer = upload(network, server);
    std::this_thread::sleep_for(1s);
    const auto runs = [] {
        const auto shown = run_process({"bpftool", "-j", "prog", "show", "name", "mps_tc_eth"});
        std::uint64_t sum = 0;
        const Json all = Json::parse(shown->out, nullptr, false);
        for (const Json &one : all.is_array() ? all : Json::array({all}))
            sum += one.value("run_cnt", std::uint64_t{0});
        return sum;
    };
    auto top = mpsched.start("top --delay 0.5 --count 4 --json");
    Meter meter(network.b(), network.devices());
    const auto window = meter.over(2s);
    const auto looks = lines_of(must(top.wait(10s)).out);
    REQUIRE(looks.size() == 4);
    double rate = 0, cost = 0, runs_s = 0;
    for (const Json &look : looks) {
        for (const Json &path : look.at("paths"))
            rate += path.at("sent_bytes_s").get<double>() * 8e-6;
        for (const Json &program : look.at("programs")) {
            cost += program.at("core_share").get<double>();
            runs_s += program.at("runs_s").get<double>();
        }
    }
    rate /= 4;
    report(fmt::format("told {:.1f} Mbit/s, on the wire {:.1f}; programs {:.2f} % of a core, {:.0f} runs/s",
                       rate, window.total_mbit, cost * 25, runs_s / 4));
    CHECK(rate > 0.75 * window.total_mbit);
    CHECK(rate < 1.1 * window.total_mbit);
    CHECK(runs_s > 0);
    CHECK(cost > 0);
    // Nobody measures any more.
    const auto counted = runs();
    std::this_thread::sleep_for(500ms);
    CHECK(counted > 0);
    CHECK(runs() == counted);
    CHECK(mpsched("top --once").out.contains("connection"));
    CHECK(mpsched("top --once --view programs").out.contains("mps_tc_eth"));
    transfer.stop();
    check_clean(transfer.wait());
}

namespace {

/// A command in tmux, which is a real terminal and tells what stands on it.
class Terminal {
  public:
    Terminal(const Namespace &ns, const std::string &words, int width, int height) {
        tmux({"-f", "/dev/null", "new-session", "-d", "-x", std::to_string(width), "-y",
              std::to_string(height),
              fmt::format("TERM=screen-256color exec {} --netns {} {}", Cli::default_binary(), ns.name(),
                          words)});
    }
    ~Terminal() { std::ignore = run_process({"tmux", "-L", server_, "kill-server"}); }
    Terminal(const Terminal &) = delete;
    Terminal &operator=(const Terminal &) = delete;

    std::string tmux(std::vector<std::string> more) const {
        more.insert(more.begin(), {"tmux", "-L", server_});
        const auto done = must(run_process(more, Cli::options()));
        INFO(done.err);
        REQUIRE(done.ok());
        return done.out;
    }
    std::string screen() const { return tmux({"capture-pane", "-e", "-p"}); }
    /// Processor time so far of what runs in it, in seconds.
    double cpu_s() const {
        const std::string pid = tmux({"display-message", "-p", "#{pane_pid}"});
        std::ifstream file(fmt::format("/proc/{}/stat", pid.substr(0, pid.find('\n'))));
        std::string text((std::istreambuf_iterator<char>(file)), {});
        std::istringstream words(text.substr(text.rfind(')') + 1));
        std::string word;
        double ticks = 0;
        for (int field = 3; words >> word; field++)
            ticks += field == 14 || field == 15 ? std::stod(word) : 0;
        return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
    }

  private:
    std::string server_ = fmt::format("mpsched-watch-{}", ::getpid());
};

} // namespace

// MPS_SCREENSHOTS=docs/pictures build/bin/tests/traffic_watch "the picture of top*"
TEST_CASE("the picture of top, with two policies and a quota", "[.][picture]") {
    const char *folder = std::getenv("MPS_SCREENSHOTS");
    REQUIRE(folder != nullptr);
    const auto network = must(Network::create(two_paths()));
    const auto server = serve(network), other = serve(network);
    const Cli mpsched(network.a());
    const Attachment attachment(network.a(), network.devices(), "tc");
    mpsched("path dsl weight=3");
    mpsched("path lte priority=1 quota=5GB cost=10");
    mpsched("use weighted");
    mpsched(fmt::format("use active-standby --for rport={}", other.port()));
    auto shared = upload(network, server, {.connections = 3, .verify = false});
    auto standing_by = upload(network, other, {.connections = 2, .verify = false});
    const Terminal terminal(network.a(), "top --view subflows", 100, 26);
    std::this_thread::sleep_for(20s);
    const std::string screen = terminal.screen();
    CHECK(screen.contains("parked"));
    ProcessOptions options{.input = screen, .timeout = 120s};
    const auto drawn = must(run_process(
        {"python3", MPS_SOURCE_DIR "/tests/e2e/draw-terminal", std::string(folder) + "/top.png", "100", "26"},
        options));
    INFO(drawn.err);
    CHECK(drawn.ok());
    for (Transfer *one : {&shared, &standing_by}) {
        one->stop();
        std::ignore = one->wait();
    }
}

TEST_CASE("what top takes over a thousand connections", "[.][cost]") {
    const rlimit files{.rlim_cur = 8192, .rlim_max = 8192};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &files) == 0);
    const auto network = must(Network::create({.paths = {{.name = "dsl"}, {.name = "lte"}}}));
    const Cli mpsched(network.a());
    const Attachment attachment(network.a(), network.devices(), "tc");
    mpsched("use weighted");
    const Listener listener(network);
    std::vector<Pair> pairs;
    for (int i = 0; i < 1000; i++)
        pairs.emplace_back(make_socket(network.a(), IPPROTO_MPTCP), listener);
    for (const char *delay : {"0.1", "1"}) {
        const Terminal terminal(network.a(), fmt::format("top --delay {}", delay), 80, 24);
        REQUIRE(wait_until([&] { return terminal.screen().contains("1000 connections"); }, 20s) >= 0);
        const double before = terminal.cpu_s();
        const auto begun = std::chrono::steady_clock::now();
        std::this_thread::sleep_for(20s);
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
        report(fmt::format("a look each {} s: {:.1f} % of a core", delay,
                           100 * (terminal.cpu_s() - before) / took.count()));
    }
}
