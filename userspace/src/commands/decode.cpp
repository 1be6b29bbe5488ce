// SPDX-License-Identifier: MIT

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "base/try.hpp"
#include "codec/capture.hpp"
#include "codec/connections.hpp"
#include "codec/text.hpp"
#include "commands/commands.hpp"
#include "commands/option_json.hpp"
#include "commands/packet_filter.hpp"
#include "output/lines.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

using codec::CapturedPacket;
using codec::CaptureReader;
using codec::Content;
using output::Paint;

struct DecodeOptions {
    std::string file;
    FilterWords filter;
};

// An open file, which the reader reads to its end.
class Input {
  public:
    explicit Input(int fd, bool owned) : fd_(fd), owned_(owned) {}
    ~Input() {
        if (owned_)
            ::close(fd_);
    }
    Input(const Input &) = delete;
    Input &operator=(const Input &) = delete;

    [[nodiscard]] bool is_regular() const { return ::lseek(fd_, 0, SEEK_CUR) >= 0; }
    [[nodiscard]] bool rewind() const { return ::lseek(fd_, 0, SEEK_SET) == 0; }
    [[nodiscard]] codec::ReadSome reader() const {
        return [fd = fd_](std::span<std::uint8_t> to) -> std::ptrdiff_t {
            for (;;) {
                const ssize_t got = ::read(fd, to.data(), to.size());
                if (got >= 0 || errno != EINTR)
                    return got >= 0 ? got : -errno;
            }
        };
    }

  private:
    int fd_;
    bool owned_;
};

// What came of all packets, for the last line and the warnings.
struct Totals {
    std::uint64_t packets = 0, shown = 0, mptcp = 0;
    std::uint64_t fragments = 0, cut = 0, malformed = 0;
    std::set<std::uint32_t> unknown_links;
    std::uint64_t on_unknown_links = 0;
    std::vector<std::string> warnings;
};

// One packet with MPTCP options.
struct Seen {
    const CapturedPacket &packet;
    const codec::Segment &segment;
    const codec::OptionList &list;
    std::span<const codec::MptcpOption> options;
    const codec::Connection *connection;
};

void count_other(Totals &totals, const codec::Dissected &dissected, const CapturedPacket &packet) {
    switch (dissected.content) {
    case Content::fragment:
        totals.fragments++;
        break;
    case Content::cut:
        totals.cut++;
        break;
    case Content::malformed:
        totals.malformed++;
        break;
    case Content::unknown_link:
        totals.on_unknown_links++;
        totals.unknown_links.insert(static_cast<std::uint32_t>(packet.link));
        break;
    case Content::tcp:
    case Content::other:
        break;
    }
}

// Calls `use` with each packet that has MPTCP options, until it returns false.
template <class Use>
void for_each_packet(CaptureReader &reader, codec::Connections &connections, Totals &totals, const Use &use) {
    while (const auto packet = reader.next()) {
        totals.packets++;
        const codec::Dissected dissected = codec::dissect(packet->data, packet->wire_length, packet->link);
        if (dissected.content != Content::tcp) {
            count_other(totals, dissected, *packet);
            continue;
        }
        const codec::Segment &segment = dissected.segment;
        const codec::OptionList list = codec::split_options(segment.options, segment.options_length);
        totals.cut += list.cut ? 1 : 0;
        totals.malformed += list.malformed ? 1 : 0;
        const auto options = codec::mptcp_options(list);
        const codec::Connection *connection = connections.learn(segment, options);
        if (options.empty())
            continue;
        totals.mptcp++;
        if (!use(Seen{*packet, segment, list, options, connection}))
            return;
    }
}

std::string line_text(const Seen &seen, std::uint64_t since_ns, const output::Style &style) {
    const std::string connection = seen.connection ? fmt::format("#{}", seen.connection->number) : "-";
    const std::string vlan = seen.segment.vlans.empty()
                                 ? std::string()
                                 : fmt::format(" vlan {}", fmt::join(seen.segment.vlans, "."));
    const std::string on =
        seen.packet.interface.empty() ? std::string() : " " + text::printable(seen.packet.interface);
    std::string all =
        fmt::format("{:>5} {:>12}{}{} {} {} > {} {}", seen.packet.number,
                    fmt::format("{}.{:06}", since_ns / 1000000000, since_ns / 1000 % 1000000), on, vlan,
                    style(Paint::bold, connection), codec::endpoint_text(seen.segment.source),
                    codec::endpoint_text(seen.segment.destination),
                    style(Paint::dim, "[" + codec::flags_text(seen.segment) + "]"));
    for (std::size_t i = 0; i < seen.options.size(); i++)
        all += (i == 0 ? "  " : "; ") + codec::option_text(seen.options[i]);
    if (seen.list.cut)
        all += "; options cut off";
    if (seen.list.malformed)
        all += "; malformed options behind";
    return all + "\n";
}

Json line_json(const Seen &seen) {
    Json all{{"event", "packet"},
             {"number", seen.packet.number},
             {"time",
              fmt::format("{}.{:09}", seen.packet.time_ns / 1000000000, seen.packet.time_ns % 1000000000)}};
    if (!seen.packet.interface.empty())
        all["interface"] = seen.packet.interface;
    if (seen.connection)
        all["connection"] = seen.connection->number;
    all.update(segment_json(seen.segment));
    all["options"] = Json::array();
    for (const codec::MptcpOption &option : seen.options)
        all["options"].push_back(option_json(option));
    if (seen.list.cut)
        all["cut"] = true;
    if (seen.list.malformed)
        all["malformed"] = true;
    return all;
}

