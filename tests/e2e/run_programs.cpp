// SPDX-License-Identifier: MIT
//
// `mpsched run` with programs as Debian has them: what the host at the other end counts of MPTCP's handshakes while they talk to each other.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <thread>

#include <sys/stat.h>

#include <fmt/format.h>
#include <mpsched/lab/counters.hpp>

#include "traffic.hpp"

using namespace mps;
using namespace mps::lab;
using mps::e2e::must;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

Words under_run(const Words &command) {
    Words words{e2e::Cli::default_binary(), "run", "--quiet", "--"};
    words.insert(words.end(), command.begin(), command.end());
    return words;
}

/// A Debian package that is unpacked, since installing it would start it.
std::string unpacked(const std::string &package) {
    const auto folder =
        must(run_process({MPS_SOURCE_DIR "/tests/fetch-program", package}, {.timeout = 300s}));
    INFO(folder.err);
    REQUIRE(folder.exit_code == 0);
    return folder.out.substr(0, folder.out.find('\n'));
}

/// For programs that need these libraries beside what is installed.
std::pair<std::string, std::string> with_libraries(const Words &packages) {
    std::string all;
    for (const std::string &package : packages)
        for (const auto &entry : fs::directory_iterator(unpacked(package) + "/usr/lib"))
            all += (all.empty() ? "" : ":") + entry.path().string();
    return {"LD_LIBRARY_PATH", all};
}

bool listens(const Namespace &ns, std::uint16_t port) {
    const auto listed = must(ns.spawn({"cat", "/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"}));
    std::istringstream lines(listed.out);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string number, local, remote, state;
        words >> number >> local >> remote >> state;
        if (state == "0A" && local.ends_with(fmt::format(":{:04X}", port)))
            return true;
    }
    return false;
}

/// Two hosts with two paths; what runs on either runs under `mpsched run`.
struct Scene {
    Network network = must(Network::create({.paths = {{.name = "dsl"}, {.name = "lte"}}}));
    e2e::TemporaryFolder folder;

    Scene() { REQUIRE(::chmod(folder.path().c_str(), 0755) == 0); }

    std::string address() const { return network.server_address(); }

    void write(const std::string &name, const std::string &text) const {
        std::ofstream(folder / name) << text;
    }

    Process serve(const Words &command, std::uint16_t port, ProcessOptions options = {}) const {
        options.netns_fd = network.b().fd();
        auto process = must(Process::start(under_run(command), options));
        const bool ready =
            e2e::wait_until([&] { return !process.running() || listens(network.b(), port); }, 30s) >= 0;
        if (!ready || !process.running()) {
            std::ignore = process.signal(SIGKILL);
            FAIL("no server: " << must(process.wait(5s)).err);
        }
        return process;
    }

    ProcessResult client(const Words &command, ProcessOptions options = {}) const {
        options.netns_fd = network.a().fd();
        return must(run_process(under_run(command), options));
    }

    static void stop(Process &server) {
        must(server.signal(SIGTERM));
        std::ignore = must(server.wait(20s));
    }
};

/// What the server's host has counted from when this was made.
class Handshakes {
  public:
    explicit Handshakes(const Scene &scene) : ns_(scene.network.b()), before_(must(read_counters(ns_))) {}

    void check(std::int64_t least, std::int64_t most) const {
        const auto seen = must(read_counters(ns_)) - before_;
        CHECK(must(seen.get("MPTcpExtMPCapableSYNRX")) >= least);
        CHECK(must(seen.get("MPTcpExtMPCapableACKRX")) >= least);
        CHECK(must(seen.get("MPTcpExtMPCapableACKRX")) <= most);
        CHECK(must(seen.get("MPTcpExtMPCapableFallbackACK")) == 0);
    }

  private:
    const Namespace &ns_;
    Counters before_;
};

/// nginx on port 8080, with two workers of another user, and the file "page" to be had.
Process nginx(const Scene &scene, const std::string &page) {
    scene.write("page", page);
    const std::string &folder = scene.folder.path();
    std::string temporary;
    for (const char *kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"})
        temporary += fmt::format("{}_temp_path {}/{};\n", kind, folder, kind);
    scene.write(
        "nginx.conf",
        fmt::format(
            "daemon off; worker_processes 2; user nobody nogroup; pid {0}/pid; error_log {0}/errors;\n"
            "events {{}}\nhttp {{ access_log off; default_type text/html; {1}"
            "server {{ listen {2}:8080; root {0}; }} }}\n",
            folder, temporary, scene.address()));
    return scene.serve({unpacked("nginx") + "/usr/sbin/nginx", "-e", folder + "/errors", "-p", folder, "-c",
                        folder + "/nginx.conf"},
                       8080);
}

} // namespace

