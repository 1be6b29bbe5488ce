// SPDX-License-Identifier: MIT

#include "watch/top_view.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/command.hpp"
#include "mpsched/nearest.hpp"
#include "output/text.hpp"

namespace mps::watch {

namespace {

using output::Paint;

// Beside the table of connections, subflows or programs, so many paths are shown at most.
constexpr std::size_t most_paths = 4;

// The first `width` columns of a text.
std::string fit(std::string_view text, std::size_t width) {
    if (text::width(text) <= width)
        return std::string(text);
    if (width == 0)
        return {};
    std::string kept;
    std::size_t columns = 0;
    for (std::size_t i = 0; i < text.size() && columns + 1 < width; columns++) {
        std::size_t next = i + 1;
        while (next < text.size() && (static_cast<unsigned char>(text[next]) & 0xc0) == 0x80)
            next++;
        kept += text.substr(i, next - i);
        i = next;
    }
    return kept + "…";
}

std::string padded(std::string_view text, std::size_t width, bool right) {
    std::string fitting = fit(text, width);
    const std::string blanks(width - std::min(width, text::width(fitting)), ' ');
    return right ? blanks + fitting : fitting + blanks;
}

Paint paint_of(const TopColumn &column, std::string_view text) {
    if (column.title == "verdict")
        return text == "allowed" ? Paint::good : text == "-" ? Paint::none : Paint::warn;
    if (column.title == "state")
        return text == "attached" ? Paint::good : text == "down" ? Paint::bad : Paint::warn;
    return column.title == "why" ? Paint::dim : Paint::none;
}

Line line_of(const Row &row, View view, std::size_t width) {
    Line line;
    std::size_t used = 0;
    for (const TopColumn &column : columns_of(view)) {
        const std::string text = text::printable(column.text(row));
        const std::size_t wide = column.width ? column.width : width - std::min(width, used);
        line.push_back({padded(text, wide, column.right), paint_of(column, text)});
        line.push_back({" "});
        used += wide + 1;
    }
    return line;
}

std::string summary(const Sample &sample) {
    std::size_t subflows = 0;
    for (const ConnectionStatus &one : sample.connections)
        subflows += one.subflows.size();
    return fmt::format("{}, {}, {}", text::count(sample.paths.size(), "path"),
                       text::count(sample.connections.size(), "connection"),
                       text::count(subflows, "subflow"));
}

} // namespace

Line cut(Line line, std::size_t width) {
    std::size_t used = 0;
    for (Piece &piece : line) {
        piece.text = fit(piece.text, width - std::min(width, used));
        used += text::width(piece.text);
    }
    return line;
}

std::string plain(const Line &line) {
    std::string all;
    for (const Piece &piece : line)
        all += piece.text;
    return all.substr(0, all.find_last_not_of(' ') + 1);
}

TopView::TopView() {
    // What people look for: who carries most.
    for (const View view : {View::paths, View::connections, View::subflows})
        orders_[static_cast<std::size_t>(view)] = {2, true};
    orders_[static_cast<std::size_t>(View::subflows)] = {4, true};
    orders_[static_cast<std::size_t>(View::programs)] = {4, true};
    orders_[static_cast<std::size_t>(View::paths)] = {0, false};
}

Result<void> TopView::choose(std::string_view view) {
    const auto it = std::ranges::find(view_names, view);
    if (it == view_names.end())
        return cli::usage_error(fmt::format("there is no view {}", text::quoted(view)),
                                fmt::format("there are: {}", fmt::join(view_names, ", ")));
    set_view(static_cast<View>(it - view_names.begin()));
    return {};
}

Result<void> TopView::sort_by(std::string_view column) {
    const auto all = columns_of(view_);
    const auto it = std::ranges::find(all, column, &TopColumn::title);
    if (it == all.end() || column.empty()) {
        std::vector<std::string_view> titles;
        for (const TopColumn &one : all)
            if (!one.title.empty())
                titles.push_back(one.title);
        return cli::usage_error(fmt::format("{} have no column {}",
                                            view_names[static_cast<std::size_t>(view_)],
                                            text::quoted(column)),
                                fmt::format("there are: {}", fmt::join(titles, ", ")));
    }
    order() = {static_cast<std::size_t>(it - all.begin()), it->most_first};
    return {};
}

void TopView::reverse() { order().most_first = !order().most_first; }

void TopView::set_view(View view) {
    view_ = view;
    top_ = 0;
}

void TopView::next_column(int step) {
    const auto all = columns_of(view_);
    const auto number = static_cast<int>(all.size());
    int column = static_cast<int>(order().column);
    do {
        column = (column + step + number) % number;
    } while (all[static_cast<std::size_t>(column)].title.empty());
    order() = {static_cast<std::size_t>(column), all[static_cast<std::size_t>(column)].most_first};
    top_ = 0;
}

void TopView::scroll(std::ptrdiff_t by) {
    top_ = by < 0 && top_ < static_cast<std::size_t>(-by) ? 0 : top_ + static_cast<std::size_t>(by);
}

// While the filter is typed.
bool TopView::type(Key key, char32_t letter) {
    switch (key) {
    case Key::enter:
        filter_ = typed_;
        typing_ = false;
        break;
    case Key::escape:
        typing_ = false;
        break;
    case Key::backspace:
        if (!typed_.empty())
            typed_.pop_back();
        break;
    case Key::character:
        if (letter >= ' ' && letter < 0x7f && typed_.size() < 64)
            typed_ += static_cast<char>(letter);
        break;
    default:
        break;
    }
    top_ = 0;
    return true;
}

bool TopView::press(Key key, char32_t letter) {
    if (typing_)
        return type(key, letter);
    helping_ = key == Key::character && (letter == 'h' || letter == '?') && !helping_;
    switch (key) {
    case Key::up:
        scroll(-1);
        return true;
    case Key::down:
        scroll(1);
        return true;
    case Key::page_up:
        scroll(-static_cast<std::ptrdiff_t>(page_));
        return true;
    case Key::page_down:
        scroll(static_cast<std::ptrdiff_t>(page_));
        return true;
    case Key::home:
        top_ = 0;
        return true;
    case Key::end:
        top_ = static_cast<std::size_t>(-1) / 2;
        return true;
    case Key::escape:
        filter_.clear();
        return true;
    case Key::character:
        break;
    default:
        return true;
    }
    if (letter >= '1' && letter < '1' + static_cast<char32_t>(view_names.size()))
        set_view(static_cast<View>(letter - '1'));
    else if (letter == '>' || letter == 's')
        next_column(1);
    else if (letter == '<' || letter == 'S')
        next_column(-1);
    else if (letter == 'r')
        reverse();
    else if (letter == 'p' || letter == ' ')
        paused_ = !paused_;
    else if (letter == '/') {
        typing_ = true;
        typed_ = filter_;
    }
    return letter != 'q';
}

std::vector<Line> TopView::head(const TopModel &model, const std::string &clock) const {
    const Sample &sample = model.sample();
    if (!sample.installed)
        return {{{"mpsched top", Paint::bold}, {"  " + clock + (paused_ ? "  paused" : "")}},
                {{"nothing is attached here: the kernel schedules as it likes", Paint::warn}}};
    const std::string rx = sample.rx_policy == sample.policy
                               ? ""
                               : fmt::format(" (peers: {})", text::printable(sample.rx_policy));
    const std::string_view follows = sample.followed ? "" : "; nobody follows the interfaces";
    return {{{"mpsched top", Paint::bold},
             {fmt::format("  {}  {}{}  {}", clock, text::printable(sample.policy), rx, summary(sample))},
             {paused_ ? "  paused" : "", Paint::warn}},
            {{fmt::format(
                "decisions {:.0f}/s (peers {:.0f}/s), MP_PRIO in {:.0f}/s, wakes {:.0f}/s, told {:.0f}/s{}",
                model.per_second("decided"), model.per_second("rx_decided"), model.per_second("inserted"),
                model.per_second("wake_written"), model.per_second("told"), follows)}},
            {{unmeasured_.empty() ? fmt::format("programs {:.2f} % of a core", model.program_share() * 100)
                                  : fmt::format("what programs cost is not measured: {}", unmeasured_)}}};
}

std::vector<Line> TopView::path_lines(const TopModel &model, std::size_t most) const {
    std::vector<Line> lines;
    const auto rows = model.rows(View::paths, orders_[static_cast<std::size_t>(View::paths)], "");
    for (const Row &row : rows) {
        if (lines.size() == most) {
            lines.back() = {
                {fmt::format("… {} more", text::count(rows.size() - most + 1, "path")), Paint::dim}};
            break;
        }
        std::string line;
        const auto &columns = columns_of(View::paths);
        for (const std::size_t i : {0U, 1U})
            line += padded(text::printable(columns[i].text(row)), columns[i].width, false) + " ";
        line += fmt::format("{:>6} out {:>6} in  rtt {:>7}  {}/{} parked", columns[2].text(row),
                            columns[3].text(row), columns[4].text(row), row.parked, row.subflows);
        if (row.path->attributes.quota_bytes)
            line += "  quota " + columns.back().text(row);
        lines.push_back({{line, row.path->down ? Paint::bad : Paint::none}});
    }
    return lines;
}

Line TopView::titles(std::size_t width) const {
    const Order &order = orders_[static_cast<std::size_t>(view_)];
    Line line;
    std::size_t used = 0;
    const auto all = columns_of(view_);
    for (std::size_t i = 0; i < all.size(); i++) {
        const std::size_t wide = all[i].width ? all[i].width : width - std::min(width, used);
        line.push_back(
            {padded(all[i].title, wide, all[i].right), i == order.column ? Paint::bold : Paint::none, true});
        line.push_back({" ", Paint::none, true});
        used += wide + 1;
    }
    return line;
}

std::vector<Line> TopView::help() const {
    std::vector<Line> lines{{{"Keys", Paint::bold}}};
    for (const char *line :
         {"1 2 3 4      paths, connections, subflows, BPF programs", "s S  < >     sort by another column",
          "r            the other way round", "/            show only what contains a text; Esc: all",
          "arrows, PgUp, PgDn, Home, End   scroll", "p, space     stand still, and go on",
          "h ?          this help", "q, Ctrl-C    end", "",
          "Rates are in bit/s of contents, out: acknowledged by peers, in: received.",
          "'why' is the policy's reason for its last verdict; 'explain TOKEN' tells all of it.",
          "What programs cost the kernel measures only while top runs."})
        lines.push_back({{line}});
    return lines;
}

Line TopView::keys() const {
    if (typing_)
        return {{"filter: " + typed_ + "_", Paint::bold}, {"  (Enter: so, Esc: as before)"}};
    Line line;
    for (std::size_t i = 0; i < view_names.size(); i++) {
        line.push_back(
            {fmt::format("{} {}", i + 1, view_names[i]), Paint::none, i == static_cast<std::size_t>(view_)});
        line.push_back({" "});
    }
    line.push_back({" s sort / filter h help q quit"});
    return line;
}

// Which of the rows are shown.
Line TopView::part(std::size_t shown, std::size_t all) const {
    Line line;
    if (shown < all)
        line.push_back({fmt::format("  rows {}-{} of {}", top_ + 1, top_ + shown, all)});
    if (!filter_.empty() && !typing_)
        line.push_back({fmt::format("  filter: {}", filter_), Paint::bold});
    return line;
}

std::vector<Line> TopView::draw(const TopModel &model, const std::string &clock, std::size_t width,
                                std::size_t rows) {
    std::vector<Line> lines = head(model, clock);
    const std::size_t head_lines = lines.size();
    if (helping_ && rows) {
        for (Line &line : help())
            lines.push_back(std::move(line));
    } else {
        if (view_ != View::paths)
            for (Line &line : path_lines(model, rows ? most_paths : static_cast<std::size_t>(-1)))
                lines.push_back(std::move(line));
        lines.push_back(titles(width));
        const auto table = model.rows(view_, order(), filter_);
        // The last line is for the keys.
        const std::size_t room = rows ? rows - std::min(rows, lines.size() + 1) : table.size();
        page_ = std::max<std::size_t>(room, 1);
        top_ = rows ? std::min(top_, table.size() - std::min(table.size(), room)) : 0;
        const std::size_t shown = std::min(room, table.size() - top_);
        for (Piece &piece : part(shown, table.size()))
            lines[head_lines - 1].push_back(std::move(piece));
        for (std::size_t i = 0; i < shown; i++)
            lines.push_back(line_of(table[top_ + i], view_, width));
        if (rows) {
            lines.resize(std::max(lines.size(), rows - std::min<std::size_t>(rows, 1)));
            lines.push_back(keys());
        }
    }
    if (rows && lines.size() > rows)
        lines.resize(rows);
    for (Line &line : lines)
        line = cut(std::move(line), width);
    return lines;
}

} // namespace mps::watch
