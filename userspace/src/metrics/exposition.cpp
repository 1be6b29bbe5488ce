// SPDX-License-Identifier: MIT

#include "metrics/exposition.hpp"

#include <algorithm>
#include <initializer_list>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "metrics/catalogue.hpp"
#include "output/text.hpp"
#include "json/reason_text.hpp"

namespace mps::metrics {

namespace {

using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

// Names of interfaces may be any octets, and one that is no UTF-8 would make the whole scrape unreadable.
std::string escaped(std::string_view value) {
    std::string all;
    for (const char c : text::printable(std::string(value))) {
        if (c == '\\' || c == '"')
            all += '\\';
        all += c;
    }
    return all;
}

class Writer {
  public:
    template <class T>
    void add(std::string_view name, Labels labels, T value) {
        const auto metrics = catalogue();
        const auto metric = std::ranges::find(metrics, name, &Metric::name);
        // A metric that is in no list would be in no documentation either.
        if (metric == metrics.end())
            return;
        std::string set;
        for (const auto &[label, text] : labels)
            set += fmt::format("{}{}=\"{}\"", set.empty() ? "" : ",", label, escaped(text));
        lines_.resize(metrics.size());
        lines_[static_cast<std::size_t>(metric - metrics.begin())] +=
            set.empty() ? fmt::format("{} {}\n", name, value)
                        : fmt::format("{}{{{}}} {}\n", name, set, value);
    }
    [[nodiscard]] std::string finish() const {
        std::string all;
        const auto metrics = catalogue();
        for (std::size_t i = 0; i < lines_.size(); i++)
            if (!lines_[i].empty())
                all += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n{3}", metrics[i].name, metrics[i].text,
                                   to_string(metrics[i].type), lines_[i]);
        return all;
    }

