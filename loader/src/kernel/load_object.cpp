// SPDX-License-Identifier: MIT
#include "kernel/load_object.hpp"

#include <bpf/libbpf.h>

#include <map>

#include <fmt/format.h>

#include "common/log.hpp"
#include "kernel/load_error.hpp"
#include "kernel/verifier_log.hpp"

namespace mps {

Result<void> load_object(bpf_object *object, const std::string &what, const std::function<int()> &load) {
    const LibbpfMessages messages;
    // One for each program, written only if the kernel refuses it.
    std::map<std::string, VerifierLogBuffer> logs;
    bpf_program *program;
    bpf_object__for_each_program(program, object) {
        if (!bpf_program__autoload(program))
            continue;
        VerifierLogBuffer &log = logs[bpf_program__name(program)];
        bpf_program__set_log_buf(program, log.data(), log.size());
    }
    const int err = load();
    if (!err)
        return {};
    for (const auto &[name, log] : logs)
        if (!log.text().empty())
            return std::unexpected(
                load_error(err, fmt::format("{} ({})", what, name), log.text(), messages.warnings()));
    return std::unexpected(load_error(err, what, {}, messages.warnings()));
}

} // namespace mps
