// SPDX-License-Identifier: MIT
#include "policy/policy_origin.hpp"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string_view>

#include <fmt/format.h>

#include "base/numbers.hpp"

namespace mps {

std::optional<PolicyOrigin> read_origin(const InstallationPaths &paths, std::uint32_t slot,
                                        std::uint32_t prog_id) {
    std::error_code error;
    const std::string text = std::filesystem::read_symlink(paths.origin(slot), error).string();
    const std::size_t first = text.find(' ');
    const std::size_t second = text.find(' ', first + 1);
    if (error || first == text.npos || second == text.npos ||
        parse_unsigned(std::string_view(text).substr(0, first)) != prog_id)
        return std::nullopt;
    return PolicyOrigin{.file = text.substr(second + 1),
                        .sha256 = text.substr(first + 1, second - first - 1)};
}

Result<void> write_origin(const InstallationPaths &paths, std::uint32_t slot, std::uint32_t prog_id,
                          const PolicyOrigin &origin) {
    remove_origin(paths, slot);
    const std::string text = fmt::format("{} {} {}", prog_id, origin.sha256, origin.file);
    if (::symlink(text.c_str(), paths.origin(slot).c_str()))
        return std::unexpected(
            system_error(errno, fmt::format("noting at {} where the policy is from", paths.origin(slot))));
    return {};
}

void remove_origin(const InstallationPaths &paths, std::uint32_t slot) {
    ::unlink(paths.origin(slot).c_str());
}

} // namespace mps
