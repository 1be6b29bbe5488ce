// SPDX-License-Identifier: MIT
//
// What must hold for every policy, whatever it does, over seeded random views: for each folder of schedulers/, and, in
// a binary of its own, for what './run policy new' makes.
#include "catch.hpp"
#include "cores.hpp"
#include "temporary_folder.hpp"
#include "views.hpp"

#include <array>
#include <iterator>
#include <set>
#include <string>

using namespace mps;
using test::Core;

namespace {

constexpr int rounds = 20000;

std::uint32_t with_flags(const mps_view &view, std::uint32_t mask, std::uint32_t want) {
    std::uint32_t out = 0;

    for (std::uint32_t i = 0; i < MPS_MAX_SUBFLOWS; i++)
        if ((view.sf[i].flags & mask) == want)
            out |= 1u << i;
    return out;
}

std::uint32_t usable(const mps_view &view) {
    return with_flags(view, MPS_SF_PRESENT | MPS_SF_USABLE, MPS_SF_PRESENT | MPS_SF_USABLE);
}

// One that carries data as the kernel likes, whatever a policy says.
bool works_unsteered(const mps_view &view) {
    constexpr std::uint32_t mask =
        MPS_SF_PRESENT | MPS_SF_USABLE | MPS_SF_TROUBLED | MPS_SF_LOCAL_BACKUP | MPS_SF_STEERABLE;

    return with_flags(view, mask, MPS_SF_PRESENT | MPS_SF_USABLE) != 0;
}

// Views of one connection in sequence: the state of a policy lives through them.
template <class Check>
void walk(const Core &core, std::uint32_t seed, Check check) {
    test::Random random(seed);
    mps_state state{};

    for (int i = 0; i < rounds; i++) {
        mps_view view = test::random_view(random);

        if (random() % 50 == 0)
            state = {};
        mps_state before = state;
        mps_verdict verdict = core(view, state);
        INFO(core.name << ", round " << i << ", present " << view.present << ", usable " << usable(view)
                       << ", allowed " << verdict.allowed);
        check(view, verdict, before, state);
    }
}

} // namespace

TEST_CASE("every policy has a name of its own, and cases in its folder") {
    std::set<std::string_view> names;

    REQUIRE_FALSE(test::all_cores().empty());
    for (const Core &core : test::all_cores()) {
        const std::string name(core.name), file = name + "/" + name + "_test.cpp";
        const std::string text = test::file_text(std::string(MPS_POLICY_FOLDERS) + "/" + file);

        INFO("no TEST_CASE in " << file << " has the tag [" << name << "]");
        CHECK(text.find("[" + name + "]") != std::string::npos);
        CHECK(names.insert(core.name).second);
    }
}

TEST_CASE("a policy allows only subflows that are there") {
    for (const Core &core : test::all_cores())
        walk(core, 1,
             [](const mps_view &view, const mps_verdict &verdict, const mps_state &, const mps_state &) {
                 if (verdict.allowed & ~view.present)
                     FAIL_CHECK("it allows an absent subflow");
             });
}

TEST_CASE("a policy never leaves only unusable subflows while a usable one exists") {
    for (const Core &core : test::all_cores())
        walk(core, 2,
             [](const mps_view &view, const mps_verdict &verdict, const mps_state &, const mps_state &) {
                 if (usable(view) && !(verdict.allowed & usable(view)))
                     FAIL_CHECK("nothing usable is allowed, so the data path has to overrule it");
                 if (usable(view) && !(test::effective(view, verdict) & usable(view)))
                     FAIL_CHECK("the connection would stall");
             });
}

TEST_CASE("a policy never leaves only subflows in trouble while a healthy one exists that it may choose") {
    constexpr std::uint32_t mask =
        MPS_SF_PRESENT | MPS_SF_USABLE | MPS_SF_TROUBLED | MPS_SF_LOCAL_BACKUP | MPS_SF_STEERABLE;

    for (const Core &core : test::all_cores())
        walk(
            core, 3,
            [](const mps_view &view, const mps_verdict &verdict, const mps_state &, const mps_state &) {
                // Peers' backups are another property.
                std::uint32_t healthy =
                    with_flags(view, mask, MPS_SF_PRESENT | MPS_SF_USABLE | MPS_SF_STEERABLE);

                if (healthy &&
                    !(verdict.allowed & usable(view) & ~with_flags(view, MPS_SF_TROUBLED, MPS_SF_TROUBLED)) &&
                    !works_unsteered(view))
                    FAIL_CHECK("only subflows in trouble are allowed");
            });
}

TEST_CASE("a policy never leaves it to a local backup while an ordinary subflow is usable") {
    constexpr std::uint32_t mask = MPS_SF_PRESENT | MPS_SF_USABLE | MPS_SF_LOCAL_BACKUP;

    for (const Core &core : test::all_cores())
        walk(core, 8,
             [](const mps_view &view, const mps_verdict &verdict, const mps_state &, const mps_state &) {
                 std::uint32_t ordinary = with_flags(view, mask, MPS_SF_PRESENT | MPS_SF_USABLE);

                 if (ordinary && !(verdict.allowed & ordinary))
                     FAIL_CHECK("the kernel would use the local backup");
             });
}

