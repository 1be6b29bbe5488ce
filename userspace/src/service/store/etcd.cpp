// SPDX-License-Identifier: MIT

#include "service/store/etcd.hpp"

#include "base/try.hpp"

#include <charconv>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <openssl/evp.h>

namespace mps::service::store {

namespace {

using Json = nlohmann::json;

std::string encoded(std::string_view text) {
    std::string all((text.size() + 2) / 3 * 4 + 1, '\0');
    const int length =
        EVP_EncodeBlock(reinterpret_cast<unsigned char *>(all.data()),
                        reinterpret_cast<const unsigned char *>(text.data()), static_cast<int>(text.size()));
    all.resize(static_cast<std::size_t>(length));
    return all;
}

std::optional<std::string> decoded(const std::string &text) {
    std::string all(text.size() / 4 * 3 + 1, '\0');
    int length =
        EVP_DecodeBlock(reinterpret_cast<unsigned char *>(all.data()),
                        reinterpret_cast<const unsigned char *>(text.data()), static_cast<int>(text.size()));
    if (length < 0)
        return std::nullopt;
    // What was filled up to a multiple of three comes out as zeros.
    for (std::size_t i = text.size(); i > 0 && text[i - 1] == '=' && length > 0; i--)
        length--;
    all.resize(static_cast<std::size_t>(length));
    return all;
}

std::int64_t number(const Json &object, const char *name) {
    const auto it = object.is_object() ? object.find(name) : object.end();
    if (it == object.end())
        return 0;
    if (it->is_number_integer())
        return it->get<std::int64_t>();
    std::int64_t value = 0;
    if (it->is_string()) {
        const std::string &text = it->get_ref<const std::string &>();
        std::from_chars(text.data(), text.data() + text.size(), value);
    }
    return value;
}

std::string word(const Json &object, const char *name) {
    const auto it = object.is_object() ? object.find(name) : object.end();
    return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

const Json &member(const Json &object, const char *name) {
    static const Json nothing;
    const auto it = object.is_object() ? object.find(name) : object.end();
    return it == object.end() ? nothing : *it;
}

std::unexpected<Error> not_understood(std::string_view text) {
    return fail(ErrorCode::failed,
                fmt::format("the store answers with what is no answer: {}", text.substr(0, 80)));
}

// etcd has its errors as {"error": "text"} for one answer, and as {"error": {"message": …}} in a stream.
std::optional<Error> error_in(const Json &all) {
    const Json &error = member(all, "error");
    if (error.is_null())
        return std::nullopt;
    const std::string text = error.is_string() ? error.get<std::string>() : word(error, "message");
    return Error{.what = fmt::format("the store refuses: {}", text.substr(0, 200))};
}

Result<Json> parse(std::string_view text) {
    Json all = Json::parse(text, nullptr, false);
    if (!all.is_object())
        return not_understood(text);
    if (auto error = error_in(all))
        return std::unexpected(std::move(*error));
    return all;
}

Result<Value> value_of(const Json &pair) {
    auto contents = decoded(word(pair, "value"));
    if (!contents)
        return fail(ErrorCode::failed, "the store's value is no base64");
    return Value{.cluster = "", .revision = number(pair, "mod_revision"), .contents = std::move(contents)};
}

} // namespace

std::string range_body(std::string_view key) { return Json{{"key", encoded(key)}}.dump(); }

Result<Answer> read_range(std::string_view text) {
    const auto all = parse(text);
    MPS_TRY(all);
    const Json &header = member(*all, "header"), &pairs = member(*all, "kvs");
    Answer answer{.store_revision = number(header, "revision")};
    if (answer.store_revision <= 0)
        return not_understood(text);
    if (pairs.is_array() && !pairs.empty()) {
        auto value = value_of(pairs.front());
        MPS_TRY(value);
        answer.value = std::move(*value);
    }
    answer.value.cluster = word(header, "cluster_id");
    return answer;
}

std::string watch_body(std::string_view key, std::int64_t revision) {
    return Json{{"create_request", {{"key", encoded(key)}, {"start_revision", fmt::format("{}", revision)}}}}
        .dump();
}

Result<std::optional<Value>> read_watch(std::string_view line) {
    const auto all = parse(line);
    MPS_TRY(all);
    const Json &result = member(*all, "result"), &events = member(result, "events");
    if (!result.is_object())
        return not_understood(line);
    if (const Json &canceled = member(result, "canceled"); canceled.is_boolean() && canceled.get<bool>())
        return fail(ErrorCode::failed,
                    fmt::format("the store ends the watch: {}", word(result, "cancel_reason")));
    if (!events.is_array() || events.empty())
        return std::nullopt;
    // Of several changes at once the last is in force.
    const Json &last = events.back();
    Value value;
    if (word(last, "type") != "DELETE") {
        auto there = value_of(member(last, "kv"));
        MPS_TRY(there);
        value = std::move(*there);
    } else {
        value.revision = number(member(last, "kv"), "mod_revision");
    }
    value.cluster = word(member(result, "header"), "cluster_id");
    return value;
}

std::string put_body(std::string_view key, std::string_view value) {
    return Json{{"key", encoded(key)}, {"value", encoded(value)}}.dump();
}

Result<void> read_done(std::string_view text) {
    const auto all = parse(text);
    MPS_TRY(all);
    return {};
}

std::string login_body(std::string_view name, std::string_view password) {
    return Json{{"name", name}, {"password", password}}.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<std::string> read_token(std::string_view text) {
    const auto all = parse(text);
    MPS_TRY(all);
    std::string token = word(*all, "token");
    if (token.empty() || token.find_first_of("\r\n") != token.npos)
        return not_understood(text);
    return token;
}

} // namespace mps::service::store
