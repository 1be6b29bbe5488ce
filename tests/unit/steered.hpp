// SPDX-License-Identifier: MIT
//
// For what each policy promises, case by case (schedulers/NAME/NAME_test.cpp). The same views go through the compiled
// BPF objects in tests/bpf/policy_test.cpp, which compares the two for equality.
#pragma once

#include "catch.hpp"
#include "cores.hpp"
#include "views.hpp"

#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

namespace mps::test {

inline const Core &core_named(std::string_view name) {
    for (const Core &core : all_cores())
        if (core.name == name)
            return core;
    throw std::invalid_argument(std::string(name));
}

// A connection under one policy: remembers the policy's state from decision to decision.
class Steered {
  public:
    explicit Steered(std::string_view policy, const void *params = nullptr)
        : core_(core_named(policy)), params_(params) {}

    std::uint32_t allowed(std::initializer_list<Subflow> subflows, Connection connection = {}) {
        return core_(view_of(subflows, connection), state_, params_).allowed;
    }
    std::uint32_t allowed(const mps_view &view) { return core_(view, state_, params_).allowed; }
    mps_verdict verdict(std::initializer_list<Subflow> subflows) {
        return core_(view_of(subflows), state_, params_);
    }

  private:
    const Core &core_;
    const void *params_;
    mps_state state_{};
};

constexpr std::uint32_t first = 1, second = 2, third = 4;
constexpr std::uint64_t ms = 1000;

} // namespace mps::test
