// SPDX-License-Identifier: MIT
//
// Policies from outside the tree: which object is loaded, and what happens when its author has edited it.
#include "catch.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>

#include <bpf/bpf.h>
#include <fmt/format.h>

#include "scratch.hpp"
#include "temporary_folder.hpp"

using namespace mps;
using mps::test::Scratch;

namespace {

// A file that its author edits.
class Edited {
  public:
    void build(int number) const {
        std::filesystem::copy_file(fmt::format("{}/outside_{}.bpf.o", MPS_OUTSIDE_DIR, number), file_,
                                   std::filesystem::copy_options::overwrite_existing);
    }
    void spoil() const { std::filesystem::resize_file(file_, 700); }
    void remove() const { std::filesystem::remove(file_); }
    [[nodiscard]] std::string path() const { return file_.string(); }
    [[nodiscard]] std::string digest() const {
        std::string line(64, ' ');
        FILE *pipe = ::popen(fmt::format("sha256sum <{}", path()).c_str(), "r");
        REQUIRE(pipe != nullptr);
        REQUIRE(::fread(line.data(), 1, line.size(), pipe) == line.size());
        ::pclose(pipe);
        return line;
    }

  private:
    TemporaryFolder folder_ = test::temporary_folder("outside");
    std::filesystem::path file_ = std::filesystem::canonical(folder_.path()) / "mine.bpf.o";
};

std::int64_t value_of(const std::vector<Param> &params, const std::string &name) {
    const auto it = std::ranges::find(params, name, &Param::name);
    REQUIRE(it != params.end());
    return it->value;
}

const PolicyInfo *in_slot(const Status &status, std::uint32_t slot) {
    const auto it = std::ranges::find(status.policies, slot, &PolicyInfo::slot);
    return it == status.policies.end() ? nullptr : &*it;
}

// The constant in .rodata of the programs that the kernel holds for the policy: what really would run.
std::multiset<std::uint32_t> builds_in_kernel(const Scratch &scratch) {
    std::multiset<std::uint32_t> found;
    const int slots = bpf_obj_get((scratch.installation() + "/maps/mps_xdp_slots").c_str());
    REQUIRE(slots >= 0);
    for (std::uint32_t slot = 0; slot < 16; slot++) {
        std::uint32_t id = 0;
        if (bpf_map_lookup_elem(slots, &slot, &id) != 0)
            continue;
        const int prog = bpf_prog_get_fd_by_id(id);
        std::uint32_t maps[16] = {};
        bpf_prog_info info{};
        info.nr_map_ids = 16;
        info.map_ids = reinterpret_cast<std::uint64_t>(maps);
        std::uint32_t size = sizeof info;
        REQUIRE(bpf_obj_get_info_by_fd(prog, &info, &size) == 0);
        for (std::uint32_t i = 0; i < info.nr_map_ids; i++) {
            const int map = bpf_map_get_fd_by_id(maps[i]);
            bpf_map_info about{};
            size = sizeof about;
            REQUIRE(bpf_obj_get_info_by_fd(map, &about, &size) == 0);
            std::uint32_t zero = 0, table[2] = {};
            if (std::string_view(about.name).ends_with(".rodata") && about.value_size == sizeof table &&
                bpf_map_lookup_elem(map, &zero, table) == 0)
                found.insert(table[0]);
            ::close(map);
        }
        ::close(prog);
    }
    ::close(slots);
    return found;
}

} // namespace

TEST_CASE("what was loaded from a file is shown with the file's name and digest, by any later command") {
    Scratch scratch;
    const Edited file;
    file.build(1);
    REQUIRE(scratch.instance().attach({.interfaces = {"lo"}}));
    REQUIRE(scratch.instance().load_policy(file.path()));
    const auto shown = scratch.instance().policy("outside");
    REQUIRE(shown);
    CHECK(shown->front().file == file.path());
    CHECK(shown->front().sha256 == file.digest());
    CHECK(shown->front().file_now.empty());
    CHECK(scratch.instance().policy(file.path())->front().sha256 == file.digest());
    const std::string was = file.digest();
    file.build(2);
    CHECK(scratch.instance().policy("outside")->front().file_now == "changed");
    CHECK(scratch.instance().policy("outside")->front().sha256 == was);
    file.remove();
    CHECK(scratch.instance().policy("outside")->front().file_now == "gone");
    CHECK(scratch.instance().policy("weighted")->front().file.empty());
    // A slot that is filled anew forgets.
    REQUIRE(scratch.instance().unload_policy("outside"));
    REQUIRE(scratch.instance().use({.policy = "weighted"}));
    CHECK(scratch.instance().status()->policies.front().file.empty());
    REQUIRE(scratch.instance().detach({.all = true}));
    CHECK(scratch.pins() == 0);
}

