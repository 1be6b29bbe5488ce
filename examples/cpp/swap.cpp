// SPDX-License-Identifier: MIT
//
// Lists the MPTCP connections of a network namespace and gives them another policy: swap POLICY [NETNS]
#include <cstdio>
#include <string>

#include <mpsched/instance.hpp>

namespace {

int report(const mps::Error &error) {
    std::fprintf(stderr, "swap: %s\n  %s\n", error.what.c_str(), error.hint.c_str());
    if (error.kind == mps::ErrorKind::not_installed)
        std::fprintf(stderr, "  (this program only swaps; it attaches nothing)\n");
    return static_cast<int>(error.code);
}

} // namespace

int main(int argc, char **argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: swap POLICY [NETNS]\n");
        return 2;
    }
    auto instance = mps::Instance::open({.netns = argc > 2 ? argv[2] : ""});
    if (!instance)
        return report(instance.error());
    const auto connections = instance->connections();
    if (!connections)
        return report(connections.error());
    for (const mps::ConnectionStatus &connection : *connections) {
        std::printf("%08x %s\n", connection.token, connection.policy.c_str());
        for (const mps::SubflowStatus &one : connection.subflows)
            std::printf("  %s %s\n", one.ifname.c_str(), std::string(verdict_of(one)).c_str());
    }
    const auto used = instance->use({.policy = argv[1]});
    if (!used)
        return report(used.error());
    std::printf("%s -> %s\n", used->previous.c_str(), used->policy.c_str());
    return 0;
}
