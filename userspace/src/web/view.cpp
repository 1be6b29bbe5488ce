// SPDX-License-Identifier: MIT

#include "web/view.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "json/reason_text.hpp"

namespace mps::web {

namespace {

struct Busy {
    const ConnectionStatus *connection;
    const metrics::Rate *rates; // of its subflows; nullptr: none is known
    std::uint64_t bytes_s;
};

std::vector<Busy> busiest(const metrics::Look &look) {
    std::vector<Busy> all;
    std::size_t first = 0;
    for (const ConnectionStatus &connection : look.sample.connections) {
        Busy one{.connection = &connection, .rates = nullptr, .bytes_s = 0};
        if (first + connection.subflows.size() <= look.rates.size())
            one.rates = look.rates.data() + first;
        for (std::size_t i = 0; one.rates && i < connection.subflows.size(); i++)
            one.bytes_s += one.rates[i].sent + one.rates[i].received;
        first += connection.subflows.size();
        all.push_back(one);
    }
    const std::size_t count = std::min(all.size(), most_connections);
    std::ranges::partial_sort(
        all, all.begin() + static_cast<std::ptrdiff_t>(count), [](const Busy &a, const Busy &b) {
            return std::pair(b.bytes_s, a.connection->token) < std::pair(a.bytes_s, b.connection->token);
        });
    all.resize(count);
    return all;
}

Json path_view(const PathStatus &path, const watch::PathTotal &total) {
    const PathAttributes &attributes = path.attributes;
    return {{"name", path.name},
            {"state", path.down       ? "down"
                      : !path.ifindex ? "absent"
                      : path.attached ? "attached"
                                      : "not attached"},
            {"weight", attributes.weight},
            {"priority", attributes.priority},
            {"quota_bytes", attributes.quota_bytes ? Json(*attributes.quota_bytes) : Json(nullptr)},
            {"quota_used_bytes", path.quota_used_bytes},
            {"sent_bytes_s", total.sent_bytes_s},
            {"received_bytes_s", total.received_bytes_s},
            {"srtt_us", total.srtt_us},
            {"subflows", total.subflows},
            {"parked", total.parked},
            {"unsteered", total.unsteered}};
}

Json connection_view(const Busy &busy) {
    const ConnectionStatus &connection = *busy.connection;
    Json one{{"token", fmt::format("{:08x}", connection.token)},
             {"policy", connection.plain ? "plain TCP" : connection.policy},
             {"subflows", Json::array()}};
    for (std::size_t i = 0; i < connection.subflows.size(); i++) {
        const SubflowStatus &sub = connection.subflows[i];
        const metrics::Rate rate = busy.rates ? busy.rates[i] : metrics::Rate{};
        one["subflows"].push_back(
            {{"interface", sub.ifname},
             {"remote", sub.remote},
             {"verdict", connection.plain ? "" : verdict_of(sub)},
             {"why", sub.steerable && sub.reason ? reason_text(*sub.reason, other_of(sub, connection)) : ""},
             {"sent_bytes_s", rate.sent},
             {"received_bytes_s", rate.received},
             {"srtt_us", sub.srtt_us}});
    }
    return one;
}

} // namespace

Json view(const metrics::Look &look, const metrics::Facts &facts) {
    const Sample &sample = look.sample;
    Json all{{"look", look.good},
             {"time_s", look.ended_s},
             {"version", facts.version},
             {"revision", facts.revision},
             {"refused", facts.refused},
             {"failed_objects", facts.failed_objects},
             {"installed", sample.installed},
             {"policy", sample.policy},
             {"rx_policy", sample.rx_policy},
             {"connections", sample.connections.size()},
             {"paths", Json::array()},
             {"busiest", Json::array()}};
    for (const PathStatus &path : sample.paths) {
        const auto total = look.paths.find(path.name);
        all["paths"].push_back(
            path_view(path, total == look.paths.end() ? watch::PathTotal{} : total->second));
    }
    for (const Busy &one : busiest(look))
        all["busiest"].push_back(connection_view(one));
    return all;
}

} // namespace mps::web
