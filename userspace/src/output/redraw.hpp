// SPDX-License-Identifier: MIT
//
// An answer that is told again and again: on a terminal each in the place of the one before, elsewhere one below the other; for programs
// one document in a line each.
#pragma once

#include <string>

#include "output/lines.hpp"

namespace mps::output {

class Redraw {
  public:
    Redraw(bool json, int json_form);

    [[nodiscard]] bool json() const { return lines_.json(); }
    // Both are false when nothing more can be written: the reader has gone, or failed().
    bool write(const std::string &heading, const std::string &text);
    bool write(mps::Json document) { return lines_.write(std::move(document)); }
    [[nodiscard]] bool failed() const { return lines_.failed(); }

  private:
    Lines lines_;
    bool terminal_;
};

// What of `text` a terminal of so many rows shows, the last of which tells how much more there is.
[[nodiscard]] std::string first_rows(const std::string &text, std::size_t rows);

} // namespace mps::output
