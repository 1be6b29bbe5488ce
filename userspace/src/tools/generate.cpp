// SPDX-License-Identifier: MIT
//
// Build tool: writes what is made from the command table to standard output.
//   mpsched-generate man | markdown | bash FRAME

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "table/generate.hpp"

int main(int argc, char **argv) {
    const std::string_view what = argc > 1 ? argv[1] : "";
    std::string text;
    if (what == "man") {
        text = mps::table::generate_man(MPS_VERSION);
    } else if (what == "markdown") {
        text = mps::table::generate_markdown();
    } else if (what == "bash" && argc == 3) {
        std::ifstream file(argv[2]);
        text = mps::table::generate_bash(std::string(std::istreambuf_iterator<char>(file), {}));
    }
    if (text.empty()) {
        std::fputs("usage: mpsched-generate man | markdown | bash FRAME\n", stderr);
        return 2;
    }
    return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0 ? 0
                                                                                                       : 1;
}
