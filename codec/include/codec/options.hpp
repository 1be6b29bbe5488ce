// SPDX-License-Identifier: MIT
//
// TCP options read by the description of <mps/mptcp_options.h>. Takes any octets at all, of which the end may be missing.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <mps/mptcp_options.h>

#include "codec/octets.hpp"

namespace mps::codec {

// How a field is shown: the letters of MPTCP_FIELDS.
enum class Shown : char {
    number = 'N',
    hexadecimal = 'H',
    ipv4 = '4',
    ipv6 = '6',
    reason = 'R',
    flags = 'F',
    reserved = 'Z',
};

struct FieldInfo {
    std::string_view name;
    unsigned octets;
    Shown shown;
    std::string_view title;     // as RFC 8684 says
    std::string_view wireshark; // Wireshark's name of it
};

struct FlagInfo {
    unsigned subtype;
    std::string_view letter;
    unsigned bit; // of the head
    std::string_view name;
    std::string_view text;
};

struct SubtypeInfo {
    std::string_view name;
    unsigned subtype;
    std::string_view section;
    std::string_view text;
};

struct FormInfo {
    std::string_view name;
    unsigned subtype;
    int version; // 0 or 1 if it is of that one alone, else -1
    unsigned mask, value;
    unsigned flags; // bits of the head that mean something
    bool repeats;
    std::string_view title;
    unsigned length;
    std::span<const mptcp_field> fields;
};

[[nodiscard]] std::span<const SubtypeInfo> subtypes();
[[nodiscard]] std::span<const FlagInfo> flags();
[[nodiscard]] std::span<const FieldInfo> fields(); // by enum mptcp_field
[[nodiscard]] std::span<const FormInfo> forms();   // by enum mptcp_form
[[nodiscard]] const FieldInfo &info(mptcp_field field);
// Empty if the RFC names none.
[[nodiscard]] std::string_view reset_reason(unsigned number);
// "MP_JOIN", or "subtype 9"
[[nodiscard]] std::string subtype_name(unsigned subtype);

// One option as it stands in a header.
struct TcpOption {
    unsigned kind = 0;
    unsigned length = 0; // as it says; 1 for NOP and end of options
    ByteView octets{};   // fewer than `length` if the capture ends before
};

class MptcpOption {
  public:
    // `option` is of kind TCPOPT_MPTCP.
    explicit MptcpOption(const TcpOption &option);

    [[nodiscard]] unsigned length() const { return length_; }
    [[nodiscard]] ByteView octets() const { return octets_; }
    [[nodiscard]] bool cut() const { return octets_.size() < length_; }
    // False if not even that octet is there.
    [[nodiscard]] bool has_subtype() const { return octets_.size() >= MPTCP_HEAD_LEN; }
    [[nodiscard]] unsigned subtype() const { return head_ >> 12; }
    [[nodiscard]] mptcp_form form() const { return form_; }
    // nullptr if it has none of the RFC's forms.
    [[nodiscard]] const FormInfo *form_info() const;
    // What MP_CAPABLE says; of other options 0 or 1 if only one version has such a form, else -1.
    [[nodiscard]] int version() const;
    // False as well if its form has no such flag.
    [[nodiscard]] bool flag(mptcp_flag bit) const;
    // Of its form, and captured. With `nth` those behind the first of a field that repeats.
    [[nodiscard]] std::optional<ByteView> field(mptcp_field field, std::size_t nth = 0) const;
    [[nodiscard]] std::optional<std::uint64_t> number(mptcp_field field) const;
    // A DSS that maps all that follows: data-level length 0, RFC 8684 section 3.7.
    [[nodiscard]] bool is_infinite_mapping() const {
        return subtype() == MPTCP_SUB_DSS && number(MPTCP_FIELD_data_length) == 0;
    }

  private:
    unsigned length_;
    ByteView octets_;
    unsigned head_ = 0;
    mptcp_form form_ = MPTCP_FORM_UNKNOWN;
};

struct OptionList {
    std::vector<TcpOption> options;
    bool cut = false;       // the capture ends before they do
    bool malformed = false; // a length that cannot be: what follows it cannot be read
};

// `length` is what the TCP header says that there is; `octets` may be less.
[[nodiscard]] OptionList split_options(ByteView octets, std::size_t length);
[[nodiscard]] std::vector<MptcpOption> mptcp_options(const OptionList &list);

} // namespace mps::codec
