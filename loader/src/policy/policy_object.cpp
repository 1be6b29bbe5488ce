// SPDX-License-Identifier: MIT
#include "policy/policy_object.hpp"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <mps/abi.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/try.hpp"
#include "common/log.hpp"
#include "kernel/load_error.hpp"
#include "kernel/verifier_log.hpp"
#include "mpsched/nearest.hpp"

namespace mps {

namespace {

constexpr const char *xdp_program = "mps_policy_xdp";
constexpr const char *tc_program = "mps_policy_tc";
constexpr std::string_view not_a_policy_hint =
    "a policy object is made with MPS_POLICY() of mps/policy.bpf.h; see schedulers/README.md";

// Names go into JSON keys, file names of pins and shell lines.
bool is_good_name(std::string_view name) {
    return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
        return std::isalnum(c) || c == '-' || c == '_';
    });
}

struct FreeBtf {
    void operator()(btf *types) const { btf__free(types); }
};

// The section's bytes: a map of the object before load.
std::span<std::byte> initial_value(bpf_object *object, const char *section) {
    bpf_map *map = bpf_object__find_map_by_name(object, section);
    std::size_t size = 0;
    void *data =
        map ? const_cast<void *>(static_cast<const void *>(bpf_map__initial_value(map, &size))) : nullptr;
    return data ? std::span(static_cast<std::byte *>(data), size) : std::span<std::byte>{};
}

} // namespace

Result<PolicyHeader> parse_policy_header(std::span<const std::byte> section, const std::string &origin) {
    if (section.size() < sizeof(std::uint32_t)) {
        return fail(ErrorCode::failed,
                    fmt::format("{} is no policy: it has no section {}", origin, MPS_INFO_SECTION),
                    std::string(not_a_policy_hint));
    }
    // The version comes first in every ABI, so it can be told even if the rest has another layout.
    mps_policy_info info{};
    std::memcpy(&info, section.data(), std::min(section.size(), sizeof info));
    const std::uint32_t major = info.abi & 0xffff, minor = info.abi >> 16;
    if (major != MPS_POLICY_ABI_MAJOR || minor > MPS_POLICY_ABI_MINOR) {
        return fail(ErrorCode::unsupported,
                    fmt::format("{} is built for policy ABI {}.{}, this mpsched takes {}.0 to {}.{}", origin,
                                major, minor, MPS_POLICY_ABI_MAJOR, MPS_POLICY_ABI_MAJOR,
                                MPS_POLICY_ABI_MINOR),
                    "build it again with the headers of this mpsched");
    }
    if (section.size() < sizeof info) {
        return fail(ErrorCode::failed,
                    fmt::format("{} is no policy: its section {} has {} bytes instead of {}", origin,
                                MPS_INFO_SECTION, section.size(), sizeof info),
                    std::string(not_a_policy_hint));
    }
    const std::string name(info.name, strnlen(info.name, sizeof info.name));
    if (name.size() == sizeof info.name || !is_good_name(name)) {
        return fail(ErrorCode::failed, fmt::format("{}: '{}' is no name for a policy", origin, name),
                    fmt::format("letters, digits, '-' and '_', at most {} of them", MPS_NAME_LEN - 1));
    }
    const std::size_t most = (minor ? MPS_STATE_WORDS : MPS_STATE_WORDS_4_0) * sizeof(std::uint64_t);
    if (info.state_bytes > most) {
        return fail(ErrorCode::unsupported,
                    fmt::format("{} wants {} bytes of state for each connection, there are {}", origin,
                                info.state_bytes, most),
                    "keep less in the policy's state");
    }
    return PolicyHeader{.name = name,
                        .doc = std::string(info.doc, strnlen(info.doc, sizeof info.doc)),
                        .state_bytes = info.state_bytes,
                        .levers = (info.flags & MPS_POLICY_LEVERS) != 0,
                        .rx = minor >= 2 && (info.flags & MPS_POLICY_RX) != 0,
                        .wants =
                            minor ? info.wants & ~static_cast<std::uint32_t>(MPS_SLOT_4_0) : MPS_SLOT_4_0};
}

Result<void> LivePolicy::store() { return write_bytes(params_map.get(), 0, section, MPS_PARAMS_SECTION); }

