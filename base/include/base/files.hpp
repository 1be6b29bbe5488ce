// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <expected>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/fd.hpp"

namespace mps {

// All that is in it, or why it cannot be read, as an errno. What /proc has is read like any other.
[[nodiscard]] inline std::expected<std::string, int> read_file(const std::filesystem::path &path) {
    const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file)
        return std::unexpected(errno);
    std::string text;
    std::array<char, 16384> piece;
    for (;;) {
        const ssize_t got = ::read(file.get(), piece.data(), piece.size());
        if (got == 0)
            return text;
        if (got > 0)
            text.append(piece.data(), static_cast<std::size_t>(got));
        else if (errno != EINTR)
            return std::unexpected(errno);
    }
}

// A new folder that only we may enter, where temporary files are ($TMPDIR). It goes with the object, with all that is in it.
class TemporaryFolder {
  public:
    // Its name begins with "mpsched-NAME-". The error is an errno.
    [[nodiscard]] static std::expected<TemporaryFolder, int> make(std::string_view name) {
        std::error_code error;
        const std::filesystem::path where = std::filesystem::temp_directory_path(error);
        if (error)
            return std::unexpected(error.value());
        std::string pattern = (where / ("mpsched-" + std::string(name) + "-XXXXXX")).string();
        if (!::mkdtemp(pattern.data()))
            return std::unexpected(errno);
        return TemporaryFolder(pattern);
    }
    TemporaryFolder(TemporaryFolder &&other) noexcept : path_(std::exchange(other.path_, {})) {}
    TemporaryFolder &operator=(TemporaryFolder &&) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;
        if (!path_.empty())
            std::filesystem::remove_all(path_, ignored);
    }

    [[nodiscard]] const std::filesystem::path &path() const { return path_; }
    [[nodiscard]] std::string path(std::string_view file) const { return (path_ / file).string(); }

  private:
    explicit TemporaryFolder(std::filesystem::path path) : path_(std::move(path)) {}
    std::filesystem::path path_;
};

} // namespace mps
