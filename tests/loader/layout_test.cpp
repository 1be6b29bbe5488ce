// SPDX-License-Identifier: MIT
//
// The tables of layouts name every structure that is shared and every member of it, and what an object of policy ABI 4.0 was built
// against has not moved.
#include "catch.hpp"

#include <map>
#include <memory>
#include <regex>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <mps/datapath_abi.h>

#include "abi_4_0_shares.embed.h"
#include "app_header.embed.h"
#include "datapath_header.embed.h"
#include "layout_object.embed.h"
#include "policy_header.embed.h"

namespace {

struct Structure {
    std::uint32_t size = 0;
    std::map<std::string, std::uint32_t> offset{}; // by member
};
using Layout = std::map<std::string, Structure>;

Layout table() {
    Layout layout;
#define MPS_STRUCT(type, bytes) layout[#type].size = bytes;
#define MPS_MEMBER(type, member, at) layout[#type].offset[#member] = at;
#include <mps/datapath_layout.h>
#include <mps/policy_layout.h>
#undef MPS_STRUCT
#undef MPS_MEMBER
    return layout;
}

Layout layout_of_object(const unsigned char *begin, const unsigned char *end) {
    struct Close {
        void operator()(bpf_object *object) const { bpf_object__close(object); }
    };
    const std::unique_ptr<bpf_object, Close> object(
        bpf_object__open_mem(begin, static_cast<std::size_t>(end - begin), nullptr));
    REQUIRE(object);
    const btf *types = bpf_object__btf(object.get());
    Layout layout;
    for (std::uint32_t id = 1; id < btf__type_cnt(types); id++) {
        const btf_type *type = btf__type_by_id(types, id);
        const std::string name = btf__name_by_offset(types, type->name_off);
        if (!btf_is_struct(type) || !name.starts_with("mps_"))
            continue;
        Structure &structure = layout[name];
        structure.size = type->size;
        for (std::uint32_t m = 0; m < btf_vlen(type); m++)
            structure.offset[btf__name_by_offset(types, btf_members(type)[m].name_off)] =
                btf_member_bit_offset(type, m) / 8;
    }
    return layout;
}

std::set<std::string> structures_in(std::string_view header) {
    static const std::regex definition("(?:^|\n)struct (mps_\\w+) \\{");
    const std::string text(header);
    std::set<std::string> names;
    for (std::sregex_iterator it(text.begin(), text.end(), definition), end; it != end; ++it)
        names.insert((*it)[1]);
    return names;
}

std::string_view text_of(const unsigned char *begin, const unsigned char *end) {
    return {reinterpret_cast<const char *>(begin), static_cast<std::size_t>(end - begin)};
}

// Where it was room and is something else now.
bool is_room(const std::string &member) { return member.ends_with("_room"); }

} // namespace

TEST_CASE("the tables of layouts have every structure that the headers define") {
    auto defined = structures_in(text_of(policy_header_begin, policy_header_end));
    auto pinned = structures_in(text_of(datapath_header_begin, datapath_header_end));
    pinned.merge(structures_in(text_of(app_header_begin, app_header_end)));
    CHECK(defined.size() > 5);
    CHECK(pinned.size() > 10);
    defined.insert(pinned.begin(), pinned.end());
    std::set<std::string> listed;
    for (const auto &[name, structure] : table())
        listed.insert(name);
    CHECK(listed == defined);
}

TEST_CASE("the tables of layouts have every member, where clang puts it") {
    const Layout made = layout_of_object(layout_object_begin, layout_object_end);
    for (const auto &[name, structure] : table()) {
        INFO(name);
        REQUIRE(made.contains(name));
        CHECK(structure.size == made.at(name).size);
        auto members = made.at(name).offset;
        std::erase_if(members, [](const auto &member) { return is_room(member.first); });
        CHECK(structure.offset == members);
    }
}

TEST_CASE("what an object of policy ABI 4.0 was built against is where it was") {
    // On purpose: the state moved, which the data path knows of (MPS_SLOT_4_0); what was reserved has a name.
    const std::set<std::string> changed{"mps_scratch.state", "mps_view.reserved", "mps_policy_info.reserved"};
    const std::set<std::string> longer{"mps_scratch", "mps_view", "mps_verdict", "mps_state"};
    const Layout now = table();
    const Layout then = layout_of_object(abi_4_0_shares_begin, abi_4_0_shares_end);
    CHECK(then.contains("mps_subflow_view"));
    for (const auto &[name, structure] : then) {
        INFO(name);
        REQUIRE(now.contains(name));
        if (longer.contains(name))
            CHECK(now.at(name).size >= structure.size);
        else
            CHECK(now.at(name).size == structure.size);
        for (const auto &[member, offset] : structure.offset) {
            if (changed.contains(fmt::format("{}.{}", name, member)))
                continue;
            INFO(member);
            REQUIRE(now.at(name).offset.contains(member));
            CHECK(now.at(name).offset.at(member) == offset);
        }
    }
    CHECK(then.at("mps_scratch").size == MPS_SCRATCH_BYTES_4_0);
    CHECK(then.at("mps_scratch").offset.at("state") == MPS_STATE_OFFSET_4_0);
    CHECK(then.at("mps_state").size == MPS_STATE_WORDS_4_0 * 8);
}
