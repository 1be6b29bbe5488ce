// SPDX-License-Identifier: MIT
//
// What we read in captures is what tshark reads: captures/*.tshark, which captures/expect has made.

#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "catch.hpp"
#include "codec/text.hpp"
#include "samples.hpp"
#include "temporary_folder.hpp"

namespace {

using namespace mps;
using codec::MptcpOption;
using test::Bytes;

const std::string captures = MPS_CAPTURES "/";

Bytes octets_of(const std::string &path) {
    const std::string text = test::file_text(path);
    return {text.begin(), text.end()};
}

// By Wireshark's name of a field, its values in the packet's options.
using Values = std::map<std::string, std::string>;

void add(Values &values, std::string_view name, const std::string &value) {
    std::string &all = values[std::string(name)];
    all += (all.empty() ? "" : ",") + value;
}

// tshark shows keys, tokens and short HMACs as decimal numbers.
std::string as_tshark(const codec::FieldInfo &field, codec::ByteView octets) {
    if (field.name == "reason")
        return "0x" + codec::hex_text(octets);
    if (field.shown == codec::Shown::ipv4 || field.shown == codec::Shown::ipv6)
        return codec::field_text(static_cast<mptcp_field>(&field - codec::fields().data()), octets);
    return octets.size() > 8 ? codec::hex_text(octets) : fmt::to_string(codec::number_of(octets));
}

std::string text_of(const Values &values) {
    std::string all;
    for (const auto &[name, value] : values)
        all += fmt::format("{}={} ", name, value);
    return all;
}

Values values_of(std::span<const MptcpOption> options) {
    Values values;

    for (const MptcpOption &option : options) {
        add(values, "tcp.options.mptcp.subtype", fmt::to_string(option.subtype()));
        const codec::FormInfo *form = option.form_info();
        for (const mptcp_field field : form ? form->fields : std::span<const mptcp_field>()) {
            const codec::FieldInfo &about = codec::info(field);
            // tshark 4.0 does not show the checksum of a mapping.
            if (about.shown == codec::Shown::flags || about.shown == codec::Shown::reserved ||
                field == MPTCP_FIELD_checksum)
                continue;
            for (std::size_t nth = 0; const auto octets = option.field(field, nth); nth++)
                add(values, about.wireshark, as_tshark(about, *octets));
        }
    }
    return values;
}

// A line of tshark for each packet, with the columns of the first line.
struct Expected {
    std::vector<std::string> columns;
    std::map<std::uint64_t, Values> packets;
};

std::vector<std::string> split(const std::string &line) {
    std::vector<std::string> cells;
    std::istringstream in(line + "\t");
    for (std::string cell; std::getline(in, cell, '\t');)
        cells.push_back(cell);
    return cells;
}

Expected read_expected(const std::string &path) {
    std::ifstream file(path);
    Expected expected;
    std::string line;

    INFO(path);
    REQUIRE(std::getline(file, line));
    expected.columns = split(line);
    while (std::getline(file, line)) {
        const std::vector<std::string> cells = split(line);
        Values &values = expected.packets[std::stoull(cells.at(0))];
        for (std::size_t i = 1; i < cells.size(); i++)
            if (!cells[i].empty())
                values[expected.columns.at(i)] = cells[i];
    }
    return expected;
}

// Where we and tshark say different things of damaged options: none of the RFC's forms, so we name no fields.
bool is_whole(std::span<const MptcpOption> options) {
    return std::ranges::all_of(options,
                               [](const MptcpOption &option) { return option.form_info() != nullptr; });
}

struct Agreement {
    std::size_t compared = 0, no_form = 0;
    std::set<mptcp_form> forms;
};

void compare(const std::string &name, Agreement &agreement) {
    const Bytes file = octets_of(captures + name + ".pcap");
    const Expected expected = read_expected(captures + name + ".tshark");
    auto reader = codec::CaptureReader::open(test::reader_of(file));

    REQUIRE(reader);
    while (const auto packet = reader->next()) {
        const codec::Dissected dissected = codec::dissect(packet->data, packet->wire_length, packet->link);
        if (dissected.content != codec::Content::tcp)
            continue;
        const auto list = codec::split_options(dissected.segment.options, dissected.segment.options_length);
        const auto options = codec::mptcp_options(list);
        INFO(name << " packet " << packet->number);
        const auto theirs = expected.packets.find(packet->number);
        if (options.empty() || list.malformed || !is_whole(options)) {
            agreement.no_form += options.empty() ? 0 : 1;
            continue;
        }
        REQUIRE(theirs != expected.packets.end());
        CHECK(text_of(values_of(options)) == text_of(theirs->second));
        agreement.compared++;
        for (const MptcpOption &option : options)
            agreement.forms.insert(option.form());
    }
    CHECK(reader->trouble().empty());
}

} // namespace

TEST_CASE("tshark reads the same in captures of real connections") {
    Agreement agreement;

    for (const char *name : {"real-any", "real-cooked", "real-ethernet", "real-second"})
        compare(name, agreement);
    CHECK(agreement.no_form == 0);
    CHECK(agreement.compared > 80);
}

TEST_CASE("tshark reads the same in random packets with every form of every option") {
    Agreement agreement;

    compare("random", agreement);
    CHECK(agreement.compared > 1500);
    for (const codec::FormInfo &form : codec::forms()) {
        INFO(form.name);
        CHECK(agreement.forms.contains(static_cast<mptcp_form>(&form - codec::forms().data())));
    }
}

// Run by captures/expect.
TEST_CASE("write random packets into the capture that expect asks tshark about", "[.write]") {
    test::Random random(8684);
    std::vector<test::Record> records;

    for (std::uint32_t i = 0; i < 2000; i++)
        records.push_back({.data = test::random_packet(random), .time_us = i});
    const Bytes file = test::pcap_file(1, records);
    std::ofstream(captures + "random.pcap", std::ios::binary)
        .write(reinterpret_cast<const char *>(file.data()), static_cast<std::streamsize>(file.size()));
}
