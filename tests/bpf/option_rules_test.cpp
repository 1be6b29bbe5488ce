// SPDX-License-Identifier: MIT
//
// What rules about MPTCP options do to a packet (bpf/src/option_rules.bpf.c).
#include "catch.hpp"
#include "decode.hpp"
#include "option_rule_line.hpp"
#include "packet.hpp"
#include "rig.hpp"

#include "mpsched/option_rules.hpp"
#include "option_rules.skel.h"
#include "options/option_table.hpp"

#include <cerrno>
#include <memory>
#include <numeric>
#include <system_error>

using namespace mps;
using namespace mps::packet;

namespace {

constexpr int tc_unspec = -1;
constexpr std::uint32_t loopback = 1; // the device of a test run

class Programs {
  public:
    Programs() : object_(option_rules::open(), option_rules::destroy) {
        if (!object_)
            throw std::system_error(errno, std::generic_category(), "open the programs");
        bpf_map *map;
        bpf_object__for_each_map(map, object_->obj) {
            const std::string name = bpf_map__name(map);
            if (!bpf_map__is_internal(map) && !name.starts_with("mps_orule") &&
                !name.starts_with("mps_option"))
                bpf_map__set_autocreate(map, false);
        }
        if (option_rules::load(object_.get()))
            throw std::system_error(errno, std::generic_category(), "load the programs");
    }

    // Words as behind `mpsched rule add`.
    void use(const std::vector<std::string> &lines) {
        std::vector<PlacedRule> placed;
        for (const std::string &line : lines)
            placed.push_back({rule(line), static_cast<std::uint32_t>(placed.size())});
        const auto table = table_of(placed, {{"lo", loopback}});
        REQUIRE(table);
        const std::uint32_t zero = 0;
        const int inner =
            bpf_map_create(BPF_MAP_TYPE_ARRAY, "mps_orule_table", sizeof zero, sizeof *table, 1, nullptr);
        REQUIRE(inner >= 0);
        REQUIRE(bpf_map_update_elem(inner, &zero, &*table, BPF_ANY) == 0);
        REQUIRE(bpf_map_update_elem(bpf_map__fd(object_->maps.mps_orules), &zero, &inner, BPF_ANY) == 0);
        ::close(inner);
        const std::vector<mps_option_hits> none(static_cast<std::size_t>(libbpf_num_possible_cpus()));
        for (std::uint32_t i = 0; i < lines.size(); i++)
            REQUIRE(bpf_map_update_elem(bpf_map__fd(object_->maps.mps_orule_hits), &i, none.data(),
                                        BPF_ANY) == 0);
    }

    Bytes run(const Packet &packet, bool out, Link link = Link::ethernet) const {
        const bool l3 = link == Link::raw_ip;
        const bpf_program *program = out ? (l3 ? object_->progs.mps_rout_l3 : object_->progs.mps_rout_eth)
                                         : (l3 ? object_->progs.mps_rin_l3 : object_->progs.mps_rin_eth);
        const test::Ran ran = test::run_tc(bpf_program__fd(program), packet.build());
        CHECK(ran.verdict == tc_unspec);
        return ran.packet;
    }

    mps_option_hits hits(std::uint32_t place) const {
        std::vector<mps_option_hits> by_cpu(static_cast<std::size_t>(libbpf_num_possible_cpus()));
        REQUIRE(bpf_map_lookup_elem(bpf_map__fd(object_->maps.mps_orule_hits), &place, by_cpu.data()) == 0);
        mps_option_hits sum{};
        for (const mps_option_hits &one : by_cpu) {
            sum.matched += one.matched;
            sum.changed += one.changed;
            sum.failed += one.failed;
        }
        return sum;
    }

  private:
    static OptionRule rule(const std::string &line) {
        auto made = test::option_rule_of(line);
        if (!made)
            FAIL(line << ": " << made.error().what);
        return *made;
    }

