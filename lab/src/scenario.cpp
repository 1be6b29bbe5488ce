// SPDX-License-Identifier: MIT
#include <mpsched/lab/scenario.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

namespace mps::lab {
namespace {

constexpr double no_limit = std::numeric_limits<double>::infinity();
constexpr double ramp_step_s = 0.1;
constexpr std::size_t max_changes = 10'000;
constexpr double max_rate_mbit = 10'000;
constexpr double max_delay_ms = 10'000;
constexpr double max_duration_s = 3600;
constexpr double max_bytes = 16e9;
constexpr double default_queue_ms = 100;
constexpr unsigned least_queue_packets = 50;

/// The first mistake in a file. What comes after it is read, but not told.
class Mistakes {
  public:
    Mistakes(std::string file, toml::source_index fallback_line)
        : file_(std::move(file)), fallback_line_(fallback_line) {}

    void add(const toml::source_region &where, std::string what, std::string hint) {
        if (first_) {
            return;
        }
        // Values that a variant sets have no place of their own.
        const auto place = where.begin.line != 0 ? fmt::format("{}:{}", where.begin.line, where.begin.column)
                                                 : fmt::format("{}", fallback_line_);
        first_ = Error{fmt::format("{}:{}: {}", file_, place, what), std::move(hint), EINVAL};
    }
    const std::optional<Error> &first() const { return first_; }

  private:
    std::string file_;
    toml::source_index fallback_line_;
    std::optional<Error> first_;
};

/// Reads the keys of one table; whatever nobody asked for is a mistake.
class Section {
  public:
    Section(const toml::table &table, std::string label, Mistakes &mistakes)
        : table_(table), label_(std::move(label)), mistakes_(mistakes) {}

    bool has(std::string_view key) {
        known_.emplace(key);
        return table_.contains(key);
    }

    void require(std::string_view key, const std::string &hint) {
        if (!has(key)) {
            mistakes_.add(table_.source(), fmt::format("{} needs \"{}\"", label_, key), hint);
        }
    }

    double number(std::string_view key, double otherwise, double least, double most) {
        const auto *node = find(key);
        if (node == nullptr) {
            return otherwise;
        }
        return checked_number(key, *node, otherwise, least, most);
    }

    template <class T>
    T integer(std::string_view key, T otherwise, double least, double most) {
        const auto *node = find(key);
        if (node == nullptr) {
            return otherwise;
        }
        if (!node->is_integer()) {
            wrong(key, *node, fmt::format("a whole number from {} to {}", least, most));
            return otherwise;
        }
        return static_cast<T>(checked_number(key, *node, static_cast<double>(otherwise), least, most));
    }

    bool boolean(std::string_view key, bool otherwise) {
        const auto *node = find(key);
        if (node == nullptr) {
            return otherwise;
        }
        if (!node->is_boolean()) {
            wrong(key, *node, "true or false");
        }
        return node->value_or(otherwise);
    }

    std::string text(std::string_view key, std::string otherwise = {}) {
        const auto *node = find(key);
        if (node == nullptr) {
            return otherwise;
        }
        if (!node->is_string()) {
            wrong(key, *node, "a text in quotation marks");
        }
        return node->value_or(std::move(otherwise));
    }

    template <class T>
    T choice(std::string_view key, T otherwise, const std::vector<std::pair<std::string, T>> &choices) {
        const auto *node = find(key);
        if (node == nullptr) {
            return otherwise;
        }
        const auto given = node->value<std::string>();
        std::vector<std::string> names;
        for (const auto &[name, value] : choices) {
            if (given == name) {
                return value;
            }
            names.push_back(fmt::format("\"{}\"", name));
        }
        wrong(key, *node, fmt::format("{}", fmt::join(names, ", ")));
        return otherwise;
    }

    std::vector<double> numbers(std::string_view key, double least, double most) {
        std::vector<double> values;
        if (const auto *node = find(key)) {
            const auto *array = node->as_array();
            if (array == nullptr || array->empty()) {
                wrong(key, *node, "a list of numbers, at least one");
                return values;
            }
            for (const auto &element : *array) {
                values.push_back(checked_number(key, element, least, least, most));
            }
        }
        return values;
    }

