// SPDX-License-Identifier: MIT
//
// The one list of what may stand in mpsched.toml. The reader, its error texts, mpsched.toml(5) and docs/configuration.md are
// made from it. What a value may be is for the parsers of the command line to say (config/desired.cpp).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mps::config {

// The only format there is so far.
inline constexpr int format_version = 1;

enum class Part {
    top,
    fallback,
    engine,
    interface,
    rule,
    option_rule,
    congestion,
    spread,
    application,
    metrics,
    web,
    kernel,
    failover
};

enum class Form {
    text,
    texts,    // one, or a list of them
    flag,     // true or false
    amount,   // a number, or a text with a unit
    settings, // a table of parameters with their values
};

struct Key {
    Part part;
    std::string_view name;
    Form form;
    bool required;
    std::string_view allowed; // for people
    std::string_view text;    // one line
};

struct PartText {
    Part part;
    std::string_view heading; // "[[interface]]"; "" for the top of the file
    std::string_view name;    // as the file has it: "interface"
    bool many;                // may stand several times
    std::string_view text;
};

[[nodiscard]] std::span<const Key> keys();
[[nodiscard]] std::span<const PartText> parts();
[[nodiscard]] const PartText &part_text(Part part);
[[nodiscard]] const Key *find_key(Part part, std::string_view name);
[[nodiscard]] std::vector<std::string> key_names(Part part);
// What `type` may be.
[[nodiscard]] std::span<const std::string_view> interface_types();
// A small file with everything in it, which `config check` accepts.
[[nodiscard]] std::string_view example();

} // namespace mps::config
