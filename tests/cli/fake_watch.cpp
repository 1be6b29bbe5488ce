// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// Of the fake loader: events, explanations, samples, traces.
#include <cstdlib>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>

#include "fake_loader.hpp"
#include "mpsched/events.hpp"
#include "mpsched/explain.hpp"
#include "mpsched/sampler.hpp"
#include "mpsched/trace.hpp"

namespace mps {

using namespace fake;

// Tells, with MPS_FAKE_EVENTS, a few events, once.
struct Events::Impl {
    bool told = std::getenv("MPS_FAKE_EVENTS") == nullptr;
};

Events::Events(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Events::Events(Events &&) noexcept = default;
Events &Events::operator=(Events &&) noexcept = default;
Events::~Events() = default;
// Always readable.
int Events::fd() const {
    static const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    return null;
}
std::vector<std::string> Events::blind() const { return {"nobody follows the interfaces"}; }

Result<std::vector<Event>> Events::read() {
    if (std::exchange(impl_->told, true))
        return std::vector<Event>{};
    return std::vector<Event>{{.kind = Event::Kind::link_down, .interface = "wan0"},
                              {.kind = Event::Kind::quota_used_up,
                               .interface = "lte0",
                               .about = "5000000000",
                               .before = "4900000000",
                               .now = "5000000001"},
                              {.kind = Event::Kind::failover,
                               .interface = "wan0",
                               .now = "lte0",
                               .why = "silent",
                               .connections = 3},
                              {.kind = Event::Kind::verdict,
                               .interface = "lte0",
                               .token = 0x7a3b12cd,
                               .subflow = 2,
                               .now = "parked"}};
}

Result<Events> start_events(const Instance &, std::uint32_t) {
    return Events(std::make_unique<Events::Impl>());
}

Result<Explanation> explain(const Instance &instance, std::uint32_t token) {
    const auto connections = instance.connections();
    if (!connections)
        return std::unexpected(connections.error());
    for (const ConnectionStatus &connection : *connections) {
        if (connection.token != token)
            continue;
        Explanation answer{.connection = connection, .decided_us_ago = 3200, .exact = true};
        answer.unsent_bytes = 1'200'000;
        answer.unacked_bytes = answer.window_bytes = 64'000;
        for (const SubflowStatus &one : connection.subflows) {
            answer.inputs.push_back({.id = one.id,
                                     .usable = true,
                                     .backup = one.backup,
                                     .steerable = one.steerable,
                                     .srtt_us = one.srtt_us,
                                     .cwnd = one.cwnd,
                                     .in_flight = 4,
                                     .mss_bytes = 1428,
                                     .queued_bytes = 12'500,
                                     .pacing_rate = one.pacing_rate,
                                     .quota_left_bytes = 5'000'000});
        }
        return answer;
    }
    return fail(ErrorCode::usage, fmt::format("there is no MPTCP connection {:08x}", token), "see 'conns'");
}

// Each look a second behind the last, however quickly it is asked for.
struct Sampler::Impl {
    const Instance &instance;
    std::uint64_t looks = 0;
};

Sampler::Sampler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Sampler::Sampler(Sampler &&) noexcept = default;
Sampler &Sampler::operator=(Sampler &&) noexcept = default;
Sampler::~Sampler() = default;

const std::string &Sampler::unmeasured() const {
    static const std::string none;
    return none;
}

Result<Sample> Sampler::take() {
    if (const auto done = wanted(); !done)
        return std::unexpected(done.error());
    const std::uint64_t n = ++impl_->looks;
    Sample sample{.monotonic_ns = n * 1'000'000'000, .installed = true};
    sample.policy = sample.rx_policy = "weighted";
    sample.paths = {path_of("wan0", 2), path_of("lte0", 3)};
    sample.connections = *impl_->instance.connections();
    for (ConnectionStatus &connection : sample.connections)
        connection.subflows[0].bytes_acked += n * 1'000'000;
    sample.counters = {{.name = "decided", .text = "decisions", .value = n * 250}};
    sample.programs = {{.name = "mps_tc_eth", .id = 7, .runs = n * 1000, .time_ns = n * 2'000'000}};
    return sample;
}

Result<Sampler> start_sampler(const Instance &instance, bool) {
    if (const auto done = wanted(); !done)
        return std::unexpected(done.error());
    return Sampler(std::make_unique<Sampler::Impl>(instance));
}

std::string_view to_string(TracePacket::Ours ours) {
    return ours == TracePacket::Ours::inserted ? "inserted" : "";
}

// Tells, with MPS_FAKE_TRACE, one packet and one verdict, once.
struct Trace::Impl {
    std::vector<std::string> interfaces;
    bool told = std::getenv("MPS_FAKE_TRACE") == nullptr;
};

Trace::Trace(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Trace::Trace(Trace &&) noexcept = default;
Trace &Trace::operator=(Trace &&) noexcept = default;
Trace::~Trace() = default;
int Trace::fd() const { return -1; }
Result<std::uint64_t> Trace::lost() const { return std::getenv("MPS_FAKE_TRACE") ? 3 : 0; }
const std::vector<std::string> &Trace::interfaces() const { return impl_->interfaces; }

Result<void> Trace::read(const TraceHandlers &handlers) {
    // An ACK with MP_PRIO and a NOP.
    static constexpr std::uint8_t packet[] = {
        0x45, 0,    0, 44, 0, 0, 0x40, 0, 64, 6, 0,    0,    192, 0, 2, 1, 198, 51, 100, 1, 0xc0, 0,
        0x01, 0xbb, 0, 0,  0, 1, 0,    0, 0,  2, 0x60, 0x10, 0,   1, 0, 0, 0,   0,  30,  3, 0x51, 1};
    if (impl_->told)
        return {};
    impl_->told = true;
    handlers.packet({.time_ns = 1700000000123456789,
                     .ifindex = 2,
                     .interface = "wan0",
                     .token = 0xdef48bf1,
                     .subflow = 2,
                     .ours = TracePacket::Ours::inserted,
                     .wire_bytes = sizeof packet,
                     .octets = packet});
    handlers.verdict({.time_ns = 1700000000123456789,
                      .token = 0xdef48bf1,
                      .policy = "weighted",
                      .subflows = {{.id = 1, .ifindex = 2, .interface = "wan0"},
                                   {.id = 2,
                                    .ifindex = 3,
                                    .interface = "lte0",
                                    .allowed = false,
                                    .told_backup = true,
                                    .by_wake = true}}});
    return {};
}

Result<Trace> start_trace(const Instance &, const TraceRequest &request) {
    auto impl = std::make_unique<Trace::Impl>();
    impl->interfaces =
        request.interfaces.empty() ? std::vector<std::string>{"wan0", "lte0"} : request.interfaces;
    return Trace(std::move(impl));
}

} // namespace mps
