// SPDX-License-Identifier: MIT
//
// mpschedd with the real kernel: killed under traffic, modems that come and go, files that are wrong, a second one.
#include <net/if.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "robust_rig.hpp"
#include "service_run.hpp"

using namespace mps::robust;
using namespace mps;
using namespace std::chrono_literals;

namespace {

using Clock = std::chrono::steady_clock;

// How often; more than once in a while by hand.
int cycles(int usual) {
    const char *text = std::getenv("MPS_TEST_CYCLES");
    return text ? std::atoi(text) : usual;
}

constexpr const char *both_paths = R"(version = 1
[default]
policy = "weighted"
[[interface]]
name = ["dsl", "lte"]
weight = 2
[[rule]]
for = "rport=9"
policy = "overflow"
)";

std::size_t open_files(pid_t pid) {
    std::error_code error;
    const std::filesystem::directory_iterator all(fmt::format("/proc/{}/fd", pid), error);
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

long resident_kib(pid_t pid) {
    std::ifstream file(fmt::format("/proc/{}/status", pid));
    for (std::string line; std::getline(file, line);)
        if (line.starts_with("VmRSS:"))
            return std::strtol(line.c_str() + 6, nullptr, 10);
    return 0;
}

// Where there is tcx: the quickest way to see it.
bool is_pinned(const Rig &rig, const std::string &device) {
    const int ifindex =
        must(rig.here().run([&] { return static_cast<int>(::if_nametoindex(device.c_str())); }));
    return std::filesystem::exists(fmt::format("{}/links/{}-tc", rig.installation(), ifindex));
}

// Where systemd would listen.
class NotifySocket {
  public:
    explicit NotifySocket(std::string path) : path_(std::move(path)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path_.copy(address.sun_path, sizeof address.sun_path - 1);
        fd_ = Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        REQUIRE(::bind(fd_.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) == 0);
    }
    const std::string &path() const { return path_; }
    bool hears(std::string_view wanted) {
        return eventually([&] {
            char text[512];
            for (ssize_t got = 0; (got = ::recv(fd_.get(), text, sizeof text, MSG_DONTWAIT)) > 0;)
                heard_.append(text, static_cast<std::size_t>(got));
            return heard_.contains(wanted);
        });
    }

  private:
    std::string path_;
    Fd fd_;
    std::string heard_;
};

} // namespace

TEST_CASE("mpschedd brings its file into force, and killing it at any time changes nothing on the wire",
          "[robust][service]") {
    Rig rig(two_paths(50));
    Service service(rig, both_paths);
    CHECK(rig.status()["default_policy"] == "weighted");
    CHECK(rig.status()["rules"][0]["selector"] == "rport=9");
    CHECK(rig.json({"path", "lte"})["weight"] == 2);
    const auto dsl = rig.hooks("dsl");
    const auto lte = rig.hooks("lte");
    REQUIRE_FALSE(our_programs(rig.here(), "dsl").empty());

    const auto server = e2e::serve(rig.network());
    auto transfer = rig.transfer(server, {.connections = 4, .bytes = 6'000'000});
    for (int i = 0; i < 3; i++) {
        ::usleep(150'000 + static_cast<unsigned>(i) * 77'000);
        service.kill();
        CHECK(rig.hooks("dsl") == dsl);
        const auto clock = Clock::now();
        service.start();
        CHECK(Clock::now() - clock < 1500ms);
        // It finds everything as it is to be, and touches nothing.
        CHECK(rig.hooks("dsl") == dsl);
        CHECK(rig.hooks("lte") == lte);
        CHECK(service.state_of("interface lte") == "in force");
    }
    e2e::check_clean(transfer.wait());
    const std::string said = service.end();
    CHECK_FALSE(said.contains("attach"));
    CHECK(rig.hooks("lte") == lte);
    rig.ok({"detach", "--all"});
}

