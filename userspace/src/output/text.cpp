// SPDX-License-Identifier: MIT

#include "output/text.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "json/amount_text.hpp"

namespace mps::text {

namespace {

// Length of the UTF-8 sequence at the start of `text` that is safe to print, 0 if it is not one.
std::size_t printable_sequence(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(0);
    if (lead < 0x80)
        return lead >= 0x20 && lead != 0x7f ? 1 : 0;
    std::size_t length = 0;
    std::uint32_t code = 0;
    if ((lead & 0xe0) == 0xc0) {
        length = 2;
        code = lead & 0x1fU;
    } else if ((lead & 0xf0) == 0xe0) {
        length = 3;
        code = lead & 0x0fU;
    } else if ((lead & 0xf8) == 0xf0) {
        length = 4;
        code = lead & 0x07U;
    }
    if (length == 0 || text.size() < length)
        return 0;
    for (std::size_t i = 1; i < length; i++) {
        if ((byte(i) & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (byte(i) & 0x3fU);
    }
    constexpr std::array<std::uint32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = code >= 0xd800 && code < 0xe000;
    // C1 controls, and the characters that reorder text: they could make a name look like another one.
    const bool control = code < 0xa0 || (code >= 0x200b && code <= 0x200f) ||
                         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) ||
                         code == 0xfeff;
    return code < least[length] || code > 0x10ffff || surrogate || control ? 0 : length;
}

template <class T>
std::string join_any(std::span<const T> words, std::string_view separator) {
    std::string all;
    for (std::size_t i = 0; i < words.size(); i++) {
        if (i != 0)
            all += separator;
        all += words[i];
    }
    return all;
}

} // namespace

std::string printable(std::string_view text, bool keep_newlines) {
    std::string safe;
    while (!text.empty()) {
        if (const std::size_t length = printable_sequence(text); length != 0) {
            safe += text.substr(0, length);
            text.remove_prefix(length);
            continue;
        }
        const char c = text.front();
        text.remove_prefix(1);
        if (keep_newlines && c == '\n')
            safe += c;
        else if (keep_newlines && c == '\t')
            safe += "    ";
        else if (c == '\n')
            safe += "\\n";
        else if (c == '\t')
            safe += "\\t";
        else
            safe += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
    return safe;
}

std::string quoted(std::string_view text) {
    constexpr std::size_t limit = 60;
    if (text.size() <= limit)
        return "'" + printable(text) + "'";
    std::size_t end = limit;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
        end--;
    return fmt::format("'{}…' ({} bytes)", printable(text.substr(0, end)), text.size());
}

std::size_t width(std::string_view text) {
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string join(std::span<const std::string> words, std::string_view separator) {
    return join_any(words, separator);
}

std::string join(std::span<const std::string_view> words, std::string_view separator) {
    return join_any(words, separator);
}

std::vector<std::string> lines(std::string_view text) {
    std::vector<std::string> all;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        all.emplace_back(text.substr(0, end));
        text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    }
    return all;
}

std::string wrap(std::string_view text, std::size_t columns, std::size_t indent) {
    const std::string margin(indent, ' ');
    std::string all = margin;
    std::size_t column = indent;
    bool first = true;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(' '), text.size());
        const std::string_view word = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (word.empty())
            continue;
        if (!first && column + 1 + width(word) > columns) {
            all += "\n" + margin;
            column = indent;
            first = true;
        }
        if (!first) {
            all += ' ';
            column++;
        }
        all += word;
        column += width(word);
        first = false;
    }
    return all;
}

std::string duration(std::uint64_t us) { return duration_text(us); }

std::string bytes(std::uint64_t count) { return bytes_text(count); }

std::string bit_rate(std::uint64_t bytes_per_s) {
    constexpr std::array<std::string_view, 5> units{"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"};
    return scaled(static_cast<double>(bytes_per_s) * 8, units, 1000);
}

std::string count(std::uint64_t number, std::string_view noun) {
    return fmt::format("{} {}{}", number, noun, number == 1 ? "" : "s");
}

std::string grouped(std::uint64_t number) {
    std::string digits = std::to_string(number);
    for (std::size_t at = digits.size(); at > 3;) {
        at -= 3;
        digits.insert(at, " ");
    }
    return digits;
}

} // namespace mps::text
