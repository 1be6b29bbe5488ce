// SPDX-License-Identifier: MIT
#include "mpsched/proxy.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/in6.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <fstream>
#include <numeric>
#include <utility>

#include <mps/proxy_abi.h>

#include <fmt/format.h>

#include "base/fd.hpp"
#include "base/try.hpp"
#include "kernel/load_object.hpp"
#include "kernel/netlink.hpp"
#include "kernel/netns.hpp"
#include "proxy.skel.h"
#include "proxy/diversion.hpp"

namespace mps {

namespace {

struct DestroyProxy {
    void operator()(proxy *object) const { proxy__destroy(object); }
};
using Programs = std::unique_ptr<proxy, DestroyProxy>;

Result<std::vector<NetDevice>> devices_of(const std::vector<std::string> &names) {
    std::vector<NetDevice> devices;
    for (const std::string &name : names) {
        const auto device = net_device(name);
        if (!device)
            return no_such_interface(name);
        if (device->name == "lo" || device->foreign_framing())
            return fail(ErrorKind::unsupported,
                        fmt::format("the proxy cannot be on {} ({})", name, device->type_text()),
                        "interfaces that other hosts are behind can be named");
        devices.push_back(*device);
    }
    return devices;
}

bool forwards(const std::string &name) {
    for (const char *family : {"ipv4", "ipv6"}) {
        char value = '0';
        std::ifstream(fmt::format("/proc/sys/net/{}/conf/{}/forwarding", family, name)) >> value;
        if (value == '1')
            return true;
    }
    return false;
}

Result<void> check(const InterceptionSpec &spec, const std::vector<NetDevice> &lan) {
    if (lan.empty() || lan.size() > MPS_PROXY_LANS || spec.ports.size() > MPS_PROXY_PORTS)
        return fail(ErrorCode::usage,
                    fmt::format("{} interfaces and {} ports", lan.size(), spec.ports.size()),
                    fmt::format("1 to {} interfaces, and at most {} ports, can be named", MPS_PROXY_LANS,
                                MPS_PROXY_PORTS));
    for (const NetDevice &device : lan)
        if (!forwards(device.name))
            return fail(ErrorCode::failed,
                        fmt::format("this host passes on nothing that comes over {}", device.name),
                        "sysctl -w net.ipv4.ip_forward=1 (or net.ipv6.conf.all.forwarding=1)");
    return {};
}

// 127.0.0.1 and ::1, where nobody else can connect to it. Empty where the kernel has no such family.
Result<Fd> listen_on(int family) {
    Fd socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!socket && family == AF_INET6)
        return Fd();
    const int on = 1;
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_addr = in6addr_loopback;
    const bool is_v4 = family == AF_INET;
    // What is accepted has the address of the server.
    const bool is_ready =
        socket &&
        (is_v4 ? ::setsockopt(socket.get(), IPPROTO_IP, IP_TRANSPARENT, &on, sizeof on) == 0
               : ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof on) == 0 &&
                     ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
        (is_v4 ? ::bind(socket.get(), reinterpret_cast<const sockaddr *>(&v4), sizeof v4)
               : ::bind(socket.get(), reinterpret_cast<const sockaddr *>(&v6), sizeof v6)) == 0 &&
        ::listen(socket.get(), SOMAXCONN) == 0;
    if (!is_ready)
        return std::unexpected(system_error(errno, "making the socket that takes intercepted connections"));
    return socket;
}

Result<Programs> load(const InterceptionSpec &spec, const std::vector<NetDevice> &lan) {
    Programs object(proxy__open());
    if (!object)
        return std::unexpected(system_error(errno, "opening the programs of the proxy"));
    for (std::size_t i = 0; i < lan.size(); i++)
        object->rodata->mps_lans[i] = lan[i].ifindex;
    std::ranges::copy(spec.ports, object->rodata->mps_ports);
    MPS_TRY(load_object(object->obj, "loading the programs of the proxy",
                        [&] { return proxy__load(object.get()); }));
    return object;
}

} // namespace

struct [[gnu::visibility("hidden")]] Interception::Impl {
    Programs programs;
    std::array<Fd, MPS_PROXY_FAMILIES> listeners;

