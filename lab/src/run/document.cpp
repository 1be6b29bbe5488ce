// SPDX-License-Identifier: MIT
#include "document.hpp"

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <utility>

#include <sys/utsname.h>

#include <fmt/format.h>

#include "statistics.hpp"

namespace mps::lab {
namespace {

Json policy_json(const Scenario &scenario, const Policy &policy) {
    return {{"name", policy.name},
            {"kind", policy.kind},
            {"path", policy.alone ? Json(scenario.paths[*policy.alone].name) : Json(nullptr)},
            {"params", policy.params.empty() ? Json::object() : Json(policy.params)},
            {"file", policy.file.empty() ? Json(nullptr) : Json(policy.file)},
            {"sha256", policy.sha256.empty() ? Json(nullptr) : Json(policy.sha256)},
            {"steered", policy.steered}};
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
                         {"trace", path.trace.name},
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

} // namespace

Json scenario_json(const Scenario &scenario) {
    return {{"id", scenario.id},
            {"number", scenario.number.empty() ? Json(nullptr) : Json(scenario.number)},
            {"variant", scenario.variant.empty() ? Json(nullptr) : Json(scenario.variant)},
            {"name", scenario.name()},
            {"title", scenario.title}};
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

} // namespace mps::lab
