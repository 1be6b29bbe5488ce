// SPDX-License-Identifier: MIT
//
// What a text means as mpsched.toml.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <sys/stat.h>

#include "catch.hpp"
#include "config/desired.hpp"
#include "temporary_folder.hpp"

namespace mps::test {

class Folder {
  public:
    [[nodiscard]] std::string main() const { return folder_.path("mpsched.toml"); }
    void put(const std::string &name, std::string_view text) const {
        const std::string file = folder_.path(name);
        std::filesystem::create_directories(std::filesystem::path(file).parent_path());
        std::ofstream(file) << text;
        // Whatever the umask is here.
        REQUIRE(::chmod(file.c_str(), 0644) == 0);
    }

  private:
    TemporaryFolder folder_ = temporary_folder("config");
};

inline config::Desired right(std::string_view text) {
    const Folder folder;
    folder.put("mpsched.toml", text);
    auto desired = config::load(folder.main());
    if (!desired)
        FAIL(desired.error().what << "\n" << desired.error().hint << "\n" << desired.error().detail);
    return *desired;
}

inline Error wrong(std::string_view text) {
    const Folder folder;
    folder.put("mpsched.toml", text);
    const auto desired = config::load(folder.main());
    REQUIRE_FALSE(desired);
    return desired.error();
}

} // namespace mps::test
