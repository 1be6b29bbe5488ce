// SPDX-License-Identifier: MIT
// A scenario: a network, what happens to it, and a workload. Read from TOML (lab/scenarios/README.md tells the keys).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <mpsched/lab/bound.hpp>
#include <mpsched/lab/error.hpp>
#include <mpsched/lab/network.hpp>
#include <mpsched/lab/transfer.hpp>

namespace mps::lab {

/// What a path does to packets at one moment.
struct PathState {
    double rate_mbit = 0;      ///< client to server, link layer
    double down_rate_mbit = 0; ///< server to client
    double delay_ms = 0;       ///< one way
    double jitter_ms = 0;
    double loss = 0; ///< 0..1
    bool blackhole = false;
    bool link_down = false; ///< of the client's device

    bool dead() const { return blackhole || link_down; }
    bool operator==(const PathState &) const = default;
};

/// What a trace makes of a path from one moment on.
struct TraceStep {
    double at_s = 0;
    double rate_mbit = 0; ///< link layer, as in PathState; not 0, since netem takes that for no limit
    double down_rate_mbit = 0;
    std::optional<double> delay_ms = {}; ///< one way, if the trace has delays
    bool dead = false;                   ///< the trace has no rate: whatever is sent is lost
};

/// Both directions of a path over time; after `length_s` it begins again.
struct PathTrace {
    std::string name = {};             ///< of the file, or of both: "up.csv, down.csv"
    std::vector<TraceStep> steps = {}; ///< by time, the first at 0; empty: no trace
    double length_s = 0;
};

struct ScenarioPath {
    std::string name;
    PathState start;
    unsigned mtu = 1500;
    unsigned queue_packets = 0; ///< beyond those under way
    bool backup = false;
    PathTrace trace = {};
    std::map<std::string, std::string> attributes = {}; ///< for `mpsched path`, as typed

    /// Of the path when it is like that, except for rates and blackhole.
    Netem netem(const PathState &state) const;
};

/// A path changes; changes over time are many of these.
struct Change {
    double at_s = 0; ///< after the workload began
    std::size_t path = 0;
    PathState to;
    std::string kind; ///< as in RESULTS.md
    std::string text;
    bool fault = false; ///< the run has to prove that it took effect
};

struct Workload {
    enum class Kind { bulk, requests, stream, video };
    enum class Connections { one, per_size, per_request };

    Kind kind = Kind::bulk;
    Direction direction = Direction::upload;
    unsigned connections = 1; ///< in parallel, each with the whole workload
    double settle_ms = 1500;  ///< between connecting and the first byte, for joins
    double look_ms = 10;      ///< how often sockets are looked at; devices, and the series: a tenth of that

    std::uint64_t bytes = 0; ///< bulk, per connection; 0: until duration_s
    double duration_s = 0;   ///< bulk without bytes, requests without count, stream, video

    std::vector<std::uint64_t> sizes_bytes = {}; ///< requests: in the workload's direction
    std::uint64_t other_bytes = 1;               ///< requests: in the other direction
    std::vector<unsigned> counts = {}; ///< requests of each size, in their order; empty: until duration_s
    double gap_ms = 0;                 ///< between an answer and the next request, give or take 5 %
    std::uint64_t range_bytes =
        0; ///< requests, download: each is asked for in ranges of this, two at a time; 0: whole
    Connections reuse = Connections::per_size;

    double stream_mbit = 0; ///< stream: contents
    std::uint64_t message_bytes = 0;

    double chunk_s = 0;                   ///< video
    double buffer_s = 0;                  ///< video: no new chunk while more than this is ahead
    std::vector<double> ladder_mbit = {}; ///< video: bit rates there are

    double deadline_ms = 0; ///< requests, video: what took longer was late; 0: none
};

std::string_view kind_name(Workload::Kind kind);

struct Scenario {
    std::string id;      ///< "small-buffers"
    std::string number;  ///< "S17", by which it may be named as well; "" if it has none
    std::string variant; ///< "" if there is one only
    std::string title;
    std::string shows; ///< what it is for

    std::vector<ScenarioPath> paths;
    std::vector<Change> changes; ///< by time
    Family family = Family::ipv4;
    std::size_t first_path = 0;
    Joins joins = Joins::client_subflow;
    unsigned subflow_limit = 8;
    bool single_packets = false; ///< see NetworkSpec
    std::string congestion_control = "cubic";
    std::optional<int> send_buffer = {};
    std::optional<int> receive_buffer = {};
    Workload workload;
    std::vector<std::string> steer = {}; ///< "client", "server"
    bool follow = false;                 ///< `mpsched attach --follow` runs there as well
    bool close_silent = false;           ///< … with `--close-silent`
    unsigned probe_idle_s = 0;           ///< … with `--probe-idle`; 0: without
    /// Nobody uses the policy but the workload's clients, which choose it for their own sockets, and tell size and deadline.
    bool by_application = false;
    /// For policies by name: what `mpsched use` is given if the command line says nothing else.
    std::map<std::string, std::map<std::string, std::string>> params = {};

    std::string name() const { return variant.empty() ? id : id + "/" + variant; }
    std::optional<std::size_t> path_index(std::string_view path) const;
    NetworkSpec network() const;
    /// For the bounds: one direction of all paths, contents instead of packets.
    std::vector<FluidPath> fluid(Side from) const;
};

/// All variants of one file. `file` is its name for messages, `seed` decides random changes. A mistake is an error
/// that names file, line and what is allowed.
Result<std::vector<Scenario>> parse_scenarios(std::string_view toml, const std::string &file,
                                              std::uint64_t seed = 1);

/// About what a run takes, from rates and sizes alone: to tell long from short before anything ran.
struct Expected {
    double network_s = 0; ///< settling included
    double megabits = 0;  ///< of contents, all connections
};
Expected expected(const Scenario &scenario);

struct ScenarioFile {
    std::string_view id;
    std::string_view file; ///< relative to the source tree
    std::string_view text;
};
/// Those that are built in, by id.
std::vector<ScenarioFile> builtin_scenarios();

/// Traces that are built in, by the names of their files (lab/traces/).
std::vector<ScenarioFile> builtin_traces();

/// "small-buffers" or "S17" is all its variants, "small-buffers/rcvbuf-1M" one of them, "./my.toml" a file of one's own.
Result<std::vector<Scenario>> find_scenarios(std::string_view name, std::uint64_t seed = 1);

} // namespace mps::lab
