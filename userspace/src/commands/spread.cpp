// SPDX-License-Identifier: MIT
//
// spread: subflows on different paths of equal cost.
#include <cerrno>
#include <charconv>
#include <fstream>
#include <memory>

#include <fmt/format.h>

#include "base/try.hpp"
#include "commands/commands.hpp"
#include "mpsched/spread.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

using output::Align;
using output::Paint;

template <class T>
Json or_null(const std::optional<T> &value) {
    return value ? Json(*value) : Json();
}

Json interface_json(const SpreadInterface &one) {
    return {{"name", one.name},
            {"speed_bit_s", or_null(one.speed_bit_s)},
            {"rate_bit_s", one.rate_bit_s},
            {"problem", one.problem.empty() ? Json() : Json(one.problem)}};
}

Json route_json(const SpreadRoute &route) {
    return {{"by", route.by},
            {"local", route.local},
            {"peer", route.peer},
            {"peer_port", route.peer_port ? Json(route.peer_port) : Json()},
            {"paths", route.paths}};
}

Json subflow_json(const SpreadSubflow &one) {
    return {{"local", one.local},
            {"peer", one.peer},
            {"token", fmt::format("{:08x}", one.token)},
            {"interface", one.interface},
            {"label", or_null(one.label)},
            {"port", or_null(one.port)},
            {"path", or_null(one.path)},
            {"moves", one.moves},
            {"rate_bit_s", one.rate_bit_s}};
}

template <class T>
Json list_json(const std::vector<T> &list, Json (*json)(const T &)) {
    Json all = Json::array();
    for (const T &one : list)
        all.push_back(json(one));
    return all;
}

std::string mbit(std::uint64_t bit_s) {
    return fmt::format("{:.3g} Mbit/s", static_cast<double>(bit_s) / 1e6);
}

// ----------------------------------------------------------------------------------------------------- on

struct OnOptions {
    std::vector<std::string> interfaces;
    std::optional<std::string> map;
    bool no_map = false;
    bool no_move = false;
};

Result<std::optional<SpreadMap>> wanted_map(const OnOptions &options) {
    if (options.map && options.no_map)
        return usage_error("--map and --no-map exclude each other", "leave one of them out");
    if (options.no_map)
        return SpreadMap{};
    if (!options.map)
        return std::nullopt;
    auto map = read_spread_map(*options.map);
    MPS_TRY(map);
    return std::move(*map);
}

Result<Reply> run_on(const Context &context, const OnOptions &options) {
    auto map = wanted_map(options);
    MPS_TRY(map);
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto done = spread_on(
        *instance, {.interfaces = options.interfaces, .map = std::move(*map), .moves = !options.no_move});
    MPS_TRY(done);
    Reply reply{.json = {{"interfaces", done->interfaces}}, .text = {}, .warnings = done->warnings};
    reply.text = done->interfaces.empty()
                     ? "subflows were placed there already; the map and moving are as asked for\n"
                     : fmt::format("subflows that leave by {} are placed on different paths\n",
                                   text::printable(text::join(done->interfaces)));
    return reply;
}

// ----------------------------------------------------------------------------------------------------- off

struct OffOptions {
    std::vector<std::string> interfaces;
    bool all = false;
};

Result<Reply> run_off(const Context &context, const OffOptions &options) {
    if (options.all == !options.interfaces.empty())
        return usage_error("'spread off' needs IFACE or --all, and not both",
                           "'mpsched spread list' shows them");
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto gone = spread_off(*instance, options.interfaces, options.all);
    MPS_TRY(gone);
    Reply reply{.json = {{"removed", *gone}}, .text = "no subflows were placed\n"};
    if (!gone->empty())
        reply.text =
            fmt::format("subflows that leave by {} have the kernel's labels again, and keep their ports\n",
                        text::printable(text::join(*gone)));
    return reply;
}

// ----------------------------------------------------------------------------------------------------- list

