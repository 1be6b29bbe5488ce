// SPDX-License-Identifier: MIT
//
// Which paths are metered, as the real NetworkManager says over a bus of the test's own; and buses that hang or talk nonsense.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fmt/format.h>

#include "service_run.hpp"

using namespace mps::robust;
using namespace mps;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char *settings = R"(version = 1
[default]
policy = "active-standby"
[[interface]]
name = ["dsl", "lte"]
[[interface]]
name = ["dsl", "lte"]
metered = true
priority = 1
cost = 20
)";

class Bus {
  public:
    Bus() {
        REQUIRE(::chmod(folder_.path().c_str(), 0755) == 0);
        std::ofstream(folder_ / "bus.conf") << fmt::format(
            "<busconfig><type>system</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>"
            "<policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/>"
            "<allow send_type=\"signal\"/><allow eavesdrop=\"true\"/></policy></busconfig>",
            folder_ / "socket");
        process_.emplace(
            must(lab::Process::start({unpacked_program("dbus-daemon", "dbus-daemon"), "--config-file",
                                      folder_ / "bus.conf", "--nofork", "--nopidfile"})));
        REQUIRE(eventually([&] { return fs::exists(folder_ / "socket"); }, 20s));
    }
    Environment environment() const {
        return {{"DBUS_SYSTEM_BUS_ADDRESS", "unix:path=" + folder_ / "socket"}};
    }
    lab::Process &process() { return *process_; }

  private:
    e2e::TemporaryFolder folder_;
    std::optional<lab::Process> process_;
};

// In the rig's namespace, with a mount and a host name of its own; it manages what it is given a connection for.
class Manager {
  public:
    Manager(const Rig &rig, const Bus &bus)
        : rig_(rig),
          root_(fs::path(unpacked_program("network-manager", "nmcli")).parent_path().parent_path()) {
        environment_ = bus.environment();
        for (const auto &entry : fs::directory_iterator(root_ / "lib"))
            if (entry.is_directory() && entry.path().filename().string().contains("linux-gnu"))
                environment_.emplace_back("LD_LIBRARY_PATH", entry.path());
        fs::create_directories(folder_ / "connections");
        fs::create_directories(folder_ / "conf.d");
        std::ofstream(folder_ / "nm.conf")
            << "[main]\nplugins=keyfile\ndhcp=internal\ndns=none\nrc-manager=unmanaged\nauth-polkit=false\n"
               "no-auto-default=*\nsystemd-resolved=false\nhostname-mode=none\n[keyfile]\npath="
            << folder_ / "connections" << "\n";
        launch();
        wait_until_ready();
    }

    void launch() {
        // Where /sys can be written it waits for udev, which knows nothing of this namespace.
        const std::string script = fmt::format(
            "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib && mount -t sysfs -o ro sysfs /sys && "
            "exec {0}/sbin/NetworkManager --debug --no-daemon --config={1}/nm.conf --config-dir={1}/conf.d "
            "--system-config-dir={1}/conf.d --state-file={1}/state --intern-config={1}/intern.conf "
            "--pid-file={1}/pid --log-level=INFO",
            root_.string(), folder_.path());
        process_.emplace(
            must(lab::Process::start({"unshare", "--mount", "--uts", "sh", "-c", script},
                                     {.netns_fd = rig_.here().fd(), .environment = environment_})));
    }
    void wait_until_ready() {
        if (!eventually([&] { return ask({"-t", "general", "status"}).ok(); }, 30s)) {
            must(process_->signal(SIGKILL));
            FAIL("NetworkManager did not start: " << must(process_->wait(5s)).err);
        }
    }
    void kill() {
        must(process_->signal(SIGKILL));
        (void)must(process_->wait(10s));
        process_.reset();
    }
    lab::Process &process() { return *process_; }

    lab::ProcessResult ask(Words words) const {
        words.insert(words.begin(), (root_ / "bin/nmcli").string());
        return must(lab::run_process(words, {.environment = environment_}));
    }
    void ok(const Words &words) const {
        const auto done = ask(words);
        INFO(done.out << done.err);
        REQUIRE(done.ok());
    }
    // A connection that leaves the addresses as they are. By the device's own name goes what NetworkManager found there.
    void connect(const std::string &device, const std::string &address, std::string_view metered) const {
        ok({"connection",
            "add",
            "type",
            "ethernet",
            "ifname",
            device,
            "con-name",
            "ours-" + device,
            "ipv4.method",
            "manual",
            "ipv4.addresses",
            address,
            "ipv4.never-default",
            "yes",
            "ipv6.method",
            "ignore",
            "connection.metered",
            std::string(metered),
            "connection.autoconnect",
            "no"});
        ok({"connection", "up", "ours-" + device});
    }

