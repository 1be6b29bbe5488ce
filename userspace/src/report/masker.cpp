// SPDX-License-Identifier: MIT

#include "report/masker.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <optional>

#include <fmt/format.h>

namespace mps::report {

namespace {

bool is_hex(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_'; }
// Addresses are made of these.
bool is_of_address(char c) { return is_hex(c) || c == ':' || c == '.'; }

// "aa:bb:cc:dd:ee:ff"
bool is_link_address(std::string_view word) {
    if (word.size() != 17)
        return false;
    for (std::size_t i = 0; i < word.size(); i++)
        if (i % 3 == 2 ? word[i] != ':' : !is_hex(word[i]))
            return false;
    return true;
}

std::optional<std::array<std::uint8_t, 4>> parse4(const std::string &word) {
    std::array<std::uint8_t, 4> address{};
    return inet_pton(AF_INET, word.c_str(), address.data()) == 1 ? std::optional(address) : std::nullopt;
}

std::optional<std::array<std::uint8_t, 16>> parse6(const std::string &word) {
    std::array<std::uint8_t, 16> address{};
    return inet_pton(AF_INET6, word.c_str(), address.data()) == 1 ? std::optional(address) : std::nullopt;
}

std::uint32_t number_of(std::map<std::string, std::uint32_t> &known, const std::string &what) {
    return known.try_emplace(what, static_cast<std::uint32_t>(known.size() + 1)).first->second;
}

std::string text6(const std::array<std::uint8_t, 16> &address) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    inet_ntop(AF_INET6, address.data(), text.data(), text.size());
    return text.data();
}

std::string bytes(const std::uint8_t *from, std::size_t count) {
    return {reinterpret_cast<const char *>(from), count};
}

void put32(std::uint8_t *to, std::uint32_t value) {
    const std::uint32_t network = htonl(value);
    std::memcpy(to, &network, sizeof network);
}

} // namespace

Masker::Masker(std::vector<std::string> names) : names_(std::move(names)) {
    std::erase_if(names_, [](const std::string &name) { return name.size() < 2 || name == "localhost"; });
    // The longest first: a host's name may be the beginning of its whole name.
    std::ranges::sort(names_, std::ranges::greater{}, &std::string::size);
}

std::string Masker::address4(const std::array<std::uint8_t, 4> &a) {
    const bool everybodys = a[0] == 0 || a[0] == 127 || a[0] >= 224;
    if (everybodys)
        return fmt::format("{}.{}.{}.{}", a[0], a[1], a[2], a[3]);
    const std::string network = bytes(a.data(), 3);
    const std::uint32_t number = number_of(networks4_, network);
    // The network's own address and that of all hosts in it say nothing of one.
    const std::uint32_t host =
        a[3] == 0 || a[3] == 255 ? a[3] : (number_of(hosts_["4" + network], bytes(&a[3], 1)) - 1) % 254 + 1;
    return fmt::format("198.{}.{}.{}", 18 + number / 256 % 2, number % 256, host);
}

std::string Masker::address6(const std::array<std::uint8_t, 16> &a) {
    static constexpr std::array<std::uint8_t, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const bool nothing_but_last = std::all_of(a.begin(), a.end() - 1, [](std::uint8_t b) { return b == 0; });
    if (a[0] == 0xff || (nothing_but_last && a[15] <= 1))
        return text6(a);
    if (std::equal(mapped.begin(), mapped.end(), a.begin()))
        return "::ffff:" + address4({a[12], a[13], a[14], a[15]});
    const std::string network = bytes(a.data(), 8), host = bytes(a.data() + 8, 8);
    std::array<std::uint8_t, 16> masked{};
    if (a[0] == 0xfe && (a[1] & 0xc0) == 0x80) {
        masked[0] = 0xfe;
        masked[1] = 0x80;
    } else {
        masked = {0x20, 0x01, 0x0d, 0xb8};
        put32(&masked[4], number_of(networks6_, network));
    }
    if (host != std::string(8, '\0'))
        put32(&masked[12], number_of(hosts_["6" + network], host));
    return text6(masked);
}

std::string Masker::link_address(std::string_view text) {
    std::string low(text);
    std::ranges::transform(low, low.begin(), [](unsigned char c) { return std::tolower(c); });
    if (low == "ff:ff:ff:ff:ff:ff" || low == "00:00:00:00:00:00")
        return low;
    const std::uint32_t number = number_of(links_, low);
    // Locally administered: it is nobody's.
    return fmt::format("02:00:00:{:02x}:{:02x}:{:02x}", number >> 16 & 0xff, number >> 8 & 0xff,
                       number & 0xff);
}

// A word of nothing but digits, letters a to f, ':' and '.': perhaps an address, and perhaps a port behind it.
std::string Masker::masked_word(std::string_view word) {
    if (is_link_address(word))
        return link_address(word);
    // A full stop or colon at its end is the sentence's.
    std::string_view core = word;
    while (!core.empty() && (core.back() == '.' || (core.back() == ':' && !core.ends_with("::"))))
        core.remove_suffix(1);
    const std::string_view rest = word.substr(core.size());
    const std::string whole(core);
    if (whole.contains(':'))
        if (const auto address = parse6(whole))
            return address6(*address) + std::string(rest);
    const std::size_t colon = whole.find(':');
    if (const auto address = parse4(whole.substr(0, colon)))
        return address4(*address) + (colon == whole.npos ? "" : whole.substr(colon)) + std::string(rest);
    return std::string(word);
}

std::string Masker::without_names(std::string text) const {
    for (std::size_t i = 0; i < names_.size(); i++) {
        const std::string &name = names_[i];
        const std::string instead = "host-" + std::to_string(i + 1);
        for (std::size_t at = text.find(name); at != text.npos;) {
            const bool inside = (at > 0 && is_name(text[at - 1])) ||
                                (at + name.size() < text.size() && is_name(text[at + name.size()]));
            if (!inside)
                text.replace(at, name.size(), instead);
            at = text.find(name, at + (inside ? 1 : instead.size()));
        }
    }
    return text;
}

std::string Masker::mask(std::string_view text) {
    std::string result;
    for (std::size_t i = 0; i < text.size();) {
        const bool begins =
            is_of_address(text[i]) && (i == 0 || !(is_name(text[i - 1]) || text[i - 1] == '.'));
        if (!begins) {
            result += text[i++];
            continue;
        }
        std::size_t end = i;
        while (end < text.size() && is_of_address(text[end]))
            end++;
        // Part of a longer word, such as a name or a version, is none.
        const bool whole = end == text.size() || !is_name(text[end]);
        const std::string_view word = text.substr(i, end - i);
        const bool candidate = whole && (std::ranges::any_of(word, is_digit) || word.contains(':'));
        result += candidate ? masked_word(word) : std::string(word);
        i = end;
    }
    return without_names(std::move(result));
}

} // namespace mps::report
