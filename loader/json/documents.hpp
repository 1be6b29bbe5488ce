// SPDX-License-Identifier: MIT
//
// What is told in JSON, the same by `mpsched --json` and by the C interface. docs/mpsched.schema.json describes it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "mpsched/gateway.hpp"
#include "mpsched/instance.hpp"

namespace mps {

// Keys stay in the order in which they are written.
using Json = nlohmann::ordered_json;

// As it is printed; bytes that are no UTF-8 are replaced.
[[nodiscard]] std::string json_text(const Json &document);

// {"quantum_ms": 10, …}
[[nodiscard]] Json param_values(const std::vector<Param> &params);
// With type, default, range, unit and text.
[[nodiscard]] Json param_descriptions(const std::vector<Param> &params);
// What `policy list`, `policy show` and `policy load` tell of one.
[[nodiscard]] Json policy_json(const PolicyInfo &policy);
[[nodiscard]] Json finding_json(const Diagnosis &finding);
[[nodiscard]] Json path_json(const PathStatus &path);
[[nodiscard]] Json connection_json(const ConnectionStatus &connection);
// One that passes here: in the form of a connection, with what is known of it in `forwarded`.
[[nodiscard]] Json forwarded_json(const ForwardedConnection &connection);
[[nodiscard]] Json status_json(const Status &status);
[[nodiscard]] Json option_rule_json(const OptionRule &rule);
// With its place (from 1), its counters and what is wrong with it.
[[nodiscard]] Json option_rule_json(const OptionRuleStatus &rule, std::size_t place);
[[nodiscard]] Json stats_json(const std::vector<CounterValue> &counters);
[[nodiscard]] Json attach_json(const AttachResult &result);
[[nodiscard]] Json detach_json(const DetachResult &result);
// The name of the preset that this policy with these values is; "" if there is none.
[[nodiscard]] std::string_view preset_of(const PolicyInfo &policy);

[[nodiscard]] Json use_json(const UseResult &result, const std::optional<std::string> &selector,
                            bool new_only);
[[nodiscard]] Json set_json(const SetResult &result, const std::vector<Setting> &settings);
[[nodiscard]] Json error_json(const Error &error);

} // namespace mps
