// SPDX-License-Identifier: MIT
//
// [kernel], settings that are not mpsched's own.

#include "config_files.hpp"

namespace {

using namespace mps::config;
using namespace mps::test;

} // namespace

TEST_CASE("settings of the kernel are as they are said, and none that are not", "[config]") {
    CHECK(right("version = 1\n[kernel]\n").kernel.empty());
    const Desired desired =
        right("version = 1\n[kernel]\nstale_loss_cnt = 2\nslow_start_after_idle = false\n");
    REQUIRE(desired.kernel.size() == 2);
    CHECK(desired.kernel[0] == KernelSetting{"net.mptcp.stale_loss_cnt", "2"});
    CHECK(desired.kernel[1] == KernelSetting{"net.ipv4.tcp_slow_start_after_idle", "0"});
    CHECK(desired.empty);
    CHECK(wrong("version = 1\n[kernel]\nstale_loss_cnt = 1001\n").what.contains("stale_loss_cnt"));
    CHECK(wrong("version = 1\n[kernel]\nstale_loss = 1\n").what.contains("stale_loss"));
}

TEST_CASE("a path is probed as often as [failover] says, never without it", "[config]") {
    CHECK(right("version = 1\n").probe_idle_s == 0);
    CHECK(right("version = 1\n[failover]\nprobe_idle_s = 10\n").probe_idle_s == 10);
    CHECK(right("version = 1\n[failover]\nprobe_idle_s = 10\n").close_silent == false);
    for (const char *amount : {"0", "3601", "\"often\"", "-1"}) {
        const auto error = wrong(std::string("version = 1\n[failover]\nprobe_idle_s = ") + amount + "\n");
        CHECK(error.what.contains("probe_idle_s"));
    }
}
