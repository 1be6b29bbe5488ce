// SPDX-License-Identifier: MIT
//
// `top` in a real terminal: tmux is one, and tells what stands on its screen.
#include <chrono>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>

#include "catch.hpp"
#include "process.hpp"

namespace {

using namespace std::chrono_literals;

class Screen {
  public:
    explicit Screen(const std::string &command) {
        tmux({"-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24",
              command + "; echo ENDED $?; cat"});
    }
    ~Screen() { (void)mps::test::run(words({"kill-server"})); }
    Screen(const Screen &) = delete;
    Screen &operator=(const Screen &) = delete;

    void press(const std::string &keys) const { tmux({"send-keys", keys}); }
    void resize(int width, int height) const {
        tmux({"resize-window", "-x", std::to_string(width), "-y", std::to_string(height)});
    }
    // With its attributes as escape sequences, if these are asked for.
    [[nodiscard]] std::string text(bool attributes = false) const {
        return attributes ? tmux({"capture-pane", "-p", "-e"}) : tmux({"capture-pane", "-p"});
    }
    [[nodiscard]] bool shows(std::string_view part) const {
        for (int i = 0; i < 250; i++, std::this_thread::sleep_for(20ms))
            if (text().contains(part))
                return true;
        UNSCOPED_INFO("the screen:\n" << text());
        return false;
    }

  private:
    [[nodiscard]] std::vector<std::string> words(std::vector<std::string> more) const {
        more.insert(more.begin(), {"tmux", "-L", server_});
        return more;
    }
    std::string tmux(std::vector<std::string> more) const {
        const auto outcome = mps::test::run(words(std::move(more)));
        INFO(outcome.err);
        REQUIRE(outcome.exit_code == 0);
        return outcome.out;
    }

    // Another one each time: a server that is just ending takes no more sessions.
    static inline int number_ = 0;
    std::string server_ = fmt::format("mpsched-test-{}-{}", ::getpid(), ++number_);
};

std::size_t longest_line(const std::string &text) {
    std::size_t longest = 0, length = 0;
    for (const char c : text) {
        length = c == '\n' ? 0 : length + ((static_cast<unsigned char>(c) & 0xc0) != 0x80);
        longest = std::max(longest, length);
    }
    return longest;
}

} // namespace

TEST_CASE("top draws on a terminal of 80 by 24, follows keys and its size, and leaves it as it was",
          "[cli]") {
    const Screen screen("TERM=screen-256color " MPS_FAKE_CLI " top --delay 0.2");
    CHECK(screen.shows("2 connections"));
    CHECK(screen.shows("7a3b12cd weighted"));
    CHECK(screen.shows("q quit"));
    CHECK(longest_line(screen.text()) <= 80);
    CHECK(screen.text(true).contains("\x1b[3")); // something is coloured
    screen.press("3");
    CHECK(screen.shows("interface verdict"));
    CHECK(screen.shows("parked"));
    screen.press("/");
    screen.press("lte0");
    CHECK(screen.shows("filter: lte0_"));
    screen.press("Enter");
    CHECK(screen.shows("  filter: lte0"));
    screen.resize(120, 12);
    CHECK(screen.shows("its burst would arrive 61.0 ms later"));
    screen.press("Escape");
    screen.press("4");
    CHECK(screen.shows("mps_tc_eth"));
    screen.resize(20, 5);
    CHECK(screen.shows("mpsched top"));
    CHECK(longest_line(screen.text()) <= 20);
    screen.resize(80, 24);
    screen.press("q");
    CHECK(screen.shows("ENDED 0"));
    CHECK_FALSE(screen.text().contains("mps_tc_eth"));
}

TEST_CASE("top has no colours where they are not wanted, and ends at Ctrl-C", "[cli]") {
    for (const char *command : {"NO_COLOR=1 TERM=screen-256color " MPS_FAKE_CLI " top --delay 0.2",
                                "TERM=screen-256color " MPS_FAKE_CLI " top --no-color --delay 0.2"}) {
        const Screen screen(command);
        CHECK(screen.shows("2 connections"));
        screen.press("3");
        CHECK(screen.shows("interface verdict"));
        CHECK(screen.shows("parked"));
        const std::string text = screen.text(true);
        for (const char *colour : {"\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[1;31m"})
            CHECK_FALSE(text.contains(colour));
        screen.press("C-c");
        CHECK(screen.shows("ENDED 0"));
    }
    // One that cannot be drawn on gets frames below each other, until its reader has had enough.
    const Screen dumb("TERM=dumb " MPS_FAKE_CLI " top --delay 0.1 | head -40");
    CHECK(dumb.shows("ENDED 0"));
}
