// SPDX-License-Identifier: MIT

#include "service/store/follower.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include <fmt/format.h>

#include "base/try.hpp"
#include "config/desired.hpp"
#include "mpsched/version.hpp"

namespace mps::service::store {

namespace {

using namespace std::chrono_literals;

// Summaries change while modems come and go; the store need not know each time.
constexpr auto report_interval = 10s;
constexpr auto restart_interval = 5s;
constexpr std::size_t most_contents = 1 << 20;

std::string host_name() {
    std::array<char, 256> name{};
    ::gethostname(name.data(), name.size() - 1);
    return name.data();
}

// A password must not be everybody's.
Result<std::string> read_login(const std::string &file) {
    if (file.empty())
        return "";
    struct stat status{};
    if (::stat(file.c_str(), &status))
        return std::unexpected(system_error(errno, fmt::format("reading {}", file)));
    if (status.st_mode & (S_IRWXG | S_IRWXO))
        return fail(ErrorCode::not_permitted, fmt::format("{} can be read by others", file),
                    fmt::format("'chmod 600 {}' keeps it to its owner", file));
    auto text = config::read_whole(file);
    MPS_TRY(text);
    while (!text->empty() && (text->back() == '\n' || text->back() == '\r'))
        text->pop_back();
    if (text->empty() || text->find_first_of("\r\n") != text->npos)
        return fail(ErrorCode::usage, fmt::format("{} does not hold one line", file),
                    "write name:password into it, or a token");
    return text;
}

Result<void> check_readable(const Tls &tls) {
    for (const std::string &file : {tls.authority, tls.certificate, tls.key})
        if (!file.empty() && ::access(file.c_str(), R_OK))
            return std::unexpected(system_error(errno, fmt::format("reading {}", file)));
    return {};
}

// Behind the contents, so that lines have the numbers that they have in the store.
std::string written(const Value &value, const Address &address) {
    const std::string_view contents = *value.contents;
    return fmt::format("{}{}# From {}, revision {}. What is changed here is lost with the next one.\n",
                       contents, contents.empty() || contents.ends_with('\n') ? "" : "\n", address.text,
                       value.revision);
}

} // namespace

Result<StoreFollower> StoreFollower::start(const Options &options, std::string config, std::string state) {
    WatcherOptions all{.node = options.node.empty() ? host_name() : options.node, .tls = options.tls};
    auto address = parse_address(options.address);
    MPS_TRY(address);
    all.address = std::move(*address);
    auto login = read_login(options.login_file);
    MPS_TRY(login);
    all.login = std::move(*login);
    MPS_TRY(check_readable(options.tls));
    if (all.node.empty() || all.node.find_first_of("/ \t\n") != all.node.npos)
        return fail(ErrorCode::usage, fmt::format("'{}' is no name for a host in the store", all.node),
                    "--watch-as gives it one");
    StoreFollower follower(std::move(all), std::move(config), std::move(state));
    follower.recall();
    auto watcher = Watcher::start(follower.options_);
    MPS_TRY(watcher);
    follower.watcher_.emplace(std::move(*watcher));
    follower.started_ = std::chrono::steady_clock::now();
    return follower;
}

void StoreFollower::recall() {
    const auto text = config::read_whole(memory());
    const Json all = text ? Json::parse(*text, nullptr, false) : Json();
    // Of another key it means nothing.
    if (all.is_object() && all.value("key", "") == options_.address.key) {
        cluster_ = all.value("cluster", "");
        revision_ = all.value("revision", std::int64_t{0});
    }
}

void StoreFollower::remember() {
    const Json all{{"key", options_.address.key}, {"cluster", cluster_}, {"revision", revision_}};
    ::mkdir(state_.c_str(), 0700);
    if (const auto kept = config::replace_file(memory(), all.dump() + "\n"); !kept)
        news_.push_back(
            fmt::format("which revision of the store was taken is not kept: {}", kept.error().what));
}

// Told once.
void StoreFollower::note(std::string &place, std::string what) {
    if (what != place)
        news_.push_back(fmt::format("{}; what is in force stays so", what));
    place = std::move(what);
}

Result<void> StoreFollower::check(const Value &value) const {
    if (!value.contents)
        return fail(ErrorCode::failed, fmt::format("the store has no key {}", options_.address.key));
    if (cluster_ == value.cluster && value.revision < revision_)
        return fail(ErrorCode::failed,
                    fmt::format("the store went back from revision {} to {}", revision_, value.revision),
                    "put the settings into it once more");
    if (value.contents->size() > most_contents)
        return fail(ErrorCode::usage, fmt::format("revision {} is larger than 1 MiB", value.revision));
    const auto desired = config::load(config_, *value.contents);
    MPS_TRY(desired);
    return {};
}

void StoreFollower::take_right(const Value &value, const std::function<void()> &reload) {
    const std::string text = written(value, options_.address);
    if (const auto before = config::read_whole(config_); before && *before == text)
        return;
    if (const auto replaced = config::replace_file(config_, text); !replaced) {
        refused_ = replaced.error();
        news_.push_back(fmt::format("revision {} of the store cannot be written: {}", value.revision,
                                    replaced.error().what));
        return;
    }
    news_.push_back(fmt::format("revision {} of the store is taken", value.revision));
    reload();
}

void StoreFollower::take(const Value &value, const std::function<void()> &reload) {
    const auto right = check(value);
    if (!right && (!value.contents || (cluster_ == value.cluster && value.revision < revision_))) {
        note(doubt_, right.error().what);
        return;
    }
    doubt_.clear();
    refused_.reset();
    if (right) {
        take_right(value, reload);
    } else {
        refused_ = right.error();
        news_.push_back(fmt::format("revision {} of the store is refused: {}; what is in force stays so",
                                    value.revision, right.error().what));
    }
    if (cluster_ != value.cluster || revision_ != value.revision) {
        cluster_ = value.cluster;
        revision_ = value.revision;
        remember();
    }
}

void StoreFollower::receive(const std::function<void()> &reload) {
    const auto messages = watcher_->receive();
    if (!messages) {
        watcher_.reset();
        reached_ = false;
        note(fault_, messages.error().what);
        return;
    }
    for (const Message &message : *messages) {
        reached_ = message.reached;
        if (message.error)
            note(fault_, message.error->what);
        else
            fault_.clear();
        if (message.value)
            take(*message.value, reload);
    }
}

void StoreFollower::tell(const std::string &config_revision, const std::function<std::string()> &summary) {
    const auto now = std::chrono::steady_clock::now();
    if (!watcher_ && now - started_ >= restart_interval) {
        started_ = now;
        if (auto again = Watcher::start(options_))
            watcher_.emplace(std::move(*again));
        told_ = Json();
    }
    const bool same_revision = told_.is_object() && told_["store_revision"] == revision_;
    if (!watcher_ || !revision_ || (same_revision && now - told_at_ < report_interval))
        return;
    told_at_ = now;
    Json report{{"node", options_.node},
                {"version", version()},
                {"store_revision", revision_},
                {"result", refused_ ? "refused" : "taken"},
                {"config_revision", config_revision},
                {"summary", summary()}};
    if (refused_)
        report["error"] = error_json(*refused_);
    if (report == told_)
        return;
    watcher_->report(report.dump(-1, ' ', false, Json::error_handler_t::replace));
    told_ = std::move(report);
}

Json StoreFollower::describe() const {
    Json all{{"address", options_.address.text},
             {"node", options_.node},
             {"reached", reached_},
             {"revision", revision_}};
    if (refused_)
        all["refused"] = error_json(*refused_);
    if (!fault_.empty())
        all["error"] = fault_;
    if (!doubt_.empty())
        all["doubt"] = doubt_;
    return all;
}

} // namespace mps::service::store
