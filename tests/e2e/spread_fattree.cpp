// SPDX-License-Identifier: MIT
//
// A FatTree of k = 4 (16 hosts, 20 routers, links of 8 Mbit/s) for the tables of docs/spread.md; not in the suite, since it takes minutes:
//
//   build/bin/tests/traffic_spread "measure: a FatTree*"
//
// $MPS_FATTREE_SEED (1) draws who sends to whom, $MPS_FATTREE_HASH (0) by what routers hash, $MPS_FATTREE_SUBFLOWS (0: 1, 2 and 4) tells
// how many subflows each connection has, and $MPS_MEASURE_SECONDS (20) how long each row is measured.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <random>
#include <set>
#include <thread>

#include "fabric.hpp"
#include "traffic.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr int pods = 4, half = 2, host_count = 16;
constexpr double link_mbit = 8;

std::string host(int i) { return fmt::format("h{:02}", i); }

int from_environment(const char *name, int otherwise) {
    const char *text = std::getenv(name);
    return text ? std::atoi(text) : otherwise;
}

void build_fat_tree(Fabric &fabric) {
    for (int i = 0; i < host_count; i++)
        fabric.add_host(host(i));
    for (int core = 0; core < half * half; core++)
        fabric.add_router(fmt::format("c{}", core));
    for (int pod = 0; pod < pods; pod++)
        for (int i = 0; i < half; i++) {
            fabric.add_router(fmt::format("e{}{}", pod, i));
            fabric.add_router(fmt::format("g{}{}", pod, i));
        }
    for (int pod = 0; pod < pods; pod++)
        for (int i = 0; i < half; i++) {
            for (int j = 0; j < half; j++) {
                fabric.link(host((pod * half + i) * half + j), fmt::format("e{}{}", pod, i), link_mbit);
                fabric.link(fmt::format("e{}{}", pod, i), fmt::format("g{}{}", pod, j), link_mbit);
                fabric.link(fmt::format("g{}{}", pod, i), fmt::format("c{}", i * half + j), link_mbit);
            }
        }
    fabric.route();
}

/// Where each sends to: nobody to itself, nor to a host at the same router, which is one path.
std::vector<int> permutation(unsigned seed) {
    std::mt19937 random(seed);
    std::vector<int> to(host_count);
    std::iota(to.begin(), to.end(), 0);
    const auto too_near = [&] {
        for (int i = 0; i < host_count; i++)
            if (to[static_cast<std::size_t>(i)] / half == i / half)
                return true;
        return false;
    };
    do
        std::shuffle(to.begin(), to.end(), random);
    while (too_near());
    return to;
}

struct Tree {
    Fabric fabric;
    std::vector<std::unique_ptr<Server>> servers{};
    std::vector<int> to;
    TemporaryFolder folder{};
    std::vector<Json> pairs{}; ///< what each host's probe has found

    explicit Tree(int subflows)
        : fabric(Fabric::By::labels, subflows,
                 static_cast<unsigned>(from_environment("MPS_FATTREE_HASH", 0))),
          to(permutation(static_cast<unsigned>(from_environment("MPS_FATTREE_SEED", 1)))) {
        build_fat_tree(fabric);
        for (int i = 0; i < host_count; i++)
            servers.push_back(
                std::make_unique<Server>(must(Server::start(fabric.ns(host(i)), {.family = Family::ipv6}))));
    }
    Tree(const Tree &) = delete;
    Tree &operator=(const Tree &) = delete;
    ~Tree() {
        for (int i = 0; i < host_count; i++)
            std::ignore = cli(i).try_run("detach --all");
    }
    Cli cli(int i) const { return Cli(fabric.ns(host(i))); }
    int peer(int i) const { return to[static_cast<std::size_t>(i)]; }
    std::string file(int i) const { return folder / fmt::format("map{}", i); }

