// SPDX-License-Identifier: MIT

#include "output/table.hpp"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <cstring>

#include <unistd.h>

#include "output/text.hpp"

namespace mps::output {

Style Style::for_fd(int fd) {
    const char *no_color = std::getenv("NO_COLOR");
    const char *term = std::getenv("TERM");
    return Style(isatty(fd) == 1 && (no_color == nullptr || *no_color == '\0') &&
                 (term == nullptr || std::strcmp(term, "dumb") != 0));
}

std::string Style::operator()(Paint paint, std::string_view text) const {
    if (!colours_ || paint == Paint::none || text.empty())
        return std::string(text);
    const char *code = "";
    switch (paint) {
    case Paint::none:
        break;
    case Paint::bold:
        code = "1";
        break;
    case Paint::dim:
        code = "2";
        break;
    case Paint::good:
        code = "32";
        break;
    case Paint::bad:
        code = "31";
        break;
    case Paint::warn:
        code = "33";
        break;
    }
    return "\033[" + std::string(code) + "m" + std::string(text) + "\033[0m";
}

void Table::add(std::vector<Cell> cells) {
    assert(cells.size() == columns_.size());
    for (Cell &cell : cells)
        cell.text = text::printable(cell.text);
    rows_.push_back(std::move(cells));
}

std::string Table::render(const Style &style, std::size_t indent) const {
    std::vector<std::size_t> widths(columns_.size(), 0);
    std::vector<bool> shown(columns_.size(), true);
    bool titles = false;
    for (std::size_t i = 0; i < columns_.size(); i++) {
        widths[i] = text::width(columns_[i].title);
        bool filled = false;
        for (const auto &row : rows_) {
            widths[i] = std::max(widths[i], text::width(row[i].text));
            filled |= !row[i].text.empty() && row[i].text != "-";
        }
        shown[i] = filled || !columns_[i].optional;
        titles |= shown[i] && !columns_[i].title.empty();
    }

    std::string all;
    const auto add_line = [&](const auto &cell_of) {
        std::string line(indent, ' ');
        std::size_t pending = 0; // blanks that are only needed if something follows
        for (std::size_t i = 0; i < columns_.size(); i++) {
            if (!shown[i])
                continue;
            const auto &[words, paint] = cell_of(i);
            const std::size_t used = text::width(words);
            const std::size_t fill = widths[i] - used;
            if (columns_[i].align == Align::right)
                pending += fill;
            if (used != 0) {
                line.append(pending, ' ');
                line += style(paint, words);
                pending = 0;
            }
            if (columns_[i].align == Align::left)
                pending += fill;
            pending += 2;
        }
        all += line + '\n';
    };
    if (titles)
        add_line([&](std::size_t i) { return std::pair<std::string, Paint>(columns_[i].title, Paint::dim); });
    for (const auto &row : rows_)
        add_line([&](std::size_t i) { return std::pair<std::string, Paint>(row[i].text, row[i].paint); });
    return all;
}

} // namespace mps::output
