// SPDX-License-Identifier: MIT
//
// Periods by the calendar, and the ledger of what was carried in them.

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <sys/mount.h>
#include <unistd.h>

#include "catch.hpp"
#include "service/ledger.hpp"
#include "service/period.hpp"
#include "temporary_folder.hpp"

namespace {

using namespace mps;
using namespace mps::service;

std::time_t at(const char *text) {
    std::tm parts{};
    REQUIRE(::strptime(text, "%Y-%m-%d %H:%M", &parts) != nullptr);
    parts.tm_isdst = -1;
    return std::mktime(&parts);
}

class Zone {
  public:
    explicit Zone(const char *name) {
        ::setenv("TZ", name, 1);
        ::tzset();
    }
    ~Zone() {
        ::unsetenv("TZ");
        ::tzset();
    }
    Zone(const Zone &) = delete;
    Zone &operator=(const Zone &) = delete;
};

class Folder {
  public:
    ~Folder() { ::umount2(path().c_str(), MNT_DETACH); }
    const std::string &path() const { return folder_.path().native(); }
    std::string file() const { return folder_.path("quota.db"); }

  private:
    TemporaryFolder folder_ = test::temporary_folder("quota");
};

template <class T>
T must(Result<T> result) {
    if (!result)
        FAIL(result.error().what);
    if constexpr (!std::is_void_v<T>)
        return std::move(*result);
}

Ledger open(const Folder &folder) {
    std::vector<std::string> told;
    Ledger ledger = must(Ledger::open(folder.path(), told));
    CHECK(told.empty());
    return ledger;
}

} // namespace

TEST_CASE("a month begins at midnight of its day, or of the last day it has", "[quota]") {
    const Zone berlin("Europe/Berlin");
    const auto start = [](unsigned day, const char *now) {
        return period_start({.seconds = 31 * 86'400, .month_day = day}, 0, at(now));
    };
    CHECK(start(15, "2026-11-29 12:00") == at("2026-11-15 00:00"));
    CHECK(start(15, "2026-11-15 00:00") == at("2026-11-15 00:00"));
    CHECK(start(15, "2026-11-14 23:59") == at("2026-10-15 00:00"));
    CHECK(start(31, "2026-02-28 10:00") == at("2026-02-28 00:00"));
    CHECK(start(31, "2026-03-01 10:00") == at("2026-02-28 00:00"));
    CHECK(start(30, "2028-02-29 00:00") == at("2028-02-29 00:00"));
    CHECK(start(31, "2026-12-31 00:00") == at("2026-12-31 00:00"));
    CHECK(start(5, "2027-01-04 12:00") == at("2026-12-05 00:00"));
    // The night in which the clock changes.
    CHECK(start(29, "2026-03-29 12:00") == at("2026-03-29 00:00"));
}

TEST_CASE("other periods follow one another from their anchor on, both ways", "[quota]") {
    const config::Period day{.seconds = 86'400};
    CHECK(period_start(day, 1000, 1000) == 1000);
    CHECK(period_start(day, 1000, 1000 + 86'399) == 1000);
    CHECK(period_start(day, 1000, 1000 + 86'400) == 1000 + 86'400);
    CHECK(period_start(day, 1000 + 86'400, 1500) == 1000);
    CHECK(period_start({}, 1000, 99'999) == 0);
}

TEST_CASE("what is booked is there when the ledger is opened again", "[quota]") {
    const Folder folder;
    {
        Ledger ledger = open(folder);
        CHECK_FALSE(must(ledger.used("lte0", 0)));
        CHECK(must(ledger.anchor("lte0", 77)) == 77);
        must(ledger.book("lte0", 100, 5'000));
        must(ledger.book("lte0", 100, 6'000));
        must(ledger.see(123));
    }
    Ledger ledger = open(folder);
    CHECK(must(ledger.used("lte0", 100)) == 6'000);
    CHECK(must(ledger.used("lte0", 101)) == 0);
    CHECK(must(ledger.anchor("lte0", 999)) == 77);
    CHECK(must(ledger.present("lte0")) == 100);
    CHECK(must(ledger.last_seen()) == 123);
    must(ledger.rename("lte0", "wwan1"));
    CHECK_FALSE(must(ledger.used("lte0", 0)));
    CHECK(must(ledger.used("wwan1", 0)) == 6'000);
    CHECK(must(ledger.interfaces()) == std::vector<std::string>{"wwan1"});
}

TEST_CASE("a clock that is ahead for a while loses nothing and gives nothing away", "[quota]") {
    const Folder folder;
    Ledger ledger = open(folder);
    must(ledger.book("lte0", 100, 4'000));
    // Ten periods ahead: nothing is used there yet.
    CHECK(must(ledger.used("lte0", 1'100)) == 0);
    must(ledger.book("lte0", 1'100, 500));
    // Right again: what was booked meanwhile belongs to now.
    CHECK(must(ledger.used("lte0", 100)) == 4'500);
    must(ledger.book("lte0", 100, 4'700));
    CHECK(must(ledger.used("lte0", 100)) == 4'700);
    // Somebody sets the count to less than was booked ahead.
    must(ledger.book("lte0", 100, 100));
    CHECK(must(ledger.used("lte0", 100)) == 100);
}

TEST_CASE("a damaged ledger is kept aside and told, and a new one begins", "[quota]") {
    const Folder folder;
    must(open(folder).book("lte0", 100, 4'000));
    const auto size = std::filesystem::file_size(folder.file());
    const bool torn = GENERATE(false, true);
    if (torn) {
        std::fstream file(folder.file(), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(4096);
        file << std::string(static_cast<std::size_t>(size) - 4096, '\xa5');
    } else {
        std::ofstream(folder.file(), std::ios::trunc) << "this is no database, it only has its name";
    }
    std::vector<std::string> told;
    Ledger ledger = must(Ledger::open(folder.path(), told));
    REQUIRE(told.size() == 1);
    CHECK(told[0].contains("is damaged: it is kept as " + folder.file() + ".damaged-1"));
    CHECK(std::filesystem::exists(folder.file() + ".damaged-1"));
    must(ledger.book("lte0", 100, 7));
    CHECK(must(ledger.used("lte0", 0)) == 7);
}

TEST_CASE("a full disk is told, and what was booked before stays", "[quota]") {
    const Folder folder;
    if (::mount("mpsched-quota", folder.path().c_str(), "tmpfs", 0, "size=256k") != 0)
        mps::test::skip("needs root to mount a small disk");
    Ledger ledger = open(folder);
    must(ledger.book("lte0", 100, 4'000));
    std::ofstream(folder.path() + "/fill") << std::string(1 << 20, 'x');
    Result<void> done;
    for (int i = 0; i < 200 && done; i++)
        done = ledger.book("lte0", 100 + i, 5'000);
    REQUIRE_FALSE(done);
    INFO(done.error().what);
    CHECK(done.error().what.contains("full"));
    CHECK(done.error().hint.contains("make room"));
    CHECK_FALSE(ledger.is_damaged());
    std::filesystem::remove(folder.path() + "/fill");
    must(ledger.book("lte0", 100, 6'000));
    CHECK(must(ledger.used("lte0", 100)).value_or(0) >= 6'000);
}
