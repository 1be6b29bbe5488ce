// SPDX-License-Identifier: MIT

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <poll.h>

#include "base/try.hpp"
#include "cli/stop_signal.hpp"
#include "codec/segment.hpp"
#include "commands/commands.hpp"
#include "commands/numbers.hpp"
#include "commands/packet_filter.hpp"
#include "commands/trace_lines.hpp"
#include "mpsched/trace.hpp"
#include "output/bounded_file.hpp"
#include "output/lines.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

struct TraceOptions {
    std::vector<std::string> interfaces;
    FilterWords filter;
    std::optional<std::string> file, count, seconds;
    std::string max_size;
};

constexpr std::uint64_t least_size = 4096;

// "64M": powers of 1000.
std::optional<std::uint64_t> size_of_word(std::string_view word) {
    std::uint64_t value = 0, factor = 1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    std::string_view unit(end, static_cast<std::size_t>(word.data() + word.size() - end));
    if (unit.ends_with('B'))
        unit.remove_suffix(1);
    if (error != std::errc() || unit.size() > 1)
        return std::nullopt;
    for (const char letter : std::string_view(unit.empty()  ? ""
                                              : unit == "k" ? "1"
                                              : unit == "M" ? "12"
                                              : unit == "G" ? "123"
                                                            : "?"))
        factor = letter == '?' ? 0 : factor * 1000;
    if (factor == 0 || value > UINT64_MAX / factor)
        return std::nullopt;
    return value * factor;
}

// Where lines go: standard output, or a file of bounded size.
class Sink {
  public:
    Sink(bool json, int json_form, output::BoundedFile *file)
        : out_(json, json_form), file_(file), json_form_(json_form) {}

    void write(const std::string &line) {
        if (file_)
            failed_ = failed_ || !file_->write(line);
        else
            ended_ = !out_.write(line);
    }
    void write(Json document) {
        if (json_form_ == 2) {
            Json versioned{{"version", 2}};
            versioned.update(document);
            document = std::move(versioned);
        }
        write(document.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    }
    [[nodiscard]] bool json() const { return out_.json(); }
    // Nobody reads it any more, or it cannot be written.
    [[nodiscard]] bool ended() const { return ended_ || failed_; }
    [[nodiscard]] bool failed() const { return failed_ || out_.failed(); }

  private:
    output::Lines out_;
    output::BoundedFile *file_;
    int json_form_;
    bool ended_ = false, failed_ = false;
};

class Tracing {
  public:
    Tracing(const PacketFilter &filter, Sink &sink, std::optional<std::uint64_t> most,
            const output::Style &style)
        : filter_(filter), token_(filter.token), sink_(sink), most_(most), style_(style) {
        filter_.token.reset(); // the kernel has chosen by it; what is left is for is_of_connection()
    }

    void tell(const TracePacket &packet) {
        const auto dissected = codec::dissect(packet.octets, packet.wire_bytes, codec::LinkType::raw);
        if (done() || dissected.content != codec::Content::tcp)
            return;
        const auto list = codec::split_options(dissected.segment.options, dissected.segment.options_length);
        const auto options = codec::mptcp_options(list);
        if (options.empty() || !is_of_connection(packet, options) ||
            !filter_.wants(dissected.segment, options, nullptr))
            return;
        packets_++;
        if (sink_.json())
            sink_.write(trace_json(packet, dissected.segment, options));
        else
            sink_.write(trace_text(packet, dissected.segment, options, style_));
    }

    void tell(const TraceVerdict &verdict) {
        if (done())
            return;
        verdicts_++;
        if (sink_.json())
            sink_.write(trace_json(verdict));
        else
            sink_.write(trace_text(verdict, style_));
    }

    [[nodiscard]] bool done() const { return sink_.ended() || (most_ && packets_ + verdicts_ >= *most_); }
    [[nodiscard]] std::uint64_t packets() const { return packets_; }
    [[nodiscard]] std::uint64_t verdicts() const { return verdicts_; }

  private:
    // A packet for which there is no socket yet may be a join that names the token.
    [[nodiscard]] bool is_of_connection(const TracePacket &packet,
                                        std::span<const codec::MptcpOption> options) const {
        if (!token_ || packet.token)
            return !token_ || packet.token == token_;
        return std::ranges::any_of(options, [&](const codec::MptcpOption &option) {
            return option.number(MPTCP_FIELD_token) == *token_;
        });
    }

