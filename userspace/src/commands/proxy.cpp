// SPDX-License-Identifier: MIT
//
// proxy: MPTCP for hosts and servers that have none.
#include <array>
#include <charconv>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/prefix.hpp"
#include "base/try.hpp"
#include "cli/stop_signal.hpp"
#include "commands/commands.hpp"
#include "commands/render.hpp"
#include "output/text.hpp"
#include "proxy/control.hpp"
#include "proxy/keeper.hpp"

namespace mps::cli {

namespace {

using output::Paint;

// ----------------------------------------------------------------------------------------------------- words

struct StartOptions {
    std::vector<std::string> lan, ports, keep_address, from;
    std::optional<std::string> via, listen, to;
    std::string relay;
    bool send_proxy = false, foreground = false;
};

std::optional<std::uint16_t> port_of(const std::string &word) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), port);
    return error == std::errc{} && end == word.data() + word.size() && port ? std::optional(port)
                                                                            : std::nullopt;
}

Result<std::optional<http::Address>>
address_of(std::string_view option, const std::optional<std::string> &word, bool port_will_do = false) {
    if (!word)
        return std::nullopt;
    if (const auto port = port_of(*word); port && port_will_do)
        return http::Address{.port = *port};
    auto address = http::parse_address(*word);
    if (!address)
        return usage_error(fmt::format("option '{}' cannot be {}", option, text::quoted(*word)),
                           "an address and a port: 192.0.2.1:443 or [2001:db8::1]:443");
    return *address;
}

Result<void> check(const StartOptions &options) {
    const bool near = !options.lan.empty();
    if (near == options.listen.has_value())
        return usage_error("'proxy start' needs --lan IFACE (near end) or --listen PORT (far end)",
                           "near the hosts without MPTCP, or near the servers without it; docs/proxy.md");
    if (near && (options.to || !options.from.empty() || options.send_proxy))
        return usage_error("'--to', '--from' and '--send-proxy' are for a far end",
                           "that is one with --listen");
    if (!near && (options.via || !options.ports.empty() || !options.keep_address.empty()))
        return usage_error("'--via', '--port' and '--keep-address' are for a near end",
                           "that is one with --lan");
    if (!near && !options.to && options.from.empty())
        return usage_error("anybody could reach everything by a far end without --to and --from",
                           "--to names the server; --from the near ends that may choose it");
    if (options.via && !options.keep_address.empty())
        return usage_error("'--via' and '--keep-address' exclude each other",
                           "the far end is told of the client's address anyway");
    return {};
}

Result<proxy::Spec> spec_of(const StartOptions &options) {
    MPS_TRY(check(options));
    proxy::Spec spec{
        .lan = options.lan, .keep_address = options.keep_address, .send_proxy = options.send_proxy};
    for (const std::string &word : options.ports) {
        const auto port = port_of(word);
        if (!port)
            return usage_error(fmt::format("option '--port' cannot be {}", text::quoted(word)), "1 to 65535");
        spec.ports.push_back(*port);
    }
    for (const std::string &word : options.from) {
        const auto prefix = read_prefix(word);
        if (!prefix)
            return usage_error(fmt::format("option '--from' cannot be {}", text::quoted(word)),
                               "an address or a prefix: 192.0.2.1 or 2001:db8::/32");
        spec.from.push_back(prefix->text());
    }
    auto via = address_of("--via", options.via), listen = address_of("--listen", options.listen, true),
         to = address_of("--to", options.to);
    MPS_TRY(via);
    MPS_TRY(listen);
    MPS_TRY(to);
    spec.via = *via;
    spec.listen = *listen;
    spec.to = *to;
    auto relay = proxy::find_relay(options.relay);
    MPS_TRY(relay);
    spec.relay = *relay;
    return spec;
}

// ----------------------------------------------------------------------------------------------------- what it says

