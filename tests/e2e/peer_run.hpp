// SPDX-License-Identifier: MIT
//
// A host that runs mpsched downloads from one that does not: for tests of what the peer sends.
#pragma once

#include <thread>

#include <fmt/format.h>

#include "traffic.hpp"

namespace mps::e2e {

inline lab::NetworkSpec two_paths(lab::Family family, double mbit) {
    return {.paths = {{.name = "dsl", .rate_mbit = mbit}, {.name = "lte", .rate_mbit = mbit}},
            .family = family};
}

struct PeerRun {
    lab::Network network;
    lab::Server server;
    Health health;
    Attachment attachment;
    Cli mpsched;
    Meter meter;
    std::int64_t prios_before;

    PeerRun(const lab::NetworkSpec &spec, const char *mode)
        : network(must(lab::Network::create(spec))),
          server(serve(network)),
          health(network.a(), network.b()),
          attachment(network.a(), network.devices(), mode),
          mpsched(network.a()),
          meter(network.a(), network.devices()),
          prios_before(mp_prio_received(network.b())) {}

    lab::Transfer start(lab::TransferSpec spec = {}) {
        if (spec.direction == lab::Direction::upload) {
            spec.direction = lab::Direction::download;
        }
        spec.address = network.address(lab::Side::b, network.spec().first_path);
        return upload(network, server, spec);
    }

    // MP_PRIO that the peer's kernel took in this run.
    std::int64_t prios() const { return mp_prio_received(network.b()) - prios_before; }

    // What the peer's kernel took is what we say was sent.
    void check_counted() const {
        Json stats;
        std::int64_t received = 0, sent = 0;
        // While traffic flows the two looks are not of one moment.
        wait_until(
            [&] {
                received = prios();
                stats = mpsched.json("stats");
                sent = stats["told"].get<std::int64_t>() + stats["told_by_kernel"].get<std::int64_t>();
                return received == sent;
            },
            1s, 50ms);
        INFO(stats.dump());
        CHECK(received == sent);
    }

    // What the devices receive from now on.
    Window receives(std::chrono::milliseconds duration) {
        meter.restart();
        return meter.over(duration);
    }

    void finish(lab::Transfer &transfer) {
        transfer.stop();
        check_clean(transfer.wait());
        health.check();
    }
};

} // namespace mps::e2e
