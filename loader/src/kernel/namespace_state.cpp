// SPDX-License-Identifier: MIT
#include "kernel/namespace_state.hpp"

#include <bpf/bpf.h>
#include <mps/abi.h>

#include "common/log.hpp"
#include "kernel/kernel_objects.hpp"

namespace mps {

namespace {

constexpr const char *program_name = "mps_netns_alive";

NamespaceState ask_once(int program) {
    const LibbpfMessages messages;
    LIBBPF_OPTS(bpf_test_run_opts, options);
    if (bpf_prog_test_run_opts(program, &options))
        return NamespaceState::unknown;
    switch (options.retval) {
    case MPS_NETNS_ALIVE:
        return NamespaceState::alive;
    case MPS_NETNS_GONE:
        return NamespaceState::gone;
    default:
        return NamespaceState::unknown;
    }
}

} // namespace

NamespaceState ask_namespace(const InstallationPaths &paths) {
    const auto program = open_pin(paths.program(program_name));
    if (!program || !*program || object_kind((*program)->get()) != ObjectKind::program)
        return NamespaceState::unknown;
    const auto info = prog_info((*program)->get());
    if (!info || info->type != BPF_PROG_TYPE_SYSCALL || info->name != program_name)
        return NamespaceState::unknown;
    // The list is walked without a lock: a namespace that is taken off it in that moment may lead the walk past others.
    // Not three times at the same place.
    constexpr int answers = 3;
    for (int i = 0; i < answers; i++) {
        if (const NamespaceState state = ask_once((*program)->get()); state != NamespaceState::gone)
            return state;
    }
    return NamespaceState::gone;
}

} // namespace mps
