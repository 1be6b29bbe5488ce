// SPDX-License-Identifier: MIT
//
// A machine that boots with mpschedd's files on it: run in a VM that has just booted, by Reboot in vmtest/tests/test_vm.py.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>

#include "service_run.hpp"

using namespace mps;
using namespace mps::robust;
using namespace std::chrono_literals;

namespace {

constexpr double mbit = 16;
constexpr std::uint64_t contents = 3'000'000;

constexpr const char *files = "version = 1\n[default]\npolicy = \"active-standby\"\n"
                              "[[interface]]\nname = \"dsl\"\nquota = \"1GB\"\nquota_period = \"month\"\n"
                              "[[interface]]\nname = \"lte\"\npriority = 1\n";

/// mpschedd as its unit starts it, with its state in a folder that outlives the machine.
lab::Process start_service(const Rig &rig, const e2e::TemporaryFolder &folder, const std::string &state) {
    const std::string settings = folder / "mpsched.toml";
    std::ofstream(settings) << files;
    REQUIRE(::chmod(settings.c_str(), 0644) == 0);
    return must(lab::Process::start(
        {daemon_binary(), "--netns", rig.here().name(), "--state", state},
        {.environment = rig.environment({{"MPS_RUN_DIR", folder / "run"}, {"MPS_CONFIG", settings}})}));
}

std::uint64_t used_by_dsl(const Rig &rig) {
    return rig.json({"path", "dsl"})["quota_used_bytes"].get<std::uint64_t>();
}

} // namespace

TEST_CASE("after a boot the first connection is steered before it is 100 ms old, and quotas go on",
          "[.][reboot]") {
    const char *state = std::getenv("MPS_REBOOT_STATE");
    REQUIRE(state);
    const std::string carried_file = std::string(state) + "/carried";
    std::uint64_t carried = 0;
    const bool is_first = !(std::ifstream(carried_file) >> carried);
    Rig rig(two_paths(mbit));
    REQUIRE(rig.installation().empty()); // nothing of mpsched is in a kernel that has just booted
    // As the unit, before the network is configured.
    for (const std::size_t path : {0U, 1U})
        must(rig.network().set_link(path, false));
    const e2e::TemporaryFolder folder;
    lab::Process service = start_service(rig, folder, state);
    REQUIRE(eventually([&] { return rig.status()["default_policy"] == "active-standby"; }, 20s));
    for (const std::size_t path : {0U, 1U})
        must(rig.network().set_link(path, true));
    const auto server = e2e::serve(rig.network());
    const auto result = rig.transfer(server, {.bytes = contents}).wait();
    e2e::check_clean(result);
    const auto bytes = result.bytes_per_path(rig.network());
    REQUIRE(bytes.size() == 2);
    // Unsteered, lte would carry half; of that, what it carries in 100 ms.
    constexpr double in_100_ms = mbit * 1e6 / 8 / 10;
    e2e::report(fmt::format("{} boot: lte carried {} of {} bytes, its rate for 100 ms is {:.0f}",
                            is_first ? "first" : "second", bytes[1], contents, in_100_ms));
    CHECK(static_cast<double>(bytes[1]) < in_100_ms);
    CHECK(bytes[0] > contents / 2);
    CHECK(used_by_dsl(rig) >= carried + contents / 2);
    if (is_first)
        CHECK(used_by_dsl(rig) < 2 * contents);
    std::ofstream(carried_file) << used_by_dsl(rig);
    // Nothing moves any more, so what is booked within ten seconds is all of it. Then the power is lost.
    std::this_thread::sleep_for(10s);
    must(service.signal(SIGKILL));
    (void)must(service.wait(10s));
    rig.ok({"detach", "--all"});
}
