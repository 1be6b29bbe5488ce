// SPDX-License-Identifier: MIT

#include "watch/terminal.hpp"

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include <fmt/format.h>
#include <langinfo.h>
#include <unistd.h>
// Macros that are also names of ours.
#define NCURSES_NOMACROS 1
#define NCURSES_WIDECHAR 1
#include <curses.h>

namespace mps::watch {

namespace {

using output::Paint;

// Our texts are UTF-8; a process in the locale C shows them all the same.
void choose_locale() {
    std::setlocale(LC_CTYPE, "");
    if (std::string_view(nl_langinfo(CODESET)) != "UTF-8")
        std::setlocale(LC_CTYPE, "C.UTF-8");
}

bool start_colours() {
    if (!has_colors() || start_color() == ERR)
        return false;
    use_default_colors();
    init_pair(1, COLOR_GREEN, -1);
    init_pair(2, COLOR_RED, -1);
    init_pair(3, COLOR_YELLOW, -1);
    return true;
}

std::optional<Key> key_of(int code) {
    switch (code) {
    case KEY_UP:
        return Key::up;
    case KEY_DOWN:
        return Key::down;
    case KEY_PPAGE:
        return Key::page_up;
    case KEY_NPAGE:
        return Key::page_down;
    case KEY_HOME:
        return Key::home;
    case KEY_END:
        return Key::end;
    case KEY_BACKSPACE:
        return Key::backspace;
    case KEY_ENTER:
        return Key::enter;
    default:
        return std::nullopt;
    }
}

} // namespace

struct Terminal::Impl {
    SCREEN *screen = nullptr;
    bool colours = false;

    Impl(SCREEN *the_screen, bool with_colours) : screen(the_screen), colours(with_colours) {}
    Impl(const Impl &) = delete;
    Impl &operator=(const Impl &) = delete;
    ~Impl() {
        endwin();
        delscreen(screen);
    }

    [[nodiscard]] attr_t attributes(const Piece &piece) const {
        attr_t all = piece.reverse ? A_REVERSE : A_NORMAL;
        switch (piece.paint) {
        case Paint::bold:
            return all | A_BOLD;
        case Paint::dim:
            return all | A_DIM;
        case Paint::good:
            return all | (colours ? COLOR_PAIR(1) : A_NORMAL);
        case Paint::bad:
            return all | A_BOLD | (colours ? COLOR_PAIR(2) : A_NORMAL);
        case Paint::warn:
            return all | (colours ? COLOR_PAIR(3) : A_NORMAL);
        case Paint::none:
            break;
        }
        return all;
    }
};

bool is_drawable() {
    const char *term = std::getenv("TERM");
    return isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 && term != nullptr && *term != '\0' &&
           std::strcmp(term, "dumb") != 0;
}

Terminal::Terminal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Terminal::Terminal(Terminal &&) noexcept = default;
Terminal &Terminal::operator=(Terminal &&) noexcept = default;
Terminal::~Terminal() = default;

Result<Terminal> Terminal::open(bool colours) {
    choose_locale();
    // Esc alone is a key; what waits for the rest of a sequence need not wait long.
    set_escdelay(50);
    SCREEN *screen = newterm(nullptr, stdout, stdin);
    if (screen == nullptr)
        return fail(ErrorCode::failed, fmt::format("the terminal {} is not known here", std::getenv("TERM")),
                    "set TERM to one that is, or use --batch");
    set_term(screen);
    auto impl = std::make_unique<Impl>(screen, colours && start_colours());
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    curs_set(0);
    return Terminal(std::move(impl));
}

std::size_t Terminal::width() const { return static_cast<std::size_t>(getmaxx(stdscr)); }
std::size_t Terminal::rows() const { return static_cast<std::size_t>(getmaxy(stdscr)); }

void Terminal::draw(const std::vector<Line> &lines) {
    werase(stdscr);
    for (std::size_t y = 0; y < lines.size(); y++) {
        wmove(stdscr, static_cast<int>(y), 0);
        for (const Piece &piece : lines[y]) {
            wattrset(stdscr, static_cast<int>(impl_->attributes(piece)));
            waddnstr(stdscr, piece.text.data(), static_cast<int>(piece.text.size()));
        }
    }
    wattrset(stdscr, A_NORMAL);
    wrefresh(stdscr);
}

std::optional<Terminal::Pressed> Terminal::next_key() {
    wint_t code = 0;
    const int kind = wget_wch(stdscr, &code);
    if (kind == ERR)
        return std::nullopt;
    if (kind == KEY_CODE_YES) {
        if (code == KEY_RESIZE)
            return Pressed{.resized = true};
        return Pressed{.key = key_of(static_cast<int>(code)).value_or(Key::character)};
    }
    switch (code) {
    case '\n':
    case '\r':
        return Pressed{.key = Key::enter};
    case 0x1b:
        return Pressed{.key = Key::escape};
    case 0x7f:
    case '\b':
        return Pressed{.key = Key::backspace};
    default:
        return Pressed{.letter = static_cast<char32_t>(code)};
    }
}

} // namespace mps::watch
