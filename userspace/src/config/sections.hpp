// SPDX-License-Identifier: MIT
//
// A file of settings as it was written: sections with their entries and where they stand. No meaning yet (config/desired.hpp).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/keys.hpp"
#include "mpsched/error.hpp"
#include "mpsched/params.hpp"

namespace mps::config {

struct Position {
    std::string file{};
    std::uint32_t line = 0, column = 0;

    [[nodiscard]] std::string text() const; // "FILE:3:7"
};

struct PlacedSetting {
    Setting setting;
    Position at{};
};

struct Entry {
    std::string key{};
    Position at{};                    // of the value
    std::vector<std::string> texts{}; // its value, or the values of a list
    bool is_list = false;
    std::vector<PlacedSetting> settings{}; // of a table
};

struct Section {
    Part part = Part::top;
    Position at{};
    std::vector<Entry> entries{};

    [[nodiscard]] const Entry *find(std::string_view key) const;
    // The value of a key that has one; "" if it is not there.
    [[nodiscard]] std::string text(std::string_view key) const;
    void put(std::string key, std::string value);
    void put(std::string key, const std::vector<Setting> &settings);
};

struct File {
    std::string path{};
    std::string contents{};
    std::vector<Section> sections{};
};

// What is wrong, and where.
struct Problem {
    Position at{};
    std::string what{};
    std::string hint{};
};
// One usage error for all: the first as what is wrong, the others as detail.
[[nodiscard]] Error error_of(const std::vector<Problem> &problems);

// Reads what `contents` says; each mistake of form (unknown key, doubled key, text where a number is due) becomes a problem.
[[nodiscard]] File parse(std::string path, std::string contents, std::vector<Problem> &problems);

// Reads a file, and again while it changes under our eyes. Refuses what others than root may write.
[[nodiscard]] Result<std::string> read_whole(const std::string &path);

// "/etc/mpsched/mpsched.toml", or $MPS_CONFIG.
[[nodiscard]] std::string default_path();
// Where drop-ins for it are: "/etc/mpsched/mpsched.d".
[[nodiscard]] std::string drop_in_folder(const std::string &path);
// The file and, in the order of their names, its drop-ins. Where only drop-ins exist, those.
// `contents`: what is to stand in the file instead.
[[nodiscard]] Result<std::vector<File>> read_set(const std::string &path, std::vector<Problem> &problems,
                                                 const std::string *contents = nullptr);

// The text of a file of these sections.
[[nodiscard]] std::string write(const std::vector<Section> &sections);
// All of it or nothing, also when the machine stops in between.
[[nodiscard]] Result<void> replace_file(const std::string &path, const std::string &contents);

} // namespace mps::config
