// SPDX-License-Identifier: MIT
#include "policies.hpp"

#include "packet.hpp"

#include <array>
#include <bpf/bpf.h>
#include <cerrno>
#include <fmt/format.h>
#include <map>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

#include <mpsched/builtin_policies.hpp>

namespace mps::bench {
namespace {

// What a decision may cost, in socket lookups.
constexpr double weighted_lookups = 5, auto_more_lookups = 5;
constexpr std::uint32_t slot = 2, first_key = 0;

void need_zero(int result, const std::string &what) {
    if (result < 0)
        throw std::system_error(-result, std::generic_category(), what);
}

// A connection that the policies decide on in turn.
class Decided {
  public:
    explicit Decided(bool with_data)
        : rig_(lab::Family::ipv4, test::readings().front()), flow_(rig_.flows()[0]) {
        // A policy that parks a subflow asks for an edit of every packet, since none of these reaches the stack. Held back,
        // what is measured is the decision.
        rig_.set_dwell(MPS_MAX_DWELL_US);
        rig_.use_slot(slot);
        if (with_data)
            fill();
    }

    Subject under(const std::string &name) {
        auto known = loaded_.find(name);

        if (known == loaded_.end())
            known = loaded_.emplace(name, load_policy(rig_, name)).first;
        const int xdp = program(known->second, "mps_policy_xdp");
        const std::uint32_t wants = wants_of(known->second);
        return {.program_fd = rig_.program("mps_xdp_eth"),
                .packet = usual_ack(flow_),
                .ifindex = flow_.ifindex,
                .before = [this, xdp, wants] { choose(xdp, wants); }};
    }

    void measure(std::vector<Row> &rows, Rounds rounds, int lookup_xdp, int empty_xdp) {
        const auto seen = rig_.counter(MPS_C_SEEN), decided = rig_.counter(MPS_C_DECIDED);
        const test::Inside inside(rig_.network().a());

        bench::measure(rows, rounds, lookup_of(flow_, lookup_xdp, empty_xdp));
        const auto passed = rig_.counter(MPS_C_SEEN) - seen - (rig_.counter(MPS_C_DECIDED) - decided);
        if (passed != 0 || rig_.counter(MPS_C_INSERTED) > 100)
            throw std::runtime_error(
                fmt::format("{} of the measured packets were not decided on, {} were edited", passed,
                            rig_.counter(MPS_C_INSERTED)));
    }

  private:
    // The server never reads, so what its window does not take waits here.
    void fill() {
        const std::array<char, 65536> data{};

        while (send(rig_.client_socket(), data.data(), data.size(), MSG_DONTWAIT) > 0) {
        }
        if (errno != EAGAIN)
            throw std::system_error(errno, std::generic_category(), "fill the send buffer");
        usleep(200'000);
        // An ACK that is too old would not be believed.
        for (const mps_subflow_record &record : rig_.dump())
            if (record.local_port == flow_.local_port && record.remote_port == flow_.remote_port)
                flow_.ack = record.snd_una;
    }

    // As when a slot is filled anew: the connection's memory starts over.
    void choose(int xdp, std::uint32_t wants) {
        mps_config config{};

        need_zero(bpf_map_update_elem(rig_.map(MPS_MAP_XDP_SLOTS), &slot, &xdp, BPF_ANY),
                  "fill the XDP slot");
        need_zero(bpf_map_lookup_elem(rig_.map(MPS_MAP_CONFIG), &first_key, &config), "read mps_config");
        config.slot_serial[slot]++;
        config.slot_wants[slot] = wants;
        need_zero(bpf_map_update_elem(rig_.map(MPS_MAP_CONFIG), &first_key, &config, BPF_ANY),
                  "write mps_config");
    }

    test::Rig rig_;
    test::Flow flow_; // the packets' own subflow
    std::map<std::string, Policy> loaded_;
};

} // namespace

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

std::uint32_t wants_of(const Policy &policy) {
    std::size_t size = 0;
    bpf_map *section = bpf_object__find_map_by_name(policy.get(), MPS_INFO_SECTION);
    const auto *info =
        section ? static_cast<const mps_policy_info *>(bpf_map__initial_value(section, &size)) : nullptr;

    if (info == nullptr || size < sizeof *info)
        throw std::runtime_error("a policy does not describe itself");
    return info->wants;
}

int program(const Policy &policy, const char *name) {
    return bpf_program__fd(bpf_object__find_program_by_name(policy.get(), name));
}

packet::Bytes usual_ack(const test::Flow &flow) {
    using namespace packet;

    return (Ethernet() / flow.ipv4() / flow.tcp() / nop() / nop() / flow.timestamp() / dss{.data_ack64 = 7})
        .build();
}

Row lookup_of(const test::Flow &flow, int lookup_xdp, int empty_xdp) {
    const packet::Bytes ack = usual_ack(flow);

    return {.name = "the kernel's: socket lookup",
            .how = "bpf_skc_lookup_tcp that finds, and the release",
            .subject = {.program_fd = lookup_xdp, .packet = ack, .ifindex = flow.ifindex},
            .twin = {.program_fd = empty_xdp, .packet = ack, .ifindex = flow.ifindex}};
}

std::vector<Row> measure_policies(int lookup_xdp, int empty_xdp, Rounds rounds) {
    Decided nothing(false), waiting(true);
    std::vector<Row> rows, with_data;
    const auto add = [&](std::vector<Row> &to, Decided &connection, const std::string &name, const char *more,
                         const char *how) {
        Subject subject = connection.under(name);
        Subject twin = subject;

        twin.program_fd = empty_xdp;
        twin.before = {};
        to.push_back({.name = "decision under " + name + more, .how = how, .subject = subject, .twin = twin});
        if (name == "weighted")
            to.back().target_lookups = weighted_lookups;
    };
    const auto add_itself = [&](std::vector<Row> &to, Decided &connection, const char *what) {
        to.push_back({.name = what,
                      .how = "a decision under auto, over one under weighted",
                      .subject = connection.under("auto"),
                      .twin = connection.under("weighted"),
                      .target_lookups = auto_more_lookups});
    };

    for (const BuiltinPolicy &policy : builtin_policies())
        add(rows, nothing, std::string(policy.name), "",
            "mps_xdp_eth on an ACK, 2 subflows, nothing to send");
    add_itself(rows, nothing, "auto, more than weighted");
    for (const char *name : {"default", "weighted", "auto"})
        add(with_data, waiting, name, ", data waits",
            "the same while what the peer's window does not take waits to be sent");
    add_itself(with_data, waiting, "auto, more than weighted, data waits");
    nothing.measure(rows, rounds, lookup_xdp, empty_xdp);
    waiting.measure(with_data, rounds, lookup_xdp, empty_xdp);
    rows.insert(rows.end(), with_data.begin(), with_data.end());
    return rows;
}

} // namespace mps::bench
