// SPDX-License-Identifier: MIT

#include "codec/options.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace mps::codec {

namespace {

constexpr std::array<SubtypeInfo, 10> all_subtypes{{
#define MPTCP_SUBTYPE_ROW(name, subtype, section, text) {#name, subtype, section, text},
    MPTCP_SUBTYPES(MPTCP_SUBTYPE_ROW)
#undef MPTCP_SUBTYPE_ROW
}};

constexpr FlagInfo all_flags[] = {
#define MPTCP_FLAG_ROW(option, letter, bit, name, text) {MPTCP_SUB_##option, #letter, bit, #name, text},
    MPTCP_FLAGS(MPTCP_FLAG_ROW)
#undef MPTCP_FLAG_ROW
};

constexpr FieldInfo all_fields[] = {
#define MPTCP_FIELD_ROW(field, octets, shown, title, wireshark)                                              \
    {#field, octets, static_cast<Shown>(shown), title, wireshark},
    MPTCP_FIELDS(MPTCP_FIELD_ROW)
#undef MPTCP_FIELD_ROW
};

// A leading entry, since a form may have no fields and an array must have one.
#define MPTCP_FIELD_OF(field) , MPTCP_FIELD_##field
#define MPTCP_FORM_FIELDS(form, subtype, version, mask, value, flags, repeats, title)                        \
    constexpr mptcp_field fields_of_##form[] = {MPTCP_NR_FIELDS MPTCP_FIELDS_##form(MPTCP_FIELD_OF)};
MPTCP_FORMS(MPTCP_FORM_FIELDS)
#undef MPTCP_FORM_FIELDS
#undef MPTCP_FIELD_OF

constexpr FormInfo all_forms[] = {
#define MPTCP_FORM_ROW(form, subtype, version, mask, value, flags, repeats, title)                           \
    {#form,                                                                                                  \
     MPTCP_SUB_##subtype,                                                                                    \
     version,                                                                                                \
     mask,                                                                                                   \
     value,                                                                                                  \
     flags,                                                                                                  \
     (repeats) != 0,                                                                                         \
     title,                                                                                                  \
     MPTCP_LEN_##form,                                                                                       \
     std::span<const mptcp_field>(fields_of_##form).subspan(1)},
    MPTCP_FORMS(MPTCP_FORM_ROW)
#undef MPTCP_FORM_ROW
};
static_assert(std::size(all_forms) == MPTCP_NR_FORMS && std::size(all_fields) == MPTCP_NR_FIELDS);

constexpr std::string_view all_reasons[] = {
#define MPTCP_REASON_ROW(number, text) text,
    MPTCP_RST_REASONS(MPTCP_REASON_ROW)
#undef MPTCP_REASON_ROW
};

} // namespace

std::span<const SubtypeInfo> subtypes() { return all_subtypes; }
std::span<const FlagInfo> flags() { return all_flags; }
std::span<const FieldInfo> fields() { return all_fields; }
std::span<const FormInfo> forms() { return all_forms; }
const FieldInfo &info(mptcp_field field) { return all_fields[field]; }

std::string_view reset_reason(unsigned number) {
    return number < std::size(all_reasons) ? all_reasons[number] : std::string_view();
}

std::string subtype_name(unsigned subtype) {
    const auto *found = std::ranges::find(all_subtypes, subtype, &SubtypeInfo::subtype);
    return found == std::end(all_subtypes) ? fmt::format("subtype {}", subtype) : std::string(found->name);
}

MptcpOption::MptcpOption(const TcpOption &option) : length_(option.length), octets_(option.octets) {
    if (!has_subtype())
        return;
    const std::uint8_t second = octets_.size() > MPTCP_HEAD_LEN ? octets_[MPTCP_HEAD_LEN] : std::uint8_t{0};
    head_ = static_cast<unsigned>(octets_[2]) << 8 | second;
    // Where the octet that tells the forms apart is missing, none is told.
    if (length_ == MPTCP_HEAD_LEN || octets_.size() > MPTCP_HEAD_LEN)
        form_ = mptcp_form_of(length_, octets_[2], second);
}

const FormInfo *MptcpOption::form_info() const {
    return form_ == MPTCP_FORM_UNKNOWN ? nullptr : &all_forms[form_];
}

int MptcpOption::version() const {
    if (has_subtype() && subtype() == MPTCP_SUB_MP_CAPABLE)
        return static_cast<int>(head_ >> 8 & 15);
    const FormInfo *form = form_info();
    return form ? form->version : -1;
}

bool MptcpOption::flag(mptcp_flag bit) const {
    const FormInfo *form = form_info();
    return form && (form->flags & bit & head_) != 0;
}

std::optional<ByteView> MptcpOption::field(mptcp_field field, std::size_t nth) const {
    const FormInfo *form = form_info();
    if (!form)
        return std::nullopt;
    std::size_t at = MPTCP_HEAD_LEN;
    for (const mptcp_field one : form->fields) {
        const std::size_t size = all_fields[one].octets;
        if (one == field) {
            if (form->repeats && one == form->fields.back())
                at += nth * size;
            else if (nth > 0)
                return std::nullopt;
            if (at + size > octets_.size())
                return std::nullopt;
            return octets_.subspan(at, size);
        }
        at += size;
    }
    return std::nullopt;
}

std::optional<std::uint64_t> MptcpOption::number(mptcp_field which) const {
    const auto octets = field(which);
    return octets ? std::optional(number_of(*octets)) : std::nullopt;
}

OptionList split_options(ByteView octets, std::size_t length) {
    OptionList list;
    std::size_t at = 0;

    while (at < length) {
        if (at >= octets.size()) {
            list.cut = true;
            break;
        }
        const unsigned kind = octets[at];
        if (kind == TCPOPT_EOL || kind == TCPOPT_NOP) {
            list.options.push_back({kind, 1, octets.subspan(at, 1)});
            if (kind == TCPOPT_EOL)
                break;
            at++;
            continue;
        }
        if (at + 1 >= length) {
            list.malformed = true;
            break;
        }
        if (at + 1 >= octets.size()) {
            list.cut = true;
            break;
        }
        const unsigned size = octets[at + 1];
        if (size < 2 || at + size > length) {
            list.malformed = true;
            break;
        }
        list.options.push_back({kind, size, part_of(octets, at, size)});
        at += size;
    }
    if (!list.options.empty() && list.options.back().octets.size() < list.options.back().length)
        list.cut = true;
    return list;
}

std::vector<MptcpOption> mptcp_options(const OptionList &list) {
    std::vector<MptcpOption> found;
    for (const TcpOption &option : list.options)
        if (option.kind == TCPOPT_MPTCP)
            found.emplace_back(option);
    return found;
}

} // namespace mps::codec
