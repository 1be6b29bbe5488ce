// SPDX-License-Identifier: MIT
//
// Why a policy allows or parks a subflow, in words: MPS_REASONS of mps/policy_abi.h has them.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "mpsched/instance.hpp"

namespace mps {

/// `other` names the subflow that this one is compared with, "" if there is none.
std::string reason_text(const SubflowReason &reason, std::string_view other);

/// "ahead-of-share"; "own" for one that only the policy knows.
std::string_view reason_name(std::uint32_t code);

/// The subflow's reason as a member of its JSON object: null where the policy gave none.
nlohmann::ordered_json reason_json(const SubflowStatus &subflow, std::string_view other);

/// How the subflow that a reason compares with is called in words.
std::string other_of(const SubflowStatus &one, const ConnectionStatus &connection);

} // namespace mps