std::string interface_lines(const SpreadStatus &status, const output::Style &style) {
    output::Table table(
        {{"interface"}, {"speed", Align::right}, {"leaves", Align::right}, {"", Align::left, true}});
    for (const SpreadInterface &one : status.interfaces)
        table.add({text::printable(one.name),
                   one.speed_bit_s ? mbit(*one.speed_bit_s) : "not known",
                   mbit(one.rate_bit_s),
                   {text::printable(one.problem), Paint::warn}});
    return table.render(style);
}

std::string subflow_lines(const SpreadStatus &status, const output::Style &style) {
    output::Table table({{"subflow"},
                         {"of"},
                         {"by"},
                         {"path", Align::right},
                         {"moves", Align::right},
                         {"acknowledged", Align::right}});
    for (const SpreadSubflow &one : status.subflows) {
        const std::string by = one.label  ? fmt::format("label {:05x}", *one.label)
                               : one.port ? fmt::format("port {}", *one.port)
                                          : "the kernel";
        table.add({fmt::format("{} → {}", one.local, one.peer), fmt::format("{:08x}", one.token), by,
                   one.path ? fmt::to_string(*one.path) : "", fmt::to_string(one.moves),
                   mbit(one.rate_bit_s)});
    }
    return status.subflows.empty() ? "no subflows yet\n" : table.render(style);
}

std::string status_text(const SpreadStatus &status, const output::Style &style) {
    if (status.interfaces.empty())
        return "off: 'mpsched spread on IFACE' places subflows on different paths\n";
    std::string all = interface_lines(status, style);
    all += fmt::format(
        "\nslow subflows {}; map: {}\n", status.moves ? "get another label" : "stay where they are",
        status.map.routes.empty() ? "none, so labels are drawn, and ports are the kernel's"
                                  : text::count(status.map.routes.size(), "pair") + " of addresses");
    all += fmt::format("moved {}, ports given {}", status.moved, status.ports_given);
    if (status.ports_exhausted)
        all += fmt::format(", ports of the map all taken {}", text::count(status.ports_exhausted, "time"));
    return all + "\n\n" + subflow_lines(status, style);
}

Result<Reply> run_list(const Context &context) {
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto status = spread_status(*instance);
    MPS_TRY(status);
    Reply reply{.json = {{"interfaces", list_json(status->interfaces, interface_json)},
                         {"moves", status->moves},
                         {"map", list_json(status->map.routes, route_json)},
                         {"moved", status->moved},
                         {"ports_given", status->ports_given},
                         {"ports_exhausted", status->ports_exhausted},
                         {"subflows", list_json(status->subflows, subflow_json)}},
                .text = status_text(*status, context.style)};
    return reply;
}

// ----------------------------------------------------------------------------------------------------- probe

struct ProbeOptions {
    std::vector<std::string> peers, locals;
    std::string by, port, values, hops;
    std::optional<std::string> save;
};

Result<std::uint32_t> number_of(std::string_view option, const std::string &text, std::uint32_t most) {
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size() || number < 1 || number > most)
        return usage_error(fmt::format("option '{}' cannot be {}", option, text::quoted(text)),
                           fmt::format("a number from 1 to {}", most));
    return number;
}

Result<SpreadProbeRequest> request_of(const ProbeOptions &options) {
    SpreadProbeRequest request{
        .peers = options.peers, .locals = options.locals, .by_port = options.by == "port"};
    const auto port = number_of("--port", options.port, 65535);
    const auto values = number_of("--values", options.values, 1024);
    const auto hops = number_of("--hops", options.hops, 30);
    for (const auto *one : {&port, &values, &hops})
        if (!*one)
            return std::unexpected(one->error());
    request.peer_port = static_cast<std::uint16_t>(*port);
    request.values = *values;
    request.hops = *hops;
    return request;
}

