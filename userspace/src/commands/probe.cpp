// SPDX-License-Identifier: MIT

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "base/try.hpp"
#include "commands/commands.hpp"
#include "commands/render.hpp"
#include "mpsched/features.hpp"
#include "mpsched/xdp.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

using output::Align;
using output::Paint;

// Missing is bad news only if there is no other way.
Paint paint_of(const Feature &feature) {
    switch (feature.answer) {
    case mps::Answer::available:
        return Paint::good;
    case mps::Answer::missing:
        return feature.required ? Paint::bad : Paint::warn;
    case mps::Answer::unknown:
        return Paint::warn;
    }
    return Paint::none;
}

std::string feature_text(const Feature &feature, const output::Style &style) {
    std::string answer(to_string(feature.answer));
    std::string all = "  " + style(paint_of(feature), fmt::format("{:<9}", answer)) + "  " +
                      text::printable(feature.title) + (feature.required ? "" : "  (optional)") + "\n";
    const auto add = [&](std::string_view lead, const std::string &words) {
        if (!words.empty())
            all += text::wrap(std::string(lead) + text::printable(words), 100, 13) + "\n";
    };
    if (feature.answer != mps::Answer::available) {
        add("", feature.detail);
        add("needed for: ", feature.need);
        // How to get what could not be told would be a guess; what kept us from telling is in the detail.
        if (feature.answer == mps::Answer::missing) {
            if (!feature.since.empty())
                add("since Linux ", feature.since);
            add("hint: ", feature.hint);
        }
    }
    return all;
}

// nullptr: the kernel does not tell.
Answer has(const XdpFeatures *features, std::string_view name) {
    return !features                                               ? Answer::unknown
           : std::ranges::find(*features, name) != features->end() ? Answer::available
                                                                   : Answer::missing;
}

Json interface_json(const InterfaceProbe &one, const XdpFeatures *features) {
    return {{"name", one.name},
            {"ifindex", one.ifindex},
            {"driver", one.driver},
            {"link_type", one.link_type},
            {"layer3", one.layer3},
            {"up", one.up},
            {"mtu", one.mtu},
            {"native_xdp", to_string(one.native_xdp)},
            {"xdp_offload", to_string(has(features, "hw-offload"))},
            {"xdp_features", features ? Json(*features) : Json()},
            {"auto_mode", one.auto_mode},
            {"auto_reason", one.auto_reason},
            {"xdp_taken_by", one.xdp_taken_by.empty() ? Json(nullptr) : Json(one.xdp_taken_by)}};
}

// What is missing, as a warning and an exit code.
void judge(const Probe &found, Reply &reply) {
    std::vector<std::string> missing;
    bool surely = false;
    for (const Feature &feature : found.features)
        if (feature.required && feature.answer != mps::Answer::available) {
            missing.push_back(feature.hint.empty() ? feature.title
                                                   : fmt::format("{} ({})", feature.title, feature.hint));
            // Lacking rights are no property of the kernel.
            surely |= feature.answer == mps::Answer::missing && feature.name != "rights";
        }
    reply.warnings.push_back(
        (surely ? "mpsched cannot work here, this is missing: " : "could not be told: ") +
        text::join(missing, "; "));
    reply.exit_code = static_cast<int>(surely ? ErrorCode::unsupported : ErrorCode::not_permitted);
}

Result<Reply> run_probe(const Context &context) {
    const auto answers = probe({.netns = context.globals.netns, .log = context.log});
    MPS_TRY(answers);
    const Probe &found = *answers;
    const auto xdp = xdp_features(context.globals.netns);
    MPS_TRY(xdp);

    Reply reply{
        .json = {{"usable", found.usable()}, {"features", Json::array()}, {"interfaces", Json::array()}},
        .text = heading(context.style, "kernel")};
    for (const Feature &feature : found.features) {
        reply.json["features"].push_back({{"name", feature.name},
                                          {"title", feature.title},
                                          {"answer", to_string(feature.answer)},
                                          {"required", feature.required},
                                          {"since", feature.since},
                                          {"need", feature.need},
                                          {"detail", feature.detail},
                                          {"hint", feature.hint}});
        reply.text += feature_text(feature, context.style);
    }

    reply.text += "\n" + heading(context.style, "interfaces");
    output::Table table({{"name"},
                         {"link"},
                         {"driver"},
                         {"mtu", Align::right},
                         {""},
                         {"native xdp"},
                         {"offloaded xdp"},
                         {"auto mode"},
                         {"because"},
                         {"xdp taken by", Align::left, true}});
    for (const InterfaceProbe &one : found.interfaces) {
        const auto told = xdp->find(one.ifindex);
        const XdpFeatures *features = told == xdp->end() ? nullptr : &told->second;
        reply.json["interfaces"].push_back(interface_json(one, features));
        table.add({{one.name, Paint::bold},
                   one.link_type,
                   one.driver,
                   fmt::to_string(one.mtu),
                   one.up ? "up" : "down",
                   to_string(one.native_xdp),
                   to_string(has(features, "hw-offload")),
                   one.auto_mode,
                   one.auto_reason,
                   {one.xdp_taken_by, Paint::warn}});
    }
    reply.text += table.empty() ? "  none\n" : table.render(context.style, 2);

    if (!found.usable())
        judge(found, reply);
    return reply;
}

} // namespace

void setup_probe(Binder &binder) { binder.run(run_probe); }

} // namespace mps::cli
