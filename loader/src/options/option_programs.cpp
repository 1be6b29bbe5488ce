// SPDX-License-Identifier: MIT
#include "options/option_programs.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "base/try.hpp"
#include "kernel/kernel_objects.hpp"
#include "kernel/netns.hpp"
#include "option_rules.skel.h"
#include "pins/kept_maps.hpp"

namespace mps {

namespace {

struct DestroyRules {
    void operator()(option_rules *object) const { option_rules__destroy(object); }
};

constexpr bool sides[] = {false, true};

int cpus() { return std::max(libbpf_num_possible_cpus(), 1); }

// Maps of the data path's header are none of these programs' business.
MapUse map_use(std::string_view map) {
    if (map.starts_with("mps_orule"))
        return MapUse::kept;
    return map.starts_with("mps_option") ? MapUse::own : MapUse::none;
}

} // namespace

std::string rule_program_name(bool out, bool layer3) {
    return fmt::format("{}_{}", out ? "mps_rout" : "mps_rin", layer3 ? "l3" : "eth");
}

Result<std::optional<OptionPins>> open_option_pins(const InstallationPaths &paths) {
    auto tables = open_own_map(paths.rules_pin(MPS_MAP_OPTION_RULES), sizeof(std::uint32_t),
                               BPF_MAP_TYPE_ARRAY_OF_MAPS);
    MPS_TRY(tables);
    auto hits = open_own_map(paths.rules_pin(MPS_MAP_OPTION_HITS), sizeof(mps_option_hits),
                             BPF_MAP_TYPE_PERCPU_ARRAY);
    MPS_TRY(hits);
    auto joins =
        open_own_map(paths.rules_pin(MPS_MAP_OPTION_JOINS), sizeof(mps_option_joins), BPF_MAP_TYPE_LRU_HASH);
    MPS_TRY(joins);
    // What a command that was killed has left half made says nothing.
    if (!*tables || !*hits)
        return std::nullopt;
    OptionPins pins{.tables = std::move(*tables), .hits = std::move(*hits), .joins = std::move(*joins)};
    for (const bool out : sides) {
        for (const bool layer3 : sides) {
            const std::string name = rule_program_name(out, layer3);
            auto fd = open_pin(paths.rules_pin(name));
            MPS_TRY(fd);
            const auto info = *fd && object_kind((*fd)->get()) == ObjectKind::program
                                  ? prog_info((*fd)->get())
                                  : std::unexpected(Error{});
            if (!info || info->name != name)
                continue;
            pins.program_ids[name] = info->id;
            pins.programs[name] = std::move(**fd);
        }
    }
    return pins;
}

Result<void> provide_option_program(const InstallationPaths &paths, OptionPins &pins,
                                    const std::string &wanted) {
    if (pins.programs.contains(wanted))
        return {};
    const std::unique_ptr<option_rules, DestroyRules> object(option_rules__open());
    if (!object)
        return std::unexpected(system_error(errno, "opening the programs of option rules"));
    const auto cookie = netns_cookie();
    MPS_TRY(cookie);
    object->rodata->mps_netns_cookie = *cookie;
    const KeptMaps maps{.folder = paths.rules_dir(),
                        .pin = [&](std::string_view map) { return paths.rules_pin(map); },
                        .use = map_use};
    MPS_TRY(load_alone(object->obj, wanted, maps, "loading the programs of option rules"));
    const auto keep = [](const bpf_map *map, Fd &kept) {
        if (!kept)
            kept = Fd::duplicate(bpf_map__fd(map));
    };
    keep(object->maps.mps_orules, pins.tables);
    keep(object->maps.mps_orule_hits, pins.hits);
    keep(object->maps.mps_orule_joins, pins.joins);
    const bpf_program *program = bpf_object__find_program_by_name(object->obj, wanted.c_str());
    const auto info = prog_info(bpf_program__fd(program));
    MPS_TRY(info);
    const std::string path = paths.rules_pin(wanted);
    MPS_TRY(unpin(path));
    MPS_TRY(pin(bpf_program__fd(program), path));
    pins.program_ids[wanted] = info->id;
    pins.programs[wanted] = Fd::duplicate(bpf_program__fd(program));
    return {};
}

Result<void> remove_option_pins(const InstallationPaths &paths) { return remove_tree(paths.rules_dir()); }

Result<mps_option_table> read_option_table(const OptionPins &pins) {
    const std::uint32_t zero = 0;
    std::uint32_t id = 0;
    if (bpf_map_lookup_elem(pins.tables.get(), &zero, &id)) {
        if (errno == ENOENT)
            return mps_option_table{};
        return std::unexpected(system_error(errno, "reading the option rules"));
    }
    const auto inner = map_by_id(id);
    MPS_TRY(inner);
    const auto table = read_value<mps_option_table>(inner->get(), zero);
    MPS_TRY(table);
    return table->value_or(mps_option_table{});
}

Result<void> write_option_table(const OptionPins &pins, const mps_option_table &table) {
    const std::uint32_t zero = 0;
    const Fd inner(
        bpf_map_create(BPF_MAP_TYPE_ARRAY, "mps_orule_table", sizeof zero, sizeof table, 1, nullptr));
    if (!inner)
        return std::unexpected(system_error(errno, "making a table of option rules"));
    MPS_TRY(write_value(inner.get(), zero, table, "mps_orule_table"));
    const int fd = inner.get();
    if (bpf_map_update_elem(pins.tables.get(), &zero, &fd, BPF_ANY))
        return std::unexpected(system_error(errno, "putting option rules in force"));
    return {};
}

Result<mps_option_hits> read_option_hits(const OptionPins &pins, std::uint32_t place) {
    std::vector<mps_option_hits> by_cpu(static_cast<std::size_t>(cpus()));
    if (bpf_map_lookup_elem(pins.hits.get(), &place, by_cpu.data()))
        return std::unexpected(system_error(errno, "reading the counters of option rules"));
    mps_option_hits sum{};
    for (const mps_option_hits &one : by_cpu) {
        sum.matched += one.matched;
        sum.changed += one.changed;
        sum.failed += one.failed;
    }
    return sum;
}

Result<void> clear_option_hits(const OptionPins &pins, std::uint32_t place) {
    const std::vector<mps_option_hits> none(static_cast<std::size_t>(cpus()));
    if (bpf_map_update_elem(pins.hits.get(), &place, none.data(), BPF_ANY))
        return std::unexpected(system_error(errno, "clearing the counters of option rules"));
    return {};
}

} // namespace mps
