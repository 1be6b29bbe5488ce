// SPDX-License-Identifier: MIT
#include "pins/pins.hpp"

#include <mps/abi.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include <fmt/format.h>

#include "base/numbers.hpp"
#include "base/try.hpp"
#include "kernel/namespace_state.hpp"
#include "pins/contract.hpp"

namespace mps {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view locks_name = "locks";

std::vector<std::string> entries(const std::string &directory) {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto &entry : fs::directory_iterator(directory, error))
        names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

// Of names that are PREFIX, a number, and the separator or the end.
std::vector<std::uint32_t> numbers_before(const std::string &directory, char separator,
                                          std::string_view prefix = {}) {
    std::vector<std::uint32_t> numbers;
    for (const std::string &name : entries(directory)) {
        if (!name.starts_with(prefix))
            continue;
        const std::string_view rest = std::string_view(name).substr(prefix.size());
        const auto number = parse_unsigned(rest.substr(0, rest.find(separator)));
        if (number && *number <= UINT32_MAX)
            numbers.push_back(static_cast<std::uint32_t>(*number));
    }
    std::sort(numbers.begin(), numbers.end());
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    return numbers;
}

std::optional<std::uint64_t> version_of(std::string_view directory) {
    if (!directory.starts_with('v'))
        return std::nullopt;
    return parse_unsigned(directory.substr(1));
}

} // namespace

// ---- layout

PinLayout::PinLayout(const std::string &bpffs)
    : top(fmt::format("{}/mpsched", bpffs)),
      root(fmt::format("{}/v{}", top, MPS_ABI_VERSION)),
      locks(fmt::format("{}/{}", top, locks_name)) {}

std::string PinLayout::installation(std::uint64_t cookie) const {
    return fmt::format("{}/{}{}", root, installed_prefix, cookie);
}

std::string PinLayout::building(std::uint64_t cookie) const {
    return fmt::format("{}/{}{}", root, building_prefix, cookie);
}

std::string PinLayout::lock(std::uint64_t cookie) const { return fmt::format("{}/{}", locks, cookie); }

bool is_installed(const std::string &bpffs, std::uint64_t cookie) {
    const std::string top = PinLayout(bpffs).top;
    std::error_code error;
    for (const std::string &version : entries(top)) {
        if (version_of(version) &&
            fs::exists(fmt::format("{}/{}/{}{}", top, version, installed_prefix, cookie), error))
            return true;
    }
    return false;
}

std::string InstallationPaths::map(std::string_view name) const {
    return fmt::format("{}/maps/{}", base, name);
}
std::string InstallationPaths::program(std::string_view name) const {
    return fmt::format("{}/progs/{}", base, name);
}
std::string InstallationPaths::rules_dir() const { return fmt::format("{}/rules", base); }
std::string InstallationPaths::rules_pin(std::string_view name) const {
    return fmt::format("{}/rules/{}", base, name);
}
std::string InstallationPaths::apps_dir() const { return fmt::format("{}/apps", base); }
std::string InstallationPaths::app_link(std::uint32_t grant, std::string_view side) const {
    return fmt::format("{}/apps/{}-{}", base, grant, side);
}
std::string InstallationPaths::kept_policy(std::uint32_t slot) const {
    return fmt::format("{}/policies/{}", base, slot);
}
std::string InstallationPaths::origin(std::uint32_t slot) const {
    return fmt::format("{}/origins/{}", base, slot);
}
std::string InstallationPaths::levers_link() const { return fmt::format("{}/levers", base); }
std::string InstallationPaths::probes_dir() const { return fmt::format("{}/probes", base); }
std::string InstallationPaths::probes_pin(std::string_view name) const {
    return fmt::format("{}/probes/{}", base, name);
}
std::string InstallationPaths::removed_endpoints() const { return fmt::format("{}/removed_endpoints", base); }
std::string InstallationPaths::makers_dir() const { return fmt::format("{}/makers", base); }
std::string InstallationPaths::makers_link() const { return fmt::format("{}/link", makers_dir()); }
std::string InstallationPaths::congestion_dir() const { return fmt::format("{}/congestion", base); }
std::string InstallationPaths::congestion_pin(std::string_view name) const {
    return fmt::format("{}/congestion/{}", base, name);
}
std::string InstallationPaths::links_dir() const { return fmt::format("{}/links", base); }
std::string InstallationPaths::policies_dir() const { return fmt::format("{}/policies", base); }

std::vector<std::uint32_t> pinned_interfaces(const InstallationPaths &paths) {
    return numbers_before(paths.links_dir(), '-');
}
std::vector<std::uint32_t> ruled_interfaces(const InstallationPaths &paths) {
    return numbers_before(paths.links_dir(), '-', "rules-");
}
std::vector<std::uint32_t> pinned_policies(const InstallationPaths &paths) {
    return numbers_before(paths.policies_dir(), '\0');
}

Result<void> make_directory(const std::string &path) {
    std::error_code error;
    if (!::mkdir(path.c_str(), 0700) || (errno == EEXIST && fs::is_directory(path, error)))
        return {};
    return std::unexpected(
        system_error(errno, fmt::format("making directory {}", path),
                     errno == EEXIST ? "something that is not ours has that name: move it away" : ""));
}

Result<void> remove_tree(const std::string &path) {
    std::error_code error;
    fs::remove_all(path, error);
    if (!error)
        return {};
    return std::unexpected(system_error(error.value(), fmt::format("removing {}", path)));
}

Result<void> remove_installation(const std::string &path) {
    const fs::path original(path);
    const std::string hidden = (original.parent_path() / fmt::format("{}{}-{}", removing_prefix, ::getpid(),
                                                                     original.filename().string()))
                                   .string();
    if (::rename(path.c_str(), hidden.c_str())) {
        if (errno == ENOENT)
            return {};
        return std::unexpected(system_error(errno, fmt::format("removing {}", path)));
    }
    return remove_tree(hidden);
}

