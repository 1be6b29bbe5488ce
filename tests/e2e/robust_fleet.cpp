// SPDX-License-Identifier: MIT
//
// Many hosts that get their settings by the same means: etcd itself, a store that lies, Ansible.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "robust_rig.hpp"
#include "service/store/watcher.hpp"

using namespace mps::robust;
using namespace mps;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

constexpr const char *key = "mpsched/branch";

std::string settings(std::string_view policy) {
    return fmt::format("version = 1\n[default]\npolicy = \"{}\"\n[[interface]]\nname = [\"dsl\", \"lte\"]\n",
                       policy);
}

// Free a moment ago.
std::uint16_t free_port() {
    const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr *>(&address), length) == 0);
    REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr *>(&address), &length) == 0);
    return ntohs(address.sin_port);
}

class Etcd {
  public:
    explicit Etcd(bool tls = false)
        : client_(unpacked_program("etcd-client", "etcdctl")), scheme_(tls ? "https" : "http") {
        const std::string url = fmt::format("{}://127.0.0.1:{}", scheme_, port_);
        const std::string peer = fmt::format("http://127.0.0.1:{}", free_port());
        Words words{unpacked_program("etcd-server", "etcd"),
                    "--data-dir",
                    folder_ / "data",
                    "--listen-client-urls",
                    url,
                    "--advertise-client-urls",
                    url,
                    "--listen-peer-urls",
                    peer,
                    "--initial-advertise-peer-urls",
                    peer,
                    "--initial-cluster",
                    "default=" + peer};
        if (tls)
            words.push_back("--auto-tls");
        process_.emplace(must(lab::Process::start(words)));
        REQUIRE(eventually([&] { return ask({"endpoint", "health"}).ok(); }, 20s));
    }

    std::string address() const { return fmt::format("etcd:{}://127.0.0.1:{}/{}", scheme_, port_, key); }
    std::string certificate() const { return folder_ / "data/fixtures/client/cert.pem"; }
    lab::ProcessResult ask(const Words &words, const std::string &input = "") const {
        Words all{client_, "--endpoints", fmt::format("{}://127.0.0.1:{}", scheme_, port_)};
        if (scheme_ == "https")
            all.insert(all.end(), {"--cacert", certificate()});
        if (!user_.empty())
            all.insert(all.end(), {"--user", user_});
        all.insert(all.end(), words.begin(), words.end());
        return must(lab::run_process(all, {.input = input, .environment = {{"ETCDCTL_API", "3"}}}));
    }
    void put(const std::string &value) const {
        const auto done = ask({"put", key}, value);
        INFO(done.err);
        REQUIRE(done.ok());
    }
    Json report(const std::string &node) const {
        const auto got = ask({"get", "--print-value-only", fmt::format("{}/nodes/{}", key, node)});
        return Json::parse(got.out, nullptr, false);
    }
    void log_in(std::string user) { user_ = std::move(user); }
    void kill() { process_.reset(); }

  private:
    std::string client_, scheme_, user_;
    std::uint16_t port_ = free_port();
    e2e::TemporaryFolder folder_;
    std::optional<lab::Process> process_;
};

// A host with an mpschedd; `watch`: the options by which it follows a store, without them it has a file from the beginning.
class Member {
  public:
    Member(Rig &rig, lab::Side side, std::string name, Words watch)
        : rig_(rig), side_(side), name_(std::move(name)), watch_(std::move(watch)) {
        fs::create_directory(folder_ / "etc");
        if (watch_.empty())
            std::ofstream(file()) << settings("auto");
        start();
    }

