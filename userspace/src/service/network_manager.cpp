// SPDX-License-Identifier: MIT
#include "service/network_manager.hpp"

#include <poll.h>
#include <systemd/sd-bus.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>

#include <fmt/format.h>

namespace mps::service {

namespace {

using namespace std::chrono_literals;
using Clock = NetworkManager::Clock;

constexpr const char *service_name = "org.freedesktop.NetworkManager";
constexpr const char *manager_path = "/org/freedesktop/NetworkManager";
constexpr const char *device_interface = "org.freedesktop.NetworkManager.Device";

// NetworkManager tells of one change by several signals.
constexpr auto settle_time = 50ms;
constexpr auto shortest_pause = 1s;
constexpr auto longest_pause = 60s;
// A machine has some; a bus that names more than this is not believed.
constexpr std::size_t most_devices = 4096;
// What is taken at a time, so that a bus that never stops talking holds up nothing.
constexpr int most_messages = 1000;

// NMMetered
constexpr std::uint32_t metered_unknown = 0, metered_yes = 1, metered_guess_yes = 3, metered_guess_no = 4;

struct CloseBus {
    // Without flushing, which would wait.
    void operator()(sd_bus *bus) const {
        sd_bus_close(bus);
        sd_bus_unref(bus);
    }
};
struct DropMessage {
    void operator()(sd_bus_message *message) const { sd_bus_message_unref(message); }
};
using Message = std::unique_ptr<sd_bus_message, DropMessage>;

struct Device {
    std::string interface{};
    std::string ip_interface{}; // a modem's port is not the interface that has the addresses
    std::string address{};
    std::uint32_t metered = metered_unknown;
};

// The value of a variant of that type; a bus that has another type there is not believed.
int read_text(sd_bus_message *reply, std::string &to) {
    const char *text = nullptr;
    const int err = sd_bus_message_read(reply, "v", "s", &text);
    if (err >= 0 && text)
        to = text;
    return err;
}

int read_property(sd_bus_message *reply, Device &device) {
    const char *name = nullptr;
    if (const int err = sd_bus_message_read(reply, "s", &name); err < 0)
        return err;
    if (!std::strcmp(name, "Interface"))
        return read_text(reply, device.interface);
    if (!std::strcmp(name, "IpInterface"))
        return read_text(reply, device.ip_interface);
    if (!std::strcmp(name, "HwAddress"))
        return read_text(reply, device.address);
    if (!std::strcmp(name, "Metered"))
        return sd_bus_message_read(reply, "v", "u", &device.metered);
    return sd_bus_message_skip(reply, "v");
}

std::optional<Device> read_device(sd_bus_message *reply) {
    Device device;
    if (sd_bus_message_enter_container(reply, 'a', "{sv}") < 0)
        return std::nullopt;
    int more = 0;
    while ((more = sd_bus_message_enter_container(reply, 'e', "sv")) > 0)
        if (read_property(reply, device) < 0 || sd_bus_message_exit_container(reply) < 0)
            return std::nullopt;
    return more < 0 ? std::nullopt : std::optional(std::move(device));
}

std::string lower(std::string text) {
    std::ranges::transform(text, text.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

const char *bus_address() {
    const char *address = std::getenv("DBUS_SYSTEM_BUS_ADDRESS");
    return address && *address ? address : "unix:path=/run/dbus/system_bus_socket";
}

} // namespace

struct NetworkManager::Talk {
    using State = NetworkManager::State;
    std::unique_ptr<sd_bus, CloseBus> bus{};
    State state = State::asking;
    std::map<std::string, MeteredWord> words{};
    std::vector<std::string> news{};

    // One round of questions.
    std::size_t unanswered = 0;
    Clock::time_point deadline{}; // of the round
    std::map<std::string, MeteredWord> fresh{};
    std::vector<std::string> unknown{}; // listed, and nothing is said of them at the moment

    bool again = false; // something has changed
    Clock::time_point again_at{};
    bool broken = false; // by what a call back saw
    unsigned tries = 0;
    Clock::time_point connect_at{}; // while there is no bus

    void note(State now, std::string_view why);
    void keep_up();
    void connect();
    void drop(State now, std::string_view why);
    void ask();
    bool call(const char *path, const char *interface, const char *member, const char *argument,
              sd_bus_message_handler_t on_answer);
    bool listen(const char *rule, sd_bus_message_handler_t on_signal);
    void change() {
        again = true;
        again_at = Clock::now() + settle_time;
    }
    void take_list(sd_bus_message *reply);
    void take_device(sd_bus_message *reply);
    void take(const Device &device);
    void finish();

    static Talk &of(void *data) { return *static_cast<Talk *>(data); }
    static int on_list(sd_bus_message *reply, void *data, sd_bus_error *) {
        of(data).take_list(reply);
        return 0;
    }
    static int on_device(sd_bus_message *reply, void *data, sd_bus_error *) {
        of(data).take_device(reply);
        return 0;
    }
    static int on_change(sd_bus_message *, void *data, sd_bus_error *) {
        of(data).change();
        return 0;
    }
    // Of the rules about what is wanted to be heard: without them changes would go unnoticed.
    static int on_listening(sd_bus_message *reply, void *data, sd_bus_error *) {
        if (sd_bus_message_is_method_error(reply, nullptr))
            of(data).broken = true;
        return 0;
    }
};

void NetworkManager::Talk::note(State now, std::string_view why) {
    // Hosts without it are the usual case, and what has never been there is no news.
    const bool quiet = state == State::asking && (now == State::no_bus || now == State::absent);
    if (now != state && !quiet)
        news.emplace_back(why);
    state = now;
}

void NetworkManager::Talk::drop(State now, std::string_view why) {
    bus.reset();
    unanswered = 0;
    again = false;
    broken = false;
    note(now, why);
    connect_at = Clock::now() +
                 std::min<std::chrono::seconds>(shortest_pause * (1U << std::min(tries, 6U)), longest_pause);
    tries++;
}

bool NetworkManager::Talk::listen(const char *rule, sd_bus_message_handler_t on_signal) {
    return sd_bus_add_match_async(bus.get(), nullptr, rule, on_signal, on_listening, this) >= 0;
}

void NetworkManager::Talk::connect() {
    sd_bus *made = nullptr;
    if (sd_bus_new(&made) < 0)
        return drop(State::no_bus, "no D-Bus");
    bus.reset(made);
    if (const int err = sd_bus_set_address(made, bus_address());
        err < 0 || sd_bus_set_bus_client(made, 1) < 0 || sd_bus_start(made) < 0)
        return drop(State::no_bus,
                    "the system's D-Bus cannot be reached; what is metered stays as it was said last");
    const bool listening =
        listen(
            "type='signal',sender='org.freedesktop.NetworkManager',interface='org.freedesktop.DBus.Properties',"
            "member='PropertiesChanged',arg0='org.freedesktop.NetworkManager.Device'",
            on_change) &&
        listen(
            "type='signal',sender='org.freedesktop.NetworkManager',interface='org.freedesktop.NetworkManager',"
            "member='DeviceAdded'",
            on_change) &&
        listen(
            "type='signal',sender='org.freedesktop.NetworkManager',interface='org.freedesktop.NetworkManager',"
            "member='DeviceRemoved'",
            on_change) &&
        listen("type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"
               "member='NameOwnerChanged',arg0='org.freedesktop.NetworkManager'",
               on_change);
    if (!listening)
        return drop(State::no_bus, "the system's D-Bus does not tell of changes");
    ask();
}

bool NetworkManager::Talk::call(const char *path, const char *interface, const char *member,
                                const char *argument, sd_bus_message_handler_t on_answer) {
    sd_bus_message *made = nullptr;
    if (sd_bus_message_new_method_call(bus.get(), &made, service_name, path, interface, member) < 0)
        return false;
    const Message message(made);
    // Whoever does not use NetworkManager does not get it started by us.
    if (sd_bus_message_set_auto_start(made, 0) < 0 ||
        (argument && sd_bus_message_append(made, "s", argument) < 0) ||
        sd_bus_call_async(bus.get(), nullptr, made, on_answer, this, 0) < 0)
        return false;
    unanswered++;
    return true;
}

void NetworkManager::Talk::ask() {
    again = false;
    fresh.clear();
    unknown.clear();
    deadline = Clock::now() + NetworkManager::patience;
    if (!call(manager_path, service_name, "GetDevices", nullptr, on_list))
        broken = true;
}

void NetworkManager::Talk::take_list(sd_bus_message *reply) {
    unanswered--;
    if (const sd_bus_error *error = sd_bus_message_get_error(reply)) {
        broken = !sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) &&
                 !sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER);
        if (broken)
            return;
        tries = 0;
        return note(State::absent, "NetworkManager is away; what is metered stays as it said last");
    }
    char **paths = nullptr;
    if (sd_bus_message_read_strv(reply, &paths) < 0) {
        broken = true;
        return;
    }
    std::size_t count = 0;
    for (char **path = paths; path && *path; path++) {
        broken |= count++ >= most_devices ||
                  !call(*path, "org.freedesktop.DBus.Properties", "GetAll", device_interface, on_device);
        std::free(*path);
    }
    std::free(paths);
    if (unanswered == 0)
        finish();
}

void NetworkManager::Talk::take(const Device &device) {
    const bool own = device.ip_interface.empty() || device.ip_interface == device.interface;
    const std::string &name = own ? device.interface : device.ip_interface;
    if (device.metered == metered_unknown)
        unknown.push_back(name);
    else if (device.metered <= metered_guess_no)
        fresh[name] = {.metered = device.metered == metered_yes || device.metered == metered_guess_yes,
                       .guessed = device.metered >= metered_guess_yes,
                       .address = own ? lower(device.address) : ""};
}

void NetworkManager::Talk::take_device(sd_bus_message *reply) {
    unanswered--;
    // One that is gone meanwhile is no mistake; that there is one less is told by a signal as well.
    if (!sd_bus_message_is_method_error(reply, nullptr)) {
        if (const auto device = read_device(reply))
            take(*device);
        else
            broken = true;
    }
    if (unanswered == 0)
        finish();
}

void NetworkManager::Talk::finish() {
    // It knows nothing of a device that is not connected; what was so before is then the better word.
    for (const std::string &name : unknown)
        if (const auto before = words.find(name); before != words.end())
            fresh.try_emplace(name, before->second);
    words = std::move(fresh);
    fresh.clear();
    tries = 0;
    note(State::answers, "NetworkManager tells what is metered");
}

void NetworkManager::Talk::keep_up() {
    if (!bus) {
        if (Clock::now() < connect_at)
            return;
        connect();
    }
    int did = 1;
    for (int i = 0; bus && did > 0 && !broken && i < most_messages; i++)
        did = sd_bus_process(bus.get(), nullptr);
    if (!bus)
        return;
    if (did < 0 && did != -EINTR)
        return drop(State::no_bus, "the system's D-Bus is gone; what is metered stays as it was said last");
    if (broken)
        return drop(State::silent,
                    "NetworkManager cannot be asked; what is metered stays as it was said last");
    if (unanswered > 0 && Clock::now() >= deadline)
        return drop(State::silent,
                    fmt::format("the system's D-Bus has not answered for {} s; what is metered "
                                "stays as it was said last",
                                NetworkManager::patience.count()));
    if (again && unanswered == 0 && Clock::now() >= again_at)
        ask();
}

NetworkManager::NetworkManager() : talk_(std::make_unique<Talk>()) {}
NetworkManager::~NetworkManager() = default;

int NetworkManager::fd() const { return talk_->bus ? sd_bus_get_fd(talk_->bus.get()) : -1; }

short NetworkManager::events() const {
    const int events = talk_->bus ? sd_bus_get_events(talk_->bus.get()) : 0;
    return static_cast<short>(std::max(events, 0));
}

NetworkManager::Clock::time_point NetworkManager::next() const {
    if (!talk_->bus)
        return talk_->connect_at;
    if (talk_->unanswered > 0)
        return talk_->deadline;
    return talk_->again ? talk_->again_at : Clock::time_point::max();
}

void NetworkManager::keep_up() { talk_->keep_up(); }

void NetworkManager::wait(std::chrono::milliseconds most) {
    const auto end = Clock::now() + most;
    keep_up();
    while (talk_->bus && talk_->state == State::asking && Clock::now() < end) {
        pollfd waiting{.fd = fd(), .events = events(), .revents = 0};
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
        (void)::poll(&waiting, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 1)));
        keep_up();
    }
}

NetworkManager::State NetworkManager::state() const { return talk_->state; }
const std::map<std::string, MeteredWord> &NetworkManager::words() const { return talk_->words; }
std::vector<std::string> NetworkManager::news() { return std::exchange(talk_->news, {}); }

} // namespace mps::service