    void probe() {
        pairs.resize(host_count);
        std::vector<std::thread> threads;
        for (int i = 0; i < host_count; i++)
            threads.emplace_back([this, i] {
                const auto run = cli(i).try_run(
                    fmt::format("--json spread probe {} --save {}", fabric.address(host(peer(i))), file(i)));
                pairs[static_cast<std::size_t>(i)] = Json::parse(run.out, nullptr, false);
            });
        for (std::thread &one : threads)
            one.join();
        for (const Json &one : pairs)
            REQUIRE(one.is_array());
    }
    void on(const std::string &options) const {
        for (int i = 0; i < host_count; i++)
            cli(i)("spread on nic " + options);
    }
    Transfer upload(int from, int at) const {
        return must(
            Transfer::start(fabric.ns(host(from)), {.address = fabric.address(host(at)),
                                                    .port = servers[static_cast<std::size_t>(at)]->port(),
                                                    .verify = false}));
    }
    /// Of all to their peers: see shares_of().
    std::vector<double> measure(int subflows) const {
        std::vector<Transfer> transfers;
        for (int i = 0; i < host_count; i++)
            transfers.push_back(upload(i, peer(i)));
        return shares_of(transfers, subflows);
    }
    /// Shares of the links' rate that these get of contents, sorted, when they have had 10 s to settle.
    static std::vector<double> shares_of(const std::vector<Transfer> &transfers, int subflows) {
        for (const Transfer &one : transfers)
            REQUIRE(one.wait_for_subflows(static_cast<std::size_t>(subflows), 30s));
        const std::chrono::seconds duration(from_environment("MPS_MEASURE_SECONDS", 20));
        std::this_thread::sleep_for(10s);
        std::vector<Delivered> before, after;
        const auto look = [&](std::vector<Delivered> &all) {
            for (const Transfer &one : transfers)
                all.push_back(
                    delivered(one, 1, [](const SubflowSample &) { return std::optional<std::size_t>(0); }));
        };
        look(before);
        std::this_thread::sleep_for(duration);
        look(after);
        std::vector<double> shares;
        for (std::size_t i = 0; i < before.size(); i++)
            shares.push_back(goodput_mbit(before[i], after[i]) / link_mbit);
        std::ranges::sort(shares);
        return shares;
    }
};

void tell(const std::string &row, const std::vector<double> &shares) {
    const double mean =
        std::accumulate(shares.begin(), shares.end(), 0.0) / static_cast<double>(shares.size());
    report(fmt::format("{:40} mean {:.3f} of the link, least {:.3f}", row, mean, shares.front()));
}

/// The links that a path has, by the routers that its probe found.
std::vector<std::string> links_of(const std::string &path, int from, int to) {
    std::vector<std::string> nodes{host(from)}, links;
    std::istringstream words(path);
    for (std::string word; words >> word;)
        nodes.push_back(word);
    nodes.push_back(host(to));
    for (std::size_t i = 0; i + 1 < nodes.size(); i++)
        links.push_back(nodes[i] + ">" + nodes[i + 1]);
    return links;
}

/// Paths for the whole fabric: each connection's subflows on as many of its paths as there are, so that the fullest link has as little to
/// carry as goes. Tried from many beginnings, each improved until nothing gets better.
struct Assignment {
    const Tree &tree;
    int subflows;
    std::mt19937 random{1};
    std::vector<std::vector<int>> chosen{}; ///< by host