    void start() {
        rig_.side = side_;
        Words words{(fs::path(e2e::Cli::default_binary()).parent_path() / "mpschedd").string(), "--netns",
                    rig_.here().name(), "--state", folder_ / "state"};
        if (!watch_.empty())
            words.insert(words.end(), {"--watch-as", name_});
        words.insert(words.end(), watch_.begin(), watch_.end());
        process_.emplace(must(lab::Process::start(words, {.environment = environment()})));
        REQUIRE(eventually([&] { return state().contains("revision"); }, 10s));
    }
    std::string file() const { return folder_ / "etc/mpsched.toml"; }
    Json status() const {
        rig_.side = side_;
        return rig_.json({"status"}, environment());
    }
    Json state() const { return status().value("service", Json::object()); }
    Json store() const { return state().value("store", Json::object()); }
    bool has(const std::string &policy) const {
        return eventually([&] { return status()["default_policy"] == policy; }, 10s);
    }
    Environment environment() const {
        return rig_.environment({{"MPS_RUN_DIR", folder_ / "run"}, {"MPS_CONFIG", file()}});
    }
    lab::Process &process() { return *process_; }
    // The service goes on without it; what is attached stays.
    std::string end() {
        must(process_->signal(SIGTERM));
        const auto result = must(process_->wait(10s));
        CHECK(result.exit_code == 0);
        return result.err;
    }
    void detach() {
        rig_.side = side_;
        rig_.ok({"detach", "--all"});
    }

  private:
    Rig &rig_;
    lab::Side side_;
    std::string name_;
    Words watch_;
    e2e::TemporaryFolder folder_;
    std::optional<lab::Process> process_;
};

pid_t child_of(pid_t parent) {
    std::ifstream file(fmt::format("/proc/{0}/task/{0}/children", parent));
    pid_t child = 0;
    file >> child;
    return child;
}

} // namespace

TEST_CASE(
    "hosts that follow a key of etcd have what it holds, all refuse what is wrong, and go on without the store",
    "[robust][fleet]") {
    Etcd etcd;
    Rig rig;
    Member one(rig, lab::Side::a, "one", {"--watch", etcd.address()});
    Member two(rig, lab::Side::b, "two", {"--watch", etcd.address()});
    CHECK_FALSE(fs::exists(one.file()));
    etcd.put(settings("weighted"));
    CHECK(one.has("weighted"));
    CHECK(two.has("weighted"));
    const std::int64_t revision = one.store()["revision"];
    for (const char *node : {"one", "two"})
        CHECK(eventually([&] {
            const Json report = etcd.report(node);
            return report.is_object() && report["store_revision"] == revision && report["result"] == "taken";
        }));

    etcd.put("version = 1\n[default]\npolicy = \"wweighted\"\n");
    for (const char *node : {"one", "two"}) {
        CHECK(eventually([&] { return etcd.report(node).value("result", "") == "refused"; }, 15s));
        CHECK(etcd.report(node)["error"]["what"].get<std::string>().contains("mpsched.toml:3:10: "));
    }
    CHECK(one.store()["refused"]["hint"].get<std::string>().contains("weighted"));
    CHECK(one.status()["default_policy"] == "weighted");
    etcd.ask({"del", key});
    CHECK(eventually([&] { return two.store().value("doubt", "").contains("no key"); }));
    CHECK(two.status()["default_policy"] == "weighted");

    // The process that talks to the store has no rights, and another one takes its place.
    const pid_t child = child_of(one.process().pid());
    REQUIRE(child > 0);
    std::ifstream rights(fmt::format("/proc/{}/status", child));
    std::string effective;
    for (std::string line; std::getline(rights, line);)
        if (line.starts_with("CapEff:") || line.starts_with("CapPrm:"))
            effective += line.substr(8);
    CHECK(effective == "00000000000000000000000000000000");
    REQUIRE(::kill(child, SIGKILL) == 0);
    etcd.put(settings("ecf"));
    CHECK(two.has("ecf"));
    CHECK(eventually([&] { return one.status()["default_policy"] == "ecf"; }, 20s));

    etcd.kill();
    CHECK(eventually([&] { return one.store()["reached"] == false; }));
    CHECK(one.status()["default_policy"] == "ecf");
    // As after a reboot without a store.
    one.end();
    one.detach();
    one.start();
    CHECK(one.has("ecf"));
    one.end();
    one.detach();
    two.end();
    two.detach();
}

