// SPDX-License-Identifier: MIT

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "base/fd.hpp"
#include "base/files.hpp"
#include "base/try.hpp"
#include "commands/commands.hpp"
#include "config/sections.hpp"
#include "output/progress.hpp"
#include "output/text.hpp"
#include "report/collect.hpp"
#include "report/masker.hpp"

namespace mps::cli {

namespace {

namespace fs = std::filesystem;

struct BugReportOptions {
    std::optional<std::string> file;
    bool unmasked = false;
};

std::string name_of_now() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    localtime_r(&now, &parts);
    return fmt::format("mpsched-report-{:04}{:02}{:02}-{:02}{:02}{:02}.tar.gz", parts.tm_year + 1900,
                       parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

// As --netns has it; -1: ours.
Result<Fd> netns_of(const std::string &spec) {
    if (spec.empty())
        return Fd();
    const bool number = std::ranges::all_of(spec, [](unsigned char c) { return std::isdigit(c) != 0; });
    const std::string path = spec.contains('/') ? spec
                             : number           ? "/proc/" + spec + "/ns/net"
                                                : "/run/netns/" + spec;
    Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd)
        return fail(ErrorCode::usage, fmt::format("no network namespace {}", text::quoted(spec)),
                    "'ip netns list' shows those that have names");
    return fd;
}

// The host's name, with and without its domain.
std::vector<std::string> own_names() {
    std::array<char, 256> buffer{};
    if (::gethostname(buffer.data(), buffer.size() - 1))
        return {};
    const std::string whole = buffer.data();
    const std::size_t dot = whole.find('.');
    std::vector<std::string> names{whole};
    if (dot != whole.npos) {
        names.push_back(whole.substr(0, dot));
        names.push_back(whole.substr(dot + 1));
    }
    return names;
}

Result<void> write_file(const std::string &path, const std::string &text) {
    std::error_code ignored;
    fs::create_directories(fs::path(path).parent_path(), ignored);
    std::ofstream file(path, std::ios::binary);
    file << text;
    if (!file.flush())
        return fail(ErrorCode::failed, fmt::format("{} cannot be written", text::quoted(path)),
                    "see whether its device is full");
    return {};
}

std::string read_me(const std::vector<report::Collected> &all, bool masked) {
    std::string text =
        "What mpsched bug-report has collected on this host. Nothing of it was sent anywhere: attach the "
        "archive to your report by yourself, after you have looked at it.\n\n";
    text +=
        masked
            ? "Addresses, link-layer addresses and the host's name are masked; the same became the same everywhere. IPv4 "
              "addresses stand as 198.18.x.y, IPv6 ones as 2001:db8:x::y (link-local ones as fe80::y), link-layer addresses as "
              "02:00:00:x:y:z, the host's name as host-1. Interfaces have their names, rules and files of settings "
              "what you wrote into them.\n\n"
            : "Nothing is masked.\n\n";
    for (const report::Collected &one : all)
        text += fmt::format("{:<28} {}\n", one.file,
                            one.trouble.empty() ? text::bytes(one.text.size()) : one.trouble);
    return text;
}

// All of it, masked if so wished, below `folder`.
Result<std::vector<report::Collected>> gather(const Context &context, const BugReportOptions &options,
                                              const std::string &folder) {
    const auto netns = netns_of(context.globals.netns);
    MPS_TRY(netns);
    std::error_code error;
    const std::string program = fs::read_symlink("/proc/self/exe", error).string();
    output::Progress progress(context.globals.json);
    report::Masker masker(own_names());
    std::vector<report::Collected> all;
    for (const report::Source &source :
         report::sources(program, context.globals.netns, config::default_path())) {
        progress.now(fmt::format("collecting {}", source.file));
        report::Collected one = report::collect(source, netns->get());
        if (!options.unmasked)
            one.text = masker.mask(one.text);
        MPS_TRY(write_file(folder + "/" + one.file, one.text));
        all.push_back(std::move(one));
    }
    MPS_TRY(write_file(folder + "/README.txt", read_me(all, !options.unmasked)));
    return all;
}

// Nobody else may read it, and what is there is not overwritten.
Result<void> pack(const std::string &folder, const std::string &name, const std::string &file) {
    const Fd made(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!made)
        return fail(ErrorCode::failed,
                    fmt::format("{} cannot be made: {}", text::quoted(file), std::strerror(errno)),
                    errno == EEXIST ? "name another file" : "name a file in a folder that you may write to");
    const auto packed = report::collect(
        {.words = {"tar", "--owner=0", "--group=0", "--numeric-owner", "-C", folder, "-czf", file, name}},
        -1);
    if (packed.trouble.empty())
        return {};
    ::unlink(file.c_str());
    return fail(ErrorCode::failed, fmt::format("tar: {}", packed.trouble),
                packed.text.empty() ? "install tar and gzip" : packed.text);
}

Result<Reply> run_bug_report(const Context &context, const BugReportOptions &options) {
    const std::string file = options.file.value_or(name_of_now());
    const auto folder = TemporaryFolder::make("report");
    if (!folder)
        return fail(ErrorCode::failed, fmt::format("no temporary folder: {}", errno_text(folder.error())),
                    "set TMPDIR to a folder that you may write to");
    const std::string name = "mpsched-report";
    const auto all = gather(context, options, folder->path(name));
    MPS_TRY(all);
    MPS_TRY(pack(folder->path().string(), name, file));
    std::error_code ignored;
    const std::uint64_t bytes = fs::file_size(file, ignored);
    Reply reply{
        .json = {
            {"file", file}, {"bytes", bytes}, {"masked", !options.unmasked}, {"contents", Json::array()}}};
    std::size_t missing = 0;
    for (const report::Collected &one : *all) {
        reply.json["contents"].push_back(
            {{"file", one.file},
             {"bytes", one.text.size()},
             {"trouble", one.trouble.empty() ? Json(nullptr) : Json(one.trouble)}});
        missing += !one.trouble.empty();
    }
    reply.text = fmt::format("{} ({}): {} and README.txt, which tells what they are\n", text::printable(file),
                             text::bytes(bytes), text::count(all->size(), "file"));
    reply.text +=
        options.unmasked
            ? "Nothing in it is masked.\n"
            : "Addresses and the host's name in it are masked; look at it before you give it away.\n";
    if (missing != 0)
        reply.text += fmt::format("{} could not be had, or not all of it.\n", text::count(missing, "file"));
    reply.text += "Nothing was sent anywhere.\n";
    return reply;
}

} // namespace

void setup_bug_report(Binder &binder) {
    auto options = std::make_shared<BugReportOptions>();
    binder.argument("FILE", options->file);
    binder.flag("--unmasked", options->unmasked);
    binder.run([options](const Context &context) { return run_bug_report(context, *options); });
}

} // namespace mps::cli
