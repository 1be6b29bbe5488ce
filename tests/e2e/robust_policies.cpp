// SPDX-License-Identifier: MIT
//
// Policy objects with something wrong are refused before anything changes, with what is wrong and what to do.
#include <fstream>
#include <sstream>

#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "mps_robust_abi.embed.h"
#include "mps_robust_info.embed.h"
#include "mps_robust_none.embed.h"
#include "mps_robust_program.embed.h"
#include "mps_robust_unsafe.embed.h"
#include "robust_rig.hpp"
#include "temporary_folder.hpp"

using namespace mps::robust;
using namespace mps;

namespace {

std::string text_of(const unsigned char *begin, const unsigned char *end) { return {begin, end}; }

const std::string good = text_of(mps_robust_none_begin, mps_robust_none_end);

class Files {
  public:
    std::string operator()(std::string_view name, std::string_view contents) const {
        const std::string path = folder_ / name;
        std::ofstream(path, std::ios::binary) << contents;
        return path;
    }
    std::string path(std::string_view name) const { return folder_ / name; }

  private:
    e2e::TemporaryFolder folder_;
};

// `use` and `policy load` alike; `use` also for one selector only.
void refused_everywhere(const Rig &rig, const std::string &file, const Refusal &refusal) {
    rig.refused({"use", file}, refusal);
    rig.refused({"use", file, "--for", "rport=80"}, refusal);
    rig.refused({"policy", "load", file}, refusal);
}

/// The policy that schedulers/README.md leads to: its first block of C.
std::string tutorial_policy() {
    const auto text = test::file_text(MPS_SOURCE_DIR "/schedulers/README.md");
    const auto begin = text.find("```c\n");
    REQUIRE(begin != std::string::npos);
    return text.substr(begin + 5, text.find("```\n", begin + 5) - begin - 5);
}

/// `text` with all white space as one blank, so that a clang-formatted copy equals what it was copied from.
std::string in_one_line(const std::string &text) {
    std::istringstream words(text);
    std::string line, word;
    while (words >> word) {
        line += word + " ";
    }
    return line;
}

/// Builds `source` to `object`, and expects it to leave the costly path alone.
void builds_and_steers(const Rig &rig, const std::string &source, const std::string &object) {
    rig.ok({"policy", "build", source, "-o", object});
    rig.ok({"attach", "dsl", "lte", "--mode", "tc"});
    rig.ok({"use", object, "-s", "max_cost=200"});
    rig.ok({"path", "lte", "cost=500"});

    const auto server = e2e::serve(rig.network());
    const auto result = rig.transfer(server, {.bytes = 4'000'000}).wait();
    e2e::check_clean(result);
    const auto bytes = result.bytes_per_path(rig.network());
    CHECK(bytes[0] > 3'900'000);
    CHECK(bytes[1] < 100'000);
}

} // namespace

TEST_CASE("the policy of the tutorial is built in an empty folder and steers",
          "[robust][policies][tutorial]") {
    const Rig rig(two_paths(50));
    const Files file;
    builds_and_steers(rig, file("roomiest.bpf.c", tutorial_policy()), file.path("roomiest.bpf.o"));
    rig.refused(
        {"policy", "build", file("wrong.bpf.c", "int x = ;"), "-o", file.path("wrong.bpf.o")},
        {.what = {"wrong.bpf.c"}, .hint = {"schedulers/README.md"}, .may_quote = true, .detail = {"error:"}});
    rig.refused({"policy", "build", file.path("absent.bpf.c")}, {.code = 2, .what = {"absent.bpf.c"}});
}

// That it passes the property tests is tests/unit/new_policy_test.
TEST_CASE("what 'run policy new' makes is the policy of the tutorial, and steers",
          "[robust][policies][tutorial]") {
    const Rig rig(two_paths(50));
    const Files file;
    const auto folder = file.path("");
    e2e::must(lab::run_checked({MPS_SOURCE_DIR "/schedulers/new-policy", "--into", folder, "roomiest"}));
    builds_and_steers(rig, file.path("roomiest/roomiest.bpf.c"), file.path("roomiest.bpf.o"));

    const auto made = test::file_text(file.path("roomiest/roomiest.core.h"));
    const auto tutorial = tutorial_policy();
    const auto begin = tutorial.find("#define ROOMIEST_PARAMS"), end = tutorial.find("MPS_POLICY(");
    REQUIRE(begin < end);
    REQUIRE(end != std::string::npos);
    CHECK(in_one_line(made).find(in_one_line(tutorial.substr(begin, end - begin))) != std::string::npos);

    const auto refused = [&](const char *name) {
        return !lab::run_checked({MPS_SOURCE_DIR "/schedulers/new-policy", "--into", folder, name});
    };
    for (const auto *name : {"roomiest", "auto", "register", "a--b", "Big", "", "../out"}) {
        INFO(name);
        CHECK(refused(name));
    }
}

TEST_CASE("a first attach steers with auto unless told otherwise, a later one changes no policy",
          "[robust][policies]") {
    const Rig rig;
    const Environment plain{{"MPS_POLICY", ""}};
    const auto chosen = [&] { return rig.status()["default_policy"]; };
    CHECK(rig.json({"attach", "dsl"}, plain)["policy"] == "auto");
    CHECK(chosen() == "auto");
    rig.ok({"use", "weighted"});
    CHECK(rig.json({"attach", "lte"}, plain)["policy"].is_null());
    CHECK(chosen() == "weighted");
    rig.ok({"detach", "--all"});

    CHECK(rig.json({"attach", "dsl", "lte", "--policy", "default"}, plain)["policy"] == "default");
    CHECK(chosen() == "default");
    rig.ok({"detach", "--all"});
    CHECK(rig.json({"attach", "dsl"}, {{"MPS_POLICY", "overflow"}})["policy"] == "overflow");
    rig.refused({"attach", "lte", "--policy", "nosuch"},
                {.code = 2, .what = {"nosuch"}, .hint = {"weighted"}});
    CHECK(rig.json({"attach", "lte", "--policy", "blest"})["policy"] == "blest");
    CHECK(chosen() == "blest");
    rig.ok({"detach", "--all"});
    rig.refused({"attach", "dsl", "--policy", "nosuch"},
                {.code = 2, .what = {"nosuch"}, .hint = {"weighted"}});
    rig.refused({"attach", "dsl", "--policy", "redundant"}, {.code = 3, .what = {"redundant"}});
}

TEST_CASE("a policy object with something wrong is refused, and nothing changes", "[robust][policies]") {
    const Rig rig;
    const Files file;
    rig.ok({"attach", "dsl", "lte", "--mode", "tc"});
    rig.ok({"use", "weighted", "-s", "lead_bytes=30000"});

    SECTION("built for another ABI") {
        refused_everywhere(rig, file("abi.bpf.o", text_of(mps_robust_abi_begin, mps_robust_abi_end)),
                           {.code = 3,
                            .what = {"abi.bpf.o", "policy ABI 99.0",
                                     fmt::format("{}.{}", MPS_POLICY_ABI_MAJOR, MPS_POLICY_ABI_MINOR)},
                            .hint = {"build it again"}});
    }
    SECTION("without description") {
        refused_everywhere(rig, file("info.bpf.o", text_of(mps_robust_info_begin, mps_robust_info_end)),
                           {.code = 1,
                            .what = {"info.bpf.o", "no policy", ".rodata.mps"},
                            .hint = {"schedulers/README.md"}});
    }
    SECTION("without a program for TC") {
        refused_everywhere(
            rig, file("program.bpf.o", text_of(mps_robust_program_begin, mps_robust_program_end)),
            {.code = 1, .what = {"program.bpf.o", "mps_policy_tc"}, .hint = {"schedulers/README.md"}});
    }
    SECTION("refused by the verifier, whose last words are shown") {
        refused_everywhere(rig, file("unsafe.bpf.o", text_of(mps_robust_unsafe_begin, mps_robust_unsafe_end)),
                           {.code = 1,
                            .what = {"unsafe.bpf.o", "verifier"},
                            .may_quote = true,
                            .detail = {"lines omitted", "unbounded memory access"}});
    }
    SECTION("no ELF file at all") {
        refused_everywhere(
            rig, file("text.bpf.o", "#!/bin/sh\necho this is no object\n"),
            {.code = 1, .what = {"text.bpf.o"}, .hint = {"schedulers/README.md"}, .may_quote = true});
    }
    SECTION("an ELF file of another kind") {
        refused_everywhere(rig, e2e::Cli::default_binary(),
                           {.code = 1, .what = {"mpsched"}, .may_quote = true});
    }
    SECTION("an empty file") {
        refused_everywhere(
            rig, file("empty.bpf.o", ""),
            {.code = 1, .what = {"empty.bpf.o"}, .hint = {"schedulers/README.md"}, .may_quote = true});
    }
    SECTION("cut off somewhere") {
        for (const std::size_t length : {std::size_t{40}, std::size_t{64}, good.size() / 2, good.size() - 8})
            rig.refused({"use", file("cut.bpf.o", good.substr(0, length))},
                        {.code = 1, .what = {"cut.bpf.o"}, .may_quote = true});
    }
    SECTION("a name that is too long, and one with characters that do not belong there") {
        std::string long_name = good;
        const auto at = long_name.find(std::string("robust\0", 7));
        REQUIRE(at != std::string::npos);
        // The one place where the name is followed by the zeros of its field.
        const auto info = long_name.find(std::string("robust") + std::string(26, '\0'));
        REQUIRE(info != std::string::npos);
        std::string strange = good;
        long_name.replace(info, 32, std::string(32, 'n'));
        strange.replace(info, 8, "rob/\nust");
        refused_everywhere(rig, file("long.bpf.o", long_name),
                           {.code = 1, .what = {"nnnn", "name"}, .hint = {"at most 31"}});
        refused_everywhere(rig, file("strange.bpf.o", strange),
                           {.code = 1, .what = {"name"}, .hint = {"letters"}});
    }
    SECTION("a file that is none") {
        rig.refused({"use", file.path("missing.o")},
                    {.code = 2, .what = {"missing.o"}, .hint = {"policy list"}});
        rig.refused({"use", "/dev/zero"}, {.code = 2, .what = {"/dev/zero"}});
        rig.refused({"use", "/"}, {.code = 2, .what = {"/"}});
        rig.refused({"use", "/" + std::string(300, 'n') + ".o"}, {.what = {"nnn"}});
        rig.refused({"use", "/" + std::string(5000, 'n') + ".o"}, {.what = {"nnn"}});
        const std::string fifo = file.path("fifo.o");
        REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
        rig.refused({"policy", "load", fifo}, {.code = 2, .what = {"fifo.o"}});
    }
    SECTION("a parameter it does not have") {
        const auto path = file("good.bpf.o", good);
        rig.refused({"use", path, "-s", "patience_ms=501"},
                    {.code = 2, .what = {"patience_ms"}, .hint = {"5", "500"}});
        rig.refused({"use", path, "-s", "lead_bytes=5000"},
                    {.code = 2, .what = {"lead_bytes"}, .hint = {"patience_ms"}});
    }
    // The refused ones were refused for what is wrong with them: the same source without a fault is taken.
    const auto path = file("good.bpf.o", good);
    CHECK(rig.json({"use", path, "-s", "patience_ms=77"})["params"]["patience_ms"] == 77);
    CHECK(rig.status()["default_policy"] == "robust");
}

TEST_CASE("the traffic of a running connection does not notice a refused policy", "[robust][policies]") {
    const Rig rig(two_paths(20));
    const Files file;
    const auto unsafe = file("unsafe.bpf.o", text_of(mps_robust_unsafe_begin, mps_robust_unsafe_end));
    rig.ok({"attach", "dsl", "lte", "--mode", "tc"});
    rig.ok({"use", "weighted"});
    const auto server = e2e::serve(rig.network());
    auto transfer = rig.transfer(server, {});
    REQUIRE(transfer.wait_for_subflows(2));
    REQUIRE(eventually([&] { return rig.json({"stats"})["decided"].get<std::uint64_t>() > 100; }));
    const Json before = rig.json({"stats"});
    for (int i = 0; i < 5; i++)
        CHECK(rig.run({"use", unsafe}).exit_code == 1);
    const Json after = rig.json({"stats"});
    CHECK(after["switched"] == before["switched"]);
    CHECK(after["policy_failed"] == before["policy_failed"]);
    CHECK(after["decided"].get<std::uint64_t>() > before["decided"].get<std::uint64_t>());
    transfer.stop();
    e2e::check_clean(transfer.wait());
}

TEST_CASE("a policy that is in use cannot be unloaded, and by what it is used is told",
          "[robust][policies]") {
    const Rig rig(two_paths(20));
    const Files file;
    const auto path = file("good.bpf.o", good);
    rig.ok({"attach", "dsl", "lte", "--mode", "tc"});
    rig.ok({"policy", "load", path});
    CHECK(rig.json({"policy", "load", path})["was_loaded"] == true);

    SECTION("by the default") {
        rig.ok({"use", "robust"});
        rig.refused({"policy", "unload", "robust"},
                    {.code = 1, .what = {"robust", "in use", "default"}, .hint = {"mpsched use"}});
        rig.ok({"use", "weighted"});
    }
    SECTION("by a rule") {
        rig.ok({"use", "robust", "--for", "rport=443"});
        rig.refused({"policy", "unload", "robust"}, {.code = 1, .what = {"robust", "in use", "rport=443"}});
        rig.ok({"unuse", "rport=443"});
    }
    SECTION("by a connection") {
        rig.ok({"use", "robust"});
        const auto server = e2e::serve(rig.network());
        auto transfer = rig.transfer(server, {});
        REQUIRE(transfer.wait_for_subflows(2));
        REQUIRE(eventually([&] { return rig.json({"conns", "--policy", "robust"}).size() == 1; }));
        rig.ok({"use", "weighted", "--new-only"});
        const auto result = rig.run({"policy", "unload", "robust"});
        INFO(result.out << result.err);
        CHECK(result.exit_code == 1);
        CHECK(result.err.contains("1 live connection"));
        CHECK(rig.json({"conns", "--policy", "robust"}).size() == 1);
        transfer.stop();
        e2e::check_clean(transfer.wait());
        // The kernel keeps the socket for a moment.
        CHECK(eventually([&] { return rig.run({"policy", "unload", "robust"}).exit_code == 0; },
                         std::chrono::seconds(20)));
        rig.ok({"policy", "load", path});
    }
    rig.ok({"policy", "unload", "robust"});
    CHECK_FALSE(rig.status()["policies"].dump().contains("robust"));
    rig.refused({"policy", "unload", "robust"}, {.code = 2, .what = {"'robust'"}, .hint = {"weighted"}});
}

TEST_CASE("when all slots are taken, one more policy is refused and the others stay", "[robust][policies]") {
    const Rig rig;
    const Files file;
    rig.ok({"attach", "dsl"});
    const auto path = file("good.bpf.o", good);
    // Each with a parameter of its own, so that no two share a slot.
    int taken = 0;
    for (; taken < 20; taken++)
        if (rig.run({"use", path, "-s", fmt::format("patience_ms={}", 20 + taken), "--for",
                     fmt::format("rport={}", 1000 + taken)})
                .exit_code != 0)
            break;
    CHECK(taken == 15);
    rig.refused({"use", path, "-s", "patience_ms=400"},
                {.code = 1, .what = {"slots"}, .hint = {"policy list"}});
    CHECK(rig.status()["rules"].size() == 15);
    rig.ok({"use", "default"});
    rig.ok({"unuse", "rport=1000"});
    rig.ok({"use", path, "-s", "patience_ms=400"});
}
