// SPDX-License-Identifier: MIT
//
// A connection of which only a part is met on attached interfaces carries at least what the kernel alone would, and of
// one with more subflows than are steered as many are as can be.
#include <algorithm>
#include <csignal>
#include <thread>

#include <fmt/format.h>

#include "traffic.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

const double path_mbit = path_rate(50);
constexpr double used = 0.8; // of a path's rate

// Both paths are filled, by the peer's byte counters.
void check_both_carry(Meter &meter, const std::string &when) {
    const auto filled = [](const Window &seen) {
        return seen.mbit[0] > used * path_mbit && seen.mbit[1] > used * path_mbit;
    };
    const auto window = undisturbed([&] { return meter.over(700ms); }, filled);
    const auto line = fmt::format("{}: {}", when, window.text());
    report(line);
    INFO(line);
    CHECK(filled(window));
}

// Policies that would rather have lte alone, or what they take for quickest.
const char *choices[] = {"active-standby", "ecf", "auto"};

void check_choices(const Network &network, const std::vector<std::string> &attached,
                   const std::string &mode) {
    const auto server = serve(network);
    const Attachment attachment(network.a(), attached, mode);
    const Cli mpsched(network.a());
    mpsched("path dsl priority=1");
    for (const auto *policy : choices) {
        mpsched(fmt::format("use {}", policy));
        auto transfer = upload(network, server);
        Meter meter(network.b(), {"dsl", "lte"});
        std::this_thread::sleep_for(500ms);
        check_both_carry(meter, fmt::format("{}, {}", mode, policy));
        transfer.stop();
        check_clean(transfer.wait());
    }
}

// Many subflows on the path "lte": A has further addresses there, each an endpoint.
class Crowd {
  public:
    explicit Crowd(const Network &network) : network_(network) {}

    void add(int from, int to) {
        for (int i = from; i < to; ++i) {
            must(network_.a().ip(fmt::format("address add {}/28 dev lte\n"
                                             "rule add from {} table 101\n"
                                             "mptcp endpoint add {} id {} dev lte subflow\n",
                                             address(i), address(i), address(i), 20 + i)));
        }
    }
    void remove(int from, int to) {
        for (int i = from; i < to; ++i) {
            must(network_.a().ip(fmt::format("mptcp endpoint delete id {}\n"
                                             "rule delete from {} table 101\n"
                                             "address delete {}/28 dev lte\n",
                                             20 + i, address(i), address(i))));
        }
    }

    struct Seen {
        int subflows = 0; // on lte
        int parked = 0;   // backups by the peer's word, as the kernel of A has it
        bool operator==(const Seen &) const = default;
    };
    Seen seen() const {
        Seen all;
        for (const KernelSubflow &one : kernel_subflows(network_.a())) {
            if (!one.local.contains("%lte:"))
                continue;
            all.subflows++;
            all.parked += one.backup;
        }
        return all;
    }
    void check(const Seen &expected, const std::string &when) const {
        wait_until([&] { return seen() == expected; }, 10s);
        const Seen now = seen();
        INFO(when << ": of " << now.subflows << " subflows on lte " << now.parked << " are parked");
        CHECK(now.subflows == expected.subflows);
        CHECK(now.parked == expected.parked);
    }

  private:
    static std::string address(int i) { return fmt::format("198.51.100.{}", 19 + i); }

    const Network &network_;
};

std::ptrdiff_t steered_as_told(const Cli &mpsched) {
    std::ptrdiff_t steered = 0;
    for (const Json &connection : mpsched.json("conns"))
        steered += std::ranges::count_if(connection["subflows"],
                                         [](const Json &one) { return one["verdict"] != "unsteered"; });
    return steered;
}

// From now on what answers lte comes in by an interface that is not attached.
void turn_the_way_back(const Network &network) {
    const auto on_lte = network.address(Side::a, 1);
    must(network.b().ip(fmt::format("route add {} via {} dev back", on_lte, network.address(Side::a, 2))));
    must(network.b().ip(fmt::format("rule add to {} table main pref 1", on_lte)));
}

// Three paths, of which the third carries nothing of its own.
Network with_a_way_back() {
    auto network = must(Network::create({.paths = {{.name = "dsl", .rate_mbit = path_mbit},
                                                   {.name = "lte", .rate_mbit = path_mbit},
                                                   {.name = "back", .rate_mbit = path_mbit}},
                                         .joins = Joins::none}));
    // Without a device, to which its socket would be bound.
    must(network.a().ip(fmt::format("mptcp endpoint add {} subflow", network.address(Side::a, 1))));
    must(network.a().ip(fmt::format("mptcp endpoint add {} dev back subflow", network.address(Side::a, 2))));
    return network;
}

// What may bring along the time: a packet of somebody else, or a process.
enum class Driver { strangers, follower };

Process start(Driver driver, const Network &network) {
    if (driver == Driver::follower)
        return Cli(network.a()).start("attach --follow");
    const std::string datagrams =
        fmt::format("while sleep 0.2; do echo > /dev/udp/{}/9; done", network.address(Side::a, 0));
    return must(Process::start({"ip", "netns", "exec", network.b().name(), "bash", "-c", datagrams}));
}

} // namespace

