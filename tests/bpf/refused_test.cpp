// SPDX-License-Identifier: MIT
//
// Policy objects that must be refused, and by whom. The messages quoted here are what the loader's hints
// are matched against; a kernel that words them differently fails this test first.
#include "catch.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include <mps/abi.h>

namespace {

struct Close {
    void operator()(bpf_object *object) const { bpf_object__close(object); }
};

struct Attempt {
    std::unique_ptr<bpf_object, Close> object;
    int error = 0; // negative errno of the load
    std::string log;
};

Attempt attempt(const std::string &name) {
    const std::string path = std::string(MPS_BAD_POLICY_DIR) + "/" + name + ".bpf.o";
    std::vector<char> log(1u << 20);
    // Messages and sums without every state on the way: of a log that is too long, kernels before 6.4 keep the
    // beginning and say ENOSPC.
    LIBBPF_OPTS(bpf_object_open_opts, opts, .kernel_log_buf = log.data(), .kernel_log_size = log.size(),
                .kernel_log_level = 4);
    Attempt out;

    libbpf_set_print(nullptr);
    out.object.reset(bpf_object__open_file(path.c_str(), &opts));
    REQUIRE(out.object);
    out.error = bpf_object__load(out.object.get());
    out.log = log.data();
    return out;
}

} // namespace

TEST_CASE("the verifier refuses what could hang or corrupt the kernel, and says why") {
    struct Row {
        const char *name;
        std::vector<const char *> any_of; // messages, by kernel
    };
    const std::vector<Row> rows = {
        {"unbounded_loop", {"infinite loop detected"}},
        {"long_loop", {"BPF program is too large. Processed 1000001 insn", "infinite loop detected"}},
        {"state_overrun", {"invalid access to map value"}},
        {"null_scratch", {"invalid mem access 'map_value_or_null'"}},
        {"packet_access", {"invalid access to packet"}},
    };

    for (const Row &row : rows) {
        Attempt got = attempt(row.name);
        bool quoted = false;

        for (const char *message : row.any_of)
            quoted = quoted || got.log.find(message) != std::string::npos;
        INFO(row.name << ": error " << got.error
                      << ", log ends: " << got.log.substr(got.log.size() > 600 ? got.log.size() - 600 : 0));
        CHECK(got.error < 0);
        CHECK(quoted);
    }
}

TEST_CASE("the kernel takes objects whose description is wrong: refusing them is up to the loader") {
    for (const char *name : {"wrong_abi", "newer_abi", "no_info", "no_tc", "no_name", "endless_name",
                             "large_state", "short_info", "bad_tag", "other_scratch"}) {
        INFO(name);
        CHECK(attempt(name).error == 0);
    }
}

TEST_CASE("each object with a wrong description is wrong in the way its name says") {
    auto info = [](const Attempt &got) {
        mps_policy_info out{};
        std::uint32_t key = 0;
        int map = bpf_object__find_map_fd_by_name(got.object.get(), MPS_INFO_SECTION);

        REQUIRE(map >= 0);
        REQUIRE(bpf_map_lookup_elem(map, &key, &out) == 0);
        return out;
    };

    CHECK(info(attempt("wrong_abi")).abi == MPS_POLICY_ABI + 1);
    CHECK(info(attempt("newer_abi")).abi == MPS_POLICY_ABI + (1 << 16));
    CHECK(bpf_object__find_map_by_name(attempt("no_info").object.get(), MPS_INFO_SECTION) == nullptr);
    CHECK(bpf_object__find_program_by_name(attempt("no_tc").object.get(), "mps_policy_tc") == nullptr);
    CHECK(info(attempt("no_name")).name[0] == '\0');
    CHECK(info(attempt("endless_name")).name[MPS_NAME_LEN - 1] == 'n');
    CHECK(info(attempt("endless_name")).doc[MPS_DOC_LEN - 1] == 'd');
    CHECK(info(attempt("large_state")).state_bytes > sizeof(mps_state));
    Attempt brief = attempt("short_info");
    CHECK(bpf_map__value_size(bpf_object__find_map_by_name(brief.object.get(), MPS_INFO_SECTION)) == 4);
    Attempt other = attempt("other_scratch");
    CHECK(bpf_map__value_size(bpf_object__find_map_by_name(other.object.get(), MPS_MAP_SCRATCH)) == 8);
}
