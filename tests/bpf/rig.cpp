// SPDX-License-Identifier: MIT
#include "rig.hpp"

#include "programs/fixed.core.h" // before the skeleton, which names its parameters' type

#include "datapath.skel.h"
#include "empty_programs.skel.h"
#include "fixed_policy.skel.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_link.h>
#include <memory>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdexcept>
#include <sys/socket.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

#include <mpsched/lab/mptcp_abi.hpp>

namespace mps::test {
namespace {

template <class T>
T need(lab::Result<T> result) {
    if (!result)
        throw std::runtime_error(result.error().what + " " + result.error().hint);
    if constexpr (!std::is_void_v<T>)
        return std::move(*result);
}

void need_zero(int result, const std::string &what) {
    if (result < 0)
        throw std::system_error(-result, std::generic_category(), what);
}

struct Endpoint {
    sockaddr_storage storage{};
    socklen_t size = 0;
    sockaddr *get() { return reinterpret_cast<sockaddr *>(&storage); }
};

Endpoint endpoint(const std::string &address, std::uint16_t port) {
    Endpoint out;
    auto *v4 = reinterpret_cast<sockaddr_in *>(&out.storage);
    auto *v6 = reinterpret_cast<sockaddr_in6 *>(&out.storage);

    if (inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        out.size = sizeof(*v4);
    } else if (inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        out.size = sizeof(*v6);
    } else {
        throw std::invalid_argument(address);
    }
    return out;
}

Fd open_socket(int family) {
    Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, lab::abi::ipproto_mptcp));

    if (!fd)
        throw std::system_error(errno, std::generic_category(), "socket(IPPROTO_MPTCP)");
    return fd;
}

std::uint16_t bound_port(int fd) {
    Endpoint at;

    at.size = sizeof(at.storage);
    getsockname(fd, at.get(), &at.size);
    return ntohs(at.storage.ss_family == AF_INET ? reinterpret_cast<sockaddr_in *>(&at.storage)->sin_port
                                                 : reinterpret_cast<sockaddr_in6 *>(&at.storage)->sin6_port);
}

// "198.51.100.1:40000" or "[2001:db8::a]:40000"
std::pair<std::string, std::uint16_t> split(const std::string &text) {
    std::size_t colon = text.rfind(':');
    std::string address = text.substr(0, colon);

    if (address.front() == '[')
        address = address.substr(1, address.size() - 2);
    return {address, static_cast<std::uint16_t>(std::stoi(text.substr(colon + 1)))};
}

template <class Condition>
bool wait_until(Condition condition) {
    for (int i = 0; i < 3000; i++) {
        if (condition())
            return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
}

/// With the context that `opts` has; what comes out goes into `out`.
void run_once(int program_fd, packet::ByteView data, bpf_test_run_opts &opts, Ran &out, const char *what) {
    out.packet.resize(data.size() + 64);
    opts.data_in = data.data();
    opts.data_size_in = static_cast<__u32>(data.size());
    opts.data_out = out.packet.data();
    opts.data_size_out = static_cast<__u32>(out.packet.size());
    opts.repeat = 1;
    need_zero(bpf_prog_test_run_opts(program_fd, &opts), what);
    out.packet.resize(opts.data_size_out);
    out.verdict = static_cast<int>(opts.retval);
}

constexpr std::uint32_t policy_slot = 1;
constexpr std::uint32_t first_key = 0;

} // namespace

const std::vector<Reading> &readings() {
    static const std::vector<Reading> known = [] {
        const std::unique_ptr<btf, decltype(&btf__free)> types(btf__load_vmlinux_btf(), btf__free);

        if (!types)
            throw std::runtime_error("the kernel has no BTF");
        if (btf__find_by_name_kind(types.get(), "bpf_rdonly_cast", BTF_KIND_FUNC) > 0)
            return std::vector{Reading::cast, Reading::probe};
        return std::vector{Reading::probe};
    }();

    return known;
}

bool few_rigs() { return std::getenv("MPS_TEST_FEW_RIGS") != nullptr; }

