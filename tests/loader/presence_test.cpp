// SPDX-License-Identifier: MIT
//
// What becomes of the attributes of interfaces that come, go, and change their names.
#include "catch.hpp"

#include <string>
#include <vector>

#include "attach/presence.hpp"

using namespace mps;

namespace {

PathEntry entry(std::uint32_t index, const std::string &name, std::uint32_t ifindex, std::uint32_t flags,
                std::uint32_t weight = 1) {
    PathEntry one{.index = index, .path = default_path(ifindex, name)};
    one.path.flags = flags;
    one.path.weight = weight;
    return one;
}

NetDevice device(const std::string &name, std::uint32_t ifindex) {
    NetDevice one;
    one.name = name;
    one.ifindex = ifindex;
    return one;
}

constexpr std::uint32_t held = MPS_PATH_ATTACHED | MPS_PATH_WANTED;

const PathEntry *named(const Presence &presence, const std::string &name) {
    for (const PathEntry &one : presence.entries) {
        if (path_name(one.path) == name)
            return &one;
    }
    return nullptr;
}

} // namespace

TEST_CASE("where nothing has changed nothing is written") {
    const auto seen =
        compare({entry(1, "a", 3, held, 5), entry(2, "b", 0, MPS_PATH_WANTED)}, {device("a", 3)});
    CHECK(seen.same());
    CHECK(seen.changes.empty());
    CHECK(seen.left.empty());
}

TEST_CASE("attributes of an interface that goes stay at their index until one of its name is there") {
    const auto gone = compare({entry(4, "lte", 7, held | MPS_PATH_L3, 3)}, {device("lo", 1)});
    REQUIRE(gone.entries.size() == 1);
    CHECK(gone.entries[0].absent());
    CHECK(gone.entries[0].path.last_ifindex == 7);
    CHECK(gone.entries[0].path.flags == MPS_PATH_WANTED);
    CHECK(gone.left == std::vector<std::uint32_t>{7});
    const auto back = compare(gone.entries, {device("lo", 1), device("lte", 9)});
    REQUIRE(back.entries.size() == 1);
    CHECK(back.entries[0].index == 4);
    CHECK(back.entries[0].path.ifindex == 9);
    CHECK(back.entries[0].path.weight == 3);
    REQUIRE(back.changes.size() == 1);
    CHECK(back.changes[0].kind == PresenceChange::Kind::back);
    CHECK(back.changes[0].old_ifindex == 7);
}

TEST_CASE("an interface that goes is waited for in its role, and stays one that is never used") {
    const auto gone = compare({entry(1, "up0", 3, held | MPS_PATH_GATEWAY | MPS_PATH_L3),
                               entry(2, "up1", 4, held | MPS_PATH_NEVER), entry(3, "up2", 5, MPS_PATH_NEVER)},
                              {});
    REQUIRE(gone.entries.size() == 3);
    CHECK(gone.entries[0].path.flags == (MPS_PATH_WANTED | MPS_PATH_GATEWAY));
    CHECK(gone.entries[1].path.flags == (MPS_PATH_WANTED | MPS_PATH_NEVER));
    CHECK(gone.entries[2].path.flags == MPS_PATH_NEVER);
    // Another one that takes the name has what was asked for by it, and its own programs.
    const auto taken = compare(
        {entry(1, "up0", 0, MPS_PATH_WANTED | MPS_PATH_NEVER), entry(2, "usb0", 6, held | MPS_PATH_GATEWAY)},
        {device("up0", 6)});
    REQUIRE(named(taken, "up0"));
    CHECK(named(taken, "up0")->path.flags == (held | MPS_PATH_GATEWAY | MPS_PATH_NEVER));
    CHECK(named(taken, "usb0")->path.flags == (MPS_PATH_WANTED | MPS_PATH_GATEWAY));
}

