// SPDX-License-Identifier: MIT
#include "congestion/users.hpp"

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <mps/abi.h>
#include <mps/congestion_abi.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <span>

#include <fmt/format.h>

#include "base/addresses.hpp"
#include "base/fd.hpp"
#include "base/try.hpp"
#include "congestion.skel.h"
#include "kernel/cgroup.hpp"
#include "kernel/iterator.hpp"
#include "kernel/load_object.hpp"
#include "kernel/netns.hpp"

namespace mps {

namespace {

struct Destroy {
    void operator()(congestion *object) const { congestion__destroy(object); }
};

struct NamedNamespace {
    std::string name{};
    Fd fd{};
};

// Each once: our own, those with a name, those of processes.
class Namespaces {
  public:
    Namespaces() {
        namespace fs = std::filesystem;
        add("", "/proc/thread-self/ns/net");
        std::error_code error;
        for (const auto &entry : fs::directory_iterator("/run/netns", error))
            add(entry.path().filename().string(), entry.path().string());
        for (const auto &entry : fs::directory_iterator("/proc", error)) {
            const std::string pid = entry.path().filename().string();
            if (pid.find_first_not_of("0123456789") == std::string::npos)
                add("pid " + pid, fmt::format("/proc/{}/ns/net", pid));
        }
    }
    [[nodiscard]] const std::vector<NamedNamespace> &all() const { return all_; }

  private:
    void add(const std::string &name, const std::string &path) {
        struct stat status{};
        if (::stat(path.c_str(), &status) || seen_.contains(status.st_ino))
            return;
        Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        if (!fd)
            return;
        seen_.insert(status.st_ino);
        all_.push_back({name, std::move(fd)});
    }
    std::set<ino_t> seen_{};
    std::vector<NamedNamespace> all_{};
};

Result<std::unique_ptr<congestion, Destroy>> load_reader() {
    std::unique_ptr<congestion, Destroy> object(congestion__open());
    if (!object)
        return std::unexpected(system_error(errno, "opening the programs of congestion controls"));
    bpf_map *map;
    bpf_object__for_each_map(map, object->obj) if (!bpf_map__is_internal(map))
        bpf_map__set_autocreate(map, false);
    bpf_program *program;
    bpf_object__for_each_program(program, object->obj)
        bpf_program__set_autoload(program, program == object->progs.mps_cc_users);
    MPS_TRY(load_object(object->obj, "loading the program that finds users of congestion controls",
                        [&] { return congestion__load(object.get()); }));
    return object;
}

CongestionUser user_of(const mps_cc_user &record, const std::string &netns) {
    return {.netns = netns,
            .local = endpoint_text(std::span(record.local), record.local_port),
            .remote = endpoint_text(std::span(record.remote), record.remote_port),
            .mptcp = record.is_mptcp != 0,
            .token = record.token,
            .uid = record.uid,
            .cgroup = cgroup_path(record.cgroup_id).value_or("")};
}

} // namespace

Result<std::map<std::string, std::vector<CongestionUser>>> congestion_users() {
    const auto reader = load_reader();
    MPS_TRY(reader);
    std::map<std::string, std::vector<CongestionUser>> users;
    const Namespaces namespaces;
    for (const NamedNamespace &one : namespaces.all()) {
        const auto inside = InNetns::enter(one.fd.get());
        if (!inside)
            continue;
        std::vector<char> bytes;
        const auto done = run_iterator(
            bpf_program__fd((*reader)->progs.mps_cc_users), "reading sockets",
            [&](std::span<const char> piece) { bytes.insert(bytes.end(), piece.begin(), piece.end()); });
        MPS_TRY(done);
        for (std::size_t at = 0; at + sizeof(mps_cc_user) <= bytes.size(); at += sizeof(mps_cc_user)) {
            mps_cc_user record;
            std::memcpy(&record, bytes.data() + at, sizeof record);
            record.name[MPS_CC_NAME_LEN - 1] = '\0';
            users[record.name].push_back(user_of(record, one.name));
        }
    }
    return users;
}

std::string users_text(const CongestionControl &control) {
    constexpr std::size_t shown = 3;
    std::string text = fmt::format("{} {}", control.users, control.users == 1 ? "user" : "users");
    const char *before = ": ";
    for (std::size_t i = 0; i < std::min(shown, control.sockets.size()); i++) {
        const CongestionUser &user = control.sockets[i];
        text += fmt::format("{}{}{} to {} of uid {}", before,
                            user.netns.empty() ? "" : fmt::format("netns {} ", user.netns), user.local,
                            user.remote, user.uid);
        before = "; ";
    }
    if (control.sockets.size() > shown)
        text += "; …";
    else if (control.sockets.size() < control.users)
        text +=
            fmt::format("{}{} that cannot be seen from here", before, control.users - control.sockets.size());
    return text;
}

} // namespace mps
