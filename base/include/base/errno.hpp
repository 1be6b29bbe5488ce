// SPDX-License-Identifier: MIT
//
// The kernel's error numbers by name and in words. They may be negative, as libbpf and netlink return them.
#pragma once

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace mps {

// include/linux/errno.h: never meant for user space, but bpf(2) and netlink do return it.
inline constexpr int kernel_enotsupp = 524;

// "ENOENT"; "errno 4001" for what has no name.
[[nodiscard]] inline std::string errno_name(int err) {
    err = std::abs(err);
    if (err == kernel_enotsupp)
        return "ENOTSUPP";
    const char *name = ::strerrorname_np(err);
    return name ? name : "errno " + std::to_string(err);
}

// "no such file or directory"; "" for what has no name.
[[nodiscard]] inline std::string errno_words(int err) {
    err = std::abs(err);
    if (err == kernel_enotsupp)
        return "operation not supported by this kernel";
    const char *known = ::strerrordesc_np(err);
    std::string words = known ? known : "";
    if (!words.empty())
        words[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(words[0])));
    return words;
}

} // namespace mps
