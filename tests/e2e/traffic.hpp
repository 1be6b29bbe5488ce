// SPDX-License-Identifier: MIT
//
// What the end-to-end tests of steering share: the real mpsched command, the data path as an object that
// takes itself off again, and measurements from the kernel's own counters (never from what our tool says).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <netinet/in.h>

#include <mpsched/lab/cleanup.hpp>
#include <mpsched/lab/counters.hpp>
#include <mpsched/lab/error.hpp>
#include <mpsched/lab/network.hpp>
#include <mpsched/lab/process.hpp>
#include <mpsched/lab/transfer.hpp>

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "temporary_folder.hpp"

namespace mps::e2e {

using Json = nlohmann::json;
using namespace std::chrono_literals;

/// The value of a Result that has to be there; else the test fails with the error's text.
template <class T>
T must(lab::Result<T> result) {
    if (!result) {
        FAIL(result.error().what << "\n" << result.error().hint);
    }
    if constexpr (!std::is_void_v<T>) {
        return std::move(*result);
    }
}

inline constexpr const char *modes[] = {"tc", "native", "generic"};

/// `mpsched --netns NAME …` of the same build.
class Cli {
  public:
    explicit Cli(const lab::Namespace &ns) : netns_(ns.name()) {}
    Cli(const lab::Namespace &ns, std::string binary) : netns_(ns.name()), binary_(std::move(binary)) {}

    /// Words as typed, separated by blanks. The command has to succeed.
    lab::ProcessResult operator()(std::string_view words) const;
    Json json(std::string_view words) const;
    lab::ProcessResult try_run(std::string_view words) const;
    /// One that stays.
    lab::Process start(std::string_view words) const;

    static std::string default_binary();
    /// Of every process that is to see these pins.
    static lab::ProcessOptions options();

  private:
    std::vector<std::string> command(std::string_view words) const;

    std::string netns_;
    std::string binary_ = default_binary();
};

/// The rate of a test's paths: what it likes, or $MPS_TEST_PATH_MBIT where the machine cannot carry that much (vmtest's
/// guests are emulated). What a test expects is to follow from what this returns.
double path_rate(double usual_mbit);

/// The time in which a path of path_rate(50) carries what one of 50 Mbit/s does in `usual`. Queues, losses at the start and
/// the kernel's bursts of 64 KiB are bytes: on slower paths they last longer, so must what waits for them or measures.
std::chrono::milliseconds path_time(std::chrono::milliseconds usual);

/// The data path on devices of a namespace; `detach --all` at the end of its life, also after a failed check.
class Attachment {
  public:
    Attachment(const lab::Namespace &ns, const std::vector<std::string> &devices,
               std::string_view mode = "auto");
    Attachment(const Attachment &) = delete;
    Attachment &operator=(const Attachment &) = delete;
    ~Attachment();

    void detach(); ///< has to succeed

  private:
    Cli cli_;
    bool attached_ = true;
    lab::CleanupGuard guard_;
};

/// Each part of the sum of all, 0 of nothing.
std::vector<double> ratios(const std::vector<double> &parts);

/// What devices of one host received in a stretch of time, by the kernel's byte counters.
struct Window {
    double seconds = 0;
    std::vector<double> mbit; ///< 10^6 bit/s, link layer
    std::vector<double> share;
    double total_mbit = 0;

    std::string text() const;
};

/// What `measure` gave when it sufficed, else what it gave last. For what needs the machine's full attention, like
/// throughput: other work on the machine can take that from any one stretch of time, a fault of ours takes it
/// from all. What holds on a busy machine as well is to be checked inside `measure`, each time.
template <class Measure, class Suffices>
auto undisturbed(Measure measure, Suffices suffices, int attempts = 4) {
    for (;;) {
        auto measured = measure();
        if (suffices(measured) || --attempts == 0) {
            return measured;
        }
    }
}

class Meter {
  public:
    Meter(const lab::Namespace &ns, std::vector<std::string> devices);