std::string what_it_does(const Json &one) {
    const auto words = [&](const char *member) {
        return text::join(one.at(member).get<std::vector<std::string>>());
    };
    if (one.at("role") == "near") {
        std::string text = fmt::format("TCP from {} goes on as MPTCP", text::printable(words("lan")));
        if (!one.at("via").is_null())
            text += fmt::format(" by {}", one.at("via").get<std::string>());
        if (!one.at("keep_address").empty())
            text += fmt::format(" from the client's address ({})", text::printable(words("keep_address")));
        return text;
    }
    return fmt::format("MPTCP at {} goes on as TCP to {}", one.at("listen").get<std::string>(),
                       one.at("to").is_null() ? "where " + words("from") + " say"
                                              : one.at("to").get<std::string>());
}

void add_lines(const Json &one, const output::Style &style, std::string &lines) {
    const Json &relay = one.at("relay");
    const std::string state = relay.at("state");
    lines +=
        fmt::format("{}  {}\n", style(Paint::bold, one.at("name").get<std::string>()), what_it_does(one));
    lines += fmt::format("  relay        {} {}, started {}\n",
                         text::printable(relay.at("program").get<std::string>()),
                         style(state == "ready" ? Paint::good : Paint::warn, state),
                         text::count(relay.at("starts").get<std::uint64_t>(), "time"));
    if (!one.contains("connections"))
        return;
    const Json &seen = one.at("connections");
    lines +=
        fmt::format("  connections  {} taken, {} left alone that speak MPTCP, {} passed without a relay\n",
                    seen.at("taken").get<std::uint64_t>(), seen.at("mptcp").get<std::uint64_t>(),
                    seen.at("no_relay").get<std::uint64_t>() + seen.at("failed").get<std::uint64_t>());
}

Reply started(const Json &status, const output::Style &style) {
    return Reply{.json = status,
                 .text = fmt::format("{}  {}\n", style(Paint::bold, status.at("name").get<std::string>()),
                                     what_it_does(status))};
}

// ----------------------------------------------------------------------------------------------------- start

Result<Reply> stay(const Context &context, const proxy::Spec &spec) {
    const StopSignal stop;
    const auto keeper = proxy::Keeper::start(spec, true);
    MPS_TRY(keeper);
    const Reply reply = started((*keeper)->status(), context.style);
    fmt::print("{}", context.globals.json ? json_text(reply.json) : reply.text);
    std::fflush(stdout);
    (*keeper)->run(stop.fd());
    return Reply{.streamed = true};
}

// What the process that goes on has to tell the one that was called.
Json told(const Result<std::unique_ptr<proxy::Keeper>> &keeper) {
    if (keeper)
        return {{"status", (*keeper)->status()}};
    const Error &error = keeper.error();
    return {{"code", static_cast<int>(error.code)},
            {"kind", static_cast<int>(error.kind)},
            {"what", error.what},
            {"hint", error.hint},
            {"detail", error.detail}};
}

[[noreturn]] void go_on(const proxy::Spec &spec, Fd caller) {
    ::setsid();
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        ::dup2(null, fd);
    if (::chdir("/") != 0)
        ::_exit(1);
    {
        const StopSignal stop;
        const auto keeper = proxy::Keeper::start(spec, false);
        const std::string words = told(keeper).dump(-1, ' ', false, Json::error_handler_t::replace);
        const bool is_told =
            ::write(caller.get(), words.data(), words.size()) == static_cast<ssize_t>(words.size());
        caller.reset();
        if (keeper && is_told)
            (*keeper)->run(stop.fd());
    }
    ::_exit(0);
}

