// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "mpsched/log.hpp"

namespace mps {

// Every way into the library makes one: while it lives, what this thread logs goes to this sink, or nowhere. They nest.
class LogScope {
  public:
    explicit LogScope(const LogSink &sink);
    ~LogScope();
    LogScope(LogScope &&other) noexcept
        : outer_(other.outer_), is_open_(std::exchange(other.is_open_, false)) {}
    LogScope &operator=(LogScope &&) = delete;

  private:
    const LogSink *outer_;
    bool is_open_ = true;
};

// One or more lines to the sink of the innermost scope, if it has one.
void log_lines(std::string_view text);

// Collects libbpf's messages of this thread while it lives; they also go to the sink. Instances nest.
class LibbpfMessages {
  public:
    LibbpfMessages();
    ~LibbpfMessages();
    LibbpfMessages(const LibbpfMessages &) = delete;
    LibbpfMessages &operator=(const LibbpfMessages &) = delete;

    // The warnings, one a line, without libbpf's prefix. Debug and info messages are not kept.
    [[nodiscard]] const std::string &warnings() const { return warnings_; }

  private:
    friend struct LibbpfPrinter;
    std::string warnings_;
    LibbpfMessages *outer_ = nullptr;
};

} // namespace mps
