// SPDX-License-Identifier: MIT

#include "watch/event_lines.hpp"

#include <fmt/format.h>

#include "base/numbers.hpp"
#include "output/text.hpp"

namespace mps::watch {

namespace {

using Kind = Event::Kind;

// Octets that an event has as digits.
std::string bytes_of(const std::string &digits) {
    const auto value = parse_number<std::uint64_t>(digits);
    return value ? text::bytes(*value) : digits;
}

std::string link_text(const Event &event) {
    switch (event.kind) {
    case Kind::link_new:
        return fmt::format("{} has come", event.interface);
    case Kind::link_gone:
        return fmt::format("{} is gone", event.interface);
    case Kind::link_renamed:
        return fmt::format("{} is called {} now", event.before, event.now);
    case Kind::link_up:
        return fmt::format("{} is up", event.interface);
    case Kind::link_down:
        return fmt::format("{} is down: no carrier, or set down", event.interface);
    case Kind::address_new:
        return fmt::format("{} has the address {}", event.interface, event.about);
    default:
        return fmt::format("{} has lost the address {}", event.interface, event.about);
    }
}

std::string path_text(const Event &event) {
    switch (event.kind) {
    case Kind::installed:
        return "mpsched is at work here";
    case Kind::removed:
        return "mpsched has been taken away: the kernel schedules as it likes";
    case Kind::attached:
        return fmt::format("{} is attached", event.interface);
    case Kind::detached:
        return fmt::format("{} is not attached any more", event.interface);
    case Kind::path_up:
        return fmt::format("path {} works again", event.interface);
    case Kind::path_down:
        return fmt::format("path {} is down: no carrier, or no address", event.interface);
    case Kind::quota_near:
        return fmt::format("{} has used {} of its {}", event.interface, bytes_of(event.now),
                           bytes_of(event.about));
    case Kind::quota_used_up:
        return fmt::format("{} has used up its quota: {} of {}", event.interface, bytes_of(event.now),
                           bytes_of(event.about));
    case Kind::quota_anew:
        return fmt::format("the quota of {} begins anew ({} were used before)", event.interface,
                           bytes_of(event.before));
    default:
        return fmt::format("{} has {} {} (before: {})", event.interface, event.about,
                           event.about == "quota" ? bytes_of(event.now) : event.now,
                           event.about == "quota" ? bytes_of(event.before) : event.before);
    }
}

std::string policy_text(const Event &event) {
    switch (event.kind) {
    case Kind::policy:
        return fmt::format("the default policy is {} (before: {})", event.now, event.before);
    case Kind::rx_policy:
        return fmt::format("the default policy for what peers send is {} (before: {})", event.now,
                           event.before);
    case Kind::rule_new:
        return fmt::format("there is a rule {}: {}", event.about, event.now);
    case Kind::rule_gone:
        return fmt::format("the rule {} is gone (it was: {})", event.about, event.before);
    default:
        return fmt::format("the rule {} is: {} (before: {})", event.about, event.now, event.before);
    }
}

std::string_view loss_text(const std::string &why) {
    return why == "silent"  ? "does not answer"
           : why == "down"  ? "is down"
           : why == "stale" ? "was given up by the kernel"
                            : "is gone";
}

std::string connection_text(const Event &event) {
    const std::string subflow =
        event.subflow ? fmt::format("subflow {}{}", *event.subflow,
                                    event.interface.empty() ? "" : fmt::format(" ({})", event.interface))
                      : "";
    switch (event.kind) {
    case Kind::failover:
        return fmt::format("failover from {} to {}: it {}",
                           event.interface.empty() ? subflow : event.interface, event.now,
                           loss_text(event.why)) +
               (event.connections > 1 ? fmt::format(", {} connections", event.connections) : "");
    case Kind::connection_begun:
        return fmt::format("begun, {}", event.now);
    case Kind::connection_ended:
        return "ended";
    case Kind::connection_policy:
        return fmt::format("uses {} now", event.now);
    case Kind::subflow_joined:
        return fmt::format("{} has joined: {}", subflow, event.now);
    case Kind::subflow_left:
        return fmt::format("{} has left", subflow);
    default:
        return fmt::format("{} is {}", subflow, event.now);
    }
}

Json text_or_null(const std::string &text) { return text.empty() ? Json(nullptr) : Json(text); }

} // namespace

std::string event_text(const Event &event) {
    const std::string_view group = word_of(event.kind).group;
    if (group == "link" || group == "address")
        return link_text(event);
    if (group == "attach" || group == "path" || group == "quota")
        return path_text(event);
    if (group == "policy")
        return policy_text(event);
    const std::string who = event.token ? fmt::format("{:08x}  ", *event.token) : "";
    return who + connection_text(event);
}

Json event_json(const Event &event) {
    const EventKindWord &word = word_of(event.kind);
    return {{"event", word.word},
            {"group", word.group},
            {"interface", text_or_null(event.interface)},
            {"token", event.token ? Json(*event.token) : Json(nullptr)},
            {"subflow", event.subflow ? Json(*event.subflow) : Json(nullptr)},
            {"about", text_or_null(event.about)},
            {"before", text_or_null(event.before)},
            {"now", text_or_null(event.now)},
            {"why", text_or_null(event.why)},
            {"connections", event.connections ? Json(event.connections) : Json(nullptr)}};
}

} // namespace mps::watch
