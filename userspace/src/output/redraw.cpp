// SPDX-License-Identifier: MIT

#include "output/redraw.hpp"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "output/text.hpp"

namespace mps::output {

namespace {

// A terminal that knows how to be cleared.
bool can_clear() {
    const char *term = std::getenv("TERM");
    return isatty(STDOUT_FILENO) == 1 && term != nullptr && *term != '\0' && std::string_view(term) != "dumb";
}

std::size_t rows_of_terminal() {
    winsize size{};
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : 24;
}

} // namespace

std::string first_rows(const std::string &text, std::size_t rows) {
    const std::vector<std::string> lines = text::lines(text);
    if (lines.size() <= rows)
        return text;
    std::string shown;
    const std::size_t whole = std::max<std::size_t>(rows, 1) - 1;
    for (std::size_t i = 0; i < whole; i++)
        shown += lines[i] + "\n";
    return shown + fmt::format("… {} more", text::count(lines.size() - whole, "line"));
}

Redraw::Redraw(bool json, int json_form) : lines_(json, json_form), terminal_(!json && can_clear()) {}

bool Redraw::write(const std::string &heading, const std::string &text) {
    const std::string whole = heading + "\n" + text;
    if (!terminal_)
        return lines_.write(whole + "\n");
    // From the top, each line cleared behind its text, then all below: nothing flickers.
    std::string frame = "\x1b[H";
    for (const std::string &line : text::lines(first_rows(whole, rows_of_terminal() - 1)))
        frame += line + "\x1b[K\n";
    return lines_.write(frame + "\x1b[J");
}

} // namespace mps::output