  private:
    const Rig &rig_;
    fs::path root_;
    e2e::TemporaryFolder folder_;
    Environment environment_;
    std::optional<lab::Process> process_;
};

std::string address_of(const Rig &rig, std::size_t path) {
    return rig.network().address(lab::Side::a, path, lab::Family::ipv4) + "/24";
}

std::uint32_t cost_of(const Rig &rig, const std::string &path) {
    return rig.json({"path", path})["cost"].get<std::uint32_t>();
}

Json link_of(const Rig &rig, const Service &service, const std::string &path) {
    return rig.json({"path", path}, service.environment())["link"];
}

// What a transfer puts on the two paths.
std::pair<std::uint64_t, std::uint64_t> carried(Rig &rig, const lab::Server &server, std::uint64_t bytes) {
    const auto before = must(lab::read_counters(rig.here()));
    e2e::check_clean(rig.transfer(server, {.bytes = bytes}).wait());
    const auto now = must(lab::read_counters(rig.here())) - before;
    return {now.devices.at("dsl").tx_bytes, now.devices.at("lte").tx_bytes};
}

// A bus by its address alone: accepts, says `what` (again and again, if `stream`), and reads nothing.
class WrongBus {
  public:
    explicit WrongBus(std::string what, bool stream = false) : what_(std::move(what)), stream_(stream) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        (folder_ / "socket").copy(address.sun_path, sizeof address.sun_path - 1);
        listening_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(::bind(listening_.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) == 0);
        REQUIRE(::listen(listening_.get(), 16) == 0);
        thread_ = std::jthread([this](const std::stop_token &stop) { serve(stop); });
    }
    ~WrongBus() {
        thread_.request_stop();
        ::shutdown(listening_.get(), SHUT_RDWR);
    }
    Environment environment() const {
        return {{"DBUS_SYSTEM_BUS_ADDRESS", "unix:path=" + folder_ / "socket"}};
    }
    int clients() const { return clients_; }

  private:
    void serve(const std::stop_token &stop) {
        std::vector<Fd> kept;
        while (!stop.stop_requested()) {
            Fd client(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
            if (!client)
                return;
            clients_++;
            do
                (void)!::send(client.get(), what_.data(), what_.size(), MSG_NOSIGNAL);
            while (stream_ && ::send(client.get(), "x", 1, MSG_NOSIGNAL) == 1);
            kept.push_back(std::move(client));
        }
    }

    std::string what_;
    bool stream_;
    e2e::TemporaryFolder folder_;
    Fd listening_;
    std::atomic<int> clients_ = 0;
    std::jthread thread_;
};

} // namespace

TEST_CASE(
    "what NetworkManager calls metered is as the files say, from the first moment on and when it changes",
    "[robust][metered]") {
    Rig rig;
    const Bus bus;
    Manager manager(rig, bus);
    manager.connect("lte", address_of(rig, 1), "yes");
    Service service(rig, settings, false, bus.environment());
    // Known before the files were brought into force: it was never cheap.
    CHECK(cost_of(rig, "lte") == 20);
    CHECK(cost_of(rig, "dsl") == 0);
    const Json lte = link_of(rig, service, "lte");
    CHECK(lte["type"] == "veth");
    CHECK(lte["carrier"] == true);
    CHECK(lte["metered"] == true);
    CHECK(lte["metered_by"] == "NetworkManager");
    CHECK(service.run({"status"}).out.contains("metered (NetworkManager)"));
    const auto server = e2e::serve(rig.network());
    constexpr std::uint64_t much = 3'000'000;
    const auto [on_dsl, on_lte] = carried(rig, server, much);
    INFO(on_dsl << " and " << on_lte);
    CHECK(on_dsl > much);
    CHECK(on_lte < much / 20);

    // The other way round, while it runs.
    manager.ok({"connection", "modify", "ours-lte", "connection.metered", "no"});
    manager.connect("dsl", address_of(rig, 0), "yes");
    CHECK(eventually([&] { return cost_of(rig, "dsl") == 20 && cost_of(rig, "lte") == 0; }, 20s));
    CHECK(link_of(rig, service, "lte")["metered"] == false);
    const auto [now_dsl, now_lte] = carried(rig, server, much);
    INFO(now_dsl << " and " << now_lte);
    CHECK(now_lte > 9 * much / 10);

    // By hand until the next change, as with everything.
    rig.ok({"path", "lte", "cost=7"}, service.environment());
    manager.kill();
    CHECK(eventually([&] { return service.state()["network_manager"]["state"] == "absent"; }, 20s));
    // That it is away makes nothing cheaper, nor that it comes back and has not looked at its devices yet.
    bool always = true;
    manager.launch();
    for (int i = 0; i < 20; i++)
        always &= cost_of(rig, "dsl") == 20;
    manager.wait_until_ready();
    CHECK(eventually([&] { return service.state()["network_manager"]["state"] == "answers"; }, 20s));
    CHECK(always);
    CHECK(cost_of(rig, "dsl") == 20);
    CHECK(cost_of(rig, "lte") == 7);
    const std::string said = service.end();
    CHECK(said.contains("lte is metered: NetworkManager says so"));
    CHECK(said.contains("lte is not metered: NetworkManager says so"));
    rig.ok({"detach", "--all"});
}

