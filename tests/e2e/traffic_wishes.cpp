// SPDX-License-Identifier: MIT
//
// What the peer asked for (backup in MP_JOIN, MP_PRIO on the wire) is seen, overridden while a policy
// steers, and restored exactly when none does any more. The kernel's own bit is read with ss(8), and shows
// in where the bytes go.
#include <thread>

#include <fmt/format.h>

#include "traffic.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr double used = 0.3; // least share of a path that carries its part of 1:1
constexpr double idle = 0.01;

bool told_peer_backup(const Cli &mpsched, const std::string &remote) {
    for (const auto &connection : mpsched.json("conns")) {
        for (const auto &subflow : connection.at("subflows")) {
            if (subflow.at("remote").get<std::string>().starts_with(remote + ":")) {
                return subflow.at("peer_backup").get<bool>();
            }
        }
    }
    FAIL("conns shows no subflow to " << remote);
    return false;
}

const double path_mbit = path_rate(50);

NetworkSpec two_paths() {
    return {.paths = {{.name = "dsl", .rate_mbit = path_mbit}, {.name = "lte", .rate_mbit = path_mbit}},
            .joins = Joins::none};
}

/// One steered sender, and what its peer receives over lte.
class Scene {
  public:
    Scene(const Network &network, Side steered, std::string remote_on_lte, std::string mode)
        : steered_(network.host(steered)),
          remote_(std::move(remote_on_lte)),
          mode_(std::move(mode)),
          devices_(network.devices()),
          meter_(network.host(steered == Side::a ? Side::b : Side::a), devices_) {}

    void check_lte(bool carries, const char *when) {
        std::this_thread::sleep_for(300ms);
        const double least_mbit = 0.8 * path_mbit;
        const double mbit = undisturbed(
            [&] {
                const auto window = meter_.over(700ms);
                const auto line = fmt::format("{}, {}: {}", mode_, when, window.text());
                report(line);
                INFO(line);
                CHECK((carries ? window.share[1] > used : window.share[1] < idle));
                return window.mbit[0];
            },
            [&](double seen) { return seen > least_mbit; });
        INFO(mode_ << ", " << when);
        CHECK(mbit > least_mbit);
    }
    // weighted parks it for moments, like every subflow.
    void check_overridden() const {
        CHECK(wait_until([&] { return !kernel_backup(steered_, remote_); }, 1s) >= 0);
    }
    void check_kernel_backup(bool set) const { CHECK(kernel_backup(steered_, remote_) == set); }
    void check_told(const Cli &mpsched, bool set) const { CHECK(told_peer_backup(mpsched, remote_) == set); }

    const Namespace &steered() const { return steered_; }
    const std::string &mode() const { return mode_; }
    const std::vector<std::string> &devices() const { return devices_; }

  private:
    const Namespace &steered_;
    std::string remote_;
    std::string mode_;
    std::vector<std::string> devices_;
    Meter meter_;
};

// The peer asked for backup on lte before we came.
void check_wish_of_join(Scene scene) {
    scene.check_kernel_backup(true);
    scene.check_lte(false, "kernel alone");
    Attachment attachment(scene.steered(), scene.devices(), scene.mode());
    const Cli mpsched(scene.steered());
    scene.check_lte(false, "auto, which attach starts with");
    scene.check_kernel_backup(true);
    scene.check_told(mpsched, true);

    mpsched("use weighted");
    scene.check_lte(true, "weighted 1:1");
    scene.check_overridden();
    scene.check_told(mpsched, true);

    mpsched("use default");
    scene.check_lte(false, "default");
    scene.check_kernel_backup(true);

    mpsched("use weighted");
    scene.check_lte(true, "weighted again");
    attachment.detach();
    // At once: detaching has restored it, not some later packet.
    scene.check_kernel_backup(true);
    scene.check_lte(false, "detached");
    scene.check_kernel_backup(true);
}

} // namespace