Reading usual_reading(lab::Family family) {
    return few_rigs() && family == lab::Family::ipv6 ? readings().back() : readings().front();
}

std::vector<std::pair<lab::Family, Reading>> families_and_readings() {
    std::vector<std::pair<lab::Family, Reading>> all;

    for (lab::Family family : {lab::Family::ipv4, lab::Family::ipv6})
        for (Reading reading : readings())
            if (!few_rigs() || reading == usual_reading(family))
                all.emplace_back(family, reading);
    return all;
}

lab::NetworkSpec two_hosts(lab::Family family, std::size_t paths) {
    lab::NetworkSpec spec;

    spec.family = family;
    spec.joins = lab::Joins::server_signal;
    for (std::size_t i = 0; i < paths; i++)
        spec.paths.push_back({.name = fmt::format("path{}", i)});
    return spec;
}

Inside::Inside(const lab::Namespace &ns) : before_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
    cpu_set_t one;

    CPU_ZERO(&cpus_);
    sched_getaffinity(0, sizeof(cpus_), &cpus_);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof(one), &one);
    need(lab::enter_netns(ns.fd()));
}

Inside::~Inside() {
    (void)lab::enter_netns(before_.get());
    sched_setaffinity(0, sizeof(cpus_), &cpus_);
}

Ran run_xdp(int program_fd, packet::ByteView data, std::uint32_t ifindex) {
    Ran out;
    xdp_md context{};
    LIBBPF_OPTS(bpf_test_run_opts, opts);

    context.data_end = static_cast<__u32>(data.size());
    context.ingress_ifindex = ifindex;
    opts.ctx_in = &context;
    opts.ctx_size_in = sizeof(context);
    run_once(program_fd, data, opts, out, "BPF_PROG_TEST_RUN of an XDP program");
    return out;
}

Ran run_tc(int program_fd, packet::ByteView data, std::uint32_t ifindex, TcContext tc) {
    Ran out;
    __sk_buff context{}, after{};
    LIBBPF_OPTS(bpf_test_run_opts, opts);

    context.ifindex = ifindex;
    context.mark = tc.mark;
    context.gso_size = tc.gso_size;
    opts.ctx_in = &context;
    opts.ctx_size_in = sizeof(context);
    opts.ctx_out = &after;
    opts.ctx_size_out = sizeof(after);
    run_once(program_fd, data, opts, out, "BPF_PROG_TEST_RUN of a TC program");
    out.mark = after.mark;
    return out;
}

Rig::Rig(lab::Family family, Reading reading, std::size_t paths, Idle idle)
    : Rig(two_hosts(family, paths), reading, {}, false, idle) {}

Rig::Rig(const lab::NetworkSpec &spec, Reading reading, std::optional<std::size_t> backup_path, bool ecn,
         Idle idle)
    : network_(need(lab::Network::create(spec))) {
    for (const lab::Namespace *host : {&network_.a(), &network_.b()}) {
        // An ADD_ADDR that comes while the path manager is still to look at the one before is dropped
        // (mptcp_pm_add_addr_received()), and sent again after two minutes.
        need(host->set_sysctl("mptcp/add_addr_timeout", "1"));
        if (ecn)
            need(host->set_sysctl("ipv4/tcp_ecn", "1"));
    }
    if (backup_path)
        need(network_.b().ip(
            fmt::format("mptcp endpoint change {} backup", network_.address(lab::Side::b, *backup_path))));
    build_connection();
    load(reading, idle);
    learn_numbers();
}

Rig::~Rig() {
    for (const auto &[slot, object] : filled_)
        bpf_object__close(object);
    fixed_policy::destroy(policy_);
    datapath::destroy(object_);
    empty_programs::destroy(empty_);
}

