// SPDX-License-Identifier: MIT
#include "display.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string_view>

#include <mpsched/lab/cleanup.hpp>

#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

namespace mps::lab::cli {
namespace {

constexpr std::size_t label_width = 8; // two of margin and the names

void put(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
}

double total(const std::vector<double> &values) {
    double sum = 0;
    for (const double v : values) {
        sum += v;
    }
    return sum;
}

std::string percent(double share) { return fmt::format("{:.1f} %", share * 100); }

/// The same table for both displays; plain text, since people copy it.
std::string make_table(const std::vector<std::string> &paths, const std::vector<TableRow> &rows) {
    std::size_t phase_width = 5;
    std::size_t aim_width = 3;
    for (const auto &row : rows) {
        phase_width = std::max(phase_width, row.phase.size());
        aim_width = std::max(aim_width, row.aim.size());
    }
    std::string text = fmt::format("  {:<{}}  {:<{}}", "phase", phase_width, "aim", aim_width);
    for (const auto &path : paths) {
        text += fmt::format("  {:>17}", path + " Mbit/s");
    }
    text += fmt::format("  {:>12}\n", "total Mbit/s");
    text += "  " + std::string(phase_width + 2 + aim_width + paths.size() * 19 + 14, '-') + "\n";
    for (const auto &row : rows) {
        text += fmt::format("  {:<{}}  {:<{}}", row.phase, phase_width, row.aim, aim_width);
        for (std::size_t i = 0; i < paths.size(); ++i) {
            text += fmt::format("  {:>8.1f} {:>8}", row.mbit[i], percent(row.share[i]));
        }
        text += fmt::format("  {:>12.1f}\n", total(row.mbit));
    }
    return text;
}

class PlainDisplay final : public Display {
  public:
    void title(std::size_t number, std::size_t count, const std::string &title,
               const std::string &explanation) override {
        put(fmt::format("\n[{}/{}] {}: {}\n", number, count, title, explanation));
    }

    void command(const std::string &typed) override { put("$ " + typed + "\n"); }

    void output(const std::string &text) override { put(text); }

    void frame(const Frame &frame) override {
        if (frame.elapsed_s < next_s_) {
            return;
        }
        // After a command that took long, not one line for every second missed.
        next_s_ = std::floor(frame.elapsed_s) + 1;
        std::string text = fmt::format("{:>4.0f} s", std::floor(frame.elapsed_s));
        double sum = 0;
        for (const auto &path : frame.paths) {
            text += fmt::format("   {} {:>5.1f} Mbit/s {:>4.0f} %{}", path.name, path.mbit, path.share * 100,
                                path.down ? " (down)" : "");
            sum += path.mbit;
        }
        put(fmt::format("{}   total {:>5.1f} Mbit/s\n", text, sum));
    }

    void phase_result(const std::vector<std::string> &paths, const TableRow &row) override {
        put("\n" + make_table(paths, {row}));
    }

    void finish() override {}

    void table(const std::vector<std::string> &paths, const std::vector<TableRow> &rows) override {
        put("\n" + make_table(paths, rows));
    }

    void line(const std::string &text) override { put(text + "\n"); }

  private:
    double next_s_ = 1;
};

class LiveDisplay final : public Display {
  public:
    LiveDisplay() : colour_(std::getenv("NO_COLOR") == nullptr), cursor_guard_([] { put("\033[?25h\n"); }) {
        put("\033[?25l");
    }

    ~LiveDisplay() override { finish(); }

    void title(std::size_t number, std::size_t count, const std::string &title,
               const std::string &explanation) override {
        above(fmt::format("\n{}{} of {}  {}{}  {}\n", paint("1"), number, count, title, paint("0"),
                          explanation));
    }

    void command(const std::string &typed) override {
        above(fmt::format("  {}$ {}{}\n", paint("32"), typed, paint("0")));
    }

    void output(const std::string &text) override {
        std::string indented;
        std::istringstream lines(text);
        for (std::string line; std::getline(lines, line);) {
            indented += "    " + line + "\n";
        }
        above(paint("2") + indented + paint("0"));
    }

    void frame(const Frame &frame) override {
        last_ = frame;
        redraw({});
    }

    void phase_result(const std::vector<std::string> &paths, const TableRow &row) override {
        std::string text = " ";
        for (std::size_t i = 0; i < paths.size(); ++i) {
            text += fmt::format(" {}{} {:.1f} Mbit/s ({}){} ", colour_of(i), paths[i], row.mbit[i],
                                percent(row.share[i]), paint("0"));
        }
        above(fmt::format("{} total {:.1f} Mbit/s\n", text, total(row.mbit)));
    }

    void finish() override {
        if (!finished_) {
            finished_ = true;
            // The last picture stays, with the history of the whole demo.
            drawn_ = 0;
            put("\033[?25h");
            cursor_guard_.dismiss();
        }
    }

    void table(const std::vector<std::string> &paths, const std::vector<TableRow> &rows) override {
        above("\n" + make_table(paths, rows));
    }