Result<LivePolicy> live_policy(int prog_fd) {
    const auto program = prog_info(prog_fd);
    MPS_TRY(program);
    const std::string origin = fmt::format("program {} (id {})", program->name, program->id);
    LivePolicy policy;
    policy.prog_id = program->id;
    policy.tag = program->tag;
    bool found = false;
    for (const std::uint32_t id : program->map_ids) {
        auto fd = map_by_id(id);
        MPS_TRY(fd);
        const auto info = map_info(fd->get());
        MPS_TRY(info);
        if (info->type != BPF_MAP_TYPE_ARRAY || info->key_size != 4)
            continue;
        // Per-value sizes of data sections are small; a foreign map must not make us allocate without bound.
        if (info->value_size > 1u << 20)
            continue;
        if (info->name == MPS_INFO_SECTION) {
            const auto bytes = read_bytes(fd->get(), 0, info->value_size);
            MPS_TRY(bytes);
            auto header = parse_policy_header(bytes->value_or(std::vector<std::byte>{}), origin);
            MPS_TRY(header);
            policy.header = std::move(*header);
            found = true;
        } else if (info->name == MPS_PARAMS_SECTION) {
            auto bytes = read_bytes(fd->get(), 0, info->value_size);
            MPS_TRY(bytes);
            policy.section = std::move(bytes->value());
            policy.params_info = *info;
            policy.params_map = std::move(*fd);
            const std::unique_ptr<btf, FreeBtf> types(info->btf_id ? btf__load_from_kernel_by_id(info->btf_id)
                                                                   : nullptr);
            if (!types)
                continue;
            auto params = params_of_btf(types.get(), policy.section.size());
            MPS_TRY(params);
            policy.params = std::move(*params);
            for (ParamSpec &spec : policy.params)
                spec.param.value = read_param(spec, policy.section);
        }
    }
    if (!found)
        return std::unexpected(parse_policy_header({}, origin).error());
    return policy;
}

Result<std::vector<CheckedSetting>> check_settings(const std::string &policy,
                                                   const std::vector<ParamSpec> &params,
                                                   const std::vector<Setting> &settings) {
    std::vector<CheckedSetting> checked;
    for (const Setting &setting : settings) {
        const auto spec = std::find_if(params.begin(), params.end(), [&](const ParamSpec &candidate) {
            return candidate.param.name == setting.key;
        });
        if (spec == params.end()) {
            std::vector<std::string> known, names;
            for (const ParamSpec &candidate : params) {
                known.push_back(param_range_text(candidate.param));
                names.push_back(candidate.param.name);
            }
            for (const Param &engine : engine_params()) {
                known.push_back(param_range_text(engine));
                names.push_back(engine.name);
            }
            return fail(
                ErrorCode::usage, fmt::format("policy '{}' has no parameter '{}'", policy, setting.key),
                fmt::format("{}there are: {}", did_you_mean(setting.key, names), fmt::join(known, ", ")));
        }
        const auto value = parse_param_value(spec->param, setting.value);
        MPS_TRY(value);
        const auto index = static_cast<std::size_t>(spec - params.begin());
        if (std::any_of(checked.begin(), checked.end(),
                        [&](const CheckedSetting &c) { return c.index == index; })) {
            return fail(ErrorCode::usage, fmt::format("parameter '{}' is given twice", setting.key),
                        "give it once");
        }
        checked.push_back({index, *value});
    }
    return checked;
}

void PolicyObject::Close::operator()(bpf_object *object) const { bpf_object__close(object); }

Result<PolicyObject> PolicyObject::open(std::span<const std::byte> elf, std::string label) {
    const LibbpfMessages messages;
    PolicyObject policy;
    policy.label_ = std::move(label);
    // libbpf names the data-section maps after the object, unless their names are ours to look up already; a
    // fixed name also keeps file names out of the kernel.
    LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "mps_policy");
    policy.object_.reset(bpf_object__open_mem(elf.data(), elf.size(), &options));
    if (!policy.object_) {
        // errno is one of libbpf's own here, and its message tells the ELF library's view: for -v only.
        log_lines(messages.warnings());
        // A map of ours is described by BTF, so this is what an object without looks like to libbpf.
        if (std::string_view(messages.warnings()).contains("BTF is required")) {
            return fail(
                ErrorCode::failed,
                fmt::format("{} has no BTF, the description of its maps and parameters", policy.label_),
                "compile it with clang -g (llvm-strip -g may take the rest off again)");
        }
        return fail(ErrorCode::failed, fmt::format("{} is no BPF object", policy.label_),
                    std::string(not_a_policy_hint));
    }
    auto header = parse_policy_header(initial_value(policy.object_.get(), MPS_INFO_SECTION), policy.label_);
    MPS_TRY(header);
    policy.header_ = std::move(*header);
    MPS_TRY(policy.check_programs());

    if (const std::span<std::byte> section = policy.params_section(); !section.empty()) {
        const btf *types = bpf_object__btf(policy.object_.get());
        if (!types) {
            return fail(ErrorCode::failed,
                        fmt::format("{} has no BTF, so its parameters are unknown", policy.label_),
                        "compile it with clang -g");
        }
        auto params = params_of_btf(types, section.size());
        MPS_TRY(params);
        policy.params_ = std::move(*params);
        for (ParamSpec &spec : policy.params_)
            spec.param.value = read_param(spec, section);
    }
    return policy;
}

