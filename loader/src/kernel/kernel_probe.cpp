// SPDX-License-Identifier: MIT
#include "kernel/kernel_probe.hpp"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/fd.hpp"
#include "common/log.hpp"
#include "kernel/cgroup.hpp"
#include "kernel/kernel_objects.hpp"
#include "kernel/verifier_log.hpp"

namespace mps {

namespace {

struct FreeBtf {
    void operator()(btf *types) const { btf__free(types); }
};
using Btf = std::unique_ptr<btf, FreeBtf>;

// ---- instructions

constexpr bpf_insn instruction(unsigned code, unsigned dst, unsigned src, int offset, int immediate) {
    bpf_insn insn{};
    insn.code = static_cast<std::uint8_t>(code);
    insn.dst_reg = static_cast<std::uint8_t>(dst & 0xf);
    insn.src_reg = static_cast<std::uint8_t>(src & 0xf);
    insn.off = static_cast<std::int16_t>(offset);
    insn.imm = immediate;
    return insn;
}
constexpr bpf_insn set(unsigned reg, int value) {
    return instruction(BPF_ALU64 | BPF_MOV | BPF_K, reg, 0, 0, value);
}
constexpr bpf_insn call(int helper) { return instruction(BPF_JMP | BPF_CALL, 0, 0, 0, helper); }
constexpr bpf_insn call_kernel_function(int btf_id) {
    return instruction(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, btf_id);
}
constexpr bpf_insn call_subprogram(int distance) {
    return instruction(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, distance);
}
constexpr bpf_insn exit_program() { return instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0); }

// ---- loading

struct Loaded {
    Fd fd;
    int err = 0;
    std::string log;
};

Loaded load(bpf_prog_type type, std::span<const bpf_insn> instructions, bpf_prog_load_opts options = {}) {
    const LibbpfMessages messages;
    std::array<char, 16384> log{};
    options.sz = sizeof options;
    options.log_buf = log.data();
    options.log_size = log.size();
    options.log_level = 1;
    Loaded result;
    result.fd =
        Fd(bpf_prog_load(type, "mps_probe", "GPL", instructions.data(), instructions.size(), &options));
    if (!result.fd)
        result.err = errno;
    result.log = log.data();
    return result;
}

// Refused for lack of rights says nothing about the kernel.
Finding judge(const Loaded &loaded) {
    if (loaded.fd)
        return {Answer::available, {}};
    const VerifierExcerpt excerpt = verifier_excerpt(loaded.log, 1);
    const std::string detail = excerpt.reason.empty() ? errno_text(loaded.err) : excerpt.reason;
    if (loaded.err == EPERM || loaded.err == ENOMEM)
        return {Answer::unknown, detail};
    return {Answer::missing, detail};
}

Finding judge_helper(bpf_prog_type type, int helper) {
    const LibbpfMessages messages;
    if (const auto program = load(type, std::array{set(0, 0), exit_program()}); !program.fd) {
        return {Answer::unknown, fmt::format("no program can be loaded: {}", errno_text(program.err))};
    }
    // Loads a program that calls the helper with nonsense and reads from the log why it was refused.
    const int answer = libbpf_probe_bpf_helper(type, static_cast<bpf_func_id>(helper), nullptr);
    if (answer < 0)
        return {Answer::unknown, errno_text(answer)};
    return {answer ? Answer::available : Answer::missing, {}};
}

Loaded load_xdp_drop() { return load(BPF_PROG_TYPE_XDP, std::array{set(0, XDP_DROP), exit_program()}); }
Loaded load_tc_pass() { return load(BPF_PROG_TYPE_SCHED_CLS, std::array{set(0, -1), exit_program()}); }

// Runs `question` in a network namespace of its own, where nothing it attaches can disturb anybody. Its
// loopback interface (index 1) is up.
Finding in_scratch_namespace(const std::function<Finding()> &question) {
    Finding finding;
    // Network namespaces belong to threads; the thread's end is the namespace's.
    std::thread([&] {
        if (::unshare(CLONE_NEWNET)) {
            finding = {Answer::unknown, fmt::format("no scratch network namespace: {}", errno_text(errno))};
            return;
        }
        const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        ifreq request{};
        std::string_view("lo").copy(request.ifr_name, IFNAMSIZ - 1);
        request.ifr_flags = IFF_UP;
        if (!socket || ::ioctl(socket.get(), SIOCSIFFLAGS, &request)) {
            finding = {Answer::unknown,
                       fmt::format("setting up the scratch namespace: {}", errno_text(errno))};
            return;
        }
        finding = question();
    }).join();
    return finding;
}

constexpr int scratch_ifindex = 1;

Btf kernel_btf() {
    const LibbpfMessages messages;
    return Btf(btf__load_vmlinux_btf());
}

} // namespace

Finding probe_xdp() { return judge(load_xdp_drop()); }