    PacketFilter filter_;
    std::optional<std::uint32_t> token_;
    Sink &sink_;
    std::optional<std::uint64_t> most_;
    output::Style style_;
    std::uint64_t packets_ = 0, verdicts_ = 0;
};

// Until a signal, the time, or enough was told.
Result<void> run_until_stopped(Trace &trace, Tracing &tracing, std::optional<std::uint64_t> seconds,
                               output::BoundedFile *file) {
    using Clock = std::chrono::steady_clock;
    const TraceHandlers handlers{.packet = [&](const TracePacket &packet) { tracing.tell(packet); },
                                 .verdict = [&](const TraceVerdict &verdict) { tracing.tell(verdict); }};
    const StopSignal stop;
    const auto end = Clock::now() + std::chrono::seconds(seconds.value_or(0));
    pollfd waiting[] = {{.fd = stop.fd(), .events = POLLIN, .revents = 0},
                        {.fd = trace.fd(), .events = POLLIN, .revents = 0}};
    for (bool stopped = false; !stopped && !tracing.done();) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
        const int patience = seconds ? static_cast<int>(std::clamp<std::int64_t>(left, 0, 1000)) : -1;
        if (::poll(waiting, std::size(waiting), patience) < 0 && errno != EINTR)
            return fail(ErrorCode::failed, fmt::format("waiting for packets: {}", std::strerror(errno)),
                        "try again");
        stopped = waiting[0].revents != 0 || (seconds && Clock::now() >= end);
        if (auto done = trace.read(handlers); !done)
            return done;
        if (file)
            file->flush();
    }
    return {};
}

std::string summary_text(const Tracing &tracing, std::uint64_t lost,
                         const std::vector<std::string> &interfaces) {
    return fmt::format("{} and {} on {}{}\n", text::count(tracing.packets(), "packet"),
                       text::count(tracing.verdicts(), "verdict"), text::printable(text::join(interfaces)),
                       lost == 0 ? "" : fmt::format("; {} lost", text::grouped(lost)));
}

Result<Reply> tell_end(const Context &context, const Trace &trace, const Tracing &tracing, const Sink &sink,
                       const output::BoundedFile *file, const TraceOptions &options) {
    const auto lost = trace.lost();
    MPS_TRY(lost);
    if (sink.failed())
        return fail(
            ErrorCode::failed,
            fmt::format("cannot write to {}", options.file ? text::quoted(*options.file) : "standard output"),
            "see whether its device is full");
    std::vector<std::string> warnings;
    if (*lost != 0)
        warnings.push_back(fmt::format("{} packets and verdicts were lost: more came than could be written",
                                       text::grouped(*lost)));
    if (file && file->turned())
        warnings.push_back(fmt::format("{} was full: older lines are in {}.1, the oldest may be gone",
                                       text::quoted(*options.file), text::printable(*options.file)));
    output::Lines out(context.globals.json, context.globals.json_form);
    if (out.json())
        out.write(Json{{"event", "summary"},
                       {"interfaces", trace.interfaces()},
                       {"packets", tracing.packets()},
                       {"verdicts", tracing.verdicts()},
                       {"lost", *lost},
                       {"warnings", warnings}});
    else
        out.write(summary_text(tracing, *lost, trace.interfaces()));
    if (!out.json())
        for (const std::string &warning : warnings)
            std::fprintf(stderr, "mpsched: warning: %s\n", warning.c_str());
    return Reply{.json = {}, .text = {}, .streamed = true};
}

Result<std::optional<output::BoundedFile>> open_file(const TraceOptions &options) {
    const auto size = size_of_word(options.max_size);
    if (!size || *size < least_size)
        return usage_error(
            fmt::format("{} is no size of at least {} bytes", text::quoted(options.max_size), least_size),
            "for example --max-size 10M");
    if (!options.file)
        return std::nullopt;
    auto file = output::BoundedFile::open(*options.file, *size);
    if (!file)
        return fail(
            ErrorCode::failed,
            fmt::format("{} cannot be written: {}", text::quoted(*options.file), std::strerror(file.error())),
            "name a file in a directory that you may write to");
    return std::optional(std::move(*file));
}

Result<Reply> run_trace(const Context &context, const TraceOptions &options) {
    const auto filter = PacketFilter::of(options.filter);
    MPS_TRY(filter);
    const auto count = number_of_word(options.count, "--count");
    MPS_TRY(count);
    const auto seconds = number_of_word(options.seconds, "--seconds");
    MPS_TRY(seconds);
    const auto instance = context.open();
    MPS_TRY(instance);
    auto trace = start_trace(*instance, {.interfaces = options.interfaces, .token = filter->token});
    MPS_TRY(trace);
    // Last, so that nothing is emptied for a command that cannot run.
    auto opened = open_file(options);
    MPS_TRY(opened);
    output::BoundedFile *file = *opened ? &**opened : nullptr;
    Sink sink(context.globals.json, context.globals.json_form, file);
    Tracing tracing(*filter, sink, *count, file ? output::Style() : context.style);
    if (!context.globals.json)
        std::fprintf(stderr, "mpsched: tracing %s; Ctrl-C ends it\n",
                     text::printable(text::join(trace->interfaces())).c_str());
    MPS_TRY(run_until_stopped(*trace, tracing, *seconds, file));
    return tell_end(context, *trace, tracing, sink, file, options);
}

} // namespace

void setup_trace(Binder &binder) {
    auto options = std::make_shared<TraceOptions>();
    binder.argument("IFACE", options->interfaces);
    bind_filter(binder, options->filter);
    binder.option("--write", options->file);
    binder.option("--max-size", options->max_size);
    binder.option("--count", options->count);
    binder.option("--seconds", options->seconds);
    binder.run([options](const Context &context) { return run_trace(context, *options); });
}

} // namespace mps::cli