TEST_CASE("a path that is not attached does not take the attached one out of use", "[e2e]") {
    const auto network = must(Network::create(
        {.paths = {{.name = "dsl", .rate_mbit = path_mbit}, {.name = "lte", .rate_mbit = path_mbit}}}));
    check_choices(network, {"dsl"}, "native");
}

TEST_CASE(
    "a path whose packets come back by an interface that is not attached does not take another out of use",
    "[e2e]") {
    const auto network = with_a_way_back();
    turn_the_way_back(network);
    for (const auto *mode : {"tc", "native"})
        check_choices(network, {"dsl", "lte"}, mode);
}

TEST_CASE(
    "all nine subflows that the kernel opens are steered, also after some have left and others have come",
    "[e2e]") {
    const auto network =
        must(Network::create({.paths = {{.name = "dsl"}, {.name = "lte"}}, .joins = Joins::none}));
    const auto server = serve(network);
    const Attachment attachment(network.a(), {"dsl", "lte"}, "native");
    const Cli mpsched(network.a());
    Crowd crowd(network);
    crowd.add(0, 8);
    mpsched("path lte priority=1");
    mpsched("use active-standby");
    auto transfer = upload(network, server, light_traffic());
    crowd.check({.subflows = 8, .parked = 8}, "nine");
    crowd.remove(0, 3);
    crowd.check({.subflows = 5, .parked = 5}, "six");
    crowd.add(0, 3);
    crowd.check({.subflows = 8, .parked = 8}, "nine again");
    CHECK(steered_as_told(mpsched) == 9);
    mpsched("path lte priority=0");
    crowd.check({.subflows = 8, .parked = 0}, "all opened");
    transfer.stop();
    check_clean(transfer.wait());
}

TEST_CASE(
    "of more than nine subflows nine are steered, the others are told, and take the place of those that leave",
    "[e2e]") {
    const auto network =
        must(Network::create({.paths = {{.name = "dsl"}, {.name = "lte"}}, .joins = Joins::none}));
    for (const auto *host : {&network.a(), &network.b()}) {
        if (!host->ip("mptcp limits set subflows 11 add_addr_accepted 0"))
            mps::test::skip("this kernel opens no more than nine subflows");
    }
    const auto server = serve(network);
    const Attachment attachment(network.a(), {"dsl", "lte"}, "native");
    const Cli mpsched(network.a());
    Crowd crowd(network);
    crowd.add(0, 11);
    mpsched("path lte priority=1");
    mpsched("use active-standby");
    auto transfer = upload(network, server, light_traffic());
    crowd.check({.subflows = 11, .parked = 8}, "twelve");
    CHECK(mpsched("status").out.contains("more than 9 subflows"));
    CHECK(steered_as_told(mpsched) == 9);
    crowd.remove(0, 6);
    crowd.check({.subflows = 5, .parked = 5}, "six");
    crowd.add(0, 3);
    crowd.check({.subflows = 8, .parked = 8}, "nine");
    transfer.stop();
    check_clean(transfer.wait());
}

TEST_CASE("a parked subflow is opened again by time, once the packets of the other are not met any more",
          "[e2e]") {
    struct Way {
        Driver driver;
        std::string mode;
        bool detached; // by command; else its answers come back another way
    };
    const auto [driver, mode, detached] =
        GENERATE(Way{Driver::strangers, "tc", true}, Way{Driver::strangers, "native", false},
                 Way{Driver::follower, "tc", false});
    CAPTURE(driver == Driver::strangers, mode, detached);
    const auto network = with_a_way_back();
    const auto server = serve(network);
    const Attachment attachment(network.a(), {"dsl", "lte"}, mode);
    const Cli mpsched(network.a());
    mpsched("path dsl priority=1");
    mpsched("use active-standby");
    auto transfer = upload(network, server);
    const auto parked = [&] { return kernel_backup(network.a(), network.address(Side::b, 0)); };
    REQUIRE(wait_until(parked, 5s) >= 0);
    std::this_thread::sleep_for(500ms);
    if (detached)
        mpsched("detach lte");
    else
        turn_the_way_back(network);
    // The last packets that were met are still on their way.
    std::this_thread::sleep_for(500ms);
    if (driver == Driver::follower)
        CHECK(wait_until([&] { return mpsched("status").out.contains("a parked subflow is to be opened"); },
                         5s) >= 0);
    // `detach` has brought packets along by itself.
    CHECK((detached || parked()));
    auto process = start(driver, network);
    const double took = wait_until([&] { return !parked(); }, 8s);
    report(fmt::format("{}, {}: open after {:.1f} s", mode,
                       driver == Driver::strangers ? "others' packets" : "attach --follow", took));
    INFO(mpsched("conns").out << mpsched("stats").out);
    CHECK(took >= 0);
    Meter meter(network.b(), {"dsl", "lte"});
    std::this_thread::sleep_for(500ms);
    check_both_carry(meter, "after that");
    (void)process.signal(SIGTERM);
    (void)process.wait(5s);
    transfer.stop();
    check_clean(transfer.wait());
}
