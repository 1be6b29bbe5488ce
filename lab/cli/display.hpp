// SPDX-License-Identifier: MIT
// How the demo shows itself: alive in a terminal, or as lines of text anywhere else.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace mps::lab::cli {

struct PathFrame {
    std::string name;
    double mbit = 0;  ///< now, 10^6 bit/s
    double share = 0; ///< of all paths, 0..1
    bool down = false;
    std::vector<double> history; ///< Mbit/s, one value per column, oldest first
};

/// What there is to see at one moment.
struct Frame {
    double elapsed_s = 0;
    double total_s = 0;    ///< expected length of the demo; 0: as long as somebody watches
    double full_mbit = 50; ///< length of a full bar
    std::vector<PathFrame> paths;
    std::vector<std::size_t> marks; ///< history column in which phase 1, 2, … began
};

struct TableRow {
    std::string phase;
    std::string aim; ///< what the policy asks for
    std::vector<double> mbit;
    std::vector<double> share;
};

class Display {
  public:
    /// Live for terminals, else plain.
    static std::unique_ptr<Display> create(bool plain);

    Display() = default;
    Display(const Display &) = delete;
    Display &operator=(const Display &) = delete;
    virtual ~Display() = default;

    virtual void title(std::size_t number, std::size_t count, const std::string &title,
                       const std::string &explanation) = 0;
    /// A command as typed, and later what it said.
    virtual void command(const std::string &typed) = 0;
    virtual void output(const std::string &text) = 0;
    /// Called about ten times a second.
    virtual void frame(const Frame &frame) = 0;
    virtual void phase_result(const std::vector<std::string> &paths, const TableRow &row) = 0;
    /// The end of everything that moves; what is said after it stays.
    virtual void finish() = 0;
    virtual void table(const std::vector<std::string> &paths, const std::vector<TableRow> &rows) = 0;
    virtual void line(const std::string &text) = 0;
};

} // namespace mps::lab::cli
