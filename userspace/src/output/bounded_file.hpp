// SPDX-License-Identifier: MIT
//
// A file of lines that never takes more than so many bytes: when half of them are used its contents become FILE.1, in place of the older half.
#pragma once

#include <cstdint>
#include <cstdio>
#include <expected>
#include <memory>
#include <string>

namespace mps::output {

class BoundedFile {
  public:
    // errno if it cannot be opened. What was in it is gone.
    [[nodiscard]] static std::expected<BoundedFile, int> open(const std::string &path,
                                                              std::uint64_t max_bytes);

    // False if it cannot be written, errno says why.
    bool write(const std::string &line);
    bool flush();
    // It was begun anew: older lines are in FILE.1, and the oldest ones may be gone.
    [[nodiscard]] bool turned() const { return turned_; }

  private:
    struct Close {
        void operator()(std::FILE *file) const { std::fclose(file); }
    };

    BoundedFile(std::string path, std::uint64_t max_bytes, std::FILE *file)
        : path_(std::move(path)), half_(max_bytes / 2), file_(file) {}

    std::string path_;
    std::uint64_t half_;
    std::unique_ptr<std::FILE, Close> file_;
    std::uint64_t used_ = 0;
    bool turned_ = false;
};

} // namespace mps::output
