// SPDX-License-Identifier: MIT
//
// Every policy core of schedulers/CMakeLists.txt behind one signature, so that a test goes over all of
// them, also over those that did not exist when it was written.
#pragma once

#include <mps_policy_cores.h>

#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace mps::test {

struct Core {
    std::string_view name;
    std::size_t params_size;
    std::size_t state_size;
    const void *default_params;
    // `params` points to params_size octets; the state is the connection's, as in the data path.
    void (*decide)(const mps_view &view, mps_verdict &verdict, const void *params, mps_state &state);

    mps_verdict operator()(const mps_view &view, mps_state &state, const void *params = nullptr) const {
        mps_verdict verdict{};

        decide(view, verdict, params ? params : default_params, state);
        return verdict;
    }
};

inline std::span<const Core> all_cores() {
    static const Core cores[] = {
#define MPS_POLICY_CORE(ident, policy_name)                                                                  \
    Core{policy_name, sizeof(ident##_params), sizeof(ident##_state), &ident##_defaults,                      \
         [](const mps_view &view, mps_verdict &verdict, const void *params, mps_state &state) {              \
             static_assert(sizeof(ident##_state) <= sizeof(mps_state));                                      \
             ident##_decide(&view, &verdict, static_cast<const ident##_params *>(params),                    \
                            reinterpret_cast<ident##_state *>(&state));                                      \
         }},
#include <mps_policy_cores.def>
#undef MPS_POLICY_CORE
    };
    return cores;
}

} // namespace mps::test
