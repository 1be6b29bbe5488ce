// SPDX-License-Identifier: MIT
//
// mpschedd with files of its own, and what it serves by HTTP.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "robust_rig.hpp"

namespace mps::robust {

using namespace std::chrono_literals;

inline std::string daemon_binary() {
    return (std::filesystem::path(e2e::Cli::default_binary()).parent_path() / "mpschedd").string();
}

/// A namespace with its files, and mpschedd at work for it.
class Service {
  public:
    /// `inside`: it runs in that namespace itself, and so listens there.
    explicit Service(Rig &rig, std::string_view settings, bool inside = false, const Environment &more = {})
        : rig_(rig), inside_(inside) {
        write(settings);
        start(more);
    }

    const std::string &folder() const { return folder_.path(); }
    std::string settings() const { return folder_ / "mpsched.toml"; }
    void write(std::string_view text) const {
        std::ofstream(settings()) << text;
        REQUIRE(::chmod(settings().c_str(), 0644) == 0);
    }
    Environment environment() const {
        return rig_.environment({{"MPS_RUN_DIR", folder_ / "run"}, {"MPS_CONFIG", settings()}});
    }
    Words command() const {
        return {daemon_binary(), "--netns", rig_.here().name(), "--state", folder_ / "state"};
    }

    void start(const Environment &more = {}) {
        Environment all = environment();
        all.insert(all.end(), more.begin(), more.end());
        process_.emplace(must(lab::Process::start(
            command(), {.netns_fd = inside_ ? rig_.here().fd() : -1, .environment = all})));
        REQUIRE(eventually([&] { return state().contains("revision"); }, 10s));
    }
    void kill() {
        must(process_->signal(SIGKILL));
        (void)must(process_->wait(10s));
    }
    // What it said.
    std::string end() {
        must(process_->signal(SIGTERM));
        const auto result = must(process_->wait(10s));
        INFO(result.out << result.err);
        CHECK(result.exit_code == 0);
        return result.err;
    }
    lab::Process &process() { return *process_; }

    lab::ProcessResult run(const Words &words) const { return rig_.run(words, environment()); }
    Json state() const { return rig_.json({"status"}, environment()).value("service", Json::object()); }
    std::string state_of(const std::string &object) const {
        for (const Json &one : state().value("objects", Json::array()))
            if (one["object"] == object)
                return one["state"];
        return "";
    }

  private:
    Rig &rig_;
    bool inside_;
    e2e::TemporaryFolder folder_;
    std::optional<lab::Process> process_;
};

struct HttpAnswer {
    int status = 0; ///< 0: there was none
    std::string head;
    std::string body;
};

/// To that port of loopback inside the namespace, with 20 s of patience for what is received; empty if nobody listens.
Fd connect_inside(const lab::Namespace &ns, std::uint16_t port);
/// Sends `text` as it is from inside the namespace, and reads until the other end closes.
HttpAnswer http_exchange(const lab::Namespace &ns, std::uint16_t port, const std::string &text);
/// With further headers, each a line.
HttpAnswer http_get(const lab::Namespace &ns, std::uint16_t port, const std::string &path,
                    const std::string &headers = {});

/// "NAME{LABELS}" → value, of what Prometheus would read.
using Series = std::map<std::string, double>;
Series series_of(const std::string &text);

} // namespace mps::robust
