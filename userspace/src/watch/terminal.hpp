// SPDX-License-Identifier: MIT
//
// A whole terminal to draw on and keys from it; ncurses behind it. What is drawn and what keys do is told by top_view.hpp.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "mpsched/error.hpp"
#include "watch/top_view.hpp"

namespace mps::watch {

// Can this process draw: its input and output are a terminal that can be drawn on?
[[nodiscard]] bool is_drawable();

class Terminal {
  public:
    // As it was again when the object is gone.
    [[nodiscard]] static Result<Terminal> open(bool colours);
    Terminal(Terminal &&) noexcept;
    Terminal &operator=(Terminal &&) noexcept;
    ~Terminal();

    [[nodiscard]] std::size_t width() const;
    [[nodiscard]] std::size_t rows() const;
    void draw(const std::vector<Line> &lines);

    struct Pressed {
        Key key = Key::character;
        char32_t letter = 0;
        bool resized = false; // and no key
    };
    // The next key that has come; never waits.
    [[nodiscard]] std::optional<Pressed> next_key();

  private:
    struct Impl;
    explicit Terminal(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace mps::watch
