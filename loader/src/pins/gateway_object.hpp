// SPDX-License-Identifier: MIT
//
// The programs of interfaces that are attached as a gateway's (bpf/src/gateway.bpf.c): an object of its own beside the data path, on the data
// path's maps and some more.
#pragma once

#include <bpf/libbpf.h>

#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "mpsched/error.hpp"
#include "pins/contract.hpp"

namespace mps {

struct CloseObject {
    void operator()(bpf_object *object) const { bpf_object__close(object); }
};

[[nodiscard]] Result<std::unique_ptr<bpf_object, CloseObject>> open_gateway();
// One that the data path does not have.
[[nodiscard]] bool is_gateway_map(std::string_view name);
// Loads these programs, and the maps where they are not there yet, into `pins` alone.
[[nodiscard]] Result<void> load_gateway(Pins &pins, const std::set<std::string> &wanted);
[[nodiscard]] Result<void> pin_gateway_maps(const InstallationPaths &paths, const Pins &pins);

} // namespace mps