TEST_CASE("a policy never parks all that is steered for the sake of a subflow that nobody steers") {
    constexpr std::uint32_t mask =
        MPS_SF_PRESENT | MPS_SF_USABLE | MPS_SF_LOCAL_BACKUP | MPS_SF_PEER_BACKUP | MPS_SF_STEERABLE;

    for (const Core &core : test::all_cores())
        walk(core, 9,
             [](const mps_view &view, const mps_verdict &verdict, const mps_state &, const mps_state &) {
                 std::uint32_t steered =
                     with_flags(view, mask, MPS_SF_PRESENT | MPS_SF_USABLE | MPS_SF_STEERABLE);

                 if (steered && !(verdict.allowed & with_flags(view, MPS_SF_STEERABLE, MPS_SF_STEERABLE)))
                     FAIL_CHECK("nothing would ask for the next decision");
             });
}

TEST_CASE("only policies that are told what the paths are worth override a peer's backup") {
    const std::set<std::string_view> told = {"active-standby", "overflow", "quota",  "weighted",
                                             "deadline",       "energy",   "default"};
    constexpr std::uint32_t mask =
        MPS_SF_PRESENT | MPS_SF_USABLE | MPS_SF_TROUBLED | MPS_SF_LOCAL_BACKUP | MPS_SF_PEER_BACKUP;

    for (const Core &core : test::all_cores()) {
        int honoured = 0, overridden = 0;

        walk(core, 10,
             [&](const mps_view &view, const mps_verdict &verdict, const mps_state &, const mps_state &) {
                 std::uint32_t works = with_flags(view, mask, MPS_SF_PRESENT | MPS_SF_USABLE);

                 if (works)
                     (verdict.allowed & with_flags(view, MPS_SF_PEER_BACKUP, MPS_SF_PEER_BACKUP)
                          ? overridden
                          : honoured)++;
             });
        INFO(core.name << ": " << honoured << " honoured, " << overridden
                       << " overridden. A policy that is not told "
                       << "starts from mps_welcome(); one that is belongs into the list above.");
        CHECK((overridden == 0) == !told.contains(core.name));
    }
}

TEST_CASE("the same view, state and parameters give the same answer and the same state") {
    for (const Core &core : test::all_cores()) {
        walk(core, 4,
             [&](const mps_view &view, const mps_verdict &verdict, const mps_state &before,
                 const mps_state &after) {
                 mps_state again = before;
                 mps_verdict second = core(view, again);

                 if (second.allowed != verdict.allowed || second.flags != verdict.flags ||
                     std::memcmp(&again, &after, sizeof(again)) != 0)
                     FAIL_CHECK("it decides differently the second time");
             });
    }
}

TEST_CASE("a policy keeps to the state it declares and to the flags there are") {
    for (const Core &core : test::all_cores())
        walk(core, 5,
             [&](const mps_view &, const mps_verdict &verdict, const mps_state &before,
                 const mps_state &after) {
                 const auto *was = reinterpret_cast<const unsigned char *>(&before);
                 const auto *is = reinterpret_cast<const unsigned char *>(&after);

                 if (std::memcmp(was + core.state_size, is + core.state_size,
                                 sizeof(mps_state) - core.state_size) != 0)
                     FAIL_CHECK("it wrote beyond its state");
                 if (verdict.flags & ~static_cast<std::uint32_t>(MPS_VERDICT_PASS | MPS_VERDICT_LEVERS))
                     FAIL_CHECK("it set a flag that does not exist");
             });
}

TEST_CASE("a policy answers any input, of zeros, of ones and of noise") {
    test::Random random(6);

    for (const Core &core : test::all_cores()) {
        std::vector<unsigned char> params(core.params_size);

        for (int i = 0; i < rounds; i++) {
            auto view = test::garbage<mps_view>(random);
            auto state = test::garbage<mps_state>(random);

            if (i % 5 == 0)
                std::memset(&view, 0, sizeof(view));
            if (i % 5 == 1)
                std::memset(&view, 0xff, sizeof(view));
            if (i % 7 == 0)
                std::memset(&state, 0, sizeof(state));
            if (i % 7 == 1)
                std::memset(&state, 0xff, sizeof(state));
            for (unsigned char &octet : params)
                octet = static_cast<unsigned char>(i % 3 == 0 ? 0 : i % 3 == 1 ? 0xff : random());
            mps_verdict verdict = core(view, state, params.data());
            // The data path masks whatever comes; that nothing crashed and nothing is undefined is the point.
            if (test::effective(view, verdict) & ~view.present)
                FAIL_CHECK(core.name << " survived the mask with an absent subflow");
        }
    }
}

TEST_CASE("with one subflow only, every policy allows it") {
    test::Random random(7);

    for (const Core &core : test::all_cores()) {
        mps_state state{};

        for (int i = 0; i < 1000; i++) {
            mps_view view = test::random_view(random);
            std::uint32_t only = random() % MPS_MAX_SUBFLOWS;

            for (std::uint32_t k = 0; k < MPS_MAX_SUBFLOWS; k++)
                view.sf[k].flags = k == only ? MPS_SF_PRESENT | MPS_SF_USABLE : 0;
            view.present = 1u << only;
            INFO(core.name << ", index " << only);
            CHECK(core(view, state).allowed == view.present);
        }
    }
}