    std::unique_ptr<option_rules, decltype(&option_rules::destroy)> object_;
};

Packet nops(unsigned count) {
    Packet out;
    for (unsigned i = 0; i < count; i++)
        out.add(nop());
    return out;
}

// From the peer's port 443.
const TCP established{.sport = 443, .dport = 40000};
const TCP syn{.sport = 443, .dport = 40000, .flags = SYN};
const TCP synack{.sport = 443, .dport = 40000, .flags = SYN | ACK};

// An ADD_ADDR that stays one, since a packet may need it, but that nobody can act on.
const Packet no_address = add_addr{.ipv4 = "0.0.0.0", .truncated_hmac = 0};

struct Edit {
    const char *rule; // without interface and direction
    Packet before, after;
};

std::vector<Edit> edits() {
    const Packet tail = nop() / nop() / timestamp() / mss();
    const Packet payload = Payload(101);
    return {
        {"mp_capable refuse", syn / mss() / mp_capable() / tail, syn / mss() / nops(4) / tail},
        {"mp_capable refuse", synack / mss() / mp_capable{.sender_key = 7} / tail,
         synack / mss() / nops(12) / tail},
        {"mp_join neutralise", syn / mss() / mp_join_syn{.token = 0xa1b2c3d4} / tail,
         syn / mss() / mp_join_syn{.token = 0} / tail},
        {"mp_join neutralise", synack / mp_join_synack() / tail, synack / nops(16) / tail},
        {"mp_join set-backup", syn / mp_join_syn() / tail, syn / mp_join_syn{.backup = true} / tail},
        {"mp_join clear-backup", synack / nop() / mp_join_synack{.backup = true} / tail,
         synack / nop() / mp_join_synack() / tail},
        {"add_addr neutralise", established / timestamp() / add_addr() / payload,
         established / timestamp() / no_address / payload},
        {"add_addr neutralise address=2001:db8::/32",
         established / timestamp() / add_addr{.ipv6 = Ipv6Address("2001:db8::7")},
         established / timestamp() / add_addr{.ipv6 = Ipv6Address("::"), .truncated_hmac = 0}},
        {"add_addr neutralise address=203.0.113.0/24", established / add_addr{.echo = true, .port = 9},
         established / add_addr{.echo = true, .ipv4 = "0.0.0.0", .port = 0}},
        {"remove_addr neutralise", established / timestamp() / remove_addr() / dss{.data_ack = 5},
         established / timestamp() / nops(4) / dss{.data_ack = 5}},
        {"mp_prio neutralise",
         established / timestamp() / nop() / mp_prio{.backup = true} / dss{.data_ack = 5},
         established / timestamp() / nop() / nops(3) / dss{.data_ack = 5}},
        {"mp_prio set-backup", established / timestamp() / nop() / mp_prio() / payload,
         established / timestamp() / nop() / mp_prio{.backup = true} / payload},
        {"mp_tcprst neutralise", TCP{.flags = RST | ACK} / mp_tcprst(), TCP{.flags = RST | ACK} / nops(4)},
    };
}

std::vector<std::pair<Link, Packet>> networks() {
    const Packet ipv4 = IPv4(), ipv6 = IPv6();
    return {{Link::ethernet, Ethernet() / ipv4},
            {Link::ethernet, Ethernet() / ipv6},
            {Link::ethernet, Ethernet() / Vlan() / ipv4},
            {Link::raw_ip, ipv4},
            {Link::raw_ip, ipv6}};
}

} // namespace

TEST_CASE("a rule changes its option and nothing else, and the checksum follows", "[option-rules]") {
    Programs programs;
    for (const Edit &edit : edits()) {
        INFO(edit.rule);
        programs.use({std::string("lo in ") + edit.rule, std::string("lo out ") + edit.rule});
        std::uint64_t runs = 0;
        for (const auto &[link, network] : networks())
            for (const bool out : {false, true}) {
                const Bytes got = programs.run(network / edit.before, out, link);
                CHECK(compare((network / edit.after).build(), got, link) == "");
                CHECK(checksum_faults(got, link).empty());
                runs++;
            }
        CHECK(programs.hits(0).matched + programs.hits(1).matched == runs);
        CHECK(programs.hits(0).changed + programs.hits(1).changed == runs);
        CHECK(programs.hits(0).failed == 0);
    }
}