TEST_CASE(
    "an edited file that differs in a constant alone is another object, and takes its predecessor's place") {
    Scratch scratch;
    const Edited file;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    file.build(1);
    REQUIRE(instance.use({.policy = file.path()}));
    REQUIRE(instance.use({.policy = file.path(), .params = {{"patience_ms", "77"}}, .selector = "rport=1"}));
    REQUIRE(instance.use({.policy = "weighted", .selector = "rport=2"}));
    CHECK(builds_in_kernel(scratch) == std::multiset<std::uint32_t>{1, 1});
    file.build(2);

    SECTION("the name takes what is loaded, and says that the file is another one now") {
        const auto used = instance.use({.policy = "outside", .selector = "rport=3"});
        REQUIRE(used);
        REQUIRE(used->warnings.size() == 1);
        CHECK(used->warnings[0].contains(file.path()));
        CHECK(builds_in_kernel(scratch) == std::multiset<std::uint32_t>{1, 1});
    }
    SECTION("use of the file: the default is fresh, the rule keeps what was set for it") {
        const auto used = instance.use({.policy = file.path()});
        REQUIRE(used);
        CHECK(used->also == std::vector<std::string>{"the rule rport=1"});
        CHECK(used->warnings.empty());
        CHECK(builds_in_kernel(scratch) == std::multiset<std::uint32_t>{2, 2});
        const auto status = *instance.status();
        CHECK(value_of(in_slot(status, status.default_slot)->params, "patience_ms") == 10);
        CHECK(status.rules[0].policy == "outside");
        CHECK(value_of(in_slot(status, status.rules[0].slot)->params, "patience_ms") == 77);
        CHECK(status.rules[1].policy == "weighted");
        CHECK(status.policies.size() == 3);
        CHECK(instance.use({.policy = "outside"})->warnings.empty());
    }
    SECTION("use of the file for one rule: the default follows as well") {
        const auto used = instance.use({.policy = file.path(), .selector = "rport=1"});
        REQUIRE(used);
        CHECK(used->also == std::vector<std::string>{"the default policy"});
        CHECK(builds_in_kernel(scratch) == std::multiset<std::uint32_t>{2});
        const auto status = *instance.status();
        CHECK(status.default_policy == "outside");
        CHECK(status.default_slot == status.rules[0].slot);
    }
    SECTION("policy load: only with --replace, and then everywhere") {
        const auto refused = instance.load_policy(file.path());
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == ErrorCode::failed);
        CHECK(refused.error().hint.contains("--replace"));
        CHECK(builds_in_kernel(scratch) == std::multiset<std::uint32_t>{1, 1});
        const auto loaded = instance.load_policy(file.path(), true);
        REQUIRE(loaded);
        CHECK_FALSE(loaded->was_loaded);
        CHECK(loaded->also == std::vector<std::string>{"the default policy", "the rule rport=1"});
        const auto kept = builds_in_kernel(scratch);
        CHECK(kept.count(1) == 0);
        CHECK(kept.count(2) >= 2);
        CHECK(instance.load_policy(file.path(), true)->was_loaded);
        CHECK(instance.load_policy(file.path())->was_loaded);
        CHECK(builds_in_kernel(scratch) == kept);
    }
    SECTION("a file that does not load changes nothing") {
        file.spoil();
        const auto before = *instance.status();
        CHECK_FALSE(instance.use({.policy = file.path()}));
        CHECK_FALSE(instance.use({.policy = file.path(), .selector = "rport=1"}));
        CHECK_FALSE(instance.load_policy(file.path(), true));
        const auto after = *instance.status();
        CHECK(after.default_slot == before.default_slot);
        CHECK(after.rules[0].slot == before.rules[0].slot);
        CHECK(builds_in_kernel(scratch) == std::multiset<std::uint32_t>{1, 1});
    }
}

TEST_CASE("a policy that is kept stays kept when another object takes its place") {
    Scratch scratch;
    const Edited file;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    file.build(1);
    REQUIRE(instance.load_policy(file.path()));
    REQUIRE(instance.set({{"patience_ms", "400"}, {"calm_ms", "30"}}, {.policy = "outside"}));
    file.build(3);
    const auto loaded = instance.load_policy(file.path(), true);
    REQUIRE(loaded);
    // What the new one cannot take is said.
    CHECK(loaded->warnings.size() == 2);
    CHECK(value_of(loaded->policy.params, "patience_ms") == 10);
    CHECK(loaded->policy.kept);
    CHECK(builds_in_kernel(scratch) == std::multiset<std::uint32_t>{3});
    REQUIRE(instance.use({.policy = "weighted"}));
    CHECK(builds_in_kernel(scratch) == std::multiset<std::uint32_t>{3});
    REQUIRE(instance.unload_policy("outside"));
    CHECK(builds_in_kernel(scratch).empty());
}

TEST_CASE("a file may not call itself like a built-in policy, nor by another name of one") {
    Scratch scratch;
    const Edited file;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    for (const int build : {4, 5}) {
        file.build(build);
        for (const auto &error :
             {instance.use({.policy = file.path()}).error(), instance.load_policy(file.path()).error(),
              instance.load_policy(file.path(), true).error()}) {
            CHECK(error.code == ErrorCode::usage);
            CHECK(error.what.contains("built-in") == (build == 4));
            CHECK(error.hint.contains("a name of its own"));
        }
        CHECK(instance.status()->policies.empty());
    }
}
