// SPDX-License-Identifier: MIT
#include "traffic.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <arpa/inet.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "private_bpffs.hpp"

namespace mps::e2e {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
}

std::vector<std::string> split(std::string_view words) {
    std::istringstream in{std::string(words)};
    std::vector<std::string> all;
    for (std::string word; in >> word;) {
        all.push_back(word);
    }
    return all;
}

} // namespace

std::vector<double> ratios(const std::vector<double> &parts) {
    double sum = 0;
    for (const double part : parts) {
        sum += part;
    }
    std::vector<double> result(parts.size(), 0);
    for (std::size_t i = 0; sum > 0 && i < parts.size(); ++i) {
        result[i] = parts[i] / sum;
    }
    return result;
}

// ------------------------------------------------------------------------------------------------- mpsched

// Beside the folder of the tests, wherever the build was copied to.
std::string Cli::default_binary() {
    return (std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "mpsched").string();
}

std::vector<std::string> Cli::command(std::string_view words) const {
    auto argv = split(words);
    argv.insert(argv.begin(), {binary_, "--netns", netns_});
    return argv;
}

lab::ProcessOptions Cli::options() {
    static const PrivateBpffs pins;
    return {.environment = {{"MPS_BPFFS", pins.path()}}, .timeout = 30s};
}

lab::ProcessResult Cli::try_run(std::string_view words) const {
    return must(lab::run_process(command(words), options()));
}

lab::Process Cli::start(std::string_view words) const {
    return must(lab::Process::start(command(words), options()));
}

lab::ProcessResult Cli::operator()(std::string_view words) const {
    auto result = try_run(words);
    if (!result.ok()) {
        FAIL("mpsched " << words << ": exit code " << result.exit_code << "\n" << result.out << result.err);
    }
    return result;
}

Json Cli::json(std::string_view words) const {
    const auto result = (*this)(fmt::format("--json {}", words));
    auto parsed = Json::parse(result.out, nullptr, false);
    if (parsed.is_discarded()) {
        FAIL("mpsched --json " << words << " is not JSON:\n" << result.out);
    }
    return parsed;
}

double path_rate(double usual_mbit) {
    const char *text = std::getenv("MPS_TEST_PATH_MBIT");
    if (text == nullptr) {
        return usual_mbit;
    }
    char *end = nullptr;
    const double most = std::strtod(text, &end);
    if (end == text || *end != '\0' || !(most >= 1)) {
        throw std::invalid_argument(fmt::format("MPS_TEST_PATH_MBIT is no rate in Mbit/s: {}", text));
    }
    return std::min(usual_mbit, most);
}

std::chrono::milliseconds path_time(std::chrono::milliseconds usual) {
    constexpr double usual_mbit = 50;
    return std::chrono::round<std::chrono::milliseconds>(usual * (usual_mbit / path_rate(usual_mbit)));
}

Attachment::Attachment(const lab::Namespace &ns, const std::vector<std::string> &devices,
                       std::string_view mode)
    : cli_(ns), guard_([cli = Cli(ns)] { std::ignore = cli.try_run("detach --all"); }) {
    cli_(fmt::format("attach {} --mode {} --policy default", fmt::join(devices, " "), mode));
}

Attachment::~Attachment() {
    if (attached_) {
        std::ignore = cli_.try_run("detach --all");
    }
}

void Attachment::detach() {
    cli_("detach --all");
    attached_ = false;
    guard_.dismiss();
}

// -------------------------------------------------------------------------------------------- measurements

std::string Window::text() const {
    std::string all;
    for (std::size_t i = 0; i < mbit.size(); ++i) {
        all += fmt::format("{}{:.1f} ({:.1f} %)", i == 0 ? "" : " : ", mbit[i], share[i] * 100);
    }
    return fmt::format("{} Mbit/s over {:.2f} s", all, seconds);
}

Meter::Meter(const lab::Namespace &ns, std::vector<std::string> devices)
    : ns_(ns), devices_(std::move(devices)) {
    restart();
}

std::vector<std::uint64_t> Meter::bytes() const {
    const auto counters = must(lab::read_counters(ns_));
    std::vector<std::uint64_t> all;
    for (const auto &device : devices_) {
        all.push_back(counters.devices.at(device).rx_bytes);
    }
    return all;
}

void Meter::restart() {
    start_ = bytes();
    began_ = Clock::now();
}

