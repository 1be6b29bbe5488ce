// SPDX-License-Identifier: MIT
#include "mpsched/instance.hpp"

#include <mps/abi.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include <fmt/format.h>

#include "base/numbers.hpp"
#include "base/try.hpp"
#include "common/log.hpp"
#include "instance_impl.hpp"
#include "kernel/kernel_probe.hpp"
#include "kernel/netns.hpp"
#include "pins/bpffs.hpp"
#include "pins/orphans.hpp"

namespace mps {

namespace {

bool is_directory(const std::string &path) {
    struct stat status{};
    return !::stat(path.c_str(), &status) && S_ISDIR(status.st_mode);
}

} // namespace

Error not_installed() {
    return fail(ErrorKind::not_installed, "mpsched is not attached in this network namespace",
                "'mpsched attach IFACE…' comes first")
        .error();
}

std::string_view to_string(InterfaceState state) {
    switch (state) {
    case InterfaceState::attached:
        return "attached";
    case InterfaceState::detached:
        return "detached";
    case InterfaceState::absent:
        break;
    }
    return "absent";
}

std::string_view to_string(Installation::State state) {
    switch (state) {
    case Installation::State::complete:
        return "complete";
    case Installation::State::stale:
        return "stale";
    case Installation::State::unreachable:
        return "unreachable";
    case Installation::State::half_made:
        return "half-made";
    case Installation::State::other_abi:
        return "other version";
    case Installation::State::foreign:
        break;
    }
    return "foreign";
}

// ---- the rest

std::optional<InstallationPaths> Instance::Impl::paths() const {
    const auto bpffs = find_trusted_bpffs(options);
    if (!bpffs || !*bpffs)
        return std::nullopt;
    return InstallationPaths{PinLayout(**bpffs).installation(cookie)};
}

bool Instance::Impl::installed() const {
    const auto where = paths();
    return where && is_directory(where->base);
}

Result<void> Instance::Impl::check_versions(bool older_is_fine) const {
    const auto bpffs = find_trusted_bpffs(options);
    // Whoever uses what is there is told.
    if (!bpffs || !*bpffs)
        return {};
    std::error_code error;
    for (const auto &entry : std::filesystem::directory_iterator(PinLayout(**bpffs).top, error)) {
        const std::string name = entry.path().filename().string();
        const auto version =
            name.starts_with('v') ? parse_unsigned(std::string_view(name).substr(1)) : std::nullopt;
        if (!version || *version == MPS_ABI_VERSION)
            continue;
        if (!is_directory(fmt::format("{}/{}{}", entry.path().string(), installed_prefix, cookie)))
            continue;
        if (*version > MPS_ABI_VERSION) {
            return fail(
                ErrorKind::other_version,
                fmt::format(
                    "the pins of this network namespace were made by a newer mpsched (ABI {}, this one has {})",
                    *version, MPS_ABI_VERSION),
                "use that version, or detach with it first");
        }
        if (!older_is_fine) {
            return fail(
                ErrorKind::other_version,
                fmt::format(
                    "the pins of this network namespace were made by an older mpsched (ABI {}, this one has {})",
                    *version, MPS_ABI_VERSION),
                "'mpsched detach --all' removes them");
        }
    }
    return {};
}

bool Instance::Impl::has_tcx() const {
    if (without.contains("tcx"))
        return false;
    if (!has_tcx_)
        has_tcx_ = probe_tcx().answer == Answer::available;
    return *has_tcx_;
}

Result<Pins> Instance::Impl::open_for_reading() const {
    MPS_TRY(check_versions(false));
    const auto bpffs = find_trusted_bpffs(options);
    MPS_TRY(bpffs);
    if (!installed()) {
        // Without rights the directory cannot be looked into, which is no proof that nothing is there.
        if (*bpffs && ::access((*bpffs)->c_str(), X_OK)) {
            return std::unexpected(system_error(errno, fmt::format("looking into {}", **bpffs)));
        }
        return std::unexpected(not_installed());
    }
    auto pins = open_pins(*paths());
    // A detach that runs meanwhile takes the whole directory away at once.
    if (!pins && !installed())
        return std::unexpected(not_installed());
    return pins;
}

Result<Session> Instance::Impl::session(Lock lock, const std::string &bpffs) const {
    InstallationPaths where{PinLayout(bpffs).installation(cookie)};
    auto pins = open_pins(where);
    MPS_TRY(pins);
    auto config = LiveConfig::open(*pins);
    MPS_TRY(config);
    Session result{std::move(lock), std::move(where), std::move(*pins), std::move(*config),
                   !without.contains("sockops")};
    MPS_TRY(repair_installation(result, has_tcx()));
    return result;
}

Result<std::optional<Lock>> Instance::Impl::lock_for_changing(const std::string &bpffs) const {
    if (!installed())
        return Lock::take_existing(bpffs, cookie, Patience(options));
    auto lock = Lock::take(bpffs, cookie, Patience(options));
    MPS_TRY(lock);
    return std::optional(std::move(*lock));
}

Result<Session> Instance::Impl::open_for_changing(bool sweep_others) const {
    MPS_TRY(check_versions(false));
    const auto bpffs = find_trusted_bpffs(options);
    MPS_TRY(bpffs);
    if (!*bpffs)
        return std::unexpected(not_installed());
    auto lock = lock_for_changing(**bpffs);
    MPS_TRY(lock);
    const auto swept = sweep_others ? sweep(**bpffs, cookie, lock->has_value()) : Result<void>{};
    MPS_TRY(swept);
    if (!*lock || !installed())
        return std::unexpected(not_installed());
    return session(std::move(**lock), **bpffs);
}

// Loads the data path into a directory of its own and gives it its name when it is complete.
Result<void> Instance::Impl::create(const std::string &bpffs, const std::set<std::string> &programs,
                                    std::uint32_t max_connections) const {
    const PinLayout layout(bpffs);
    const InstallationPaths building{layout.building(cookie)};
    Result<void> made;
    // A command that leaves another network namespace may just remove the empty directory of our version.
    constexpr int tries = 100;
    for (int i = 0; i < tries; i++) {
        made = make_directory(layout.root);
        if (made)
            made = make_directory(building.base);
        if (made)
            break;
    }
    if (!made)
        return made;
    const bool rdonly_cast =
        !without.contains("rdonly_cast") && probe_rdonly_cast().answer == Answer::available;
    auto done = load_data_path(building, rdonly_cast, programs, max_connections);
    if (done && ::rename(building.base.c_str(), layout.installation(cookie).c_str())) {
        done = std::unexpected(system_error(errno, fmt::format("renaming {}", building.base)));
    }
    if (!done)
        (void)remove_tree(building.base);
    return done;
}

Result<Session> Instance::Impl::open_or_create(bool &created, const std::set<std::string> &programs,
                                               std::uint32_t max_connections) const {
    created = false;
    MPS_TRY(check_versions(false));
    const auto bpffs = require_bpffs(options);
    MPS_TRY(bpffs);
    auto lock = Lock::take(*bpffs, cookie, Patience(options));
    MPS_TRY(lock);
    MPS_TRY(sweep(*bpffs, cookie, true));
    if (!installed()) {
        MPS_TRY(create(*bpffs, programs, max_connections));
        created = true;
    }
    return session(std::move(*lock), *bpffs);
}

Result<void> Instance::Impl::remove_all(const std::string &bpffs) const {
    return remove_installation(PinLayout(bpffs).installation(cookie));
}

// ----------------------------------------------------------------------------------------------------------
// Instance

Instance::Instance(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Instance::Instance(Instance &&) noexcept = default;
Instance &Instance::operator=(Instance &&) noexcept = default;
Instance::~Instance() = default;

Result<Instance::Impl::Call> Instance::Impl::enter() const {
    LogScope log(options.log);
    auto inside = InNetns::enter(netns.get());
    MPS_TRY(inside);
    return Call{std::move(log), std::move(*inside)};
}

Result<Instance> Instance::open(OpenOptions options) {
    auto impl = std::make_unique<Impl>();
    impl->options = std::move(options);
    const LogScope log(impl->options.log);
    auto without = effective_without(impl->options.without);
    MPS_TRY(without);
    impl->without = std::move(*without);
    MPS_TRY(check_bpffs(impl->options));
    auto netns = open_netns(impl->options.netns);
    MPS_TRY(netns);
    impl->netns = std::move(*netns);
    const auto inside = InNetns::enter(impl->netns.get());
    MPS_TRY(inside);
    const auto cookie = netns_cookie();
    MPS_TRY(cookie);
    impl->cookie = *cookie;
    MPS_TRY(impl->check_versions(true));
    return Instance(std::move(impl));
}

bool Instance::installed() const { return impl_->installed(); }

Result<std::vector<Installation>> Instance::list_all(const OpenOptions &options) {
    const LogScope log(options.log);
    MPS_TRY(check_bpffs(options));
    const auto inside = InNetns::enter(options.netns);
    MPS_TRY(inside);
    const auto bpffs = find_trusted_bpffs(options);
    MPS_TRY(bpffs);
    if (!*bpffs)
        return std::vector<Installation>{};
    return find_installations(**bpffs, netns_cookie().value_or(0));
}

Result<std::vector<std::string>> Instance::repair(const OpenOptions &options, bool force) {
    const LogScope log(options.log);
    MPS_TRY(check_bpffs(options));
    const auto inside = InNetns::enter(options.netns);
    MPS_TRY(inside);
    std::vector<std::string> removed;
    for (const Orphan &orphan : find_orphans(options, netns_cookie().value_or(0))) {
        MPS_TRY(remove_orphan(orphan));
        removed.push_back(fmt::format("{}: its pins are gone", orphan.text));
    }
    const auto bpffs = find_trusted_bpffs(options);
    if (!bpffs && removed.empty())
        return std::unexpected(bpffs.error());
    if (!bpffs || !*bpffs)
        return removed;
    auto swept = sweep_all(**bpffs, force, Patience(options));
    if (swept)
        swept->insert(swept->begin(), removed.begin(), removed.end());
    return swept;
}

} // namespace mps
