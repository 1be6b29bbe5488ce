// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <cstdlib>

#include "mpsched/features.hpp"
#include "scratch.hpp"

using namespace mps;
using mps::test::Scratch;

namespace {

const Feature &find(const Probe &probe, std::string_view name) {
    const auto it = std::find_if(probe.features.begin(), probe.features.end(),
                                 [&](const Feature &feature) { return feature.name == name; });
    REQUIRE(it != probe.features.end());
    return *it;
}

} // namespace

TEST_CASE("probing agrees with what the kernel really lets us do") {
    Scratch scratch;
    scratch.add_veth();
    const Probe probe = mps::probe().value();
    for (const Feature &feature : probe.features) {
        INFO(feature.name << ": " << feature.detail);
        CHECK_FALSE(feature.title.empty());
        CHECK_FALSE(feature.need.empty());
        CHECK(feature.hint.empty() == (feature.answer == Answer::available));
        // As root there is nothing that cannot be told.
        CHECK(feature.answer != Answer::unknown);
    }
    // The proof of "usable" is using it.
    Instance instance = scratch.instance();
    const auto attached = instance.attach({.interfaces = {"v0"}});
    CHECK(probe.usable() == attached.has_value());
    if (attached) {
        const bool tcx = find(probe, "tcx").answer == Answer::available;
        CHECK(instance.status()->interfaces.at(0).tc_hook == (tcx ? "tcx" : "clsact"));
    }
    const auto v0 = std::find_if(probe.interfaces.begin(), probe.interfaces.end(),
                                 [](const InterfaceProbe &i) { return i.name == "v0"; });
    REQUIRE(v0 != probe.interfaces.end());
    CHECK(v0->driver == "veth");
    CHECK(v0->auto_mode == "tc");
    CHECK_FALSE(v0->layer3);
    CHECK(v0->xdp_taken_by.empty());
}

TEST_CASE("a feature can be treated as missing") {
    Scratch scratch;
    const Probe probe = mps::probe({.without = {"tcx", "mptcp"}}).value();
    CHECK(find(probe, "tcx").answer == Answer::missing);
    CHECK_FALSE(find(probe, "tcx").hint.empty());
    CHECK_FALSE(probe.usable());
}

TEST_CASE("MPTCP switched off in a network namespace is told apart from a kernel without it") {
    Scratch scratch;
    mps::test::run("sysctl -qw net.mptcp.enabled=0");
    const Probe probe = mps::probe().value();
    CHECK(find(probe, "mptcp").answer == Answer::available);
    CHECK(find(probe, "mptcp_enabled").answer == Answer::missing);
    CHECK(find(probe, "mptcp_enabled").hint.find("net.mptcp.enabled=1") != std::string::npos);
}

TEST_CASE("names of features are checked") {
    CHECK(parse_without("tcx,rdonly_cast")->size() == 2);
    CHECK(parse_without("")->empty());
    const auto wrong = parse_without("tcx,nonsense");
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().code == ErrorCode::usage);
    CHECK(wrong.error().hint.find("rdonly_cast") != std::string::npos);
    Scratch scratch;
    ::setenv("MPS_WITHOUT", "nonsense", 1);
    CHECK(Instance::open(scratch.options()).error().code == ErrorCode::usage);
    ::unsetenv("MPS_WITHOUT");
}
