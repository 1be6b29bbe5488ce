// SPDX-License-Identifier: MIT
//
// The editor carries out plans that no policy makes yet (bpf/src/plan.bpf.h).
#include "catch.hpp"
#include "decode.hpp"
#include "packet.hpp"
#include "rig.hpp"

#include "plan_programs.skel.h"

#include <cerrno>
#include <memory>
#include <system_error>

using namespace mps;
using namespace mps::packet;

namespace {

constexpr int xdp_pass = 2, tc_unspec = -1;
constexpr std::uint32_t dss_bytes = 12;

using Programs = std::unique_ptr<plan_programs, decltype(&plan_programs::destroy)>;

Programs load() {
    Programs programs(plan_programs::open_and_load(), plan_programs::destroy);

    if (!programs)
        throw std::system_error(errno, std::generic_category(), "load the programs");
    return programs;
}

Packet nops(unsigned count) {
    Packet out;

    for (unsigned i = 0; i < count; i++)
        out.add(nop());
    return out;
}

struct Layout {
    const char *name;
    Packet before, after; // the DSS and NOPs in its place
    std::uint32_t off;    // of the DSS
};

std::vector<Layout> layouts() {
    const Packet payload = Payload(101);
    std::vector<Layout> out;

    for (const Packet &network : {Packet(IPv4{.src = "192.0.2.1", .dst = "192.0.2.2"}),
                                  Packet(IPv6{.src = "2001:db8::1", .dst = "2001:db8::2"})}) {
        const Packet head = Ethernet() / network / TCP{.sport = 443, .dport = 40000};

        out.push_back({"as Linux writes it", head / nop() / nop() / timestamp() / dss{.data_ack64 = 7},
                       head / nop() / nop() / timestamp() / nops(dss_bytes), 12});
        out.push_back({"at an odd place", head / timestamp() / nop() / dss{.data_ack64 = 7} / nop() / payload,
                       head / timestamp() / nop() / nops(dss_bytes) / nop() / payload, 11});
    }
    return out;
}

void check(const char *hook, const test::Ran &ran, int passed, const Bytes &expected) {
    INFO(hook);
    CHECK(ran.verdict == passed);
    CHECK(ran.packet == expected);
}

} // namespace

TEST_CASE("a plan turns an option into NOPs, and inserts beside that, and the checksum follows") {
    const Programs programs = load();
    const int xdp = bpf_program__fd(programs->progs.plan_xdp), tc = bpf_program__fd(programs->progs.plan_tc);

    programs->bss->neutral_len = dss_bytes;
    for (const Layout &layout : layouts()) {
        INFO(layout.name);
        programs->bss->neutral_off = layout.off;
        for (const bool inserts : {false, true}) {
            INFO((inserts ? "with" : "without") << " an insertion");
            programs->bss->inserts = inserts;
            const Bytes before = layout.before.build();
            const Bytes expected =
                (inserts ? layout.after.with_first_options(nops(4)) : layout.after).build();

            check("XDP", test::run_xdp(xdp, before), xdp_pass, expected);
            check("TC", test::run_tc(tc, before), tc_unspec, expected);
        }
    }
}