TEST_CASE("a store with TLS and users is followed by who may, and by nobody else", "[robust][fleet]") {
    Etcd etcd(true);
    etcd.put(settings("overflow"));
    for (const Words &words :
         std::initializer_list<Words>{{"user", "add", "root:secret"},
                                      {"role", "add", "branch"},
                                      {"role", "grant-permission", "branch", "read", key},
                                      {"role", "grant-permission", "branch", "readwrite",
                                       fmt::format("{}/nodes/", key), "--prefix=true"},
                                      {"user", "add", "gateway:pass"},
                                      {"user", "grant-role", "gateway", "branch"},
                                      {"auth", "enable"}}) {
        const auto done = etcd.ask(words);
        INFO(done.out << done.err);
        REQUIRE(done.ok());
    }
    etcd.log_in("root:secret");
    const e2e::TemporaryFolder folder;
    const auto login = [&](const char *name, std::string_view text) {
        std::ofstream(folder / name) << text;
        REQUIRE(::chmod((folder / name).c_str(), 0600) == 0);
        return folder / name;
    };
    Rig rig;
    Member good(rig, lab::Side::a, "good",
                {"--watch", etcd.address(), "--watch-ca", etcd.certificate(), "--watch-login",
                 login("good", "gateway:pass\n")});
    CHECK(good.has("overflow"));
    CHECK(eventually([&] { return etcd.report("good").value("result", "") == "taken"; }));
    {
        Member wrong(rig, lab::Side::b, "wrong",
                     {"--watch", etcd.address(), "--watch-ca", etcd.certificate(), "--watch-login",
                      login("wrong", "gateway:guess\n")});
        CHECK(eventually([&] { return wrong.store().value("error", "").contains("authentication failed"); }));
        CHECK_FALSE(fs::exists(wrong.file()));
        wrong.end();
    }
    // Whose certificate nobody vouched for.
    Member doubts(rig, lab::Side::b, "doubts", {"--watch", etcd.address()});
    CHECK(eventually([&] { return doubts.store().value("error", "").contains("certificate"); }));
    doubts.end();
    good.end();
    good.detach();
}

