// SPDX-License-Identifier: MIT
//
// What has happened between two looks, for `mpsched events`.
#include "observe/happenings.hpp"

#include <fmt/format.h>

#include "catch.hpp"

using namespace mps;

namespace {

std::vector<std::string> texts(const Seen &before, const Seen &now) {
    std::vector<std::string> all;
    for (const Event &one : events_between(before, now))
        all.push_back(fmt::format("{} {}|{}|{}|{}|{}|{}", word_of(one.kind).word, one.interface, one.about,
                                  one.before, one.now, one.why, one.connections));
    return all;
}

using Texts = std::vector<std::string>;

Seen installed() {
    return {.links = {{2, {.name = "dsl", .up = true, .addresses = {"192.0.2.1"}}}},
            .installation = {.installed = true,
                             .policy = "auto",
                             .rx_policy = "auto",
                             .rules = {{.selector = "rport=1", .policy = "weighted"}},
                             .paths = {{"dsl", {.name = "dsl", .attached = true}}}}};
}

SubflowStatus subflow(std::uint32_t id, const std::string &ifname, bool allowed) {
    return {.id = id,
            .ifname = ifname,
            .local = fmt::format("192.0.2.{}:1000", id),
            .remote = "198.51.100.1:443",
            .tcp_state = "established",
            .allowed = allowed,
            .usable = true,
            .steerable = true};
}

} // namespace

TEST_CASE("the last kind of event is the last of its words", "[events]") {
    CHECK(word_of(Event::Kind::link_new).word == "link-new");
    CHECK(word_of(Event::Kind::quota_anew).word == "quota-anew");
    CHECK(word_of(Event::Kind::verdict).word == "verdict");
    CHECK(event_kinds.size() == static_cast<std::size_t>(Event::Kind::verdict) + 1);
}

TEST_CASE("links and addresses that come, change and go are told", "[events]") {
    const Seen before = installed();
    CHECK(texts(before, before).empty());
    Seen now = before;
    now.links[2] = {.name = "wan", .up = false, .addresses = {"2001:db8::1"}};
    now.links[3] = {.name = "lte", .up = true, .addresses = {"198.51.100.9"}};
    CHECK(texts(before, now) == Texts{"link-renamed wan||dsl|wan||0", "link-down wan|||||0",
                                      "address-gone wan|192.0.2.1||||0", "address-new wan|2001:db8::1||||0",
                                      "link-new lte|||||0", "link-up lte|||||0",
                                      "address-new lte|198.51.100.9||||0"});
    now.links.clear();
    CHECK(texts(before, now) == Texts{"link-gone dsl|||||0"});
}

TEST_CASE("policies, rules, attributes and paths that change are told, with what they were", "[events]") {
    const Seen before = installed();
    Seen now = before;
    now.installation.policy = "weighted";
    now.installation.rules = {{.selector = "rport=1", .policy = "quota"},
                              {.selector = "rport=2", .policy = "auto"}};
    now.installation.paths["dsl"].attributes.weight = 3;
    now.installation.paths["dsl"].down = true;
    CHECK(texts(before, now) == Texts{"path-down dsl|||||0", "path-changed dsl|weight|1|3||0",
                                      "policy ||auto|weighted||0", "rule-changed |rport=1|weighted|quota||0",
                                      "rule-new |rport=2||auto||0"});
    CHECK(texts(before, {.links = before.links}) == Texts{"detached dsl|||||0", "removed |||||0"});
    CHECK(texts({.links = before.links}, before) ==
          Texts{"installed |||||0", "attached dsl|||||0", "policy ||default|auto||0",
                "rx-policy ||default|auto||0", "rule-new |rport=1||weighted||0"});
}

TEST_CASE("a quota is told when it is nearly used up, used up, and begins anew, each once", "[events]") {
    Seen seen = installed();
    PathStatus &path = seen.installation.paths["dsl"];
    path.attributes.quota_bytes = 1000;
    Texts all;
    for (const std::uint64_t used : {100, 899, 900, 950, 1000, 1200, 10}) {
        const Seen before = seen;
        path.quota_used_bytes = used;
        for (const std::string &one : texts(before, seen))
            all.push_back(one);
    }
    CHECK(all == Texts{"quota-near dsl|1000|899|900||0", "quota-used-up dsl|1000|950|1000||0",
                       "quota-anew dsl|1000|1200|10||0"});
}

TEST_CASE("connections that lose the same path at once share a failover, and parked subflows have none",
          "[events]") {
    Seen before = installed();
    for (std::uint32_t token = 1; token <= 3; token++)
        before.installation.connections.push_back(
            {.token = token, .subflows = {subflow(1, "dsl", true), subflow(2, "lte", false)}});
    Seen now = before;
    for (ConnectionStatus &connection : now.installation.connections) {
        connection.subflows[0].silent = true;
        connection.subflows[0].allowed = false;
        connection.subflows[1].allowed = true;
    }
    const auto failovers = [&](const Seen &from, const Seen &to) {
        Texts all;
        for (const std::string &one : texts(from, to))
            if (one.starts_with("failover"))
                all.push_back(one);
        return all;
    };
    CHECK(failovers(before, now) == Texts{"failover dsl|||lte|silent|3"});
    CHECK(failovers(now, now).empty());
    // It comes back, and nothing is lost by that.
    CHECK(failovers(now, before).empty());

    // A subflow that is gone, was given up, or whose path is down.
    now = before;
    now.installation.connections[0].subflows.erase(now.installation.connections[0].subflows.begin());
    now.installation.connections[1].subflows[0].stale = true;
    now.installation.connections[2].subflows[0].down = true;
    for (ConnectionStatus &connection : now.installation.connections)
        connection.subflows.back().allowed = true;
    CHECK(failovers(before, now) ==
          Texts{"failover dsl|||lte|gone|1", "failover dsl|||lte|stale|1", "failover dsl|||lte|down|1"});

    // The parked one goes: nothing that was in use is lost. And where nobody is left there is no failover.
    now = before;
    for (ConnectionStatus &connection : now.installation.connections)
        connection.subflows.pop_back();
    CHECK(failovers(before, now).empty());
    now = before;
    for (ConnectionStatus &connection : now.installation.connections)
        connection.subflows[0].silent = true;
    CHECK(failovers(before, now).empty());
    // The other one is opened only behind that look.
    Seen later = now;
    for (ConnectionStatus &connection : later.installation.connections)
        connection.subflows[1].allowed = true;
    CHECK(failovers(now, later) == Texts{"failover dsl|||lte|silent|3"});
    CHECK(failovers(later, later).empty());
}