  private:
    std::vector<std::string> lines_{};
};

double seconds(std::uint64_t us) { return static_cast<double>(us) / 1e6; }

void add_traffic(Writer &to, const std::string &name, const watch::PathTotal &path) {
    to.add("mpsched_path_bytes_total", {{"interface", name}, {"direction", "sent"}}, path.sent_bytes);
    to.add("mpsched_path_bytes_total", {{"interface", name}, {"direction", "received"}}, path.received_bytes);
    to.add("mpsched_path_bytes_per_second", {{"interface", name}, {"direction", "sent"}}, path.sent_bytes_s);
    to.add("mpsched_path_bytes_per_second", {{"interface", name}, {"direction", "received"}},
           path.received_bytes_s);
    if (path.srtt_us) {
        to.add("mpsched_path_rtt_seconds", {{"interface", name}}, seconds(path.srtt_us));
        to.add("mpsched_path_least_rtt_seconds", {{"interface", name}}, seconds(path.least_rtt_us));
    }
    const std::uint32_t allowed = path.subflows - path.parked - path.unsteered;
    to.add("mpsched_path_subflows", {{"interface", name}, {"verdict", "allowed"}}, allowed);
    to.add("mpsched_path_subflows", {{"interface", name}, {"verdict", "parked"}}, path.parked);
    to.add("mpsched_path_subflows", {{"interface", name}, {"verdict", "unsteered"}}, path.unsteered);
    to.add("mpsched_path_parked_seconds_total", {{"interface", name}}, path.parked_s);
    to.add("mpsched_path_flips_total", {{"interface", name}}, path.flips);
    to.add("mpsched_path_failovers_total", {{"interface", name}}, path.failovers);
}

void add_path(Writer &to, const PathStatus &path) {
    const Labels labels{{"interface", path.name}};
    to.add("mpsched_path_attached", labels, int{path.attached});
    to.add("mpsched_path_down", labels, int{path.down});
    to.add("mpsched_path_weight", labels, path.attributes.weight);
    to.add("mpsched_path_priority", labels, path.attributes.priority);
    to.add("mpsched_path_cost", labels, path.attributes.cost);
    if (const auto quota = path.attributes.quota_bytes) {
        to.add("mpsched_path_quota_bytes", labels, *quota);
        to.add("mpsched_path_quota_used_bytes", labels, path.quota_used_bytes);
        to.add("mpsched_path_quota_left_bytes", labels, *quota - std::min(*quota, path.quota_used_bytes));
    }
}

// Of what the link says of itself, where it does.
void add_link(Writer &to, const Link &link) {
    const Labels labels{{"interface", link.name}};
    to.add("mpsched_path_link_info", {{"interface", link.name}, {"type", link.type}}, 1);
    to.add("mpsched_path_carrier", labels, int{link.carrier});
    if (link.bit_s)
        to.add("mpsched_path_link_bytes_per_second", labels, *link.bit_s / 8);
    if (link.wireless && link.wireless->signal_dbm)
        to.add("mpsched_path_signal_dbm", labels, *link.wireless->signal_dbm);
}

// By interfaces, policies and reasons, of which there are few.
void add_connections(Writer &to, const Sample &sample) {
    std::map<std::string, std::uint64_t> policies{{sample.policy, 0}};
    std::map<std::pair<std::string_view, std::string_view>, std::uint64_t> subflows;
    std::uint64_t plain = 0;
    for (const ConnectionStatus &connection : sample.connections) {
        plain += connection.plain;
        if (connection.plain)
            continue;
        policies[connection.policy]++;
        for (const SubflowStatus &one : connection.subflows)
            subflows[{verdict_of(one),
                      one.steerable && one.reason ? reason_name(one.reason->code) : "none"}]++;
    }
    for (const auto &[policy, count] : policies)
        to.add("mpsched_connections", {{"policy", policy}}, count);
    to.add("mpsched_plain_connections", {}, plain);
    for (const auto &[key, count] : subflows)
        to.add("mpsched_subflows", {{"verdict", key.first}, {"reason", key.second}}, count);
}

void add_service(Writer &to, const Look &look, const Facts &facts) {
    to.add("mpsched_build_info", {{"version", facts.version}}, 1);
    to.add("mpsched_config_info", {{"revision", facts.revision}}, 1);
    to.add("mpsched_config_refused", {}, int{facts.refused});
    to.add("mpsched_objects_failed", {}, facts.failed_objects);
    to.add("mpsched_quota_ledger_problem", {}, int{facts.ledger_problem});
    to.add("mpsched_looks_total", {{"result", "good"}}, look.good);
    to.add("mpsched_looks_total", {{"result", "failed"}}, look.failed);
    to.add("mpsched_look_seconds", {}, look.took_s);
    to.add("mpsched_look_timestamp_seconds", {}, look.ended_s);
}

} // namespace

std::string exposition(const Look &look, const Facts &facts) {
    Writer to;
    add_service(to, look, facts);
    const Sample &sample = look.sample;
    to.add("mpsched_installed", {}, int{sample.installed});
    if (!sample.installed)
        return to.finish();
    // What is summed up of an interface that is neither known any more nor carries anything is of no use to anybody.
    for (const auto &[name, total] : look.paths)
        if (total.subflows > 0 ||
            std::ranges::find(sample.paths, name, &PathStatus::name) != sample.paths.end())
            add_traffic(to, name, total);
    for (const PathStatus &path : sample.paths) {
        add_path(to, path);
        if (const auto link = std::ranges::find(look.links, path.ifindex, &Link::ifindex);
            path.ifindex && link != look.links.end())
            add_link(to, *link);
        if (const auto metered = facts.metered.find(path.name); metered != facts.metered.end())
            to.add("mpsched_path_metered", {{"interface", path.name}}, int{metered->second});
    }
    add_connections(to, sample);
    to.add("mpsched_policy_info", {{"direction", "tx"}, {"policy", sample.policy}}, 1);
    to.add("mpsched_policy_info", {{"direction", "rx"}, {"policy", sample.rx_policy}}, 1);
    for (const ProgramCost &program : sample.programs) {
        to.add("mpsched_program_runs_total", {{"program", program.name}}, program.runs);
        to.add("mpsched_program_seconds_total", {{"program", program.name}},
               static_cast<double>(program.time_ns) / 1e9);
    }
    for (const CounterValue &counter : sample.counters)
        to.add(counter_metric(counter.name), {}, counter.value);
    return to.finish();
}

} // namespace mps::metrics
