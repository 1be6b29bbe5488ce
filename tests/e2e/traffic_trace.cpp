// SPDX-License-Identifier: MIT
//
// `mpsched trace` on real connections: what it tells of our edits and wakes is what the kernel received, and nothing of it stays behind.
#include <algorithm>
#include <csignal>
#include <sstream>
#include <thread>

#include <fmt/format.h>

#include "traffic.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

NetworkSpec two_paths() {
    return {
        .paths = {{.name = "dsl", .rate_mbit = path_rate(50)}, {.name = "lte", .rate_mbit = path_rate(50)}}};
}

std::vector<Json> lines_of(const std::string &text) {
    std::vector<Json> all;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);)
        all.push_back(Json::parse(line));
    return all;
}

// Is the last of the programs of trace in the kernel?
bool is_tracing() {
    return run_process({"bpftool", "prog", "show", "name", "mps_trace_o_l3"})->out.contains("mps_trace_o_l3");
}

void need_tcx(const Cli &mpsched) {
    constexpr int unsupported = 3;
    if (mpsched.try_run("trace lo --seconds 0").exit_code == unsupported)
        mps::test::skip("this kernel has no tcx");
}

Process start_trace(const Cli &mpsched, const std::string &words) {
    auto trace = mpsched.start("trace --json " + words);
    REQUIRE(wait_until(is_tracing, 20s) >= 0);
    // And then attached, in some milliseconds.
    std::this_thread::sleep_for(500ms);
    return trace;
}

std::vector<Json> stop_trace(Process &trace) {
    must(trace.signal(SIGINT));
    const auto result = must(trace.wait(10s));
    INFO(result.err);
    CHECK(result.exit_code == 0);
    return lines_of(result.out);
}

bool has_option(const Json &packet, std::string_view name) {
    return std::ranges::any_of(packet.at("options"),
                               [&](const Json &one) { return one.at("option") == name; });
}

std::int64_t counter(const Cli &mpsched, const char *name) {
    return mpsched.json("stats").at(name).get<std::int64_t>();
}

} // namespace

TEST_CASE("trace tells every MP_PRIO that the kernel received, and which of them are ours", "[e2e][trace]") {
    for (const char *mode : {"tc", "generic"}) {
        const auto network = must(Network::create(two_paths()));
        const auto server = serve(network);
        const Cli mpsched(network.a());
        need_tcx(mpsched);
        const Attachment attachment(network.a(), network.devices(), mode);
        auto transfer = upload(network, server);

        mpsched("use default");
        std::this_thread::sleep_for(300ms);
        auto trace = start_trace(mpsched, "");
        const auto received = mp_prio_received(network.a());
        const auto inserted = counter(mpsched, "inserted"), woken = counter(mpsched, "wake_written");
        mpsched("use weighted");
        std::this_thread::sleep_for(1500ms);
        mpsched("use default");
        std::this_thread::sleep_for(500ms);
        const auto received_now = mp_prio_received(network.a()) - received;
        const auto edits = counter(mpsched, "inserted") - inserted,
                   wakes = counter(mpsched, "wake_written") - woken;
        const auto lines = stop_trace(trace);

        std::int64_t prio = 0, ours = 0, verdicts = 0, wakes_told = 0, parked = 0;
        for (const Json &line : lines) {
            if (line.at("event") == "packet" && line.at("direction") == "in" && has_option(line, "MP_PRIO")) {
                prio++;
                ours += !line.at("ours").is_null();
                wakes_told += line.at("ours") == "wake";
            }
            verdicts += line.at("event") == "verdict";
            if (line.at("event") == "verdict" && line.at("policy") == "weighted")
                for (const Json &subflow : line.at("subflows"))
                    parked += subflow.at("verdict") == "parked" && !subflow.at("reason").is_null();
        }
        const auto text = fmt::format(
            "{}: MPPrioRx {}, MP_PRIO told {}, ours {} ({} wakes), counted {} edits and {} wakes, {} verdicts",
            mode, received_now, prio, ours, wakes_told, edits, wakes, verdicts);
        report(text);
        INFO(text);
        CHECK(lines.back().at("lost") == 0);
        CHECK(received_now > 0);
        CHECK(prio == received_now);
        CHECK(ours == edits + wakes);
        CHECK(parked > 0);
        transfer.stop();
        check_clean(transfer.wait());
    }
}

TEST_CASE("trace keeps to the interface and the connection that were asked for", "[e2e][trace]") {
    const auto network = must(Network::create(two_paths()));
    const auto server = serve(network);
    const Cli mpsched(network.a());
    need_tcx(mpsched);
    const Attachment attachment(network.a(), network.devices(), "tc");
    auto one = upload(network, server);
    auto another = upload(network, server);
    REQUIRE(wait_until([&] { return mpsched.json("conns").size() == 2; }, 5s) >= 0);
    const auto token = mpsched.json("conns")[0].at("token").get<std::uint32_t>();

    const auto of_lte = lines_of(mpsched("trace lte --json --seconds 1").out);
    CHECK(of_lte.size() > 10);
    for (const Json &line : of_lte)
        CHECK((line.at("event") != "packet" || line.at("interface") == "lte"));
    const auto of_one =
        lines_of(mpsched("trace --json --seconds 1 --connection " + fmt::format("{:08x}", token)).out);
    CHECK(of_one.size() > 10);
    for (const Json &line : of_one)
        CHECK((line.at("event") == "summary" || line.at("token") == token));
    const auto few = lines_of(mpsched("trace --json --count 5").out);
    CHECK(few.size() == 6);
    one.stop();
    another.stop();
    check_clean(one.wait());
    check_clean(another.wait());
}

TEST_CASE("trace works without an installation, and nothing stays behind it, however it ends",
          "[e2e][trace]") {
    const auto network = must(Network::create(two_paths()));
    const auto server = serve(network);
    const Cli mpsched(network.a());
    need_tcx(mpsched);

    CHECK_FALSE(mpsched.try_run("trace --seconds 1").ok());
    auto trace = start_trace(mpsched, "dsl lte");
    auto transfer = upload(network, server);
    std::this_thread::sleep_for(300ms);
    transfer.stop();
    check_clean(transfer.wait());
    const auto lines = stop_trace(trace);
    for (const char *name : {"MP_CAPABLE", "MP_JOIN", "DSS"}) {
        INFO(name);
        CHECK(std::ranges::any_of(
            lines, [&](const Json &line) { return line.at("event") == "packet" && has_option(line, name); }));
    }
    CHECK(lines.back().at("verdicts") == 0);
    CHECK(wait_until([] { return !is_tracing(); }, 5s) >= 0);

    auto killed = start_trace(mpsched, "dsl lte");
    must(killed.signal(SIGKILL));
    must(killed.wait(5s));
    CHECK(wait_until([] { return !is_tracing(); }, 5s) >= 0);
}