void Rig::build_connection() {
    const std::string address = network_.server_address();
    const int family = address.find(':') == std::string::npos ? AF_INET : AF_INET6;
    std::uint16_t port = 0;

    need(network_.b().run([&] {
        Endpoint any = endpoint(family == AF_INET ? "0.0.0.0" : "::", 0);

        listener_ = open_socket(family);
        if (bind(listener_.get(), any.get(), any.size) != 0 || listen(listener_.get(), 8) != 0)
            throw std::system_error(errno, std::generic_category(), "listen");
        port = bound_port(listener_.get());
    }));
    need(network_.a().run([&] {
        Endpoint server = endpoint(address, port);

        client_ = open_socket(family);
        if (connect(client_.get(), server.get(), server.size) != 0)
            throw std::system_error(errno, std::generic_category(), "connect to " + address);
        for (const std::string &device : network_.devices())
            ifindex_.push_back(if_nametoindex(device.c_str()));
    }));
    server_ = Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));

    // A word in each direction makes the connection, and then its joins, fully established.
    char octet = 'x';
    if (!server_ || send(client_.get(), &octet, 1, 0) != 1 || recv(server_.get(), &octet, 1, 0) != 1 ||
        send(server_.get(), &octet, 1, 0) != 1 || recv(client_.get(), &octet, 1, 0) != 1)
        throw std::system_error(errno, std::generic_category(), "first exchange");
    if (!wait_until([&] { return sample().subflows.size() == network_.path_count(); }))
        throw std::runtime_error(
            fmt::format("{} of {} subflows came up", sample().subflows.size(), network_.path_count()));
    for (const lab::SubflowSample &subflow : sample().subflows) {
        Flow flow;

        std::tie(flow.local, flow.local_port) = split(subflow.local);
        std::tie(flow.remote, flow.remote_port) = split(subflow.remote);
        flow.ipv6 = family == AF_INET6;
        flow.ifindex = ifindex_.at(network_.path_of(flow.local).value());
        flows_.push_back(flow);
    }
}

void Rig::load(Reading reading, Idle idle) {
    object_ = datapath::open();
    policy_ = fixed_policy::open();
    empty_ = empty_programs::open();
    if (!object_ || !policy_ || !empty_)
        throw std::system_error(errno, std::generic_category(), "open BPF objects");
    object_->rodata->mps_rdonly_cast = reading == Reading::cast;
    object_->rodata->mps_decide_all = idle == Idle::decided_on;
    need_zero(datapath::load(object_), "load the data path");
    need_zero(bpf_map__reuse_fd(policy_->maps.mps_scratch, bpf_map__fd(object_->maps.mps_scratch)),
              "share mps_scratch");
    need_zero(fixed_policy::load(policy_), "load the fixed policy");
    need_zero(empty_programs::load(empty_), "load the empty programs");

    // Test runs that name an interface need its XDP queues, which veth has only while a program is attached.
    need(network_.a().run([&] {
        for (std::uint32_t ifindex : ifindex_)
            need_zero(bpf_xdp_attach(static_cast<int>(ifindex), bpf_program__fd(empty_->progs.empty_xdp),
                                     XDP_FLAGS_DRV_MODE, nullptr),
                      "attach the empty program");
    }));

    int xdp = bpf_program__fd(policy_->progs.mps_policy_xdp),
        tc = bpf_program__fd(policy_->progs.mps_policy_tc);
    need_zero(bpf_map_update_elem(map(MPS_MAP_XDP_SLOTS), &policy_slot, &xdp, BPF_ANY), "fill the XDP slot");
    need_zero(bpf_map_update_elem(map(MPS_MAP_TC_SLOTS), &policy_slot, &tc, BPF_ANY), "fill the TC slot");
    for (std::size_t path = 0; path < ifindex_.size(); path++) {
        auto index = static_cast<std::uint32_t>(path + 1);

        set_path_flags(path, MPS_PATH_ATTACHED);
        need_zero(bpf_map_update_elem(map(MPS_MAP_PATH_INDEX), &ifindex_[path], &index, BPF_ANY),
                  "fill mps_path_index");
    }
    set_dwell(0);
    use_slot(policy_slot);
}