namespace {

// The namespace that a name of ours speaks of: net-COOKIE, new-COOKIE, old-PID-net-COOKIE.
std::optional<std::uint64_t> cookie_of(std::string_view name) {
    return parse_unsigned(name.substr(std::min(name.rfind('-') + 1, name.size())));
}

Installation judge_half_made(Installation one, const std::string &bpffs) {
    one.at_work = is_locked(bpffs, one.netns_cookie);
    one.state = Installation::State::half_made;
    one.text = "left by a killed command";
    return one;
}

// What its own program says of its network namespace. An installation that cannot answer may belong to a living one.
Installation judge_namespace(Installation one) {
    switch (ask_namespace(InstallationPaths{one.path})) {
    case NamespaceState::alive:
        break;
    case NamespaceState::gone:
        one.state = Installation::State::stale;
        one.text = "its network namespace is gone";
        break;
    case NamespaceState::unknown:
        one.state = Installation::State::unreachable;
        one.text = "whether its network namespace is still there cannot be told";
    }
    return one;
}

Installation judge_other_version(Installation one, std::uint64_t version) {
    if (!one.current && ask_namespace(InstallationPaths{one.path}) == NamespaceState::gone) {
        one.state = Installation::State::stale;
        one.text = "its network namespace is gone";
        return one;
    }
    one.state = Installation::State::other_abi;
    one.text = fmt::format("made by {} mpsched (ABI {}, this one has {})",
                           version > MPS_ABI_VERSION ? "a newer" : "an older", version, MPS_ABI_VERSION);
    return one;
}

Installation judge(const std::string &bpffs, std::uint64_t version, const std::string &directory,
                   const std::string &name, std::uint64_t current) {
    Installation one{.path = fmt::format("{}/{}", directory, name)};
    const auto cookie = cookie_of(name);
    const bool installed = name.starts_with(installed_prefix);
    if (!cookie || !(installed || name.starts_with(building_prefix) || name.starts_with(removing_prefix))) {
        one.state = Installation::State::foreign;
        one.text = "not ours: unknown name";
        return one;
    }
    one.netns_cookie = *cookie;
    if (!installed)
        return judge_half_made(std::move(one), bpffs);
    one.current = current && *cookie == current;
    if (version != MPS_ABI_VERSION)
        return judge_other_version(std::move(one), version);
    if (const auto contract = check_contract(InstallationPaths{one.path}); !contract) {
        one.state = Installation::State::foreign;
        one.text = contract.error().what;
        return one;
    }
    return one.current ? one : judge_namespace(std::move(one));
}

bool is_left_over(const Installation &one) {
    return one.state == Installation::State::half_made || one.state == Installation::State::stale;
}

// Its lock is held. Tells nothing if somebody else was quicker.
Result<void> remove_one(const Installation &one, std::vector<std::string> &removed) {
    std::error_code error;
    if (!fs::exists(one.path, error))
        return {};
    // A half-made one is out of sight already.
    auto done =
        one.state == Installation::State::half_made ? remove_tree(one.path) : remove_installation(one.path);
    if (!done)
        return done;
    removed.push_back(fmt::format("{}: {}", one.path, one.text));
    // The directory of another version stays only as long as something is in it.
    ::rmdir(fs::path(one.path).parent_path().c_str());
    return {};
}

} // namespace

std::vector<Installation> find_installations(const std::string &bpffs, std::uint64_t cookie) {
    std::vector<Installation> found;
    const std::string top = PinLayout(bpffs).top;
    for (const std::string &version : entries(top)) {
        if (version == locks_name)
            continue;
        const auto number = version_of(version);
        const std::string directory = fmt::format("{}/{}", top, version);
        if (!number) {
            found.push_back(
                {.state = Installation::State::foreign, .path = directory, .text = "not ours: unknown name"});
            continue;
        }
        for (const std::string &name : entries(directory)) {
            Installation one = judge(bpffs, *number, directory, name, cookie);
            // A command that ended meanwhile took it away.
            std::error_code error;
            if (fs::exists(one.path, error))
                found.push_back(std::move(one));
        }
    }
    return found;
}

Result<void> sweep(const std::string &bpffs, std::uint64_t cookie, bool holds_lock) {
    std::vector<std::string> removed;
    for (const Installation &one : find_installations(bpffs, cookie)) {
        if (!is_left_over(one))
            continue;
        std::optional<Lock> lock;
        if (!holds_lock || one.netns_cookie != cookie) {
            auto taken = Lock::try_take(bpffs, one.netns_cookie);
            MPS_TRY(taken);
            if (!*taken)
                continue;
            lock.emplace(std::move(**taken));
        }
        MPS_TRY(remove_one(one, removed));
    }
    return {};
}

Result<std::vector<std::string>> sweep_all(const std::string &bpffs, bool force, const Patience &patience) {
    std::vector<std::string> removed;
    for (const Installation &one : find_installations(bpffs, 0)) {
        const bool forced = force && (one.state == Installation::State::other_abi ||
                                      one.state == Installation::State::unreachable);
        if (!is_left_over(one) && !forced)
            continue;
        const auto lock = Lock::take(bpffs, one.netns_cookie, patience);
        MPS_TRY(lock);
        MPS_TRY(remove_one(one, removed));
    }
    // Locks of commands that were killed before they had installed anything: freeing one tidies up.
    for (const std::string &name : entries(PinLayout(bpffs).locks)) {
        if (const auto cookie = parse_unsigned(name))
            (void)Lock::try_take(bpffs, *cookie);
    }
    return removed;
}

} // namespace mps