Window Meter::read() {
    const auto now = bytes();
    const auto at = Clock::now();
    Window window{.seconds = seconds_between(began_, at), .mbit = {}, .share = {}};
    for (std::size_t i = 0; i < now.size(); ++i) {
        window.mbit.push_back(static_cast<double>(now[i] - start_[i]) * 8 / 1e6 / window.seconds);
        window.total_mbit += window.mbit.back();
    }
    window.share = ratios(window.mbit);
    start_ = now;
    began_ = at;
    return window;
}

Window Meter::over(std::chrono::milliseconds duration) {
    restart();
    std::this_thread::sleep_for(duration);
    return read();
}

Delivered delivered(const lab::Transfer &transfer, std::size_t paths,
                    const std::function<std::optional<std::size_t>(const lab::SubflowSample &)> &path_of) {
    Delivered result{.at = Clock::now(), .per_path = std::vector<std::uint64_t>(paths), .total = 0};
    for (const auto &connection : transfer.sample()) {
        std::uint64_t sum = 0;
        for (const auto &subflow : connection.subflows) {
            sum += subflow.bytes_acked;
            if (const auto path = path_of(subflow)) {
                result.per_path.at(*path) += subflow.bytes_acked;
            }
        }
        // Before Linux 6.5 only the subflows count, and what was sent twice counts twice.
        result.total += connection.bytes_acked != 0 ? connection.bytes_acked : sum;
    }
    return result;
}

Delivered delivered(const lab::Transfer &transfer, const lab::Network &network) {
    return delivered(transfer, network.path_count(), [&](const lab::SubflowSample &subflow) {
        return network.path_of(subflow.local_address);
    });
}

double goodput_mbit(const Delivered &from, const Delivered &to) {
    return static_cast<double>(to.total - from.total) * 8 / 1e6 / seconds_between(from.at, to.at);
}

std::vector<double> shares(const Delivered &from, const Delivered &to) {
    std::vector<double> moved;
    for (std::size_t i = 0; i < to.per_path.size(); ++i) {
        moved.push_back(static_cast<double>(to.per_path[i] - from.per_path[i]));
    }
    return ratios(moved);
}

namespace {

// Linux damages what a subflow carries first if it joins while the receiver reads (docs/architecture.md, "Damaged by the
// kernel itself"). Transfers settle first, but a path that comes back joins in the middle. One such transfer is excused in a
// run of a binary; a fault of ours would not stop at one.
bool excused(const lab::ConnectionResult &connection) {
    static bool spent = false;
    const bool alike = connection.complete && connection.error && connection.error->err == EBADMSG &&
                       connection.wrong_bytes > 0 && connection.wrong_bytes <= 64 * 1024;
    if (!alike || spent) {
        return false;
    }
    spent = true;
    report("excused, as the kernel's own damage: " + connection.error->what);
    return true;
}

} // namespace

void check_clean(const lab::TransferResult &result) {
    REQUIRE_FALSE(result.connections.empty());
    for (const auto &connection : result.connections) {
        INFO((connection.error ? connection.error->what : std::string("no error")));
        CHECK(connection.complete);
        CHECK_FALSE(connection.fallback);
        if (!connection.verified && excused(connection)) {
            continue;
        }
        CHECK(connection.verified);
        CHECK_FALSE(connection.error.has_value());
    }
}

namespace {

// Linux resets a subflow on which something still comes when the connection is over (docs/architecture.md, "Reset by the kernel itself"):
// its contents are whole, which check_clean() judges. Some of these are excused in a run of a binary; a fault of ours would not stop
// at three.
std::int64_t excused_ends(std::int64_t aborts) {
    static std::int64_t left = 3;
    const auto excused = std::min(aborts, left);
    left -= excused;
    if (excused > 0) {
        report(fmt::format("excused, as the kernel's own: {} subflows reset at the end", excused));
    }
    return excused;
}

} // namespace

Health::Health(const lab::Namespace &a, const lab::Namespace &b)
    : a_(a), b_(b), before_a_(must(lab::read_counters(a))), before_b_(must(lab::read_counters(b))) {}

