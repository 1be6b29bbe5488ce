// SPDX-License-Identifier: MIT
//
// A core that passes on the host can be refused by the verifier, or be compiled into something else: each
// policy's object runs in the kernel over the same views, and must answer as the native core does.
#include "catch.hpp"
#include "cores.hpp"
#include "views.hpp"

#include <array>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <fmt/format.h>
#include <memory>
#include <sched.h>
#include <system_error>
#include <vector>

#include <mpsched/builtin_policies.hpp>

using namespace mps;
using test::Core;

namespace {

struct Close {
    void operator()(bpf_object *object) const { bpf_object__close(object); }
};
using Object = std::unique_ptr<bpf_object, Close>;

// A policy's object, loaded with a scratch map of its own; the thread stays on one CPU.
class Loaded {
  public:
    explicit Loaded(const BuiltinPolicy &policy) {
        cpu_set_t one;

        CPU_ZERO(&one);
        CPU_SET(0, &one);
        sched_setaffinity(0, sizeof(one), &one);
        object_.reset(bpf_object__open_mem(policy.object.data(), policy.object.size(), nullptr));
        if (!object_ || bpf_object__load(object_.get()) != 0)
            throw std::system_error(errno, std::generic_category(),
                                    "load policy " + std::string(policy.name));
        scratch_ = bpf_object__find_map_fd_by_name(object_.get(), MPS_MAP_SCRATCH);
        per_cpu_.resize(static_cast<std::size_t>(libbpf_num_possible_cpus()));
    }
    ~Loaded() {
        cpu_set_t all;

        CPU_ZERO(&all);
        for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
            CPU_SET(cpu, &all);
        sched_setaffinity(0, sizeof(all), &all);
    }

    void set_params(const void *params) {
        std::uint32_t key = 0;
        int map = bpf_object__find_map_fd_by_name(object_.get(), MPS_PARAMS_SECTION);

        REQUIRE(map >= 0);
        REQUIRE(bpf_map_update_elem(map, &key, params, BPF_ANY) == 0);
    }

    mps_policy_info info() const {
        std::uint32_t key = 0;
        mps_policy_info info{};

        REQUIRE(bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(object_.get(), MPS_INFO_SECTION), &key,
                                    &info) == 0);
        return info;
    }

    mps_scratch decide(const char *program, const mps_view &view, const mps_state &state) {
        std::array<std::uint8_t, 64> packet{};
        std::uint32_t key = 0;
        LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet.data(), .data_size_in = packet.size(),
                    .repeat = 1);

        for (mps_scratch &one : per_cpu_) {
            one = {};
            one.view = view;
            one.state = state;
        }
        if (bpf_map_update_elem(scratch_, &key, per_cpu_.data(), BPF_ANY) != 0 ||
            bpf_prog_test_run_opts(bpf_program__fd(bpf_object__find_program_by_name(object_.get(), program)),
                                   &opts) != 0 ||
            bpf_map_lookup_elem(scratch_, &key, per_cpu_.data()) != 0)
            throw std::system_error(errno, std::generic_category(), program);
        return per_cpu_.at(0);
    }

  private:
    Object object_;
    int scratch_ = -1;
    std::vector<mps_scratch> per_cpu_;
};

const Core &core_of(const BuiltinPolicy &policy) {
    for (const Core &core : test::all_cores())
        if (core.name == policy.name)
            return core;
    throw std::invalid_argument("no core for policy " + std::string(policy.name));
}

bool same_reasons(const mps_verdict &a, const mps_verdict &b) {
    if (a.reasoned != b.reasoned)
        return false;
    for (std::uint32_t i = 0; i < MPS_SUBFLOW_ROWS; i++)
        if (a.reasoned >> i & 1 && std::memcmp(&a.reason[i], &b.reason[i], sizeof(mps_reason)) != 0)
            return false;
    return true;
}

// The same decision on the host and in the kernel; returns false, with the reason reported, when they differ.
bool agree(Loaded &kernel, const Core &core, const char *program, const mps_view &view, mps_state &state,
           const void *params) {
    mps_scratch got = kernel.decide(program, view, state);
    mps_verdict expected = core(view, state, params);

    if (got.decided == 1 && got.verdict.allowed == expected.allowed && got.verdict.flags == expected.flags &&
        (!(expected.flags & MPS_VERDICT_LEVERS) ||
         std::memcmp(&got.verdict.lever, &expected.lever, sizeof(expected.lever)) == 0) &&
        same_reasons(got.verdict, expected) && std::memcmp(&got.state, &state, sizeof(state)) == 0 &&
        std::memcmp(&got.view, &view, sizeof(view)) == 0)
        return true;
    FAIL_CHECK(fmt::format(
        "{} in {}: decided {}, allowed {:#x} in the kernel and {:#x} natively, flags {} and {}, state {}",
        core.name, program, got.decided, got.verdict.allowed, expected.allowed, got.verdict.flags,
        expected.flags, std::memcmp(&got.state, &state, sizeof(state)) == 0 ? "equal" : "different"));
    return false;
}

