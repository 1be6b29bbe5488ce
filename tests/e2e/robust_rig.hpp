// SPDX-License-Identifier: MIT
//
// What the robustness tests stand on: the real command on an emulated network, with a bpf file system of
// its own, and views of the kernel that owe nothing to libmpsched.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.hpp"
#include <mps/abi.h>
#include <mpsched/lab/network.hpp>
#include <mpsched/lab/process.hpp>

#include "private_bpffs.hpp"
#include "traffic.hpp"

namespace mps::robust {

using e2e::Json;
using e2e::must;
using Words = std::vector<std::string>;
using Environment = std::vector<std::pair<std::string, std::string>>;

// ---------------------------------------------------------------------------------------------- the kernel

/// Programs in the places where ours go, by id; 0 and empty for none.
struct Hooks {
    std::uint32_t xdp_native = 0;
    std::uint32_t xdp_generic = 0;
    std::vector<std::uint32_t> tcx;     ///< ingress, in the order in which they run
    std::vector<std::uint32_t> filters; ///< BPF filters at the ingress of a clsact qdisc
    bool clsact = false;

    std::set<std::uint32_t> ids() const;
    bool operator==(const Hooks &) const = default;
};

Hooks hooks_of(const lab::Namespace &ns, const std::string &device);
/// "" if there is no such program (any more).
std::string program_name(std::uint32_t id);
/// Names of the programs on the device that are called as ours are, sorted.
std::vector<std::string> our_programs(const lab::Namespace &ns, const std::string &device);
/// Programs and maps vanish a little after their last user.
bool programs_vanish(const std::set<std::uint32_t> &ids);

/// One subflow as `ss` shows it.
struct SubflowBits {
    std::string local;   ///< address
    std::string remote;  ///< address
    bool backup = false; ///< subflow->backup of the kernel: what MP_PRIO sets
};
/// Established subflows of the namespace that send to or receive from `port`.
std::vector<SubflowBits> subflow_bits(const lab::Namespace &ns, std::uint16_t port);

/// Path below the bpf file system -> "map 17", "prog 4", "link 9", "directory".
using PinTree = std::map<std::string, std::string>;
PinTree pins_below(const std::string &directory);
std::set<std::uint32_t> pinned_programs(const PinTree &tree);

/// With what is pinned in it.
class PrivateBpffs : public e2e::PrivateBpffs {
  public:
    PinTree tree() const { return pins_below(path()); }
};

// --------------------------------------------------------------------------------------------- the command

/// How a refused command has to answer.
struct Refusal {
    int code = 1;
    std::vector<std::string> what = {};   ///< each is part of the first line
    std::vector<std::string> hint = {};   ///< each is part of the second
    bool may_quote = false;               ///< lines between: what libbpf or the verifier said
    std::vector<std::string> detail = {}; ///< each is part of what is told
};

/// dsl and lte; unshaped unless a rate is given.
lab::NetworkSpec two_paths(double mbit = 0);

/// Two hosts, `paths` and an own bpf file system. Commands work in the namespace of host A unless told otherwise.
class Rig {
  public:
    explicit Rig(lab::NetworkSpec spec = two_paths());

    lab::Network &network() { return network_; }
    const lab::Network &network() const { return network_; }
    const lab::Namespace &here() const { return network_.host(side); }
    const PrivateBpffs &bpffs() const { return bpffs_; }

    Words command(const Words &words) const;
    Environment environment(const Environment &more = {}) const;
    /// Runs the command to its end, whatever that is.
    lab::ProcessResult run(const Words &words, const Environment &more = {}) const;
    /// Has to succeed.
    lab::ProcessResult ok(const Words &words, const Environment &more = {}) const;
    Json json(Words words, const Environment &more = {}) const;
    Json status() const { return json({"status"}); }
    /// Of what the kernel and the command show, all that a refused command must leave as it is.
    Json everything() const;
    /// The command is refused in this way, as text and as JSON, and nothing has changed.
    void refused(const Words &words, const Refusal &refusal, const Environment &more = {}) const;

    Hooks hooks(const std::string &device) const { return hooks_of(here(), device); }
    /// Where the pins of this ABI version, or of another one, live.
    std::string abi_folder(unsigned version = MPS_ABI_VERSION) const;
    std::string installation() const; ///< path of the namespace's pins, "" if there are none
    /// Ids of the programs that are pinned or attached now.
    std::set<std::uint32_t> programs() const;
    /// No program, pin or qdisc of ours in the namespace, and none of `programs` in the kernel.
    void no_trace(const std::set<std::uint32_t> &programs) const;

    /// From A to the server at B, whatever the direction of the data.
    lab::Transfer transfer(const lab::Server &server, lab::TransferSpec spec = {}) const;

    lab::Side side = lab::Side::a;

  private:
    lab::Network network_;
    PrivateBpffs bpffs_;
};

/// The problems that `status` tells of, but for those of the network: that connections have subflows which are not steered.
std::vector<std::string> faults(const Json &status);

/// Path of a program of a Debian package that is unpacked and not installed (tests/fetch-program).
std::string unpacked_program(const std::string &package, const std::string &name);

/// Polls until `true_now` or the time is over; what it said last.
template <class F>
bool eventually(F &&true_now, std::chrono::milliseconds patience = std::chrono::seconds(5)) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    for (;;) {
        if (true_now())
            return true;
        if (std::chrono::steady_clock::now() >= deadline)
            return false;
        ::usleep(20'000);
    }
}

} // namespace mps::robust
