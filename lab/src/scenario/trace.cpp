// SPDX-License-Identifier: MIT
#include "trace.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/files.hpp"
#include "base/try.hpp"
#include "changes.hpp"

namespace mps::lab {
namespace {

constexpr double opportunity_bytes = 1500; // mm-link(1)
constexpr double least_mbit = 0.01;        // below it nothing gets through within the time of a step

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t\r");
    return first == std::string_view::npos ? std::string_view()
                                           : text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::optional<double> number(std::string_view text) {
    text = trimmed(text);
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size() && std::isfinite(value)
               ? std::optional(value)
               : std::nullopt;
}

/// The numbers of one line; empty if it has something else.
std::vector<double> row(std::string_view line) {
    std::vector<double> values;
    while (true) {
        const auto comma = line.find(',');
        const auto value = number(line.substr(0, comma));
        if (!value) {
            return {};
        }
        values.push_back(*value);
        if (comma == std::string_view::npos) {
            return values;
        }
        line.remove_prefix(comma + 1);
    }
}

std::unexpected<Error> wrong(std::size_t line, std::string_view what) {
    return fail(
        fmt::format("line {}: {}", line, what),
        "a trace is of lines \"seconds, bytes/s\" or \"seconds, bytes/s, delay in ms\", or (Mahimahi) of one number each, the "
        "milliseconds at which a packet may leave",
        EINVAL);
}

struct Row {
    std::size_t line = 0;
    std::vector<double> values;
};

Result<std::vector<Row>> read_rows(std::string_view text) {
    std::vector<Row> rows;
    bool named = false;
    for (std::size_t line = 1; !text.empty(); ++line) {
        const auto end = text.find('\n');
        const auto words = trimmed(text.substr(0, end));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        if (words.empty() || words.starts_with('#')) {
            continue;
        }
        auto values = row(words);
        // A line of names may stand above the numbers.
        if (values.empty() && rows.empty() && words.find(',') != std::string_view::npos &&
            !std::exchange(named, true)) {
            continue;
        }
        if (values.empty() || values.size() > 3) {
            return wrong(line, fmt::format("\"{}\" is not one to three numbers", words));
        }
        if (!rows.empty() && values.size() != rows.front().values.size()) {
            return wrong(line, fmt::format("{} numbers, where line {} has {}", values.size(),
                                           rows.front().line, rows.front().values.size()));
        }
        if (!rows.empty() && (values[0] < rows.back().values[0] ||
                              (values.size() > 1 && values[0] == rows.back().values[0]))) {
            return wrong(line, fmt::format("the time {} is not after {}", values[0], rows.back().values[0]));
        }
        if (std::ranges::any_of(values, [](double value) { return value < 0; })) {
            return wrong(line, "a number is negative");
        }
        rows.push_back({line, std::move(values)});
    }
    if (rows.empty()) {
        return wrong(1, "there is nothing in it");
    }
    return rows;
}

/// From times at which a packet may leave to rates.
Result<Trace> from_opportunities(const std::vector<Row> &rows, double bin_s) {
    Trace trace;
    const double last_ms = rows.back().values[0];
    if (last_ms <= 0 || last_ms > max_duration_s * 1e3) {
        return wrong(rows.back().line, fmt::format("a trace ends between 1 and {} ms", max_duration_s * 1e3));
    }
    const auto bins = static_cast<std::size_t>(std::ceil(last_ms / 1e3 / bin_s));
    trace.steps.resize(bins);
    trace.length_s = last_ms / 1e3;
    for (std::size_t i = 0; i < bins; ++i) {
        trace.steps[i].at_s = static_cast<double>(i) * bin_s;
    }
    for (const auto &one : rows) {
        // The last one stands at the end of the last bin.
        const auto bin = std::min(static_cast<std::size_t>(one.values[0] / 1e3 / bin_s), bins - 1);
        trace.steps[bin].mbit += opportunity_bytes * 8 / 1e6;
    }
    for (auto &step : trace.steps) {
        step.mbit /= std::min(bin_s, trace.length_s - step.at_s);
    }
    return trace;
}

Result<Trace> from_rates(const std::vector<Row> &rows) {
    Trace trace;
    for (const auto &one : rows) {
        const auto &values = one.values;
        const double mbit = values[1] * 8 / 1e6;
        if (values[0] > max_duration_s || mbit > max_rate_mbit ||
            (values.size() > 2 && values[2] > max_delay_ms)) {
            return wrong(one.line, fmt::format("more than {} s, {} Mbit/s or {} ms", max_duration_s,
                                               max_rate_mbit, max_delay_ms));
        }
        trace.steps.push_back({.at_s = values[0] - rows.front().values[0],
                               .mbit = mbit,
                               .delay_ms = values.size() > 2 ? std::optional(values[2]) : std::nullopt});
    }
    const auto &steps = trace.steps;
    const double last_s = steps.size() > 1 ? steps.back().at_s - steps[steps.size() - 2].at_s : 1;
    trace.length_s = steps.back().at_s + last_s;
    return trace;
}

/// What a trace says at a time.
const Trace::Step &at(const Trace &trace, double time_s) {
    constexpr double rounding = 1e-9;
    const double within = std::fmod(time_s + rounding, trace.length_s) + rounding;
    const auto after = std::ranges::upper_bound(trace.steps, within, {}, &Trace::Step::at_s);
    return after == trace.steps.begin() ? trace.steps.front() : *std::prev(after);
}

} // namespace

Result<Trace> parse_trace(std::string_view text, double bin_s) {
    auto rows = read_rows(text);
    MPS_TRY(rows);
    return rows->front().values.size() == 1 ? from_opportunities(*rows, bin_s) : from_rates(*rows);
}

Result<Trace> find_trace(const std::string &name, const std::string &folder, double bin_s) {
    std::vector<std::string_view> names;
    const auto parse = [&](std::string_view text) {
        auto trace = parse_trace(text, bin_s);
        if (!trace) {
            trace.error().what = fmt::format("{}: {}", name, trace.error().what);
        }
        return trace;
    };
    for (const auto &one : builtin_traces()) {
        if (one.id == name) {
            return parse(one.text);
        }
        names.push_back(one.id);
    }
    const auto text = read_file(std::filesystem::path(folder) / name);
    if (!text) {
        return fail(
            fmt::format("there is no trace \"{}\"", name),
            fmt::format("there are {}; or a file, relative to the scenario's", fmt::join(names, ", ")),
            EINVAL);
    }
    return parse(*text);
}

PathTrace join(const Trace &up, const Trace &down) {
    PathTrace both{.length_s = std::max(up.length_s, down.length_s)};
    std::vector<double> times;
    for (const auto *trace : {&up, &down}) {
        for (double begin = 0; begin < both.length_s; begin += trace->length_s) {
            for (const auto &step : trace->steps) {
                if (begin + step.at_s < both.length_s) {
                    times.push_back(begin + step.at_s);
                }
            }
        }
    }
    std::ranges::sort(times);
    const auto repeated = std::ranges::unique(times);
    times.erase(repeated.begin(), repeated.end());
    for (const double time : times) {
        const auto &there = at(up, time);
        const auto &back = at(down, time);
        both.steps.push_back({.at_s = time,
                              .rate_mbit = std::max(there.mbit, least_mbit),
                              .down_rate_mbit = std::max(back.mbit, least_mbit),
                              .delay_ms = there.delay_ms,
                              .dead = there.mbit < least_mbit || back.mbit < least_mbit});
    }
    return both;
}

} // namespace mps::lab
