// SPDX-License-Identifier: MIT
//
// [[application]] in mpsched.toml while mpschedd runs: cgroups that come later, that come again, and what the file no longer says.
#include <cerrno>

#include <unistd.h>

#include <fmt/format.h>

#include "app_sockets.hpp"
#include "cgroup.hpp"
#include "service_run.hpp"

using namespace mps::robust;
using namespace mps;

namespace {

// It compares every 30 s, and is told of cgroups.
constexpr auto patience = 100s;
constexpr auto soon = 10s;

std::string name_of_group() { return fmt::format("/mpsched-e2e-{}-later", ::getpid()); }

std::string settings(std::string_view application) {
    return fmt::format(
        "version = 1\n[[interface]]\nname = [\"dsl\", \"lte\"]\n[default]\npolicy = \"default\"\n{}",
        application);
}

std::string application(std::string_view limits) {
    return fmt::format("[[application]]\ncgroup = \"{}\"\n{}\n", name_of_group(), limits);
}

} // namespace

TEST_CASE("applications of a cgroup that comes later choose within what mpsched.toml says, and as it changes",
          "[robust][service][app]") {
    Rig rig;
    Service service(rig, settings(application("policies = [\"weighted\"]\nmax_cost = 5")));
    const std::string object = "applications of " + name_of_group();
    REQUIRE(eventually([&] { return service.state_of(object) == "waits"; }, patience));
    const auto socket = [&] { return e2e::make_socket(rig.here(), IPPROTO_MPTCP); };
    const auto choose = [&](const char *policy) { return e2e::set_policy(socket().get(), policy); };

    e2e::Cgroup group("-later");
    REQUIRE(group.enter());
    CHECK(eventually([&] { return choose("weighted") == 0; }, soon));
    CHECK(service.state_of(object) == "in force");
    CHECK(choose("ecf") == ENOENT);
    CHECK(e2e::set_number(socket().get(), MPSCHED_COST_LIMIT, 6) == EPERM);
    CHECK(e2e::set_number(socket().get(), MPSCHED_COST_LIMIT, 5) == 0);

    // What has been chosen counts no more when the file allows something else.
    const Fd chosen = socket();
    CHECK(e2e::set_policy(chosen.get(), "weighted") == 0);
    service.write(settings(application("policies = [\"ecf\"]")));
    CHECK(service.run({"reload"}).exit_code == 0);
    CHECK(choose("weighted") == ENOENT);
    CHECK(choose("ecf") == 0);
    CHECK(std::string(e2e::state_of(chosen.get()).policy).empty());
    CHECK(e2e::set_number(socket().get(), MPSCHED_COST_LIMIT, 6) == 0);

    // A cgroup of the same name is another one.
    REQUIRE(group.leave());
    group.make_anew();
    REQUIRE(group.enter());
    CHECK(eventually([&] { return choose("ecf") == 0; }, soon));

    // Killed, it leaves them what they have, and the next start finds what was made anew meanwhile.
    service.kill();
    CHECK(choose("ecf") == 0);
    REQUIRE(group.leave());
    group.make_anew();
    REQUIRE(group.enter());
    CHECK(choose("ecf") == ENOPROTOOPT);
    service.start();
    CHECK(eventually([&] { return choose("ecf") == 0; }, patience));

    // What the file no longer has goes.
    service.write(settings(""));
    CHECK(service.run({"reload"}).exit_code == 0);
    CHECK(choose("ecf") == ENOPROTOOPT);
    CHECK(rig.json({"app", "list"}).empty());
    REQUIRE(group.leave());
    service.end();
    rig.ok({"detach", "--all"});
}

TEST_CASE("a rule of mpsched.toml for a cgroup is for the next one of that name as well",
          "[robust][service][app]") {
    Rig rig;
    e2e::Cgroup group("-later");
    const std::string selector = "cgroup=" + name_of_group();
    Service service(rig, settings(fmt::format("[[rule]]\nfor = \"{}\"\npolicy = \"weighted\"\n", selector)));
    const auto selectors = [&] {
        std::vector<std::string> all;
        const Json status = rig.json({"status"});
        for (const Json &rule : status.at("rules"))
            all.push_back(rule.at("selector"));
        return all;
    };
    const std::vector<std::string> one{selector};
    REQUIRE(eventually([&] { return selectors() == one; }, patience));
    // By their ids in the kernel: the second has the first one's name, and none of its connections.
    for (int i = 0; i < 2; i++) {
        group.make_anew();
        CHECK(eventually([&] { return selectors() == one; }, soon));
    }
    service.end();
    rig.ok({"detach", "--all"});
}