    /// `size` whole numbers: one that holds for all, or a list of them. Empty if there is no such key.
    std::vector<unsigned> integers(std::string_view key, std::size_t size, double least, double most) {
        const auto *node = find(key);
        if (node == nullptr) {
            return {};
        }
        const auto *array = node->as_array();
        if (array == nullptr) {
            return std::vector<unsigned>(size, integer(key, static_cast<unsigned>(least), least, most));
        }
        if (array->size() != size || !array->is_homogeneous(toml::node_type::integer)) {
            wrong(key, *node, fmt::format("a whole number, or a list of {} of them", size));
            return std::vector<unsigned>(size, static_cast<unsigned>(least));
        }
        std::vector<unsigned> values;
        for (const auto &element : *array) {
            values.push_back(static_cast<unsigned>(checked_number(key, element, least, least, most)));
        }
        return values;
    }

    std::vector<std::string> texts(std::string_view key, const std::vector<std::string> &allowed) {
        std::vector<std::string> values;
        if (const auto *node = find(key)) {
            const auto *array = node->as_array();
            const auto hint = fmt::format("a list of any of \"{}\"", fmt::join(allowed, "\", \""));
            if (array == nullptr) {
                wrong(key, *node, hint);
                return values;
            }
            for (const auto &element : *array) {
                values.push_back(element.value_or(std::string{}));
                if (std::ranges::find(allowed, values.back()) == allowed.end()) {
                    wrong(key, element, hint);
                }
            }
        }
        return values;
    }

    const toml::table *table(std::string_view key) {
        const auto *node = find(key);
        if (node == nullptr) {
            return nullptr;
        }
        if (!node->is_table()) {
            wrong(key, *node, "a table");
        }
        return node->as_table();
    }

    std::vector<const toml::table *> tables(std::string_view key) {
        std::vector<const toml::table *> all;
        if (const auto *node = find(key)) {
            const auto *array = node->as_array();
            if (array == nullptr || !array->is_homogeneous(toml::node_type::table)) {
                wrong(key, *node, fmt::format("written as [[{}]]", key));
                return all;
            }
            for (const auto &element : *array) {
                all.push_back(element.as_table());
            }
        }
        return all;
    }

    /// A table of texts and numbers with any keys.
    std::map<std::string, std::string> settings(std::string_view key) {
        std::map<std::string, std::string> all;
        if (const auto *inner = table(key)) {
            for (const auto &[name, node] : *inner) {
                const std::string id(name.str());
                if (const auto *text = node.as_string()) {
                    all[id] = text->get();
                } else if (const auto *integer = node.as_integer()) {
                    all[id] = fmt::format("{}", integer->get());
                } else if (const auto *real = node.as_floating_point()) {
                    all[id] = fmt::format("{}", real->get());
                } else {
                    wrong(id, node, "a text or a number");
                }
            }
        }
        return all;
    }

    void mistake(std::string_view key, std::string what, std::string hint) {
        const auto *node = table_.get(key);
        mistakes_.add(node != nullptr ? node->source() : table_.source(), std::move(what), std::move(hint));
    }

    /// After everything was asked for.
    void finish() {
        for (const auto &[key, node] : table_) {
            if (!known_.contains(key.str())) {
                mistakes_.add(key.source(), fmt::format("{} does not know \"{}\"", label_, key.str()),
                              fmt::format("allowed: {}", fmt::join(known_, ", ")));
            }
        }
    }

  private:
    const toml::node *find(std::string_view key) {
        known_.emplace(key);
        return table_.get(key);
    }

    void wrong(std::string_view key, const toml::node &node, const std::string &allowed) {
        mistakes_.add(node.source(), fmt::format("{}: \"{}\" is not possible like this", label_, key),
                      fmt::format("allowed: {}", allowed));
    }

    double checked_number(std::string_view key, const toml::node &node, double otherwise, double least,
                          double most) {
        const auto value = node.value<double>();
        if (!node.is_number() || !value || !(*value >= least && *value <= most)) {
            wrong(key, node,
                  most == no_limit ? fmt::format("a number from {}", least)
                                   : fmt::format("a number from {} to {}", least, most));
            return otherwise;
        }
        return *value;
    }

