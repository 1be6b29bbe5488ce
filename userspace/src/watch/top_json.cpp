// SPDX-License-Identifier: MIT

#include "watch/top_json.hpp"

namespace mps::watch {

namespace {

Json path_row_json(const Row &row) {
    Json one = path_json(*row.path);
    one["sent_bytes_s"] = row.sent_bytes_s;
    one["received_bytes_s"] = row.received_bytes_s;
    one["srtt_us"] = row.rtt_us;
    one["subflows"] = row.subflows;
    one["parked"] = row.parked;
    return one;
}

Json connections_json(const TopModel &model) {
    Json all = Json::array();
    const Row *end = nullptr;
    const auto rows = model.rows(View::subflows, {0, false}, "");
    for (const Row &row : rows) {
        if (!end || end->connection != row.connection)
            all.push_back(connection_json(*row.connection));
        end = &row;
        for (Json &one : all.back()["subflows"]) {
            if (one["id"] != row.subflow->id || one["local"] != row.subflow->local)
                continue;
            one["acked_bytes_s"] = row.sent_bytes_s;
            one["received_bytes_s"] = row.received_bytes_s;
        }
    }
    return all;
}

} // namespace

Json top_json(const TopModel &model, const std::string &time) {
    const Sample &sample = model.sample();
    Json all{{"time", time},
             {"installed", sample.installed},
             {"followed", sample.followed},
             {"policy", sample.policy},
             {"rx_policy", sample.rx_policy},
             {"paths", Json::array()},
             {"connections", connections_json(model)},
             {"programs", Json::array()},
             {"decisions_s", model.per_second("decided")},
             {"rx_decisions_s", model.per_second("rx_decided")}};
    for (const Row &row : model.rows(View::paths, {0, false}, ""))
        all["paths"].push_back(path_row_json(row));
    for (const Row &row : model.rows(View::programs, {0, false}, ""))
        all["programs"].push_back({{"name", row.program->name},
                                   {"id", row.program->id},
                                   {"runs_s", row.runs_s},
                                   {"ns_per_run", row.run_ns},
                                   {"core_share", row.time_share}});
    return all;
}

} // namespace mps::watch
