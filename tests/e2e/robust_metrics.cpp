// SPDX-License-Identifier: MIT
//
// What mpschedd serves to Prometheus: held against the kernel's own counters, and read by the real Prometheus.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <regex>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "app_sockets.hpp"
#include "service_run.hpp"
#include "temporary_folder.hpp"

using namespace mps::robust;
using namespace mps;

namespace {

constexpr std::uint16_t port = 9464;

std::string with_metrics(std::string_view more = "", std::uint16_t at = port) {
    return fmt::format(
        "version = 1\n[default]\npolicy = \"weighted\"\n[[interface]]\nname = [\"dsl\", \"lte\"]\n"
        "[metrics]\nlisten = \"127.0.0.1:{}\"\n{}",
        at, more);
}

Series scrape(const Rig &rig, std::uint16_t at = port) {
    return series_of(http_get(rig.here(), at, "/metrics").body);
}

std::string sent_on(const std::string &path) {
    return fmt::format("mpsched_path_bytes_total{{interface=\"{}\",direction=\"sent\"}}", path);
}

std::set<std::string> names_of(const Series &series) {
    std::set<std::string> all;
    for (const auto &[name, value] : series)
        all.insert(name);
    return all;
}

// A client that says nothing, or the half of it.
Fd silent_client(const Rig &rig, std::string_view says) {
    Fd socket = connect_inside(rig.here(), port);
    REQUIRE(socket);
    REQUIRE(::send(socket.get(), says.data(), says.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(says.size()));
    return socket;
}

} // namespace

TEST_CASE(
    "metrics have the bytes that the kernel's devices have carried, and as many series for 61 connections as for one",
    "[robust][metrics]") {
    Rig rig(two_paths(50));
    Service service(rig, with_metrics(), true);
    REQUIRE(eventually([&] { return scrape(rig).contains(sent_on("lte")); }, 20s));
    CHECK(scrape(rig)[sent_on("lte")] == 0);
    const auto devices_before = must(lab::read_counters(rig.here()));
    const auto server = e2e::serve(rig.network());
    constexpr std::uint32_t much = 4'000'000;
    // It is silent after its one request, so what the counters say is final before it ends.
    auto transfer = rig.transfer(
        server,
        {.direction = lab::Direction::requests, .request_bytes = much, .requests = 1, .think_time = 5s});
    Series now;
    const auto sum = [&] { return now[sent_on("dsl")] + now[sent_on("lte")]; };
    CHECK(eventually([&] { return (now = scrape(rig), sum()) >= much; }, 20s));
    const auto devices = must(lab::read_counters(rig.here())) - devices_before;
    for (const char *path : {"dsl", "lte"}) {
        INFO(path << ": " << now[sent_on(path)] << " of " << devices.devices.at(path).tx_bytes);
        const auto on_wire = static_cast<double>(devices.devices.at(path).tx_bytes);
        CHECK(now[sent_on(path)] < on_wire);
        // Headers are 6 %; what was sent twice is on the wire only.
        CHECK(now[sent_on(path)] > 0.8 * on_wire);
    }
    CHECK(now["mpsched_connections{policy=\"weighted\"}"] == 1);
    CHECK(now["mpsched_policy_info{direction=\"tx\",policy=\"weighted\"}"] == 1);
    CHECK(now["mpsched_datapath_decided_total"] > 0);
    CHECK(now[fmt::format("mpsched_config_info{{revision=\"{}\"}}",
                          service.state()["revision"].get<std::string>())] == 1);

    const auto names = names_of(now);
    auto many = rig.transfer(
        server, {.direction = lab::Direction::requests, .connections = 60, .requests = 1, .think_time = 4s});
    CHECK(eventually([&] { return (now = scrape(rig))["mpsched_connections{policy=\"weighted\"}"] >= 60; },
                     20s));
    // By the verdicts and reasons there are, and nothing else.
    std::set<std::string> more = names_of(now);
    std::erase_if(more, [&](const std::string &name) {
        return names.contains(name) || name.starts_with("mpsched_subflows{");
    });
    CHECK(more == std::set<std::string>{});
    e2e::check_clean(transfer.wait());
    e2e::check_clean(many.wait());
    service.end();
    rig.ok({"detach", "--all"});
}

TEST_CASE("connections that begin and end between two looks are in the bytes of their paths",
          "[robust][metrics]") {
    Rig rig;
    Service service(rig, with_metrics(), true);
    REQUIRE(eventually([&] { return scrape(rig).contains(sent_on("lte")); }, 20s));
    const auto devices_before = must(lab::read_counters(rig.here()));
    const e2e::Listener listener(rig.network());
    constexpr std::size_t octets = 200'000, connections = 20;
    const std::vector<char> all(octets, 'm');
    for (std::size_t i = 0; i < connections; i++) {
        // Each lives for some milliseconds.
        const Fd client = e2e::make_socket(rig.here(), IPPROTO_MPTCP);
        const sockaddr_in address = listener.address();
        REQUIRE(::connect(client.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) == 0);
        const Fd accepted(::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
        std::thread reader([&] {
            std::vector<char> room(octets);
            while (::recv(accepted.get(), room.data(), room.size(), 0) > 0)
                ;
        });
        std::size_t sent = 0;
        for (ssize_t some = 1; some > 0 && sent < octets;
             sent += static_cast<std::size_t>(std::max<ssize_t>(some, 0)))
            some = ::send(client.get(), all.data() + sent, octets - sent, MSG_NOSIGNAL);
        ::shutdown(client.get(), SHUT_WR);
        reader.join();
        CHECK(sent == octets);
    }
    Series now;
    const auto sum = [&] { return now[sent_on("dsl")] + now[sent_on("lte")]; };
    CHECK(eventually([&] { return (now = scrape(rig), sum()) >= octets * connections; }, 20s));
    const auto devices = must(lab::read_counters(rig.here())) - devices_before;
    const auto on_wire =
        static_cast<double>(devices.devices.at("dsl").tx_bytes + devices.devices.at("lte").tx_bytes);
    INFO(sum() << " of " << on_wire);
    CHECK(sum() < on_wire);
    service.end();
    rig.ok({"detach", "--all"});
}

TEST_CASE(
    "a reload moves the metrics, a port that is taken is told and tried again, and silent clients hold up nobody",
    "[robust][metrics]") {
    Rig rig;
    Service service(rig, with_metrics(), true);
    CHECK(service.state_of("metrics 127.0.0.1:9464") == "in force");
    REQUIRE(http_get(rig.here(), port, "/metrics").status == 200);
    CHECK(http_get(rig.here(), port, "/").status == 404);
    CHECK(http_exchange(rig.here(), port, "POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 405);
    // A page whose name was made to lead here.
    CHECK(http_exchange(rig.here(), port, "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n").status ==
          421);

    std::vector<Fd> clients;
    for (int i = 0; i < 20; i++)
        clients.push_back(silent_client(rig, i % 2 ? "" : "GET /metrics HTTP/1.1\r\nHost: loc"));
    CHECK(http_get(rig.here(), port, "/metrics").status == 200);
    CHECK(service.run({"reload"}).exit_code == 0);
    // More than it has room for: these wait until the first are let go.
    for (int i = 0; i < 60; i++)
        clients.push_back(silent_client(rig, "GET"));
    CHECK(service.run({"reload"}).exit_code == 0);
    CHECK(eventually([&] { return http_get(rig.here(), port, "/metrics").status == 200; }, 20s));

    // One that does not stop sending, whatever it is told.
    const Fd flood = silent_client(rig, "GET / HTTP/1.1\r\n");
    std::thread sending([&] {
        const std::string lines(100'000, 'x');
        while (::send(flood.get(), lines.data(), lines.size(), MSG_NOSIGNAL) > 0)
            continue;
    });
    for (int i = 0; i < 5; i++)
        CHECK(http_get(rig.here(), port, "/metrics").status == 200);
    sending.join();

    // Somebody else has the port.
    std::optional<Fd> other = must(rig.here().run([&] {
        Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_port = htons(9999);
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr *>(&at), sizeof at) == 0);
        REQUIRE(::listen(socket.get(), 1) == 0);
        return socket;
    }));
    service.write(with_metrics("", 9999));
    const auto reloaded = service.run({"reload"});
    CHECK(reloaded.exit_code == 1);
    CHECK((reloaded.out + reloaded.err).contains("listening at 127.0.0.1:9999"));
    CHECK(http_get(rig.here(), port, "/metrics").status == 0);
    const Json state = service.state();
    const auto object = std::ranges::find_if(
        state["objects"], [](const Json &one) { return one["object"] == "metrics 127.0.0.1:9999"; });
    REQUIRE(object != state["objects"].end());
    CHECK((*object)["state"] == "failed");
    CHECK((*object)["why"].get<std::string>().contains("EADDRINUSE"));
    CHECK((*object)["retry_in_s"].get<int>() <= 60);
    CHECK(service.state_of("interface lte") == "in force");
    other.reset();
    CHECK(eventually([&] { return service.state_of("metrics 127.0.0.1:9999") == "in force"; }, 30s));
    CHECK(scrape(rig, 9999)["mpsched_installed"] == 1);

    // A file with nothing but this leaves all else as it is.
    service.write("version = 1\n[metrics]\nlisten = \"127.0.0.1:9999\"\n");
    CHECK(service.run({"reload"}).exit_code == 0);
    CHECK(http_get(rig.here(), 9999, "/metrics").status == 200);
    CHECK_FALSE(our_programs(rig.here(), "lte").empty());
    CHECK(rig.status()["default_policy"] == "weighted");
    service.write("version = 1\n");
    CHECK(service.run({"reload"}).exit_code == 0);
    CHECK(http_get(rig.here(), 9999, "/metrics").status == 0);
    CHECK(service.end().contains("metrics: at 127.0.0.1:9999"));
    rig.ok({"detach", "--all"});
}

TEST_CASE("Prometheus scrapes the metrics, takes the rules, and finds all that rules and dashboard name",
          "[robust][metrics]") {
    const std::string prometheus = unpacked_program("prometheus", "prometheus");
    const std::string promtool = unpacked_program("prometheus", "promtool");
    Rig rig(two_paths(50));
    Service service(rig, with_metrics("programs = true\n"), true);
    rig.ok({"path", "lte", "quota=1GB"});
    const auto server = e2e::serve(rig.network());
    e2e::check_clean(rig.transfer(server, {.bytes = 1'000'000, .duration = {}}).wait());
    auto transfer = rig.transfer(server, {});
    const std::string rules = MPS_SOURCE_DIR "/packaging/prometheus/mpsched-alerts.yml";
    const std::string dashboard = MPS_SOURCE_DIR "/packaging/grafana/mpsched-dashboard.json";
    const auto checked = must(lab::run_process({promtool, "check", "rules", rules}));
    INFO(checked.out << checked.err);
    CHECK(checked.exit_code == 0);

    std::set<std::string> named;
    const std::string text = test::file_text(rules) + Json::parse(test::file_text(dashboard)).dump();
    static const std::regex pattern("mpsched_[a-z_]+");
    for (std::sregex_iterator at(text.begin(), text.end(), pattern), end; at != end; ++at)
        named.insert(at->str());
    CHECK(named.size() > 20);
    std::set<std::string> missing;
    std::string served;
    CHECK(eventually(
        [&] {
            served = http_get(rig.here(), port, "/metrics").body;
            missing = named;
            for (const auto &[name, value] : series_of(served))
                missing.erase(name.substr(0, name.find('{')));
            return missing.empty();
        },
        20s));
    CHECK(missing == std::set<std::string>{});
    const auto linted = must(lab::run_process({promtool, "check", "metrics"}, {.input = served}));
    INFO(linted.out << linted.err);
    CHECK(linted.exit_code == 0);
    CHECK(linted.err.empty());

    const e2e::TemporaryFolder folder;
    std::ofstream(folder / "prometheus.yml") << fmt::format(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{}]\n"
        "scrape_configs: [{{job_name: mpsched, static_configs: [{{targets: ['localhost:{}']}}]}}]\n",
        rules, port);
    auto process = must(lab::Process::start({prometheus, "--config.file=" + (folder / "prometheus.yml"),
                                             "--storage.tsdb.path=" + (folder / "data"),
                                             "--web.listen-address=127.0.0.1:9090", "--web.enable-lifecycle"},
                                            {.netns_fd = rig.here().fd()}));
    const auto asked = [&](const std::string &path) {
        // It answers HTTP/1.1 in chunks.
        return Json::parse(http_exchange(rig.here(), 9090, fmt::format("GET {} HTTP/1.0\r\n\r\n", path)).body,
                           nullptr, false);
    };
    const auto value_of = [&](const std::string &query) {
        const Json answer = asked("/api/v1/query?query=" + query);
        return answer.is_object() && !answer["data"]["result"].empty()
                   ? std::stod(answer["data"]["result"][0]["value"][1].get<std::string>())
                   : -1;
    };
    CHECK(eventually([&] { return value_of("sum(mpsched_path_bytes_total)") > 1'000'000; }, 40s));
    CHECK(value_of("up") == 1);
    CHECK(value_of("sum(mpsched_program_runs_total)") > 0);
    Json groups;
    CHECK(eventually(
        [&] {
            const Json answer = asked("/api/v1/rules");
            groups = answer.is_object() ? answer["data"]["groups"] : Json();
            return groups.is_array() && !groups.empty() &&
                   std::ranges::all_of(groups[0]["rules"],
                                       [](const Json &rule) { return rule["health"] == "ok"; });
        },
        20s));
    // Nothing is wrong here.
    for (const Json &rule : groups[0]["rules"]) {
        INFO(rule["name"]);
        CHECK(rule["state"] != "firing");
    }
    must(process.signal(SIGTERM));
    (void)must(process.wait(20s));
    transfer.stop();
    e2e::check_clean(transfer.wait());
    service.end();
    rig.ok({"detach", "--all"});
}
