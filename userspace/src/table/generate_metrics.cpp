// SPDX-License-Identifier: MIT

#include <fmt/format.h>

#include "metrics/catalogue.hpp"
#include "table/generate.hpp"

namespace mps::table {

namespace {

constexpr std::string_view about = R"(# Metrics

`mpschedd` serves metrics to Prometheus, if `mpsched.toml` asks for it:

```toml
[metrics]
listen = "127.0.0.1:9464"
```

```yaml
# prometheus.yml
rule_files: [/usr/share/mpsched/mpsched-alerts.yml]
scrape_configs:
  - job_name: mpsched
    static_configs: [{targets: ["localhost:9464"]}]
```

The dashboard for Grafana is `/usr/share/mpsched/mpsched-dashboard.json` (Dashboards, Import). In the source tree both are in `packaging/`.

**Where.** It listens in the network namespace in which `mpschedd` itself runs: with `--netns NAME` it looks at that one, and is asked where it was started. Each
needs an address of its own. `mpsched reload` moves it. Where it cannot listen, for example because the port is taken, `mpsched status` says so as of any other object, and it is tried again after 1, 2, 4 … 60 s.

**Who may read.** There is no password. On loopback that is whoever is on this machine; a request whose header `Host` names anything else than loopback is refused, so that a web page
cannot read it by a name that was made to lead here. Another address than loopback's is refused unless the file says `remote = true` beside it; then whoever reaches it reads it, and under systemd the
unit has to allow it: `systemctl edit mpschedd`, `[Service]`, `IPAddressAllow=192.0.2.0/24`.

**What it costs.** While it is asked for, a thread of `mpschedd` looks at all paths and connections once a second, or less often where a look takes so long that it would be
more than 5 % of a core. A scrape hands out what was seen last and causes nothing. With `programs = true` the kernel measures the run time of all BPF programs of the machine, which costs two readings of the clock for each run.
A client that is silent, slow or sends too much is let go after two seconds; neither the others nor the service wait for it, up to 64 at a time.

**How many.** Labels are interfaces, directions, policies, reasons and programs, never connections: 10,000 connections have the series that ten have.

**How exact.** Counters of the data path (`mpsched_datapath_…`, as in `mpsched stats`) and quotas are the kernel's, and miss nothing. What is summed up for each path is seen by
looks; of subflows that have ended a BPF program at their end (tracepoint `tcp_destroy_sock`, attached meanwhile) tells what they had carried, so `mpsched_path_bytes_total` has connections that begin and end between two looks as well. It
knows the interface as which IP received: where that is one above an attached one (VLAN, bridge), what was carried after the last look is not in it. Parked time and flips are exact to a look. Sums begin
when the service does, and those of an interface that is neither known nor used any more begin anew when it returns, which Prometheus takes for a restart.

The HTTP server is the service's own, of a few hundred lines: one short request for each connection. cpp-httplib (0.11 of Debian 12) keeps as many headers as somebody sends (180 MB
of them made it 210 MB larger), and would bring OpenSSL and Brotli into a service with privileges; prometheus-cpp cannot be installed for two architectures at once on Debian, which the cross build needs.

## All metrics

| metric | type | labels | |
|---|---|---|---|
)";

} // namespace

std::string generate_metrics_markdown() {
    std::string all = "<!-- SPDX-License-Identifier: MIT -->\n"
                      "<!-- Generated from userspace/src/metrics/catalogue.cpp. After a change there:\n"
                      "     build/bin/tools/mpsched-generate metrics-markdown >docs/metrics.md -->\n";
    all += about;
    for (const metrics::Metric &metric : metrics::catalogue())
        all += fmt::format("| `{}` | {} | {} | {} |\n", metric.name, to_string(metric.type), metric.labels,
                           metric.text);
    all += "\n<!-- no measurements -->\n";
    return all;
}

} // namespace mps::table
