// SPDX-License-Identifier: MIT
#include "robust_rig.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <net/if.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace mps::robust {

namespace fs = std::filesystem;

namespace {

// linux/bpf.h of Debian 12 is older than tcx.
constexpr auto tcx_ingress = static_cast<bpf_attach_type>(46);

constexpr std::string_view our_prefix = "mps_";

int as_int(std::uint32_t id) { return static_cast<int>(id); }

Json parse(const std::string &text) {
    Json document = Json::parse(text, nullptr, false);
    INFO(text);
    REQUIRE_FALSE(document.is_discarded());
    return document;
}

std::vector<std::uint32_t> tcx_programs(int ifindex) {
    std::uint32_t flags = 0;
    std::array<std::uint32_t, 32> ids{};
    std::uint32_t count = ids.size();
    // EINVAL: a kernel without tcx.
    if (bpf_prog_query(ifindex, tcx_ingress, 0, &flags, ids.data(), &count) != 0)
        return {};
    return {ids.begin(), ids.begin() + count};
}

// What the kernel says a bpf descriptor is: "map_id:\t17" in its fdinfo.
std::string describe(int fd) {
    std::ifstream info(fmt::format("/proc/self/fdinfo/{}", fd));
    for (std::string line; std::getline(info, line);) {
        for (const std::string_view kind : {"map", "prog", "link"}) {
            const auto key = fmt::format("{}_id:", kind);
            if (line.starts_with(key))
                return fmt::format("{} {}", kind, std::stoul(line.substr(key.size())));
        }
    }
    return "unknown";
}

std::vector<std::string> lines_of(const std::string &text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);)
        lines.push_back(line);
    return lines;
}

// "198.51.100.1%dsl:4000" and "[2001:db8::1]:4000" without device, brackets and port.
std::string address_of(std::string text) {
    text.erase(text.rfind(':'));
    if (const auto device = text.find('%'); device != std::string::npos)
        text.erase(device);
    std::erase_if(text, [](char c) { return c == '[' || c == ']'; });
    return text;
}

bool has_port(const std::string &endpoint, std::uint16_t port) {
    return endpoint.ends_with(fmt::format(":{}", port));
}

// Numbers of connections come and go on their own.
void drop_connections(Json &status) {
    status.erase("connections");
    for (Json &policy : status["policies"])
        policy.erase("connections");
}

} // namespace

// ---------------------------------------------------------------------------------------------- the kernel

std::set<std::uint32_t> Hooks::ids() const {
    std::set<std::uint32_t> all(tcx.begin(), tcx.end());
    all.insert(filters.begin(), filters.end());
    all.insert({xdp_native, xdp_generic});
    all.erase(0);
    return all;
}

Hooks hooks_of(const lab::Namespace &ns, const std::string &device) {
    Hooks hooks = must(ns.run([&]() -> lab::Result<Hooks> {
        const int ifindex = as_int(::if_nametoindex(device.c_str()));
        if (ifindex == 0)
            return lab::os_error("find", device, errno);
        Hooks found;
        LIBBPF_OPTS(bpf_xdp_query_opts, query);
        if (const int err = bpf_xdp_query(ifindex, 0, &query); err != 0)
            return lab::os_error("ask for XDP on", device, -err);
        found.xdp_native = query.drv_prog_id;
        found.xdp_generic = query.skb_prog_id;
        found.tcx = tcx_programs(ifindex);
        return found;
    }));
    const auto qdiscs = parse(must(ns.spawn_checked({"tc", "-j", "qdisc", "show", "dev", device})).out);
    for (const Json &qdisc : qdiscs)
        hooks.clsact |= qdisc["kind"] == "clsact";
    if (!hooks.clsact)
        return hooks;
    const auto filters =
        parse(must(ns.spawn_checked({"tc", "-j", "filter", "show", "dev", device, "ingress"})).out);
    for (const Json &filter : filters)
        if (filter.contains("options") && filter["options"].contains("prog"))
            hooks.filters.push_back(filter["options"]["prog"]["id"].get<std::uint32_t>());
    return hooks;
}

std::string program_name(std::uint32_t id) {
    const Fd fd(bpf_prog_get_fd_by_id(id));
    bpf_prog_info info{};
    std::uint32_t length = sizeof info;
    if (!fd || bpf_obj_get_info_by_fd(fd.get(), &info, &length) != 0)
        return {};
    return info.name;
}

