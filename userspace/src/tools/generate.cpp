// SPDX-License-Identifier: MIT
//
// Build tool: writes what is made from the command table to standard output.
//   mpsched-generate man | markdown | options | {bash|zsh|fish} FRAME | settings-man | settings-markdown | settings-example | daemon-man | metrics-markdown

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "config/keys.hpp"
#include "table/generate.hpp"

int main(int argc, char **argv) {
    const std::string_view what = argc > 1 ? argv[1] : "";
    std::string text;
    if (what == "man") {
        text = mps::table::generate_man(MPS_VERSION);
    } else if (what == "markdown") {
        text = mps::table::generate_markdown();
    } else if (what == "options") {
        text = mps::table::generate_options();
    } else if (what == "settings-man") {
        text = mps::table::generate_settings_man(MPS_VERSION);
    } else if (what == "settings-markdown") {
        text = mps::table::generate_settings_markdown();
    } else if (what == "settings-example") {
        text = mps::config::example();
    } else if (what == "daemon-man") {
        text = mps::table::generate_daemon_man(MPS_VERSION);
    } else if (what == "metrics-markdown") {
        text = mps::table::generate_metrics_markdown();
    } else if (argc == 3) {
        std::ifstream file(argv[2]);
        const std::string frame(std::istreambuf_iterator<char>(file), {});
        if (what == "bash")
            text = mps::table::generate_bash(frame);
        else if (what == "zsh")
            text = mps::table::generate_zsh(frame);
        else if (what == "fish")
            text = mps::table::generate_fish(frame);
    }
    if (text.empty()) {
        std::fputs(
            "usage: mpsched-generate man | markdown | options | {bash|zsh|fish} FRAME | settings-man | settings-markdown | "
            "settings-example | daemon-man | metrics-markdown\n",
            stderr);
        return 2;
    }
    return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0 ? 0
                                                                                                       : 1;
}
