// SPDX-License-Identifier: MIT
#pragma once

#include <cerrno>
#include <cstdlib>
#include <expected>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace mps {

// All that is in it, or why it cannot be read, as an errno. What /proc has is read like any other.
[[nodiscard]] inline std::expected<std::string, int> read_file(const std::filesystem::path &path) {
    errno = 0;
    std::ifstream file(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    // A folder can be opened, and what is read from it is nothing.
    std::error_code ignored;
    if (!file || file.bad() || std::filesystem::is_directory(path, ignored))
        return std::unexpected(errno ? errno : EISDIR);
    return text;
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