// Rows without a subflow hold what a connection with more of them has left on that CPU.
mps_view with_leftovers(mps_view view, test::Random &random) {
    for (std::uint32_t row = 0; row < MPS_MAX_SUBFLOWS; row++)
        if (!(view.present >> row & 1)) {
            view.sf[row] = test::garbage<mps_subflow_view>(random);
            view.sf[row].flags = 0;
        }
    return view;
}

} // namespace

TEST_CASE("what rows without a subflow hold makes no difference to any policy") {
    for (const BuiltinPolicy &policy : builtin_policies()) {
        const Core &core = core_of(policy);
        test::Random random(6182);
        mps_state state{}, other{};
        std::uint32_t before = 0;
        for (int i = 0; i < 4000; i++) {
            if (i % 64 == 0) // another connection
                state = other = {};
            mps_view view = test::random_view(random);
            view.direction = i % 128 < 64 ? MPS_DIRECTION_TX : MPS_DIRECTION_RX;
            // Who comes to a row is new there.
            for (std::uint32_t row = 0; row < MPS_MAX_SUBFLOWS; row++)
                if (view.present & ~before & 1U << row)
                    view.sf[row].flags |= MPS_SF_FRESH;
            before = view.present;
            const mps_verdict expected = core(view, state, nullptr);
            const mps_verdict got = core(with_leftovers(view, random), other, nullptr);
            INFO(policy.name << ", decision " << i);
            REQUIRE(got.allowed == expected.allowed);
            REQUIRE(got.flags == expected.flags);
            REQUIRE(same_reasons(got, expected));
        }
    }
}

TEST_CASE("every built-in policy has a core, an object that loads, and says who it is") {
    CHECK(builtin_policies().size() == test::all_cores().size());
    for (const BuiltinPolicy &policy : builtin_policies()) {
        INFO(policy.name);
        Loaded kernel(policy);
        mps_policy_info info = kernel.info();

        CHECK(info.abi == MPS_POLICY_ABI);
        CHECK(info.state_bytes == core_of(policy).state_size);
        CHECK(std::string_view(info.name) == policy.name);
        CHECK_FALSE(std::string_view(info.doc).empty());
    }
}

TEST_CASE("the kernel decides as the host over random views of one connection") {
    for (const BuiltinPolicy &policy : builtin_policies()) {
        const Core &core = core_of(policy);
        Loaded kernel(policy);
        test::Random random(8684);
        mps_state state{};

        for (int i = 0; i < 10000; i++) {
            mps_view view = test::random_view(random);

            if (i % 64 == 0)
                state = {};
            if (!agree(kernel, core, i % 2 ? "mps_policy_xdp" : "mps_policy_tc", view, state, nullptr))
                break;
        }
    }
}

TEST_CASE("the kernel decides as the host for any parameters, views and states") {
    for (const BuiltinPolicy &policy : builtin_policies()) {
        const Core &core = core_of(policy);
        Loaded kernel(policy);
        test::Random random(4868);
        std::vector<unsigned char> params(core.params_size);

        for (int i = 0; i < 4000; i++) {
            auto view = i % 3 ? test::random_view(random) : test::garbage<mps_view>(random);
            auto state = test::garbage<mps_state>(random);

            for (unsigned char &octet : params)
                octet = static_cast<unsigned char>(i % 4 == 0 ? 0 : i % 4 == 1 ? 0xff : random());
            kernel.set_params(params.data());
            if (!agree(kernel, core, "mps_policy_xdp", view, state, params.data()))
                break;
        }
    }
}

TEST_CASE("the kernel and the host agree on the corners") {
    using test::Subflow;
    const std::vector<mps_view> corners = {
        mps_view{},
        test::view_of({{}}),
        test::view_of({{.usable = false}, {.usable = false}}),
        test::view_of({{.troubled = true}, {.troubled = true}}),
        test::view_of({{}, {}, {}, {}, {}, {}, {}, {}}, {.unsent_bytes = ~std::uint64_t{0}}),
        test::view_of({{.fresh = true, .weight = 0}, {.weight = 0xffffffff}}),
        test::view_of({{.srtt_us = 0, .min_rtt_us = 0}, {.srtt_us = 0xffffffff, .rttvar_us = 0xffffffff}}),
        test::view_of({{.bytes_acked = ~std::uint64_t{0}}, {.outstanding_bytes = 0xffffffff}}),
    };

    for (const BuiltinPolicy &policy : builtin_policies()) {
        const Core &core = core_of(policy);
        Loaded kernel(policy);
        mps_state state{};

        for (int round = 0; round < 2; round++)
            for (const mps_view &view : corners)
                for (const char *program : {"mps_policy_xdp", "mps_policy_tc"})
                    agree(kernel, core, program, view, state, nullptr);
    }
}
