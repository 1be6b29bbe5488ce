// SPDX-License-Identifier: MIT
//
// mpsched-bench: what the data path costs on this machine, beside what it may cost.
#include "egress.hpp"
#include "gateway.hpp"
#include "goodput.hpp"
#include "measure.hpp"
#include "packet.hpp"
#include "policies.hpp"
#include "rig.hpp"

#include "bench_pieces.skel.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cstdlib>
#include <fmt/format.h>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <sys/utsname.h>

#include <mpsched/lab/cleanup.hpp>

using namespace mps;
using namespace mps::packet;
using bench::Row;
using bench::Subject;

namespace {

struct Close {
    void operator()(bench_pieces *object) const { bench_pieces::destroy(object); }
};
using Pieces = std::unique_ptr<bench_pieces, Close>;
using bench::Policy;

void need_zero(int result, const std::string &what) {
    if (result < 0)
        throw std::system_error(-result, std::generic_category(), what);
}

constexpr std::uint32_t many_flows = 32768;
constexpr const char *socket_lookup = "the kernel's: socket lookup";

Pieces load_pieces(std::uint32_t flows) {
    Pieces pieces(bench_pieces::open());

    if (!pieces)
        throw std::system_error(errno, std::generic_category(), "open the bench programs");
    pieces->rodata->nr_flows = flows;
    need_zero(bench_pieces::load(pieces.get()), "load the bench programs");
    for (std::uint32_t i = 0; i < flows; i++) {
        std::uint32_t key = i * 2654435761u;
        std::uint64_t value = i;

        need_zero(bpf_map_update_elem(bpf_map__fd(pieces->maps.bench_flows), &key, &value, BPF_ANY),
                  "fill bench_flows");
    }
    int target = bpf_program__fd(pieces->progs.bench_tail_target);
    std::uint32_t first = 0;
    need_zero(bpf_map_update_elem(bpf_map__fd(pieces->maps.bench_slots), &first, &target, BPF_ANY),
              "fill bench_slots");
    return pieces;
}

Packet segment(const test::Flow &flow, const Packet &options) {
    return Ethernet() / flow.ipv4() / flow.tcp() / options;
}

Packet canonical_options() { return nop() / nop() / timestamp() / dss{.data_ack64 = 7}; }

// A list that has to be walked, of everyday length.
Packet other_options() { return nop() / timestamp() / nop() / dss{.data_ack64 = 7}; }

// The most steps that 40 octets allow, MPTCP at the very end.
Packet adversarial_options() {
    Packet out;

    for (int i = 0; i < 37; i++)
        out.add(nop());
    out.add(mp_prio());
    return out;
}

// Rows on another rig's connection have to run in its namespace.
std::vector<Row> decision_row(test::Rig &rig, const Pieces &one, const char *name, const char *how) {
    const test::Flow &flow = rig.flows()[0];
    const Bytes ack = bench::usual_ack(flow);

    return {{name, how, Subject{rig.program("mps_xdp_eth"), ack, flow.ifindex},
             Subject{bpf_program__fd(one->progs.bench_empty), ack, flow.ifindex}}};
}

std::vector<Row> rows(test::Rig &rig, const Pieces &one, const Pieces &many, const test::Flow &flow) {
    auto fd = [](bpf_program *p) { return bpf_program__fd(p); };
    const test::Flow nobody{.local = "192.0.2.9",
                            .remote = "192.0.2.8",
                            .local_port = 9,
                            .remote_port = 9,
                            .ifindex = flow.ifindex};
    const Bytes plain = segment(flow, nop() / nop() / timestamp() / Payload(1400)).build();
    const Bytes ack = bench::usual_ack(flow);
    const int xdp = rig.program("mps_xdp_eth");
    auto on = [&](int program, Bytes packet) { return Subject{program, std::move(packet), flow.ifindex}; };
    auto empty = [&](const Bytes &packet) { return on(fd(one->progs.bench_empty), packet); };
    auto options = [&](const Packet &list) {
        return on(fd(one->progs.bench_options), segment(nobody, list).build());
    };
    auto options_twin = [&](const Packet &list) {
        return on(fd(one->progs.bench_options_twin), segment(nobody, list).build());
    };

    return {
        {"the kernel's: bpf_ktime_get_ns", "one call, over empty", on(fd(one->progs.bench_now), ack),
         empty(ack)},
        {"the kernel's: coarse time", "bpf_ktime_get_coarse_ns", on(fd(one->progs.bench_now_coarse), ack),
         empty(ack)},
        {"the kernel's: array lookup", "and one load", on(fd(one->progs.bench_array), ack), empty(ack)},
        {"the kernel's: per-CPU array", "lookup, and one counter", on(fd(one->progs.bench_percpu), ack),
         empty(ack)},
        bench::lookup_of(flow, fd(one->progs.bench_socket), fd(one->progs.bench_empty)),
        {"TCP without MPTCP", "mps_xdp_eth on a segment with timestamps, over empty", on(xdp, plain),
         empty(plain), 6, 10},
        {"option parse, canonical", "parse_options on NOP NOP TS DSS, over its bounds checks",
         options(canonical_options()), options_twin(canonical_options()), 4, 8},
        {"option parse, any", "the same on NOP TS NOP DSS: copied and walked", options(other_options()),
         options_twin(other_options()), 8, 12},
        {"option parse, adversarial 40 bytes", "the same on 37 NOPs and MP_PRIO: the most steps there are",
         options(adversarial_options()), options_twin(adversarial_options()), 15, 20},
        {"hash lookup, hot", "one key of a hash, over making the key", on(fd(one->progs.bench_hash), plain),
         on(fd(one->progs.bench_hash_twin), plain)},
        {"hash lookup, 32 k flows", "32,768 keys in turn", on(fd(many->progs.bench_hash), plain),
         on(fd(many->progs.bench_hash_twin), plain)},
        {"rewrite with checksum", "mps_edit_xdp, over moving the packet's start there and back",
         on(fd(one->progs.bench_rewrite), ack), on(fd(one->progs.bench_rewrite_twin), ack), 3, 6},
        {"  moving the packet's start", "half of bpf_xdp_adjust_head there and back; each rewrite needs one",
         on(fd(one->progs.bench_rewrite_twin), ack), empty(ack), 0, 0, 2},
        {"tail call", "from a subprogram to a program that returns at once, over empty",
         on(fd(one->progs.bench_tail), ack), empty(ack), 4, 10},
        {"MPTCP for no socket here", "mps_xdp_eth: parse and a socket lookup in vain, over empty",
         on(xdp, segment(nobody, canonical_options()).build()), empty(ack)},
        {"decision on an ACK, 2 subflows",
         "mps_xdp_eth with a policy that changes nothing, real connection, over empty", on(xdp, ack),
         empty(ack), 150, 200},
    };
}

std::string verdict(double value, double target, double limit) {
    if (target == 0)
        return "";
    return value <= target ? "ok" : value <= limit ? "MISSED target" : "MISSED limit";
}

std::string verdict(const Row &row) {
    if (row.target_lookups != 0)
        return row.lookups <= row.target_lookups ? "ok" : "MISSED target";
    return verdict(row.ns, row.target_ns, row.limit_ns);
}

const char *goodput_verdict(const bench::Goodput &row) {
    return row.target == 0 ? "" : row.ratio >= row.target ? "ok" : "MISSED target";
}

std::string machine() {
    std::ifstream cpuinfo("/proc/cpuinfo");
    std::string line;

    while (std::getline(cpuinfo, line))
        if (line.starts_with("model name"))
            return line.substr(line.find(':') + 2);
    return "unknown CPU";
}

std::string kernel_release() {
    utsname kernel{};

    uname(&kernel);
    return kernel.release;
}

std::string name_of(const Row &row) { return row.name.substr(row.name.find_first_not_of(' ')); }

// What the kernel's own lookup took in this very run: machines differ fourfold, and so does one from hour to hour.
void tell_in_lookups(std::vector<Row> &table) {
    const auto lookup = std::ranges::find(table, socket_lookup, &Row::name);

    for (Row &row : table)
        if (row.lookups == 0) // else it had one of its own beside it
            row.lookups = row.ns / lookup->ns;
}

struct Measured {
    std::vector<Row> packets;
    std::vector<bench::Goodput> goodput;
};

Measured measure_all(bool quick, bool no_goodput) {
    test::Rig probing(lab::Family::ipv4, test::Reading::probe);
    test::Rig idle(lab::Family::ipv4, test::Reading::cast, 2, test::Idle::left_alone);
    test::Rig rig(lab::Family::ipv4, test::Reading::cast);
    Pieces one = load_pieces(1), many = load_pieces(many_flows);
    const bench::Rounds rounds = quick ? bench::Rounds{9, 20000} : bench::Rounds{};
    Measured out{rows(rig, one, many, rig.flows()[0]), {}};

    rig.decide(0xff);
    probing.decide(0xff);
    idle.decide(0xff);
    {
        test::Inside inside(rig.network().a());
        bench::measure(out.packets, rounds);
    }
    auto by_probe = decision_row(probing, one, "  the same, reading by probe",
                                 "as on kernels without bpf_rdonly_cast (6.1)");
    auto left_alone = decision_row(idle, one, "packet of a connection with nothing to send",
                                   "decided on once a millisecond, else left alone");
    left_alone.front().target_lookups = 2;
    for (auto &[where, measured] : {std::pair{&probing, &by_probe}, std::pair{&idle, &left_alone}}) {
        test::Inside inside(where->network().a());

        bench::measure(*measured, rounds,
                       bench::lookup_of(where->flows()[0], bpf_program__fd(one->progs.bench_socket),
                                        bpf_program__fd(one->progs.bench_empty)));
        out.packets.push_back(measured->front());
    }
    for (const test::Rig *each : {&rig, &probing, &idle})
        if (each->counter(MPS_C_DECIDED) == 0 || each->counter(MPS_C_INSERTED) != 0)
            throw std::runtime_error("the measured packets were not decided on, or were edited");
    if (idle.counter(MPS_C_IDLE) == 0 || rig.counter(MPS_C_IDLE) != 0)
        throw std::runtime_error("idle packets were decided on, or others were not");
    const auto policies = bench::measure_policies(bpf_program__fd(one->progs.bench_socket),
                                                  bpf_program__fd(one->progs.bench_empty), rounds);
    out.packets.insert(out.packets.end(), policies.begin(), policies.end());
    const auto forwarded = bench::measure_gateway(rig.empty_tc(), rounds);
    out.packets.insert(out.packets.end(), forwarded.begin(), forwarded.end());
    const auto leaving = bench::measure_egress(rig, quick ? 5 : 15);
    out.packets.insert(out.packets.end(), leaving.begin(), leaving.end());
    tell_in_lookups(out.packets);
    if (!no_goodput) {
        const Policy pass = bench::load_policy(idle, "default");

        out.goodput = bench::measure_goodput(idle, bench::program(pass, "mps_policy_xdp"),
                                             bench::program(pass, "mps_policy_tc"),
                                             quick ? bench::Repetitions{3, 400} : bench::Repetitions{});
    }
    return out;
}

void print_json(const Measured &measured, double load, bool quick) {
    nlohmann::json document{
        {"kernel", kernel_release()}, {"machine", machine()}, {"load_average", load}, {"quick", quick}};

    for (const Row &row : measured.packets) {
        nlohmann::json entry{{"name", name_of(row)},   {"ns", row.ns},
                             {"p99_ns", row.p99_ns},   {"deviation_ns", row.deviation_ns},
                             {"lookups", row.lookups}, {"how", row.how}};
        if (row.target_ns != 0) {
            entry["target_ns"] = row.target_ns;
            entry["limit_ns"] = row.limit_ns;
        }
        if (row.target_lookups != 0)
            entry["target_lookups"] = row.target_lookups;
        if (const std::string judged = verdict(row); !judged.empty())
            entry["verdict"] = judged;
        document["packet_costs"].push_back(entry);
    }
    for (const bench::Goodput &row : measured.goodput)
        document["goodput"].push_back({{"name", row.name},
                                       {"with_mbit", row.with_mbit},
                                       {"without_mbit", row.without_mbit},
                                       {"ratio", row.ratio},
                                       {"target", row.target},
                                       {"verdict", goodput_verdict(row)}});
    fmt::print("{}\n", document.dump(2));
}

std::string target(const Row &row) {
    if (row.target_lookups != 0)
        return fmt::format("{} lookups", row.target_lookups);
    return row.target_ns != 0 ? fmt::format("{:.0f} (to {:.0f})", row.target_ns, row.limit_ns) : "";
}

void print_tables(const Measured &measured, double load, bool quick) {
    fmt::print("Cost of the data path on {}, Linux {}{}\n\n", machine(), kernel_release(),
               quick ? " (quick look)" : "");
    // We are about one of these ourselves.
    if (load > 2)
        fmt::print(
            "The machine is busy (load average {:.1f}): every number here is worse than it would be.\n\n",
            load);
    fmt::print("{:<44} {:>7} {:>7} {:>6} {:>8} {:>10}\n", "nanoseconds; multiples of a socket lookup", "p50",
               "p99", "dev", "lookups", "target");
    for (const Row &row : measured.packets)
        fmt::print("{:<44} {:>7.1f} {:>7.1f} {:>6.1f} {:>8.1f} {:>10}  {}\n", row.name, row.ns, row.p99_ns,
                   row.deviation_ns, row.lookups, target(row), verdict(row));
    fmt::print("{:<44} {:>7}\n", "ring buffer event", "none");
    if (!measured.goodput.empty()) {
        fmt::print("\n{:<36} {:>9} {:>9} {:>7} {:>7}\n", "goodput, two unshaped veth paths", "with",
                   "without", "ratio", "target");
        for (const bench::Goodput &row : measured.goodput)
            fmt::print("{:<36} {:>9.0f} {:>9.0f} {:>7.3f} {:>7.2f}  {}\n", row.name, row.with_mbit,
                       row.without_mbit, row.ratio, row.target, goodput_verdict(row));
        fmt::print("Mbit/s, medians of interleaved repetitions; the policy is `default`, as installed.\n");
    }
    fmt::print(
        "\nHow each row is measured (BPF_PROG_TEST_RUN, interleaved rounds on one CPU; p50, p99 and standard\n"
        "deviation of the rounds; a target in nanoseconds has a limit in brackets):\n");
    for (const Row &row : measured.packets)
        fmt::print("  {:<44} {}\n", name_of(row), row.how);
    fmt::print("  {:<44} {}\n", "ring buffer event", "the data path sends none: it counts");
}

} // namespace

