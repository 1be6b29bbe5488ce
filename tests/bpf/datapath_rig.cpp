// SPDX-License-Identifier: MIT
#include "datapath_rig.hpp"

#include <memory>
#include <string_view>
#include <tuple>
#include <utility>

namespace mps::test {

using namespace mps::packet;

std::map<std::string, std::uint64_t> changes(const std::vector<std::uint64_t> &before,
                                             const std::vector<std::uint64_t> &after) {
    std::map<std::string, std::uint64_t> out;

    for (std::size_t i = 0; i < after.size(); i++)
        if (after[i] != before[i] && !std::string_view(counter_names[i]).starts_with("wake_"))
            out[counter_names[i]] = after[i] - before[i];
    return out;
}

Rig &shared_rig(lab::Family family, Reading reading, Idle idle) {
    static std::map<std::tuple<lab::Family, Reading, Idle>, std::unique_ptr<Rig>> rigs;
    auto &rig = rigs[{family, reading, idle}];

    if (!rig)
        rig = std::make_unique<Rig>(family, reading, 2, idle);
    rig->use_slot(1);
    rig->set_config_flags(0);
    rig->set_dwell(0);
    rig->set_path_flags(0, MPS_PATH_ATTACHED);
    rig->set_path_flags(1, MPS_PATH_ATTACHED);
    rig->decide(0xff);
    rig->clear_wakes();
    // Lets the connection move to this choice, so that later packets count nothing but their own business.
    rig->show_every_subflow();
    rig->decide(0xff);
    return *rig;
}

Rig &every_rig(Idle idle) {
    auto [family, reading] = GENERATE(from_range(families_and_readings()));

    return shared_rig(family, reading, idle);
}

Rig &rig_of_each_family() {
    auto family = GENERATE(lab::Family::ipv4, lab::Family::ipv6);

    return shared_rig(family, usual_reading(family));
}

Outcome send(Rig &rig, Hook hook, ByteView data, Link link, std::uint32_t ifindex) {
    const std::string program =
        std::string(hook == Hook::xdp ? "mps_xdp" : "mps_tc") + (link == Link::ethernet ? "_eth" : "_l3");
    auto before = rig.counters();
    Outcome out;

    out.passed_as = hook == Hook::xdp ? xdp_pass : tc_unspec;
    out.ran = hook == Hook::xdp ? run_xdp(rig.program(program), data, ifindex)
                                : run_tc(rig.program(program), data, ifindex);
    out.counted = changes(before, rig.counters());
    return out;
}

bool tc_can_edit(const Shape &shape) {
    return shape.link == Link::ethernet && shape.name.starts_with("Ethernet");
}

bool tc_can_run(ByteView data) { return data.size() >= 14 + 40; }

Packet usual_ack(const Flow &flow) {
    return Ethernet() / flow.network() / flow.tcp() / nop() / nop() / flow.timestamp() / dss{.data_ack64 = 7};
}

std::uint32_t without(const Rig &rig, const Flow &flow) { return 0xffu & ~(1u << rig.index_of(flow)); }

void check_edit(Rig &rig, Hook hook, const Shape &shape, const Flow &flow, bool backup) {
    Bytes before = shape.packet.build();
    Bytes expected = shape.packet.with_first_options(mp_prio{.backup = backup} / nop()).build();
    rig.clear_wakes();
    Outcome out = send(rig, hook, before, shape.link, flow.ifindex);

    // A checksum that was wrong stays wrong by as much, which the builder cannot express.
    bool same = out.ran.packet == expected;
    Change change = classify_change(before, out.ran.packet, shape.link);
    bool was_right = checksum_faults(before, shape.link).empty();

    INFO(shape.name);
    INFO(compare(expected, out.ran.packet, shape.link));
    INFO(change.why);
    CHECK((same || !was_right));
    CHECK((change.kind == Change::Kind::prio && change.backup == backup));
    CHECK(out.ran.verdict == out.passed_as);
    CHECK(out.counted["inserted"] == 1);
    CHECK(out.counted["inserted_backup"] == (backup ? 1u : 0u));
}

} // namespace mps::test