Result<void> PolicyObject::check_programs() const {
    struct Wanted {
        const char *name;
        bpf_prog_type type;
        const char *section;
    };
    for (const Wanted &wanted :
         {Wanted{xdp_program, BPF_PROG_TYPE_XDP, "xdp"}, Wanted{tc_program, BPF_PROG_TYPE_SCHED_CLS, "tc"}}) {
        const bpf_program *program = bpf_object__find_program_by_name(object_.get(), wanted.name);
        if (!program || bpf_program__type(program) != wanted.type) {
            return fail(ErrorCode::failed,
                        fmt::format("{} is no policy: it has no program {} of type {}", label_, wanted.name,
                                    wanted.section),
                        std::string(not_a_policy_hint));
        }
    }
    const bpf_map *scratch = bpf_object__find_map_by_name(object_.get(), MPS_MAP_SCRATCH);
    if (!scratch) {
        return fail(ErrorCode::failed,
                    fmt::format("{} is no policy: it has no map {}", label_, MPS_MAP_SCRATCH),
                    std::string(not_a_policy_hint));
    }
    // It is replaced by the data path's, which may be longer: what the object knows of it is at the same place.
    if (bpf_map__type(scratch) != BPF_MAP_TYPE_PERCPU_ARRAY ||
        bpf_map__value_size(scratch) < MPS_SCRATCH_BYTES_4_0 ||
        bpf_map__value_size(scratch) > sizeof(mps_scratch)) {
        return fail(ErrorCode::unsupported,
                    fmt::format("{}: its map {} does not fit policy ABI {}.{} ({} bytes instead of {} to {})",
                                label_, MPS_MAP_SCRATCH, MPS_POLICY_ABI_MAJOR, MPS_POLICY_ABI_MINOR,
                                bpf_map__value_size(scratch), MPS_SCRATCH_BYTES_4_0, sizeof(mps_scratch)),
                    "build it again with the headers of this mpsched");
    }
    return {};
}

std::span<std::byte> PolicyObject::params_section() const {
    return initial_value(object_.get(), MPS_PARAMS_SECTION);
}

Result<void> PolicyObject::set(const std::vector<Setting> &settings) {
    const auto checked = check_settings(header_.name, params_, settings);
    MPS_TRY(checked);
    for (const CheckedSetting &setting : *checked) {
        ParamSpec &spec = params_[setting.index];
        write_param(spec, params_section(), setting.value);
        spec.param.value = setting.value;
    }
    return {};
}

Result<void> PolicyObject::share_maps(const ProgInfo &like) {
    for (const std::uint32_t id : like.map_ids) {
        const auto fd = map_by_id(id);
        const auto info = fd ? map_info(fd->get()) : std::unexpected(fd.error());
        MPS_TRY(info);
        bpf_map *map;
        bpf_object__for_each_map(map, object_.get()) {
            if (info->name != std::string_view(bpf_map__name(map)).substr(0, BPF_OBJ_NAME_LEN - 1))
                continue;
            if (const int err = bpf_map__reuse_fd(map, fd->get()))
                return std::unexpected(load_error(
                    err, fmt::format("{}: sharing the map {}", label_, bpf_map__name(map)), {}, {}));
        }
    }
    return {};
}

Result<LoadedPolicy> PolicyObject::load(int scratch_map, Variants wanted, const ProgInfo *like) {
    const LibbpfMessages messages;
    bpf_program *xdp = bpf_object__find_program_by_name(object_.get(), xdp_program);
    bpf_program *tc = bpf_object__find_program_by_name(object_.get(), tc_program);
    bpf_program *program;
    bpf_object__for_each_program(program, object_.get()) {
        // Whatever else the author has in the object is not ours to load.
        bpf_program__set_autoload(program, (program == xdp && wanted.xdp) || (program == tc && wanted.tc));
    }
    if (const int err =
            bpf_map__reuse_fd(bpf_object__find_map_by_name(object_.get(), MPS_MAP_SCRATCH), scratch_map)) {
        return std::unexpected(
            load_error(err, fmt::format("{}: giving it the data path's {}", label_, MPS_MAP_SCRATCH), {},
                       messages.warnings()));
    }
    if (like) {
        MPS_TRY(share_maps(*like));
    }
    // A slot takes only programs that agree with the data path's in this (bpf_prog_map_compatible),
    // whatever the author wrote as section name.
    bpf_program__set_flags(xdp, bpf_program__flags(xdp) | BPF_F_XDP_HAS_FRAGS);
    // One buffer for each program, written only if the kernel refuses it.
    VerifierLogBuffer logs[2];
    bpf_program__set_log_buf(xdp, logs[0].data(), logs[0].size());
    bpf_program__set_log_buf(tc, logs[1].data(), logs[1].size());
    if (const int err = bpf_object__load(object_.get())) {
        const std::string_view log = logs[0].text().empty() ? logs[1].text() : logs[0].text();
        return std::unexpected(load_error(err, fmt::format("loading {}", label_), log, messages.warnings()));
    }
    LoadedPolicy loaded;
    if (wanted.xdp)
        loaded.xdp = Fd::duplicate(bpf_program__fd(xdp));
    if (wanted.tc)
        loaded.tc = Fd::duplicate(bpf_program__fd(tc));
    if ((wanted.xdp && !loaded.xdp) || (wanted.tc && !loaded.tc))
        return std::unexpected(system_error(errno, fmt::format("loading {}", label_)));
    return loaded;
}

} // namespace mps
