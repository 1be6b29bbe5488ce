// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include "mpsched/log.hpp"

namespace mps {

// One or more lines to the sink, if there is one.
void log_lines(std::string_view text);

// Keeps libbpf from writing to stderr by itself. Cheap; called by every way into the library.
void capture_libbpf();

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