Finding probe_tcx() {
    const Loaded program = load_tc_pass();
    if (!program.fd)
        return {Answer::unknown, fmt::format("no TC program can be loaded: {}", errno_text(program.err))};
    // A kernel with tcx looks for the interface, one without does not know the attach type (EINVAL).
    const Fd link(bpf_link_create(program.fd.get(), INT_MAX,
                                  static_cast<bpf_attach_type>(attach_type_tcx_ingress), nullptr));
    if (link || errno == ENODEV)
        return {Answer::available, {}};
    if (errno == EPERM)
        return {Answer::unknown, errno_text(errno)};
    return {Answer::missing, errno_text(errno)};
}

Finding probe_cls_bpf() {
    const Loaded program = load_tc_pass();
    if (!program.fd)
        return {Answer::unknown, fmt::format("no TC program can be loaded: {}", errno_text(program.err))};
    return in_scratch_namespace([&]() -> Finding {
        const LibbpfMessages messages;
        LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = scratch_ifindex, .attach_point = BPF_TC_INGRESS);
        LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program.fd.get());
        int err = bpf_tc_hook_create(&hook);
        if (!err)
            err = bpf_tc_attach(&hook, &options);
        if (!err)
            return {Answer::available, {}};
        return {err == -EPERM ? Answer::unknown : Answer::missing, errno_text(err)};
    });
}

Finding probe_iter_tcp() {
    const LibbpfMessages messages;
    const int btf_id = libbpf_find_vmlinux_btf_id("tcp", BPF_TRACE_ITER);
    if (btf_id <= 0)
        return {Answer::missing, "the kernel's BTF has no bpf_iter_tcp"};
    bpf_prog_load_opts options{};
    options.expected_attach_type = BPF_TRACE_ITER;
    options.attach_btf_id = static_cast<std::uint32_t>(btf_id);
    const Loaded program = load(BPF_PROG_TYPE_TRACING, std::array{set(0, 0), exit_program()}, options);
    if (!program.fd)
        return judge(program);
    const Fd link(bpf_link_create(program.fd.get(), 0, BPF_TRACE_ITER, nullptr));
    const Fd iterator(link ? bpf_iter_create(link.get()) : -1);
    if (iterator)
        return {Answer::available, {}};
    return {errno == EPERM ? Answer::unknown : Answer::missing, errno_text(errno)};
}

Finding probe_skc_to_mptcp_sock() { return judge_helper(BPF_PROG_TYPE_XDP, BPF_FUNC_skc_to_mptcp_sock); }

Finding probe_bpf_loop() { return judge_helper(BPF_PROG_TYPE_XDP, BPF_FUNC_loop); }

Finding probe_rdonly_cast() {
    const Btf types = kernel_btf();
    if (!types)
        return {Answer::unknown, "the kernel has no BTF"};
    const int function = btf__find_by_name_kind(types.get(), "bpf_rdonly_cast", BTF_KIND_FUNC);
    const int type = btf__find_by_name_kind(types.get(), "tcp_sock", BTF_KIND_STRUCT);
    if (function <= 0)
        return {Answer::missing, "the kernel's BTF has no such function"};
    if (type <= 0)
        return {Answer::unknown, "the kernel's BTF has no struct tcp_sock"};
    return judge(load(BPF_PROG_TYPE_XDP, std::array{set(1, 0), set(2, type), call_kernel_function(function),
                                                    set(0, XDP_PASS), exit_program()}));
}

Finding probe_live_frames() {
    const Loaded program = load_xdp_drop();
    if (!program.fd)
        return {Answer::unknown, fmt::format("no XDP program can be loaded: {}", errno_text(program.err))};
    return in_scratch_namespace([&]() -> Finding {
        std::array<std::uint8_t, 64> frame{};
        xdp_md context{};
        context.data_end = frame.size();
        context.ingress_ifindex = scratch_ifindex;
        LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(), .data_size_in = frame.size(),
                    .ctx_in = &context, .ctx_size_in = sizeof context, .repeat = 1,
                    .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
        const int err = bpf_prog_test_run_opts(program.fd.get(), &options);
        if (!err)
            return {Answer::available, {}};
        return {err == -EPERM ? Answer::unknown : Answer::missing, errno_text(err)};
    });
}

