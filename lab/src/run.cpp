// SPDX-License-Identifier: MIT
#include <mpsched/lab/run.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

#include <mpsched/lab/cleanup.hpp>
#include <mpsched/lab/counters.hpp>
#include <mpsched/lab/fd.hpp>
#include <mpsched/lab/mptcp.hpp>
#include <mpsched/lab/network.hpp>

#include "workload.hpp"

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace mps::lab {
namespace {

using namespace std::chrono_literals;
using Clock = WorkloadRun::Clock;

constexpr std::string_view alone_prefix = "alone:";
constexpr int looks_per_interval = 10; // what is read from devices, and the series, come less often
constexpr double recovery_window_s = 0.1;
constexpr auto command_timeout = 60s;
// Less than a segment is no waiting data: the end of a connection counts in its sequence number only.
constexpr std::int64_t least_waiting = 1000;

// ----------------------------------------------------------------------------------------------------------------
// mpsched on the hosts

/// mpsched on one host, from attach to detach.
class Steering {
  public:
    static Result<Steering> start(const Namespace &host, const std::string &name, const Scenario &scenario,
                                  const RunOptions &options,
                                  const std::map<std::string, std::string> &params) {
        Steering steering(host, name, options.mpsched);
        std::vector<std::string> attach{"attach"};
        for (const auto &path : scenario.paths) {
            attach.push_back(path.name);
        }
        attach.insert(attach.end(), {"--policy", "default"});
        if (auto done = steering.run(attach); !done) {
            return std::unexpected(done.error());
        }
        for (const auto &path : scenario.paths) {
            std::vector<std::string> command{"path", path.name};
            for (const auto &[key, value] : path.attributes) {
                command.push_back(fmt::format("{}={}", key, value));
            }
            if (command.size() > 2) {
                if (auto done = steering.run(command); !done) {
                    return std::unexpected(done.error());
                }
            }
        }
        std::vector<std::string> use{"use", options.policy};
        for (const auto &[key, value] : params) {
            use.insert(use.end(), {"-s", fmt::format("{}={}", key, value)});
        }
        if (auto done = steering.run(use); !done) {
            return std::unexpected(done.error());
        }
        return steering;
    }

    Steering(Steering &&other) noexcept
        : host_(other.host_),
          name_(std::move(other.name_)),
          binary_(std::move(other.binary_)),
          guard_(std::move(other.guard_)),
          attached_(std::exchange(other.attached_, false)) {}
    Steering &operator=(Steering &&) = delete;
    Steering(const Steering &) = delete;
    Steering &operator=(const Steering &) = delete;
    ~Steering() {
        if (attached_) {
            std::ignore = run({"detach", "--all"});
        }
    }

    const std::string &name() const { return name_; }

    struct Counts {
        std::int64_t flips = 0;
        std::int64_t wakes = 0;
    };
    Result<Counts> counts() const {
        auto stats = run({"stats", "--json"});
        if (!stats) {
            return std::unexpected(stats.error());
        }
        const auto json = Json::parse(stats->out, nullptr, false);
        if (!json.is_object() || !json.contains("inserted") || !json.contains("wake_landed")) {
            return fail("mpsched stats --json has no \"inserted\" or \"wake_landed\"");
        }
        return Counts{json.at("inserted").get<std::int64_t>(), json.at("wake_landed").get<std::int64_t>()};
    }

  private:
    Steering(const Namespace &host, std::string name, std::string binary)
        : host_(&host), name_(std::move(name)), binary_(std::move(binary)), attached_(true) {
        guard_ = CleanupGuard([argv = command({"detach", "--all"})] {
            std::ignore = run_process(argv, {.timeout = command_timeout});
        });
    }

    std::vector<std::string> command(std::vector<std::string> arguments) const {
        arguments.insert(arguments.begin(), {binary_, "--netns", host_->name()});
        return arguments;
    }
    Result<ProcessResult> run(std::vector<std::string> arguments) const {
        return run_checked(command(std::move(arguments)), {.timeout = command_timeout});
    }

    const Namespace *host_;
    std::string name_;
    std::string binary_;
    CleanupGuard guard_;
    bool attached_;
};

// ----------------------------------------------------------------------------------------------------------------
// changes

struct Event {
    double at_s = 0;
    std::string kind;
    std::optional<std::size_t> path = {};
    std::string text;
    std::string proof = {};
};

/// Applies a scenario's changes while the workload runs, and gathers proof that each took effect.
class Director {
  public:
    Director(Network &network, const Scenario &scenario, std::vector<bool> used)
        : network_(network), scenario_(scenario), used_(std::move(used)) {
        for (const auto &path : scenario.paths) {
            states_.push_back(path.start);
            holes_.emplace_back();
        }
    }
    ~Director() { stop(); }
    Director(const Director &) = delete;
    Director &operator=(const Director &) = delete;

    void start(Clock::time_point began) {
        began_ = began;
        thread_ = std::thread([this] { work(); });
    }

    /// When the workload is over, but its connections are not closed yet: what closes them proves nothing.
    Result<void> stop_with_proof() {
        stop();
        if (error_) {
            return std::unexpected(*error_);
        }
        for (std::size_t path = 0; path < holes_.size(); ++path) {
            if (auto closed = close_hole(path, now_s()); !closed) {
                return closed;
            }
        }
        return {};
    }

    /// After the end: what happened when, if everything is as it was meant to be.
    Result<std::vector<Event>> finish(double ended_s) {
        for (std::size_t i = next_; i < scenario_.changes.size(); ++i) {
            const auto &change = scenario_.changes[i];
            // A repeated fault may well go on beyond the end, but the first one has to have been there.
            if (change.fault && used_[change.path] && faults_ == 0) {
                return fail(fmt::format("the workload ended after {:.2f} s, before the fault \"{}\" at {} s",
                                        ended_s, change.text, change.at_s),
                            "give the scenario more to do, or an earlier fault");
            }
        }
        for (std::size_t path = 0; path < states_.size(); ++path) {
            const auto &state = states_[path];
            if (!used_[path] || state.dead()) {
                continue;
            }
            // Once, and after the end: asking takes a process, and that is time in a VM.
            if (auto same = network_.check_netem(path, state.rate_mbit, state.down_rate_mbit,
                                                 scenario_.paths[path].netem(state));
                !same) {
                return std::unexpected(same.error());
            }
        }
        return std::move(events_);
    }

  private:
    struct Hole {
        std::size_t event = 0;
        std::uint64_t dropped_before = 0;
        bool open = false;
    };

    void stop() {
        stopping_ = true;
        if (thread_.joinable()) {
            thread_.join();
        }
    }

    double now_s() const { return std::chrono::duration<double>(Clock::now() - began_).count(); }

    void work() {
        for (; next_ < scenario_.changes.size(); ++next_) {
            const auto &change = scenario_.changes[next_];
            while (now_s() < change.at_s) {
                if (stopping_) {
                    return;
                }
                constexpr double nap_s = 0.05; // also until a stop is noticed
                std::this_thread::sleep_for(
                    std::chrono::duration<double>(std::min(nap_s, std::max(0.0, change.at_s - now_s()))));
            }
            if (stopping_) {
                return;
            }
            if (!used_[change.path]) {
                continue;
            }
            if (auto done = apply(change); !done) {
                error_ = done.error();
                return;
            }
        }
    }

    Result<void> apply(const Change &change) {
        const auto path = change.path;
        auto &now = states_[path];
        const auto &to = change.to;
        Event event{.at_s = now_s(), .kind = change.kind, .path = path, .text = change.text};
        if (now.blackhole && !to.blackhole) {
            if (auto closed = close_hole(path, event.at_s); !closed) {
                return closed;
            }
        }
        if (to.rate_mbit != now.rate_mbit || to.down_rate_mbit != now.down_rate_mbit ||
            to.delay_ms != now.delay_ms || to.jitter_ms != now.jitter_ms || to.loss != now.loss) {
            const auto &spec = scenario_.paths[path];
            if (auto done = network_.set_netem(path, to.rate_mbit, to.down_rate_mbit, spec.netem(to));
                !done) {
                return done;
            }
        }
        if (to.blackhole != now.blackhole) {
            if (to.blackhole) {
                const auto dropped = network_.dropped(path);
                if (!dropped) {
                    return std::unexpected(dropped.error());
                }
                holes_[path] = {.event = events_.size(), .dropped_before = *dropped, .open = true};
            }
            if (auto done = network_.set_blackhole(path, to.blackhole); !done) {
                return done;
            }
        }
        if (to.link_down != now.link_down) {
            if (auto done = network_.set_link(path, !to.link_down); !done) {
                return done;
            }
            auto carrier = has_carrier(path);
            if (!carrier) {
                return std::unexpected(carrier.error());
            }
            if (*carrier == to.link_down) {
                return fail(fmt::format("the change \"{}\" had no effect: the server {} a carrier",
                                        change.text, *carrier ? "still has" : "does not have"));
            }
            event.proof = to.link_down ? "the server lost the carrier" : "the server has a carrier again";
        }
        now = to;
        faults_ += change.fault ? 1 : 0;
        if (!event.kind.empty()) {
            events_.push_back(std::move(event));
        }
        return {};
    }

    Result<bool> has_carrier(std::size_t path) const {
        // The other end learns of it a moment later.
        std::this_thread::sleep_for(2ms);
        auto shown =
            network_.b().spawn_checked({"ip", "-o", "link", "show", "dev", scenario_.paths[path].name});
        if (!shown) {
            return std::unexpected(shown.error());
        }
        return shown->out.find("LOWER_UP") != std::string::npos;
    }

    Result<void> close_hole(std::size_t path, double at_s) {
        auto &hole = holes_[path];
        if (!hole.open) {
            return {};
        }
        hole.open = false;
        const auto dropped = network_.dropped(path);
        if (!dropped) {
            return std::unexpected(dropped.error());
        }
        auto &event = events_[hole.event];
        if (*dropped <= hole.dropped_before) {
            return fail(
                fmt::format("the fault \"{}\" had no effect: it swallowed nothing from {:.2f} to {:.2f} s",
                            event.text, event.at_s, at_s),
                "nothing was sent on that path meanwhile; give it traffic or another time");
        }
        event.proof =
            fmt::format("{} packets dropped in {:.2f} s", *dropped - hole.dropped_before, at_s - event.at_s);
        return {};
    }

    Network &network_;
    const Scenario &scenario_;
    std::vector<bool> used_; // by path
    Clock::time_point began_;
    std::thread thread_;
    std::atomic<bool> stopping_{false};
    std::size_t next_ = 0;
    std::size_t faults_ = 0;
    std::vector<PathState> states_;
    std::vector<Hole> holes_;
    std::vector<Event> events_;
    std::optional<Error> error_;
};

// ----------------------------------------------------------------------------------------------------------------
// looking

/// Cumulative bytes of one path at the client.
struct PathBytes {
    std::uint64_t tx = 0;
    std::uint64_t rx = 0;
};

struct Coarse {
    double at_s = 0;
    std::vector<PathBytes> paths;
    std::int64_t prio = 0; ///< MP_PRIO that both hosts received
};

struct Look {
    double at_s = 0;
    ReceiverSample receiver;
};

/// A file of /proc/net, opened in its namespace and read over and over. read_counters() takes a thread and parses
/// everything, which costs an emulated processor more than the traffic it watches.
class ProcFile {
  public:
    static Result<ProcFile> open(const Namespace &ns, const char *name) {
        auto fd = ns.run([&]() -> Result<Fd> {
            const auto path = fmt::format("/proc/thread-self/net/{}", name);
            Fd opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
            return opened ? Result<Fd>(std::move(opened)) : os_error("open", path, errno);
        });
        return fd ? Result<ProcFile>(ProcFile(std::move(*fd))) : std::unexpected(fd.error());
    }

    Result<std::string_view> read() {
        std::size_t size = 0;
        for (;;) {
            text_.resize(std::max<std::size_t>(size * 2, 16384));
            const auto n =
                ::pread(fd_.get(), text_.data() + size, text_.size() - size, static_cast<off_t>(size));
            if (n < 0) {
                return os_error("read", "a file of /proc/net", errno);
            }
            if (n == 0) {
                return std::string_view(text_).substr(0, size);
            }
            size += static_cast<std::size_t>(n);
        }
    }

  private:
    explicit ProcFile(Fd fd) : fd_(std::move(fd)) {}

    Fd fd_;
    std::string text_;
};

/// The number that is the n-th word of a text; 0 if there is none.
std::uint64_t word(std::string_view text, std::size_t n) {
    std::size_t at = 0;
    for (;; --n) {
        at = text.find_first_not_of(" \t", at);
        if (at == std::string_view::npos) {
            return 0;
        }
        const auto end = std::min(text.find_first_of(" \t\n", at), text.size());
        if (n == 0) {
            std::uint64_t value = 0;
            std::from_chars(text.data() + at, text.data() + end, value);
            return value;
        }
        at = end;
    }
}

PathBytes path_bytes(std::string_view devices, const std::string &name) {
    const auto label = name + ":";
    for (auto at = devices.find(label); at != std::string_view::npos; at = devices.find(label, at + 1)) {
        if (at == 0 || devices[at - 1] == ' ' || devices[at - 1] == '\n') {
            const auto line = devices.substr(at + label.size());
            constexpr std::size_t tx_column = 8;
            return {.tx = word(line, tx_column), .rx = word(line, 0)};
        }
    }
    return {};
}

std::int64_t prio_received(std::string_view netstat) {
    constexpr std::string_view prefix = "MPTcpExt:";
    const auto names_at = netstat.find(prefix);
    const auto values_at = netstat.find(prefix, names_at + prefix.size());
    const auto name_at = netstat.find(" MPPrioRx ", names_at);
    if (names_at == std::string_view::npos || values_at == std::string_view::npos || name_at > values_at) {
        return 0;
    }
    const auto before = netstat.substr(names_at, name_at - names_at);
    const auto column = static_cast<std::size_t>(std::ranges::count(before, ' '));
    return static_cast<std::int64_t>(word(netstat.substr(values_at), column + 1));
}

/// Everything that is read over and over while the workload runs.
struct Diary {
    std::vector<Coarse> coarse;
    std::vector<Look> looks;
};

class Watcher {
  public:
    static Result<Watcher> create(const Network &network, bool steered) {
        auto devices = ProcFile::open(network.a(), "dev");
        if (!devices) {
            return std::unexpected(devices.error());
        }
        Watcher watcher(network.devices(), std::move(*devices));
        for (const auto *host : {&network.a(), &network.b()}) {
            auto netstat = ProcFile::open(*host, "netstat");
            if (!netstat) {
                return std::unexpected(netstat.error());
            }
            // Without mpsched nobody writes MP_PRIO.
            if (steered) {
                watcher.netstat_.push_back(std::move(*netstat));
            }
        }
        return watcher;
    }

    /// Looks at the sockets every `look_ms`.
    Result<Diary> keep_diary(WorkloadRun &workload, Clock::time_point began, double look_ms) {
        Diary diary;
        const auto look =
            std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(look_ms));
        const auto now_s = [&] { return std::chrono::duration<double>(Clock::now() - began).count(); };
        bool running = true;
        for (int tick = 0; running; ++tick) {
            if (stop_requested() != 0) {
                return fail("stopped by a signal", "", EINTR);
            }
            std::this_thread::sleep_until(began + tick * look);
            running = workload.running();
            diary.looks.push_back({now_s(), workload.sample()});
            // The last look closes the last stretch.
            if (tick % looks_per_interval == 0 || !running) {
                if (auto looked = look_coarse(now_s(), diary); !looked) {
                    return std::unexpected(looked.error());
                }
            }
        }
        return diary;
    }

  private:
    Watcher(std::vector<std::string> names, ProcFile devices)
        : names_(std::move(names)), devices_(std::move(devices)) {}

    Result<void> look_coarse(double at_s, Diary &diary) {
        Coarse coarse{.at_s = at_s, .paths = {}};
        const auto devices = devices_.read();
        if (!devices) {
            return std::unexpected(devices.error());
        }
        for (const auto &name : names_) {
            coarse.paths.push_back(path_bytes(*devices, name));
        }
        for (auto &file : netstat_) {
            const auto netstat = file.read();
            if (!netstat) {
                return std::unexpected(netstat.error());
            }
            coarse.prio += prio_received(*netstat);
        }
        diary.coarse.push_back(std::move(coarse));
        return {};
    }

    std::vector<std::string> names_;
    ProcFile devices_;
    std::vector<ProcFile> netstat_; // of both hosts
};

// ----------------------------------------------------------------------------------------------------------------
// numbers

constexpr std::array<const char *, 20> metric_names{"goodput_mbit",
                                                    "completion_ms",
                                                    "message_delay_ms",
                                                    "video_mbit",
                                                    "video_stall_ms",
                                                    "longest_gap_ms",
                                                    "recovery_ms",
                                                    "out_of_order_bytes_mean",
                                                    "out_of_order_bytes_max",
                                                    "out_of_order_segments",
                                                    "head_of_line_share",
                                                    "reinjected_bytes",
                                                    "reinjections",
                                                    "retransmitted_segments",
                                                    "flips",
                                                    "wakes",
                                                    "flips_per_s",
                                                    "wakes_per_s",
                                                    "contents_bytes",
                                                    "exchanges"};

double rounded(double value) {
    constexpr double precision = 1e4;
    return std::round(value * precision) / precision;
}

Json number(std::optional<double> value) {
    return value && std::isfinite(*value) ? Json(rounded(*value)) : Json(nullptr);
}

double mean(const std::vector<double> &values) {
    return values.empty()
               ? 0
               : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double geometric_mean(const std::vector<double> &values) {
    double logs = 0;
    for (const double value : values) {
        logs += std::log(value);
    }
    return values.empty() ? 0 : std::exp(logs / static_cast<double>(values.size()));
}

double seconds_to_mbit(std::uint64_t bytes, double seconds) {
    return seconds > 0 ? static_cast<double>(bytes) * 8 / 1e6 / seconds : 0;
}

std::optional<double> recovery_ms(const std::vector<Look> &looks, const std::vector<Event> &events) {
    const auto fault = std::ranges::find_if(
        events, [](const Event &e) { return e.kind == "blackhole" || e.kind == "link_down"; });
    if (fault == events.end()) {
        return std::nullopt;
    }
    const auto restored = std::find_if(fault, events.end(), [&](const Event &e) {
        return e.path == fault->path && (e.kind == "restored" || e.kind == "link_up");
    });
    if (restored == events.end()) {
        return std::nullopt;
    }
    const auto at = [&](double when) {
        const auto found = std::ranges::lower_bound(looks, when, {}, &Look::at_s);
        return found == looks.end() ? looks.back() : *found;
    };
    constexpr double reference_s = 1;
    const double from = std::max(0.0, fault->at_s - reference_s);
    const auto before = at(fault->at_s);
    const double rate =
        seconds_to_mbit(before.receiver.delivered - at(from).receiver.delivered, before.at_s - at(from).at_s);
    constexpr double enough = 0.9;
    for (const auto &look : looks) {
        if (look.at_s < restored->at_s + recovery_window_s) {
            continue;
        }
        const auto earlier = at(look.at_s - recovery_window_s);
        if (seconds_to_mbit(look.receiver.delivered - earlier.receiver.delivered, look.at_s - earlier.at_s) >=
            enough * rate) {
            return (look.at_s - restored->at_s) * 1e3;
        }
    }
    return std::nullopt;
}

Json scenario_json(const Scenario &scenario) {
    return {{"id", scenario.id},
            {"variant", scenario.variant.empty() ? Json(nullptr) : Json(scenario.variant)},
            {"name", scenario.name()},
            {"title", scenario.title}};
}

struct Policy {
    std::string name;
    std::string kind = "kernel";
    std::optional<std::size_t> alone;
    std::map<std::string, std::string> params;
    std::vector<std::string> steered;
    std::string file = {}; ///< of a policy that is not built in, as given
    std::string sha256 = {};
};

/// As mpsched tells a file from a name.
bool is_policy_file(const std::string &text) { return text.contains('/') || text.ends_with(".o"); }

/// A policy of a file has the name that its object says, in results as in mpsched.
Result<void> read_object(Policy &policy, const RunOptions &options) {
    auto shown = run_checked({options.mpsched, "policy", "show", options.policy, "--json"},
                             {.timeout = command_timeout});
    if (!shown) {
        return std::unexpected(shown.error());
    }
    const auto json = Json::parse(shown->out, nullptr, false);
    if (!json.is_array() || json.empty() || !json[0].contains("name") || !json[0].contains("sha256")) {
        return fail(fmt::format("mpsched policy show {} --json tells no name", options.policy));
    }
    policy.name = json[0]["name"].get<std::string>();
    policy.sha256 = json[0]["sha256"].get<std::string>();
    policy.file = options.policy;
    return {};
}

Result<Policy> read_policy(const Scenario &scenario, const RunOptions &options) {
    Policy policy{.name = options.policy, .alone = {}, .params = options.params, .steered = {}};
    if (options.policy.starts_with(alone_prefix)) {
        const auto name = options.policy.substr(alone_prefix.size());
        policy.kind = "alone";
        policy.alone = scenario.path_index(name);
        if (!policy.alone) {
            std::vector<std::string> names;
            for (const auto &path : scenario.paths) {
                names.push_back(path.name);
            }
            return fail(
                fmt::format("scenario {} has no path \"{}\" that could be alone", scenario.name(), name),
                fmt::format("there are {}", fmt::join(names, ", ")), EINVAL);
        }
    } else if (options.policy != "default") {
        policy.kind = "mpsched";
        policy.steered = scenario.steer;
        if (is_policy_file(options.policy)) {
            if (auto read = read_object(policy, options); !read) {
                return std::unexpected(read.error());
            }
        }
        if (const auto found = scenario.params.find(policy.name); found != scenario.params.end()) {
            policy.params.insert(found->second.begin(), found->second.end());
        }
    }
    if (policy.kind != "mpsched" && !options.params.empty()) {
        return fail(fmt::format("\"{}\" has no parameters", options.policy), "leave -s out", EINVAL);
    }
    return policy;
}

Json policy_json(const Scenario &scenario, const Policy &policy) {
    return {{"name", policy.name},
            {"kind", policy.kind},
            {"path", policy.alone ? Json(scenario.paths[*policy.alone].name) : Json(nullptr)},
            {"params", policy.params.empty() ? Json::object() : Json(policy.params)},
            {"file", policy.file.empty() ? Json(nullptr) : Json(policy.file)},
            {"sha256", policy.sha256.empty() ? Json(nullptr) : Json(policy.sha256)},
            {"steered", policy.steered}};
}

/// Everything a run brought home; numbers are made of it without looking at the kernel again.
struct Harvest {
    const Scenario &scenario;
    const Policy &policy;
    WorkloadResult workload;
    Diary diary;
    std::vector<Event> events;
    Counters client; // what happened during the workload
    Counters server;
    std::optional<std::uint64_t> reinjected;
    std::vector<std::string> subflows; // local addresses at the client
    std::vector<std::uint64_t> drops;
    std::int64_t flips = 0;
    std::int64_t wakes = 0;
};

struct Measured {
    std::optional<double> value;
    std::optional<double> bound;
};

struct Numbers {
    std::map<std::string, Measured> metrics;
    Json requests = Json::array();
};

std::optional<double> bound_s(const Harvest &harvest, const Exchange &exchange) {
    const auto &scenario = harvest.scenario;
    const auto up = scenario.fluid(Side::a);
    const auto down = scenario.fluid(Side::b);
    double from = exchange.start_s;
    if (scenario.workload.kind == Workload::Kind::stream) {
        const auto &way = scenario.workload.direction == Direction::upload ? up : down;
        const auto arrival = fluid_arrival_s(way, from, static_cast<double>(scenario.workload.message_bytes));
        return arrival ? std::optional(*arrival - from) : std::nullopt;
    }
    double handshake = 0;
    if (exchange.connects) {
        handshake = 2 * scenario.paths[scenario.first_path].start.delay_ms / 1e3;
    }
    const auto rest = fluid_exchange_s(up, down, from + handshake, static_cast<double>(exchange.up_bytes),
                                       static_cast<double>(exchange.down_bytes));
    return rest ? std::optional(*rest + handshake) : std::nullopt;
}

std::optional<double> median(std::vector<double> values) {
    constexpr double half = 50;
    std::ranges::sort(values);
    return values.empty() ? std::nullopt : std::optional(percentile(values, half));
}

Json times_json(std::uint64_t bytes, std::uint64_t other, const std::vector<double> &times_ms,
                std::optional<double> bound_ms) {
    auto sorted = times_ms;
    std::ranges::sort(sorted);
    Json times = Json::array();
    for (const double time : times_ms) {
        times.push_back(rounded(time));
    }
    const double p50 = percentile(sorted, 50);
    const double bound = bound_ms.value_or(0);
    return {{"bytes", bytes},
            {"answer_bytes", other},
            {"count", times_ms.size()},
            {"times_ms", std::move(times)},
            {"min_ms", rounded(sorted.front())},
            {"mean_ms", rounded(mean(sorted))},
            {"p50_ms", rounded(p50)},
            {"p90_ms", rounded(percentile(sorted, 90))},
            {"p99_ms", rounded(percentile(sorted, 99))},
            {"max_ms", rounded(sorted.back())},
            {"bound_ms", number(bound_ms)},
            {"ratio", number(bound > 0 ? std::optional(p50 / bound) : std::nullopt)}};
}

// Requests by size; streams and video are one group.
void take_times(const Harvest &harvest, Numbers &numbers) {
    const auto &workload = harvest.scenario.workload;
    const bool requests = workload.kind == Workload::Kind::requests;
    const auto groups = requests ? workload.sizes_bytes.size() : 1;
    std::vector<double> p50s;
    std::vector<double> bounds;
    for (std::size_t group = 0; group < groups; ++group) {
        std::vector<double> times_ms;
        std::vector<double> bounds_ms;
        for (const auto &exchange : harvest.workload.exchanges) {
            if (exchange.group == group) {
                times_ms.push_back(exchange.seconds * 1e3);
                if (const auto bound = bound_s(harvest, exchange)) {
                    bounds_ms.push_back(*bound * 1e3);
                }
            }
        }
        if (times_ms.empty()) {
            continue;
        }
        const bool bounded = bounds_ms.size() == times_ms.size() && workload.kind != Workload::Kind::video;
        const auto bound_ms = bounded ? median(bounds_ms) : std::nullopt;
        p50s.push_back(*median(times_ms));
        if (bound_ms) {
            bounds.push_back(*bound_ms);
        }
        // Chunks of a video differ in size; message_bytes is 0 then.
        numbers.requests.push_back(times_json(requests ? workload.sizes_bytes[group] : workload.message_bytes,
                                              requests ? workload.other_bytes : 0, times_ms, bound_ms));
        if (workload.kind == Workload::Kind::stream) {
            numbers.metrics["message_delay_ms"] = {mean(times_ms),
                                                   bounded ? std::optional(mean(bounds_ms)) : std::nullopt};
        }
    }
    if (requests && p50s.size() == groups) {
        numbers.metrics["completion_ms"] = {geometric_mean(p50s), bounds.size() == groups
                                                                      ? std::optional(geometric_mean(bounds))
                                                                      : std::nullopt};
    }
}

void take_goodput(const Harvest &harvest, Numbers &numbers) {
    const auto &scenario = harvest.scenario;
    const auto &workload = scenario.workload;
    const bool upload = workload.direction == Direction::upload;
    const auto way = scenario.fluid(upload ? Side::a : Side::b);
    const auto back = scenario.fluid(upload ? Side::b : Side::a);
    const double seconds = harvest.workload.seconds;
    const double goodput = seconds_to_mbit(harvest.workload.delivered, seconds);
    if (workload.kind == Workload::Kind::bulk && workload.bytes > 0) {
        const double total = static_cast<double>(workload.bytes) * workload.connections;
        // Upload: the last byte and its confirmation. Download: the order, and then the last byte.
        const auto bound =
            upload ? fluid_exchange_s(way, back, 0, total, 1) : fluid_exchange_s(back, way, 0, 1, total);
        numbers.metrics["goodput_mbit"] = {goodput,
                                           bound ? std::optional(total * 8 / 1e6 / *bound) : std::nullopt};
        numbers.metrics["completion_ms"] = {seconds * 1e3,
                                            bound ? std::optional(*bound * 1e3) : std::nullopt};
    } else if (workload.kind == Workload::Kind::bulk) {
        const auto begins = upload ? std::optional(0.0) : fluid_arrival_s(back, 0, 1);
        numbers.metrics["goodput_mbit"] = {
            goodput,
            begins ? std::optional(fluid_bytes(way, *begins, seconds) * 8 / 1e6 / seconds) : std::nullopt};
    } else if (workload.kind == Workload::Kind::stream) {
        numbers.metrics["goodput_mbit"] = {goodput, std::nullopt};
    } else if (workload.kind == Workload::Kind::video) {
        std::vector<double> rates;
        for (const auto &exchange : harvest.workload.exchanges) {
            rates.push_back(exchange.video_mbit);
        }
        const double capacity = fluid_bytes(way, 0, seconds) * 8 / 1e6 / seconds;
        numbers.metrics["goodput_mbit"] = {goodput, std::nullopt};
        numbers.metrics["video_mbit"] = {mean(rates), std::min(workload.ladder_mbit.back(), capacity)};
        numbers.metrics["video_stall_ms"] = {harvest.workload.video_stall_s * 1e3, std::nullopt};
    }
}

Numbers take_numbers(const Harvest &harvest, const std::vector<std::int64_t> &waiting) {
    Numbers numbers;
    auto &metrics = numbers.metrics;
    take_goodput(harvest, numbers);
    if (harvest.scenario.workload.kind != Workload::Kind::bulk) {
        take_times(harvest, numbers);
    }
    const auto &workload = harvest.workload;
    const auto set = [&](const char *name, std::optional<double> value) {
        metrics[name] = {value, std::nullopt};
    };
    set("longest_gap_ms", workload.longest_gap_s * 1e3);
    set("recovery_ms", recovery_ms(harvest.diary.looks, harvest.events));
    if (!waiting.empty()) {
        double sum = 0;
        double blocked = 0;
        for (const auto bytes : waiting) {
            sum += static_cast<double>(bytes);
            blocked += bytes >= least_waiting ? 1 : 0;
        }
        const auto samples = static_cast<double>(waiting.size());
        set("out_of_order_bytes_mean", sum / samples);
        set("out_of_order_bytes_max", static_cast<double>(std::ranges::max(waiting)));
        set("head_of_line_share", blocked / samples);
    }
    const bool upload = harvest.scenario.workload.direction == Direction::upload;
    const auto &receiver = upload ? harvest.server : harvest.client;
    const auto &sender = upload ? harvest.client : harvest.server;
    const auto mib = [](const Counters &counters, const char *name) {
        const auto value = counters.get(name);
        return value ? std::optional(static_cast<double>(*value)) : std::nullopt;
    };
    set("out_of_order_segments", mib(receiver, "MPTcpExtOFOQueue"));
    set("reinjections", mib(sender, "MPTcpExtMPTCPRetrans"));
    set("reinjected_bytes",
        harvest.reinjected ? std::optional(static_cast<double>(*harvest.reinjected)) : std::nullopt);
    set("retransmitted_segments", mib(harvest.client, "TcpRetransSegs").value_or(0) +
                                      mib(harvest.server, "TcpRetransSegs").value_or(0));
    set("flips", static_cast<double>(harvest.flips));
    set("wakes", static_cast<double>(harvest.wakes));
    const double seconds = std::max(workload.seconds, 1e-6);
    set("flips_per_s", static_cast<double>(harvest.flips) / seconds);
    set("wakes_per_s", static_cast<double>(harvest.wakes) / seconds);
    set("contents_bytes", static_cast<double>(workload.delivered));
    set("exchanges", static_cast<double>(workload.exchanges.size()));
    return numbers;
}

// A path's subflows by family, as the addresses of the kernel's own sockets tell it.
Json subflows_json(const Harvest &harvest, const Network &network, std::size_t path) {
    std::size_t ipv4 = 0;
    std::size_t ipv6 = 0;
    for (const auto &address : harvest.subflows) {
        if (network.path_of(address) == path) {
            ++(address.find(':') == std::string::npos ? ipv4 : ipv6);
        }
    }
    return {{"ipv4", ipv4}, {"ipv6", ipv6}};
}

Json paths_json(const Harvest &harvest, const Network &network) {
    const auto &scenario = harvest.scenario;
    const bool upload = scenario.workload.direction == Direction::upload;
    double total = 0;
    const auto carried = [&](const std::string &name) {
        const auto &device = harvest.client.devices.at(name);
        return static_cast<double>(upload ? device.tx_bytes : device.rx_bytes);
    };
    for (const auto &path : scenario.paths) {
        total += carried(path.name);
    }
    Json paths = Json::array();
    for (std::size_t i = 0; i < scenario.paths.size(); ++i) {
        const auto &path = scenario.paths[i];
        const auto &device = harvest.client.devices.at(path.name);
        const bool used = !harvest.policy.alone || *harvest.policy.alone == i;
        paths.push_back({{"name", path.name},
                         {"first", i == harvest.policy.alone.value_or(scenario.first_path)},
                         {"rate_mbit", rounded(path.start.rate_mbit)},
                         {"down_rate_mbit", rounded(path.start.down_rate_mbit)},
                         {"delay_ms", rounded(path.start.delay_ms)},
                         {"jitter_ms", rounded(path.start.jitter_ms)},
                         {"loss", rounded(path.start.loss)},
                         {"used", used},
                         {"subflows", subflows_json(harvest, network, i)},
                         {"tx_bytes", device.tx_bytes},
                         {"rx_bytes", device.rx_bytes},
                         {"share", total > 0 ? rounded(carried(path.name) / total) : 0},
                         {"drops", harvest.drops[i]}});
    }
    return paths;
}

// One element for each stretch between two looks at the devices.
Json series_json(const Harvest &harvest, const std::vector<std::int64_t> &waiting) {
    const auto &coarse = harvest.diary.coarse;
    const auto &looks = harvest.diary.looks;
    Json at = Json::array();
    Json goodput = Json::array();
    Json most_waiting = Json::array();
    Json flips = Json::array();
    std::vector<Json> tx(harvest.scenario.paths.size(), Json::array());
    std::vector<Json> rx = tx;
    std::size_t look = 0;
    std::uint64_t delivered_before = looks.empty() ? 0 : looks.front().receiver.delivered;
    for (std::size_t i = 0; i + 1 < coarse.size(); ++i) {
        const auto &from = coarse[i];
        const auto &to = coarse[i + 1];
        const double seconds = to.at_s - from.at_s;
        at.push_back(rounded(from.at_s));
        flips.push_back(to.prio - from.prio);
        for (std::size_t path = 0; path < tx.size(); ++path) {
            const auto &before = from.paths[path];
            const auto &after = to.paths[path];
            tx[path].push_back(rounded(seconds_to_mbit(after.tx - before.tx, seconds)));
            rx[path].push_back(rounded(seconds_to_mbit(after.rx - before.rx, seconds)));
        }
        std::int64_t most = 0;
        auto delivered = delivered_before;
        for (; look < looks.size() && looks[look].at_s < to.at_s; ++look) {
            most = std::max(most, waiting[look]);
            delivered = looks[look].receiver.delivered;
        }
        most_waiting.push_back(most);
        goodput.push_back(rounded(seconds_to_mbit(delivered - delivered_before, seconds)));
        delivered_before = delivered;
    }
    Json paths = Json::array();
    for (std::size_t path = 0; path < tx.size(); ++path) {
        paths.push_back({{"name", harvest.scenario.paths[path].name},
                         {"tx_mbit", std::move(tx[path])},
                         {"rx_mbit", std::move(rx[path])}});
    }
    return {{"interval_s", harvest.scenario.workload.look_ms * looks_per_interval / 1e3},
            {"at_s", std::move(at)},
            {"paths", std::move(paths)},
            {"goodput_mbit", std::move(goodput)},
            {"out_of_order_bytes", std::move(most_waiting)},
            {"flips", std::move(flips)}};
}

Json events_json(const Harvest &harvest) {
    auto events = harvest.events;
    const auto &workload = harvest.scenario.workload;
    if (workload.kind == Workload::Kind::requests) {
        for (std::size_t group = 0; group < workload.sizes_bytes.size(); ++group) {
            const auto first = std::ranges::find(harvest.workload.exchanges, group, &Exchange::group);
            if (first != harvest.workload.exchanges.end()) {
                events.push_back({.at_s = first->start_s,
                                  .kind = "request",
                                  .path = {},
                                  .text = fmt::format("requests of {} bytes", workload.sizes_bytes[group])});
            }
        }
    }
    events.push_back({.at_s = harvest.workload.seconds, .kind = "end", .path = {}, .text = "end"});
    std::ranges::stable_sort(events, {}, &Event::at_s);
    Json json = Json::array();
    for (const auto &event : events) {
        json.push_back({{"at_s", rounded(event.at_s)},
                        {"kind", event.kind},
                        {"path", event.path ? Json(harvest.scenario.paths[*event.path].name) : Json(nullptr)},
                        {"text", event.text},
                        {"proof", event.proof.empty() ? Json(nullptr) : Json(event.proof)}});
    }
    return json;
}

/// Time is virtual only where somebody made it so, and vmtest tells its guests.
bool virtual_time() {
    const char *told = std::getenv("MPS_VIRTUAL_TIME");
    return told != nullptr && std::string_view(told) == "1";
}

std::string kernel_release() {
    utsname name{};
    return ::uname(&name) == 0 ? name.release : "unknown";
}

Json document(const Harvest &harvest, const Network &network, std::uint64_t seed) {
    const auto &scenario = harvest.scenario;
    std::vector<std::int64_t> ahead;
    for (const auto &look : harvest.diary.looks) {
        ahead.push_back(look.receiver.ahead_bytes);
    }
    const auto waiting = out_of_order(ahead);
    const auto numbers = take_numbers(harvest, waiting);
    Json metrics = Json::object();
    Json bounds = Json::object();
    Json ratios = Json::object();
    for (const auto *name : metric_names) {
        const auto found = numbers.metrics.find(name);
        const auto measured = found == numbers.metrics.end() ? Measured{} : found->second;
        metrics[name] = number(measured.value);
        bounds[name] = number(measured.bound);
        ratios[name] = number(measured.value && measured.bound && *measured.bound > 0
                                  ? std::optional(*measured.value / *measured.bound)
                                  : std::nullopt);
    }
    const auto first = harvest.policy.alone.value_or(scenario.first_path);
    return {{"schema_version", 1},
            {"scenario", scenario_json(scenario)},
            {"policy", policy_json(scenario, harvest.policy)},
            {"seed", seed},
            {"kernel", kernel_release()},
            {"virtual_time", virtual_time()},
            {"first_path", scenario.paths[first].name},
            {"workload",
             {{"kind", kind_name(scenario.workload.kind)},
              {"direction", scenario.workload.direction == Direction::upload ? "upload" : "download"},
              {"connections", scenario.workload.connections}}},
            {"duration_s", rounded(harvest.workload.seconds)},
            {"status", "ok"},
            {"metrics", std::move(metrics)},
            {"bounds", std::move(bounds)},
            {"ratios", std::move(ratios)},
            {"requests", numbers.requests},
            {"paths", paths_json(harvest, network)},
            {"series", series_json(harvest, waiting)},
            {"events", events_json(harvest)}};
}

Result<std::vector<std::uint64_t>> drops_of(const Network &network) {
    std::vector<std::uint64_t> drops;
    for (std::size_t path = 0; path < network.path_count(); ++path) {
        const auto dropped = network.dropped(path);
        if (!dropped) {
            return std::unexpected(dropped.error());
        }
        drops.push_back(*dropped);
    }
    return drops;
}

Result<Steering::Counts> sum_counts(const std::vector<Steering> &steerings) {
    Steering::Counts sum;
    for (const auto &steering : steerings) {
        const auto counts = steering.counts();
        if (!counts) {
            return counts;
        }
        sum.flips += counts->flips;
        sum.wakes += counts->wakes;
    }
    return sum;
}

} // namespace

double percentile(const std::vector<double> &sorted, double percent) {
    const auto rank = std::ceil(percent / 100 * static_cast<double>(sorted.size()));
    return sorted[static_cast<std::size_t>(std::clamp(rank, 1.0, static_cast<double>(sorted.size()))) - 1];
}

std::vector<std::int64_t> out_of_order(const std::vector<std::int64_t> &ahead) {
    std::vector<std::int64_t> waiting(ahead.size());
    std::int64_t least_later = 0;
    for (std::size_t i = ahead.size(); i-- > 0;) {
        least_later = i + 1 == ahead.size() ? ahead[i] : std::min(least_later, ahead[i]);
        waiting[i] = ahead[i] - least_later;
    }
    return waiting;
}

Result<Json> run_scenario(const Scenario &scenario, const RunOptions &options) {
    auto policy = read_policy(scenario, options);
    if (!policy) {
        return std::unexpected(policy.error());
    }
    if (auto available = check_mptcp_available(); !available) {
        return std::unexpected(available.error());
    }
    const auto netem = netem_available();
    if (!netem) {
        return std::unexpected(netem.error());
    }
    if (!*netem) {
        return fail("this kernel has no netem, so it has no delays and losses",
                    fmt::format("\"./run lab {}\" runs the scenario in a VM", scenario.name()),
                    EPROTONOSUPPORT);
    }

    auto spec = scenario.network();
    std::vector<bool> used(scenario.paths.size(), true);
    std::size_t subflows = std::min<std::size_t>(scenario.paths.size(), scenario.subflow_limit + 1U);
    if (policy->alone) {
        used.assign(used.size(), false);
        used[*policy->alone] = true;
        spec.first_path = *policy->alone;
        spec.joins = Joins::none;
    }
    if (spec.joins == Joins::none) {
        subflows = 1;
    }
    auto network = Network::create(std::move(spec));
    if (!network) {
        return std::unexpected(network.error());
    }
    std::vector<Steering> steerings;
    for (const auto &name : policy->steered) {
        auto steering = Steering::start(name == "client" ? network->a() : network->b(), name, scenario,
                                        options, policy->params);
        if (!steering) {
            return std::unexpected(steering.error());
        }
        steerings.push_back(std::move(*steering));
    }

    auto workload = WorkloadRun::prepare(*network, scenario, subflows, options.seed);
    if (!workload) {
        return std::unexpected(workload.error());
    }
    // Processes are started here, and after the end, not while time is taken.
    auto drops_before = drops_of(*network);
    auto counts_before = sum_counts(steerings);
    auto client_before = read_counters(network->a());
    auto server_before = read_counters(network->b());
    for (const auto *error :
         {drops_before ? nullptr : &drops_before.error(), counts_before ? nullptr : &counts_before.error(),
          client_before ? nullptr : &client_before.error(),
          server_before ? nullptr : &server_before.error()}) {
        if (error != nullptr) {
            return std::unexpected(*error);
        }
    }
    auto watcher = Watcher::create(*network, !steerings.empty());
    if (!watcher) {
        return std::unexpected(watcher.error());
    }
    Director director(*network, scenario, used);
    const auto began = workload->begin();
    director.start(began);
    auto diary = watcher->keep_diary(*workload, began, scenario.workload.look_ms);
    if (!diary) {
        return std::unexpected(diary.error());
    }
    const auto proven = director.stop_with_proof();
    auto result = workload->wait();
    if (!result) {
        return std::unexpected(result.error());
    }
    if (!proven) {
        return std::unexpected(proven.error());
    }
    const auto reinjected = workload->reinjected_bytes();
    auto events = director.finish(result->seconds);
    if (!events) {
        return std::unexpected(events.error());
    }
    auto client = read_counters(network->a());
    auto server = read_counters(network->b());
    auto drops = drops_of(*network);
    auto counts = sum_counts(steerings);
    for (const auto *error : {client ? nullptr : &client.error(), server ? nullptr : &server.error(),
                              drops ? nullptr : &drops.error(), counts ? nullptr : &counts.error()}) {
        if (error != nullptr) {
            return std::unexpected(*error);
        }
    }
    for (std::size_t path = 0; path < drops->size(); ++path) {
        (*drops)[path] -= (*drops_before)[path];
    }
    const Harvest harvest{.scenario = scenario,
                          .policy = *policy,
                          .workload = std::move(*result),
                          .diary = std::move(*diary),
                          .events = std::move(*events),
                          .client = *client - *client_before,
                          .server = *server - *server_before,
                          .reinjected = reinjected,
                          .subflows = workload->subflows(),
                          .drops = std::move(*drops),
                          .flips = counts->flips - counts_before->flips,
                          .wakes = counts->wakes - counts_before->wakes};
    return document(harvest, *network, options.seed);
}

Json failed_run(const Scenario *scenario, const RunOptions &options, const Error &error, int code) {
    return {{"schema_version", 1},
            {"scenario", scenario != nullptr ? scenario_json(*scenario) : Json(nullptr)},
            {"policy", {{"name", options.policy}}},
            {"seed", options.seed},
            {"status", "failed"},
            {"error", {{"what", error.what}, {"hint", error.hint}, {"code", code}}}};
}

} // namespace mps::lab
