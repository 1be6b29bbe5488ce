// SPDX-License-Identifier: MIT

#include "report/collect.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/child.hpp"
#include "base/errno.hpp"
#include "base/fd.hpp"
#include "base/files.hpp"
#include "output/text.hpp"

namespace mps::report {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t most_bytes = 4 << 20;
constexpr std::chrono::seconds most_time{10};

// Reads until the end, the time, or enough has come; false: it did not come to its end.
bool read_all(int from, std::string &text) {
    const auto end = Clock::now() + most_time;
    std::array<char, 65536> buffer;
    while (text.size() < most_bytes) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
        pollfd waiting{.fd = from, .events = POLLIN, .revents = 0};
        if (left <= 0 || (::poll(&waiting, 1, static_cast<int>(left)) < 0 && errno != EINTR))
            return false;
        const ssize_t got = waiting.revents ? ::read(from, buffer.data(), buffer.size()) : -1;
        if (got == 0)
            return true;
        if (got > 0)
            text.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return false;
}

std::string trouble_of(const NotStarted &why, const std::string &program) {
    if (why.step == NotStarted::Step::program && why.err == ENOENT)
        return fmt::format("{} is not installed", program);
    if (why.step == NotStarted::Step::netns)
        return fmt::format("the network namespace cannot be entered: {}", errno_name(why.err));
    return fmt::format("cannot be started: {}", errno_name(why.err));
}

Collected run(const Source &source, int netns_fd) {
    Collected answer{.file = source.file};
    auto pipe = make_pipe();
    const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!pipe || !null) {
        answer.trouble = "too many open files";
        return answer;
    }
    auto child = Child::start({.words = source.words,
                               .in = null.get(),
                               .out = pipe->write.get(),
                               .err = pipe->write.get(),
                               .netns_fd = source.ours ? -1 : netns_fd,
                               .own_group = true,
                               .environment = {"LC_ALL=C.UTF-8"}});
    pipe->write.reset();
    if (!child) {
        answer.trouble = trouble_of(child.error(), source.words[0]);
        return answer;
    }
    if (!read_all(pipe->read.get(), answer.text)) {
        answer.trouble = answer.text.size() >= most_bytes ? "cut after 4 MiB" : "took more than 10 s";
        return answer;
    }
    const Ending ending = child->wait();
    if (ending.signal)
        answer.trouble = fmt::format("ended by signal {}", ending.signal);
    else if (ending.exit_code)
        answer.trouble = fmt::format("ended with {}", ending.exit_code);
    return answer;
}

Collected read_files(const Source &source) {
    Collected answer{.file = source.file};
    for (const std::string &path : source.files) {
        if (const auto text = read_file(path))
            answer.text += fmt::format("# {}\n{}\n", path, *text);
    }
    if (answer.text.empty())
        answer.trouble = "there is none that can be read";
    answer.text.resize(std::min(answer.text.size(), most_bytes));
    return answer;
}

void keep_lines(std::string &text, const std::string &only) {
    std::vector<std::string> words;
    for (std::size_t at = 0; at <= only.size();) {
        const std::size_t end = std::min(only.find('|', at), only.size());
        words.push_back(only.substr(at, end - at));
        at = end + 1;
    }
    std::string kept;
    for (const std::string &line : text::lines(text))
        if (std::ranges::any_of(words, [&](const std::string &word) { return line.contains(word); }))
            kept += line + "\n";
    text = std::move(kept);
}

std::vector<std::string> files_of(const std::string &folder, std::string_view extension) {
    std::vector<std::string> all;
    std::error_code error;
    for (const auto &entry : std::filesystem::directory_iterator(folder, error))
        if (entry.path().string().ends_with(extension))
            all.push_back(entry.path().string());
    std::ranges::sort(all);
    return all;
}

} // namespace

std::vector<Source> sources(const std::string &program, const std::string &netns, const std::string &config) {
    std::vector<Source> all;
    const auto ours = [&](const std::string &file, std::vector<std::string> words) {
        words.insert(words.begin(), program);
        if (!netns.empty())
            words.insert(words.end(), {"--netns", netns});
        all.push_back({.file = file, .words = std::move(words), .ours = true});
    };
    ours("mpsched/version.json", {"version", "--json=2"});
    ours("mpsched/probe.txt", {"probe"});
    ours("mpsched/status.txt", {"status"});
    ours("mpsched/status.json", {"status", "--json=2"});
    ours("mpsched/doctor.txt", {"doctor"});
    ours("mpsched/conns.txt", {"conns"});
    ours("mpsched/conns.json", {"conns", "--json=2"});
    ours("mpsched/stats.json", {"stats", "--json=2"});
    ours("mpsched/policies.json", {"policy", "list", "--json=2"});
    ours("mpsched/path.txt", {"path"});
    ours("mpsched/option-rules.txt", {"rule", "counters"});
    ours("mpsched/config-diff.txt", {"config", "diff"});
    const auto other = [&](const std::string &file, std::vector<std::string> words, std::string only = {}) {
        all.push_back({.file = file, .words = std::move(words), .only = std::move(only)});
    };
    other("system/uname.txt", {"uname", "-srvm"}); // without the host's name
    other("network/endpoints.txt", {"ip", "mptcp", "endpoint", "show"});
    other("network/limits.txt", {"ip", "mptcp", "limits", "show"});
    other("network/links.txt", {"ip", "-d", "-s", "link", "show"});
    other("network/addresses.txt", {"ip", "address", "show"});
    other("network/routes.txt", {"ip", "route", "show", "table", "all"});
    other("network/rules.txt", {"ip", "rule", "show"});
    other("network/sockets.txt", {"ss", "-tinM"});
    other("network/counters.txt", {"nstat", "-asz"}, "MPTcp|Tcp");
    other("network/qdiscs.txt", {"tc", "-s", "qdisc", "show"});
    other("bpf/attached.txt", {"bpftool", "net", "show"});
    other("bpf/programs.txt", {"bpftool", "prog", "show"}, "mps_");
    other("bpf/pins.txt", {"find", "/sys/fs/bpf/mpsched"});
    other("system/dmesg.txt", {"dmesg"}, "mpsched|MPTCP|mptcp|bpf|BPF|mps_");
    other("system/mpschedd.txt",
          {"journalctl", "-u", "mpschedd", "-n", "300", "--no-pager", "-o", "short-iso"});
    all.push_back({.file = "system/os-release.txt", .files = {"/etc/os-release"}});
    all.push_back(
        {.file = "system/sysctl.txt",
         .files = {"/proc/sys/net/core/bpf_jit_enable", "/proc/sys/kernel/unprivileged_bpf_disabled",
                   "/proc/sys/net/ipv4/tcp_congestion_control",
                   "/proc/sys/net/ipv4/tcp_slow_start_after_idle"}});
    other("network/mptcp-sysctl.txt", {"grep", "-r", "", "/proc/sys/net/mptcp"});
    std::vector<std::string> files{config};
    const std::string folder = config.ends_with(".toml") ? config.substr(0, config.size() - 5) + ".d" : "";
    for (std::string &file : files_of(folder, ".toml"))
        files.push_back(std::move(file));
    all.push_back({.file = "mpsched/settings.toml", .files = std::move(files)});
    return all;
}

Collected collect(const Source &source, int netns_fd) {
    Collected answer = source.words.empty() ? read_files(source) : run(source, netns_fd);
    if (!source.only.empty())
        keep_lines(answer.text, source.only);
    return answer;
}

} // namespace mps::report