TEST_CASE(
    "a modem that goes, comes back, is renamed or numbered anew is attached within 200 ms as the file has it",
    "[robust][service]") {
    Rig rig;
    Service service(rig, "version = 1\n[default]\npolicy = \"weighted\"\n[[interface]]\nname = \"dsl\"\n"
                         "[[interface]]\nname = \"wwan*\"\nweight = 7\ncost = 5\n");
    const auto here = [&](const std::string &lines) { must(rig.here().ip(lines)); };
    std::vector<std::chrono::milliseconds> times;
    // From the moment at which the interface has its name.
    const auto attached = [&](const std::string &name, Clock::time_point since) {
        CHECK(eventually([&] { return is_pinned(rig, name) || !our_programs(rig.here(), name).empty(); }));
        times.push_back(std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - since));
        CHECK(eventually([&] { return !our_programs(rig.here(), name).empty(); }));
        CHECK(rig.json({"path", name})["weight"] == 7);
        CHECK(rig.json({"path", name})["cost"] == 5);
    };
    const auto server = e2e::serve(rig.network());
    auto transfer = rig.transfer(server, {});
    std::optional<PinTree> before;
    std::size_t maps = 0;
    const int count = cycles(12);
    for (int i = 0; i < count; i++) {
        // Every third time under a number that it never had.
        const std::string name = i % 3 == 2 ? fmt::format("wwan{}", 10 + i) : "wwan0";
        const std::string first = i % 2 ? "usb0" : name;
        auto since = Clock::now();
        here(fmt::format("link add {} type veth peer name far", first));
        if (first != name) {
            since = Clock::now();
            here(fmt::format("link set {} name {}", first, name));
        }
        here(fmt::format("link set {} up", name));
        attached(name, since);
        if (i == 2) {
            before = rig.bpffs().tree();
            maps =
                std::ranges::count_if(*before, [](const auto &pin) { return pin.second.starts_with("map"); });
        }
        here(fmt::format("link del {}", name));
    }
    CHECK(eventually([&] { return rig.json({"path"}).size() <= 10; }));
    if (before) {
        here("link add wwan0 type veth peer name far\nlink set wwan0 up");
        attached("wwan0", Clock::now());
        const PinTree now = rig.bpffs().tree();
        CHECK(now.size() == before->size());
        CHECK(maps == static_cast<std::size_t>(std::ranges::count_if(
                          now, [](const auto &p) { return p.second.starts_with("map"); })));
        CHECK(pinned_programs(now) == pinned_programs(*before));
    }
    std::ranges::sort(times);
    e2e::report(fmt::format("attached after {} ms in the middle, {} ms at most",
                            times[times.size() / 2].count(), times.back().count()));
    // Others at work on the machine make it slower, but not each time.
    CHECK(times[times.size() / 4] <= 200ms);
    transfer.stop();
    e2e::check_clean(transfer.wait());
    service.end();
    rig.ok({"detach", "--all"});
}

TEST_CASE("a file with a mistake is refused as a whole by a reload, and what was in force stays",
          "[robust][service]") {
    Rig rig;
    Service service(rig, both_paths);
    const std::string revision = service.state()["revision"];
    service.write("version = 1\n[default]\npolicy = \"ecf\"\n[[interface]]\nname = \"dsl\"\nweight = 0\n");
    const auto refused = service.run({"reload"});
    CHECK(refused.exit_code == 2);
    CHECK(refused.err.contains("mpsched.toml:6:10: weight=0: out of range"));
    must(service.process().signal(SIGHUP));
    CHECK(eventually([&] { return service.state().contains("refused"); }));
    CHECK(service.state()["revision"] == revision);
    CHECK(rig.status()["default_policy"] == "weighted");
    CHECK(rig.json({"path", "dsl"})["weight"] == 2);
    // Half of it, and then all.
    service.write("version = 1\n[default]\npolicy = \"e");
    CHECK(service.run({"reload"}).exit_code == 2);
    service.write("version = 1\n[default]\npolicy = \"ecf\"\n[[interface]]\nname = \"dsl\"\n");
    CHECK(service.run({"reload"}).exit_code == 0);
    CHECK_FALSE(service.state().contains("refused"));
    CHECK(rig.status()["default_policy"] == "ecf");
    CHECK(rig.status()["rules"].empty());
    CHECK(our_programs(rig.here(), "lte").empty());
    CHECK(rig.json({"path", "dsl"})["weight"] == 1);
    service.end();
    rig.ok({"detach", "--all"});
}

