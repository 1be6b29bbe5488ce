// SPDX-License-Identifier: MIT
#include "common/amounts.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <span>

#include <fmt/format.h>

#include "base/numbers.hpp"

namespace mps {

namespace {

// Not ISO C++, but in every compiler for Linux; 64 bits are not enough for 5.5T and a factor.
__extension__ typedef unsigned __int128 Wide;

constexpr std::uint64_t k = 1000;
constexpr std::uint64_t ki = 1024;

struct Suffix {
    std::string_view text;
    std::uint64_t factor;
};
// In lower case: nobody means a thousandth of a byte.
constexpr std::array multiples{
    Suffix{"k", k},   Suffix{"m", k *k},    Suffix{"g", k *k *k},     Suffix{"t", k *k *k *k},
    Suffix{"ki", ki}, Suffix{"mi", ki *ki}, Suffix{"gi", ki *ki *ki}, Suffix{"ti", ki *ki *ki *ki},
};
constexpr std::uint64_t second = 1'000'000;
constexpr std::array times{
    Suffix{"us", 1},
    Suffix{"µs", 1},
    Suffix{"ms", 1000},
    Suffix{"s", second},
    Suffix{"m", 60 * second},
    Suffix{"min", 60 * second},
    Suffix{"h", 3600 * second},
    Suffix{"d", 86'400 * second},
    Suffix{"w", 7 * 86'400 * second},
};

std::optional<std::uint64_t> find_factor(std::span<const Suffix> suffixes, std::string_view text) {
    const auto it = std::ranges::find(suffixes, text, &Suffix::text);
    return it == suffixes.end() ? std::nullopt : std::optional(it->factor);
}

std::string lower(std::string_view text) {
    std::string all(text);
    for (char &c : all) {
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
    }
    return all;
}

// How many of the base unit (µs, bytes, ones) a suffix stands for.
std::optional<std::uint64_t> factor_of(std::string_view suffix, const Unit &unit) {
    if (suffix.empty())
        return unit.base;
    if (unit.measure == Measure::time)
        return find_factor(times, suffix);
    if (suffix == unit.name)
        return 1;
    std::string small = lower(suffix);
    if (unit.measure == Measure::bytes && small.ends_with('b'))
        small.pop_back();
    return small.empty() ? 1 : find_factor(multiples, small);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

struct Written {
    bool negative = false;
    Wide digits = 0; // with those behind the point
    Wide divisor = 1;
    bool too_long = false;
    std::string_view suffix{};
};

std::optional<Written> read_number(std::string_view text) {
    Written result;
    if (text.starts_with('-')) {
        result.negative = true;
        text.remove_prefix(1);
    }
    if (text.empty() || !is_digit(text.front()))
        return std::nullopt;
    bool behind_point = false;
    std::size_t at = 0;
    for (; at < text.size(); at++) {
        if (text[at] == '.' && !behind_point && at + 1 < text.size() && is_digit(text[at + 1])) {
            behind_point = true;
            continue;
        }
        if (!is_digit(text[at]))
            break;
        // Products with the greatest factor still fit into 128 bits.
        result.too_long |= result.digits > std::numeric_limits<std::uint64_t>::max();
        if (result.too_long)
            continue;
        result.digits = result.digits * 10 + static_cast<unsigned>(text[at] - '0');
        if (behind_point)
            result.divisor *= 10;
    }
    result.suffix = text.substr(at);
    return result;
}

std::string bad_unit(std::string_view suffix, const Unit &unit) {
    switch (unit.measure) {
    case Measure::bytes:
        return fmt::format("'{}' is no unit of bytes", suffix);
    case Measure::time:
        return fmt::format("'{}' is no unit of time", suffix);
    case Measure::number:
        break;
    }
    return "not a number";
}

} // namespace

Unit unit_of(std::string_view name) {
    if (name == "bytes")
        return {Measure::bytes, 1, std::string(name)};
    if (const auto factor = find_factor(times, name))
        return {Measure::time, *factor, std::string(name)};
    return {Measure::number, 1, std::string(name)};
}

std::expected<std::int64_t, std::string> parse_amount(std::string_view text, const Unit &unit) {
    constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (text.starts_with("0x") || text.starts_with("0X")) {
        const auto value = parse_unsigned(text);
        if (!value && text.size() > 2 && text.find_first_not_of("0123456789abcdefABCDEF", 2) != text.npos)
            return std::unexpected("not a number");
        if (!value || *value > most)
            return std::unexpected(text.size() > 2 ? "out of range" : "not a number");
        return static_cast<std::int64_t>(*value);
    }
    const auto number = read_number(text);
    if (!number)
        return std::unexpected("not a number");
    const auto factor = factor_of(number->suffix, unit);
    if (!factor)
        return std::unexpected(bad_unit(number->suffix, unit));
    if (number->too_long)
        return std::unexpected("out of range");
    const Wide product = number->digits * *factor;
    const Wide divisor = number->divisor * unit.base;
    if (product % divisor != 0)
        return std::unexpected(unit.name.empty() || unit.name == "%"
                                   ? "not a whole number"
                                   : fmt::format("not a whole number of {}", unit.name));
    const Wide value = product / divisor;
    if (value > most)
        return std::unexpected("out of range");
    const auto whole = static_cast<std::int64_t>(value);
    return number->negative ? -whole : whole;
}

std::string_view units_hint(Measure measure) {
    switch (measure) {
    case Measure::bytes:
        return "units: k, M, G, T (powers of 1000) and Ki, Mi, Gi, Ti (of 1024), with or without B";
    case Measure::time:
        return "units: us, ms, s, m, h, d, w";
    case Measure::number:
        break;
    }
    return "";
}

} // namespace mps
