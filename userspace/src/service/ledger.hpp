// SPDX-License-Identifier: MIT
//
// What paths have carried of their quotas, kept across reboots: for each interface and period the bytes that were counted while
// the clock said that it is this period. A clock that is wrong for a while books into a wrong period, never into nowhere: what
// is used in a period is the sum of all that is booked from its beginning on.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mpsched/error.hpp"

struct sqlite3;

namespace mps::service {

class Ledger {
  public:
    // Makes the folder and the database where they are missing. One that is damaged is put aside and begun anew; `told` says so.
    [[nodiscard]] static Result<Ledger> open(const std::string &folder, std::vector<std::string> &told);

    // When the periods of this interface began to be counted; `now` where that is not known yet.
    [[nodiscard]] Result<std::time_t> anchor(const std::string &interface, std::time_t now);
    // nullopt: nothing was ever booked for it.
    [[nodiscard]] Result<std::optional<std::uint64_t>> used(const std::string &interface, std::time_t from);
    // The beginning of the period into which was booked last.
    [[nodiscard]] Result<std::optional<std::time_t>> present(const std::string &interface);
    // From now on `bytes` are used since `from`, which is the present period's begin.
    [[nodiscard]] Result<void> book(const std::string &interface, std::time_t from, std::uint64_t bytes);
    // The interface has another name.
    [[nodiscard]] Result<void> rename(const std::string &before, const std::string &now);
    // Of those with anything booked, in the order of their names.
    [[nodiscard]] Result<std::vector<std::string>> interfaces();
    // The last time that was ever seen, 0 if none.
    [[nodiscard]] Result<std::time_t> last_seen();
    [[nodiscard]] Result<void> see(std::time_t now);

    // Several of these as one: all or nothing, and one write to the disk.
    [[nodiscard]] Result<void> begin();
    [[nodiscard]] Result<void> end(bool good);

    [[nodiscard]] bool is_damaged() const { return damaged_; }

  private:
    struct Close {
        void operator()(sqlite3 *database) const;
    };
    using Handle = std::unique_ptr<sqlite3, Close>;
    explicit Ledger(Handle handle) : handle_(std::move(handle)) {}

    struct Value {
        Value(std::int64_t n) : number(n), is_text(false) {}
        Value(const std::string &t) : text(t), is_text(true) {}
        std::int64_t number = 0;
        std::string text{};
        bool is_text;
    };
    struct Row {
        std::string text{};
        std::optional<std::int64_t> number{};
    };
    // Rows of one column.
    Result<std::vector<Row>> run(const char *statement, const std::vector<Value> &values = {});
    Result<void> change(const char *statement, const std::vector<Value> &values = {});
    std::unexpected<Error> failed();

    Handle handle_;
    bool damaged_ = false;
};

} // namespace mps::service