void Health::check() const {
    const auto at_a_moved = must(lab::read_counters(a_)) - before_a_;
    const auto at_b_moved = must(lab::read_counters(b_)) - before_b_;
    const std::string_view abort = "TcpExtTCPAbortOnData";
    const auto ends = excused_ends(at_a_moved.get_or(abort, 0) + at_b_moved.get_or(abort, 0));
    for (const bool at_a : {true, false}) {
        const auto &moved = at_a ? at_a_moved : at_b_moved;
        for (const auto *name : {"TcpInCsumErrors",
                                 "TcpInErrs",
                                 "TcpEstabResets",
                                 "TcpAttemptFails",
                                 "TcpExtTCPAbortOnData",
                                 "TcpExtTCPAbortOnTimeout",
                                 "TcpExtTCPAbortOnMemory",
                                 "TcpExtTCPAbortFailed",
                                 "MPTcpExtMPCapableFallbackACK",
                                 "MPTcpExtMPCapableFallbackSYNACK",
                                 "MPTcpExtMPFallbackTokenInit",
                                 "MPTcpExtMPFailTx",
                                 "MPTcpExtMPFailRx",
                                 "MPTcpExtMPFastcloseTx",
                                 "MPTcpExtMPFastcloseRx",
                                 "MPTcpExtMPRstTx",
                                 "MPTcpExtMPRstRx",
                                 "MPTcpExtDSSCorruptionFallback",
                                 "MPTcpExtDSSCorruptionReset",
                                 "MPTcpExtDataCsumErr",
                                 "MPTcpExtDSSNotMatching",
                                 "MPTcpExtDSSFallback"}) {
            INFO((at_a ? "host A: " : "host B: ") << name);
            // Who gets that RST while it has not closed yet counts a connection that was reset.
            const bool of_an_end = name == abort || std::string_view(name) == "TcpEstabResets" ||
                                   std::string_view(name).starts_with("MPTcpExtMPRst");
            // tcp_validate_incoming() counts a SYN/ACK that is repeated, since the ACK of the handshake was lost in a full queue, as
            // an error as well; a damaged packet is no challenge.
            const std::int64_t repeated =
                std::string_view(name) == "TcpInErrs" ? moved.get_or("TcpExtTCPSYNChallenge", 0) : 0;
            CHECK(moved.get_or(name, 0) <= (of_an_end ? ends : repeated));
        }
    }
}

std::vector<double> single_path_goodput(const lab::Network &network, const lab::Server &server) {
    must(network.a().ip("mptcp limits set subflows 0 add_addr_accepted 0"));
    std::vector<lab::Transfer> transfers;
    for (std::size_t i = 0; i < network.path_count(); ++i) {
        transfers.push_back(
            must(lab::Transfer::start(network.a(), {.address = network.server_address(),
                                                    .port = server.port(),
                                                    .local_address = network.address(lab::Side::a, i),
                                                    .sample_interval = 0ms})));
    }
    std::this_thread::sleep_for(path_time(700ms));
    std::vector<Delivered> before;
    for (std::size_t i = 0; i < transfers.size(); ++i) {
        before.push_back(delivered(transfers[i], network));
    }
    std::this_thread::sleep_for(path_time(1s));
    std::vector<double> rates;
    for (std::size_t i = 0; i < transfers.size(); ++i) {
        const auto now = delivered(transfers[i], network);
        // Each has stayed on its own path.
        REQUIRE(shares(before[i], now)[i] == 1.0);
        rates.push_back(goodput_mbit(before[i], now));
    }
    for (auto &transfer : transfers) {
        transfer.stop();
    }
    for (auto &transfer : transfers) {
        check_clean(transfer.wait());
    }
    must(network.a().ip("mptcp limits set subflows 8 add_addr_accepted 8"));
    return rates;
}

double wait_until(const std::function<bool()> &holds, std::chrono::milliseconds timeout,
                  std::chrono::milliseconds interval) {
    const auto began = Clock::now();
    for (;;) {
        const bool now = holds();
        const double took = seconds_between(began, Clock::now());
        if (now) {
            return took;
        }
        if (took > std::chrono::duration<double>(timeout).count()) {
            return -1;
        }
        std::this_thread::sleep_for(interval);
    }
}

// ----------------------------------------------------------------------------------------------- transfers

lab::Server serve(const lab::Network &network) {
    return must(lab::Server::start(network.b(), {.family = network.spec().family}));
}

lab::Transfer upload(const lab::Network &network, const lab::Server &server, lab::TransferSpec spec) {
    if (spec.address.empty()) {
        spec.address = network.server_address();
    }
    spec.port = server.port();
    auto transfer = must(lab::Transfer::start(network.a(), std::move(spec)));
    REQUIRE(transfer.wait_for_subflows(network.path_count()));
    return transfer;
}