    /// From now (or from the last call) on.
    void restart();
    Window read();
    Window over(std::chrono::milliseconds duration);

  private:
    std::vector<std::uint64_t> bytes() const;

    const lab::Namespace &ns_;
    std::vector<std::string> devices_;
    std::vector<std::uint64_t> start_;
    std::chrono::steady_clock::time_point began_;
};

/// Payload that subflows of some connections had acknowledged, by path, and what the connections delivered.
struct Delivered {
    std::chrono::steady_clock::time_point at;
    std::vector<std::uint64_t> per_path;
    std::uint64_t total = 0;
};
Delivered delivered(const lab::Transfer &transfer, std::size_t paths,
                    const std::function<std::optional<std::size_t>(const lab::SubflowSample &)> &path_of);
Delivered delivered(const lab::Transfer &transfer, const lab::Network &network);
/// 10^6 bit/s of contents between two readings.
double goodput_mbit(const Delivered &from, const Delivered &to);
std::vector<double> shares(const Delivered &from, const Delivered &to);

/// Every connection ended in order, with the right SHA-256, without reset and without fallback. Excuses one of a run of the
/// binary that is damaged as Linux 6.18 does it by itself, and reports it.
void check_clean(const lab::TransferResult &result);

/// What must not happen on either host while traffic is steered: resets, fallbacks, bad checksums.
class Health {
  public:
    explicit Health(const lab::Namespace &a, const lab::Namespace &b);
    void check() const;

  private:
    const lab::Namespace &a_;
    const lab::Namespace &b_;
    lab::Counters before_a_;
    lab::Counters before_b_;
};

/// Goodput of each path alone, all measured at once, each by a connection of one subflow.
std::vector<double> single_path_goodput(const lab::Network &network, const lab::Server &server);

/// Polls until it holds; returns the seconds it took, or a negative number after the time-out.
double wait_until(const std::function<bool()> &holds, std::chrono::milliseconds timeout,
                  std::chrono::milliseconds interval = 20ms);

lab::Server serve(const lab::Network &network);
lab::Transfer upload(const lab::Network &network, const lab::Server &server, lab::TransferSpec spec = {});

/// Where one device's idle subflow is allowed and parked in turn.
struct IdleSubflow {
    const lab::Namespace &steered;
    std::string device;
    std::string label; ///< for the report
    int toggles = 40;
};

/// While active-standby steers light traffic over other paths, moves the idle subflow between the tiers: each time the
/// kernel has to receive an MP_PRIO, and as many as the data path counts. Activating and parking take turns.
void check_wakes_land(const IdleSubflow &idle);

/// Small requests, so that subflows are idle most of the time.
lab::TransferSpec light_traffic();

/// An established subflow as ss(8) shows it.
struct KernelSubflow {
    std::string local; ///< address, perhaps %device, and port
    std::string remote;
    bool backup = false; ///< subflow->backup
};
std::vector<KernelSubflow> kernel_subflows(const lab::Namespace &ns);

/// Is subflow->backup set for (one of) the host's subflows to this address of its peer? As ss(8) shows it.
bool kernel_backup(const lab::Namespace &ns, const std::string &remote);

/// MP_PRIO options that the kernel of a namespace has accepted so far.
std::int64_t mp_prio_received(const lab::Namespace &ns);

sockaddr_in endpoint(const std::string &address, std::uint16_t port);

/// What each path has carried of a transfer until now, in both directions.
std::vector<double> moved(const lab::Network &network, const lab::Transfer &transfer);

/// A folder that is gone with the object.
class TemporaryFolder {
  public:
    TemporaryFolder();

    std::string operator/(std::string_view name) const { return folder_.path(name); }
    const std::string &path() const { return folder_.path().native(); }

  private:
    mps::TemporaryFolder folder_;
};

/// One line of a measurement, shown whether the test passes or not.
void report(const std::string &line);

} // namespace mps::e2e
