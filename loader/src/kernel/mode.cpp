// SPDX-License-Identifier: MIT
#include "mpsched/instance.hpp"

#include <fmt/format.h>

namespace mps {

std::string_view to_string(Mode mode) {
    switch (mode) {
    case Mode::native:
        return "native";
    case Mode::generic:
        return "generic";
    case Mode::tc:
        return "tc";
    case Mode::automatic:
        break;
    }
    return "auto";
}

Result<Mode> parse_mode(std::string_view text) {
    for (const Mode mode : {Mode::automatic, Mode::native, Mode::generic, Mode::tc}) {
        if (text == to_string(mode))
            return mode;
    }
    return fail(ErrorCode::usage, fmt::format("there is no mode '{}'", text),
                "there are: auto, native, generic, tc");
}

} // namespace mps
