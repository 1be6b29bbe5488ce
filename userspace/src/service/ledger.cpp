// SPDX-License-Identifier: MIT

#include "service/ledger.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include <fmt/format.h>
#include <sqlite3.h>

#include "base/try.hpp"

namespace mps::service {

namespace {

constexpr const char *schema = R"(
CREATE TABLE IF NOT EXISTS usage(interface TEXT NOT NULL, start INTEGER NOT NULL, bytes INTEGER NOT NULL,
                                 PRIMARY KEY(interface, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS anchor(interface TEXT PRIMARY KEY, time INTEGER NOT NULL, present INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clock(id INTEGER PRIMARY KEY CHECK(id = 1), seen INTEGER NOT NULL);
)";

struct Finalize {
    void operator()(sqlite3_stmt *statement) const { sqlite3_finalize(statement); }
};

bool is_damage(int code) { return code == SQLITE_CORRUPT || code == SQLITE_NOTADB; }

// 0 or the code of SQLite. What a power cut must not lose is on the disk when a statement is done (FULL).
int prepare(sqlite3 *database) {
    sqlite3_busy_timeout(database, 1000);
    for (const char *statement : {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", schema})
        if (const int code = sqlite3_exec(database, statement, nullptr, nullptr, nullptr))
            return code;
    bool sound = false;
    const auto note = [](void *found, int, char **values, char **) {
        *static_cast<bool *>(found) = values[0] && std::string_view(values[0]) == "ok";
        return 0;
    };
    if (const int code = sqlite3_exec(database, "PRAGMA quick_check(1)", note, &sound, nullptr))
        return code;
    return sound ? 0 : SQLITE_CORRUPT;
}

std::string put_aside(const std::string &file) {
    std::string aside;
    std::error_code error;
    for (int i = 1; aside.empty() || std::filesystem::exists(aside, error); i++)
        aside = fmt::format("{}.damaged-{}", file, i);
    std::filesystem::rename(file, aside, error);
    for (const char *more : {"-wal", "-shm"})
        std::filesystem::remove(file + more, error);
    return aside;
}

} // namespace

void Ledger::Close::operator()(sqlite3 *database) const { sqlite3_close_v2(database); }

Result<Ledger> Ledger::open(const std::string &folder, std::vector<std::string> &told) {
    if (::mkdir(folder.c_str(), 0700) && errno != EEXIST)
        return std::unexpected(system_error(errno, fmt::format("making {}", folder)));
    const std::string file = folder + "/quota.db";
    for (const bool again : {false, true}) {
        sqlite3 *database = nullptr;
        int code =
            sqlite3_open_v2(file.c_str(), &database,
                            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, nullptr);
        Handle handle(database);
        if (!code)
            code = prepare(database);
        if (!code)
            return Ledger(std::move(handle));
        if (!is_damage(code) || again)
            return fail(ErrorCode::failed, fmt::format("{}: {}", file, sqlite3_errstr(code)),
                        "the counts of quotas are not kept until it can be written");
        handle.reset();
        told.push_back(fmt::format("{} is damaged: it is kept as {}, and counting goes on in a new one", file,
                                   put_aside(file)));
    }
    return fail(ErrorCode::failed, fmt::format("{} cannot be opened", file));
}

std::unexpected<Error> Ledger::failed() {
    const int code = sqlite3_errcode(handle_.get());
    damaged_ = damaged_ || is_damage(code);
    return fail(ErrorCode::failed,
                fmt::format("the counts of quotas are not kept: {}", sqlite3_errmsg(handle_.get())),
                code == SQLITE_FULL ? "make room on the disk; it is tried again" : "it is tried again");
}

Result<std::vector<Ledger::Row>> Ledger::run(const char *statement, const std::vector<Value> &values) {
    sqlite3_stmt *prepared = nullptr;
    if (sqlite3_prepare_v2(handle_.get(), statement, -1, &prepared, nullptr))
        return failed();
    const std::unique_ptr<sqlite3_stmt, Finalize> owner(prepared);
    for (std::size_t i = 0; i < values.size(); i++) {
        const int at = static_cast<int>(i) + 1;
        if (values[i].is_text)
            sqlite3_bind_text(prepared, at, values[i].text.c_str(), -1, SQLITE_TRANSIENT);
        else
            sqlite3_bind_int64(prepared, at, values[i].number);
    }
    std::vector<Row> rows;
    for (;;) {
        const int code = sqlite3_step(prepared);
        if (code == SQLITE_DONE)
            return rows;
        if (code != SQLITE_ROW)
            return failed();
        Row row;
        if (sqlite3_column_type(prepared, 0) == SQLITE_TEXT)
            row.text = reinterpret_cast<const char *>(sqlite3_column_text(prepared, 0));
        else if (sqlite3_column_type(prepared, 0) == SQLITE_INTEGER)
            row.number = sqlite3_column_int64(prepared, 0);
        rows.push_back(std::move(row));
    }
}

Result<void> Ledger::change(const char *statement, const std::vector<Value> &values) {
    const auto done = run(statement, values);
    return done ? Result<void>{} : std::unexpected(done.error());
}

Result<std::time_t> Ledger::anchor(const std::string &interface, std::time_t now) {
    const auto known = run("SELECT time FROM anchor WHERE interface = ?", {interface});
    MPS_TRY(known);
    if (!known->empty())
        return known->front().number.value_or(now);
    const auto done = change("INSERT INTO anchor VALUES(?, ?, NULL)", {interface, std::int64_t{now}});
    return done ? Result<std::time_t>(now) : std::unexpected(done.error());
}

Result<std::optional<std::time_t>> Ledger::present(const std::string &interface) {
    const auto rows = run("SELECT present FROM anchor WHERE interface = ?", {interface});
    MPS_TRY(rows);
    return rows->empty() ? std::nullopt : rows->front().number;
}

Result<std::optional<std::uint64_t>> Ledger::used(const std::string &interface, std::time_t from) {
    const auto any = run("SELECT count(*) FROM usage WHERE interface = ?", {interface});
    MPS_TRY(any);
    if (any->front().number.value_or(0) == 0)
        return std::nullopt;
    const auto sum = run("SELECT sum(bytes) FROM usage WHERE interface = ? AND start >= ?",
                         {interface, std::int64_t{from}});
    MPS_TRY(sum);
    return static_cast<std::uint64_t>(sum->front().number.value_or(0));
}

Result<void> Ledger::book(const std::string &interface, std::time_t from, std::uint64_t bytes) {
    // What is booked behind this period came from a clock that was ahead, and is part of the sum.
    const auto ahead = run("SELECT sum(bytes) FROM usage WHERE interface = ? AND start > ?",
                           {interface, std::int64_t{from}});
    MPS_TRY(ahead);
    const auto rest = static_cast<std::int64_t>(bytes) - ahead->front().number.value_or(0);
    if (rest < 0)
        MPS_TRY(
            change("DELETE FROM usage WHERE interface = ? AND start > ?", {interface, std::int64_t{from}}));
    MPS_TRY(change(
        "INSERT INTO usage VALUES(?, ?, ?) ON CONFLICT(interface, start) DO UPDATE SET bytes = excluded.bytes",
        {interface, std::int64_t{from}, rest < 0 ? static_cast<std::int64_t>(bytes) : rest}));
    return change(
        "INSERT INTO anchor VALUES(?, ?, ?) ON CONFLICT(interface) DO UPDATE SET present = excluded.present",
        {interface, std::int64_t{from}, std::int64_t{from}});
}

Result<void> Ledger::rename(const std::string &before, const std::string &now) {
    for (const char *statement :
         {"DELETE FROM usage WHERE interface = ?", "DELETE FROM anchor WHERE interface = ?"})
        MPS_TRY(change(statement, {now}));
    for (const char *statement : {"UPDATE usage SET interface = ? WHERE interface = ?",
                                  "UPDATE anchor SET interface = ? WHERE interface = ?"})
        MPS_TRY(change(statement, {now, before}));
    return {};
}

Result<std::vector<std::string>> Ledger::interfaces() {
    const auto rows = run("SELECT DISTINCT interface FROM usage ORDER BY interface");
    MPS_TRY(rows);
    std::vector<std::string> names;
    for (const Row &row : *rows)
        names.push_back(row.text);
    return names;
}

Result<std::time_t> Ledger::last_seen() {
    const auto rows = run("SELECT seen FROM clock");
    MPS_TRY(rows);
    return rows->empty() ? 0 : static_cast<std::time_t>(rows->front().number.value_or(0));
}

Result<void> Ledger::see(std::time_t now) {
    return change("INSERT INTO clock VALUES(1, ?) ON CONFLICT(id) DO UPDATE SET seen = excluded.seen",
                  {std::int64_t{now}});
}

Result<void> Ledger::begin() { return change("BEGIN IMMEDIATE"); }

Result<void> Ledger::end(bool good) { return change(good ? "COMMIT" : "ROLLBACK"); }

} // namespace mps::service
