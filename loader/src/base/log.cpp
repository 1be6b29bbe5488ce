// SPDX-License-Identifier: MIT
#include "base/log.hpp"

#include <bpf/libbpf.h>

#include <array>
#include <cstdarg>
#include <cstdio>
#include <utility>

namespace mps {

namespace {

LogSink &sink() {
    static LogSink instance;
    return instance;
}

thread_local LibbpfMessages *innermost = nullptr;

} // namespace

struct LibbpfPrinter {
    __attribute__((format(printf, 2, 0))) static int print(enum libbpf_print_level level, const char *format,
                                                           va_list args) {
        if (!innermost && !sink())
            return 0;
        va_list again;
        va_copy(again, args);
        std::array<char, 512> small{};
        std::string large;
        const char *text = small.data();
        const int length = std::vsnprintf(small.data(), small.size(), format, args);
        // Verifier logs come through here as one message.
        if (length >= static_cast<int>(small.size())) {
            large.resize(static_cast<std::size_t>(length) + 1);
            std::vsnprintf(large.data(), large.size(), format, again);
            text = large.c_str();
        }
        va_end(again);

        std::string_view message = text;
        log_lines(message);
        if (innermost && level == LIBBPF_WARN) {
            if (message.starts_with("libbpf: "))
                message.remove_prefix(8);
            innermost->warnings_ += message;
        }
        return 0;
    }
};

void set_log_sink(LogSink new_sink) {
    sink() = std::move(new_sink);
    capture_libbpf();
}

void capture_libbpf() { libbpf_set_print(LibbpfPrinter::print); }

void log_lines(std::string_view text) {
    if (!sink())
        return;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        sink()(text.substr(0, end));
        if (end == std::string_view::npos)
            break;
        text.remove_prefix(end + 1);
    }
}

LibbpfMessages::LibbpfMessages() : outer_(innermost) {
    innermost = this;
    capture_libbpf();
}

LibbpfMessages::~LibbpfMessages() { innermost = outer_; }

} // namespace mps