void Rig::learn_numbers() {
    constexpr std::uint32_t ten_minutes_ms = 600'000;
    const auto is_ready = [&](const Flow &flow) {
        const auto records = dump();
        return std::ranges::any_of(records, [&](const mps_subflow_record &record) {
            return record.local_port == flow.local_port && record.remote_port == flow.remote_port &&
                   record.fully_established;
        });
    };

    // The fourth ACK of each join's handshake may be late, and nothing else tells of it.
    if (!wait_until([&] { return std::ranges::all_of(flows_, is_ready); }))
        throw std::runtime_error("a join was not completed");
    for (const mps_subflow_record &record : dump())
        for (Flow &flow : flows_)
            if (record.local_port == flow.local_port && record.remote_port == flow.remote_port) {
                flow.seq = record.rcv_nxt;
                flow.ack = record.snd_una;
                flow.tsval = record.tsval + ten_minutes_ms;
            }
}

int Rig::program(const std::string &name) const {
    return bpf_program__fd(bpf_object__find_program_by_name(object_->obj, name.c_str()));
}

int Rig::map(const std::string &name) const {
    return bpf_object__find_map_fd_by_name(object_->obj, name.c_str());
}

int Rig::empty_xdp() const { return bpf_program__fd(empty_->progs.empty_xdp); }
int Rig::empty_tc() const { return bpf_program__fd(empty_->progs.empty_tc); }

void Rig::decide(std::uint32_t allowed, std::uint32_t flags) {
    policy_->data_params->mps_params.allowed = allowed;
    policy_->data_params->mps_params.flags = flags;
}

void Rig::count_decisions(bool on) { policy_->data_params->mps_params.rounds = on; }

namespace {

template <class Change>
void change_config(int map, Change change) {
    mps_config config{};

    need_zero(bpf_map_lookup_elem(map, &first_key, &config), "read mps_config");
    change(config);
    need_zero(bpf_map_update_elem(map, &first_key, &config, BPF_ANY), "write mps_config");
}

} // namespace

void Rig::use_slot(std::uint32_t slot) {
    change_config(map(MPS_MAP_CONFIG), [&](mps_config &config) {
        config.choice = static_cast<std::uint64_t>(++epoch_) << 32 | slot;
        config.path_epoch++;
    });
}

void Rig::fill_slot(std::uint32_t slot, const unsigned char *begin, const unsigned char *end,
                    std::uint32_t wants) {
    bpf_object *object = bpf_object__open_mem(begin, static_cast<std::size_t>(end - begin), nullptr);

    if (!object)
        throw std::system_error(errno, std::generic_category(), "open a policy's object");
    bpf_object__close(std::exchange(filled_[slot], object));
    need_zero(bpf_map__reuse_fd(bpf_object__find_map_by_name(object, MPS_MAP_SCRATCH), map(MPS_MAP_SCRATCH)),
              "share mps_scratch");
    bpf_program *xdp = bpf_object__find_program_by_name(object, "mps_policy_xdp");
    bpf_program *tc = bpf_object__find_program_by_name(object, "mps_policy_tc");
    need_zero(bpf_object__load(object), "load a policy's object");
    int xdp_fd = bpf_program__fd(xdp), tc_fd = bpf_program__fd(tc);
    change_config(map(MPS_MAP_CONFIG), [&](mps_config &config) {
        config.slot_wants[slot] = wants;
        config.slot_serial[slot]++;
    });
    need_zero(bpf_map_update_elem(map(MPS_MAP_XDP_SLOTS), &slot, &xdp_fd, BPF_ANY), "fill the XDP slot");
    need_zero(bpf_map_update_elem(map(MPS_MAP_TC_SLOTS), &slot, &tc_fd, BPF_ANY), "fill the TC slot");
}

void Rig::set_config_flags(std::uint32_t flags) {
    change_config(map(MPS_MAP_CONFIG), [&](mps_config &config) { config.flags = flags; });
}

void Rig::set_dwell(std::uint32_t dwell_us) {
    change_config(map(MPS_MAP_CONFIG), [&](mps_config &config) { config.dwell_us = dwell_us; });
}

