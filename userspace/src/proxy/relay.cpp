// SPDX-License-Identifier: MIT
#include "proxy/relay.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <sstream>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/descriptor.hpp"
#include "base/try.hpp"
#include "run/filter.hpp"
#include "run/supervisor.hpp"

namespace mps::proxy {

namespace {

constexpr std::size_t wanted_descriptors = 65536, spare_descriptors = 128;

std::unexpected<Error> failed(std::string_view what) { return std::unexpected(system_error(errno, what)); }

std::string origin_line(const Spec &spec) {
    // To 0.0.0.0 means to where the client wanted to go, its port and IPv6 included (haproxy's configuration manual, "server").
    if (spec.near())
        return spec.via ? fmt::format("server far {} send-proxy-v2", spec.via->text())
                        : "server origin 0.0.0.0";
    return fmt::format("server {}{}", spec.to ? "to " + spec.to->text() : "origin 0.0.0.0",
                       spec.send_proxy ? " send-proxy-v2" : "");
}

// As many connections as two descriptors each allow.
std::size_t raise_limit() {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    rlimit wanted{wanted_descriptors, std::max<rlim_t>(limit.rlim_max, wanted_descriptors)};
    if (::setrlimit(RLIMIT_NOFILE, &wanted) != 0) {
        wanted = {limit.rlim_max, limit.rlim_max};
        ::setrlimit(RLIMIT_NOFILE, &wanted);
    }
    const std::size_t descriptors = std::min<rlim_t>(wanted.rlim_cur, wanted_descriptors);
    return descriptors > 3 * spare_descriptors ? (descriptors - spare_descriptors) / 2 : spare_descriptors;
}

// Debian's package makes a user for it.
passwd user_for_relay() {
    if (const passwd *found = ::getpwnam("haproxy"))
        return *found;
    passwd nobody{};
    nobody.pw_uid = nobody.pw_gid = 65534;
    return nobody;
}

// To bind to a client's address takes CAP_NET_RAW, which stays through ambient capabilities. As its own library function libc has none.
bool give_up_rights(const passwd &user, bool binds_to_others) {
    if (::prctl(PR_SET_KEEPCAPS, binds_to_others ? 1 : 0) != 0 || ::setgroups(0, nullptr) != 0 ||
        ::setresgid(user.pw_gid, user.pw_gid, user.pw_gid) != 0 ||
        ::setresuid(user.pw_uid, user.pw_uid, user.pw_uid) != 0)
        return false;
    if (!binds_to_others)
        return true;
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, 2> sets{};
    constexpr std::uint32_t raw = 1U << CAP_NET_RAW;
    sets[0] = {.effective = raw, .permitted = raw, .inheritable = raw};
    return ::syscall(SYS_capset, &header, sets.data()) == 0 &&
           ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0) == 0;
}

struct Start {
    const Spec &spec;
    std::vector<int> descriptors; // from first_descriptor on
    int program, words;
    pid_t keeper;
    passwd user;
};

Result<void> prepare(const Start &start) {
    // While this process may still do so.
    if (start.spec.near()) {
        const auto supervisor = run::Supervisor::start({.tell = run::Tell::nothing});
        MPS_TRY(supervisor);
        auto listener = run::install_filter(run::Way::seccomp);
        MPS_TRY(listener);
        MPS_TRY(supervisor->begin(std::move(*listener)));
    }
    // Numbers that are wanted may be in use: first all out of their way.
    std::vector<int> away;
    for (const int fd : start.descriptors)
        away.push_back(::fcntl(fd, F_DUPFD_CLOEXEC, 64));
    const int program = ::fcntl(start.program, F_DUPFD_CLOEXEC, 64);
    for (std::size_t i = 0; i < away.size(); i++)
        if (::dup2(away[i], first_descriptor + static_cast<int>(i)) < 0)
            return failed("handing on descriptors");
    ::dup2(program, first_descriptor + static_cast<int>(away.size()));
    ::fcntl(first_descriptor + static_cast<int>(away.size()), F_SETFD, FD_CLOEXEC);
    ::syscall(SYS_close_range, first_descriptor + away.size() + 1, ~0U, 0);
    if (!give_up_rights(start.user, !start.spec.keep_address.empty()))
        return failed("giving up rights");
    // Changing the user takes it back, so it comes last. Without a keeper nobody would end the relay.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    return ::getppid() == start.keeper ? Result<void>{} : fail(ErrorCode::failed, "the keeper is gone", "");
}

[[noreturn]] void become_relay(const Start &start) {
    ::setsid();
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGCHLD})
        ::signal(number, SIG_DFL);
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    ::dup2(null, STDIN_FILENO);
    ::dup2(null, STDOUT_FILENO);
    ::dup2(start.words, STDERR_FILENO);
    if (const auto ready = prepare(start); !ready) {
        fmt::print(stderr, "{}\n", ready.error().what);
        ::_exit(126);
    }
    // The configuration is the last of the descriptors.
    const int count = static_cast<int>(start.descriptors.size());
    std::string config = fmt::format("/proc/self/fd/{}", first_descriptor + count - 1), name = "haproxy",
                stay = "-db", file = "-f";
    std::array<char *, 5> words{name.data(), stay.data(), file.data(), config.data(), nullptr};
    ::fexecve(first_descriptor + count, words.data(), environ);
    fmt::print(stderr, "cannot start the relay: {}\n", std::generic_category().message(errno));
    ::_exit(126);
}