Finding probe_subprog_tail_call() {
    const LibbpfMessages messages;
    const Fd slots(bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, "mps_probe", 4, 4, 1, nullptr));
    if (!slots)
        return {Answer::unknown, errno_text(errno)};
    // A subprogram with a tail call must be known to return int, which takes BTF (check_btf_func,
    // kernel/bpf/verifier.c).
    const Btf types(btf__new_empty());
    const int integer = btf__add_int(types.get(), "int", 4, BTF_INT_SIGNED);
    const int context = btf__add_ptr(types.get(), 0);
    const int prototype = btf__add_func_proto(types.get(), integer);
    btf__add_func_param(types.get(), "ctx", context);
    const int main_function = btf__add_func(types.get(), "mps_probe", BTF_FUNC_STATIC, prototype);
    const int sub_function = btf__add_func(types.get(), "mps_probe_sub", BTF_FUNC_STATIC, prototype);
    if (main_function <= 0 || sub_function <= 0)
        return {Answer::unknown, "building BTF failed"};
    std::uint32_t size = 0;
    const void *raw = btf__raw_data(types.get(), &size);
    const Fd btf_fd(bpf_btf_load(raw, size, nullptr));
    if (!btf_fd)
        return {Answer::unknown, errno_text(errno)};

    const std::array instructions{
        call_subprogram(2),
        set(0, XDP_PASS),
        exit_program(),
        // subprogram, from instruction 3: r1 is the context, r2 the map, r3 the index
        instruction(BPF_LD | BPF_DW | BPF_IMM, 2, BPF_PSEUDO_MAP_FD, 0, slots.get()),
        instruction(0, 0, 0, 0, 0),
        set(3, 0),
        call(BPF_FUNC_tail_call),
        set(0, 0),
        exit_program(),
    };
    const std::array functions{bpf_func_info{0, static_cast<std::uint32_t>(main_function)},
                               bpf_func_info{3, static_cast<std::uint32_t>(sub_function)}};
    bpf_prog_load_opts options{};
    options.prog_btf_fd = static_cast<std::uint32_t>(btf_fd.get());
    options.func_info = functions.data();
    options.func_info_cnt = functions.size();
    options.func_info_rec_size = sizeof(bpf_func_info);
    return judge(load(BPF_PROG_TYPE_XDP, instructions, options));
}

Finding probe_sockops() {
    bpf_prog_load_opts options{};
    options.expected_attach_type = BPF_CGROUP_SOCK_OPS;
    // 1: other programs' answers stand.
    const Loaded program = load(BPF_PROG_TYPE_SOCK_OPS, std::array{set(0, 1), exit_program()}, options);
    if (!program.fd)
        return judge(program);
    const auto cgroup = open_root_cgroup();
    if (!cgroup)
        return {Answer::missing, cgroup.error().what};
    const Fd link(bpf_link_create(program.fd.get(), cgroup->get(), BPF_CGROUP_SOCK_OPS, nullptr));
    if (link)
        return {Answer::available, {}};
    return {errno == EACCES ? Answer::unknown : Answer::missing, errno_text(errno)};
}

Finding probe_gateway() {
    // One of the two places where its programs can stand …
    Finding place = probe_tcx();
    if (place.answer != Answer::available)
        place = probe_cls_bpf();
    if (place.answer != Answer::available)
        return {place.answer, fmt::format("no program can stand at TC: {}", place.detail)};
    // … and what they call beside what every TC program has.
    constexpr std::array helpers{std::pair{BPF_FUNC_loop, "bpf_loop()"},
                                 std::pair{BPF_FUNC_clone_redirect, "bpf_clone_redirect()"},
                                 std::pair{BPF_FUNC_ktime_get_coarse_ns, "bpf_ktime_get_coarse_ns()"}};
    for (const auto &[helper, name] : helpers) {
        const Finding one = judge_helper(BPF_PROG_TYPE_SCHED_CLS, helper);
        if (one.answer != Answer::available)
            return {one.answer, fmt::format("{} {}", name, one.detail)};
    }
    return {Answer::available, {}};
}

Finding probe_fmod_ret() {
    const LibbpfMessages messages;
    const int btf_id = libbpf_find_vmlinux_btf_id("update_socket_protocol", BPF_MODIFY_RETURN);
    if (btf_id <= 0)
        return {Answer::missing, "the kernel's BTF has no update_socket_protocol()"};
    bpf_prog_load_opts options{};
    options.expected_attach_type = BPF_MODIFY_RETURN;
    options.attach_btf_id = static_cast<std::uint32_t>(btf_id);
    // 0: the kernel goes on as ever, also for whoever makes a socket in this moment.
    const Loaded program = load(BPF_PROG_TYPE_TRACING, std::array{set(0, 0), exit_program()}, options);
    // Some forbid this type alone.
    if (program.err == EPERM && load_tc_pass().fd)
        return {Answer::missing, "not permitted here, although other BPF programs are"};
    if (!program.fd)
        return judge(program);
    const Fd link(bpf_link_create(program.fd.get(), 0, BPF_MODIFY_RETURN, nullptr));
    if (link)
        return {Answer::available, {}};
    return {errno == EPERM ? Answer::unknown : Answer::missing, errno_text(errno)};
}

Finding probe_mptcp_struct_ops() {
    const Btf types = kernel_btf();
    if (!types)
        return {Answer::unknown, "the kernel has no BTF"};
    // The kernel registers a struct_ops by giving its BTF a value type of this name
    // (bpf_struct_ops_desc_init).
    const int type = btf__find_by_name_kind(types.get(), "bpf_struct_ops_mptcp_sched_ops", BTF_KIND_STRUCT);
    return {type > 0 ? Answer::available : Answer::missing, {}};
}

} // namespace mps