Result<Reply> leave_behind(const Context &context, const proxy::Spec &spec) {
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0)
        return std::unexpected(system_error(errno, "making a pipe"));
    const Fd ours(pipe[0]);
    Fd theirs(pipe[1]);
    const pid_t pid = ::fork();
    if (pid < 0)
        return std::unexpected(system_error(errno, "starting a process"));
    if (pid == 0)
        go_on(spec, std::move(theirs));
    theirs.reset();
    std::string words;
    std::array<char, 4096> buffer;
    for (ssize_t length; (length = ::read(ours.get(), buffer.data(), buffer.size())) != 0;)
        if (length > 0)
            words.append(buffer.data(), static_cast<std::size_t>(length));
        else if (errno != EINTR)
            break;
    const Json answer = Json::parse(words, nullptr, false);
    if (!answer.is_object())
        return fail(ErrorCode::failed, "the proxy ended before it began", "see it with --foreground");
    if (answer.contains("status"))
        return started(answer.at("status"), context.style);
    return std::unexpected(Error{.code = static_cast<ErrorCode>(answer.at("code").get<int>()),
                                 .what = answer.at("what"),
                                 .hint = answer.at("hint"),
                                 .detail = answer.at("detail"),
                                 .kind = static_cast<ErrorKind>(answer.at("kind").get<int>())});
}

Result<Reply> run_start(const Context &context, const StartOptions &options) {
    const auto spec = spec_of(options);
    MPS_TRY(spec);
    MPS_TRY(move_to_netns(context.globals.netns));
    return options.foreground ? stay(context, *spec) : leave_behind(context, *spec);
}

// ----------------------------------------------------------------------------------------------------- status, stop

Result<Reply> run_status(const Context &context) {
    MPS_TRY(move_to_netns(context.globals.netns));
    const auto names = proxy::keepers();
    MPS_TRY(names);
    Reply reply{.json = Json::array(), .text = {}};
    for (const std::string &name : *names) {
        const auto one = proxy::ask_keeper(name, "status");
        MPS_TRY(one);
        add_lines(*one, context.style, reply.text);
        reply.json.push_back(*one);
    }
    if (names->empty())
        reply.text = "no proxy runs in this network namespace; 'mpsched proxy start' starts one\n";
    return reply;
}

Result<Reply> run_stop(const Context &context, const std::optional<std::string> &name) {
    MPS_TRY(move_to_netns(context.globals.netns));
    auto names = proxy::keepers();
    MPS_TRY(names);
    if (name)
        *names = {*name};
    Reply reply{.json = {{"stopped", *names}}, .text = {}};
    for (const std::string &one : *names) {
        MPS_TRY(proxy::ask_keeper(one, "stop"));
        reply.text += fmt::format("stopped {}\n", text::printable(one));
    }
    // What one that was killed has left; it does nothing any more.
    const auto still = proxy::keepers();
    MPS_TRY(still);
    std::vector<std::string> cleaned;
    if (std::ranges::find(*still, "near") == still->end()) {
        auto left = remove_interception();
        MPS_TRY(left);
        cleaned = std::move(*left);
    }
    reply.json["cleaned"] = cleaned;
    if (!cleaned.empty())
        reply.text +=
            fmt::format("removed what a proxy that was killed had left on {}\n", text::join(cleaned));
    if (reply.text.empty())
        reply.text = "no proxy ran in this network namespace\n";
    return reply;
}

} // namespace

void setup_proxy_start(Binder &binder) {
    auto options = std::make_shared<StartOptions>();
    binder.option("--lan", options->lan);
    binder.option("--port", options->ports);
    binder.option("--via", options->via);
    binder.option("--keep-address", options->keep_address);
    binder.option("--listen", options->listen);
    binder.option("--to", options->to);
    binder.option("--from", options->from);
    binder.flag("--send-proxy", options->send_proxy);
    binder.option("--relay", options->relay);
    binder.flag("--foreground", options->foreground);
    binder.run([options](const Context &context) { return run_start(context, *options); });
}

void setup_proxy_status(Binder &binder) { binder.run(run_status); }

void setup_proxy_stop(Binder &binder) {
    auto name = std::make_shared<std::optional<std::string>>();
    binder.argument("NAME", *name);
    binder.run([name](const Context &context) { return run_stop(context, *name); });
}

} // namespace mps::cli