Json pair_json(const SpreadProbePair &pair) {
    return {{"local", pair.local},
            {"peer", pair.peer},
            {"by", pair.by},
            {"paths", pair.paths},
            {"values", pair.route.paths},
            {"tried", pair.tried},
            {"answered", pair.answered},
            {"problem", pair.problem.empty() ? Json() : Json(pair.problem)}};
}

std::string pair_lines(const SpreadProbePair &pair) {
    std::string all = fmt::format("{} → {}: {} of {} {}s answered\n", pair.local, pair.peer, pair.answered,
                                  pair.tried, pair.by);
    if (!pair.problem.empty())
        return all + fmt::format("  {}\n", text::printable(pair.problem));
    for (std::size_t i = 0; i < pair.route.paths.size(); i++)
        all += fmt::format("  path {}  {:3} {}s  {}\n", i + 1, pair.route.paths[i].size(), pair.by,
                           pair.paths[i]);
    return all;
}

// What the file begins with, so that who reads it knows where it is from.
std::string map_file(const std::vector<SpreadProbePair> &pairs) {
    std::string text = "# which label or source port takes which path, by 'mpsched spread probe'\n";
    SpreadMap map;
    for (const SpreadProbePair &pair : pairs)
        if (pair.problem.empty())
            map.routes.push_back(pair.route);
    for (std::size_t i = 0; !pairs.empty() && i < pairs.front().paths.size(); i++)
        text += fmt::format("# path {}: {}\n", i + 1, pairs.front().paths[i]);
    return text + format_spread_map(map);
}

Result<void> save(const std::string &file, const std::string &text) {
    std::ofstream stream(file);
    stream << text;
    stream.flush();
    if (!stream)
        return fail(ErrorCode::failed, fmt::format("{} cannot be written: {}", file, errno_text(errno)),
                    "another FILE");
    return {};
}

Result<Reply> run_probe(const Context &context, const ProbeOptions &options) {
    const auto request = request_of(options);
    MPS_TRY(request);
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto pairs = probe_spread(*instance, *request);
    MPS_TRY(pairs);
    Reply reply{.json = list_json(*pairs, pair_json), .text = {}};
    std::size_t mapped = 0;
    for (const SpreadProbePair &pair : *pairs) {
        reply.text += pair_lines(pair);
        mapped += pair.problem.empty() ? 1 : 0;
    }
    if (options.save && mapped) {
        MPS_TRY(save(*options.save, map_file(*pairs)));
        reply.text +=
            fmt::format("wrote {}: 'mpsched spread on IFACE --map {}'\n", *options.save, *options.save);
    }
    if (!mapped)
        reply.warnings.emplace_back(options.save ? "nothing was saved: no map holds here"
                                                 : "no map holds here");
    return reply;
}

} // namespace

void setup_spread_probe(Binder &binder) {
    auto options = std::make_shared<ProbeOptions>();
    binder.argument("ADDRESS", options->peers);
    binder.option("--from", options->locals);
    binder.option("--by", options->by);
    binder.option("--port", options->port);
    binder.option("--values", options->values);
    binder.option("--hops", options->hops);
    binder.option("--save", options->save);
    binder.run([options](const Context &context) { return run_probe(context, *options); });
}

void setup_spread_on(Binder &binder) {
    auto options = std::make_shared<OnOptions>();
    binder.argument("IFACE", options->interfaces);
    binder.option("--map", options->map);
    binder.flag("--no-map", options->no_map);
    binder.flag("--no-move", options->no_move);
    binder.run([options](const Context &context) { return run_on(context, *options); });
}

void setup_spread_off(Binder &binder) {
    auto options = std::make_shared<OffOptions>();
    binder.argument("IFACE", options->interfaces);
    binder.flag("--all", options->all);
    binder.run([options](const Context &context) { return run_off(context, *options); });
}

void setup_spread_list(Binder &binder) {
    binder.run([](const Context &context) { return run_list(context); });
}

} // namespace mps::cli
