// SPDX-License-Identifier: MIT
//
// What is said to etcd and what it answers: the JSON form of its API v3 (etcd.io, "gRPC gateway"). Keys and values are base64 there,
// 64-bit numbers are texts. Nothing here does input or output.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "mpsched/error.hpp"

namespace mps::service::store {

// A key as the store has it.
struct Value {
    std::string cluster{};                 // which cluster says so; restored from a copy it is another one
    std::int64_t revision = 0;             // of the store, when the key was last changed
    std::optional<std::string> contents{}; // nullopt: there is no such key
};

struct Answer {
    Value value{};
    std::int64_t store_revision = 0; // of the whole store, now
};

[[nodiscard]] std::string range_body(std::string_view key);
[[nodiscard]] Result<Answer> read_range(std::string_view text);

// From this revision of the store on.
[[nodiscard]] std::string watch_body(std::string_view key, std::int64_t revision);
// One line of the answer. nullopt: nothing has happened to the key. An error ends the watch.
[[nodiscard]] Result<std::optional<Value>> read_watch(std::string_view line);

[[nodiscard]] std::string put_body(std::string_view key, std::string_view value);
// The error in an answer to what needs no other; {} where there is none.
[[nodiscard]] Result<void> read_done(std::string_view text);

[[nodiscard]] std::string login_body(std::string_view name, std::string_view password);
[[nodiscard]] Result<std::string> read_token(std::string_view text);

} // namespace mps::service::store
