// SPDX-License-Identifier: MIT
//
// mpsched-bench: what the data path costs on this machine, beside what it may cost.
#include "goodput.hpp"
#include "measure.hpp"
#include "packet.hpp"
#include "rig.hpp"

#include "bench_pieces.skel.h"

#include <CLI/CLI.hpp>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cstdlib>
#include <fmt/format.h>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <sys/utsname.h>

#include <mpsched/builtin_policies.hpp>
#include <mpsched/lab/cleanup.hpp>

using namespace mps;
using namespace mps::packet;
using bench::Row;
using bench::Subject;

namespace {

struct Close {
    void operator()(bench_pieces *object) const { bench_pieces::destroy(object); }
    void operator()(bpf_object *object) const { bpf_object__close(object); }
};
using Pieces = std::unique_ptr<bench_pieces, Close>;
using Policy = std::unique_ptr<bpf_object, Close>;

void need_zero(int result, const std::string &what) {
    if (result < 0)
        throw std::system_error(-result, std::generic_category(), what);
}

constexpr std::uint32_t many_flows = 32768;

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

// A built-in policy on the rig's scratch map.
Policy load_policy(const test::Rig &rig, std::string_view name) {
    for (const BuiltinPolicy &policy : builtin_policies()) {
        if (policy.name != name)
            continue;
        Policy object(bpf_object__open_mem(policy.object.data(), policy.object.size(), nullptr));

        if (!object)
            throw std::system_error(errno, std::generic_category(), "open policy");
        need_zero(bpf_map__reuse_fd(bpf_object__find_map_by_name(object.get(), MPS_MAP_SCRATCH),
                                    rig.map(MPS_MAP_SCRATCH)),
                  "share mps_scratch");
        need_zero(bpf_object__load(object.get()), "load policy");
        return object;
    }
    throw std::invalid_argument("no such policy");
}

int program(const Policy &policy, const char *name) {
    return bpf_program__fd(bpf_object__find_program_by_name(policy.get(), name));
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
    const Bytes ack = segment(flow, canonical_options()).build();

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
    const Bytes ack = segment(flow, canonical_options()).build();
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
        {"the kernel's: socket lookup", "bpf_skc_lookup_tcp that finds, and the release",
         on(fd(one->progs.bench_socket), ack), empty(ack)},
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
        utsname kernel{};
        std::vector<bench::Goodput> goodput;
        std::vector<Row> table;

        uname(&kernel);
        {
            test::Rig probing(lab::Family::ipv4, test::Reading::probe);
            test::Rig idle(lab::Family::ipv4, test::Reading::cast);
            test::Rig rig(lab::Family::ipv4, test::Reading::cast);
            Pieces one = load_pieces(1), many = load_pieces(many_flows);
            Policy pass = load_policy(rig, "default");

            const bench::Rounds rounds = quick ? bench::Rounds{9, 20000} : bench::Rounds{};

            rig.decide(0xff);
            probing.decide(0xff);
            idle.decide(0xff);
            idle.leave_idle_alone(true);
            table = rows(rig, one, many, rig.flows()[0]);
            {
                test::Inside inside(rig.network().a());
                bench::measure(table, rounds);
            }
            for (auto &[where, row] :
                 {std::pair{&probing, decision_row(probing, one, "  the same, reading by probe",
                                                   "as on kernels without bpf_rdonly_cast (6.1)")},
                  std::pair{&idle, decision_row(idle, one, "packet of a connection with nothing to send",
                                                "decided on once a millisecond, else left alone")}}) {
                test::Inside inside(where->network().a());
                std::vector<Row> measured = row;

                bench::measure(measured, rounds);
                table.push_back(measured.front());
            }
            for (const test::Rig *each : {&rig, &probing, &idle})
                if (each->counter(MPS_C_DECIDED) == 0 || each->counter(MPS_C_INSERTED) != 0)
                    throw std::runtime_error("the measured packets were not decided on, or were edited");
            if (idle.counter(MPS_C_IDLE) == 0 || rig.counter(MPS_C_IDLE) != 0)
                throw std::runtime_error("idle packets were decided on, or others were not");
            if (!no_goodput)
                goodput = bench::measure_goodput(rig, program(pass, "mps_policy_xdp"),
                                                 program(pass, "mps_policy_tc"),
                                                 quick ? bench::Repetitions{3, 400} : bench::Repetitions{});
        }
        double load = 0;
        getloadavg(&load, 1);
        if (json) {
            nlohmann::json document{
                {"kernel", kernel.release}, {"machine", machine()}, {"load_average", load}, {"quick", quick}};

            for (const Row &row : table) {
                nlohmann::json entry{{"name", row.name.substr(row.name.find_first_not_of(' '))},
                                     {"ns", row.ns},
                                     {"quartiles_ns", {row.low_ns, row.high_ns}},
                                     {"how", row.how}};
                if (row.target_ns != 0) {
                    entry["target_ns"] = row.target_ns;
                    entry["limit_ns"] = row.limit_ns;
                    entry["verdict"] = verdict(row.ns, row.target_ns, row.limit_ns);
                }
                document["packet_costs"].push_back(entry);
            }
            for (const bench::Goodput &row : goodput)
                document["goodput"].push_back({{"name", row.name},
                                               {"with_mbit", row.with_mbit},
                                               {"without_mbit", row.without_mbit},
                                               {"ratio", row.ratio},
                                               {"target", row.target},
                                               {"verdict", goodput_verdict(row)}});
            fmt::print("{}\n", document.dump(2));
            return 0;
        }
        fmt::print("Cost of the data path on {}, Linux {}{}\n\n", machine(), kernel.release,
                   quick ? " (quick look)" : "");
        // We are about one of these ourselves.
        if (load > 2)
            fmt::print(
                "The machine is busy (load average {:.1f}): every number here is worse than it would be.\n\n",
                load);
        fmt::print("{:<44} {:>7} {:>15} {:>7} {:>6}  {}\n", "nanoseconds", "ours", "quartiles", "target",
                   "limit", "");
        for (const Row &row : table)
            fmt::print("{:<44} {:>7.1f} {:>15} {:>7} {:>6}  {}\n", row.name, row.ns,
                       fmt::format("{:.1f}..{:.1f}", row.low_ns, row.high_ns),
                       row.target_ns != 0 ? fmt::format("{:.0f}", row.target_ns) : "",
                       row.limit_ns != 0 ? fmt::format("{:.0f}", row.limit_ns) : "",
                       verdict(row.ns, row.target_ns, row.limit_ns));
        fmt::print("{:<44} {:>7}\n", "ring buffer event", "none");
        if (!goodput.empty()) {
            fmt::print("\n{:<36} {:>9} {:>9} {:>7} {:>7}\n", "goodput, two unshaped veth paths", "with",
                       "without", "ratio", "target");
            for (const bench::Goodput &row : goodput)
                fmt::print("{:<36} {:>9.0f} {:>9.0f} {:>7.3f} {:>7.2f}  {}\n", row.name, row.with_mbit,
                           row.without_mbit, row.ratio, row.target, goodput_verdict(row));
            fmt::print(
                "Mbit/s, medians of interleaved repetitions; the policy is `default`, as installed.\n");
        }
        fmt::print(
            "\nHow each row is measured (BPF_PROG_TEST_RUN, medians of interleaved rounds, one CPU):\n");
        for (const Row &row : table)
            fmt::print("  {:<36} {}\n", row.name.substr(row.name.find_first_not_of(' ')), row.how);
        fmt::print("  {:<36} {}\n", "ring buffer event", "the data path sends none: it counts");
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
