// SPDX-License-Identifier: MIT
#include "read_workload.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "changes.hpp"

namespace mps::lab {
namespace {

using Kind = Workload::Kind;

constexpr double max_bytes = 16e9;

void read_duration(Section &section, Workload &workload) {
    workload.duration_s = section.number("duration_s", 0, 0.1, max_duration_s);
}

void need_either(Section &section, const char *key) {
    if (section.has(key) == section.has("duration_s")) {
        section.mistake(section.has(key) ? key : "kind",
                        fmt::format("[workload] needs one of \"{}\" and \"duration_s\"", key),
                        "the amount of work, or how long it goes on");
    }
}

void read_bulk(Section &section, Workload &workload) {
    workload.bytes = section.integer<std::uint64_t>("bytes", 0, 1, max_bytes);
    read_duration(section, workload);
    need_either(section, "bytes");
}

void read_requests(Section &section, Workload &workload) {
    section.require("sizes_bytes", "a list of sizes, for example [1000, 100_000]");
    for (const double size : section.numbers("sizes_bytes", 1, max_bytes)) {
        workload.sizes_bytes.push_back(static_cast<std::uint64_t>(size));
    }
    workload.other_bytes = section.integer<std::uint64_t>("other_bytes", 1, 1, max_bytes);
    workload.counts = section.integers("count", workload.sizes_bytes.size(), 1, 1'000'000);
    read_duration(section, workload);
    need_either(section, "count");
    if (workload.duration_s > 0 && workload.sizes_bytes.size() > 1) {
        section.mistake("duration_s", "with several sizes [workload] needs a \"count\"", "of each size");
    }
    workload.gap_ms = section.number("gap_ms", 0, 0, 60'000);
    workload.range_bytes = section.integer<std::uint64_t>("range_bytes", 0, 1, max_bytes);
    if (workload.range_bytes != 0 && workload.direction != Direction::download) {
        section.mistake("range_bytes", "\"range_bytes\" is for downloads",
                        "the server sends what it is asked for, range by range");
    }
    using Connections = Workload::Connections;
    workload.reuse = section.choice<Connections>(
        "connection_per", Connections::per_size,
        {{"run", Connections::one}, {"size", Connections::per_size}, {"request", Connections::per_request}});
}

void read_stream(Section &section, Workload &workload) {
    for (const auto *key : {"stream_mbit", "message_bytes", "duration_s"}) {
        section.require(key, "a stream has stream_mbit, message_bytes and duration_s");
    }
    workload.stream_mbit = section.number("stream_mbit", 1, 0.001, max_rate_mbit);
    workload.message_bytes = section.integer<std::uint64_t>("message_bytes", 1000, 64, 16e6);
    read_duration(section, workload);
}

void read_video(Section &section, Workload &workload) {
    for (const auto *key : {"chunk_s", "buffer_s", "ladder_mbit", "duration_s"}) {
        section.require(key, "video has chunk_s, buffer_s, ladder_mbit and duration_s");
    }
    workload.chunk_s = section.number("chunk_s", 5, 0.1, 60);
    workload.buffer_s = section.number("buffer_s", 15, 0.1, 600);
    workload.ladder_mbit = section.numbers("ladder_mbit", 0.01, max_rate_mbit);
    std::ranges::sort(workload.ladder_mbit);
    read_duration(section, workload);
}

} // namespace

Workload read_workload(const toml::table &table, Mistakes &mistakes) {
    Section section(table, "[workload]", mistakes);
    Workload workload;
    section.require("kind", "one of \"bulk\", \"requests\", \"stream\", \"video\"");
    workload.kind = section.choice<Kind>("kind", Kind::bulk,
                                         {{"bulk", Kind::bulk},
                                          {"requests", Kind::requests},
                                          {"stream", Kind::stream},
                                          {"video", Kind::video}});
    workload.direction = section.choice<Direction>(
        "direction", Direction::upload, {{"upload", Direction::upload}, {"download", Direction::download}});
    constexpr double most_connections = 64;
    workload.connections = section.integer("connections", 1U, 1, most_connections);
    workload.settle_ms = section.number("settle_ms", workload.settle_ms, 0, 60'000);
    workload.look_ms = section.number("look_ms", workload.look_ms, 1, 10'000);
    switch (workload.kind) {
    case Kind::bulk:
        read_bulk(section, workload);
        break;
    case Kind::requests:
        read_requests(section, workload);
        break;
    case Kind::stream:
        read_stream(section, workload);
        break;
    case Kind::video:
        read_video(section, workload);
        break;
    }
    const bool has_exchanges = workload.kind == Kind::requests || workload.kind == Kind::video;
    workload.deadline_ms = has_exchanges ? section.number("deadline_ms", 0, 1, 600'000) : 0;
    section.finish();
    return workload;
}

} // namespace mps::lab
