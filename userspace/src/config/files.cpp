// SPDX-License-Identifier: MIT
//
// Sections in files: reading them whole, writing them at once.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "base/fd.hpp"
#include "base/try.hpp"
#include "config/sections.hpp"

namespace mps::config {

namespace {

namespace fs = std::filesystem;

constexpr off_t most_bytes = 1 << 20;

bool same_time(const timespec &a, const timespec &b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

Result<void> check_status(const std::string &path, const struct stat &status) {
    if (!S_ISREG(status.st_mode))
        return fail(ErrorCode::failed, fmt::format("{} is not a file", path), "name a file of settings");
    if (status.st_size > most_bytes)
        return fail(ErrorCode::usage, fmt::format("{} is larger than 1 MiB", path),
                    "that is no file of settings");
    // It names programs that are loaded into the kernel.
    if ((status.st_uid != 0 && status.st_uid != ::geteuid()) || status.st_mode & S_IWOTH)
        return fail(ErrorCode::not_permitted, fmt::format("{} can be written by others", path),
                    fmt::format("'chown root {0}' and 'chmod o-w {0}' make it trustworthy", path));
    return {};
}

// nullopt: it changed meanwhile.
Result<std::optional<std::string>> read_once(const std::string &path) {
    const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat before{}, after{};
    if (!file || ::fstat(file.get(), &before))
        return std::unexpected(system_error(errno, fmt::format("reading {}", path)));
    MPS_TRY(check_status(path, before));
    std::string text(static_cast<std::size_t>(before.st_size) + 1, '\0');
    std::size_t length = 0;
    for (ssize_t got = 1; got > 0 && length < text.size(); length += static_cast<std::size_t>(got)) {
        got = ::read(file.get(), text.data() + length, text.size() - length);
        if (got < 0)
            return std::unexpected(system_error(errno, fmt::format("reading {}", path)));
    }
    text.resize(length);
    if (::fstat(file.get(), &after) || after.st_size != before.st_size ||
        !same_time(after.st_mtim, before.st_mtim) || length != static_cast<std::size_t>(before.st_size))
        return std::nullopt;
    return text;
}

// A bare number or truth value, or a text in quotes.
std::string toml_value(const std::string &text) {
    const bool number = !text.empty() && text.size() < 19 &&
                        text.find_first_not_of("0123456789") == text.npos &&
                        (text == "0" || text.front() != '0');
    if (number || text == "true" || text == "false")
        return text;
    std::string quoted = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\')
            quoted += '\\';
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            quoted += fmt::format("\\u{:04X}", static_cast<unsigned>(c));
        else
            quoted += c;
    }
    return quoted + '"';
}

std::string entry_text(const Section &section, const Entry &entry) {
    const Key *key = find_key(section.part, entry.key);
    std::string value;
    const auto join = [&](const std::string &more) { value += (value.empty() ? "" : ", ") + more; };
    if (key && key->form == Form::settings) {
        for (const PlacedSetting &one : entry.settings)
            join(fmt::format("{} = {}", one.setting.key, toml_value(one.setting.value)));
        return fmt::format("{} = {{ {} }}\n", entry.key, value);
    }
    for (const std::string &text : entry.texts)
        join(key && (key->form == Form::text || key->form == Form::texts) && toml_value(text).front() != '"'
                 ? '"' + text + '"'
                 : toml_value(text));
    return entry.is_list ? fmt::format("{} = [{}]\n", entry.key, value)
                         : fmt::format("{} = {}\n", entry.key, value);
}

} // namespace

std::string Position::text() const { return line ? fmt::format("{}:{}:{}", file, line, column) : file; }

const Entry *Section::find(std::string_view key) const {
    const auto it = std::ranges::find(entries, key, &Entry::key);
    return it == entries.end() ? nullptr : &*it;
}

std::string Section::text(std::string_view key) const {
    const Entry *entry = find(key);
    return entry && !entry->texts.empty() ? entry->texts.front() : "";
}

void Section::put(std::string key, std::string value) {
    std::erase_if(entries, [&](const Entry &e) { return e.key == key; });
    entries.push_back({.key = std::move(key), .at = {}, .texts = {std::move(value)}});
}

void Section::put(std::string key, const std::vector<Setting> &settings) {
    std::erase_if(entries, [&](const Entry &e) { return e.key == key; });
    Entry entry{.key = std::move(key)};
    for (const Setting &one : settings)
        entry.settings.push_back({one, {}});
    if (!settings.empty())
        entries.push_back(std::move(entry));
}

Error error_of(const std::vector<Problem> &problems) {
    const auto line = [](const Problem &one) { return fmt::format("{}: {}", one.at.text(), one.what); };
    Error error{.code = ErrorCode::usage, .what = line(problems.front()), .hint = problems.front().hint};
    constexpr std::size_t most = 20;
    for (std::size_t i = 1; i < std::min(problems.size(), most); i++)
        error.detail += fmt::format("{}{}{}", i > 1 ? "\n" : "", line(problems[i]),
                                    problems[i].hint.empty() ? "" : fmt::format(" ({})", problems[i].hint));
    error.kind = ErrorKind::usage;
    return error;
}

Result<std::string> read_whole(const std::string &path) {
    constexpr int tries = 20;
    for (int i = 0; i < tries; i++) {
        auto text = read_once(path);
        MPS_TRY(text);
        if (*text)
            return std::move(**text);
        ::usleep(10'000);
    }
    return fail(ErrorCode::failed, fmt::format("{} changes all the time while it is read", path),
                "write a new file and rename it, or try again when it is complete");
}

Result<std::vector<File>> read_set(const std::string &path, std::vector<Problem> &problems,
                                   const std::string *contents) {
    std::vector<std::string> paths;
    std::error_code error;
    for (const auto &entry : fs::directory_iterator(drop_in_folder(path), error))
        if (entry.path().extension() == ".toml" && !entry.path().filename().string().starts_with('.'))
            paths.push_back(entry.path().string());
    if (error && error != std::errc::no_such_file_or_directory)
        return std::unexpected(system_error(error.value(), fmt::format("reading {}", drop_in_folder(path))));
    std::ranges::sort(paths);
    std::vector<File> files;
    if (contents)
        files.push_back(parse(path, *contents, problems));
    else if (paths.empty() || fs::exists(fs::symlink_status(path, error)))
        paths.insert(paths.begin(), path);
    for (const std::string &one : paths) {
        auto text = read_whole(one);
        MPS_TRY(text);
        files.push_back(parse(one, std::move(*text), problems));
    }
    return files;
}

std::string write(const std::vector<Section> &sections) {
    std::string all;
    for (const Section &section : sections) {
        const std::string_view heading = part_text(section.part).heading;
        if (!heading.empty())
            all += fmt::format("{}{}\n", all.empty() ? "" : "\n", heading);
        // In the order of the table, whatever order they came in.
        for (const Key &key : keys())
            if (key.part == section.part)
                if (const Entry *entry = section.find(key.name))
                    all += entry_text(section, *entry);
    }
    return all;
}

Result<void> replace_file(const std::string &path, const std::string &contents) {
    const std::string fresh = fmt::format("{}/.{}.{}", fs::path(path).parent_path().string(),
                                          fs::path(path).filename().string(), ::getpid());
    const auto failed = [&](int err) {
        ::unlink(fresh.c_str());
        return std::unexpected(system_error(err, fmt::format("writing {}", path)));
    };
    {
        const Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
        if (!file)
            return failed(errno);
        for (std::size_t done = 0; done < contents.size();) {
            const ssize_t wrote = ::write(file.get(), contents.data() + done, contents.size() - done);
            if (wrote < 0)
                return failed(errno);
            done += static_cast<std::size_t>(wrote);
        }
        if (::fsync(file.get()))
            return failed(errno);
    }
    if (::rename(fresh.c_str(), path.c_str()))
        return failed(errno);
    const Fd folder(::open(fs::path(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder)
        ::fsync(folder.get());
    return {};
}

} // namespace mps::config