void Rig::set_path_flags(std::size_t path, std::uint32_t flags) {
    auto index = static_cast<std::uint32_t>(path + 1);
    mps_path value{.ifindex = ifindex_.at(path),
                   .flags = flags,
                   .weight = static_cast<std::uint32_t>(path + 11),
                   .priority = static_cast<std::uint32_t>(path + 21),
                   .cost = static_cast<std::uint32_t>(path + 31),
                   .energy_class = MPS_ENERGY_WIFI,
                   .quota_period_s = 0,
                   .mode = MPS_MODE_AUTO,
                   .quota_bytes = 0,
                   .quota_since_ns = 0,
                   .name = {},
                   .last_ifindex = 0,
                   .then_bytes_s = 0};

    need_zero(bpf_map_update_elem(map(MPS_MAP_PATHS), &index, &value, BPF_ANY), "write mps_paths");
    change_config(map(MPS_MAP_CONFIG), [&](mps_config &config) { config.path_epoch++; });
}

void Rig::clear_wakes() {
    for (std::uint32_t i = 0; i < MPS_MAX_WAKES; i++)
        put_wake(i, mps_wake{});
    object_->bss->mps_wakes_ready = 0;
    object_->bss->mps_wakes_sent = 0;
}

void Rig::put_wake(std::uint32_t index, const mps_wake &wake) {
    need_zero(bpf_map_update_elem(map(MPS_MAP_WAKES), &index, &wake, BPF_ANY), "write mps_wakes");
}

void Rig::wake_on_its_way(std::uint32_t from, std::uint32_t to) {
    timespec now{};

    clock_gettime(CLOCK_MONOTONIC, &now);
    mps_wake wake{};
    wake.state = MPS_WAKE_SENT;
    wake.ifindex = to;
    wake.from_ifindex = from;
    wake.when_ns =
        static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
    put_wake(0, wake);
    object_->bss->mps_wakes_sent = 1;
}

mps_wake Rig::get_wake(std::uint32_t index) const {
    mps_wake wake{};

    need_zero(bpf_map_lookup_elem(map(MPS_MAP_WAKES), &index, &wake), "read mps_wakes");
    return wake;
}

std::uint64_t Rig::wakes_ready() const { return object_->bss->mps_wakes_ready; }

std::uint32_t Rig::wake_magic() const { return object_->rodata->mps_wake_magic; }

void Rig::attach_tc(const std::string &program_name) {
    Inside inside(network_.a());

    for (std::uint32_t ifindex : ifindex_) {
        LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(ifindex), .attach_point = BPF_TC_INGRESS);
        LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = program(program_name));

        if (int error = bpf_tc_hook_create(&hook); error != -EEXIST)
            need_zero(error, "create clsact");
        need_zero(bpf_tc_attach(&hook, &opts), "attach " + program_name);
    }
}

void Rig::mark_congestion() {
    Inside inside(network_.a());

    for (std::uint32_t ifindex : ifindex_) {
        LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(ifindex), .attach_point = BPF_TC_EGRESS);
        LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(empty_->progs.congested_tc));

        if (int error = bpf_tc_hook_create(&hook); error != -EEXIST)
            need_zero(error, "create clsact");
        need_zero(bpf_tc_attach(&hook, &opts), "attach congested_tc");
    }
}

std::vector<std::uint64_t> Rig::counters() const {
    std::vector<mps_counters> per_cpu(static_cast<std::size_t>(libbpf_num_possible_cpus()));
    std::vector<std::uint64_t> sum(MPS_C_MAX);

    need_zero(bpf_map_lookup_elem(map(MPS_MAP_COUNTERS), &first_key, per_cpu.data()), "read mps_counters");
    for (const mps_counters &one : per_cpu)
        for (std::size_t i = 0; i < sum.size(); i++)
            sum[i] += one.n[i];
    return sum;
}

std::uint64_t Rig::counter(mps_counter which) const { return counters().at(which); }

