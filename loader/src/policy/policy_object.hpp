// SPDX-License-Identifier: MIT
//
// A policy as an object file: checked, given its parameters, loaded. And a policy as the kernel holds it,
// found again from nothing but a program's id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "kernel/kernel_objects.hpp"
#include "mpsched/error.hpp"
#include "policy/param_spec.hpp"
#include "policy/variants.hpp"

struct bpf_object;

namespace mps {

// What .rodata.mps says.
struct PolicyHeader {
    std::string name{};
    std::string doc{};
    std::uint32_t state_bytes = 0;
    bool levers = false;     // MPS_POLICY_LEVERS
    bool rx = false;         // MPS_POLICY_RX
    std::uint32_t wants = 0; // for mps_config.slot_wants
};

// Checks the bytes of .rodata.mps, from an object or from the kernel. `origin` names it in errors.
[[nodiscard]] Result<PolicyHeader> parse_policy_header(std::span<const std::byte> section,
                                                       const std::string &origin);

// The policy behind a program in the kernel: header and live parameters, read through the program's maps.
struct LivePolicy {
    PolicyHeader header;
    std::uint32_t prog_id = 0; // of the program that it was read from
    std::array<std::uint8_t, BPF_TAG_SIZE> tag{};
    std::vector<ParamSpec> params{};  // param.value is the live one
    std::vector<std::byte> section{}; // bytes of the parameters as read; empty if it has none
    Fd params_map;
    MapInfo params_info;

    // Writes the section back to the kernel.
    [[nodiscard]] Result<void> store();
};
[[nodiscard]] Result<LivePolicy> live_policy(int prog_fd);

// A loaded policy that is in no slot yet, as one program or both. Closing the descriptors unloads it.
struct LoadedPolicy {
    Fd xdp;
    Fd tc;
};

// Checks settings against parameters and gives the values, in the order of `settings`. Unknown keys and bad
// values are usage errors that tell what there is. A key said twice is one too.
struct CheckedSetting {
    std::size_t index = 0; // into params
    std::int64_t value = 0;
};
[[nodiscard]] Result<std::vector<CheckedSetting>> check_settings(const std::string &policy,
                                                                 const std::vector<ParamSpec> &params,
                                                                 const std::vector<Setting> &settings);

class PolicyObject {
  public:
    // `label` names it in errors: a file name or "built-in policy X". The bytes must outlive the object.
    [[nodiscard]] static Result<PolicyObject> open(std::span<const std::byte> elf, std::string label);

    [[nodiscard]] const PolicyHeader &header() const { return header_; }
    // Values are the defaults in the object's data section, then those set.
    [[nodiscard]] const std::vector<ParamSpec> &params() const { return params_; }

    // All or none.
    [[nodiscard]] Result<void> set(const std::vector<Setting> &settings);

    // Verifies and loads the programs with `scratch_map` as mps_scratch. Once. With `like`, a program of this very object,
    // they share that one's maps: parameters and all that the policy remembers.
    [[nodiscard]] Result<LoadedPolicy> load(int scratch_map, Variants wanted, const ProgInfo *like = nullptr);

  private:
    struct Close {
        void operator()(bpf_object *object) const;
    };
    [[nodiscard]] Result<void> check_programs() const;
    [[nodiscard]] Result<void> share_maps(const ProgInfo &like);
    [[nodiscard]] std::span<std::byte> params_section() const;

    std::string label_{};
    std::unique_ptr<bpf_object, Close> object_;
    PolicyHeader header_;
    std::vector<ParamSpec> params_{};
};

} // namespace mps
