// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include <bpf/btf.h>

#include "policy/param_spec.hpp"

using namespace mps;

namespace {

struct FreeBtf {
    void operator()(btf *types) const { btf__free(types); }
};

// BTF as clang writes it for
//   struct { unsigned reserved; unsigned a TAG; int b TAG; unsigned long c TAG; } mps_params SEC(".data.params");
std::unique_ptr<btf, FreeBtf> params_btf(const char *tag_a, const char *tag_b, const char *tag_c,
                                         unsigned size_of_a = 4) {
    std::unique_ptr<btf, FreeBtf> types(btf__new_empty());
    const int u = btf__add_int(types.get(), "unsigned int", size_of_a, 0);
    const int s = btf__add_int(types.get(), "int", 4, BTF_INT_SIGNED);
    const int l = btf__add_int(types.get(), "unsigned long", 8, 0);
    const int alias = btf__add_typedef(types.get(), "__u32", u);
    const int record = btf__add_struct(types.get(), "x_params", 24);
    REQUIRE(!btf__add_field(types.get(), "reserved", alias, 0, 0));
    REQUIRE(!btf__add_field(types.get(), "a", alias, 32, 0));
    REQUIRE(!btf__add_field(types.get(), "b", s, 64, 0));
    REQUIRE(!btf__add_field(types.get(), "c", l, 128, 0));
    const int variable = btf__add_var(types.get(), "mps_params", BTF_VAR_GLOBAL_ALLOCATED, record);
    REQUIRE(btf__add_datasec(types.get(), ".data.params", 24) > 0);
    REQUIRE(!btf__add_datasec_var_info(types.get(), variable, 0, 24));
    int member = 1;
    for (const char *tag : {tag_a, tag_b, tag_c})
        REQUIRE(btf__add_decl_tag(types.get(), tag, record, member++) > 0);
    return types;
}

} // namespace

TEST_CASE("a parameter's tag gives default, range, unit and text") {
    const auto tag = parse_param_tag("mps:1000:0:600000:ms:how long: a colon in the text is its own");
    REQUIRE(tag);
    CHECK(tag->default_value == 1000);
    CHECK(tag->min == 0);
    CHECK(tag->max == 600000);
    CHECK(tag->unit == "ms");
    CHECK(tag->text == "how long: a colon in the text is its own");
}

TEST_CASE("numbers of a tag may be negative, hexadecimal, suffixed, or beyond 63 bits") {
    CHECK(parse_param_tag("mps:-1:-5:5::t")->min == -5);
    CHECK(parse_param_tag("mps:0x10:0:0xff::t")->default_value == 16);
    CHECK(parse_param_tag("mps:10u:0UL:20ull::t")->max == 20);
    CHECK(parse_param_tag("mps:0:0:18446744073709551615::t")->max ==
          std::numeric_limits<std::int64_t>::max());
}

TEST_CASE("what is no tag of ours, or makes no sense, is none") {
    for (const char *text : {"", "mps", "mps:", "other:1:0:2:u:t", "mps:1:2", "mps:5:10:1:ms:t",
                             "mps:5:6:9:ms:t", "mps:12:0:9:ms:t", "mps:x:0:9:ms:t", "mps:1:0:9 9:ms:t",
                             "mps::0:9:ms:t", "mps:(1 << 3):0:9:ms:t"}) {
        INFO(text);
        CHECK_FALSE(parse_param_tag(text));
    }
}

TEST_CASE("parameters are found in BTF with their place in the section") {
    const auto types = params_btf("mps:7:0:9:ms:first", "mps:-3:-9:9::second", "mps:1:0:5:bytes:third");
    const auto params = params_of_btf(types.get(), 24);
    REQUIRE(params);
    REQUIRE(params->size() == 3);
    CHECK((*params)[0].param.name == "a");
    CHECK((*params)[0].param.type == "u32");
    CHECK((*params)[0].offset == 4);
    CHECK((*params)[1].param.type == "s32");
    CHECK((*params)[2].param.type == "u64");
    CHECK((*params)[2].offset == 16);
    CHECK((*params)[2].param.unit == "bytes");

    std::vector<std::byte> section(24);
    write_param((*params)[0], section, 0xfffffffe);
    write_param((*params)[1], section, -3);
    write_param((*params)[2], section, 5);
    CHECK(read_param((*params)[0], section) == 0xfffffffe);
    CHECK(read_param((*params)[1], section) == -3);
    CHECK(read_param((*params)[2], section) == 5);
}

TEST_CASE("a broken tag, a strange type or a section that is too short is an error, not a guess") {
    const char *good = "mps:1:0:5::t";
    CHECK_FALSE(params_of_btf(params_btf("mps:5", good, good).get(), 24));
    CHECK_FALSE(params_of_btf(params_btf("mps:5:10:1:ms:t", good, good).get(), 24));
    CHECK_FALSE(params_of_btf(params_btf(good, good, good, 2).get(), 24));
    CHECK_FALSE(params_of_btf(params_btf(good, good, good).get(), 20));
    // Somebody else's tags are not ours to judge.
    const auto params = params_of_btf(params_btf("user", good, good).get(), 24);
    REQUIRE(params);
    CHECK(params->size() == 2);
    // A policy without parameters.
    const std::unique_ptr<btf, FreeBtf> empty(btf__new_empty());
    CHECK(params_of_btf(empty.get(), 4)->empty());
}

TEST_CASE("a value is checked against the range, and the range is told") {
    const Param param{
        .name = "hold_ms", .type = "u32", .default_value = 3, .min = -2, .max = 9, .unit = "ms"};
    CHECK(*parse_param_value(param, "9") == 9);
    CHECK(*parse_param_value(param, "-2") == -2);
    CHECK(*parse_param_value(param, "0x9") == 9);
    for (const char *text : {"10", "-3", "", "x", "1x", "1.5", " 1", "99999999999999999999"}) {
        INFO(text);
        const auto value = parse_param_value(param, text);
        REQUIRE_FALSE(value);
        CHECK(value.error().code == ErrorCode::usage);
        CHECK(value.error().hint ==
              "the range is hold_ms (-2..9 ms, default 3); units: us, ms, s, m, h, d, w");
    }
}

TEST_CASE("a setting is split at its first '='") {
    CHECK(parse_setting("a=b=c")->key == "a");
    CHECK(parse_setting("a=b=c")->value == "b=c");
    CHECK(parse_setting("a=")->value.empty());
    CHECK(parse_setting("=b").error().code == ErrorCode::usage);
    CHECK(parse_setting("ab").error().code == ErrorCode::usage);
}
