// SPDX-License-Identifier: MIT
// Copyright mpsched contributors

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "mpsched/nearest.hpp"
#include "output/progress.hpp"
#include "output/table.hpp"
#include "output/text.hpp"

using namespace mps;

TEST_CASE("units are those of people", "[cli]") {
    CHECK(text::duration(0) == "0 µs");
    CHECK(text::duration(999) == "999 µs");
    CHECK(text::duration(1000) == "1.0 ms");
    CHECK(text::duration(12'345) == "12.3 ms");
    CHECK(text::duration(123'456) == "123 ms");
    CHECK(text::duration(999'499) == "999 ms");
    CHECK(text::duration(999'999) == "1.0 s");
    CHECK(text::duration(61'000'000) == "61.0 s");
    CHECK(text::bytes(0) == "0 B");
    CHECK(text::bytes(999) == "999 B");
    CHECK(text::bytes(4'123'456) == "4.1 MB");
    CHECK(text::bytes(99'960) == "100 kB");
    CHECK(text::bytes(18'446'744'073'709'551'615U) == "18447 PB");
    CHECK(text::bit_rate(1'250'000) == "10.0 Mbit/s");
    CHECK(text::count(1, "subflow") == "1 subflow");
    CHECK(text::count(0, "subflow") == "0 subflows");
    CHECK(text::grouped(0) == "0");
    CHECK(text::grouped(999) == "999");
    CHECK(text::grouped(1'234'567) == "1 234 567");
    CHECK(text::grouped(123'456) == "123 456");
}

TEST_CASE("text from outside cannot harm a terminal", "[cli]") {
    CHECK(text::printable("plain µ…") == "plain µ…");
    CHECK(text::printable("a\x1b[31mb\x7f") == "a\\x1b[31mb\\x7f");
    CHECK(text::printable("a\nb\tc") == "a\\nb\\tc");
    CHECK(text::printable("a\nb\tc\r", true) == "a\nb    c\\x0d");
    CHECK(text::printable("\xff") == "\\xff");
    CHECK(text::printable("\xc3") == "\\xc3");
    CHECK(text::printable("\xc0\xaf") == "\\xc0\\xaf");          // overlong
    CHECK(text::printable("\xed\xa0\x80") == "\\xed\\xa0\\x80"); // surrogate
    CHECK(text::printable("\xc2\x9b") == "\\xc2\\x9b");          // C1: CSI in eight bits
    CHECK(text::printable("\xe2\x80\xae") == "\\xe2\\x80\\xae"); // right-to-left override
    CHECK(text::quoted(std::string(100, 'x')) == "'" + std::string(60, 'x') + "…' (100 bytes)");
    CHECK(text::quoted(std::string(59, 'x') + "µµ") == "'" + std::string(59, 'x') + "…' (63 bytes)");
    CHECK(text::quoted("") == "''");
}

TEST_CASE("wrapping keeps words and margins", "[cli]") {
    CHECK(text::wrap("one two three", 9, 2) == "  one two\n  three");
    CHECK(text::wrap("averyveryverylongword x", 9, 0) == "averyveryverylongword\nx");
    CHECK(text::wrap("", 9, 2) == "  ");
}

TEST_CASE("the nearest word is found, and none if there is none", "[cli]") {
    const std::vector<std::string> words{"status", "stats", "attach", "detach"};
    CHECK(mps::nearest("stauts", words) == "status");
    CHECK(mps::nearest("stat", words) == "status"); // the first that begins so
    CHECK(mps::nearest("stast", words) == "stats");
    CHECK(mps::nearest("atach", words) == "attach");
    CHECK(mps::nearest("zzz", words).empty());
    CHECK(mps::nearest("", words).empty());
    CHECK(mps::nearest(std::string(100'000, 'a'), words).empty());
}

TEST_CASE("tables align, leave out empty columns and end no line with blanks", "[cli]") {
    output::Table table({{"name"}, {"n", output::Align::right}, {"", output::Align::left, true}, {"last"}});
    table.add({"µµ", "1", "", "x"});
    table.add({"wan0", "100", "", ""});
    CHECK(table.render(output::Style()) == "name    n  last\n"
                                           "µµ      1  x\n"
                                           "wan0  100\n");
    CHECK(table.render(output::Style(), 2).starts_with("  name"));
    output::Table hostile({{"a"}});
    hostile.add({"x\x1b[2J"});
    CHECK(hostile.render(output::Style(true)).find("\x1b[2J") == std::string::npos);
}

TEST_CASE("what is being done is shown only when it takes long, and is gone behind it", "[cli]") {
    using namespace std::chrono_literals;
    const auto shown = [](std::chrono::milliseconds patience, auto work) {
        char *text = nullptr;
        std::size_t size = 0;
        std::FILE *stream = open_memstream(&text, &size);
        {
            output::Progress progress(stream, patience);
            progress.now("first");
            work(progress);
        }
        std::fclose(stream);
        std::string result(text, size);
        std::free(text);
        return result;
    };
    CHECK(shown(10s, [](output::Progress &progress) { progress.now("second"); }).empty());
    CHECK(shown(1ms, [](output::Progress &progress) {
              std::this_thread::sleep_for(200ms);
              progress.now("sec\033ond");
          }) == "\r\033[Kfirst …\r\033[Ksec\\x1bond …\r\033[K");
}
