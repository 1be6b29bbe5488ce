// SPDX-License-Identifier: MIT
#include "mpsched/trace.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <mps/trace_abi.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <map>

#include <fmt/format.h>

#include "base/try.hpp"
#include "instance_impl.hpp"
#include "kernel/kernel_objects.hpp"
#include "kernel/load_error.hpp"
#include "kernel/load_object.hpp"
#include "kernel/netlink.hpp"
#include "tracer.skel.h"

namespace mps {

namespace {

struct DestroyTracer {
    void operator()(tracer *object) const { tracer__destroy(object); }
};
struct FreeRing {
    void operator()(ring_buffer *ring) const { ring_buffer__free(ring); }
};

std::int64_t now_ns(clockid_t clock) {
    timespec now{};
    ::clock_gettime(clock, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

// Maps of the data path's header that its own programs alone use are not made once more.
void leave_out_other_maps(bpf_object *object) {
    bpf_map *map;
    bpf_object__for_each_map(map, object) {
        const std::string_view name = bpf_map__name(map);
        if (!bpf_map__is_internal(map) && !name.starts_with("mps_trace_") && name != MPS_MAP_CONNS)
            bpf_map__set_autocreate(map, false);
    }
}

// `conns`: of the installation, -1 if there is none.
Result<std::unique_ptr<tracer, DestroyTracer>> load_tracer(const TraceRequest &request, int conns) {
    const LibbpfMessages messages;
    std::unique_ptr<tracer, DestroyTracer> object(tracer__open());
    if (!object)
        return std::unexpected(system_error(errno, "opening the programs of trace"));
    leave_out_other_maps(object->obj);
    int err = bpf_map__set_max_entries(object->maps.mps_trace_ring, request.buffer_bytes);
    if (!err)
        err = conns < 0 ? bpf_map__set_max_entries(object->maps.mps_conns, 1)
                        : bpf_map__reuse_fd(object->maps.mps_conns, conns);
    object->rodata->mps_trace_token = request.token.value_or(0);
    const std::string what = "loading the programs of trace";
    if (err)
        return std::unexpected(load_error(err, what, {}, messages.warnings()));
    MPS_TRY(load_object(object->obj, what, [&] { return tracer__load(object.get()); }));
    return object;
}

Result<Fd> attach_at(const NetDevice &device, int program, int where) {
    Fd link(bpf_link_create(program, static_cast<int>(device.ifindex), static_cast<bpf_attach_type>(where),
                            nullptr));
    if (!link)
        return std::unexpected(system_error(errno, fmt::format("attaching to TC of {}", device.name)));
    return link;
}

// Behind what is there now, in both directions.
Result<void> attach_to(const NetDevice &device, const tracer &object, std::vector<Fd> &links) {
    const bool l3 = device.layer3();
    auto in =
        attach_at(device, bpf_program__fd(l3 ? object.progs.mps_trace_in_l3 : object.progs.mps_trace_in_e),
                  attach_type_tcx_ingress);
    MPS_TRY(in);
    auto out =
        attach_at(device, bpf_program__fd(l3 ? object.progs.mps_trace_o_l3 : object.progs.mps_trace_out_e),
                  attach_type_tcx_egress);
    MPS_TRY(out);
    links.push_back(std::move(*in));
    links.push_back(std::move(*out));
    return {};
}

Result<std::vector<NetDevice>> devices_of(const std::vector<std::string> &names,
                                          const std::optional<Pins> &pins) {
    std::vector<NetDevice> devices;
    for (const std::string &name : names) {
        const auto device = net_device(name);
        if (!device)
            return fail(ErrorKind::no_such_interface, fmt::format("there is no interface '{}'", name),
                        "'ip link' lists them");
        if (std::ranges::find(devices, device->ifindex, &NetDevice::ifindex) == devices.end())
            devices.push_back(*device);
    }
    if (!names.empty())
        return devices;
    const auto entries = PathTable(*pins).entries();
    MPS_TRY(entries);
    for (const PathEntry &entry : *entries) {
        const auto device = entry.has(MPS_PATH_ATTACHED) ? net_device(entry.path.ifindex) : std::nullopt;
        if (device)
            devices.push_back(*device);
    }
    if (devices.empty())
        return fail(ErrorCode::failed, "no interface is attached, and none was named",
                    "name the interfaces, or attach some first");
    return devices;
}

} // namespace

struct [[gnu::visibility("hidden")]] Trace::Impl {
    const Instance::Impl &instance;
    std::optional<Pins> pins; // without them nothing is steered, and there are no verdicts
    std::unique_ptr<tracer, DestroyTracer> object;
    std::vector<Fd> links;
    std::vector<std::string> interfaces;
    std::unique_ptr<ring_buffer, FreeRing> ring;
    std::int64_t clock_offset_ns = 0;
    std::map<std::uint32_t, std::string> names{};    // of interfaces
    std::map<std::uint32_t, std::string> policies{}; // by slot
    const TraceHandlers *handlers = nullptr;         // while read() runs

    static int take(void *self, void *record, std::size_t size);
    void tell(const mps_trace_packet &told);
    void tell(const mps_trace_verdict &told);
    const std::string &name_of(std::uint32_t ifindex);
    std::string policy_of(std::uint32_t slot);
};

const std::string &Trace::Impl::name_of(std::uint32_t ifindex) {
    const auto [place, is_new] = names.try_emplace(ifindex);
    if (is_new)
        place->second = ifname_of(ifindex);
    return place->second;
}

// Slots are filled anew, so the table is read at each verdict of another slot's policy only where that is not known.
std::string Trace::Impl::policy_of(std::uint32_t slot) {
    const auto known = policies.find(slot);
    if (known != policies.end())
        return known->second;
    const auto where = instance.paths();
    std::string &name = policies[slot] = fmt::format("slot {}", slot);
    if (where && pins)
        if (const auto slots = Slots(*where, *pins).read(); slots)
            name = policy_in_slot(*slots, slot);
    return name;
}

void Trace::Impl::tell(const mps_trace_packet &told) {
    TracePacket packet{.time_ns = told.when_ns + static_cast<std::uint64_t>(clock_offset_ns),
                       .ifindex = told.ifindex,
                       .interface = name_of(told.ifindex),
                       .outgoing = told.egress != 0,
                       .ours = static_cast<TracePacket::Ours>(told.ours),
                       .wire_bytes = told.wire_bytes,
                       .octets =
                           std::span(told.data).first(std::min<std::size_t>(told.captured, MPS_TRACE_BYTES))};
    if (told.token)
        packet.token = told.token;
    if (told.subflow)
        packet.subflow = told.subflow;
    handlers->packet(packet);
}

void Trace::Impl::tell(const mps_trace_verdict &told) {
    TraceVerdict verdict{.time_ns = told.when_ns + static_cast<std::uint64_t>(clock_offset_ns),
                         .token = told.token,
                         .policy = policy_of(told.slot),
                         .left_alone = told.restored != 0};
    for (std::uint32_t i = 0; i < MPS_MAX_SUBFLOWS; i++) {
        const mps_trace_subflow &one = told.sf[i];
        if (!(told.known >> i & 1))
            continue;
        TraceVerdict::Subflow subflow{.id = one.id,
                                      .ifindex = one.ifindex,
                                      .interface = name_of(one.ifindex),
                                      .allowed = !told.allowed || (told.allowed >> i & 1),
                                      .peer_backup = one.peer_backup != 0,
                                      .by_wake = one.woken != 0};
        if (one.flipped)
            subflow.told_backup = one.backup != 0;
        if (told.reasoned >> i & 1) {
            subflow.reason = SubflowReason{.code = one.reason.code};
            if (one.reason.flags & MPS_REASON_HAS_NUMBER)
                subflow.reason->number = one.reason.number;
            if (one.reason.other && one.reason.other <= MPS_MAX_SUBFLOWS)
                subflow.reason->than = told.sf[one.reason.other - 1].id;
        }
        verdict.subflows.push_back(std::move(subflow));
    }
    handlers->verdict(verdict);
}

int Trace::Impl::take(void *self, void *record, std::size_t size) {
    auto &impl = *static_cast<Impl *>(self);
    std::uint32_t kind = 0;
    std::memcpy(&kind, record, sizeof kind);
    if (kind == MPS_TRACE_PACKET && size >= sizeof(mps_trace_packet))
        impl.tell(*static_cast<const mps_trace_packet *>(record));
    else if (kind == MPS_TRACE_VERDICT && size >= sizeof(mps_trace_verdict))
        impl.tell(*static_cast<const mps_trace_verdict *>(record));
    return 0;
}

std::string_view to_string(TracePacket::Ours ours) {
    switch (ours) {
    case TracePacket::Ours::inserted:
        return "inserted";
    case TracePacket::Ours::rewritten:
        return "rewritten";
    case TracePacket::Ours::wake:
        return "wake";
    case TracePacket::Ours::nothing:
        break;
    }
    return "";
}

Trace::Trace(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Trace::Trace(Trace &&) noexcept = default;
Trace &Trace::operator=(Trace &&) noexcept = default;
Trace::~Trace() = default;

int Trace::fd() const { return ring_buffer__epoll_fd(impl_->ring.get()); }
const std::vector<std::string> &Trace::interfaces() const { return impl_->interfaces; }

Result<void> Trace::read(const TraceHandlers &handlers) {
    const auto call = impl_->instance.enter();
    MPS_TRY(call);
    impl_->handlers = &handlers;
    // A slot may be filled anew, and an interface get another name, between two looks.
    impl_->policies.clear();
    impl_->names.clear();
    const int got = ring_buffer__consume(impl_->ring.get());
    impl_->handlers = nullptr;
    if (got < 0)
        return std::unexpected(system_error(got, "reading what the kernel tells"));
    return {};
}

Result<std::uint64_t> Trace::lost() const {
    std::vector<std::uint64_t> by_cpu(static_cast<std::size_t>(std::max(libbpf_num_possible_cpus(), 1)));
    const std::uint32_t zero = 0;
    if (bpf_map_lookup_elem(bpf_map__fd(impl_->object->maps.mps_trace_lost), &zero, by_cpu.data()))
        return std::unexpected(system_error(errno, "reading how much was lost"));
    std::uint64_t sum = 0;
    for (const std::uint64_t one : by_cpu)
        sum += one;
    return sum;
}

Result<Trace> start_trace(const Instance &instance, const TraceRequest &request) {
    const Instance::Impl &impl = *instance.impl_;
    const auto call = impl.enter();
    MPS_TRY(call);
    if (!impl.has_tcx())
        return fail(ErrorCode::unsupported,
                    "this kernel has no TC programs as links (tcx), which trace needs",
                    "kernel 6.6 or later; until then 'tcpdump -w - tcp | mpsched decode -'");
    std::optional<Pins> pins;
    if (impl.installed() || request.interfaces.empty()) {
        auto opened = impl.open_for_reading();
        MPS_TRY(opened);
        pins = std::move(*opened);
    }
    const auto devices = devices_of(request.interfaces, pins);
    MPS_TRY(devices);
    auto object = load_tracer(request, pins ? pins->map(MPS_MAP_CONNS) : -1);
    MPS_TRY(object);
    auto trace = std::make_unique<Trace::Impl>(
        Trace::Impl{.instance = impl, .pins = std::move(pins), .object = std::move(*object)});
    trace->clock_offset_ns = now_ns(CLOCK_REALTIME) - now_ns(CLOCK_MONOTONIC);
    trace->ring.reset(ring_buffer__new(bpf_map__fd(trace->object->maps.mps_trace_ring), Trace::Impl::take,
                                       trace.get(), nullptr));
    if (!trace->ring)
        return std::unexpected(system_error(errno, "opening the ring buffer"));
    for (const NetDevice &device : *devices) {
        MPS_TRY(attach_to(device, *trace->object, trace->links));
        trace->interfaces.push_back(device.name);
    }
    return Trace(std::move(trace));
}

} // namespace mps
