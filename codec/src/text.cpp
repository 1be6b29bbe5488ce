// SPDX-License-Identifier: MIT

#include "codec/text.hpp"

#include <fmt/format.h>

#include "base/addresses.hpp"

namespace mps::codec {

namespace {

// Of a DSS the fields tell which form it is, and so they do of all options but those of handshakes.
bool has_telling_title(unsigned subtype) {
    return subtype == MPTCP_SUB_MP_CAPABLE || subtype == MPTCP_SUB_MP_JOIN;
}

// Bits that say which fields there are.
bool is_told(const FlagInfo &flag) { return flag.subtype == MPTCP_SUB_DSS && flag.bit != MPTCP_DSS_F; }

std::string fields_text(const MptcpOption &option, const FormInfo &form) {
    std::string all;
    for (const mptcp_field field : form.fields) {
        const FieldInfo &about = info(field);
        if (about.shown == Shown::flags || about.shown == Shown::reserved)
            continue;
        std::string values;
        for (std::size_t nth = 0; const auto octets = option.field(field, nth); nth++)
            values += (nth == 0 ? "" : ",") + field_text(field, *octets);
        if (!values.empty())
            all += fmt::format(" {}={}", about.name, values);
    }
    return all;
}

} // namespace

std::string hex_text(ByteView octets) {
    std::string all;
    for (const std::uint8_t octet : octets)
        all += fmt::format("{:02x}", octet);
    return all;
}

std::string field_text(mptcp_field field, ByteView octets) {
    switch (info(field).shown) {
    case Shown::number:
        return fmt::to_string(number_of(octets));
    case Shown::ipv4:
        return mps::address_text(AF_INET, octets.data());
    case Shown::ipv6:
        return mps::address_text(AF_INET6, octets.data());
    case Shown::reason: {
        const auto number = static_cast<unsigned>(number_of(octets));
        const std::string_view text = reset_reason(number);
        return text.empty() ? fmt::to_string(number) : fmt::format("{} ({})", number, text);
    }
    case Shown::hexadecimal:
    case Shown::flags:
    case Shown::reserved:
        break;
    }
    return "0x" + hex_text(octets);
}

std::string option_text(const MptcpOption &option) {
    if (!option.has_subtype())
        return option.cut() ? "MPTCP (cut off)" : "MPTCP without a subtype";
    std::string all = subtype_name(option.subtype());
    const FormInfo *form = option.form_info();
    if (!form) {
        if (option.subtype() == MPTCP_SUB_MP_CAPABLE && option.version() > 1)
            all += fmt::format(" of version {}, which is not known:", option.version());
        else if (!option.cut())
            all += fmt::format(" of {} octets, no form of RFC 8684:", option.length());
        return all + " 0x" + hex_text(option.octets()) + (option.cut() ? " (cut off)" : "");
    }
    if (has_telling_title(option.subtype()))
        all += fmt::format(" {}", form->title);
    else if (form->version == 0)
        all += " version 0";
    for (const FlagInfo &flag : flags())
        if (flag.subtype == option.subtype() && option.flag(static_cast<mptcp_flag>(flag.bit)) &&
            !is_told(flag))
            all += fmt::format(" {}", flag.name);
    all += fields_text(option, *form);
    if (option.is_infinite_mapping())
        all += " (infinite mapping)";
    return all + (option.cut() ? " (cut off)" : "");
}

std::string address_text(const Endpoint &end) {
    return mps::address_text(end.ipv6 ? AF_INET6 : AF_INET, end.address.data());
}

std::string endpoint_text(const Endpoint &end) {
    const std::string address = address_text(end);
    return end.ipv6 ? fmt::format("[{}]:{}", address, end.port) : fmt::format("{}:{}", address, end.port);
}

std::string flags_text(const Segment &segment) {
    static constexpr const char *names[] = {"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"};
    std::string all;
    for (unsigned i = 0; i < std::size(names); i++)
        if ((segment.flags >> i & 1) != 0)
            all += fmt::format("{}{}", all.empty() ? "" : ", ", names[i]);
    return all;
}

} // namespace mps::codec
