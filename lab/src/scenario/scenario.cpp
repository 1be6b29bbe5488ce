// SPDX-License-Identifier: MIT
#include <mpsched/lab/scenario.hpp>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include "base/files.hpp"
#include "changes.hpp"
#include "read_workload.hpp"
#include "section.hpp"
#include "trace.hpp"

namespace mps::lab {
namespace {

constexpr std::size_t max_paths = 8;
constexpr double default_queue_ms = 100;
constexpr unsigned least_queue_packets = 50;

double most_mbit(const ScenarioPath &path) {
    double most = std::max(path.start.rate_mbit, path.start.down_rate_mbit);
    for (const auto &step : path.trace.steps) {
        most = std::max({most, step.rate_mbit, step.down_rate_mbit});
    }
    return most;
}

/// `key` names a trace; `folder` is where the scenario lies.
std::optional<Trace> read_trace(Section &section, const char *key, const std::string &folder, double bin_s) {
    if (!section.has(key)) {
        return std::nullopt;
    }
    auto trace = find_trace(section.text(key), folder, bin_s);
    if (!trace) {
        section.mistake(key, trace.error().what, trace.error().hint);
        return std::nullopt;
    }
    return std::move(*trace);
}

/// What a path's traces say; without a trace of its own the way down is as the way up.
void read_traces(Section &section, const std::string &folder, ScenarioPath &path) {
    const double bin_s = section.number("trace_step_ms", default_trace_step_ms, 10, 60'000) / 1e3;
    const auto up = read_trace(section, "trace", folder, bin_s);
    const auto down = read_trace(section, "down_trace", folder, bin_s);
    if (!up) {
        for (const auto *key : {"down_trace", "trace_step_ms"}) {
            if (section.has(key)) {
                section.mistake(key, fmt::format("\"{}\" needs \"trace\"", key), "the way up, or both ways");
            }
        }
        return;
    }
    for (const auto *key : {"rate_mbit", "down_rate_mbit", "loss_percent"}) {
        if (section.has(key)) {
            section.mistake(key, fmt::format("\"{}\" and \"trace\" say the same", key),
                            "leave one of them out");
        }
    }
    path.trace = join(*up, down ? *down : *up);
    path.trace.name = section.text("trace") + (down ? ", " + section.text("down_trace") : "");
    const auto &first = path.trace.steps.front();
    path.start.rate_mbit = first.rate_mbit;
    path.start.down_rate_mbit = first.down_rate_mbit;
    path.start.loss = first.dead ? 1 : 0;
    path.start.delay_ms = first.delay_ms.value_or(path.start.delay_ms);
}

ScenarioPath read_path(const toml::table &table, const std::string &folder, Mistakes &mistakes) {
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
    if (!section.has("trace")) {
        section.require("rate_mbit",
                        "the rate from client to server, link layer, in 10^6 bit/s; or \"trace\"");
    }
    for (const auto &number : numbers) {
        path.start.*number.member = number.scale * section.number(number.key, 0, number.least, number.most);
    }
    if (!section.has("down_rate_mbit")) {
        path.start.down_rate_mbit = path.start.rate_mbit;
    }
    read_traces(section, folder, path);
    path.mtu = section.integer("mtu", 1500U, 1280, 65535);
    const double default_queue = std::max(std::ceil(most_mbit(path) * 1e3 * default_queue_ms / 8 / path.mtu),
                                          static_cast<double>(least_queue_packets));
    path.queue_packets = section.integer("queue_packets", static_cast<unsigned>(default_queue), 1, 1'000'000);
    path.backup = section.boolean("backup", false);
    path.attributes = section.settings("attributes");
    section.finish();
    return path;
}

/// False if nothing else can be read then.
bool read_paths(Section &section, const std::string &folder, Scenario &scenario, Mistakes &mistakes) {
    const auto paths = section.tables("path");
    if (paths.empty() || paths.size() > max_paths) {
        section.mistake("path", fmt::format("{} paths are not possible", paths.size()),
                        fmt::format("allowed: 1 to {}, each a [[path]]", max_paths));
        return false;
    }
    for (const auto *path : paths) {
        scenario.paths.push_back(read_path(*path, folder, mistakes));
        if (*scenario.path_index(scenario.paths.back().name) + 1 != scenario.paths.size()) {
            const auto *name = path->get("name");
            mistakes.add(name != nullptr ? name->source() : path->source(),
                         fmt::format("two paths are named \"{}\"", scenario.paths.back().name),
                         "each name once");
        }
    }
    return true;
}

void read_network(Section &section, Scenario &scenario, Mistakes &mistakes) {
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
}

void read_steering(Section &section, Scenario &scenario, Mistakes &mistakes) {
    const toml::table nothing;
    const auto *steering = section.table("steering");
    Section steer(steering != nullptr ? *steering : nothing, "[steering]", mistakes);
    scenario.steer = steer.texts("hosts", {"client", "server"});
    if (scenario.steer.empty()) {
        scenario.steer = {scenario.workload.direction == Direction::upload ? "client" : "server"};
    }
    scenario.follow = steer.boolean("follow", false);
    scenario.close_silent = steer.boolean("close_silent", false);
    if (scenario.close_silent && !scenario.follow)
        steer.mistake("close_silent", "nobody follows who could close", "follow = true");
    scenario.probe_idle_s = steer.integer("probe_idle_s", 0U, 0, 3600);
    if (scenario.probe_idle_s && !scenario.follow)
        steer.mistake("probe_idle_s", "nobody follows who could probe", "follow = true");
    scenario.by_application = steer.boolean("by_application", false);
    if (scenario.by_application && std::ranges::find(scenario.steer, "client") == scenario.steer.end()) {
        steer.mistake("by_application", "applications choose on the client, and mpsched is not there",
                      "hosts = [\"client\"]");
    }
    if (const auto *policies = steer.table("params")) {
        Section params(*policies, "[steering.params]", mistakes);
        for (const auto &[name, node] : *policies) {
            scenario.params[std::string(name.str())] = params.settings(name.str());
        }
    }
    steer.finish();
}

Scenario read_scenario(const toml::table &root, const std::string &variant, std::uint64_t seed,
                       const std::string &folder, Mistakes &mistakes) {
    Section section(root, "a scenario", mistakes);
    Scenario scenario;
    scenario.variant = variant;
    section.has("variant");
    section.require("id", "for example id = \"small-buffers\"");
    scenario.id = section.text("id");
    scenario.number = section.text("number");
    section.require("title", "one line");
    scenario.title = section.text("title");
    scenario.shows = section.text("shows");

    if (!read_paths(section, folder, scenario, mistakes)) {
        return scenario;
    }
    read_network(section, scenario, mistakes);

    Edits edits;
    for (const auto *change : section.tables("change")) {
        read_change(*change, scenario, mistakes, edits);
    }
    for (const auto *random : section.tables("random")) {
        read_random(*random, scenario, seed, mistakes, edits);
    }
    add_traces(scenario, edits);
    scenario.changes = in_order(scenario, std::move(edits));

    section.require("workload", "[workload] with a kind");
    if (const auto *workload = section.table("workload")) {
        scenario.workload = read_workload(*workload, mistakes);
    }

    read_steering(section, scenario, mistakes);
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
    const std::string folder = std::filesystem::path(file).parent_path();
    std::vector<Scenario> all;
    const auto *variants = root.get_as<toml::array>("variant");
    if (variants == nullptr) {
        Mistakes mistakes(file, 1);
        if (const auto *other = root.get("variant")) {
            mistakes.add(other->source(), "\"variant\" is not possible like this", "written as [[variant]]");
        }
        all.push_back(read_scenario(root, "", seed, folder, mistakes));
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
        all.push_back(read_scenario(copy, name, seed, folder, mistakes));
        if (mistakes.first()) {
            return std::unexpected(*mistakes.first());
        }
    }
    return all;
}

namespace {

/// "" of one that has none.
std::string number_of(const ScenarioFile &file) {
    return toml::parse(file.text)["number"].value_or(std::string());
}

} // namespace

Result<std::vector<Scenario>> find_scenarios(std::string_view name, std::uint64_t seed) {
    if (name.ends_with(".toml")) {
        const std::string file(name);
        const auto text = read_file(file);
        if (!text) {
            return os_error("read", file, text.error());
        }
        return parse_scenarios(*text, file, seed);
    }
    const auto slash = name.find('/');
    const auto id = name.substr(0, slash);
    std::vector<std::string_view> ids;
    for (const auto &file : builtin_scenarios()) {
        ids.push_back(file.id);
        if (file.id != id && number_of(file) != id) {
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