    Result<void> attach(const std::vector<NetDevice> &lan, const std::vector<NetDevice> &back) const {
        MPS_TRY(add_diversion());
        for (const NetDevice &device : lan)
            MPS_TRY(put_proxy_filter(device, bpf_program__fd(programs->progs.mps_proxy_lan)));
        for (const NetDevice &device : back)
            MPS_TRY(put_proxy_filter(device, bpf_program__fd(programs->progs.mps_proxy_back)));
        return {};
    }
};

Interception::Interception(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Interception::Interception(Interception &&) noexcept = default;
Interception::~Interception() {
    if (impl_)
        (void)remove_interception();
}

Result<Interception> Interception::start(const InterceptionSpec &spec) {
    const auto lan = devices_of(spec.lan), back = devices_of(spec.back);
    MPS_TRY(lan);
    MPS_TRY(back);
    MPS_TRY(check(spec, *lan));
    MPS_TRY(remove_interception());
    auto programs = load(spec, *lan);
    MPS_TRY(programs);
    auto impl = std::make_unique<Impl>(std::move(*programs), std::array<Fd, MPS_PROXY_FAMILIES>{});
    for (const auto &[key, family] : {std::pair(MPS_PROXY_IPV4, AF_INET), {MPS_PROXY_IPV6, AF_INET6}}) {
        auto listener = listen_on(family);
        MPS_TRY(listener);
        impl->listeners[key] = std::move(*listener);
    }
    // From here on it takes back what it has done.
    Interception interception(std::move(impl));
    MPS_TRY(interception.impl_->attach(*lan, *back));
    return interception;
}

std::array<int, 2> Interception::listeners() const {
    return {impl_->listeners[MPS_PROXY_IPV4].get(), impl_->listeners[MPS_PROXY_IPV6].get()};
}

Result<void> Interception::offer(bool to_relay) const {
    const int offered = bpf_map__fd(impl_->programs->maps.mps_listeners),
              accepted = bpf_map__fd(impl_->programs->maps.mps_accepted);
    for (std::uint32_t key = 0; key < MPS_PROXY_FAMILIES; key++) {
        const int fd = impl_->listeners[key].get();
        if (fd < 0)
            continue;
        const std::uint32_t one = 1;
        const std::uint64_t socket = static_cast<std::uint64_t>(fd);
        if (!to_relay) {
            if (bpf_map_delete_elem(offered, &key) && errno != ENOENT && errno != EINVAL)
                return std::unexpected(system_error(errno, "taking the relay's socket back"));
        } else if (bpf_map_update_elem(accepted, &fd, &one, BPF_ANY) ||
                   bpf_map_update_elem(offered, &key, &socket, BPF_ANY)) {
            return std::unexpected(
                system_error(errno, "offering the relay's socket",
                             "the kernel needs CONFIG_BPF_SYSCALL and CONFIG_NET_SOCK_MSG"));
        }
    }
    return {};
}

Result<InterceptionCounts> Interception::counts() const {
    const int map = bpf_map__fd(impl_->programs->maps.mps_proxy_counts);
    std::vector<std::uint64_t> cpus(static_cast<std::size_t>(std::max(libbpf_num_possible_cpus(), 1)));
    std::array<std::uint64_t, MPS_PROXY_COUNTS> sums{};
    for (std::uint32_t key = 0; key < MPS_PROXY_COUNTS; key++) {
        if (bpf_map_lookup_elem(map, &key, cpus.data()))
            return std::unexpected(system_error(errno, "reading what was intercepted"));
        sums[key] = std::accumulate(cpus.begin(), cpus.end(), std::uint64_t{0});
    }
    return InterceptionCounts{.taken = sums[MPS_PROXY_TAKEN],
                              .mptcp = sums[MPS_PROXY_MPTCP],
                              .no_relay = sums[MPS_PROXY_NO_RELAY],
                              .failed = sums[MPS_PROXY_FAILED]};
}

Result<void> move_to_netns(const std::string &netns) {
    if (netns.empty())
        return {};
    const auto there = open_netns(netns);
    MPS_TRY(there);
    if (::setns(there->get(), CLONE_NEWNET))
        return std::unexpected(system_error(errno, fmt::format("entering the network namespace {}", netns)));
    return {};
}

Result<std::vector<std::string>> remove_interception() {
    auto names = remove_proxy_filters();
    MPS_TRY(names);
    MPS_TRY(remove_diversion());
    return names;
}

} // namespace mps
