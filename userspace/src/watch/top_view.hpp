// SPDX-License-Identifier: MIT
//
// The screen of `top` as text with attributes, and what keys do to it: everything but the terminal itself.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "output/table.hpp"
#include "watch/top_model.hpp"

namespace mps::watch {

struct Piece {
    std::string text{};
    output::Paint paint = output::Paint::none;
    bool reverse = false;
};
using Line = std::vector<Piece>;

enum class Key { character, enter, backspace, escape, up, down, page_up, page_down, home, end };

class TopView {
  public:
    TopView();

    // Usage errors name what there is.
    [[nodiscard]] Result<void> choose(std::string_view view);
    [[nodiscard]] Result<void> sort_by(std::string_view column);
    void reverse();
    void filter(std::string text) { filter_ = std::move(text); }
    // Why nobody measures what programs cost; "" if the kernel does.
    void unmeasured(std::string why) { unmeasured_ = std::move(why); }

    // False: it is to end. `letter` of a character.
    [[nodiscard]] bool press(Key key, char32_t letter = 0);
    // No new looks are to be taken.
    [[nodiscard]] bool paused() const { return paused_; }

    // As many lines as there is room for, none longer than `width`; 0 rows: all, without what is for keys.
    [[nodiscard]] std::vector<Line> draw(const TopModel &model, const std::string &clock, std::size_t width,
                                         std::size_t rows);

  private:
    [[nodiscard]] Order &order() { return orders_[static_cast<std::size_t>(view_)]; }
    void next_column(int step);
    void set_view(View view);
    [[nodiscard]] bool type(Key key, char32_t letter);
    void scroll(std::ptrdiff_t by);

    [[nodiscard]] std::vector<Line> head(const TopModel &model, const std::string &clock) const;
    [[nodiscard]] std::vector<Line> path_lines(const TopModel &model, std::size_t most) const;
    [[nodiscard]] Line titles(std::size_t width) const;
    [[nodiscard]] std::vector<Line> help() const;
    [[nodiscard]] Line keys() const;
    [[nodiscard]] Line part(std::size_t shown, std::size_t all) const;

    View view_ = View::connections;
    std::array<Order, view_names.size()> orders_{};
    std::string filter_{};
    std::string unmeasured_{};
    std::string typed_{};
    bool typing_ = false, paused_ = false, helping_ = false;
    std::size_t top_ = 0;  // the first row that is shown
    std::size_t page_ = 1; // rows of a screen, as it was drawn last
};

// What of it a terminal of so many columns shows.
[[nodiscard]] Line cut(Line line, std::size_t width);
[[nodiscard]] std::string plain(const Line &line);

} // namespace mps::watch