void add_warnings(Totals &totals, const std::string &name, const CaptureReader &reader) {
    if (!reader.trouble().empty())
        totals.warnings.push_back(
            fmt::format("{} {}; what stands before that was read", name, reader.trouble()));
    if (totals.on_unknown_links != 0)
        totals.warnings.push_back(fmt::format("{} of link type {} passed over: not one that mpsched knows",
                                              text::count(totals.on_unknown_links, "packet"),
                                              fmt::join(totals.unknown_links, ", ")));
    if (totals.cut != 0)
        totals.warnings.push_back(fmt::format("of {} the TCP options were not captured whole (snap length)",
                                              text::count(totals.cut, "packet")));
    if (totals.fragments != 0)
        totals.warnings.push_back(fmt::format("{} without a TCP header: later fragments of IP packets",
                                              text::count(totals.fragments, "packet")));
    if (totals.malformed != 0)
        totals.warnings.push_back(
            fmt::format("{} with impossible lengths or options", text::count(totals.malformed, "packet")));
}

Json token_json(const std::optional<std::uint32_t> &token) { return token ? Json(*token) : Json(nullptr); }

Json summary_json(const Totals &totals, const codec::Connections &connections) {
    Json all{{"event", "summary"},
             {"packets", totals.packets},
             {"with_mptcp", totals.mptcp},
             {"shown", totals.shown},
             {"fragments", totals.fragments},
             {"cut", totals.cut},
             {"malformed", totals.malformed},
             {"unknown_link_types", totals.unknown_links},
             {"connections", Json::array()},
             {"warnings", totals.warnings}};
    for (const codec::Connection &one : connections.all())
        all["connections"].push_back({{"connection", one.number},
                                      {"client_token", token_json(one.client_token)},
                                      {"server_token", token_json(one.server_token)},
                                      {"joined_token", token_json(one.joined_token)},
                                      {"subflows", one.subflows},
                                      {"packets", one.packets}});
    return all;
}

std::string summary_text(const Totals &totals, const codec::Connections &connections) {
    const auto token = [](const std::optional<std::uint32_t> &one) {
        return one ? fmt::format("{:08x}", *one) : "?";
    };
    std::string all =
        fmt::format("{}, {} with MPTCP options", text::count(totals.packets, "packet"), totals.mptcp);
    all += totals.shown == totals.mptcp ? "\n" : fmt::format(", {} shown\n", totals.shown);
    for (const codec::Connection &one : connections.all()) {
        const std::string tokens =
            one.joined_token
                ? fmt::format("joined by token {}, its beginning was not captured", token(one.joined_token))
                : fmt::format("client's token {}, server's token {}", token(one.client_token),
                              token(one.server_token));
        all += fmt::format("#{}: {}, {}, {}\n", one.number, tokens, text::count(one.subflows, "subflow"),
                           text::count(one.packets, "packet"));
    }
    return all;
}

// The whole file is read once before, so that the first packets of a connection are known by tokens that later ones tell.
Result<void> learn_all(const Input &input, codec::Connections &connections) {
    auto reader = CaptureReader::open(input.reader());
    Totals totals;
    if (reader)
        for_each_packet(*reader, connections, totals, [](const Seen &) { return true; });
    if (!input.rewind())
        return fail(ErrorCode::failed, "the capture cannot be read a second time",
                    "give a file, not a pipe, with --connection");
    return {};
}

Result<Reply> decode(const Context &context, const Input &input, const std::string &name,
                     PacketFilter filter) {
    codec::Connections known;
    if (filter.token && input.is_regular())
        if (auto done = learn_all(input, known); !done)
            return std::unexpected(done.error());
    // By the same packets in the same order, so a connection's number is the same.
    filter.resolve(known);
    auto reader = CaptureReader::open(input.reader());
    if (!reader)
        return fail(ErrorCode::failed, fmt::format("{} {}", name, reader.error().what), reader.error().hint);

    codec::Connections connections;
    Totals totals;
    std::optional<std::uint64_t> first_ns;
    output::Lines out(context.globals.json, context.globals.json_form);
    for_each_packet(*reader, connections, totals, [&](const Seen &seen) {
        first_ns = first_ns.value_or(seen.packet.time_ns);
        if (!filter.wants(seen.segment, seen.options, seen.connection))
            return true;
        totals.shown++;
        const std::uint64_t since = seen.packet.time_ns < *first_ns ? 0 : seen.packet.time_ns - *first_ns;
        return out.json() ? out.write(line_json(seen)) : out.write(line_text(seen, since, context.style));
    });
    add_warnings(totals, name, *reader);
    if (out.json())
        out.write(summary_json(totals, connections));
    else
        out.write(summary_text(totals, connections));
    if (!out.json())
        for (const std::string &warning : totals.warnings)
            std::fprintf(stderr, "mpsched: warning: %s\n", text::printable(warning).c_str());
    if (out.failed())
        return fail(ErrorCode::failed, "cannot write to standard output", "see whether its device is full");
    return Reply{.json = {}, .text = {}, .streamed = true};
}

Result<Reply> run_decode(const Context &context, const DecodeOptions &options) {
    const auto filter = PacketFilter::of(options.filter);
    MPS_TRY(filter);
    if (options.file == "-")
        return decode(context, Input(STDIN_FILENO, false), "standard input", *filter);
    const int fd = ::open(options.file.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(errno == EACCES ? ErrorCode::not_permitted : ErrorCode::usage,
                    fmt::format("{} cannot be opened: {}", text::quoted(options.file), std::strerror(errno)),
                    "name a capture file, or '-' for standard input");
    return decode(context, Input(fd, true), text::quoted(options.file), *filter);
}

} // namespace

void setup_decode(Binder &binder) {
    auto options = std::make_shared<DecodeOptions>();
    binder.argument("FILE", options->file);
    bind_filter(binder, options->filter);
    binder.run([options](const Context &context) { return run_decode(context, *options); });
}

} // namespace mps::cli
