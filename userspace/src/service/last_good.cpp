// SPDX-License-Identifier: MIT

#include "service/last_good.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/try.hpp"

namespace mps::service {

using Json = nlohmann::json;

Result<void> LastGood::keep(const config::Desired &desired) const {
    if (::mkdir(folder_.c_str(), 0700) && errno != EEXIST)
        return std::unexpected(system_error(errno, fmt::format("making {}", folder_)));
    Json all{{"config", config_}, {"revision", desired.revision}, {"files", Json::array()}};
    for (const config::Source &one : desired.sources)
        all["files"].push_back({{"path", one.path}, {"contents", one.contents}});
    // Files may hold comments in any encoding.
    const std::string text = all.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
    if (const auto before = config::read_whole(file()); before && *before == text)
        return {};
    return config::replace_file(file(), text);
}

Result<config::Desired> LastGood::load() const {
    const auto text = config::read_whole(file());
    MPS_TRY(text);
    const Json all = Json::parse(*text, nullptr, false);
    const auto unusable = [&] {
        return fail(ErrorCode::failed, fmt::format("{} is damaged", file()),
                    "it is written anew when the files are right");
    };
    if (!all.is_object() || !all.contains("files") || !all["files"].is_array())
        return unusable();
    if (all.value("config", "") != config_)
        return fail(ErrorCode::failed, fmt::format("{} is of other files", file()), "");
    std::vector<config::Problem> problems;
    std::vector<config::File> files;
    for (const Json &one : all["files"]) {
        if (!one.is_object() || !one.contains("path") || !one["path"].is_string() ||
            !one.contains("contents") || !one["contents"].is_string())
            return unusable();
        files.push_back(config::parse(one["path"], one["contents"], problems));
    }
    if (!problems.empty())
        return unusable();
    config::Desired desired = config::build(files, problems);
    if (!problems.empty())
        return std::unexpected(config::error_of(problems));
    return desired;
}

} // namespace mps::service
