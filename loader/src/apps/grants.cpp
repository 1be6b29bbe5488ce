// SPDX-License-Identifier: MIT
#include "apps/grants.hpp"

#include <cstring>

#include <fmt/format.h>

#include "base/try.hpp"
#include "kernel/cgroup.hpp"
#include "kernel/kernel_objects.hpp"

namespace mps {

Result<std::vector<Grant>> read_grants(const Pins &pins) {
    std::vector<Grant> grants;
    for (std::uint32_t i = 0; i < MPS_MAX_GRANTS; i++) {
        const auto grant = read_value<mps_grant>(pins.map(MPS_MAP_GRANTS), i);
        MPS_TRY(grant);
        if (*grant && (*grant)->serial)
            grants.push_back({i, **grant});
    }
    return grants;
}

Result<void> write_grant(const Pins &pins, const Grant &grant) {
    return write_value(pins.map(MPS_MAP_GRANTS), grant.index, grant.grant, MPS_MAP_GRANTS);
}

std::vector<mps_grant_policy> policies_of(const mps_grant &grant) {
    std::vector<mps_grant_policy> all;
    for (std::uint32_t i = 0; i < grant.nr_policies && i < MPS_GRANT_POLICIES; i++)
        if (grant.policy[i].name[0])
            all.push_back(grant.policy[i]);
    return all;
}

std::string name_of(const mps_grant_policy &policy) {
    return {policy.name, ::strnlen(policy.name, sizeof policy.name)};
}

std::string path_of(const mps_grant &grant) { return {grant.path, ::strnlen(grant.path, sizeof grant.path)}; }

Result<void> replace_in_grants(const Pins &pins, const std::map<std::uint32_t, std::uint32_t> &replaced) {
    auto grants = read_grants(pins);
    MPS_TRY(grants);
    for (Grant &one : *grants) {
        bool changed = false;
        for (mps_grant_policy &policy : one.grant.policy) {
            const auto now = replaced.find(policy.slot);
            if (!policy.name[0] || now == replaced.end())
                continue;
            policy.slot = now->second;
            changed = true;
        }
        if (changed)
            MPS_TRY(write_grant(pins, one));
    }
    return {};
}

} // namespace mps