TEST_CASE("a start with a mistake in the files goes on with those that were right", "[robust][service]") {
    Rig rig;
    Service service(rig, both_paths);
    const std::string revision = service.state()["revision"];
    service.end();
    // As a reboot leaves it.
    rig.ok({"detach", "--all"});
    REQUIRE(our_programs(rig.here(), "lte").empty());
    service.write("version = 1\n[default]\npolicy = \"ecf\"\n[[interface]]\nname = \"dsl\"\nweight = 0\n");
    service.start();
    CHECK(service.state()["revision"] == revision);
    CHECK(service.state()["refused"]["what"].get<std::string>().contains("mpsched.toml:6:10: "));
    CHECK_FALSE(our_programs(rig.here(), "lte").empty());
    CHECK(rig.status()["default_policy"] == "weighted");
    CHECK(rig.json({"path", "dsl"})["weight"] == 2);
    service.write("version = 1\n[default]\npolicy = \"ecf\"\n[[interface]]\nname = \"dsl\"\n");
    CHECK(service.run({"reload"}).exit_code == 0);
    CHECK_FALSE(service.state().contains("refused"));
    CHECK(rig.status()["default_policy"] == "ecf");
    service.end();

    // Neither for other files, nor where what was kept is damaged, nor where there is no file.
    const auto refuses_to_start = [&](const Words &more) {
        Words words = service.command();
        words.insert(words.end(), more.begin(), more.end());
        const auto result = service.run(words);
        INFO(result.out << result.err);
        CHECK(result.exit_code != 0);
    };
    const std::string other = service.folder() + "/other.toml";
    std::ofstream(other) << "version = 1\nx = 1\n";
    refuses_to_start({"--config", other});
    std::filesystem::remove(service.settings());
    refuses_to_start({});
    service.write("version = 1\nx = 1\n");
    std::ofstream(service.folder() + "/state/last-good.json") << "{";
    refuses_to_start({});
    rig.ok({"detach", "--all"});
}

