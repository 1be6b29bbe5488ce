// SPDX-License-Identifier: MIT
//
// mpschedd on the router of the tests of gateways.
#pragma once

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>

#include <sys/stat.h>

#include "gateway_rig.hpp"

namespace mps::e2e {

/// mpschedd in the gateway's network namespace, as its file says.
class Service {
  public:
    Service(const Gateway &gateway, std::string_view settings) : netns_(gateway.network.gateway.name()) {
        write(settings);
        start();
    }
    ~Service() {
        if (process_)
            (void)process_->signal(SIGKILL);
    }

    void write(std::string_view text) const {
        std::ofstream(settings()) << text;
        REQUIRE(::chmod(settings().c_str(), 0644) == 0);
    }
    void start() {
        const auto mpschedd = std::filesystem::path(Cli::default_binary()).parent_path() / "mpschedd";
        process_.emplace(must(mps::lab::Process::start(
            {mpschedd, "--netns", netns_, "--state", folder_ / "state"}, options())));
        REQUIRE(wait_until([&] { return !state().empty(); }, 15s) >= 0);
    }
    void kill() {
        must(process_->signal(SIGKILL));
        (void)must(process_->wait(10s));
        process_.reset();
    }
    void end() {
        must(process_->signal(SIGTERM));
        const auto result = must(process_->wait(10s));
        process_.reset();
        INFO(result.out << result.err);
        CHECK(result.exit_code == 0);
    }
    // A command that knows of it.
    mps::lab::ProcessResult run(std::vector<std::string> words) const {
        words.insert(words.begin(), {Cli::default_binary(), "--netns", netns_});
        return must(mps::lab::run_process(words, options()));
    }
    void ok(std::vector<std::string> words) const {
        const auto result = run(std::move(words));
        INFO(result.out << result.err);
        CHECK(result.exit_code == 0);
    }
    std::string settings() const { return folder_ / "mpsched.toml"; }
    // What it says of each object that is desired; nothing before it is at work.
    std::map<std::string, std::string> state() const {
        std::map<std::string, std::string> all;
        const auto answer = Json::parse(run({"status", "--json=2"}).out, nullptr, false);
        if (answer.is_object() && answer.contains("service") && answer["service"].contains("objects"))
            for (const Json &one : answer["service"]["objects"])
                all[one["object"]] = one["state"];
        return all;
    }

  private:
    mps::lab::ProcessOptions options() const {
        auto options = Cli::options();
        options.environment.insert(options.environment.end(),
                                   {{"MPS_RUN_DIR", folder_ / "run"}, {"MPS_CONFIG", settings()}});
        return options;
    }

    std::string netns_;
    TemporaryFolder folder_{};
    std::optional<mps::lab::Process> process_{};
};

} // namespace mps::e2e
