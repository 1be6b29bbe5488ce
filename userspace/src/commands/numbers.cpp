// SPDX-License-Identifier: MIT

#include "commands/numbers.hpp"

#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "base/numbers.hpp"
#include "cli/command.hpp"
#include "output/text.hpp"

namespace mps::cli {

Result<std::optional<std::uint64_t>> number_of_word(const std::optional<std::string> &word,
                                                    std::string_view option) {
    if (!word)
        return std::nullopt;
    const auto value = parse_number<std::uint64_t>(*word);
    if (!value || *value > 1'000'000'000)
        return usage_error(
            fmt::format("{} of {} is no number from 0 to 1000000000", text::quoted(*word), option),
            fmt::format("for example {} 10", option));
    return value;
}

Result<std::chrono::milliseconds> seconds_of_word(const std::string &word, std::string_view option,
                                                  std::chrono::milliseconds least) {
    constexpr double most = 86400;
    double value = 0;
    const auto [end, error] =
        std::from_chars(word.data(), word.data() + word.size(), value, std::chars_format::fixed);
    const double from = std::chrono::duration<double>(least).count();
    if (error != std::errc() || end != word.data() + word.size() || !(value >= from && value <= most))
        return usage_error(fmt::format("{} of {} is no number of seconds from {} to {}", text::quoted(word),
                                       option, from, most),
                           fmt::format("for example {} 2", option));
    return std::chrono::milliseconds(std::lround(value * 1000));
}

} // namespace mps::cli