    int paths(int i) const {
        return static_cast<int>(tree.pairs[static_cast<std::size_t>(i)][0]["paths"].size());
    }
    std::map<std::string, int> loads() const {
        std::map<std::string, int> load;
        for (int i = 0; i < host_count; i++)
            for (const int path : chosen[static_cast<std::size_t>(i)])
                for (const std::string &link : links_of(
                         tree.pairs[static_cast<std::size_t>(i)][0]["paths"][static_cast<std::size_t>(path)],
                         i, tree.peer(i)))
                    load[link]++;
        return load;
    }
    int badness() const {
        int sum = 0;
        for (const auto &[link, load] : loads())
            sum += load > subflows ? (load - subflows) * (load - subflows) : 0;
        return sum;
    }
    void draw() {
        chosen.assign(host_count, {});
        for (int i = 0; i < host_count; i++)
            for (int s = 0; s < subflows; s++)
                chosen[static_cast<std::size_t>(i)].push_back(
                    static_cast<int>(random() % static_cast<unsigned>(paths(i))));
    }
    bool improve() {
        int least = badness();
        const int before = least;
        for (int i = 0; i < host_count; i++)
            for (int &path : chosen[static_cast<std::size_t>(i)])
                for (int other = 0; other < paths(i); other++) {
                    const int was = path;
                    path = other;
                    if (const int now = badness(); now < least)
                        least = now;
                    else
                        path = was;
                }
        return least < before;
    }
    void solve() {
        for (int attempt = 0; attempt < 60; attempt++) {
            draw();
            while (improve()) {
            }
            if (!badness())
                return;
        }
        report(fmt::format("no assignment without a link too full: {}", badness()));
    }
    /// Each host's map: the chosen paths in the order in which subflows take them.
    void write() const {
        for (int i = 0; i < host_count; i++) {
            std::ofstream file(tree.file(i));
            for (const Json &pair : tree.pairs[static_cast<std::size_t>(i)]) {
                file << fmt::format("label {} {}", pair["local"].get<std::string>(),
                                    pair["peer"].get<std::string>());
                for (std::size_t s = 0; s < chosen[static_cast<std::size_t>(i)].size(); s++) {
                    const Json &values =
                        pair["values"][static_cast<std::size_t>(chosen[static_cast<std::size_t>(i)][s])];
                    file << fmt::format(
                        " {}:{}", s + 1,
                        values.empty() ? std::string("-")
                                       : fmt::format("{}", fmt::join(values.get<std::vector<int>>(), ",")));
                }
                file << "\n";
            }
        }
    }
};

} // namespace

TEST_CASE("measure: a FatTree with permutation traffic", "[.measure]") {
    const int wanted = from_environment("MPS_FATTREE_SUBFLOWS", 0);
    for (const int subflows : wanted ? std::vector{wanted} : std::vector{1, 2, 4}) {
        Tree tree(subflows);
        tell(fmt::format("{} subflows, hashed", subflows), tree.measure(subflows));
        tree.on("");
        tell(fmt::format("{} subflows, labels without a map", subflows), tree.measure(subflows));
        tree.probe();
        if (subflows > 1) {
            for (int i = 0; i < host_count; i++)
                tree.cli(i)("spread on nic --map " + tree.file(i));
            tell(fmt::format("{} subflows, each host's own map", subflows), tree.measure(subflows));
        }
        Assignment assignment{.tree = tree, .subflows = subflows};
        assignment.solve();
        assignment.write();
        for (int i = 0; i < host_count; i++)
            tree.cli(i)("spread on nic --no-move --map " + tree.file(i));
        tell(fmt::format("{} subflows, a map of the whole fabric", subflows), tree.measure(subflows));
    }
}

// What the others are compared with: a host's link carries the acknowledgements of what it receives as well.
TEST_CASE("measure: a FatTree in which only two hosts send, to each other", "[.measure]") {
    for (const int subflows : {1, 4}) {
        Tree tree(subflows);
        const int other = host_count - 1;
        std::vector<Transfer> transfers;
        transfers.push_back(tree.upload(0, other));
        tell(fmt::format("{} subflows, alone", subflows), Tree::shares_of(transfers, subflows));
        transfers.push_back(tree.upload(other, 0));
        tell(fmt::format("{} subflows, in both directions", subflows), Tree::shares_of(transfers, subflows));
    }
}

