// SPDX-License-Identifier: MIT
#include "pins.hpp"

#include <linux/magic.h>
#include <mps/abi.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <thread>

#include <fmt/format.h>

#include "contract.hpp"
#include "mpsched/netns.hpp"
#include "numbers.hpp"

#ifndef BPF_FS_MAGIC
#define BPF_FS_MAGIC 0xcafe4a11
#endif

namespace mps {

namespace {

namespace fs = std::filesystem;

constexpr const char *usual_bpffs = "/sys/fs/bpf";

bool is_bpffs(const std::string &path) {
    struct statfs status{};
    return !::statfs(path.c_str(), &status) && static_cast<std::uint32_t>(status.f_type) == BPF_FS_MAGIC;
}

std::string link_target(const std::string &path) {
    std::error_code error;
    return fs::read_symlink(path, error).string();
}

// The parent of a process; 0 if there is none or it cannot be told. proc(5): the second number after the name
// in ().
pid_t parent_of(pid_t pid) {
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    std::istringstream fields(text.substr(std::min(text.rfind(')') + 1, text.size())));
    std::string state;
    pid_t parent = 0;
    fields >> state >> parent;
    return parent;
}

// `ip netns exec` and `unshare -m` give a private mount namespace: a bpf file system mounted there ends with
// the command, and every pin with it. So pins belong into the mount namespace of our oldest ancestor that we
// may look at (process 1, where it lets us). 0: that is our own.
pid_t owner_of_outer_mounts() {
    std::vector<pid_t> ancestors;
    for (pid_t pid = parent_of(::getpid()); pid > 0 && ancestors.size() < 1000; pid = parent_of(pid))
        ancestors.push_back(pid);
    if (ancestors.empty() || ancestors.back() != 1)
        ancestors.push_back(1);
    const std::string own = link_target("/proc/self/ns/mnt");
    for (auto pid = ancestors.rbegin(); pid != ancestors.rend(); ++pid) {
        const std::string theirs = link_target(fmt::format("/proc/{}/ns/mnt", *pid));
        if (!theirs.empty())
            return theirs == own ? 0 : *pid;
    }
    return 0;
}

std::string outer_bpffs(pid_t owner) { return fmt::format("/proc/{}/root{}", owner, usual_bpffs); }

// 0 or an errno.
int mount_bpffs(const std::string &path) {
    return ::mount("bpf", path.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME, "mode=0700")
               ? errno
               : 0;
}

// mount(2) works on the caller's mount namespace only, so a child goes there. 0 or an errno.
int mount_outer_bpffs(pid_t owner) {
    const std::string path = fmt::format("/proc/{}/ns/mnt", owner);
    const pid_t child = ::fork();
    if (child < 0)
        return errno;
    if (!child) {
        const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0 || ::setns(fd, CLONE_NEWNS))
            ::_exit(errno);
        ::_exit(mount_bpffs(usual_bpffs));
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

std::string configured_bpffs(const OpenOptions &options) {
    if (!options.bpffs.empty())
        return options.bpffs;
    const char *environment = std::getenv("MPS_BPFFS");
    return environment ? environment : "";
}

// /proc/locks: "1: FLOCK  ADVISORY  WRITE 4711 00:1f:1234 0 EOF", device and inode of the locked file.
std::string lock_holder(int fd) {
    struct stat status{};
    if (::fstat(fd, &status))
        return {};
    const std::string file =
        fmt::format("{:02x}:{:02x}:{}", major(status.st_dev), minor(status.st_dev), status.st_ino);
    std::ifstream locks("/proc/locks");
    for (std::string line; std::getline(locks, line);) {
        std::istringstream fields(line);
        std::string number, kind, advisory, access, pid, where;
        fields >> number >> kind >> advisory >> access >> pid >> where;
        if (kind == "FLOCK" && where == file)
            return pid;
    }
    return {};
}

std::vector<std::string> entries(const std::string &directory) {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto &entry : fs::directory_iterator(directory, error))
        names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

// Cookies of the network namespaces that have a name or a process.
std::set<std::uint64_t> reachable_cookies() {
    std::set<std::uint64_t> cookies;
    // Namespaces belong to threads: one of its own keeps ours where it is.
    std::thread([&] {
        std::set<std::string> seen;
        std::vector<std::string> candidates;
        for (const std::string &name : entries("/run/netns"))
            candidates.push_back(fmt::format("/run/netns/{}", name));
        for (const std::string &pid : entries("/proc")) {
            if (!parse_unsigned(pid))
                continue;
            const std::string path = fmt::format("/proc/{}/ns/net", pid);
            if (const std::string identity = link_target(path);
                !identity.empty() && seen.insert(identity).second) {
                candidates.push_back(path);
            }
        }
        for (const std::string &path : candidates) {
            const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
            if (!fd || ::setns(fd.get(), CLONE_NEWNET))
                continue;
            if (const auto cookie = netns_cookie())
                cookies.insert(*cookie);
        }
    }).join();
    return cookies;
}

std::vector<std::uint32_t> numbers_before(const std::string &directory, char separator) {
    std::vector<std::uint32_t> numbers;
    for (const std::string &name : entries(directory)) {
        const auto number = parse_unsigned(std::string_view(name).substr(0, name.find(separator)));
        if (number && *number <= UINT32_MAX)
            numbers.push_back(static_cast<std::uint32_t>(*number));
    }
    std::sort(numbers.begin(), numbers.end());
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    return numbers;
}

enum class Links { none, all_dead, some_alive };

Links judge_links(const InstallationPaths &paths) {
    Links result = Links::none;
    for (const std::string &name : entries(paths.links_dir())) {
        const auto fd = open_pin(fmt::format("{}/{}", paths.links_dir(), name));
        if (!fd || !*fd || object_kind((*fd)->get()) != ObjectKind::link)
            continue;
        const auto info = link_info((*fd)->get());
        if (!info)
            continue;
        if (info->ifindex)
            return Links::some_alive;
        result = Links::all_dead;
    }
    return result;
}

std::optional<std::uint64_t> version_of(std::string_view directory) {
    if (!directory.starts_with('v'))
        return std::nullopt;
    return parse_unsigned(directory.substr(1));
}

} // namespace

// ---- bpf file
// system

std::optional<std::string> find_bpffs(const OpenOptions &options) {
    if (const std::string wanted = configured_bpffs(options); !wanted.empty()) {
        return is_bpffs(wanted) ? std::optional(wanted) : std::nullopt;
    }
    if (is_bpffs(usual_bpffs))
        return usual_bpffs;
    if (const pid_t owner = owner_of_outer_mounts(); owner && is_bpffs(outer_bpffs(owner)))
        return outer_bpffs(owner);
    return std::nullopt;
}

Result<void> check_bpffs(const OpenOptions &options) {
    const std::string wanted = configured_bpffs(options);
    if (wanted.empty() || is_bpffs(wanted))
        return {};
    const std::string named = fmt::format("{}{}", wanted, options.bpffs.empty() ? " (MPS_BPFFS)" : "");
    struct statfs status{};
    const int err = ::statfs(wanted.c_str(), &status) ? errno : 0;
    if (err == EACCES || err == EPERM)
        return std::unexpected(system_error(err, fmt::format("looking for a bpf file system at {}", named)));
    return fail(
        ErrorCode::usage,
        fmt::format("{} is no bpf file system{}{}", named, err ? ": " : "", err ? errno_text(err) : ""),
        fmt::format("'mount -t bpf bpf {}' makes one", wanted));
}

Result<std::string> require_bpffs(const OpenOptions &options) {
    if (auto found = find_bpffs(options))
        return *found;
    // A place that somebody chose is not to be covered by a mount.
    if (auto good = check_bpffs(options); !good)
        return std::unexpected(good.error());
    const pid_t owner = owner_of_outer_mounts();
    const std::string path = owner ? outer_bpffs(owner) : usual_bpffs;
    int err = owner ? mount_outer_bpffs(owner) : mount_bpffs(usual_bpffs);
    if (!err && !is_bpffs(path))
        err = ENOENT;
    if (!err)
        return path;
    return std::unexpected(system_error(
        err, fmt::format("mounting a bpf file system at {}", usual_bpffs),
        err == EPERM || err == EACCES ? "" : fmt::format("try 'mount -t bpf bpf {}'", usual_bpffs)));
}

Result<Lock> Lock::take(const std::string &bpffs, std::uint32_t timeout_ms) {
    Fd fd(::open(bpffs.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd)
        return std::unexpected(system_error(errno, fmt::format("opening {}", bpffs)));
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    while (::flock(fd.get(), LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return std::unexpected(system_error(errno, fmt::format("locking {}", bpffs)));
        if (std::chrono::steady_clock::now() >= deadline) {
            const std::string holder = lock_holder(fd.get());
            return fail(
                ErrorCode::failed,
                holder.empty() ? "another mpsched is running"
                               : fmt::format("another mpsched (process {}) is running", holder),
                fmt::format("it has held {} for {} s; try again when it is done", bpffs, timeout_ms / 1000));
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return Lock(std::move(fd));
}

// ---- layout

PinLayout::PinLayout(const std::string &bpffs)
    : root(fmt::format("{}/mpsched/v{}", bpffs, MPS_ABI_VERSION)) {}

std::string PinLayout::installation(std::uint64_t cookie) const {
    return fmt::format("{}/{}{}", root, installed_prefix, cookie);
}

std::string InstallationPaths::map(std::string_view name) const {
    return fmt::format("{}/maps/{}", base, name);
}
std::string InstallationPaths::program(std::string_view name) const {
    return fmt::format("{}/progs/{}", base, name);
}
std::string InstallationPaths::xdp_link(std::uint32_t ifindex) const {
    return fmt::format("{}/links/{}-xdp", base, ifindex);
}
std::string InstallationPaths::tc_link(std::uint32_t ifindex) const {
    return fmt::format("{}/links/{}-tc", base, ifindex);
}
std::string InstallationPaths::clsact_mark(std::uint32_t ifindex) const {
    return fmt::format("{}/links/{}-clsact", base, ifindex);
}
std::string InstallationPaths::kept_policy(std::uint32_t slot) const {
    return fmt::format("{}/policies/{}", base, slot);
}
std::string InstallationPaths::origin(std::uint32_t slot) const {
    return fmt::format("{}/origins/{}", base, slot);
}
std::string InstallationPaths::levers_link() const { return fmt::format("{}/levers", base); }
std::string InstallationPaths::links_dir() const { return fmt::format("{}/links", base); }
std::string InstallationPaths::policies_dir() const { return fmt::format("{}/policies", base); }

std::vector<std::uint32_t> pinned_interfaces(const InstallationPaths &paths) {
    return numbers_before(paths.links_dir(), '-');
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

void remove_empty_root(const std::string &bpffs) {
    ::rmdir(PinLayout(bpffs).root.c_str());
    ::rmdir(fmt::format("{}/mpsched", bpffs).c_str());
}

std::vector<Installation> find_installations(const std::string &bpffs, std::uint64_t cookie) {
    std::vector<Installation> found;
    std::optional<std::set<std::uint64_t>> reachable;
    const std::string top = fmt::format("{}/mpsched", bpffs);
    for (const std::string &version : entries(top)) {
        const auto number = version_of(version);
        const std::string directory = fmt::format("{}/{}", top, version);
        if (!number) {
            found.push_back(
                {.state = Installation::State::foreign, .path = directory, .text = "not ours: unknown name"});
            continue;
        }
        for (const std::string &name : entries(directory)) {
            Installation one{.path = fmt::format("{}/{}", directory, name)};
            if (name.starts_with(building_prefix) || name.starts_with(removing_prefix)) {
                one.state = Installation::State::half_made;
                one.text = "left by a killed command";
                found.push_back(std::move(one));
                continue;
            }
            const auto id = name.starts_with(installed_prefix)
                                ? parse_unsigned(std::string_view(name).substr(installed_prefix.size()))
                                : std::nullopt;
            if (!id) {
                one.state = Installation::State::foreign;
                one.text = "not ours: unknown name";
                found.push_back(std::move(one));
                continue;
            }
            one.netns_cookie = *id;
            one.current = cookie && *id == cookie;
            if (*number != MPS_ABI_VERSION) {
                one.state = Installation::State::other_abi;
                one.text =
                    fmt::format("made by {} mpsched (ABI {}, this one has {})",
                                *number > MPS_ABI_VERSION ? "a newer" : "an older", *number, MPS_ABI_VERSION);
                found.push_back(std::move(one));
                continue;
            }
            const InstallationPaths paths{one.path};
            if (const auto contract = check_contract(paths); !contract) {
                one.state = Installation::State::foreign;
                one.text = contract.error().what;
            } else if (!one.current) {
                const Links links = judge_links(paths);
                // Looking at every process is left to the cases that need it.
                if (links != Links::some_alive && !reachable)
                    reachable = reachable_cookies();
                const bool alive = links == Links::some_alive || reachable->contains(*id);
                // Without links (clsact only) a namespace that merely cannot be reached from here might still
                // be there.
                if (!alive && links == Links::all_dead) {
                    one.state = Installation::State::stale;
                    one.text = "its network namespace is gone";
                } else if (!alive) {
                    one.state = Installation::State::unreachable;
                    one.text = "its network namespace could not be found";
                }
            }
            found.push_back(std::move(one));
        }
    }
    return found;
}

bool builder_is_alive(const std::string &path) {
    const std::string name = fs::path(path).filename().string();
    static_assert(building_prefix.size() == removing_prefix.size());
    const std::string rest = name.substr(std::min(building_prefix.size(), name.size()));
    const auto pid = parse_unsigned(std::string_view(rest).substr(0, rest.find('-')));
    std::error_code error;
    return pid && fs::exists(fmt::format("/proc/{}", *pid), error);
}

Result<std::vector<std::string>> sweep(const std::string &bpffs, std::uint64_t cookie, bool force) {
    std::vector<std::string> removed;
    for (const Installation &one : find_installations(bpffs, cookie)) {
        const bool remove =
            one.state == Installation::State::half_made || one.state == Installation::State::stale ||
            (force &&
             (one.state == Installation::State::other_abi || one.state == Installation::State::unreachable));
        if (!remove)
            continue;
        if (const auto done = remove_installation(one.path); !done)
            return std::unexpected(done.error());
        removed.push_back(fmt::format("{}: {}", one.path, one.text));
        // The directory of another version stays only as long as something is in it.
        if (one.state == Installation::State::other_abi)
            ::rmdir(fs::path(one.path).parent_path().c_str());
    }
    return removed;
}

} // namespace mps