TEST_CASE("curl and nginx speak MPTCP under run, and TCP without") {
    const Scene scene;
    const std::string page(300'000, 'p');
    auto server = nginx(scene, page);
    const std::string url = fmt::format("http://{}:8080/page", scene.address());
    {
        const Handshakes seen(scene);
        for (int i = 0; i < 3; i++) {
            const auto got = scene.client({"curl", "--silent", "--show-error", "--max-time", "20", url});
            INFO(got.err);
            CHECK(got.exit_code == 0);
            CHECK(got.out == page);
        }
        seen.check(3, 3);
    }
    const Handshakes seen(scene);
    const auto plain = must(run_process({"curl", "--silent", url}, {.netns_fd = scene.network.a().fd()}));
    CHECK(plain.out == page);
    seen.check(0, 0);
    scene.stop(server);
}

TEST_CASE("iperf3 measures over MPTCP under run") {
    const Scene scene;
    const ProcessOptions options{.environment = {with_libraries({"libiperf0", "libsctp1"})}, .timeout = 60s};
    const std::string iperf3 = unpacked("iperf3") + "/usr/bin/iperf3";
    auto server = scene.serve({iperf3, "-s", "-1", "-p", "5202"}, 5202, options);
    const Handshakes seen(scene);
    // A connection to talk about it, and one in each direction.
    const auto measured =
        scene.client({iperf3, "-c", scene.address(), "-p", "5202", "-n", "2M", "--bidir", "--json"}, options);
    INFO(measured.out << measured.err);
    CHECK(measured.exit_code == 0);
    seen.check(3, 3);
    std::ignore = must(server.wait(20s));
}

TEST_CASE("ssh and sshd speak MPTCP under run") {
    const Scene scene;
    const std::string &folder = scene.folder.path();
    for (const char *key : {"host", "user"})
        REQUIRE(must(run_process({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder + "/" + key}))
                    .ok());
    scene.write(
        "sshd.conf",
        fmt::format("Port 2222\nListenAddress {1}\nHostKey {0}/host\nAuthorizedKeysFile {0}/user.pub\n"
                    "StrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\n",
                    folder, scene.address()));
    // It wants a user and a folder of its own, which only its package makes: here nobody else sees them.
    const std::string script = fmt::format(
        "mount -t tmpfs none /run && mkdir -p /run/sshd && cp /etc/passwd {0}/passwd && "
        "echo 'sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin' >>{0}/passwd && mount --bind {0}/passwd /etc/passwd && "
        "exec {1}/usr/sbin/sshd -D -e -f {0}/sshd.conf",
        folder, unpacked("openssh-server"));
    auto server = scene.serve({"unshare", "--mount", "sh", "-c", script}, 2222,
                              {.environment = {with_libraries({"libwrap0"})}});
    const Handshakes seen(scene);
    const auto said =
        scene.client({"ssh", "-F", "none", "-i", folder + "/user", "-o", "StrictHostKeyChecking=no", "-o",
                      "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-p", "2222",
                      "root@" + scene.address(), "head -c 200000 /dev/zero | wc -c"},
                     {.timeout = 60s});
    INFO(said.err);
    CHECK(said.exit_code == 0);
    CHECK(said.out == "200000\n");
    seen.check(1, 1);
    scene.stop(server);
}

TEST_CASE("a server and a client in Go speak MPTCP under run") {
    const Scene scene;
    const std::string url = fmt::format("http://{}:2379", scene.address());
    auto server = scene.serve({unpacked("etcd-server") + "/usr/bin/etcd", "--data-dir", scene.folder / "data",
                               "--listen-client-urls", url, "--advertise-client-urls", url,
                               "--listen-peer-urls", "http://127.0.0.1:2380"},
                              2379);
    const Handshakes seen(scene);
    const std::string etcdctl = unpacked("etcd-client") + "/usr/bin/etcdctl";
    const ProcessOptions options{.environment = {{"ETCDCTL_API", "3"}}, .timeout = 60s};
    // It may not be ready for the first.
    CHECK(
        e2e::wait_until(
            [&] { return scene.client({etcdctl, "--endpoints", url, "put", "some", "thing"}, options).ok(); },
            60s) >= 0);
    CHECK(e2e::wait_until(
              [&] {
                  return scene.client({etcdctl, "--endpoints", url, "get", "some"}, options).out ==
                         "some\nthing\n";
              },
              60s) >= 0);
    seen.check(2, 1000);
    scene.stop(server);
}

TEST_CASE("Chromium fetches a page over MPTCP under run") {
    if (!fs::exists("/usr/bin/chromium"))
        mps::test::skip("there is no chromium here");
    const Scene scene;
    auto server =
        nginx(scene, "<html><body><p id=\"told\">over " + std::string(50'000, 'm') + "</p></body></html>");
    const Handshakes seen(scene);
    const auto shown = scene.client(
        {"/usr/bin/chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--no-first-run", "--disable-background-networking", "--user-data-dir=" + (scene.folder / "profile"),
         "--dump-dom", fmt::format("http://{}:8080/page", scene.address())},
        {.timeout = 120s});
    INFO(shown.err);
    CHECK(shown.out.contains("id=\"told\">over mmm"));
    // The page, and an icon or a connection in advance.
    seen.check(1, 10);
    scene.stop(server);
}
