// SPDX-License-Identifier: MIT

#include "table/generate.hpp"

#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <mps/mptcp_options.h>

namespace mps::table {

namespace {

struct Field {
    std::string_view name, title, wireshark;
    unsigned octets;
};

constexpr Field fields[] = {
#define MPTCP_FIELD_ROW(field, octets, shown, title, wireshark) {#field, title, wireshark, octets},
    MPTCP_FIELDS(MPTCP_FIELD_ROW)
#undef MPTCP_FIELD_ROW
};

struct Form {
    std::string_view name, title;
    unsigned subtype, length, mask, value;
    bool repeats;
    std::string fields;
};

std::string field_list(std::string_view names) {
    // " a b c", as the macro leaves it
    std::string all;
    while (!names.empty()) {
        names.remove_prefix(1);
        const std::string_view name = names.substr(0, names.find(' '));
        all += fmt::format("{}`{}`", all.empty() ? "" : ", ", name);
        names.remove_prefix(name.size());
    }
    return all;
}

std::vector<Form> forms() {
    return {
#define MPTCP_NAME_OF(field) " " #field
#define MPTCP_FORM_ROW(form, subtype, version, mask, value, flags, repeats, title)                           \
    {#form, title, MPTCP_SUB_##subtype, MPTCP_LEN_##form,                                                    \
     mask,  value, (repeats) != 0,      field_list("" MPTCP_FIELDS_##form(MPTCP_NAME_OF))},
        MPTCP_FORMS(MPTCP_FORM_ROW)
#undef MPTCP_FORM_ROW
#undef MPTCP_NAME_OF
    };
}

std::string forms_of(unsigned subtype) {
    std::string all;
    for (const Form &form : forms()) {
        if (form.subtype != subtype)
            continue;
        if (all.empty())
            all =
                "\n| form | length | head: bits | are | fields behind the head's first octet | |\n|---|---|---|---|---|---|\n";
        all += fmt::format("| `{}` | {}{} | {} | {} | {}{} | {} |\n", form.name, form.length,
                           form.repeats ? " or more" : "",
                           form.mask == 0 ? "" : fmt::format("`{:03x}`", form.mask),
                           form.mask == 0 ? "" : fmt::format("`{:03x}`", form.value), form.fields,
                           form.repeats ? ", the last one once or more" : "", form.title);
    }
    return all;
}

std::string flags_of(unsigned subtype) {
    std::string all;
    const auto add = [&](unsigned of, std::string_view letter, unsigned bit, std::string_view name,
                         std::string_view text) {
        if (of != subtype)
            return;
        if (all.empty())
            all = "\n| flag | bit of the head | name | |\n|---|---|---|---|\n";
        all += fmt::format("| {} | `{:03x}` | `{}` | {} |\n", letter, bit, name, text);
    };
#define MPTCP_FLAG_ROW(option, letter, bit, name, text) add(MPTCP_SUB_##option, #letter, bit, #name, text);
    MPTCP_FLAGS(MPTCP_FLAG_ROW)
#undef MPTCP_FLAG_ROW
    return all;
}

} // namespace

std::string generate_options() {
    std::string all =
        "<!-- Generated from bpf/include/mps/mptcp_options.h. After a change there:\n"
        "     build/bin/tools/mpsched-generate options >docs/options.md -->\n\n# MPTCP options\n\n"
        "Every form of every option of RFC 8684, and of RFC 6824 (version 0) where that one differs, as `mpsched decode` and "
        "`mpsched trace` name them. The data path, the decoder, the tests' packets and this page are made from one table.\n\n"
        "An option is the kind 30, its length, an octet with the subtype in its upper four bits, and the fields. The twelve bits behind the "
        "subtype are called head here: the rest of that octet, and the octet behind it, which most forms have as `flags`, `address_id` or "
        "reserved. A form is told by the option's length and, where the table says so, by bits of the head. Flags that are not "
        "of a form mean nothing there and are ignored; so are reserved bits.\n";
    const auto option = [&](std::string_view name, unsigned subtype, std::string_view section,
                            std::string_view text) {
        all += fmt::format("\n## {}\n\nSubtype {}, RFC 8684 section {}: {}.\n", name, subtype, section, text);
        all += forms_of(subtype) + flags_of(subtype);
    };
#define MPTCP_SUBTYPE_ROW(name, subtype, section, text) option(#name, subtype, section, text);
    MPTCP_SUBTYPES(MPTCP_SUBTYPE_ROW)
#undef MPTCP_SUBTYPE_ROW
    all +=
        "\nA DSS with a `data_length` of 0 is the infinite mapping: everything from there on belongs to the connection in order, "
        "and MPTCP ends (section 3.7).\n";
    all += "\n## Reasons of MP_TCPRST\n\n| | |\n|---|---|\n";
#define MPTCP_REASON_ROW(number, text) all += fmt::format("| {} | {} |\n", number, text);
    MPTCP_RST_REASONS(MPTCP_REASON_ROW)
#undef MPTCP_REASON_ROW
    all += "\n## Fields\n\n| field | octets | RFC 8684 | Wireshark |\n|---|---|---|---|\n";
    for (const Field &field : fields)
        all += fmt::format("| `{}` | {} | {} | `{}` |\n", field.name, field.octets, field.title,
                           field.wireshark);
    return all;
}

} // namespace mps::table
