// SPDX-License-Identifier: MIT

#include "service/period.hpp"

#include <algorithm>

namespace mps::service {

namespace {

int days_of_month(int year, int month) {
    // The day before the first of the next month.
    std::tm last{};
    last.tm_year = year;
    last.tm_mon = month + 1;
    last.tm_mday = 0;
    last.tm_hour = 12;
    last.tm_isdst = -1;
    std::mktime(&last);
    return last.tm_mday;
}

std::time_t month_begin(int year, int month, int day) {
    std::tm begin{};
    begin.tm_year = year + (month < 0 ? -1 : 0);
    begin.tm_mon = (month + 12) % 12;
    begin.tm_mday = std::min(day, days_of_month(begin.tm_year, begin.tm_mon));
    begin.tm_isdst = -1;
    return std::mktime(&begin);
}

} // namespace

std::time_t period_start(const config::Period &period, std::time_t anchor, std::time_t now) {
    if (period.month_day) {
        std::tm local{};
        localtime_r(&now, &local);
        const std::time_t begin =
            month_begin(local.tm_year, local.tm_mon, static_cast<int>(period.month_day));
        return begin <= now
                   ? begin
                   : month_begin(local.tm_year, local.tm_mon - 1, static_cast<int>(period.month_day));
    }
    if (!period.seconds)
        return 0;
    const std::time_t length = period.seconds;
    const std::time_t since = now - anchor;
    // Rounded down, also before the anchor.
    return anchor + (since / length - (since % length < 0 ? 1 : 0)) * length;
}

} // namespace mps::service
