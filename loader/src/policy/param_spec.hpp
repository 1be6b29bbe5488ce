// SPDX-License-Identifier: MIT
//
// Parameters of a policy as its BTF describes them, and their values inside the bytes of its data section.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "mpsched/params.hpp"

struct btf;

namespace mps {

struct ParamTag {
    std::int64_t default_value = 0;
    std::int64_t min = 0;
    std::int64_t max = 0;
    std::string unit{};
    std::string text{};
};

// "mps:DEFAULT:MIN:MAX:UNIT:TEXT". nullopt: not a parameter's tag, or broken (min > max, default out of
// range). Numbers may carry C suffixes (10000u, 5ULL); those above INT64_MAX are taken as INT64_MAX.
[[nodiscard]] std::optional<ParamTag> parse_param_tag(std::string_view tag);

struct ParamSpec {
    Param param;            // value is the default until read
    std::size_t offset = 0; // in the section
    std::size_t size = 0;   // 4 or 8 bytes
    bool is_signed = false;
};

// Every tagged member of every variable in the section MPS_PARAMS_SECTION. `section_size` bounds the offsets.
// A BTF without the section has no parameters. Fails if a tag is broken or a type is none of __u32, __s32,
// __u64.
[[nodiscard]] Result<std::vector<ParamSpec>> params_of_btf(const btf *types, std::size_t section_size);

// Reads and writes one value in the section's bytes; the spec was checked against the section's size.
[[nodiscard]] std::int64_t read_param(const ParamSpec &spec, std::span<const std::byte> section);
void write_param(const ParamSpec &spec, std::span<std::byte> section, std::int64_t value);

// Checks `text` against the range. A usage error tells range and unit.
[[nodiscard]] Result<std::int64_t> parse_param_value(const Param &param, std::string_view text);

// "hold_ms (0..600000 ms, default 1000)" for hints.
[[nodiscard]] std::string param_range_text(const Param &param);

} // namespace mps
