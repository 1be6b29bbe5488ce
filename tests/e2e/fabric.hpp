// SPDX-License-Identifier: MIT
//
// Networks of routers with several paths of equal cost, as data centres have them: each node a namespace, routes of equal cost wherever
// there are several shortest ones. Routers choose among these by fields of the packet's header, and by nothing that the sender's kernel has
// stored beside the packet (hash policy 3).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <mpsched/lab/netns.hpp>
#include <mpsched/lab/network.hpp>

namespace mps::e2e {

class Fabric {
  public:
    enum class By { labels, ports };

    /// With another seed routers choose otherwise.
    Fabric(By by, int addresses, unsigned seed = 0) : by_(by), addresses_(addresses), seed_(seed) {}

    void add_host(const std::string &name);
    void add_router(const std::string &name);
    /// Both directions at this rate; a host has one link, on which its device is called "nic".
    void link(const std::string &a, const std::string &b, double mbit) { link(a, b, mbit, mbit); }
    /// `up` from a to b.
    void link(const std::string &a, const std::string &b, double up, double down);
    /// When all links are there.
    void route();

    const lab::Namespace &ns(const std::string &node) const { return *nodes_.at(node).ns; }
    std::vector<std::string> hosts() const;
    /// `which` from 1.
    std::string address(const std::string &host, int which = 1) const;
    lab::Family family() const { return by_ == By::labels ? lab::Family::ipv6 : lab::Family::ipv4; }
    /// What routers look at from now on.
    void hash_by(const std::string &router, By by) const;
    /// Name of the device of `node` towards `other`.
    std::string device(const std::string &node, const std::string &other) const;
    std::uint64_t sent(const std::string &node, const std::string &other) const;

  private:
    struct Node {
        std::unique_ptr<lab::Namespace> ns;
        int number = 0; ///< among the hosts, or among the routers
        bool host = false;
        std::map<std::string, std::string> device{}; ///< by neighbour
        std::map<std::string, std::string> next{};   ///< the neighbour's address
    };
    void add(const std::string &name, bool host);
    void join_host(const std::string &host, const std::string &router, double up, double down);
    void route_to(const std::string &host);
    std::string network(const std::string &host) const;
    /// The address with which a router answers, whichever way.
    std::string self(const std::string &router) const;

    By by_;
    int addresses_;
    unsigned seed_;
    std::map<std::string, Node> nodes_;
    int hosts_ = 0, routers_ = 0, links_ = 0;
};

/// Two hosts and four routers between them, each a path: near, m1 … m4, far.
void build_four_paths(Fabric &fabric, double link_mbit, double host_mbit);

} // namespace mps::e2e