namespace {

/// As a program sees it: from connect() until the receiver has confirmed the last byte. nullopt: it failed. For threads, so nothing is
/// asserted here.
std::optional<double> seconds_of(const Tree &tree, int from, int at, const Server &server, Protocol protocol,
                                 std::uint64_t bytes) {
    const auto begin = std::chrono::steady_clock::now();
    auto transfer = Transfer::start(tree.fabric.ns(host(from)), {.address = tree.fabric.address(host(at)),
                                                                 .port = server.port(),
                                                                 .protocol = protocol,
                                                                 .bytes = bytes,
                                                                 .verify = false,
                                                                 .settle = 0ms,
                                                                 .sample_interval = 0ms});
    if (!transfer || !transfer->wait().connections.front().complete)
        return std::nullopt;
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void tell_times(const std::string &row, std::vector<double> seconds) {
    std::ranges::sort(seconds);
    report(fmt::format("{:52} median {:.0f} ms, 90 % within {:.0f} ms", row,
                       seconds[seconds.size() / 2] * 1e3, seconds[seconds.size() * 9 / 10] * 1e3));
}

/// Eight hosts send 100 KB each to one, at once: until the last is done.
double incast(const Tree &tree, const Server &server, Protocol protocol) {
    constexpr int senders = 8, first = half; // none at the receiver's own router
    std::vector<std::optional<double>> seconds(senders);
    std::vector<std::thread> threads;
    for (int i = 0; i < senders; i++)
        threads.emplace_back([&, i] {
            seconds[static_cast<std::size_t>(i)] = seconds_of(tree, first + i, 0, server, protocol, 100'000);
        });
    for (std::thread &one : threads)
        one.join();
    for (const auto &one : seconds)
        REQUIRE(one);
    return **std::ranges::max_element(seconds);
}

void tell_incast(const Tree &tree, const std::string &name, const Server &server, Protocol protocol) {
    std::vector<double> seconds;
    for (int i = 0; i < 10; i++)
        seconds.push_back(incast(tree, server, protocol));
    tell_times(fmt::format("incast, {}", name), seconds);
}

/// Fifteen hosts send without end, as a permutation; the last one sends 70 KB at a time to its peer.
void tell_short(const Tree &tree, const std::string &name,
                const std::vector<std::unique_ptr<Server>> &servers, Protocol protocol) {
    const auto server_of = [&](int i) -> const Server & {
        return *servers[static_cast<std::size_t>(tree.peer(i))];
    };
    std::vector<Transfer> background;
    for (int i = 0; i + 1 < host_count; i++)
        background.push_back(
            must(Transfer::start(tree.fabric.ns(host(i)), {.address = tree.fabric.address(host(tree.peer(i))),
                                                           .port = server_of(i).port(),
                                                           .protocol = protocol,
                                                           .verify = false})));
    std::this_thread::sleep_for(15s);
    std::vector<double> seconds;
    const int last = host_count - 1;
    for (int i = 0; i < 30; i++)
        seconds.push_back(seconds_of(tree, last, tree.peer(last), server_of(last), protocol, 70'000).value());
    tell_times(fmt::format("70 KB among long transfers, {}", name), seconds);
}

} // namespace

TEST_CASE("measure: a FatTree with incast and short transfers", "[.measure]") {
    Tree tree(4);
    std::vector<std::unique_ptr<Server>> tcp;
    for (int i = 0; i < host_count; i++)
        tcp.push_back(std::make_unique<Server>(must(
            Server::start(tree.fabric.ns(host(i)), {.family = Family::ipv6, .protocol = Protocol::tcp}))));
    tell_incast(tree, "TCP", *tcp[0], Protocol::tcp);
    tell_short(tree, "TCP", tcp, Protocol::tcp);
    tell_incast(tree, "4 subflows, hashed", *tree.servers[0], Protocol::mptcp);
    tell_short(tree, "4 subflows, hashed", tree.servers, Protocol::mptcp);
    tree.on("");
    tell_incast(tree, "4 subflows, labels without a map", *tree.servers[0], Protocol::mptcp);
    tell_short(tree, "4 subflows, labels without a map", tree.servers, Protocol::mptcp);
    tree.probe();
    for (int i = 0; i < host_count; i++)
        tree.cli(i)("spread on nic --map " + tree.file(i));
    tell_short(tree, "4 subflows, each host's own map", tree.servers, Protocol::mptcp);
}