    void line(const std::string &text) override { above(text + "\n"); }

  private:
    std::string paint(std::string_view code) const { return colour_ ? fmt::format("\033[{}m", code) : ""; }

    std::string colour_of(std::size_t path) const {
        constexpr std::array<std::string_view, 4> colours{"36", "33", "35", "34"};
        return paint(colours.at(path % colours.size()));
    }

    static std::size_t width() {
        winsize size{};
        if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
            return 80;
        }
        return std::clamp<std::size_t>(size.ws_col, 40, 140);
    }

    std::string bar(double part, std::size_t cells) const {
        constexpr std::array<std::string_view, 9> eighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
        const auto filled = static_cast<std::size_t>(
            std::lround(std::clamp(part, 0.0, 1.0) * 8 * static_cast<double>(cells)));
        std::string text;
        for (std::size_t i = 0; i < filled / 8; ++i) {
            text += eighths[8];
        }
        text += eighths.at(filled % 8);
        const auto used = (filled + 7) / 8;
        text += paint("2");
        for (std::size_t i = used; i < cells; ++i) {
            text += "·";
        }
        return text + paint("0");
    }

    // One of the two text rows of a history, 16 steps high together.
    std::string spark(const std::vector<double> &history, std::size_t from, double full, bool upper) const {
        constexpr std::array<std::string_view, 9> heights{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
        std::string text;
        for (std::size_t i = from; i < history.size(); ++i) {
            const int level = static_cast<int>(std::lround(std::clamp(history[i] / full, 0.0, 1.0) * 16));
            const int row = upper ? std::max(level - 8, 0) : std::min(level, 8);
            text += heights.at(static_cast<std::size_t>(row));
        }
        return text;
    }

    std::vector<std::string> picture() const {
        std::vector<std::string> lines;
        const auto columns = width();
        // What follows a bar: "x 100.0 Mbit/s  100 %"
        const auto bar_cells = columns - label_width - 22;
        lines.emplace_back();
        double sum = 0;
        for (std::size_t i = 0; i < last_.paths.size(); ++i) {
            const auto &path = last_.paths[i];
            sum += path.mbit;
            lines.push_back(fmt::format("  {}{:<6}{}{} {:>5.1f} Mbit/s {:>4.0f} %", colour_of(i), path.name,
                                        bar(path.mbit / last_.full_mbit, bar_cells),
                                        path.down ? paint("1;31") + "x" + paint("0") : std::string(" "),
                                        path.mbit, path.share * 100));
        }
        const auto clock = last_.total_s > 0
                               ? fmt::format("{:.0f} of about {:.0f} s", last_.elapsed_s, last_.total_s)
                               : fmt::format("{:.0f} s", last_.elapsed_s);
        lines.push_back(fmt::format("  {:<6}{}{:<{}}{}  {:>5.1f} Mbit/s", "sum", paint("2"), clock, bar_cells,
                                    paint("0"), sum));
        lines.emplace_back();
        const auto history_cells = columns - label_width - 1;
        const auto length = last_.paths.empty() ? 0 : last_.paths[0].history.size();
        const auto from = length > history_cells ? length - history_cells : 0;
        for (std::size_t i = 0; i < last_.paths.size(); ++i) {
            const auto &path = last_.paths[i];
            for (const bool upper : {true, false}) {
                lines.push_back(fmt::format("  {}{:<6}{}{}", colour_of(i), upper ? "" : path.name,
                                            spark(path.history, from, last_.full_mbit, upper), paint("0")));
            }
        }
        std::string marks(history_cells, ' ');
        for (std::size_t n = 0; n < last_.marks.size(); ++n) {
            if (last_.marks[n] >= from && last_.marks[n] - from < marks.size()) {
                marks[last_.marks[n] - from] = static_cast<char>('1' + n);
            }
        }
        lines.push_back(fmt::format("  {}{:<6}{}{}", paint("1"), "phase", marks, paint("0")));
        return lines;
    }

    void above(const std::string &text) { redraw(text); }

    // Everything in one write, so that nothing flickers.
    void redraw(const std::string &text) {
        std::string out;
        if (drawn_ > 0) {
            out += fmt::format("\033[{}A", drawn_);
        }
        out += "\r\033[J" + text;
        drawn_ = 0;
        if (!finished_ && !last_.paths.empty()) {
            for (const auto &line : picture()) {
                out += line + "\n";
                ++drawn_;
            }
        }
        put(out);
    }

    bool colour_;
    bool finished_ = false;
    CleanupGuard cursor_guard_;
    Frame last_;
    std::size_t drawn_ = 0;
};

} // namespace

std::unique_ptr<Display> Display::create(bool plain) {
    const char *term = std::getenv("TERM");
    const bool terminal = ::isatty(STDOUT_FILENO) == 1 && term != nullptr && std::string_view(term) != "dumb";
    if (plain || !terminal) {
        return std::make_unique<PlainDisplay>();
    }
    return std::make_unique<LiveDisplay>();
}

} // namespace mps::lab::cli
