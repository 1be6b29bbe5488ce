// SPDX-License-Identifier: MIT
//
// Where files of settings are: also for who does not read them.
#include <cstdlib>
#include <filesystem>

#include "config/sections.hpp"

namespace mps::config {

std::string default_path() {
    const char *path = std::getenv("MPS_CONFIG");
    return path && *path ? path : "/etc/mpsched/mpsched.toml";
}

std::string drop_in_folder(const std::string &path) {
    return std::filesystem::path(path).replace_extension(".d").string();
}

} // namespace mps::config
