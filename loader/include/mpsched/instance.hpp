// SPDX-License-Identifier: MIT
//
// libmpsched's main entry: the installation of mpsched in one network namespace.
//
//   auto instance = mps::Instance::open({.netns = "client"});
//   auto attached = instance->attach({.interfaces = {"wan0", "lte0"}});
//   auto used = instance->use({.policy = "weighted"});
//
// Nothing is remembered in the object: every answer is read from the kernel. Calls that change something take
// a lock (one mpsched at a time in a network namespace), first repair what a killed command may have left, and
// report success only after reading back. Calls that only read take no lock. One thread at a time per object, any thread.
// A call enters the network namespace of the object where the calling thread is in another one (which takes CAP_SYS_ADMIN),
// and has left it when it returns; functions that it calls back run in there.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mpsched/error.hpp"
#include "mpsched/features.hpp"
#include "mpsched/log.hpp"
#include "mpsched/option_rules.hpp"
#include "mpsched/params.hpp"

namespace mps {

// ---- interfaces

enum class Mode {
    automatic, // only as a wish: native if that pays, else tc
    native,    // XDP in the driver
    generic,   // XDP after the packet became an skb
    tc,        // TC ingress (tcx where the kernel has it, else clsact)
};

// What an interface is attached for.
enum class Role {
    host,    // connections of this host
    gateway, // those of other hosts, whose packets pass here
};

[[nodiscard]] MPS_API std::string_view to_string(Role role);
[[nodiscard]] MPS_API Result<Role> parse_role(std::string_view text);

// "auto", "native", "generic", "tc".
[[nodiscard]] MPS_API std::string_view to_string(Mode mode);
[[nodiscard]] MPS_API Result<Mode> parse_mode(std::string_view text);

// What `mpsched path` sets; path_limits.hpp has the ranges. It belongs to the interface's name and is kept as long as the installation lives, whether or not
// the interface is attached, or there.
struct PathAttributes {
    std::uint32_t weight = 1;
    std::uint32_t priority = 0;  // lower is preferred
    std::uint32_t cost = 0;      // money per byte in the operator's own unit
    std::string energy = "none"; // one of energy_names
    // What it may carry in a period, in both directions, all MPTCP connections together; unset: no limit.
    std::optional<std::uint64_t> quota_bytes{};
    std::uint32_t quota_period_s = 0;   // after which the count starts over; 0: never
    std::uint64_t quota_then_bit_s = 0; // what it may carry behind its quota, bit/s; 0: nothing
    std::string use =
        "policy"; // one of use_names; never: no policy uses it while a connection has anything else
};

// What is set stays, the rest is left as it is.
struct PathChange {
    std::optional<std::uint32_t> weight{};
    std::optional<std::uint32_t> priority{};
    std::optional<std::uint32_t> cost{};
    std::optional<std::string> energy{};
    std::optional<std::uint64_t> quota_bytes{};    // 0: no quota any more
    std::optional<std::uint32_t> quota_period_s{}; // 0: once and for all
    std::optional<std::uint64_t>
        quota_used_bytes{}; // the count goes on from here; only where there is a quota
    std::optional<std::uint64_t> quota_then_bit_s{}; // 0: nothing behind the quota
    std::optional<std::string> use{};
};

struct PathStatus {
    std::string name{};
    std::uint32_t ifindex = 0; // 0: there is no interface of this name now
    bool attached = false;
    bool wanted = false; // attached by a command and not detached since: to be attached again when it is back
    bool down = false;   // it lost its carrier or its address; only who follows tells so
    PathAttributes attributes{};
    std::uint64_t quota_used_bytes = 0; // in the present period; counted only where there is a quota
};

enum class InterfaceState {
    attached,
    detached, // it is to be attached and is there, but has not got our programs
    absent,   // it is to be attached, but there is no interface of this name
};
[[nodiscard]] MPS_API std::string_view to_string(InterfaceState state);

// One interface that is to be attached, as the kernel has it now.
struct InterfaceStatus {
    std::string name{};
    std::uint32_t ifindex = 0; // 0 if absent
    InterfaceState state = InterfaceState::attached;
    Mode mode = Mode::tc; // of an absent one: as asked for
    Role role = Role::host;
    std::string tc_hook{};         // "tcx" or "clsact"
    bool layer3 = false;           // no link-layer header
    std::uint32_t xdp_prog_id = 0; // 0 in mode tc
    std::uint32_t tc_prog_id = 0;
    std::uint32_t out_prog_id =
        0; // by which peers are told what to send; 0: there is none, and they send as they like
    PathAttributes attributes{};
    std::string problem{}; // "" or what is wrong: half attached, program replaced
};

struct AttachRequest {
    std::vector<std::string> interfaces{}; // at least one; doubles are ignored
    Mode mode = Mode::automatic;
    Role role = Role::host; // a gateway's programs stand at TC
    // Replace a foreign XDP program instead of refusing.
    bool force = false;
    // The default policy from now on, name or file as in UseRequest; "" leaves it as it is.
    std::string policy{};
    // Only where none was chosen and nothing was attached yet. A policy that does not load here is a warning then, and
    // the kernel schedules as always; an unknown one is an error all the same.
    bool policy_only_if_first = false;
    // Told what is being done, before it is: the first attach lets the kernel verify what the interfaces need, which takes a
    // third of a second, and some on a slow machine.
    std::function<void(const std::string &)> progress{};
    // Names of interfaces that are not there yet are taken, too: see Instance::follow().
    bool absent_too = false;
    // For how many connections there is to be room, in the words of the command line; "" for the usual number. It can only be
    // chosen when nothing is installed yet.
    std::string max_connections{};
};

struct AttachedInterface {
    std::string name{};
    std::uint32_t ifindex = 0;
    Mode mode = Mode::tc; // never automatic
    std::string why{}; // why this mode, for people: "veth: native XDP there switches the peer's offloads off"
    bool changed = true; // false: it was attached in this mode already
};

struct AttachResult {
    std::vector<AttachedInterface> interfaces{};
    std::vector<std::string> absent{}; // with absent_too: those that are waited for
    std::string policy{};              // the default policy that this call chose; "" if it left it as it was
    std::vector<std::string> warnings{};
};

// What became of an interface that has attributes or is to be attached.
struct PathEvent {
    enum class Kind {
        gone,     // there is no such interface any more
        back,     // there is one of that name again; it is not to be attached
        renamed,  // it had the name `before`
        attached, // it is attached again
        failed,   // it is there, but could not be attached
        detached, // nothing is attached any more: somebody took mpsched away
        closed,   // it is silent, and its subflows were closed: FollowOptions::close_silent
        reopened, // it answers again, or nothing is to be opened on it
        silent,   // idle subflows of it do not answer probes: FollowOptions::probe_idle_s
        answers,  // and they do again
    };
    Kind kind = Kind::gone;
    std::string name{};
    std::uint32_t ifindex = 0; // 0 if gone
    std::string before{};
    Mode mode = Mode::tc; // of an attached one
    std::string why{};    // this mode, what went wrong, or what was closed or is silent
};
[[nodiscard]] MPS_API std::string_view to_string(PathEvent::Kind kind);

// What can be told of an interface of the network namespace, whether or not mpsched has to do with it.
struct NetworkInterface {
    std::string name{};
    std::uint32_t ifindex = 0;
    std::string
        type{}; // "ethernet", "wifi", "wwan", "ppp", "loopback", or the kernel's kind: "veth", "vlan", "bond" …
    bool up = false;
    bool default_route = false; // some table has a default route over it
};

struct RecoverResult {
    std::vector<PathEvent> events{};       // attached again, or why not
    std::vector<std::string> subflows{};   // that were left as backups, and are not any more
    std::vector<std::string> unrestored{}; // that still are
};

struct DetachRequest {
    std::vector<std::string> interfaces{};
    bool all = false;
};

struct DetachResult {
    std::vector<std::string> interfaces{}; // those that were attached and no longer are
    bool removed_everything = false;       // the last interface is gone, and with it every pin
    std::uint32_t restored = 0;            // subflows whose backup bit had to be set back
    std::vector<std::string> unrestored{}; // subflows that could not be set back to what their peer asked for
    std::vector<std::string> forgotten{};  // interfaces whose attributes went with everything
    std::vector<std::string> option_rules{}; // those of interfaces that were let go: they are gone as well
    std::vector<std::string> warnings{};
};

// ---- policies

struct PolicyInfo {
    std::string name{};
    std::string doc{};      // one line
    bool builtin = false;   // comes with this mpsched
    std::string file{};     // that it was loaded from, as it was then; "" if built in or not known
    std::string sha256{};   // of that file; "" if not known
    std::string file_now{}; // "" the same, "changed", "gone"
    std::optional<std::uint32_t> slot{}; // where it is loaded; the same policy may be loaded more than once
    bool is_default = false;             // new connections without a rule get it
    bool is_rx_default = false;          // … for what their peers send
    bool kept = false;                   // loaded by `policy load`: stays until `policy unload`
    std::uint32_t rules = 0;             // rules that refer to this slot
    std::uint32_t connections = 0;       // live connections on this slot
    bool rx = false;                     // it has a rule for what peers send
    std::uint32_t state_bytes = 0;       // memory it uses for each connection
    std::vector<Param> params{};         // live values if loaded, else defaults
    std::vector<std::string> aliases{};  // further names, see policy_names.hpp
    std::string unsupported{};           // why it cannot be used here; "" if it can
};

struct RuleStatus {
    std::string selector{}; // text that `--for` accepts
    std::string policy{};   // "" if it leaves open what this host sends
    std::uint32_t slot = 0;
    std::string rx_policy{}; // for what the peer sends; "" if it leaves that open
    std::uint32_t rx_slot = 0;
    std::vector<std::string> addresses{}; // of the host that it names
};

// Whose sending: what this host sends, or what its peers send to it.
enum class Direction { tx, rx, both };

struct UseRequest {
    std::string policy{}; // name (loaded or built-in), or path of an object file (contains '/' or ends in .o)
    std::vector<Setting> params{}; // of the policy, or of the engine (engine_params())
    std::optional<std::string>
        selector{};        // --for; see selector.hpp. Without: the default for all connections
    bool new_only = false; // connections already known keep their policy
    // Where the rule stands among the others; else one that is there stays where it is, and a new one comes last.
    std::optional<std::string> before{};     // the selector of another rule
    std::optional<std::uint32_t> position{}; // from 1
    // A host of the selector whose addresses are not to be had at once does not refuse the rule: who follows looks it up.
    bool hosts_later = false;
    // The other one stays as it was. `both` is tx alone where the policy has no rule for what peers send, who then
    // send as their kernels like; rx is refused there.
    Direction direction = Direction::both;
};

struct UseResult {
    std::string policy{};
    std::uint32_t slot = 0;
    std::string
        rx_policy{}; // what decides from now on about what peers send; "" where a rule leaves that open
    std::string
        previous{}; // policy that was the default (or the rule's) before, "" if there was no such rule
    std::vector<Param> params{}; // of the policy, as read back
    std::vector<Param> engine{}; // those that were set
    std::vector<std::string>
        also{}; // who else followed, since another object had that name: "the rule rport=443"
    std::vector<std::string> warnings{};
};

struct LoadResult {
    PolicyInfo policy{};
    bool was_loaded = false;         // from the very same object
    std::vector<std::string> also{}; // who follows it in place of another object of that name
    std::vector<std::string> warnings{};
};

// Whose parameters `set` changes: one of these, or else the default policy's.
struct SetTarget {
    std::string policy{};                  // by name, if it is loaded once
    std::optional<std::string> selector{}; // of its rule
    std::optional<std::uint32_t> slot{};
};

struct SetResult {
    std::string policy{};
    std::uint32_t slot = 0;
    std::vector<Param> params{};     // of the policy, as read back, then of the engine
    std::vector<std::string> also{}; // who else uses that slot, and with it these parameters
};

// ---- observation

// Why the policy's last verdict allows or parks a subflow, as the policy says it: enum mps_reason_code of mps/policy_abi.h.
struct SubflowReason {
    std::uint32_t code = 0;
    std::optional<std::int32_t> number{}; // its unit is the code's
    std::optional<std::uint32_t> than{};  // the id of the subflow that it is compared with
};

struct SubflowStatus {
    std::uint32_t id = 0;
    std::uint32_t ifindex = 0;
    std::string ifname{};          // "" if the interface is not known (no packet came yet, or it is gone)
    std::string local{}, remote{}; // "192.0.2.1:443", "[2001:db8::1]:443"
    std::string tcp_state{};       // "established", …
    bool backup = false;           // the kernel's bit now
    bool peer_backup = false;      // what the peer asked for
    bool local_backup = false;     // the local endpoint has the backup flag
    bool allowed = true;           // by the policy's last verdict
    bool usable = false;           // the kernel may send on it now
    bool stale = false;
    // Data is under way, and nothing of it was acknowledged for two round trips; while nobody follows, for a time-out of TCP's.
    bool silent = false;
    bool down = false;      // its path has lost its carrier or its address; only while somebody follows
    bool steerable = false; // its interface is attached, and its packets are met there
    std::uint32_t srtt_us = 0, rttvar_us = 0, min_rtt_us = 0;
    std::uint32_t cwnd = 0;      // segments
    std::uint32_t ssthresh = 0;  // segments
    std::uint32_t in_flight = 0; // segments
    std::uint32_t mss_bytes = 0;
    std::uint32_t queued_bytes = 0;
    std::uint32_t notsent_bytes = 0;
    std::uint64_t bytes_acked = 0;
    std::optional<std::uint64_t> acked_bytes_s{}; // by how much that grew while the connections were sampled
    std::uint64_t pacing_rate = 0;         // bytes/s: how fast TCP would let packets go, not how fast they go
    std::uint64_t max_pacing_rate = 0;     // bytes/s, SO_MAX_PACING_RATE; 2^64-1: no limit
    std::uint32_t notsent_lowat = 0;       // bytes, TCP_NOTSENT_LOWAT; 0: the sysctl's, 2^32-1: no limit
    std::uint32_t lost = 0, delivered = 0; // segments, cumulative
    std::optional<SubflowReason> reason{}; // not every policy gives one
    // What the peer sends on it, and was told about it.
    std::uint64_t bytes_received = 0;
    std::string told = "nothing"; // by MP_PRIO, ours or the path manager's: "nothing", "active", "backup"
    bool rx_allowed = true;       // by the last verdict about what the peer sends
    bool rx_ignored = false;      // the peer uses it although it was told not to, again and again
};

// What is to become of a subflow. What nobody steers the kernel uses as it likes, whatever a policy said.
[[nodiscard]] constexpr std::string_view verdict_of(const SubflowStatus &one) {
    return !one.steerable ? "unsteered" : one.allowed ? "allowed" : "parked";
}

struct ConnectionStatus {
    std::uint32_t token = 0; // RFC 8684 token of this host
    std::string policy{};    // "default" when nothing steers it
    std::uint32_t slot = 0;
    std::string rx_policy = "default"; // which decides about what the peer sends
    bool tracked = false; // the data path has seen it; otherwise policy and allowed are not decided yet
    // There was a switch since its last packet: at the next one it chooses anew. `policy` is then the default one, unless there
    // are rules, which may say otherwise: then it is still the last one, if that is loaded yet.
    bool pending = false;
    bool plain = false; // the peer did not agree to MPTCP: it is plain TCP, with nothing to steer
    std::vector<SubflowStatus> subflows{};
};

// One thing that became different between two looks at the connections.
struct Change {
    enum class Kind {
        connection_begun,
        connection_ended,
        subflow_joined,
        subflow_left,
        verdict,  // of a subflow: allowed, parked, unsteered
        policy,   // of a connection
        failover, // a subflow that was in use is lost, and others carry on
    };
    Kind kind = Kind::connection_begun;
    std::uint32_t token = 0;
    std::optional<std::uint32_t> subflow{}; // its id, where it is about one
    std::string interface{};                // of that subflow
    std::string
        now{}; // the policy or verdict that it has now; of a failover the interfaces that carry on; "" where it is gone
    std::string why{}; // of a failover: "silent", "down", "stale", "gone"
};
[[nodiscard]] MPS_API std::string_view to_string(Change::Kind kind);

// Tells what changes. The kernel has no one place that does, so this looks at the connections at an interval: what begins and
// ends between two looks is not told. Valid as long as the Instance that made it.
class MPS_API Watch {
  public:
    Watch(Watch &&) noexcept;
    Watch &operator=(Watch &&) noexcept;
    ~Watch();

