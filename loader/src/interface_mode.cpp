// SPDX-License-Identifier: MIT
#include "interface_mode.hpp"

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

ModeChoice choose_mode(const NetDevice &device) {
    if (device.layer3())
        return {Mode::tc, "no link-layer header: native XDP does not exist there"};
    if (device.kind == "veth" || device.driver == "veth") {
        return {Mode::tc, "veth: native XDP switches the peer's GSO off"};
    }
    if (device.driver == "virtio_net")
        return {Mode::tc, "virtio: native XDP needs the guest's offloads off"};
    return {Mode::native, "the cheapest place"};
}

} // namespace mps
