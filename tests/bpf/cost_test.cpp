// SPDX-License-Identifier: MIT
//
// What the verifier has to walk for each program is compared with a committed table, so that a change that makes a program
// larger, or slower to load, is made on purpose. costs.inc is written by tests/bpf/update-costs.
#include "app.skel.h"
#include "catch.hpp"
#include "closed.skel.h"
#include "command.skel.h"
#include "congestion.skel.h"
#include "datapath.skel.h"
#include "gateway.skel.h"
#include "idle_probe.skel.h"
#include "mptcp_run.skel.h"
#include "option_rules.skel.h"
#include "proxy.skel.h"
#include "rig.hpp"
#include "spread.skel.h"
#include "tracer.skel.h"

#include <algorithm>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cstdlib>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <memory>
#include <string>
#include <sys/utsname.h>
#include <system_error>
#include <vector>

#include <mpsched/builtin_policies.hpp>

using namespace mps;

namespace {

struct Cost {
    std::string kernel; // major.minor
    std::string object, program;
    double size;     // instructions, subprograms included
    double verified; // instructions that the verifier walked
};

const Cost table[] = {
#include "costs.inc"
};

constexpr double tolerance = 1.05;

std::string this_kernel() {
    utsname name{};

    uname(&name);
    const std::string release = name.release;
    return release.substr(0, release.find_first_not_of("0123456789", release.find('.') + 1));
}

void add(std::vector<Cost> &to, const std::string &name, bpf_object *object) {
    bpf_program *program = nullptr;

    bpf_object__for_each_program(program, object) {
        bpf_prog_info info{};
        std::uint32_t size = sizeof(info);

        if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size) != 0)
            throw std::system_error(errno, std::generic_category(), bpf_program__name(program));
        to.push_back({this_kernel(), name, bpf_program__name(program),
                      static_cast<double>(bpf_program__insn_cnt(program)),
                      static_cast<double>(info.verified_insns)});
    }
}

// Programs that are loaded only where they are asked for.
template <class Skeleton>
bool try_add(std::vector<Cost> &to, const std::string &name) {
    const std::unique_ptr<Skeleton, decltype(&Skeleton::destroy)> object(Skeleton::open(), Skeleton::destroy);

    if (!object || Skeleton::load(object.get()) != 0)
        return false;
    add(to, name, object->obj);
    return true;
}

template <class Skeleton>
void add_beside(std::vector<Cost> &to, const std::string &name) {
    if (!try_add<Skeleton>(to, name))
        throw std::system_error(errno, std::generic_category(), "load " + name);
}

std::vector<Cost> measured_here() {
    std::vector<Cost> out;
    const std::unique_ptr<datapath, decltype(&datapath::destroy)> path(datapath::open(), datapath::destroy);

    if (!path)
        throw std::system_error(errno, std::generic_category(), "open the data path");
    path->rodata->mps_rdonly_cast = test::readings().front() == test::Reading::cast;
    if (datapath::load(path.get()) != 0)
        throw std::system_error(errno, std::generic_category(), "load the data path");
    add(out, "datapath", path->obj);
    for (const BuiltinPolicy &policy : builtin_policies()) {
        const std::unique_ptr<bpf_object, decltype(&bpf_object__close)> object(
            bpf_object__open_mem(policy.object.data(), policy.object.size(), nullptr), bpf_object__close);

        if (!object || bpf_object__load(object.get()) != 0)
            throw std::system_error(errno, std::generic_category(), "load " + std::string(policy.name));
        add(out, std::string(policy.name), object.get());
    }
    add_beside<gateway>(out, "gateway");
    add_beside<option_rules>(out, "option_rules");
    add_beside<app>(out, "app");
    add_beside<closed>(out, "closed");
    add_beside<command>(out, "command");
    add_beside<congestion>(out, "congestion");
    add_beside<spread>(out, "spread");
    add_beside<idle_probe>(out, "probe");
    add_beside<proxy>(out, "proxy");
    add_beside<tracer>(out, "trace");
    // Not every kernel lets programs change what a function returns. One that does has rows in the table, which are missed then.
    try_add<mptcp_run>(out, "run");
    return out;
}

bool same_program(const Cost &a, const Cost &b) {
    return a.kernel == b.kernel && a.object == b.object && a.program == b.program;
}

} // namespace

TEST_CASE("no program costs the verifier more than the table of costs says") {
    const auto here = measured_here();

    // For update-costs.
    if (std::getenv("MPS_PRINT_COSTS") != nullptr) {
        for (const Cost &cost : here)
            fmt::print("    {{\"{}\", \"{}\", \"{}\", {:.0f}, {:.0f}}},\n", cost.kernel, cost.object,
                       cost.program, cost.size, cost.verified);
        return;
    }
    if (std::ranges::find(table, this_kernel(), &Cost::kernel) == std::end(table))
        test::skip("costs.inc has no row of this kernel");
    for (const Cost &cost : here) {
        const auto before =
            std::ranges::find_if(table, [&](const Cost &row) { return same_program(row, cost); });
        INFO(fmt::format("{} of {}; if it is meant to: tests/bpf/update-costs", cost.program, cost.object));
        REQUIRE(before != std::end(table));
        CHECK(cost.size <= before->size * tolerance);
        CHECK(cost.verified <= before->verified * tolerance);
    }
    for (const Cost &row : table) {
        INFO(row.program << " of " << row.object << " is in the table and nowhere else");
        CHECK((row.kernel != this_kernel() ||
               std::ranges::any_of(here, [&](const Cost &cost) { return same_program(row, cost); })));
    }
}
