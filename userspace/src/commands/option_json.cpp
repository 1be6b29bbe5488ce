// SPDX-License-Identifier: MIT

#include "commands/option_json.hpp"

#include "codec/text.hpp"

namespace mps::cli {

namespace {

using codec::FieldInfo;
using codec::Shown;

Json value_json(mptcp_field field, codec::ByteView octets) {
    const FieldInfo &about = codec::info(field);
    const bool small = octets.size() <= 4;
    if (about.shown == Shown::reason || (about.shown == Shown::number && small))
        return codec::number_of(octets);
    return codec::field_text(field, octets);
}

void add_fields(Json &all, const codec::MptcpOption &option, const codec::FormInfo &form) {
    for (const mptcp_field field : form.fields) {
        const FieldInfo &about = codec::info(field);
        if (about.shown == Shown::flags || about.shown == Shown::reserved)
            continue;
        if (form.repeats && field == form.fields.back()) {
            Json values = Json::array();
            for (std::size_t nth = 0; const auto octets = option.field(field, nth); nth++)
                values.push_back(value_json(field, *octets));
            all[about.name] = std::move(values);
        } else if (const auto octets = option.field(field)) {
            all[about.name] = value_json(field, *octets);
        }
    }
}

} // namespace

Json option_json(const codec::MptcpOption &option) {
    Json all{{"option", option.has_subtype() ? codec::subtype_name(option.subtype()) : "MPTCP"},
             {"length", option.length()}};
    if (option.version() >= 0)
        all["version"] = option.version();
    if (const codec::FormInfo *form = option.form_info()) {
        all["form"] = form->name;
        Json names = Json::array();
        for (const codec::FlagInfo &flag : codec::flags())
            if (flag.subtype == option.subtype() && option.flag(static_cast<mptcp_flag>(flag.bit)))
                names.push_back(flag.name);
        all["flags"] = std::move(names);
        add_fields(all, option, *form);
        if (option.is_infinite_mapping())
            all["infinite_mapping"] = true;
    } else {
        all["octets"] = codec::hex_text(option.octets());
    }
    if (option.cut())
        all["cut"] = true;
    return all;
}

Json segment_json(const codec::Segment &segment) {
    Json all{{"source", codec::address_text(segment.source)},
             {"source_port", segment.source.port},
             {"destination", codec::address_text(segment.destination)},
             {"destination_port", segment.destination.port},
             {"tcp_flags", codec::flags_text(segment)},
             {"seq", segment.seq},
             {"ack", segment.ack},
             {"payload_bytes", segment.payload}};
    if (!segment.vlans.empty())
        all["vlans"] = segment.vlans;
    if (segment.first_fragment)
        all["fragment"] = true;
    return all;
}

} // namespace mps::cli
