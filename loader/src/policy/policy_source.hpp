// SPDX-License-Identifier: MIT
//
// From what people write to a policy object: names of built-in policies, their aliases, files; and what to say where
// that leads nowhere.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mpsched/builtin_policies.hpp"
#include "mpsched/error.hpp"
#include "mpsched/policy_names.hpp"
#include "policy/policy_object.hpp"
#include "policy/policy_origin.hpp"
#include "policy/slots.hpp"

namespace mps {

// What is meant for a file: it contains '/' or ends in .o.
[[nodiscard]] bool is_file_name(const std::string &text);
[[nodiscard]] const BuiltinPolicy *find_builtin(std::string_view name);

// An object, the bytes it is made of, and where they came from.
struct OpenedPolicy {
    std::vector<std::byte> bytes; // empty for built-in ones, whose bytes are in the program
    PolicyObject object;
    PolicyOrigin origin;

    [[nodiscard]] bool builtin() const { return origin.file.empty(); }
    [[nodiscard]] const std::string &name() const { return object.header().name; }
};
// A file with the very bytes of a built-in policy is that policy.
[[nodiscard]] Result<OpenedPolicy> open_policy_file(const std::string &path);
[[nodiscard]] Result<OpenedPolicy> open_builtin(const BuiltinPolicy &builtin);
// Once more, since an object can be loaded only once.
[[nodiscard]] Result<OpenedPolicy> open_again(const OpenedPolicy &opened);

// An error if an object from outside has the name, or an alias, of a policy that is built in: nobody could tell what is
// meant by it.
[[nodiscard]] std::optional<Error> name_is_taken(const OpenedPolicy &opened);

// What the file that a slot was filled from is now: "" the same, "changed", "gone". For people.
[[nodiscard]] std::string file_now(const PolicyOrigin &origin);

[[nodiscard]] std::vector<std::string> names_in(const std::vector<Slot> &slots);
[[nodiscard]] bool holds(const std::vector<Slot> &slots, std::string_view name);
// Why a policy that places single segments is refused here.
[[nodiscard]] std::string segment_reason(const SegmentPolicy &policy);
// An error if this is one of those, unless the user has loaded one of his own under its name.
[[nodiscard]] std::optional<Error> refusal(const std::string &name, const std::vector<Slot> &slots);
[[nodiscard]] std::vector<std::string> aliases_of(std::string_view name);
// Lists every policy there is, aliases included, and names the one that was probably meant.
[[nodiscard]] std::unexpected<Error> unknown_policy(const std::string &name,
                                                    const std::vector<std::string> &loaded);

// What a preset's name stands for: its parameters, but for those that are set. Nothing for other names.
void add_preset(const std::string &name, std::vector<Setting> &settings);

} // namespace mps