    const toml::table &table_;
    std::string label_;
    Mistakes &mistakes_;
    std::set<std::string, std::less<>> known_;
};

/// What a [[change]] or [[random]] says of a path's numbers.
struct Number {
    const char *key;
    double PathState::*member;
    const char *kind;
    const char *unit;
    double least;
    double most;
    double scale; ///< from the file's unit to ours
};
constexpr std::array<Number, 5> numbers{
    {{"rate_mbit", &PathState::rate_mbit, "rate", "Mbit/s", 0.01, max_rate_mbit, 1},
     {"down_rate_mbit", &PathState::down_rate_mbit, "rate", "Mbit/s down", 0.01, max_rate_mbit, 1},
     {"delay_ms", &PathState::delay_ms, "delay", "ms", 0, max_delay_ms, 1},
     {"jitter_ms", &PathState::jitter_ms, "delay", "ms jitter", 0, max_delay_ms, 1},
     {"loss_percent", &PathState::loss, "loss", "% loss", 0, 100, 0.01}}};

ScenarioPath read_path(const toml::table &table, Mistakes &mistakes) {
    Section section(table, "[[path]]", mistakes);
    ScenarioPath path;
    section.require("name", "the name of a network device, for example \"wifi\"");
    path.name = section.text("name");
    constexpr std::size_t longest = 15;
    if (section.has("name") && (path.name.empty() || path.name.size() > longest || path.name == "lo" ||
                                path.name.find_first_of("/: \t\n") != std::string::npos)) {
        section.mistake("name", fmt::format("\"{}\" cannot be the name of a path", path.name),
                        "allowed: 1 to 15 characters without spaces, slashes and colons, not \"lo\"");
    }
    section.require("rate_mbit", "the rate from client to server, link layer, in 10^6 bit/s");
    for (const auto &number : numbers) {
        path.start.*number.member = number.scale * section.number(number.key, 0, number.least, number.most);
    }
    if (!section.has("down_rate_mbit")) {
        path.start.down_rate_mbit = path.start.rate_mbit;
    }
    path.mtu = section.integer("mtu", 1500U, 1280, 65535);
    const double default_queue =
        std::max(std::ceil(std::max(path.start.rate_mbit, path.start.down_rate_mbit) * 1e3 *
                           default_queue_ms / 8 / path.mtu),
                 static_cast<double>(least_queue_packets));
    path.queue_packets = section.integer("queue_packets", static_cast<unsigned>(default_queue), 1, 1'000'000);
    path.backup = section.boolean("backup", false);
    path.attributes = section.settings("attributes");
    section.finish();
    return path;
}

/// One line of a [[change]], [[random]]: what a path is at a time is known only when all are in order.
struct Edit {
    std::size_t path = 0;
    const Number *number = nullptr; ///< else `flag`
    bool PathState::*flag = nullptr;
    double value = 0;
    double over_s = 0;
    bool quiet = false; ///< a step in the middle of a ramp
};
using Edits = std::multimap<double, Edit>; ///< by time

std::size_t read_path_name(Section &section, const Scenario &scenario) {
    std::vector<std::string> names;
    for (const auto &path : scenario.paths) {
        names.push_back(path.name);
    }
    section.require("path", fmt::format("one of {}", fmt::join(names, ", ")));
    const auto name = section.text("path");
    const auto index = scenario.path_index(name);
    if (section.has("path") && !index) {
        section.mistake("path", fmt::format("there is no path \"{}\"", name),
                        fmt::format("allowed: {}", fmt::join(names, ", ")));
    }
    return index.value_or(0);
}

void read_change(const toml::table &table, const Scenario &scenario, Mistakes &mistakes, Edits &edits) {
    Section section(table, "[[change]]", mistakes);
    section.require("at_s", "the time of the change, in seconds after the workload began");
    const double at = section.number("at_s", 0, 0, max_duration_s);
    const auto path = read_path_name(section, scenario);
    const double over = section.number("over_s", 0, 0, max_duration_s);
    const double every = section.number("every_s", 0, 0.01, max_duration_s);
    const double until = section.number("until_s", at, at, max_duration_s);
    if (section.has("every_s") != section.has("until_s")) {
        section.mistake(section.has("every_s") ? "every_s" : "until_s",
                        "a change that repeats needs both \"every_s\" and \"until_s\"", "");
    }
    std::vector<Edit> once;
    for (const auto &number : numbers) {
        if (section.has(number.key)) {
            const double value = number.scale * section.number(number.key, 0, number.least, number.most);
            once.push_back({.path = path, .number = &number, .value = value, .over_s = over});
        }
    }
    if (section.has("blackhole")) {
        const bool on = section.boolean("blackhole", false);
        once.push_back({.path = path, .flag = &PathState::blackhole, .value = on ? 1.0 : 0.0});
    }
    if (section.has("link")) {
        const bool down = section.choice<bool>("link", false, {{"down", true}, {"up", false}});
        once.push_back({.path = path, .flag = &PathState::link_down, .value = down ? 1.0 : 0.0});
    }
    section.finish();
    if (once.empty()) {
        section.mistake(
            "at_s", "[[change]] changes nothing",
            "give one of rate_mbit, down_rate_mbit, delay_ms, jitter_ms, loss_percent, blackhole, link");
    }
    if (over > 0 && std::ranges::any_of(once, [](const Edit &edit) { return edit.flag != nullptr; })) {
        section.mistake("over_s", "blackhole and link do not change gradually", "leave \"over_s\" out");
    }
    for (double begin = at; begin <= until && edits.size() < max_changes;
         begin += every > 0 ? every : no_limit) {
        for (const auto &edit : once) {
            edits.emplace(begin, edit);
        }
    }
}

void read_random(const toml::table &table, const Scenario &scenario, std::uint64_t seed, Mistakes &mistakes,
                 Edits &edits) {
    Section section(table, "[[random]]", mistakes);
    const auto path = read_path_name(section, scenario);
    std::vector<std::pair<std::string, const Number *>> keys;
    for (const auto &number : numbers) {
        keys.emplace_back(number.key, &number);
    }
    for (const auto *key : {"key", "from", "to", "every_s", "until_s"}) {
        section.require(key, "[[random]] has path, key, from, to, every_s and until_s");
    }
    const auto *number = section.choice<const Number *>("key", numbers.data(), keys);
    const double from = section.number("from", number->least, number->least, number->most);
    const double to = section.number("to", from, from, number->most);
    const double every = section.number("every_s", 1, 0.01, max_duration_s);
    const double until = section.number("until_s", every, 0, max_duration_s);
    section.finish();
    // Not std::uniform_real_distribution: its numbers depend on the library.
    std::mt19937_64 random(seed * 1000 + path);
    for (double at = 0; at <= until && edits.size() < max_changes; at += every) {
        const double part = static_cast<double>(random() >> 11) / 9007199254740992.0; // 2^53
        edits.emplace(
            at, Edit{.path = path, .number = number, .value = number->scale * (from + part * (to - from))});
    }
}

std::vector<Change> in_order(const Scenario &scenario, Edits edits) {
    std::vector<PathState> now;
    for (const auto &path : scenario.paths) {
        now.push_back(path.start);
    }
    std::vector<Change> changes;
    while (!edits.empty() && changes.size() < max_changes) {
        const auto [at, edit] = *edits.begin();
        edits.erase(edits.begin());
        auto &state = now[edit.path];
        if (edit.over_s > 0) {
            const double start = state.*edit.number->member;
            const auto steps = static_cast<int>(std::ceil(edit.over_s / ramp_step_s));
            for (int i = 1; i <= steps; ++i) {
                auto step = edit;
                const double part = static_cast<double>(i) / steps;
                step.value = start + part * (edit.value - start);
                step.over_s = 0;
                step.quiet = i != steps;
                edits.emplace(at + part * edit.over_s, step);
            }
            continue;
        }
        const auto &name = scenario.paths[edit.path].name;
        Change change;
        change.at_s = at;
        change.path = edit.path;
        if (edit.flag != nullptr) {
            const bool hole = edit.flag == &PathState::blackhole;
            const bool on = edit.value > 0;
            state.*edit.flag = on;
            change.fault = on;
            change.kind = on ? (hole ? "blackhole" : "link_down") : (hole ? "restored" : "link_up");
            change.text = fmt::format("{} {}", name, on ? (hole ? "blackhole" : "down") : "back");
        } else {
            state.*edit.number->member = edit.value;
            // A path whose two rates were one keeps them one.
            if (edit.number->member == &PathState::rate_mbit &&
                scenario.paths[edit.path].start.rate_mbit == scenario.paths[edit.path].start.down_rate_mbit) {
                state.down_rate_mbit = edit.value;
            }
            change.kind = edit.quiet ? "" : edit.number->kind;
            change.text =
                fmt::format("{} {:.4g} {}", name, edit.value / edit.number->scale, edit.number->unit);
        }
        change.to = state;
        // Several keys of one [[change]] are one change.
        if (!changes.empty() && changes.back().at_s == at && changes.back().path == edit.path) {
            auto &before = changes.back();
            before.to = state;
            before.fault = before.fault || change.fault;
            before.kind = change.fault || before.kind.empty() ? change.kind : before.kind;
            before.text += ", " + change.text.substr(name.size() + 1);
        } else {
            changes.push_back(std::move(change));
        }
    }
    return changes;
}

Workload read_workload(const toml::table &table, Mistakes &mistakes) {
    using Kind = Workload::Kind;
    Section section(table, "[workload]", mistakes);
    Workload workload;
    section.require("kind", "one of \"bulk\", \"requests\", \"stream\", \"video\"");
    workload.kind = section.choice<Kind>("kind", Kind::bulk,
                                         {{"bulk", Kind::bulk},
                                          {"requests", Kind::requests},
                                          {"stream", Kind::stream},
                                          {"video", Kind::video}});
    workload.direction = section.choice<Direction>(
        "direction", Direction::upload, {{"upload", Direction::upload}, {"download", Direction::download}});
    constexpr double most_connections = 64;
    workload.connections = section.integer("connections", 1U, 1, most_connections);
    workload.settle_ms = section.number("settle_ms", workload.settle_ms, 0, 60'000);
    workload.look_ms = section.number("look_ms", workload.look_ms, 1, 10'000);
    const auto duration = [&] { workload.duration_s = section.number("duration_s", 0, 0.1, max_duration_s); };
    const auto either = [&](const char *key) {
        if (section.has(key) == section.has("duration_s")) {
            section.mistake(section.has(key) ? key : "kind",
                            fmt::format("[workload] needs one of \"{}\" and \"duration_s\"", key),
                            "the amount of work, or how long it goes on");
        }
    };
    switch (workload.kind) {
    case Kind::bulk:
        workload.bytes = section.integer<std::uint64_t>("bytes", 0, 1, max_bytes);
        duration();
        either("bytes");
        break;
    case Kind::requests: {
        section.require("sizes_bytes", "a list of sizes, for example [1000, 100_000]");
        for (const double size : section.numbers("sizes_bytes", 1, max_bytes)) {
            workload.sizes_bytes.push_back(static_cast<std::uint64_t>(size));
        }
        workload.other_bytes = section.integer<std::uint64_t>("other_bytes", 1, 1, max_bytes);
        workload.counts = section.integers("count", workload.sizes_bytes.size(), 1, 1'000'000);
        duration();
        either("count");
        if (workload.duration_s > 0 && workload.sizes_bytes.size() > 1) {
            section.mistake("duration_s", "with several sizes [workload] needs a \"count\"", "of each size");
        }
        workload.gap_ms = section.number("gap_ms", 0, 0, 60'000);
        using Connections = Workload::Connections;
        workload.reuse = section.choice<Connections>("connection_per", Connections::per_size,
                                                     {{"run", Connections::one},
                                                      {"size", Connections::per_size},
                                                      {"request", Connections::per_request}});
        break;
    }
    case Kind::stream:
        for (const auto *key : {"stream_mbit", "message_bytes", "duration_s"}) {
            section.require(key, "a stream has stream_mbit, message_bytes and duration_s");
        }
        workload.stream_mbit = section.number("stream_mbit", 1, 0.001, max_rate_mbit);
        workload.message_bytes = section.integer<std::uint64_t>("message_bytes", 1000, 64, 16e6);
        duration();
        break;
    case Kind::video:
        for (const auto *key : {"chunk_s", "buffer_s", "ladder_mbit", "duration_s"}) {
            section.require(key, "video has chunk_s, buffer_s, ladder_mbit and duration_s");
        }
        workload.chunk_s = section.number("chunk_s", 5, 0.1, 60);
        workload.buffer_s = section.number("buffer_s", 15, 0.1, 600);
        workload.ladder_mbit = section.numbers("ladder_mbit", 0.01, max_rate_mbit);
        std::ranges::sort(workload.ladder_mbit);
        duration();
        break;
    }
    section.finish();
    return workload;
}

Scenario read_scenario(const toml::table &root, const std::string &variant, std::uint64_t seed,
                       Mistakes &mistakes) {
    Section section(root, "a scenario", mistakes);
    Scenario scenario;
    scenario.variant = variant;
    section.has("variant");
    section.require("id", "for example id = \"S4\"");
    scenario.id = section.text("id");
    section.require("title", "one line");
    scenario.title = section.text("title");
    scenario.shows = section.text("shows");

    const auto paths = section.tables("path");
    constexpr std::size_t max_paths = 8;
    if (paths.empty() || paths.size() > max_paths) {
        section.mistake("path", fmt::format("{} paths are not possible", paths.size()),
                        fmt::format("allowed: 1 to {}, each a [[path]]", max_paths));
        return scenario;
    }
    for (const auto *path : paths) {
        scenario.paths.push_back(read_path(*path, mistakes));
        if (*scenario.path_index(scenario.paths.back().name) + 1 != scenario.paths.size()) {
            const auto *name = path->get("name");
            mistakes.add(name != nullptr ? name->source() : path->source(),
                         fmt::format("two paths are named \"{}\"", scenario.paths.back().name),
                         "each name once");
        }
    }

    const toml::table nothing;
    const auto *network = section.table("network");
    Section net(network != nullptr ? *network : nothing, "[network]", mistakes);
    std::vector<std::pair<std::string, std::size_t>> names;
    for (const auto &path : scenario.paths) {
        names.emplace_back(path.name, names.size());
    }
    scenario.first_path = net.choice<std::size_t>("first", 0, names);
    scenario.family = net.choice<Family>(
        "family", Family::ipv4, {{"ipv4", Family::ipv4}, {"ipv6", Family::ipv6}, {"dual", Family::dual}});
    if (scenario.family == Family::dual && scenario.paths.size() > max_paths / 2) {
        net.mistake("family", "the endpoints of more than 4 dual paths are more than the kernel's 8",
                    "at most 4 paths, or one family");
    }
    scenario.joins = net.choice<Joins>(
        "joins", Joins::client_subflow,
        {{"client", Joins::client_subflow}, {"server", Joins::server_signal}, {"none", Joins::none}});
    scenario.subflow_limit = net.integer("subflow_limit", 8U, 0, max_paths);
    scenario.congestion_control = net.text("congestion_control", "cubic");
    scenario.single_packets = net.boolean("single_packets", false);
    constexpr double least_buffer = 2048;
    constexpr double most_buffer = 1 << 30;
    if (net.has("send_buffer_bytes")) {
        scenario.send_buffer = net.integer("send_buffer_bytes", 0, least_buffer, most_buffer);
    }
    if (net.has("receive_buffer_bytes")) {
        scenario.receive_buffer = net.integer("receive_buffer_bytes", 0, least_buffer, most_buffer);
    }
    net.finish();

    Edits edits;
    for (const auto *change : section.tables("change")) {
        read_change(*change, scenario, mistakes, edits);
    }
    for (const auto *random : section.tables("random")) {
        read_random(*random, scenario, seed, mistakes, edits);
    }
    scenario.changes = in_order(scenario, std::move(edits));

    section.require("workload", "[workload] with a kind");
    if (const auto *workload = section.table("workload")) {
        scenario.workload = read_workload(*workload, mistakes);
    }

    const auto *steering = section.table("steering");
    Section steer(steering != nullptr ? *steering : nothing, "[steering]", mistakes);
    scenario.steer = steer.texts("hosts", {"client", "server"});
    if (scenario.steer.empty()) {
        scenario.steer = {scenario.workload.direction == Direction::upload ? "client" : "server"};
    }
    if (const auto *policies = steer.table("params")) {
        Section params(*policies, "[steering.params]", mistakes);
        for (const auto &[name, node] : *policies) {
            scenario.params[std::string(name.str())] = params.settings(name.str());
        }
    }
    steer.finish();
    section.finish();
    return scenario;
}

/// Sets "path.wifi.rate_mbit" or "network.receive_buffer_bytes" in a copy of the file.
bool patch(toml::table &root, std::string_view where, const toml::node &value) {
    auto *table = &root;
    for (;;) {
        const auto dot = where.find('.');
        const auto key = where.substr(0, dot);
        if (dot == std::string_view::npos) {
            value.visit([&](const auto &concrete) { table->insert_or_assign(key, concrete); });
            return true;
        }
        where.remove_prefix(dot + 1);
        auto *next = table->get(key);
        if (next == nullptr && table == &root) {
            table->insert_or_assign(key, toml::table{});
            next = table->get(key);
        }
        if (next == nullptr) {
            return false;
        }
        if (auto *array = next->as_array()) {
            const auto name_end = where.find('.');
            const auto name = where.substr(0, name_end);
            if (name_end == std::string_view::npos) {
                return false;
            }
            where.remove_prefix(name_end + 1);
            next = nullptr;
            for (std::size_t i = 0; i < array->size(); ++i) {
                auto *inner = array->get(i)->as_table();
                // An element without a name goes by its number: "change.0.at_s".
                if (inner != nullptr && (*inner)["name"].value_or(fmt::format("{}", i)) == name) {
                    next = inner;
                }
            }
        }
        if (next == nullptr || !next->is_table()) {
            return false;
        }
        table = next->as_table();
    }
}

} // namespace

std::string_view kind_name(Workload::Kind kind) {
    switch (kind) {
    case Workload::Kind::bulk:
        return "bulk";
    case Workload::Kind::requests:
        return "requests";
    case Workload::Kind::stream:
        return "stream";
    case Workload::Kind::video:
        break;
    }
    return "video";
}

std::optional<std::size_t> Scenario::path_index(std::string_view path) const {
    const auto found = std::ranges::find(paths, path, &ScenarioPath::name);
    return found == paths.end() ? std::nullopt
                                : std::optional(static_cast<std::size_t>(found - paths.begin()));
}

NetworkSpec Scenario::network() const {
    NetworkSpec spec{.family = family,
                     .first_path = first_path,
                     .joins = joins,
                     .single_packets = single_packets,
                     .subflow_limit = subflow_limit,
                     .congestion_control = congestion_control};
    for (const auto &path : paths) {
        spec.paths.push_back({.name = path.name,
                              .rate_mbit = path.start.rate_mbit,
                              .down_rate_mbit = path.start.down_rate_mbit,
                              .mtu = path.mtu,
                              .backup = path.backup,
                              .netem = path.netem(path.start)});
    }
    return spec;
}

// netem counts what is under way and what waits together.
Netem ScenarioPath::netem(const PathState &state) const {
    const double rate = std::max(state.rate_mbit, state.down_rate_mbit);
    const double under_way = rate * 1e3 * (state.delay_ms + state.jitter_ms) / 8 / mtu;
    return {.delay_ms = state.delay_ms,
            .jitter_ms = state.jitter_ms,
            .loss = state.loss,
            .limit_packets = queue_packets + static_cast<unsigned>(std::ceil(under_way))};
}

std::vector<FluidPath> Scenario::fluid(Side from) const {
    std::vector<FluidPath> fluid;
    const auto stage = [&](double at_s, const PathState &state, unsigned mtu) {
        const double rate = from == Side::a ? state.rate_mbit : state.down_rate_mbit;
        return FluidStage{
            .at_s = at_s,
            .mbit = state.dead() ? 0 : rate * (1 - state.loss) * payload_share(mtu, family == Family::ipv6),
            .delay_s = std::max(0.0, state.delay_ms - state.jitter_ms) / 1e3};
    };
    for (const auto &path : paths) {
        fluid.push_back({stage(0, path.start, path.mtu)});
    }
    for (const auto &change : changes) {
        auto &path = fluid[change.path];
        path.push_back(stage(change.at_s, change.to, paths[change.path].mtu));
        if (path.size() >= 2 && path[path.size() - 2].at_s == change.at_s) {
            path[path.size() - 2] = path.back();
            path.pop_back();
        }
    }
    return fluid;
}

Result<std::vector<Scenario>> parse_scenarios(std::string_view toml, const std::string &file,
                                              std::uint64_t seed) {
    auto parsed = toml::parse(toml, file);
    if (!parsed) {
        const auto &error = parsed.error();
        return fail(fmt::format("{}:{}:{}: {}", file, error.source().begin.line, error.source().begin.column,
                                error.description()),
                    "scenarios are TOML: https://toml.io", EINVAL);
    }
    const toml::table &root = parsed.table();
    std::vector<Scenario> all;
    const auto *variants = root.get_as<toml::array>("variant");
    if (variants == nullptr) {
        Mistakes mistakes(file, 1);
        if (const auto *other = root.get("variant")) {
            mistakes.add(other->source(), "\"variant\" is not possible like this", "written as [[variant]]");
        }
        all.push_back(read_scenario(root, "", seed, mistakes));
        if (mistakes.first()) {
            return std::unexpected(*mistakes.first());
        }
        return all;
    }
    std::set<std::string> names;
    for (const auto &element : *variants) {
        Mistakes mistakes(file, element.source().begin.line);
        const auto *variant = element.as_table();
        if (variant == nullptr) {
            mistakes.add(element.source(), "\"variant\" is not possible like this", "written as [[variant]]");
            return std::unexpected(*mistakes.first());
        }
        Section section(*variant, "[[variant]]", mistakes);
        section.require("name", "what to call it, for example \"rcvbuf-1M\"");
        const auto name = section.text("name");
        if (section.has("name") &&
            (name.empty() || name.find_first_of("/ ") != std::string::npos || !names.insert(name).second)) {
            section.mistake("name", fmt::format("\"{}\" cannot be the name of a variant", name),
                            "each name once, without spaces and slashes");
        }
        auto copy = root;
        if (const auto *set = section.table("set")) {
            for (const auto &[key, value] : *set) {
                if (!patch(copy, key.str(), value)) {
                    mistakes.add(key.source(), fmt::format("there is no \"{}\" to set", key.str()),
                                 "for example \"path.wifi.rate_mbit\" or \"network.first\"");
                }
            }
        }
        section.finish();
        all.push_back(read_scenario(copy, name, seed, mistakes));
        if (mistakes.first()) {
            return std::unexpected(*mistakes.first());
        }
    }
    return all;
}

Result<std::vector<Scenario>> find_scenarios(std::string_view name, std::uint64_t seed) {
    if (name.ends_with(".toml")) {
        const std::string file(name);
        std::ifstream stream(file);
        if (!stream) {
            return os_error("read", file, errno);
        }
        return parse_scenarios(std::string(std::istreambuf_iterator<char>(stream), {}), file, seed);
    }
    const auto slash = name.find('/');
    const auto id = name.substr(0, slash);
    std::vector<std::string_view> ids;
    for (const auto &file : builtin_scenarios()) {
        ids.push_back(file.id);
        if (file.id != id) {
            continue;
        }
        auto all = parse_scenarios(file.text, std::string(file.file), seed);
        if (!all || slash == std::string_view::npos) {
            return all;
        }
        std::vector<std::string> variants;
        for (auto &scenario : *all) {
            if (scenario.variant == name.substr(slash + 1)) {
                return std::vector{std::move(scenario)};
            }
            variants.push_back(scenario.variant);
        }
        return fail(fmt::format("scenario {} has no variant \"{}\"", id, name.substr(slash + 1)),
                    variants.front().empty() ? "it has none at all"
                                             : fmt::format("there are {}", fmt::join(variants, ", ")),
                    EINVAL);
    }
    return fail(fmt::format("there is no scenario \"{}\"", name),
                fmt::format("there are {}; or a file: ./NAME.toml", fmt::join(ids, ", ")), EINVAL);
}

} // namespace mps::lab
