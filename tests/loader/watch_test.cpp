// SPDX-License-Identifier: MIT
#include "mpsched/compare.hpp"

#include <fmt/format.h>

#include "catch.hpp"

using namespace mps;

namespace {

SubflowStatus subflow(std::uint32_t id, const std::string &ifname) {
    return {.id = id,
            .ifname = ifname,
            .local = fmt::format("192.0.2.{}:1000", id),
            .remote = "198.51.100.1:443",
            .steerable = true};
}

std::vector<std::string> texts(const std::vector<Change> &changes) {
    std::vector<std::string> all;
    for (const Change &one : changes)
        all.push_back(fmt::format("{} {} {} {} {}", to_string(one.kind), one.token,
                                  one.subflow ? fmt::to_string(*one.subflow) : "-", one.interface, one.now));
    return all;
}

} // namespace

TEST_CASE("changes are told once, by what they are about", "[watch]") {
    const ConnectionStatus before{
        .token = 7, .policy = "auto", .subflows = {subflow(1, "dsl"), subflow(2, "lte")}};
    CHECK(changes_between({before}, {before}).empty());
    CHECK(texts(changes_between({}, {before})) == std::vector<std::string>{"connection-begun 7 -  auto"});
    CHECK(texts(changes_between({before}, {})) == std::vector<std::string>{"connection-ended 7 -  "});

    ConnectionStatus now = before;
    now.policy = "weighted";
    now.subflows[1].allowed = false;
    now.subflows.push_back(subflow(3, "wifi"));
    CHECK(texts(changes_between({before}, {now})) ==
          std::vector<std::string>{"policy 7 -  weighted", "verdict 7 2 lte parked",
                                   "subflow-joined 7 3 wifi allowed"});
    CHECK(texts(changes_between({now}, {before})) ==
          std::vector<std::string>{"policy 7 -  auto", "subflow-left 7 3 wifi ", "verdict 7 2 lte allowed"});
}

TEST_CASE("an id that is given again is another subflow", "[watch]") {
    const ConnectionStatus before{.token = 7, .policy = "auto", .subflows = {subflow(1, "dsl")}};
    ConnectionStatus now = before;
    now.subflows[0].local = "192.0.2.9:1000";
    CHECK(texts(changes_between({before}, {now})) ==
          std::vector<std::string>{"subflow-left 7 1 dsl ", "subflow-joined 7 1 dsl allowed"});
}