TEST_CASE("what is changed by hand stays until a reload, is told, and can be exported", "[robust][service]") {
    Rig rig;
    Service service(rig, both_paths);
    rig.ok({"path", "dsl", "weight=9"});
    rig.ok({"use", "auto"});
    rig.ok({"unuse", "--all"});
    CHECK(service.state_of("interface dsl") == "by hand");
    CHECK(service.state_of("default policy") == "by hand");
    const auto exported = rig.ok({"config", "export"}).out;
    std::ofstream(service.folder() + "/other.toml") << exported;
    CHECK(rig.json({"config", "diff", service.folder() + "/other.toml"})["same"] == true);
    // An interface that comes is no reason to undo it.
    must(rig.here().ip("link add other type veth peer name far"));
    ::usleep(300'000);
    CHECK(rig.json({"path", "dsl"})["weight"] == 9);
    CHECK(rig.status()["default_policy"] == "auto");
    CHECK(service.run({"reload"}).exit_code == 0);
    CHECK(rig.json({"path", "dsl"})["weight"] == 2);
    CHECK(rig.status()["default_policy"] == "weighted");
    CHECK(rig.status()["rules"].size() == 1);
    CHECK(rig.json({"config", "diff", service.settings()})["same"] == true);
    service.end();
    rig.ok({"detach", "--all"});
}

TEST_CASE("a second mpschedd and one without rights say what is wrong; systemd is told what it waits for",
          "[robust][service]") {
    Rig rig;
    const e2e::TemporaryFolder folder;
    NotifySocket systemd(folder / "notify");
    Service service(rig, both_paths);
    service.kill();
    service.start({{"NOTIFY_SOCKET", systemd.path()}, {"WATCHDOG_USEC", "600000"}});
    CHECK(systemd.hears("READY=1\nSTATUS="));
    CHECK(systemd.hears("WATCHDOG=1"));
    must(service.process().signal(SIGHUP));
    CHECK(systemd.hears("RELOADING=1\nMONOTONIC_USEC="));

    const auto second = must(lab::run_process(service.command(), {.environment = service.environment()}));
    CHECK(second.exit_code == 1);
    CHECK(second.err.contains(fmt::format(
        "another mpschedd is at work in this network namespace (process {})", service.process().pid())));
    service.end();
    CHECK(systemd.hears("STOPPING=1"));

    Words powerless{"setpriv", "--bounding-set=-all", "--inh-caps=-all"};
    for (const std::string &word : service.command())
        powerless.push_back(word);
    const auto refused = must(lab::run_process(powerless, {.environment = service.environment()}));
    CHECK(refused.exit_code == 4);
    INFO(refused.err);
    CHECK(refused.err.contains("CAP_"));
    rig.ok({"detach", "--all"});
}

TEST_CASE("reloads under load leave nothing behind", "[robust][service]") {
    Rig rig;
    Service service(rig, both_paths);
    const auto server = e2e::serve(rig.network());
    auto transfer = rig.transfer(server, {.connections = 4});
    const pid_t pid = service.process().pid();
    const int count = cycles(8);
    std::size_t files = 0;
    std::size_t pins = 0;
    long memory = 0;
    for (int i = 0; i < count; i++) {
        service.write(fmt::format(
            "version = 1\n[default]\npolicy = \"{}\"\n[[interface]]\nname = [\"dsl\", \"lte\"]\nweight = {}\n",
            i % 2 ? "weighted" : "ecf", 1 + i % 5));
        REQUIRE(service.run({"reload"}).exit_code == 0);
        if (i == 3) {
            files = open_files(pid);
            pins = rig.bpffs().tree().size();
            memory = resident_kib(pid);
        }
    }
    // One more is open while a netlink message is read.
    CHECK(eventually([&] { return open_files(pid) <= files; }, 5s));
    CHECK(rig.bpffs().tree().size() == pins);
    e2e::report(fmt::format("{} reloads: {} KiB resident, after four {}", count, resident_kib(pid), memory));
    CHECK(resident_kib(pid) < memory + 2048);
    transfer.stop();
    e2e::check_clean(transfer.wait());
    service.end();
    rig.ok({"detach", "--all"});
}

TEST_CASE(
    "a quota's count survives kill -9 with all that the kernel knew, a damaged ledger, and another number",
    "[robust][service]") {
    Rig rig(two_paths(50));
    Service service(rig,
                    "version = 1\n[default]\npolicy = \"weighted\"\n[[interface]]\nname = \"dsl\"\n"
                    "[[interface]]\nname = \"lt*\"\nweight = 3\nquota = \"1GB\"\nquota_period = \"month\"\n");
    const auto used = [&](const std::string &name) {
        return rig.json({"path", name})["quota_used_bytes"].get<std::uint64_t>();
    };
    const auto server = e2e::serve(rig.network());
    e2e::check_clean(rig.transfer(server, {.bytes = 6'000'000}).wait());
    REQUIRE(used("lte") > 2'000'000);
    // Nothing moves any more, so what is booked within ten seconds is all of it.
    const std::uint64_t carried = used("lte");
    const std::string database = service.folder() + "/state/quota.db";
    ::sleep(6);
    service.kill();
    // As a restart of the machine does.
    rig.ok({"detach", "--all"});
    service.start();
    CHECK(used("lte") >= carried);
    CHECK(used("lte") < carried + 100'000);

    service.kill();
    // Else what is left of the log would mend it.
    std::filesystem::remove(database + "-wal");
    std::ofstream(database, std::ios::trunc) << "no database at all";
    service.start();
    // The kernel still had it.
    CHECK(used("lte") >= carried);
    CHECK(eventually([&] { return std::filesystem::file_size(database) > 100; }, 10s));
    CHECK(std::filesystem::exists(database + ".damaged-1"));
    CHECK_FALSE(service.state().contains("problem"));
    CHECK(service.end().contains("is damaged: it is kept as"));

    service.start();
    must(rig.here().ip("link del lte"));
    must(rig.here().ip("link add lt7 type veth peer name far\nlink set lt7 up"));
    CHECK(eventually([&] { return rig.json({"path", "lt7"})["weight"] == 3 && used("lt7") >= carried; }));
    service.end();
    rig.ok({"detach", "--all"});
}

TEST_CASE("a period of a quota begins by the clock, and is told", "[robust][service]") {
    Rig rig(two_paths(50));
    Service service(
        rig,
        "version = 1\n[default]\npolicy = \"weighted\"\n[[interface]]\nname = [\"dsl\", \"lte\"]\nquota = \"1GB\"\n"
        "quota_period = \"7s\"\n");
    const auto server = e2e::serve(rig.network());
    e2e::check_clean(rig.transfer(server, {.bytes = 2'000'000}).wait());
    CHECK(eventually([&] { return rig.json({"path", "lte"})["quota_used_bytes"] == 0; }, 15s));
    CHECK(service.end().contains("a new period of its quota begins"));
    rig.ok({"detach", "--all"});
}

TEST_CASE("with --persist what is typed outlives a reload, without it the answer says that it does not",
          "[robust][service]") {
    Rig rig;
    Service service(rig, both_paths);
    const auto typed = [&](const Words &words) {
        const auto result = service.run(words);
        INFO(result.out << result.err);
        CHECK(result.exit_code == 0);
        return result.out;
    };
    CHECK(typed({"path", "dsl", "weight=9"}).contains("--persist keeps this"));
    CHECK(typed({"path", "dsl", "weight=5", "quota=1G", "--persist"}).contains("mpsched.d/90-by-hand.toml"));
    (void)typed({"use", "ecf", "--persist"});
    (void)typed({"use", "weighted", "--for", "rport=7", "-s", "lead_bytes=32Ki", "--persist"});
    (void)typed({"set", "dwell_us=2000", "--persist"});
    (void)typed({"unuse", "rport=9", "--persist"});
    (void)typed({"detach", "lte", "--persist"});
    // The service knows of it without a reload, and a reload changes nothing.
    CHECK(rig.json({"config", "diff", service.settings()})["same"] == true);
    for (const Json state = service.state(); const Json &object : state.at("objects"))
        CHECK(object["state"] == "in force");
    const Json before = rig.status();
    (void)typed({"reload"});
    CHECK(rig.status()["interfaces"] == before["interfaces"]);
    CHECK(rig.status()["rules"] == before["rules"]);
    CHECK(rig.json({"path", "dsl"})["weight"] == 5);
    CHECK(rig.status()["default_policy"] == "ecf");
    // What the files could not say is not done either.
    service.write("version = 1\n[default]\npolicy = \"over");
    CHECK(service.run({"path", "dsl", "weight=6", "--persist"}).exit_code == 2);
    CHECK(rig.json({"path", "dsl"})["weight"] == 5);
    service.end();
    rig.ok({"detach", "--all"});
}

TEST_CASE(
    "congestion control and placed subflows are as the file says, again after everything was gone, with no interface attached",
    "[robust][service]") {
    Rig rig(two_paths());
    Service service(
        rig,
        "version = 1\n[default]\npolicy = \"default\"\n[[congestion]]\ncontrol = \"reno\"\nfor = \"rport=443\"\n"
        "[[congestion]]\ncontrol = \"cubic\"\n"
        "[spread]\ninterfaces = [\"dsl\", \"later\"]\nroutes = [\"label any 2001:db8::/32 1:5 2:6\"]\n");
    const auto in_force = [&] {
        const Json rules = rig.json({"cc", "list"})["rules"], spread = rig.json({"spread", "list"});
        return rules.size() == 2 && rules[0]["name"] == "reno" && rules[1]["selector"].is_null() &&
               spread["interfaces"].size() == 1 && spread["map"].size() == 1;
    };
    CHECK(eventually(in_force));
    CHECK(service.state_of("spread on later") == "waits");
    CHECK(rig.json({"config", "diff", service.settings()})["same"] == true);
    rig.ok({"cc", "unuse", "--all"});
    rig.ok({"spread", "off", "--all"});
    service.run({"reload"});
    CHECK(eventually(in_force));
    service.end();
    // As after a restart of the machine.
    rig.ok({"detach", "--all"});
    CHECK(rig.installation().empty());
    service.start();
    CHECK(eventually(in_force));
    // What is exported asks for the same.
    CHECK(service.run({"config", "export"}).out.contains("[spread]"));
    service.write("version = 1\n[engine]\n");
    service.run({"reload"});
    CHECK(eventually([&] {
        return rig.json({"cc", "list"})["rules"].empty() &&
               rig.json({"spread", "list"})["interfaces"].empty();
    }));
    service.end();
}

TEST_CASE(
    "settings of the kernel are as the file says, and as before when it does not or the service has ended",
    "[robust][service]") {
    Rig rig;
    const auto setting = [&](const std::string &name) {
        return must(rig.here().run([&] {
            std::string value;
            std::ifstream("/proc/sys/net/" + name) >> value;
            return value;
        }));
    };
    const auto set = [&](const std::string &name, const std::string &value) {
        must(rig.here().run([&] { std::ofstream("/proc/sys/net/" + name) << value; }));
    };
    set("mptcp/stale_loss_cnt", "7");
    set("ipv4/tcp_slow_start_after_idle", "1");
    const std::string asked =
        std::string(both_paths) + "[kernel]\nstale_loss_cnt = 1\nslow_start_after_idle = false\n";
    Service service(rig, asked);
    CHECK(setting("mptcp/stale_loss_cnt") == "1");
    CHECK(setting("ipv4/tcp_slow_start_after_idle") == "0");
    service.write(both_paths);
    service.run({"reload"});
    CHECK(setting("mptcp/stale_loss_cnt") == "7");
    CHECK(setting("ipv4/tcp_slow_start_after_idle") == "1");
    // Who comes after one that was killed knows what it was before.
    service.write(asked);
    service.run({"reload"});
    CHECK(setting("mptcp/stale_loss_cnt") == "1");
    service.kill();
    CHECK(setting("mptcp/stale_loss_cnt") == "1");
    service.start();
    // What somebody else has set meanwhile is his.
    set("ipv4/tcp_slow_start_after_idle", "1");
    service.end();
    CHECK(setting("mptcp/stale_loss_cnt") == "7");
    CHECK(setting("ipv4/tcp_slow_start_after_idle") == "1");
    rig.ok({"detach", "--all"});
}