TEST_CASE("deleted and made again between two looks, it is gone and back at once") {
    const auto seen = compare({entry(1, "lte", 7, held, 3)}, {device("lte", 8)});
    REQUIRE(seen.entries.size() == 1);
    CHECK(seen.entries[0].path.ifindex == 8);
    CHECK(seen.entries[0].path.flags == MPS_PATH_WANTED);
    CHECK(seen.changes.size() == 2);
}

TEST_CASE("an interface that is renamed takes its attributes and programs along") {
    const auto seen = compare({entry(1, "eth0", 3, held, 3)}, {device("wan", 3)});
    REQUIRE(named(seen, "wan"));
    CHECK(named(seen, "wan")->path.flags == held);
    CHECK(named(seen, "wan")->path.weight == 3);
    CHECK(seen.left.empty());

    const auto swapped =
        compare({entry(1, "a", 3, held, 3), entry(2, "b", 4, held, 4)}, {device("b", 3), device("a", 4)});
    CHECK(named(swapped, "b")->path.weight == 3);
    CHECK(named(swapped, "a")->path.weight == 4);
}

TEST_CASE("renamed to a name whose attributes wait, it has those, and its own wait for the old name") {
    const auto seen =
        compare({entry(1, "usb0", 3, held, 3), entry(2, "wwan0", 0, 0, 9)}, {device("wwan0", 3)});
    REQUIRE(named(seen, "wwan0"));
    CHECK(named(seen, "wwan0")->path.ifindex == 3);
    CHECK(named(seen, "wwan0")->path.weight == 9);
    CHECK(named(seen, "wwan0")->path.flags == held);
    REQUIRE(named(seen, "usb0"));
    CHECK(named(seen, "usb0")->absent());
    CHECK(named(seen, "usb0")->path.weight == 3);
    // Killed between two writes, no interface has two entries.
    REQUIRE(seen.changed.size() == 2);
    CHECK(seen.changed[0].absent());
    CHECK(seen.left.empty());
}

TEST_CASE("an entry that tells nothing goes with its interface") {
    const auto seen = compare({entry(1, "tun7", 7, 0), entry(2, "tun8", 8, 0, 2)}, {});
    REQUIRE(seen.dropped.size() == 1);
    CHECK(path_name(seen.dropped[0].path) == "tun7");
    CHECK(seen.entries.size() == 1);
}

TEST_CASE("what happened to interfaces is seen in the table, whoever wrote it there") {
    const auto told = [](const std::vector<PathEntry> &before, const std::vector<PathEntry> &after) {
        std::vector<std::string> all;
        for (const PresenceChange &change : changes_between(before, after))
            all.push_back((change.kind == PresenceChange::Kind::gone   ? "gone "
                           : change.kind == PresenceChange::Kind::back ? "back "
                                                                       : "renamed ") +
                          change.name + (change.before.empty() ? "" : " was " + change.before));
        return all;
    };
    using Told = std::vector<std::string>;
    const std::vector<PathEntry> dsl{entry(1, "dsl", 3, held)};
    const std::vector<PathEntry> without{entry(1, "dsl", 0, MPS_PATH_WANTED)};
    CHECK(told(dsl, dsl).empty());
    CHECK(told(dsl, without) == Told{"gone dsl"});
    CHECK(told(without, dsl) == Told{"back dsl"});
    CHECK(told(dsl, {entry(1, "dsl", 8, held)}) == Told{"gone dsl", "back dsl"});
    CHECK(told(dsl, {entry(1, "wan", 3, held)}) == Told{"renamed wan was dsl"});
    // The name that waits gets the device; the one it had waits from then on.
    CHECK(told({entry(1, "dsl", 0, MPS_PATH_WANTED), entry(2, "usb0", 4, held)},
               {entry(1, "dsl", 4, held), entry(2, "usb0", 0, MPS_PATH_WANTED)}) ==
          Told{"renamed dsl was usb0"});
    // Attributes given or forgotten are no events.
    CHECK(told({}, dsl).empty());
    CHECK(told(dsl, {}).empty());
}
