// SPDX-License-Identifier: MIT
#include "commands/links.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "output/text.hpp"

namespace mps::cli {

namespace {

// What NetworkManager said, as mpschedd hands it on.
Json said_in(const Json &service) {
    const auto manager = service.is_object() ? service.find("network_manager") : service.end();
    if (manager == service.end() || !manager->is_object())
        return Json::array();
    const Json said = manager->value("metered", Json::array());
    return said.is_array() ? said : Json::array();
}

Json wireless_json(const Wireless &one) {
    const auto number = [](const auto &value) { return value ? Json(*value) : Json(nullptr); };
    return {{"mode", one.mode},
            {"standard", one.standard.empty() ? Json(nullptr) : Json(one.standard)},
            {"frequency_mhz", number(one.frequency_mhz)},
            {"signal_dbm", number(one.signal_dbm)},
            {"tx_bit_s", number(one.tx_bit_s)},
            {"rx_bit_s", number(one.rx_bit_s)}};
}

} // namespace

LinkWords::LinkWords(std::vector<Link> links, const Json &service)
    : links_(std::move(links)), said_(said_in(service)) {}

LinkWords LinkWords::look(const Instance &instance, const Json &service, std::vector<std::string> &warnings) {
    auto found = links(instance);
    if (!found)
        warnings.push_back(found.error().what);
    return {found ? std::move(*found) : std::vector<Link>{}, service};
}

const Link *LinkWords::find(std::uint32_t ifindex) const {
    const auto link = std::ranges::find(links_, ifindex, &Link::ifindex);
    return ifindex && link != links_.end() ? &*link : nullptr;
}

std::string LinkWords::text(std::uint32_t ifindex) const {
    const Link *link = find(ifindex);
    if (!link)
        return {};
    std::string all = link->type;
    if (!link->carrier)
        all += ", no carrier";
    if (link->bit_s)
        all += fmt::format(", {}", text::bit_rate(*link->bit_s / 8));
    if (link->wireless && link->wireless->signal_dbm)
        all += fmt::format(", {} dBm", *link->wireless->signal_dbm);
    if (link->wireless && !link->wireless->standard.empty())
        all += ", " + link->wireless->standard;
    for (const Json &one : said_)
        if (one.value("interface", "") == link->name && one.value("metered", false))
            all +=
                fmt::format(", metered ({}NetworkManager)", one.value("guessed", false) ? "a guess of " : "");
    return all;
}

Json LinkWords::json(std::uint32_t ifindex) const {
    const Link *link = find(ifindex);
    if (!link)
        return nullptr;
    Json one{{"type", link->type},
             {"carrier", link->carrier},
             {"bit_s", link->bit_s ? Json(*link->bit_s) : Json(nullptr)},
             {"wireless", link->wireless ? wireless_json(*link->wireless) : Json(nullptr)},
             {"metered", nullptr},
             {"metered_by", nullptr}};
    for (const Json &said : said_)
        if (said.value("interface", "") == link->name) {
            one["metered"] = said.value("metered", false);
            one["metered_by"] = said.value("guessed", false) ? "a guess of NetworkManager" : "NetworkManager";
        }
    return one;
}

std::set<std::string> metered_names(const Json &service) {
    std::set<std::string> names;
    for (const Json &one : said_in(service))
        if (one.value("metered", false))
            names.insert(one.value("interface", ""));
    return names;
}

} // namespace mps::cli
