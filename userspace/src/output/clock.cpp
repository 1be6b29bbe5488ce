// SPDX-License-Identifier: MIT

#include "output/clock.hpp"

#include <chrono>
#include <ctime>

#include <fmt/format.h>

namespace mps::output {

namespace {

struct Now {
    std::tm parts{};
    long ms = 0;
};

Now now(bool utc) {
    const auto time = std::chrono::system_clock::now();
    const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
    Now result{
        .ms = static_cast<long>(
            std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count() % 1000)};
    (utc ? gmtime_r : localtime_r)(&seconds, &result.parts);
    return result;
}

std::string of_day(const Now &time) {
    return fmt::format("{:02}:{:02}:{:02}.{:03}", time.parts.tm_hour, time.parts.tm_min, time.parts.tm_sec,
                       time.ms);
}

} // namespace

std::string clock_for_people() { return of_day(now(false)); }

std::string clock_for_programs() {
    const Now time = now(true);
    return fmt::format("{:04}-{:02}-{:02}T{}Z", time.parts.tm_year + 1900, time.parts.tm_mon + 1,
                       time.parts.tm_mday, of_day(time));
}

} // namespace mps::output