std::vector<std::string> our_programs(const lab::Namespace &ns, const std::string &device) {
    std::vector<std::string> names;
    for (const std::uint32_t id : hooks_of(ns, device).ids())
        if (std::string name = program_name(id); name.starts_with(our_prefix))
            names.push_back(std::move(name));
    std::ranges::sort(names);
    return names;
}

bool programs_vanish(const std::set<std::uint32_t> &ids) {
    return eventually(
        [&] { return std::ranges::all_of(ids, [](auto id) { return program_name(id).empty(); }); });
}

std::vector<SubflowBits> subflow_bits(const lab::Namespace &ns, std::uint16_t port) {
    std::vector<SubflowBits> all;
    std::vector<std::string> head;
    // A line for the socket, then an indented one with what TCP and its ULP have to say.
    for (const std::string &line :
         lines_of(must(ns.spawn_checked({"ss", "-tnHi", "state", "established"})).out)) {
        std::istringstream words(line);
        const std::vector<std::string> fields{std::istream_iterator<std::string>(words), {}};
        if (!line.empty() && line[0] != '\t' && line[0] != ' ') {
            head = fields;
            continue;
        }
        const auto flags =
            std::ranges::find_if(fields, [](const auto &field) { return field.starts_with("flags:"); });
        if (flags == fields.end() || head.size() < 4 || !line.contains("tcp-ulp-mptcp"))
            continue;
        if (!has_port(head[2], port) && !has_port(head[3], port))
            continue;
        // 'B' is subflow->backup, 'b' subflow->request_bkup.
        all.push_back({address_of(head[2]), address_of(head[3]), flags->substr(6).contains('B')});
    }
    return all;
}

PinTree pins_below(const std::string &directory) {
    PinTree tree;
    std::error_code error;
    for (auto it = fs::recursive_directory_iterator(directory, error);
         it != fs::recursive_directory_iterator(); it.increment(error)) {
        if (error)
            break;
        const auto name = it->path().string().substr(directory.size() + 1);
        if (it->is_directory(error)) {
            tree[name] = "directory";
            continue;
        }
        if (name == "maps.debug" || name == "progs.debug")
            continue;
        const Fd fd(bpf_obj_get(it->path().c_str()));
        tree[name] = fd ? describe(fd.get()) : fmt::format("cannot be opened: errno {}", errno);
    }
    return tree;
}

std::set<std::uint32_t> pinned_programs(const PinTree &tree) {
    std::set<std::uint32_t> ids;
    for (const auto &[path, what] : tree)
        if (what.starts_with("prog "))
            ids.insert(static_cast<std::uint32_t>(std::stoul(what.substr(5))));
    return ids;
}

// --------------------------------------------------------------------------------------------- the command

Rig::Rig(lab::NetworkSpec spec) : network_(must(lab::Network::create(std::move(spec)))) {}

lab::NetworkSpec two_paths(double mbit) {
    return {.paths = {{.name = "dsl", .rate_mbit = mbit}, {.name = "lte", .rate_mbit = mbit}}};
}

std::vector<std::string> faults(const Json &status) {
    auto all = status["problems"].get<std::vector<std::string>>();
    std::erase_if(all, [](const std::string &problem) { return problem.contains(": unsteered"); });
    return all;
}

Words Rig::command(const Words &words) const {
    Words all{e2e::Cli::default_binary(), "--netns", here().name()};
    all.insert(all.end(), words.begin(), words.end());
    return all;
}

Environment Rig::environment(const Environment &more) const {
    Environment all{{"MPS_BPFFS", bpffs_.path()}, {"MPS_WITHOUT", ""}, {"MPS_POLICY", "default"}};
    for (const auto &[name, value] : more) {
        std::erase_if(all, [&](const auto &one) { return one.first == name; });
        all.emplace_back(name, value);
    }
    return all;
}

lab::ProcessResult Rig::run(const Words &words, const Environment &more) const {
    return must(lab::run_process(command(words), {.environment = environment(more)}));
}

lab::ProcessResult Rig::ok(const Words &words, const Environment &more) const {
    auto result = run(words, more);
    INFO("mpsched " << fmt::format("{}", fmt::join(words, " ")) << "\n" << result.out << result.err);
    REQUIRE(result.exit_code == 0);
    return result;
}

Json Rig::json(Words words, const Environment &more) const {
    words.emplace_back("--json");
    return parse(ok(words, more).out);
}

