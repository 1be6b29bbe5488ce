// SPDX-License-Identifier: MIT
#include "common/log.hpp"

#include <bpf/libbpf.h>

#include <array>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <utility>

namespace mps {

namespace {

// Of the innermost LogScope; an empty function is a scope without a sink.
thread_local const LogSink *sink = nullptr;
thread_local LibbpfMessages *innermost = nullptr;

// Of a program that uses libbpf as well: what is not ours goes where it went before.
libbpf_print_fn_t others = nullptr;

} // namespace

struct LibbpfPrinter {
    __attribute__((format(printf, 2, 0))) static int print(enum libbpf_print_level level, const char *format,
                                                           va_list args) {
        if (!sink && !innermost)
            return others ? others(level, format, args) : 0;
        if (!innermost && !*sink)
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

namespace {

// libbpf has one printer for the whole process, and writes to stderr by itself without.
void capture_libbpf() {
    static std::once_flag once;
    std::call_once(once, [] { others = libbpf_set_print(LibbpfPrinter::print); });
}

} // namespace

LogScope::LogScope(const LogSink &here) : outer_(std::exchange(sink, &here)) { capture_libbpf(); }

LogScope::~LogScope() {
    if (is_open_)
        sink = outer_;
}

void log_lines(std::string_view text) {
    if (!sink || !*sink)
        return;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        (*sink)(text.substr(0, end));
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
