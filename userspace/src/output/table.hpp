// SPDX-License-Identifier: MIT
//
// Aligned columns for people, with colours where they are wanted.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mps::output {

enum class Paint { none, bold, dim, good, bad, warn };

// Whether to colour, and the codes. Off unless the stream is a terminal.
class Style {
  public:
    explicit Style(bool colours = false) : colours_(colours) {}
    // Colours for this file descriptor: a terminal, TERM not "dumb", NO_COLOR unset or empty.
    [[nodiscard]] static Style for_fd(int fd);
    [[nodiscard]] std::string operator()(Paint paint, std::string_view text) const;

  private:
    bool colours_;
};

enum class Align { left, right };

class Table {
  public:
    struct Cell {
        std::string text;
        Paint paint = Paint::none;

        Cell(std::string t, Paint p = Paint::none) : text(std::move(t)), paint(p) {}
        Cell(std::string_view t, Paint p = Paint::none) : text(t), paint(p) {}
        Cell(const char *t, Paint p = Paint::none) : text(t), paint(p) {}
    };

    struct Column {
        std::string_view title;
        Align align = Align::left;
        // Left out when all its cells are empty or "-".
        bool optional = false;
    };

    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

    // As many cells as columns.
    void add(std::vector<Cell> cells);
    [[nodiscard]] bool empty() const { return rows_.empty(); }
    // With a line of titles if any column has one. Each line starts with `indent` blanks and ends with a
    // newline.
    [[nodiscard]] std::string render(const Style &style, std::size_t indent = 0) const;

  private:
    std::vector<Column> columns_;
    std::vector<std::vector<Cell>> rows_;
};

} // namespace mps::output
