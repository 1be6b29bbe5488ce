// SPDX-License-Identifier: MIT
#include "watch/path_event_text.hpp"

#include <fmt/format.h>

namespace mps::watch {

std::string event_text(const PathEvent &event) {
    switch (event.kind) {
    case PathEvent::Kind::gone:
        return fmt::format("{} is gone", event.name);
    case PathEvent::Kind::back:
        return fmt::format("{} is back", event.name);
    case PathEvent::Kind::renamed:
        return fmt::format("{} is called {} now", event.before, event.name);
    case PathEvent::Kind::attached:
        return fmt::format("{} is attached again: {} ({})", event.name, to_string(event.mode), event.why);
    case PathEvent::Kind::failed:
        return event.name.empty()
                   ? fmt::format("cannot attach: {}", event.why)
                   : fmt::format("{} is there, but cannot be attached: {}", event.name, event.why);
    case PathEvent::Kind::closed:
    case PathEvent::Kind::reopened:
    case PathEvent::Kind::silent:
    case PathEvent::Kind::answers:
        return fmt::format("{}: {} {}", event.name, to_string(event.kind), event.why);
    case PathEvent::Kind::detached:
        break;
    }
    return "mpsched was detached: nothing is left to follow";
}

} // namespace mps::watch
