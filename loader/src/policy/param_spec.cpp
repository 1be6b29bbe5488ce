// SPDX-License-Identifier: MIT
#include "policy/param_spec.hpp"

#include <bpf/btf.h>
#include <mps/abi.h>

#include <array>
#include <cstring>
#include <limits>

#include <fmt/format.h>

#include "base/numbers.hpp"
#include "base/try.hpp"
#include "common/amounts.hpp"

namespace mps {

namespace {

std::optional<std::int64_t> parse_limit(std::string_view text) {
    while (!text.empty() && text.starts_with(' '))
        text.remove_prefix(1);
    while (!text.empty() && std::string_view(" uUlL").find(text.back()) != std::string_view::npos)
        text.remove_suffix(1);
    if (const auto number = parse_unsigned(text)) {
        constexpr auto most = std::numeric_limits<std::int64_t>::max();
        return *number > static_cast<std::uint64_t>(most) ? most : static_cast<std::int64_t>(*number);
    }
    return parse_signed(text);
}

struct Member {
    std::string name;
    std::uint32_t type = 0;
    std::size_t offset = 0;
};

Result<ParamSpec> make_spec(const btf *types, const Member &member, const ParamTag &tag,
                            std::size_t section_size) {
    const int resolved = btf__resolve_type(types, member.type);
    const btf_type *type =
        resolved < 0 ? nullptr : btf__type_by_id(types, static_cast<std::uint32_t>(resolved));
    if (!type || !btf_is_int(type) || (type->size != 4 && type->size != 8)) {
        return fail(ErrorCode::unsupported,
                    fmt::format("parameter '{}' of the policy has an unknown type", member.name),
                    "parameters are __u32, __s32 or __u64");
    }
    ParamSpec spec;
    spec.offset = member.offset;
    spec.size = type->size;
    spec.is_signed = btf_int_encoding(type) & BTF_INT_SIGNED;
    if (spec.offset + spec.size > section_size) {
        return fail(ErrorCode::unsupported,
                    fmt::format("parameter '{}' lies outside of its section", member.name),
                    "the object is damaged: build it again");
    }
    spec.param = Param{.name = member.name,
                       .type = fmt::format("{}{}", spec.is_signed ? "s" : "u", spec.size * 8),
                       .value = tag.default_value,
                       .default_value = tag.default_value,
                       .min = tag.min,
                       .max = tag.max,
                       .unit = tag.unit,
                       .text = tag.text};
    return spec;
}

} // namespace

std::optional<ParamTag> parse_param_tag(std::string_view tag) {
    if (!tag.starts_with(MPS_PARAM_TAG))
        return std::nullopt;
    tag.remove_prefix(std::string_view(MPS_PARAM_TAG).size());
    std::array<std::string_view, 4> head;
    for (std::string_view &field : head) {
        const std::size_t colon = tag.find(':');
        if (colon == tag.npos)
            return std::nullopt;
        field = tag.substr(0, colon);
        tag.remove_prefix(colon + 1);
    }
    const auto dflt = parse_limit(head[0]);
    const auto min = parse_limit(head[1]);
    const auto max = parse_limit(head[2]);
    if (!dflt || !min || !max || *min > *max || *dflt < *min || *dflt > *max)
        return std::nullopt;
    return ParamTag{*dflt, *min, *max, std::string(head[3]), std::string(tag)};
}

Result<std::vector<ParamSpec>> params_of_btf(const btf *types, std::size_t section_size) {
    std::vector<ParamSpec> specs;
    const int section = btf__find_by_name_kind(types, MPS_PARAMS_SECTION, BTF_KIND_DATASEC);
    if (section < 0)
        return specs;
    const btf_type *datasec = btf__type_by_id(types, static_cast<std::uint32_t>(section));
    const btf_var_secinfo *variables = btf_var_secinfos(datasec);
    for (unsigned v = 0; v < btf_vlen(datasec); v++) {
        const btf_type *variable = btf__type_by_id(types, variables[v].type);
        const int resolved = variable ? btf__resolve_type(types, variable->type) : -1;
        const btf_type *record =
            resolved < 0 ? nullptr : btf__type_by_id(types, static_cast<std::uint32_t>(resolved));
        if (!record || !btf_is_struct(record))
            continue;

        for (unsigned m = 0; m < btf_vlen(record); m++) {
            const btf_member &field = btf_members(record)[m];
            const Member member{btf__name_by_offset(types, field.name_off), field.type,
                                variables[v].offset + btf_member_bit_offset(record, m) / 8};
            // Tags refer to their struct, not the other way round: a pass over all types for each member. A
            // policy's BTF has a few hundred types.
            for (std::uint32_t id = 1; id < btf__type_cnt(types); id++) {
                const btf_type *candidate = btf__type_by_id(types, id);
                if (!btf_is_decl_tag(candidate) || candidate->type != static_cast<std::uint32_t>(resolved) ||
                    btf_decl_tag(candidate)->component_idx != static_cast<int>(m)) {
                    continue;
                }
                const char *text = btf__name_by_offset(types, candidate->name_off);
                if (!text || !std::string_view(text).starts_with(MPS_PARAM_TAG))
                    continue;
                const auto tag = parse_param_tag(text);
                if (!tag) {
                    return fail(
                        ErrorCode::unsupported,
                        fmt::format("parameter '{}' of the policy has a broken description '{}'", member.name,
                                    text),
                        "the form is mps:DEFAULT:MIN:MAX:UNIT:TEXT with numbers as constants, see MPS_PARAMS in mps/core.h");
                }
                auto spec = make_spec(types, member, *tag, section_size);
                MPS_TRY(spec);
                specs.push_back(std::move(*spec));
                break;
            }
        }
    }
    return specs;
}

std::int64_t read_param(const ParamSpec &spec, std::span<const std::byte> section) {
    if (spec.size == 8) {
        std::int64_t value = 0;
        std::memcpy(&value, section.data() + spec.offset, sizeof value);
        if (!spec.is_signed && value < 0)
            return std::numeric_limits<std::int64_t>::max();
        return value;
    }
    std::uint32_t value = 0;
    std::memcpy(&value, section.data() + spec.offset, sizeof value);
    return spec.is_signed ? static_cast<std::int32_t>(value) : static_cast<std::int64_t>(value);
}

void write_param(const ParamSpec &spec, std::span<std::byte> section, std::int64_t value) {
    // Aligned members of a live map: each is one store for programs that read it meanwhile.
    if (spec.size == 8) {
        std::memcpy(section.data() + spec.offset, &value, sizeof value);
    } else {
        const auto narrow = static_cast<std::uint32_t>(value);
        std::memcpy(section.data() + spec.offset, &narrow, sizeof narrow);
    }
}

std::string param_range_text(const Param &param) {
    return fmt::format("{} ({}..{}{}{}, default {})", param.name, param.min, param.max,
                       param.unit.empty() ? "" : " ", param.unit, param.default_value);
}

Result<std::int64_t> parse_param_value(const Param &param, std::string_view text) {
    const Unit unit = unit_of(param.unit);
    const auto value = parse_amount(text, unit);
    const std::string_view why = !value                                     ? std::string_view(value.error())
                                 : *value < param.min || *value > param.max ? "out of range"
                                                                            : "";
    if (why.empty())
        return *value;
    const std::string_view units = units_hint(unit.measure);
    return fail(
        ErrorCode::usage, fmt::format("{}={}: {}", param.name, text, why),
        fmt::format("the range is {}{}{}", param_range_text(param), units.empty() ? "" : "; ", units));
}

Result<Setting> parse_setting(std::string_view text) {
    const std::size_t equals = text.find('=');
    if (equals == text.npos || equals == 0) {
        return fail(ErrorCode::usage, fmt::format("'{}' is no setting", text),
                    "settings are written key=value");
    }
    return Setting{std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

std::vector<Param> engine_params() {
    return {Param{.name = "dwell_us",
                  .type = "u32",
                  .value = MPS_DEFAULT_DWELL_US,
                  .default_value = MPS_DEFAULT_DWELL_US,
                  .min = 0,
                  .max = MPS_MAX_DWELL_US,
                  .unit = "us",
                  .text = "least time between two edits of one subflow's backup bit"}};
}

} // namespace mps