mps_view Rig::last_view() const {
    std::vector<mps_scratch> per_cpu(static_cast<std::size_t>(libbpf_num_possible_cpus()));

    need_zero(bpf_map_lookup_elem(map(MPS_MAP_SCRATCH), &first_key, per_cpu.data()), "read mps_scratch");
    return per_cpu.at(static_cast<std::size_t>(sched_getcpu())).view;
}

std::optional<mps_conn> Rig::remembered() const {
    mps_conn conn{};
    std::uint32_t token = sample().token;

    if (bpf_map_lookup_elem(map(MPS_MAP_CONNS), &token, &conn) != 0)
        return std::nullopt;
    return conn;
}

lab::ConnectionSample Rig::sample() const { return need(lab::sample_connection(client_.get())); }

std::uint32_t Rig::send_window_shift() const {
    tcp_info info{};
    socklen_t size = sizeof(info);

    // The MPTCP socket answers for its first subflow; both ends of the test offer the same shift everywhere.
    if (getsockopt(client_.get(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        throw std::system_error(errno, std::generic_category(), "TCP_INFO");
    return info.tcpi_snd_wscale;
}

std::uint32_t Rig::index_of(const Flow &flow) const {
    auto conn = remembered();

    for (std::uint32_t i = 0; conn && i < MPS_MAX_SUBFLOWS; i++)
        if (conn->sf[i].sk && conn->sf[i].ifindex == flow.ifindex)
            return i;
    throw std::runtime_error("the data path does not know subflow " + flow.local);
}

void Rig::show_every_subflow() {
    Inside inside(network_.a());

    decide(0xff, MPS_VERDICT_PASS);
    for (const Flow &each : flows_) {
        packet::Packet ack = each.tcp() / packet::dss{.data_ack = 1};
        packet::Packet whole = each.ipv6 ? packet::Ethernet() / each.ipv6_header() / ack
                                         : packet::Ethernet() / each.ipv4() / ack;

        run_xdp(program("mps_xdp_eth"), whole.build(), each.ifindex);
    }
    clear_wakes();
}

std::vector<mps_subflow_record> Rig::dump() const {
    Inside inside(network_.a());
    bpf_link *link = bpf_program__attach_iter(object_->progs.mps_dump, nullptr);
    Fd stream(link ? bpf_iter_create(bpf_link__fd(link)) : -1);
    std::vector<mps_subflow_record> records;
    packet::Bytes octets;
    std::array<std::uint8_t, 4096> piece{};
    ssize_t got = 0;

    while (stream && (got = ::read(stream.get(), piece.data(), piece.size())) > 0)
        octets.insert(octets.end(), piece.begin(), piece.begin() + got);
    bpf_link__destroy(link);
    if (!stream || got < 0 || octets.size() % sizeof(mps_subflow_record) != 0)
        throw std::system_error(errno, std::generic_category(), "read the iterator mps_dump");
    records.resize(octets.size() / sizeof(mps_subflow_record));
    std::memcpy(static_cast<void *>(records.data()), octets.data(), octets.size());
    return records;
}

bool Rig::kernel_backup(const Flow &flow) const {
    for (const mps_subflow_record &record : dump())
        if (record.local_port == flow.local_port && record.remote_port == flow.remote_port)
            return record.view.flags & MPS_SF_BACKUP;
    throw std::runtime_error("the iterator does not know subflow " + flow.local);
}

void Rig::peer_backup(std::size_t path, bool backup) {
    const Flow &flow = *std::find_if(flows_.begin(), flows_.end(),
                                     [&](const Flow &each) { return each.ifindex == ifindex_.at(path); });

    need(network_.b().ip(fmt::format("mptcp endpoint change {} {}", network_.address(lab::Side::b, path),
                                     backup ? "backup" : "nobackup")));
    if (!wait_until([&] { return kernel_backup(flow) == backup; }))
        throw std::runtime_error("the peer's MP_PRIO did not arrive");
}

} // namespace mps::test
