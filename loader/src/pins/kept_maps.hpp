// SPDX-License-Identifier: MIT
//
// Objects of which a command loads one program at a time, on maps that outlive the command by their pins.
#pragma once

#include <bpf/libbpf.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.hpp"
#include "mpsched/error.hpp"

namespace mps {

// The map that is pinned there; an empty Fd where nothing is. Anything but a map with values of this size, and of this type
// (enum bpf_map_type) if one is given, is an error that tells how to get rid of it.
[[nodiscard]] Result<Fd> open_own_map(const std::string &path, std::uint32_t value_size,
                                      std::optional<std::uint32_t> type = {});

// Is a BPF link pinned there? Anything else is an error of the same kind.
[[nodiscard]] Result<bool> has_own_link(const std::string &path);

// What becomes of a map of the object: it is pinned for later commands, or made for this program alone, or not made.
enum class MapUse { kept, own, none };

struct KeptMaps {
    std::string folder{};                               // of the pins
    std::function<std::string(std::string_view)> pin{}; // where the map of a name is pinned
    std::function<MapUse(std::string_view)> use{};
};

// Loads `program` of an opened object alone ("": only its maps), on the kept maps that are pinned and on new ones, which it
// pins. `doing` is for errors ("loading the programs of spread").
[[nodiscard]] Result<void> load_alone(bpf_object *object, std::string_view program, const KeptMaps &maps,
                                      const std::string &doing);

} // namespace mps