int main(int argc, char **argv) {
    bool json = false, quick = false, no_goodput = false;
    CLI::App app{"What the data path costs: nanoseconds over an empty XDP program, and goodput.",
                 "mpsched-bench"};

    app.add_flag("--json", json, "one JSON document instead of tables");
    app.add_flag("--quick", quick, "fewer repetitions: a look, not a measurement");
    app.add_flag("--no-goodput", no_goodput, "only the costs of single packets");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError &error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    libbpf_set_print(nullptr); // errors come back as values, and are told once
    lab::install_signal_cleanup(lab::OnSignal::clean_and_exit);
    try {
        const Measured measured = measure_all(quick, no_goodput);
        double load = 0;

        getloadavg(&load, 1);
        if (json)
            print_json(measured, load, quick);
        else
            print_tables(measured, load, quick);
        return 0;
    } catch (const std::system_error &error) {
        const bool rights = error.code().value() == EPERM || error.code().value() == EACCES;

        if (json)
            fmt::print("{}\n",
                       nlohmann::json{{"error", {{"what", error.what()}, {"code", rights ? 4 : 1}}}}.dump());
        else
            fmt::print(stderr, "mpsched-bench: {}\n{}", error.what(),
                       rights ? "It needs to be run as root.\n" : "");
        return rights ? 4 : 1;
    } catch (const std::exception &error) {
        if (json)
            fmt::print("{}\n", nlohmann::json{{"error", {{"what", error.what()}, {"code", 1}}}}.dump());
        else
            fmt::print(stderr, "mpsched-bench: {}\n", error.what());
        return 1;
    }
}
