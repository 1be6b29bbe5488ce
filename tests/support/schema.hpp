// SPDX-License-Identifier: MIT
//
// As much of JSON Schema (draft 7) as docs/mpsched.schema.json uses.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace mps::test {

class Schema {
  public:
    // `strict`: members that are not described are a mistake as well, for the tests that keep the description whole.
    explicit Schema(nlohmann::json root, bool strict) : root_(std::move(root)), strict_(strict) {}

    // What is wrong with a command's document, empty if nothing is. `command` as in the table, or "error".
    [[nodiscard]] std::vector<std::string> check(const std::string &command, const nlohmann::json &document) {
        wrong_.clear();
        if (command == "error")
            visit(root_.at("definitions").at("error"), document, "");
        else if (root_.at("commands").contains(command))
            visit(root_.at("commands").at(command), document, "");
        else
            wrong_.push_back("the schema has no command " + command);
        return wrong_;
    }

  private:
    using Json = nlohmann::json;

    static bool is(const std::string &type, const Json &value) {
        return (type == "object" && value.is_object()) || (type == "array" && value.is_array()) ||
               (type == "string" && value.is_string()) || (type == "boolean" && value.is_boolean()) ||
               (type == "integer" && value.is_number_integer()) || (type == "null" && value.is_null());
    }

    void visit(const Json &schema, const Json &value, const std::string &at) {
        if (schema.contains("$ref")) {
            const std::string name = schema["$ref"].get<std::string>();
            visit(root_.at(Json::json_pointer(name.substr(1))), value, at);
            return;
        }
        if (schema.contains("allOf")) {
            all_of(schema, value, at);
            return;
        }
        if (schema.contains("const") && value != schema["const"])
            wrong_.push_back(at + ": is not " + schema["const"].dump());
        if (schema.contains("enum") && std::ranges::find(schema["enum"], value) == schema["enum"].end())
            wrong_.push_back(at + ": " + value.dump() + " is none of " + schema["enum"].dump());
        if (schema.contains("type")) {
            const Json types = schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]});
            if (std::ranges::none_of(types,
                                     [&](const Json &one) { return is(one.get<std::string>(), value); }))
                wrong_.push_back(at + ": " + value.dump() + " is no " + schema["type"].dump());
        }
        if (value.is_array() && schema.contains("items"))
            for (const Json &item : value)
                visit(schema["items"], item, at + "[]");
        if (value.is_object())
            members(schema, value, at);
    }

    // Parts of one object: together they describe its members.
    void all_of(const Json &schema, const Json &value, const std::string &at) {
        Json merged{{"type", "object"}, {"properties", Json::object()}, {"required", Json::array()}};
        for (Json part : schema["allOf"]) {
            if (part.contains("$ref"))
                part = root_.at(Json::json_pointer(part["$ref"].get<std::string>().substr(1)));
            merged["properties"].update(part["properties"]);
            for (const Json &name : part["required"])
                merged["required"].push_back(name);
        }
        visit(merged, value, at);
    }

    void members(const Json &schema, const Json &value, const std::string &at) {
        const Json described = schema.value("properties", Json::object());
        for (const Json &name : schema.value("required", Json::array()))
            if (!value.contains(name.get<std::string>()))
                wrong_.push_back(at + ": has no " + name.dump());
        for (const auto &[name, member] : value.items()) {
            const std::string where = at + "/" + name;
            if (described.contains(name))
                visit(described[name], member, where);
            else if (schema.contains("additionalProperties"))
                visit(schema["additionalProperties"], member, where);
            else if (strict_)
                wrong_.push_back(where + ": is not described in docs/mpsched.schema.json");
        }
    }

    Json root_;
    bool strict_;
    std::vector<std::string> wrong_;
};

} // namespace mps::test