    // Readable, for poll(2) and the like, when it is time to look again.
    [[nodiscard]] int fd() const;
    // Looks now, and tells what has changed since the last look. Never waits. Fails with not_installed once nothing is
    // attached any more.
    [[nodiscard]] Result<std::vector<Change>> changes();

  private:
    friend class Instance;
    struct Impl;
    explicit Watch(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

inline constexpr std::uint32_t longest_probe_idle_s = 3600;

struct FollowOptions {
    bool routes = false; // wakes up for routes as well
    // Closes the subflows of a path that went silent by removing its MPTCP endpoint, so that the kernel sends again at once, elsewhere, what they had
    // under way; the endpoint is added again until the path answers. For paths of which each connection that uses them has
    // another, and for addresses with an endpoint for subflows.
    bool close_silent = false;
    // Has one idle subflow of a path send a probe of TCP when nothing went over it for so long, on a path with a cost or a quota
    // every 10 s at most, so that one that died in a pause is avoided before it is needed. 0: none is sent; at most
    // longest_probe_idle_s.
    std::uint32_t probe_idle_s = 0;

    friend bool operator==(const FollowOptions &, const FollowOptions &) = default;
};

// Attaches interfaces again that are back, and sees to paths that are lost; for who has other things to wait for than
// Instance::follow(). Valid as long as the Instance that made it.
class MPS_API Follower {
  public:
    Follower(Follower &&) noexcept;
    Follower &operator=(Follower &&) noexcept;
    ~Follower();

    // Readable, for poll(2) and the like, when interfaces or addresses have come, gone or changed (or routes, if these were
    // asked for), and when a subflow has gone silent.
    [[nodiscard]] int fd() const;
    // To be called as soon as fd() is readable: whatever was parked in favour of a path that is lost now is opened at once. True
    // if look() is to be called.
    [[nodiscard]] bool react();
    // Sees to what there is to be done now, and tells what became of it; to be called when react() says so, and once a second
    // in any case: what failed is tried again, and a parked subflow may need the packet that this lends. Each failure is told once.
    [[nodiscard]] std::vector<PathEvent> look();

  private:
    friend class Instance;
    struct Impl;
    explicit Follower(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

struct CounterValue {
    std::string_view name{};
    std::string_view text{}; // what it counts
    std::uint64_t value = 0; // sum over all CPUs since the first attach
};

// Why nothing, or less than was asked for, is steered.
struct Diagnosis {
    enum class Severity {
        problem, // what was asked for does not happen
        note,    // worth knowing
    };
    Severity severity = Severity::note;
    std::string id{};      // for programs: "no-socket", "unsteered" …
    std::string subject{}; // interface; "" if it is about none
    std::string what{};    // one line
    std::string why{};
    std::string next{}; // what to do
};

struct Status {
    std::uint64_t netns_cookie = 0;
    bool installed = false; // pins of this version exist in this network namespace
    std::uint32_t abi = 0;
    std::vector<InterfaceStatus> interfaces{};
    std::vector<PathStatus> paths{}; // also of interfaces that are not attached
    std::string default_policy = "default";
    std::uint32_t default_slot = 0;
    std::string rx_default_policy = "default"; // for what peers send
    std::uint32_t rx_default_slot = 0;
    std::vector<PolicyInfo> policies{}; // loaded ones, by slot
    std::vector<RuleStatus> rules{};    // in the order in which they are tried
    bool new_only = false;         // the last switch left the connections there were with the policy they had
    std::vector<Param> engine{};   // live values of engine_params()
    std::uint32_t connections = 0; // MPTCP connections of this network namespace
    std::uint32_t max_connections = 0; // for so many with several subflows there is room; 0: not installed
    std::vector<Diagnosis> findings{}; // problems first
    // The same as lines for people. Without problems all that is attached is steered as was asked for.
    std::vector<std::string> problems{};
    std::vector<std::string> notes{};
};

// An installation of any network namespace, found by its pins.
struct Installation {
    enum class State {
        complete,
        stale,       // its network namespace is gone
        unreachable, // it cannot be told whether its network namespace is still there
        half_made,   // left by a killed command
        other_abi,   // made by another version of mpsched
        foreign,     // our place, but not our objects
    };
    State state = State::complete;
    std::string path{};             // below the bpf file system
    std::uint64_t netns_cookie = 0; // 0 if not known
    bool current = false;           // of the network namespace we are in
    bool at_work = false;           // half-made, and a command that is running now makes or removes it
    std::string text{};             // what was found, for people
};

[[nodiscard]] MPS_API std::string_view to_string(Installation::State state);

// ---- access

struct OpenOptions {
    // A name below /run/netns, a path to a namespace file, or a process id. Empty: the calling thread's.
    std::string netns{};
    // Features to treat as missing; added to those in the environment variable MPS_WITHOUT.
    Without without{};
    // Mount point of the bpf file system. Empty: the environment variable MPS_BPFFS, else /sys/fs/bpf. In a
    // private mount namespace without one, as inside `ip netns exec`, it is that of our oldest ancestor: pins
    // must outlive us.
    std::string bpffs{};
    // How long to wait for one other mpsched that changes this network namespace to finish; as long as one after the
    // other does, waiting goes on.
    std::uint32_t lock_timeout_ms = 10'000;
    // Asked from time to time while waiting; true ends it with an error.
    std::function<bool()> give_up{};
    // Where diagnostics go, see log.hpp.
    LogSink log{};
};

class Trace;
struct TraceRequest;
struct ForwardedConnection; // gateway.hpp

class MPS_API Instance {
  public:
    // Looks what is there in the network namespace; nothing is created or changed, and "nothing
    // there" is fine. Fails if a newer mpsched is at work in this network namespace. Foreign or damaged pins
    // in our place are reported by status() and refused by everything else but detach(all), which removes
    // them.
    [[nodiscard]] static Result<Instance> open(OpenOptions options = {});

    // Every installation on this machine, including what is stale, half-made or foreign.
    [[nodiscard]] static Result<std::vector<Installation>> list_all(const OpenOptions &options = {});

    // Removes what killed commands and vanished namespaces have left, in all namespaces, and programs in the one we are in
    // (or OpenOptions::netns) that no pin leads to. Tells what it removed. Foreign objects are not touched, other versions' only with `force`.
    [[nodiscard]] static Result<std::vector<std::string>> repair(const OpenOptions &options = {},
                                                                 bool force = false);

    Instance(Instance &&) noexcept;
    Instance &operator=(Instance &&) noexcept;
    ~Instance();

    // Do pins of ours exist in this network namespace?
    [[nodiscard]] bool installed() const;

    // All or nothing: if one interface fails, those done before in this call are undone.
    [[nodiscard]] Result<AttachResult> attach(const AttachRequest &request);

    // First gives every subflow back the backup bit its peer asked for (up to a second), then removes our
    // programs. An interface that is not attached is no error, one that does not exist and is not known
    // either is. With `all` also programs of ours that no pin leads to any more.
    [[nodiscard]] Result<DetachResult> detach(const DetachRequest &request);

    // Until `stop_fd` is readable: tells what becomes of interfaces that have attributes or are to be attached, and attaches
    // those that are back, in the mode that was asked for. What does not work is tried again. Returns as well when there is no
    // installation any more. Leaves everything as it is.
    [[nodiscard]] Result<void> follow(const std::function<void(const PathEvent &)> &on_event, int stop_fd,
                                      const FollowOptions &options = {});

    // The same in single steps. There need not be an installation yet.
    [[nodiscard]] Result<Follower> follower(const FollowOptions &options = {}) const;

    // Every interface of the network namespace, in the order of their index. `routes`: looks at the routing tables, which may
    // be large; otherwise default_route is not known.
    [[nodiscard]] Result<std::vector<NetworkInterface>> interfaces(bool routes = true) const;

    // Once and for all: attaches what is to be attached and is back, puts in order what killed commands left in this network
    // namespace, and gives subflows of interfaces that are not attached back the backup bit that their peer asked for.
    [[nodiscard]] Result<RecoverResult> recover();

    // What is known of an interface's name.
    [[nodiscard]] Result<PathStatus> path(const std::string &interface) const;
    // Sets attributes and returns all of them. The interface need not be attached, nor be there. Creates the installation
    // if there is none.
    [[nodiscard]] Result<PathStatus> set_path(const std::string &interface, const PathChange &change);
    // The same from text, as the command line has it: weight=3, quota=5GB. No settings: only returns what is known.
    [[nodiscard]] Result<PathStatus> path(const std::string &interface, const std::vector<Setting> &settings);

    // Attributes are the default ones again, a quota and its count are gone; an interface that is not there is no longer
    // waited for. False if nothing was known of it.
    [[nodiscard]] Result<bool> forget_path(const std::string &interface);

    // Built-in and loaded policies: one entry for each built-in that is not loaded, one for each slot in use, and
    // at the end those that no kernel of this kind can run, with the reason.
    // Whoever may not look into the kernel still gets the built-in ones, if `unseen` takes the reason.
    [[nodiscard]] Result<std::vector<PolicyInfo>> policies(std::optional<Error> *unseen = nullptr) const;

    // One policy by name (all slots that hold it, or the built-in) or by object file. Unknown: the valid ones
    // are listed.
    [[nodiscard]] Result<std::vector<PolicyInfo>> policy(const std::string &name_or_file,
                                                         std::optional<Error> *unseen = nullptr) const;

    // Loads a policy into a free slot without using it, and keeps it there; one that is loaded from the same object already is
    // kept where it is. Another object of that name is an error, or with `replace` gives way everywhere at once. Needs an
    // installation.
    [[nodiscard]] Result<LoadResult> load_policy(const std::string &name_or_file, bool replace = false);

    // Removes a loaded policy. Refused while a default, a rule or a live connection refers to it; says which.
    [[nodiscard]] Result<void> unload_policy(const std::string &name);

    // Loads and verifies the policy, then switches with one write. Nothing changes unless all of it works. A
    // built-in or a file is loaded afresh (parameters: its defaults and those given), and other builds of the file's policy
    // give way to it everywhere; a policy kept by load_policy(), or one from outside that is loaded, is used as it
    // is, with the given parameters set on it. Needs an installation.
    [[nodiscard]] Result<UseResult> use(const UseRequest &request);

    // The selector as status() would write it. Interfaces and cgroups that it names must be there.
    [[nodiscard]] Result<std::string> canonical_selector(const std::string &selector) const;

    // Removes the rule with this selector; false if there is none.
    [[nodiscard]] Result<bool> remove_rule(const std::string &selector);
    // And their selectors.
    [[nodiscard]] Result<std::vector<std::string>> remove_all_rules();

    // Rules about MPTCP options (option_rules.hpp), in their order, with what they have done. None where nothing is installed.
    [[nodiscard]] Result<std::vector<OptionRuleStatus>> option_rules() const;
    // At this place among the others (from 1), else behind them. Creates the installation if there is none; the interface need
    // not be attached, nor be there.
    [[nodiscard]] Result<OptionRulesResult> add_option_rule(const OptionRule &rule,
                                                            std::optional<std::uint32_t> position = {});
    // Those at these places (from 1), all or none.
    [[nodiscard]] Result<OptionRulesResult> remove_option_rules(const std::vector<std::uint32_t> &places);
    // These in place of all that there are, for every packet at once. What stays keeps its counters.
    [[nodiscard]] Result<OptionRulesResult> set_option_rules(const std::vector<OptionRule> &rules);

    // Changes live parameters. Either all settings are valid and made, or none is. The engine's belong to no policy, so they
    // go with no target.
    [[nodiscard]] Result<SetResult> set(const std::vector<Setting> &settings, const SetTarget &target = {});

    [[nodiscard]] Result<Status> status() const;

    // Every MPTCP connection of the network namespace with its subflows, by token. Needs an installation.
    // `sample_ms`: looks twice, with so much between, and tells what was acknowledged meanwhile.
    [[nodiscard]] Result<std::vector<ConnectionStatus>> connections(std::uint32_t sample_ms = 0) const;

    // Connections of other hosts whose packets pass interfaces that are attached as a gateway's; see gateway.hpp.
    [[nodiscard]] Result<std::vector<ForwardedConnection>> forwarded(std::uint32_t sample_ms = 0) const;

    // See Watch. The first changes() are those since this call.
    [[nodiscard]] Result<Watch> watch(std::uint32_t interval_ms = 1000) const;

    // In the order of the table in abi.h. Needs an installation.
    [[nodiscard]] Result<std::vector<CounterValue>> stats() const;

    struct Impl;

  private:
    friend Result<Trace> start_trace(const Instance &instance, const TraceRequest &request); // trace.hpp
    friend struct Inside; // the way for what other headers declare
    explicit Instance(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace mps
