// SPDX-License-Identifier: MIT
//
// Text for people: quoting what came from outside, units.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mps::text {

// Makes text from outside (arguments, names, verifier logs) safe for a terminal: control characters and
// bytes that are not UTF-8 become \n, \x1b …. `keep_newlines` for texts of several lines; tabs become
// spaces there.
[[nodiscard]] std::string printable(std::string_view text, bool keep_newlines = false);

// 'name', printable, cut after 60 characters with a note of the real length.
[[nodiscard]] std::string quoted(std::string_view text);

// Columns a text takes on a terminal: its code points. All our texts are of single width.
[[nodiscard]] std::size_t width(std::string_view text);

[[nodiscard]] std::string join(std::span<const std::string> words, std::string_view separator = ", ");
[[nodiscard]] std::string join(std::span<const std::string_view> words, std::string_view separator = ", ");

[[nodiscard]] std::vector<std::string> lines(std::string_view text);

// Breaks at blanks so that no line exceeds `columns` (longer words stand alone); each line starts with
// `indent` blanks. No newline at the end.
[[nodiscard]] std::string wrap(std::string_view text, std::size_t columns, std::size_t indent);

// "850 µs", "12.3 ms", "1.2 s"
[[nodiscard]] std::string duration(std::uint64_t us);
// "512 B", "4.1 MB": decimal units
[[nodiscard]] std::string bytes(std::uint64_t count);
// "12.3 Mbit/s" from bytes per second
[[nodiscard]] std::string bit_rate(std::uint64_t bytes_per_s);
// "1 subflow", "2 subflows"
[[nodiscard]] std::string count(std::uint64_t number, std::string_view noun);
// "1 234 567": thousands apart
[[nodiscard]] std::string grouped(std::uint64_t number);

} // namespace mps::text