TEST_CASE("NetworkManager's words are for its own interfaces, not for others of the same name",
          "[robust][metered]") {
    Rig rig, other;
    const Bus bus;
    const Manager manager(rig, bus);
    manager.connect("lte", address_of(rig, 1), "yes");
    Service service(other, settings, false, bus.environment());
    CHECK(eventually([&] { return service.state().contains("network_manager"); }, 20s));
    CHECK(service.state()["network_manager"]["state"] == "answers");
    CHECK(service.state()["network_manager"]["metered"].empty());
    CHECK(cost_of(other, "lte") == 0);
    CHECK(link_of(other, service, "lte")["metered"].is_null());
    service.end();
    other.ok({"detach", "--all"});
}

TEST_CASE("a bus that never answers, or talks nonsense, holds up nothing", "[robust][metered]") {
    struct Wrong {
        WrongBus bus;
        std::string state; // that is told
        Rig rig{};
        Clock::time_point begun = Clock::now();
        Service service{rig, settings, false, bus.environment()};
    };
    // At once, since each is silent for as long as an answer may take.
    Wrong all[] = {{.bus = WrongBus(""), .state = "silent"},
                   {.bus = WrongBus("OK 00000000000000000000000000000000\r\n"), .state = "silent"},
                   {.bus = WrongBus("nonsense\r\n", true), .state = ""}};
    for (Wrong &one : all) {
        CHECK(one.service.state_of("interface lte") == "in force");
        CHECK(one.bus.clients() > 0);
        CHECK(cost_of(one.rig, "lte") == 0);
        // It goes on as ever.
        one.service.write(std::string(settings) + "[[interface]]\nname = \"lte\"\nweight = 3\n");
        CHECK(one.service.run({"reload"}).exit_code == 0);
        CHECK(one.rig.json({"path", "lte"})["weight"] == 3);
    }
    for (Wrong &one : all) {
        INFO("expected: " << one.state);
        CHECK(eventually(
            [&] {
                return one.service.state().value("network_manager", Json::object()).value("state", "") ==
                       one.state;
            },
            20s));
        CHECK(one.service.run({"status"}).out.contains("NetworkManager does not answer") ==
              !one.state.empty());
        // It is asked again.
        CHECK(eventually([&] { return one.bus.clients() > 1; }, 20s));
        one.service.end();
        one.rig.ok({"detach", "--all"});
    }
}

TEST_CASE("a bus that stops in the middle is told, and asked again when it goes on", "[robust][metered]") {
    Rig rig;
    Bus bus;
    const Manager manager(rig, bus);
    manager.connect("lte", address_of(rig, 1), "yes");
    Service service(rig, settings, false, bus.environment());
    REQUIRE(cost_of(rig, "lte") == 20);
    must(bus.process().signal(SIGKILL));
    CHECK(eventually(
        [&] {
            return service.state().value("network_manager", Json::object()).value("state", "") == "no bus";
        },
        20s));
    CHECK(cost_of(rig, "lte") == 20);
    CHECK(service.run({"reload"}).exit_code == 0);
    CHECK(cost_of(rig, "lte") == 20);
    service.end();
    rig.ok({"detach", "--all"});
}