TEST_CASE("a store that lies, hangs, never ends or goes back changes nothing", "[robust][fleet]") {
    const e2e::TemporaryFolder folder;
    const auto plan = [&](std::string_view way, int revision, const std::string &contents) {
        std::ofstream(folder / "next") << way << '\n' << revision << '\n' << contents;
        fs::rename(folder / "next", folder / "plan");
    };
    plan("value", 9, settings("weighted"));
    const std::uint16_t port = free_port();
    lab::Process store =
        must(lab::Process::start({"python3", std::string(MPS_SOURCE_DIR) + "/tests/e2e/hostile_store.py",
                                  fmt::format("{}", port), folder / "plan"}));
    Rig rig;
    Member member(rig, lab::Side::a, "one",
                  {"--watch", fmt::format("etcd:http://127.0.0.1:{}/{}", port, key)});
    CHECK(member.has("weighted"));
    // Begun anew each time, so that nothing is waited for; what it knows of the store outlives that.
    const auto says = [&](const char *member_name, std::string_view word) {
        INFO(word << ": " << member.state());
        CHECK(eventually([&] { return member.store().value(member_name, "").contains(word); }, 15s));
        CHECK(member.status()["default_policy"] == "weighted");
        member.end();
    };
    // Its watch ends at once, each time.
    says("error", "ends the watch at once");
    plan("html", 10, "");
    member.start();
    says("error", "no answer");
    plan("value", 8, settings("ecf"));
    member.start();
    says("doubt", "went back from revision 9 to 8");
    plan("endless", 10, "");
    member.start();
    says("error", "larger than any file");
    member.start();
    plan("hang", 11, "");
    // It does not wait for it: commands are answered.
    ::usleep(500'000);
    const auto clock = std::chrono::steady_clock::now();
    (void)member.state();
    CHECK(std::chrono::steady_clock::now() - clock < 5s);
    member.end();
    member.detach();
}

TEST_CASE("Ansible brings settings to one host after the other, and takes them back where it goes wrong",
          "[robust][fleet]") {
    Rig rig;
    const e2e::TemporaryFolder folder;
    std::vector<std::unique_ptr<Member>> hosts;
    std::string inventory = "[mpsched]\n";
    for (const auto &[side, name] : {std::pair(lab::Side::a, "one"), std::pair(lab::Side::b, "two")}) {
        hosts.push_back(std::make_unique<Member>(rig, side, name, Words{}));
        std::string environment;
        for (const auto &[variable, value] : hosts.back()->environment())
            environment += fmt::format("\"{}={}\", ", variable, value);
        inventory += fmt::format("{} ansible_connection=local mpsched_config={} "
                                 "mpsched_command='[\"env\", {}\"{}\", \"--netns\", \"{}\"]'\n",
                                 name, hosts.back()->file(), environment, e2e::Cli::default_binary(),
                                 rig.here().name());
    }
    std::ofstream(folder / "hosts") << inventory;
    const auto roll_out = [&](std::string_view text, const std::string &gate) {
        std::ofstream(folder / "new.toml") << text;
        return must(
            lab::run_process({"ansible-playbook", "-i", folder / "hosts",
                              std::string(MPS_SOURCE_DIR) + "/packaging/ansible/rollout.yml", "-e",
                              "mpsched_source=" + (folder / "new.toml"), "-e", "mpsched_gate_seconds=0", "-e",
                              fmt::format(R"({{"mpsched_gate_command": ["{}"]}})", gate)},
                             {.environment = {{"ANSIBLE_HOME", folder / "ansible"},
                                              {"ANSIBLE_LOCAL_TEMP", folder / "tmp"},
                                              {"ANSIBLE_REMOTE_TEMP", folder / "remote"}},
                              .timeout = 120s}));
    };
    const auto right = roll_out(settings("weighted"), "true");
    INFO(right.out << right.err);
    CHECK(right.ok());
    CHECK(hosts[0]->has("weighted"));
    CHECK(hosts[1]->has("weighted"));

    const auto harmful = roll_out(settings("ecf"), "false");
    CHECK_FALSE(harmful.ok());
    CHECK(harmful.out.contains("the host has its former settings again"));
    // The first one had it for a moment, the second one never.
    CHECK(harmful.out.contains("rescued=1"));
    CHECK_FALSE(harmful.out.contains("[two]"));
    CHECK(hosts[0]->has("weighted"));
    CHECK(hosts[1]->has("weighted"));

    const auto wrong = roll_out("version = 1\n[default]\npolicy = \"wweighted\"\n", "true");
    CHECK_FALSE(wrong.ok());
    CHECK(wrong.out.contains("no policy 'wweighted'"));
    CHECK(hosts[0]->has("weighted"));
    for (const auto &host : hosts) {
        host->end();
        host->detach();
    }
}

// MPS_TEST_WATCHERS=1000: 4 GB and some minutes.
TEST_CASE("as many watchers as there are gateways follow a revision within 10 s", "[robust][fleet]") {
    const char *wanted = std::getenv("MPS_TEST_WATCHERS");
    const int count = wanted ? std::atoi(wanted) : 50;
    using namespace service::store;
    Etcd etcd;
    etcd.put(settings("weighted"));
    const auto address = parse_address(etcd.address());
    REQUIRE(address);
    std::vector<Watcher> watchers;
    for (int i = 0; i < count; i++) {
        auto started = Watcher::start({.address = *address, .node = fmt::format("gw{}", i)});
        REQUIRE(started);
        watchers.push_back(std::move(*started));
    }
    // Each has it, or says why not.
    const auto all_have = [&](const std::string &contents, std::chrono::seconds patience) {
        std::vector<bool> have(watchers.size());
        return eventually(
            [&] {
                for (std::size_t i = 0; i < watchers.size(); i++) {
                    const auto messages = watchers[i].receive();
                    REQUIRE(messages);
                    for (const Message &message : *messages)
                        if (message.value && message.value->contents == contents) {
                            have[i] = true;
                            watchers[i].report(R"({"result": "taken"})");
                        }
                }
                return std::ranges::all_of(have, std::identity());
            },
            patience);
    };
    CHECK(all_have(settings("weighted"), 120s));
    const auto clock = std::chrono::steady_clock::now();
    etcd.put(settings("ecf"));
    CHECK(all_have(settings("ecf"), 60s));
    const auto took = std::chrono::steady_clock::now() - clock;
    e2e::report(fmt::format("{} watchers have a revision after {} ms", count,
                            std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));
    CHECK(took < 10s);
    CHECK(eventually(
        [&] {
            const auto reports =
                etcd.ask({"get", "--prefix", "--print-value-only", fmt::format("{}/nodes/", key)});
            return std::ranges::count(reports.out, '{') == count;
        },
        60s));
}