TEST_CASE("a client that joined as backup is overridden and then obeyed after default and detach",
          "[e2e][invariant]") {
    // B in the SYN of MP_JOIN: the server is steered and sends.
    const auto network = must(Network::create(two_paths()));
    must(network.a().ip(
        fmt::format("mptcp endpoint add {} dev lte subflow backup", network.address(Side::a, 1))));
    const auto server = serve(network);
    auto transfer = upload(network, server, {.direction = Direction::download});
    check_wish_of_join({network, Side::b, network.address(Side::a, 1), "generic"});
    transfer.stop();
    check_clean(transfer.wait());
}

TEST_CASE("a server that accepted a join as backup is overridden and then obeyed after default and detach",
          "[e2e][invariant]") {
    // B in the SYN/ACK of MP_JOIN: the client is steered and sends.
    const auto network = must(Network::create(two_paths()));
    must(network.b().ip(
        fmt::format("mptcp endpoint add {} dev lte signal backup", network.address(Side::b, 1))));
    const auto server = serve(network);
    auto transfer = upload(network, server);
    check_wish_of_join({network, Side::a, network.address(Side::b, 1), "native"});
    transfer.stop();
    check_clean(transfer.wait());
}

TEST_CASE("MP_PRIO from the peer is remembered while it is overridden and obeyed afterwards",
          "[e2e][invariant]") {
    for (const auto *mode : modes) {
        const auto network = must(Network::create(two_paths()));
        const auto address = network.address(Side::b, 1);
        must(network.b().ip(fmt::format("mptcp endpoint add {} dev lte signal", address)));
        const auto peer_wants = [&](const char *flag) {
            const auto before = mp_prio_received(network.a());
            must(network.b().ip(fmt::format("mptcp endpoint change {} {}", address, flag)));
            CHECK(wait_until([&] { return mp_prio_received(network.a()) > before; }, 1s) >= 0);
        };
        const auto server = serve(network);
        auto transfer = upload(network, server);
        Scene scene(network, Side::a, address, mode);
        Attachment attachment(scene.steered(), scene.devices(), mode);
        const Cli mpsched(scene.steered());
        mpsched("use weighted");
        scene.check_lte(true, "weighted 1:1");
        scene.check_told(mpsched, false);

        peer_wants("backup");
        scene.check_lte(true, "the peer has asked for backup");
        scene.check_told(mpsched, true);
        scene.check_overridden();

        mpsched("use default");
        scene.check_lte(false, "default");
        scene.check_kernel_backup(true);

        peer_wants("nobackup");
        scene.check_lte(true, "default, the peer takes it back");
        scene.check_told(mpsched, false);
        scene.check_kernel_backup(false);

        mpsched("use weighted");
        peer_wants("backup");
        scene.check_lte(true, "weighted again, the peer has asked for backup again");
        attachment.detach();
        scene.check_kernel_backup(true);
        scene.check_lte(false, "detached");
        scene.check_kernel_backup(true);
        transfer.stop();
        check_clean(transfer.wait());
    }
}

TEST_CASE("a local endpoint that becomes a backup while data flows is left, whatever the policy",
          "[e2e][invariant]") {
    const auto network = must(Network::create(two_paths()));
    const auto own = network.address(Side::a, 1);
    const auto on_lte = network.address(Side::b, 1);
    must(network.a().ip(fmt::format("mptcp endpoint add {} dev lte subflow", own)));
    const auto server = serve(network);
    auto transfer = upload(network, server);
    Scene scene(network, Side::a, on_lte, "native");
    Attachment attachment(scene.steered(), scene.devices(), scene.mode());
    const Cli mpsched(scene.steered());
    mpsched("use weighted");
    scene.check_lte(true, "weighted 1:1");

    must(network.a().ip(fmt::format("mptcp endpoint change {} backup", own)));
    scene.check_lte(false, "weighted, the endpoint is a backup");
    // The path that is left is the one this policy would rather not use.
    mpsched("path dsl priority=1");
    mpsched("use active-standby");
    scene.check_lte(false, "active-standby that prefers the backup");

    must(network.a().ip(fmt::format("mptcp endpoint change {} nobackup", own)));
    mpsched("use weighted");
    scene.check_lte(true, "weighted, an ordinary endpoint again");
    transfer.stop();
    check_clean(transfer.wait());
}