Json Rig::everything() const {
    PinTree pins = bpffs_.tree();
    // Where something is installed the first command that locks it makes the lock's directory.
    std::erase_if(pins, [](const auto &one) { return one.first.starts_with("mpsched/locks"); });
    Json all{{"pins", pins}, {"hooks", Json::object()}, {"status", nullptr}};
    // Where the installation itself is refused there is no status to compare.
    if (const auto status = run({"status", "--json"}); status.exit_code == 0) {
        all["status"] = parse(status.out);
        drop_connections(all["status"]);
    }
    std::istringstream links(must(here().spawn_checked({"ip", "-o", "link", "show"})).out);
    for (std::string line; std::getline(links, line);) {
        // "12: dsl@if11: <...": no word about flags and states, which change on their own.
        const auto name =
            line.substr(line.find(' ') + 1, line.find_first_of("@:", line.find(' ')) - line.find(' ') - 1);
        const Hooks hooks = hooks_of(here(), name);
        all["hooks"][name] = {hooks.xdp_native, hooks.xdp_generic, hooks.tcx, hooks.filters, hooks.clsact};
    }
    return all;
}

void Rig::refused(const Words &words, const Refusal &refusal, const Environment &more) const {
    INFO("mpsched " << fmt::format("{}", fmt::join(words, " ")));
    const Json before = everything();
    const auto text = run(words, more);
    INFO(text.out << text.err);
    CHECK(text.exit_code == refusal.code);
    CHECK(text.out.empty());
    auto lines = lines_of(text.err);
    const auto has_all = [](const std::string &line, const std::vector<std::string> &parts) {
        return std::ranges::all_of(parts, [&](const auto &part) { return line.contains(part); });
    };
    REQUIRE(lines.size() >= 2);
    CHECK(lines.front().starts_with("mpsched: "));
    CHECK(has_all(lines.front(), refusal.what));
    CHECK(lines.back().starts_with("  hint: "));
    CHECK(has_all(lines.back(), refusal.hint));
    // Between them only what somebody said who is not us: the verifier, libbpf.
    if (!refusal.may_quote)
        CHECK(lines.size() == 2);
    CHECK(has_all(text.err, refusal.detail));

    Words as_json = words;
    as_json.emplace_back("--json");
    const auto document = run(as_json, more);
    INFO(document.out << document.err);
    CHECK(document.exit_code == refusal.code);
    CHECK(document.err.empty());
    const Json error = parse(document.out).value("error", Json::object());
    CHECK(error.value("code", -1) == refusal.code);
    CHECK(has_all(error.value("what", ""), refusal.what));
    CHECK(has_all(error.value("hint", ""), refusal.hint));

    const Json after = everything();
    INFO(Json::diff(before, after).dump(1));
    CHECK(before == after);
}

std::string Rig::abi_folder(unsigned version) const {
    return fmt::format("{}/mpsched/v{}", bpffs_.path(), version);
}

std::string Rig::installation() const {
    std::error_code error;
    for (const auto &entry : fs::directory_iterator(abi_folder(), error))
        if (entry.path().filename().string() ==
            fmt::format("net-{}", status()["netns_cookie"].get<std::uint64_t>()))
            return entry.path().string();
    return {};
}

std::set<std::uint32_t> Rig::programs() const {
    auto ids = pinned_programs(bpffs_.tree());
    for (const std::string &device : network_.devices())
        ids.merge(hooks(device).ids());
    return ids;
}

void Rig::no_trace(const std::set<std::uint32_t> &programs) const {
    for (const std::string &device : network_.devices()) {
        INFO(device);
        CHECK(our_programs(here(), device).empty());
        CHECK_FALSE(hooks(device).clsact);
    }
    const PinTree tree = bpffs_.tree();
    INFO(Json(tree).dump(1));
    CHECK(tree.empty());
    CHECK(programs_vanish(programs));
}

lab::Transfer Rig::transfer(const lab::Server &server, lab::TransferSpec spec) const {
    spec.address = network_.server_address();
    spec.port = server.port();
    return must(lab::Transfer::start(network_.a(), std::move(spec)));
}

std::string unpacked_program(const std::string &package, const std::string &name) {
    const auto folder = must(lab::run_process({MPS_SOURCE_DIR "/tests/fetch-program", package}));
    INFO(folder.err);
    REQUIRE(folder.exit_code == 0);
    return folder.out.substr(0, folder.out.find('\n')) + "/usr/bin/" + name;
}

} // namespace mps::robust
