// SPDX-License-Identifier: MIT
//
// The C interface: Instance with text in and JSON out. No exception leaves it.
#include "mpsched/mpsched.h"

#include <cstring>
#include <exception>
#include <functional>
#include <optional>

#include "base/try.hpp"
#include "mpsched/policy_names.hpp"
#include "mpsched/version.hpp"
#include "json/documents.hpp"

using mps::Json;
using mps::Result;

struct mpsched {
    mps::Instance instance;
    std::optional<mps::Watch> watch{};
};

namespace {

char *copy_of(const std::string &text) { return ::strdup(text.c_str()); }

int give(const Result<Json> &result, char **answer) {
    Json document{{"version", 2}};
    if (result)
        document.update(*result);
    else
        document["error"] = error_json(result.error());
    if (answer)
        *answer = copy_of(mps::json_text(document));
    return result ? 0 : static_cast<int>(result.error().code);
}

int answer_with(char **answer, const std::function<Result<Json>()> &call) {
    try {
        if (answer)
            *answer = nullptr;
        return give(call(), answer);
    } catch (const std::exception &trouble) {
        if (answer)
            *answer = nullptr;
        return static_cast<int>(mps::ErrorCode::failed);
    }
}

std::vector<std::string> texts(const char *const *list) {
    std::vector<std::string> all;
    for (; list && *list; list++)
        all.emplace_back(*list);
    return all;
}

Result<std::vector<mps::Setting>> settings_of(const char *const *list) {
    std::vector<mps::Setting> all;
    for (const std::string &text : texts(list)) {
        auto setting = mps::parse_setting(text);
        MPS_TRY(setting);
        all.push_back(std::move(*setting));
    }
    return all;
}

std::optional<std::string> optional(const char *text) {
    return text ? std::optional<std::string>(text) : std::nullopt;
}

Json with_warnings(Json document, const std::vector<std::string> &warnings) {
    document["warnings"] = warnings;
    return document;
}

Json change_json(const mps::Change &change) {
    return {{"kind", to_string(change.kind)},
            {"token", change.token},
            {"subflow", change.subflow ? Json(*change.subflow) : Json(nullptr)},
            {"interface", change.interface},
            {"now", change.now.empty() ? Json(nullptr) : Json(change.now)},
            {"why", change.why.empty() ? Json(nullptr) : Json(change.why)}};
}

// {"MEMBER": [...]} of a list that a call gave.
template <class List, class Render>
Result<Json> listed(const char *member, const List &list, const Render &render) {
    MPS_TRY(list);
    Json document{{member, Json::array()}};
    for (const auto &one : *list)
        document[member].push_back(render(one));
    return document;
}

} // namespace

const char *mpsched_version() { return mps::version().data(); }

void mpsched_free(char *answer) { std::free(answer); }

int mpsched_open(const char *netns, mpsched **out, char **answer) {
    *out = nullptr;
    return answer_with(answer, [&]() -> Result<Json> {
        auto instance = mps::Instance::open({.netns = netns ? netns : ""});
        MPS_TRY(instance);
        *out = new mpsched{std::move(*instance)};
        return Json::object();
    });
}

void mpsched_close(mpsched *m) { delete m; }

int mpsched_status(mpsched *m, char **answer) {
    return answer_with(answer, [&]() -> Result<Json> {
        const auto status = m->instance.status();
        MPS_TRY(status);
        return mps::status_json(*status);
    });
}

int mpsched_connections(mpsched *m, unsigned sample_ms, char **answer) {
    return answer_with(answer, [&] {
        return listed("connections", m->instance.connections(sample_ms), mps::connection_json);
    });
}

int mpsched_policies(mpsched *m, char **answer) {
    return answer_with(answer, [&] { return listed("policies", m->instance.policies(), mps::policy_json); });
}

int mpsched_stats(mpsched *m, char **answer) {
    return answer_with(answer, [&]() -> Result<Json> {
        const auto counters = m->instance.stats();
        MPS_TRY(counters);
        return Json{{"counters", mps::stats_json(*counters)}};
    });
}

int mpsched_attach(mpsched *m, const char *const *interfaces, const char *policy, char **answer) {
    return mpsched_attach_as(m, interfaces, nullptr, policy, answer);
}

int mpsched_attach_as(mpsched *m, const char *const *interfaces, const char *role, const char *policy,
                      char **answer) {
    return answer_with(answer, [&]() -> Result<Json> {
        const auto as = mps::parse_role(role ? role : to_string(mps::Role::host));
        MPS_TRY(as);
        const auto result =
            m->instance.attach({.interfaces = texts(interfaces),
                                .role = *as,
                                .policy = policy ? policy : std::string(mps::recommended_policy),
                                .policy_only_if_first = policy == nullptr});
        MPS_TRY(result);
        return with_warnings(mps::attach_json(*result), result->warnings);
    });
}

int mpsched_detach(mpsched *m, const char *const *interfaces, char **answer) {
    return answer_with(answer, [&]() -> Result<Json> {
        const auto names = texts(interfaces);
        const auto result = m->instance.detach({.interfaces = names, .all = names.empty()});
        MPS_TRY(result);
        return with_warnings(mps::detach_json(*result), result->warnings);
    });
}

int mpsched_use(mpsched *m, const char *policy, const char *selector, const char *const *settings,
                char **answer) {
    return answer_with(answer, [&]() -> Result<Json> {
        const auto params = settings_of(settings);
        MPS_TRY(params);
        const auto result =
            m->instance.use({.policy = policy, .params = *params, .selector = optional(selector)});
        MPS_TRY(result);
        return with_warnings(mps::use_json(*result, optional(selector), false), result->warnings);
    });
}

int mpsched_unuse(mpsched *m, const char *selector, char **answer) {
    return answer_with(answer, [&]() -> Result<Json> {
        if (!selector) {
            const auto removed = m->instance.remove_all_rules();
            MPS_TRY(removed);
            return Json{{"removed", *removed}};
        }
        const auto removed = m->instance.remove_rule(selector);
        MPS_TRY(removed);
        return Json{{"removed", *removed ? Json{selector} : Json::array()}};
    });
}

int mpsched_set(mpsched *m, const char *policy, const char *const *settings, char **answer) {
    return answer_with(answer, [&]() -> Result<Json> {
        const auto wanted = settings_of(settings);
        MPS_TRY(wanted);
        const auto result = m->instance.set(*wanted, {.policy = policy ? policy : ""});
        MPS_TRY(result);
        return mps::set_json(*result, *wanted);
    });
}

int mpsched_path(mpsched *m, const char *interface, const char *const *settings, char **answer) {
    return answer_with(answer, [&]() -> Result<Json> {
        const auto wanted = settings_of(settings);
        MPS_TRY(wanted);
        const auto path = m->instance.path(interface, *wanted);
        MPS_TRY(path);
        return mps::path_json(*path);
    });
}

int mpsched_watch(mpsched *m, unsigned interval_ms, int *fd, char **answer) {
    return answer_with(answer, [&]() -> Result<Json> {
        auto watch = m->instance.watch(interval_ms);
        MPS_TRY(watch);
        *fd = watch->fd();
        m->watch = std::move(*watch);
        return Json::object();
    });
}

int mpsched_changes(mpsched *m, char **answer) {
    return answer_with(answer, [&]() -> Result<Json> {
        if (!m->watch)
            return mps::fail(mps::ErrorCode::usage, "nothing is watched", "mpsched_watch() comes first");
        return listed("changes", m->watch->changes(), change_json);
    });
}
