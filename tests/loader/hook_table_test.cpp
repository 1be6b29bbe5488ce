// SPDX-License-Identifier: MIT
#include "attach/hook_table.hpp"

#include <set>
#include <string>

#include <linux/if_arp.h>

#include "catch.hpp"

using namespace mps;

namespace {

using Names = std::set<std::string>;

const NetDevice ethernet{.name = "eth0", .ifindex = 2, .type = ARPHRD_ETHER};
const NetDevice tunnel{.name = "tun0", .ifindex = 3, .type = ARPHRD_NONE};
const NetDevice member{.name = "eth1", .ifindex = 4, .type = ARPHRD_ETHER, .master = 9, .port_kind = "vrf"};
const NetDevice vrf{.name = "blue", .ifindex = 9, .type = ARPHRD_ETHER, .kind = "vrf"};

Names all_on(const NetDevice &device, Mode mode, Role role) {
    return names_of(wanted_on(device, mode, role), device);
}

} // namespace

TEST_CASE("the table of hooks tells what an interface needs in each mode and role") {
    CHECK(needed_programs(ethernet, Mode::native, Role::host) == Names{"mps_xdp_eth", "mps_wake_eth"});
    CHECK(needed_programs(tunnel, Mode::generic, Role::host) == Names{"mps_xdp_l3", "mps_wake_l3"});
    CHECK(needed_programs(ethernet, Mode::tc, Role::host) == Names{"mps_tc_eth"});
    CHECK(needed_programs(member, Mode::tc, Role::host) == Names{"mps_tc_eth", "mps_tc_vrf"});
    CHECK(needed_programs(member, Mode::native, Role::host) == Names{"mps_xdp_eth", "mps_wake_eth"});
    CHECK(needed_programs(ethernet, Mode::tc, Role::gateway) ==
          Names{"mps_gin_eth", "mps_gout_eth", "mps_gw_back", "mps_gw_look"});
}

TEST_CASE("the table of hooks tells what an interface wants besides, and where that cannot stand") {
    CHECK(all_on(ethernet, Mode::tc, Role::host) == Names{"mps_tc_eth", "mps_out_eth", "mps_take_back"});
    CHECK(all_on(vrf, Mode::tc, Role::host) == Names{"mps_tc_eth"});
    const HookProgram *out = wanted_at(HookId::out, ethernet, Mode::native, Role::host);
    REQUIRE(out != nullptr);
    CHECK_FALSE(out->lack.empty());
    CHECK(wanted_at(HookId::out, vrf, Mode::tc, Role::gateway) == nullptr);
    CHECK(wanted_at(HookId::vrf, ethernet, Mode::tc, Role::host) == nullptr);
}

TEST_CASE("a program is found in the table of hooks by its whole name alone") {
    for (const auto &[name, hook] : {std::pair{"mps_xdp_eth", HookId::xdp},
                                     {"mps_tc_l3", HookId::in},
                                     {"mps_wake_eth", HookId::in},
                                     {"mps_gin_eth", HookId::in},
                                     {"mps_out_l3", HookId::out},
                                     {"mps_take_back", HookId::out},
                                     {"mps_gw_look", HookId::out},
                                     {"mps_tc_vrf", HookId::vrf},
                                     {"mps_rin_eth", HookId::rules_in},
                                     {"mps_rout_l3", HookId::rules_out}}) {
        INFO(name);
        const HookProgram *row = find_hook_program(name);
        REQUIRE(row != nullptr);
        CHECK(row->hook == hook);
    }
    for (const char *name : {"", "mps_tc_", "mps_tc_ethx", "mps_tc_vrf_eth", "mps_dump", "somebody_elses"}) {
        INFO(name);
        CHECK(find_hook_program(name) == nullptr);
    }
}

TEST_CASE("no two hooks share a pin, and those that share a qdisc share its mark") {
    std::set<std::string_view> pins;
    for (const Hook &hook : hooks()) {
        INFO(std::string(hook.pin));
        CHECK(pins.insert(hook.pin).second);
        CHECK(hook.pin.contains("{}"));
        CHECK(hook.filter.has_value() == !hook.handles.empty());
        CHECK(hook.filter.has_value() == !hook.mark.empty());
        CHECK(&hook_of(hook.id) == &hook);
    }
    CHECK(hook_of(HookId::in).mark == hook_of(HookId::out).mark);
}