TEST_CASE("what no rule matches passes bit for bit", "[option-rules]") {
    Programs programs;
    const Packet head = Ethernet() / IPv4{.src = "192.0.2.1", .dst = "198.51.100.1"};
    const Packet join = head / syn / mp_join_syn();
    const struct {
        const char *rule;
        Packet packet;
    } cases[] = {
        {"lo out mp_join neutralise", join},
        {"lo in mp_capable refuse", join},
        {"lo in mp_join neutralise state=synack", join},
        {"lo in mp_join neutralise lport=443", join},
        {"lo in mp_join neutralise rport=444", join},
        {"lo in mp_join neutralise remote=192.0.2.2", join},
        {"lo in mp_join neutralise local=192.0.2.0/24", join},
        {"lo in mp_join neutralise remote=2001:db8::/32", join},
        {"lo in mp_join neutralise remote=::/0", join},
        {"lo in mp_join neutralise", head / established / mp_join_ack()},
        {"lo in add_addr neutralise address=203.0.113.4/30", head / established / add_addr()},
        {"lo in add_addr neutralise address=::/0", head / established / add_addr()},
        {"lo in mp_prio neutralise", head / established / timestamp() / dss{.data_ack = 5} / Payload(20)},
        // What cannot be read is nobody's to change: an option that goes beyond the others, a fragment.
        {"lo in mp_join neutralise", head / syn / mp_join_syn() / raw_option{.data = Bytes(2), .length = 30}},
        {"lo in mp_join neutralise", Ethernet() / IPv4{.more_fragments = true} / syn / mp_join_syn()},
        {"lo in mp_join allow", join},
    };
    for (const auto &one : cases) {
        INFO(one.rule);
        programs.use({one.rule});
        CHECK(compare(one.packet.build(), programs.run(one.packet, false), Link::ethernet) == "");
        CHECK(programs.hits(0).changed == 0);
    }
    CHECK(programs.hits(0).matched == 1); // allowed
}

TEST_CASE("joins of a connection are counted by their nonces, each once", "[option-rules]") {
    Programs programs;
    programs.use({"lo in mp_join neutralise above=2"});
    const Packet head = Ethernet() / IPv4();
    const auto passes = [&](std::uint32_t token, std::uint32_t nonce) {
        const Packet join = head / syn / mp_join_syn{.token = token, .nonce = nonce};
        return programs.run(join, false) == join.build();
    };
    CHECK(passes(7, 100));
    CHECK(passes(7, 101));
    CHECK_FALSE(passes(7, 102));
    // A SYN that is sent again is what it was the first time, and other connections have a count of their own.
    CHECK(passes(7, 101));
    CHECK_FALSE(passes(7, 102));
    CHECK(passes(8, 102));
    CHECK(programs.hits(0).changed == 2);
    // More than are told apart; the first are still known.
    for (std::uint32_t nonce = 200; nonce < 240; nonce++)
        CHECK_FALSE(passes(7, nonce));
    CHECK(passes(7, 100));
    // Forged tokens push the connection out: its joins count anew.
    for (std::uint32_t token = 1000; token < 1000 + 3 * MPS_OPTION_JOIN_TABLE; token++)
        passes(token, 1);
    CHECK(passes(7, 300));
    // Other packets of a join are not counted, and none of them is touched.
    const Packet answer = head / synack / mp_join_synack();
    CHECK(programs.run(answer, false) == answer.build());
    programs.use({"lo in mp_join neutralise above=0"});
    CHECK_FALSE(passes(9, 1));
}

TEST_CASE("the first rule that matches an option decides, each option for itself", "[option-rules]") {
    Programs programs;
    const Packet head = Ethernet() / IPv4{.src = "192.0.2.1"};
    programs.use({"lo in add_addr allow address=203.0.113.0/24", "lo in add_addr neutralise",
                  "lo in mp_prio set-backup remote=192.0.2.0/24 rport=443", "lo in mp_prio neutralise"});
    const Packet known = head / established / add_addr();
    CHECK(programs.run(known, false) == known.build());
    const Packet both = head / established / add_addr{.ipv4 = "10.0.0.1"} / mp_prio();
    CHECK(compare((head / established / no_address / mp_prio{.backup = true}).build(),
                  programs.run(both, false), Link::ethernet) == "");
    const Packet other = Ethernet() / IPv4{.src = "192.0.3.1"} / established / mp_prio();
    CHECK(compare((Ethernet() / IPv4{.src = "192.0.3.1"} / established / nops(3)).build(),
                  programs.run(other, false), Link::ethernet) == "");
    for (std::uint32_t i = 0; i < 4; i++)
        CHECK(programs.hits(i).matched == 1);
    CHECK(programs.hits(0).changed == 0);
}

TEST_CASE("as many rules as there is room for are all looked at", "[option-rules]") {
    Programs programs;
    std::vector<std::string> lines;
    for (int i = 1; i < MPS_MAX_OPTION_RULES; i++)
        lines.push_back("lo in mp_join neutralise rport=" + std::to_string(1000 + i));
    lines.emplace_back("lo in mp_join set-backup rport=443");
    programs.use(lines);
    const Packet head = Ethernet() / IPv4();
    CHECK(compare((head / syn / mp_join_syn{.backup = true}).build(),
                  programs.run(head / syn / mp_join_syn(), false), Link::ethernet) == "");
    CHECK(programs.hits(MPS_MAX_OPTION_RULES - 1).changed == 1);
}
