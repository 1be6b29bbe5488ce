// SPDX-License-Identifier: MIT
#include "run/unit.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "base/try.hpp"

namespace mps::run {

namespace {

namespace fs = std::filesystem;

// systemd.unit(5), "Unit File Load Path", the first wins. Debian 12 may still have the last one apart.
constexpr std::array folders{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system",
                             "/usr/lib/systemd/system", "/lib/systemd/system"};
constexpr std::string_view our_file = "mpsched-run.conf";

// "getty@.service" of "getty@tty1.service"; empty for a unit that is no instance.
std::string template_of(const std::string &unit) {
    const std::size_t at = unit.find('@');
    return at == std::string::npos ? std::string() : unit.substr(0, at + 1) + unit.substr(unit.rfind('.'));
}

std::vector<std::string> names_of(const std::string &unit) {
    std::vector<std::string> names{unit};
    if (const std::string of = template_of(unit); !of.empty() && of != unit)
        names.push_back(of);
    return names;
}

fs::path file_of(const std::string &unit) {
    std::error_code ignored;
    for (const std::string &name : names_of(unit))
        for (const char *folder : folders)
            if (fs::exists(fs::path(folder) / name, ignored))
                return fs::path(folder) / name;
    return {};
}

// In the order of their names, whatever folder they are in; of two with one name that in the first folder.
std::vector<fs::path> drop_ins_of(const std::string &unit) {
    std::map<std::string, fs::path> found;
    std::error_code ignored;
    for (const std::string &name : names_of(unit))
        for (const char *folder : folders)
            for (const auto &entry : fs::directory_iterator(fs::path(folder) / (name + ".d"), ignored))
                if (entry.path().extension() == ".conf" && entry.path().filename() != our_file)
                    found.emplace(entry.path().filename(), entry.path());
    std::vector<fs::path> files;
    for (const auto &[name, file] : found)
        files.push_back(file);
    return files;
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blank = " \t\r";
    const std::size_t first = text.find_first_not_of(blank);
    return first == std::string_view::npos ? std::string_view()
                                           : text.substr(first, text.find_last_not_of(blank) - first + 1);
}

// A line and those that continue it, as one.
bool read_line(std::istream &file, std::string &line) {
    if (!std::getline(file, line))
        return false;
    for (std::string more; line.ends_with('\\') && std::getline(file, more);)
        line.replace(line.size() - 1, 1, " ").append(trimmed(more));
    return true;
}

// An empty assignment takes back what was assigned before.
void read_commands(const fs::path &path, std::vector<std::string> &commands) {
    std::ifstream file(path);
    bool in_service = false;
    for (std::string line; read_line(file, line);) {
        const std::string_view text = trimmed(line);
        if (text.starts_with('['))
            in_service = text == "[Service]";
        const std::size_t equals = text.find('=');
        if (!in_service || equals == std::string_view::npos || trimmed(text.substr(0, equals)) != "ExecStart")
            continue;
        const std::string_view command = trimmed(text.substr(equals + 1));
        if (command.empty())
            commands.clear();
        else
            commands.emplace_back(command);
    }
}

fs::path drop_in_of(const std::string &unit) { return fs::path(folders[0]) / (unit + ".d") / our_file; }

std::unexpected<Error> failed(const std::string &what, const std::error_code &error) {
    return fail(ErrorCode::failed, fmt::format("cannot {}: {}", what, error.message()), "drop-ins need root");
}

} // namespace

Result<std::vector<std::string>> commands_of_unit(const std::string &unit) {
    const fs::path file = file_of(unit);
    if (file.empty())
        return fail(ErrorCode::usage, fmt::format("systemd has no unit {}", unit),
                    "'systemctl list-unit-files' has them");
    std::vector<std::string> commands;
    read_commands(file, commands);
    for (const fs::path &more : drop_ins_of(unit))
        read_commands(more, commands);
    if (commands.empty())
        return fail(ErrorCode::usage,
                    fmt::format("{} starts nothing (no ExecStart in {})", unit, file.string()),
                    "name the service that runs the program");
    return commands;
}

Result<std::string> command_under_run(const std::string &command, const std::string &mpsched) {
    // systemd.service(5), "Command Lines": what stands before the path is about how systemd starts it.
    const std::size_t path = command.find_first_not_of("@-:+!");
    const std::string how = command.substr(0, std::min(path, command.size()));
    if (path == std::string::npos || how.contains('@'))
        return fail(ErrorCode::unsupported,
                    fmt::format("'ExecStart={}' gives the program another name ('@')", command),
                    "'systemctl edit' the unit, and write ExecStart without it");
    return fmt::format("{}{} run --quiet -- {}", how, mpsched, command.substr(path));
}

Result<std::string> add_drop_in(const std::string &unit, const std::string &mpsched) {
    const auto commands = commands_of_unit(unit);
    MPS_TRY(commands);
    std::string text =
        fmt::format("# Written by 'mpsched run --unit {0}'; 'mpsched run --unit {0} --undo' removes it.\n"
                    "[Service]\nExecStart=\n",
                    unit);
    for (const std::string &command : *commands) {
        const auto under = command_under_run(command, mpsched);
        MPS_TRY(under);
        text += fmt::format("ExecStart={}\n", *under);
    }
    const fs::path path = drop_in_of(unit), partial = path.string() + ".new";
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    std::ofstream file(partial);
    file << text << std::flush;
    if (error || !file)
        return failed("write " + path.string(),
                      error ? error : std::error_code(errno, std::generic_category()));
    fs::rename(partial, path, error);
    if (error)
        return failed("write " + path.string(), error);
    return path.string();
}

Result<std::string> remove_drop_in(const std::string &unit) {
    const fs::path path = drop_in_of(unit);
    std::error_code error;
    const bool removed = fs::remove(path, error);
    if (error)
        return failed("remove " + path.string(), error);
    fs::remove(path.parent_path(), error); // only if it is empty now
    return removed ? path.string() : std::string();
}

} // namespace mps::run