Result<Fd> config_file(const std::string &text) {
    Fd file(::memfd_create("mpsched-proxy", MFD_CLOEXEC));
    if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        return failed("writing the relay's configuration");
    return file;
}

} // namespace

std::string Spec::name() const { return near() ? "near" : fmt::format("far-{}", listen ? listen->port : 0); }

std::string relay_config(const Spec &spec, std::size_t listeners, std::size_t max_connections) {
    // No limit of idle time: as without it a connection lasts until an end closes it, or does not answer keep-alives.
    std::string text = fmt::format("global\n"
                                   "    maxconn {}\n"
                                   "    noreuseport\n"
                                   "    stats socket sockpair@{} level operator\n"
                                   "defaults\n"
                                   "    mode tcp\n"
                                   "    maxconn {}\n"
                                   "    timeout connect 3m\n"
                                   "    timeout client 24d\n"
                                   "    timeout server 24d\n"
                                   "    option clitcpka\n"
                                   "    option srvtcpka\n"
                                   "    retries 0\n"
                                   "frontend alive\n"
                                   "    bind fd@{}\n"
                                   "    tcp-request connection reject\n"
                                   "listen {}\n",
                                   max_connections, first_descriptor + 1 + listeners, max_connections,
                                   first_descriptor, spec.name());
    const bool hears_of_clients = !spec.from.empty();
    for (std::size_t i = 0; i < listeners; i++)
        text += fmt::format("    bind fd@{}{}\n", first_descriptor + 1 + i,
                            hears_of_clients ? " accept-proxy" : "");
    if (hears_of_clients)
        text +=
            fmt::format("    tcp-request connection reject unless {{ src {} }}\n", fmt::join(spec.from, " "));
    // To itself: whoever connects to the socket of intercepted connections on this host, or a header that says so.
    if (spec.near() || !spec.to)
        text += "    tcp-request session reject if { dst 127.0.0.0/8 0.0.0.0/8 ::1 }\n";
    if (!spec.near() && !spec.to)
        text += fmt::format("    tcp-request session reject if {{ dst_is_local }} {{ dst_port {} }}\n",
                            spec.listen->port);
    if (!spec.keep_address.empty())
        text += "    source 0.0.0.0 usesrc clientip\n";
    return text + "    " + origin_line(spec) + "\n";
}

Result<std::string> find_relay(const std::string &name) {
    if (name.contains('/'))
        return name;
    const char *path = std::getenv("PATH");
    std::istringstream folders(fmt::format("{}:/usr/sbin:/usr/local/sbin", path ? path : ""));
    for (std::string folder; std::getline(folders, folder, ':');) {
        const std::string file = folder + "/" + name;
        if (!folder.empty() && ::access(file.c_str(), X_OK) == 0)
            return file;
    }
    return fail(ErrorCode::unsupported,
                fmt::format("there is no {} here, which moves the proxy's data", name),
                "apt-get install haproxy; or name the program with --relay");
}

Result<Relay> start_relay(const Spec &spec, const Sockets &sockets) {
    const Fd program(::open(spec.relay.c_str(), O_PATH | O_CLOEXEC));
    if (!program)
        return failed(fmt::format("opening {}", spec.relay));
    const auto config = config_file(relay_config(spec, sockets.listeners.size(), raise_limit()));
    MPS_TRY(config);
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC | O_NONBLOCK) != 0)
        return failed("making a pipe");
    const Fd theirs(pipe[1]);
    auto door = make_socket_pair(SOCK_STREAM | SOCK_NONBLOCK);
    if (!door)
        return failed("making a socket pair");
    Relay relay{.words = Fd(pipe[0]), .door = std::move(door->first)};
    Start start{.spec = spec,
                .descriptors = {sockets.alive},
                .program = program.get(),
                .words = theirs.get(),
                .keeper = ::getpid(),
                .user = user_for_relay()};
    start.descriptors.insert(start.descriptors.end(), sockets.listeners.begin(), sockets.listeners.end());
    start.descriptors.push_back(door->second.get());
    start.descriptors.push_back(config->get());
    relay.pid = ::fork();
    if (relay.pid == 0)
        become_relay(start);
    if (relay.pid < 0)
        return failed("starting the relay");
    relay.process = Fd(static_cast<int>(::syscall(SYS_pidfd_open, relay.pid, 0)));
    return relay;
}

Fd Relay::open_door() const {
    auto pair = make_socket_pair(SOCK_STREAM);
    return door && pair && send_descriptor(door.get(), pair->second.get()) ? std::move(pair->first) : Fd();
}

} // namespace mps::proxy
