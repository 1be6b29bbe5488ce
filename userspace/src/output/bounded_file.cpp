// SPDX-License-Identifier: MIT

#include "output/bounded_file.hpp"

#include <cerrno>

namespace mps::output {

std::expected<BoundedFile, int> BoundedFile::open(const std::string &path, std::uint64_t max_bytes) {
    std::FILE *file = std::fopen(path.c_str(), "we");
    if (!file)
        return std::unexpected(errno);
    return BoundedFile(path, max_bytes, file);
}

bool BoundedFile::write(const std::string &line) {
    if (used_ + line.size() > half_ && used_ != 0) {
        if (!flush() || std::rename(path_.c_str(), (path_ + ".1").c_str()) != 0)
            return false;
        std::FILE *next = std::fopen(path_.c_str(), "we");
        if (!next)
            return false;
        file_.reset(next);
        used_ = 0;
        turned_ = true;
    }
    used_ += line.size();
    return std::fwrite(line.data(), 1, line.size(), file_.get()) == line.size();
}

bool BoundedFile::flush() { return std::fflush(file_.get()) == 0; }

} // namespace mps::output