lab::TransferSpec light_traffic() {
    return {
        .direction = lab::Direction::requests, .request_bytes = 300, .response_bytes = 20, .think_time = 3ms};
}

void check_wakes_land(const IdleSubflow &idle) {
    const int toggles = idle.toggles;
    const Cli mpsched(idle.steered);
    // Nothing is under way at these two moments, so the counters of both sides belong together.
    const auto stats_before = mpsched.json("stats");
    const auto prio_before = mp_prio_received(idle.steered);
    for (int i = 0; i < toggles; ++i) {
        mpsched(fmt::format("path {} priority={}", idle.device, i % 2));
        CHECK(wait_until([&] { return mp_prio_received(idle.steered) > prio_before + i; }, 1s, 2ms) >= 0);
    }
    std::this_thread::sleep_for(100ms);
    const auto stats_after = mpsched.json("stats");
    const auto prio = mp_prio_received(idle.steered) - prio_before;
    const auto counted = [&](const char *counter) {
        return stats_after.at(counter).get<std::int64_t>() - stats_before.at(counter).get<std::int64_t>();
    };
    const auto inserted = counted("inserted");
    const auto parking = counted("wake_landed_backup");
    const auto activating = counted("wake_landed") - parking;
    const auto line = fmt::format("{}: MPPrioRx {}, inserted {}, wakes {} activating and {} parking",
                                  idle.label, prio, inserted, activating, parking);
    report(line);
    INFO(line);
    INFO(stats_after.dump());
    CHECK(std::abs(static_cast<double>(prio - inserted - parking - activating)) <=
          0.01 * static_cast<double>(prio));
    CHECK(prio >= toggles);
    CHECK(activating >= toggles / 4);
    CHECK(parking >= toggles / 4);
    CHECK(counted("wake_failed") == 0);
    CHECK(counted("wake_stray") == 0);
    CHECK(counted("edit_failed") == 0);
}

std::vector<KernelSubflow> kernel_subflows(const lab::Namespace &ns) {
    std::vector<KernelSubflow> all;
    std::istringstream lines(must(ns.spawn_checked({"ss", "-tinHO", "state", "established"})).out);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream columns(line);
        std::string receive_queue, send_queue, local, peer;
        columns >> receive_queue >> send_queue >> local >> peer;
        const std::string label = "tcp-ulp-mptcp flags:";
        const auto flags = line.find(label);
        if (flags == std::string::npos) {
            continue;
        }
        std::istringstream rest(line.substr(flags + label.size()));
        std::string letters;
        rest >> letters;
        // b would be the wish of our own endpoint.
        all.push_back(
            {local, peer.substr(0, peer.find_last_of(':')), letters.find('B') != std::string::npos});
    }
    return all;
}

sockaddr_in endpoint(const std::string &address, std::uint16_t port) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = ::htons(port);
    ::inet_pton(AF_INET, address.c_str(), &to.sin_addr);
    return to;
}

bool kernel_backup(const lab::Namespace &ns, const std::string &remote) {
    bool found = false;
    bool backup = false;
    for (const KernelSubflow &one : kernel_subflows(ns)) {
        found = found || one.remote == remote;
        backup = backup || (one.remote == remote && one.backup);
    }
    if (!found) {
        FAIL("ss shows no subflow to " << remote);
    }
    return backup;
}

std::int64_t mp_prio_received(const lab::Namespace &ns) {
    return must(must(lab::read_counters(ns)).get("MPTcpExtMPPrioRx"));
}

std::vector<double> moved(const lab::Network &network, const lab::Transfer &transfer) {
    std::vector<double> per_path(network.path_count());
    for (const auto &connection : transfer.sample())
        for (const auto &subflow : connection.subflows)
            if (const auto path = network.path_of(subflow.local_address))
                per_path.at(*path) += static_cast<double>(subflow.bytes_acked + subflow.bytes_received);
    return per_path;
}

TemporaryFolder::TemporaryFolder() : folder_(mps::test::temporary_folder("e2e")) {}

void report(const std::string &line) {
    std::fputs(fmt::format("    {}\n", line).c_str(), stdout);
    std::fflush(stdout);
}

} // namespace mps::e2e
