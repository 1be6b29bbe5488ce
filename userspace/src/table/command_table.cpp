// SPDX-License-Identifier: MIT

#include "table/command_table.hpp"

#include <algorithm>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mpsched/event_words.hpp"
#include "mpsched/option_rule_words.hpp"
#include "mpsched/path_limits.hpp"

namespace mps::table {

namespace {

std::vector<std::string_view> words(std::span<const OptionRuleWord> list) {
    std::vector<std::string_view> all;
    for (const OptionRuleWord &one : list)
        all.push_back(one.word);
    return all;
}

std::vector<Term> terms(std::span<const OptionRuleWord> list) {
    std::vector<Term> all;
    for (const OptionRuleWord &one : list)
        all.push_back({one.word, one.text});
    return all;
}

// And "all".
std::vector<std::string_view> event_group_words() {
    std::vector<std::string_view> all;
    for (const EventGroupWord &group : event_groups)
        all.push_back(group.word);
    all.emplace_back("all");
    return all;
}

} // namespace

std::span<const Command> commands() {
    static const std::vector<Command> all{
        {
            .verb = "status",
            .group = Group::look,
            .summary = "what is attached, which policies are in use, and whether anything is wrong",
            .description =
                {
                    "Everything shown is read from the kernel at that moment. A problem means that what was asked for does "
                    "not happen, and comes with what to do; a note is worth knowing. The exit code is 0 all the same: "
                    "'doctor' is the one for scripts.",
                },
            .examples = {{"status", "in the current network namespace"},
                         {"--netns client status --json", "in another one, as one JSON document"}},
        },
        {
            .verb = "conns",
            .group = Group::look,
            .json_member = "connections",
            .summary = "the MPTCP connections and their subflows as the kernel sees them",
            .description =
                {
                    "One block for each connection: its token, its policy, and a line for each subflow. A subflow is "
                    "'allowed' or 'parked' by the policy's last verdict, or 'unsteered': its packets are not met on an "
                    "attached interface, so the kernel uses it as it likes. '-' means that no policy has decided yet.",
                    "Where interfaces are attached as a gateway's, connections that pass through follow as 'forwarded': what "
                    "either end sends ('up' is the one that began the connection), the round trip from host to host, and "
                    "contents that passed more than once.",
                    "A connection that a proxy here has for a client is shown with the client's address, as the proxy's relay tells it.",
                    "The throughput is what was acknowledged within 0.2 s, or with --watch since the look before. The pacing rate is "
                    "how fast TCP would let packets go, often many times the path's rate.",
                    "With --watch a terminal is drawn anew each time, and shows as much as it has room for; into a pipe one answer "
                    "follows the other, with --json as one document in a line. Ctrl-C ends it.",
                },
            .options = {{.name = "--policy",
                         .value = "NAME",
                         .complete = Complete::loaded,
                         .text = "only connections steered by this policy"},
                        {.name = "--watch",
                         .value = "SECONDS",
                         .implied = "2",
                         .text = "again and again, with so much between (2 if it is not said)"}},
            .examples = {{"conns", "all connections"},
                         {"conns --policy weighted", "only those that weighted steers"},
                         {"conns --watch 1", "see how they change"}},
        },
        {
            .verb = "top",
            .group = Group::look,
            .summary = "paths, connections, subflows and programs with their rates, live",
            .description =
                {
                    "Above, the policies in use, how many decisions and edits there are in a second, and the paths; below, a table of "
                    "connections, subflows, paths or BPF programs, sorted and filtered by keys. h tells which. Rates are of contents: "
                    "acknowledged by peers, or received. Programs and what share of a core they take are measured by the kernel, which "
                    "costs two readings of the clock for each run of any BPF program, and only while top runs.",
                    "Where standard output is no terminal, or one that cannot be drawn on, and with --batch or --count, frames follow "
                    "each other as lines, as wide as COLUMNS says (132), with --json as one document in a line. Colours are left out "
                    "with --no-color, or where NO_COLOR is set.",
                },
            .options = {{.name = "--view",
                         .value = "VIEW",
                         .allowed = {"paths", "connections", "subflows", "programs"},
                         .default_value = "connections",
                         .complete = Complete::one_of,
                         .text = "the table to begin with"},
                        {.name = "--sort",
                         .value = "COLUMN",
                         .text = "by its title, such as sent, rtt or token"},
                        {.name = "--reverse", .text = "the other way round"},
                        {.name = "--filter",
                         .value = "TEXT",
                         .text = "only rows with this in their names, tokens, addresses or verdicts"},
                        {.name = "--delay",
                         .value = "SECONDS",
                         .default_value = "1",
                         .text = "between two looks, from 0.1"},
                        {.name = "--count", .value = "NUMBER", .text = "end after so many frames"},
                        {.name = "--once", .text = "one frame of half a second, as lines"},
                        {.name = "--batch", .text = "frames as lines, one below the other"},
                        {.name = "--no-color", .text = "without colours"}},
            .examples = {{"top", "q ends it"},
                         {"top --view subflows --sort rtt", "the slowest first"},
                         {"top --once --view paths", "for a script"}},
        },
        {
            .verb = "explain",
            .group = Group::look,
            .summary = "why a connection uses the subflows that it uses",
            .description =
                {
                    "The last decision about a connection, subflow by subflow: the verdict and the policy's reason for it, and what the "
                    "policy was shown: delays, windows, queues, rates, the attributes of the path, and what the peers asked for. "
                    "Where another decision has taken its place in memory already, it tells how these stand now, and says so.",
                    "Also what the peer was told about what it sends, and why; and which subflow the kernel's own scheduler would take "
                    "for the next burst, of those that the verdict leaves to it.",
                },
            .arguments = {{.name = "TOKEN", .text = "of a connection, as 'conns' shows it"}},
            .examples = {{"explain def48bf1", "one that goes another way than you thought"},
                         {"explain def48bf1 --json", "the same with every number"}},
        },
        {
            .verb = "events",
            .group = Group::look,
            .summary = "what happens to interfaces, paths, policies, quotas and connections, a line each",
            .description =
                {
                    "Interfaces and addresses are told by the kernel as they change; all else is looked at twice a second and compared. "
                    "Works with and without mpschedd, and before anything is attached; what it cannot see as things are is said "
                    "first (with --json in the last line).",
                    "A failover is told where subflows that were in use are lost (no answer, path down, given up by the kernel, gone) and "
                    "others carry on; connections that go the same way at once share a line. With mpschedd, or 'attach --follow', "
                    "that is two round trips after the last answer.",
                    "Ctrl-C ends it, and a last line tells how many there were. With --json there is a document in a line for each, and "
                    "a last one with the event 'summary'.",
                },
            .options =
                {{.name = "--only",
                  .value = "GROUP",
                  .allowed = event_group_words(),
                  .repeats = true,
                  .complete = Complete::one_of,
                  .text =
                      "only events of this group, repeat for several; without it all but connection and verdict, "
                      "which are many"},
                 {.name = "--count", .value = "NUMBER", .text = "end after so many events"},
                 {.name = "--for", .value = "SECONDS", .text = "end after so many seconds"}},
            .examples = {{"events", "what the operator wants to know"},
                         {"events --only all", "and every connection, subflow and verdict"},
                         {"events --only failover --count 1 --json", "wait for a failover"}},
        },
        {
            .verb = "doctor",
            .group = Group::look,
            .summary = "why nothing, or less than was asked for, is steered, and what to do",
            .description =
                {
                    "Looks at MPTCP itself (switched off, no endpoints, limits of 0, backup flags that overrule a policy), at "
                    "connections (plain TCP, one subflow, subflows on interfaces that are not attached), at packets that "
                    "found no socket with the likely reason (bridge, bond, VLAN, VRF, NAT, forwarded traffic), and at what "
                    "is attached. Changes nothing; useful before the first attach, too.",
                    "Exit code 1 if there is a problem; notes alone are 0.",
                },
            .examples = {{"doctor", "when something seems not to work"},
                         {"doctor --json", "the same for a script: severity, id, what, why, next"}},
        },
        {
            .verb = "bug-report",
            .group = Group::look,
            .summary = "one archive of all that a report about mpsched should have, addresses masked",
            .description =
                {
                    "Versions, probe, status, doctor, connections, counters, policies, paths, rules and files of settings; links, "
                    "addresses, routes, endpoints, sockets and counters of the network namespace; attached programs; of the "
                    "kernel's log the lines about BPF and MPTCP. README.txt in it tells what each file is and what could not be had.",
                    "Addresses, link-layer addresses and the host's name are masked, the same always in the same way, unless "
                    "--unmasked is given; interfaces keep their names. Nobody else may read the archive, and nothing is sent "
                    "anywhere: look at it before you give it away.",
                },
            .arguments =
                {{.name = "FILE",
                  .required = false,
                  .complete = Complete::file,
                  .text = "the archive, NAME.tar.gz; without it mpsched-report-DATE.tar.gz in this folder"}},
            .options = {{.name = "--unmasked", .text = "addresses and names as they are"}},
            .examples = {{"bug-report", "then attach the archive to your report"}},
        },
        {
            .verb = "stats",
            .group = Group::look,
            .json_member = "counters",
            .summary = "the data path's counters, with what each of them counts",
            .description =
                {
                    "Sums over all CPUs since the first attach. Counters that are zero are left out unless --all is "
                    "given; with --json all are there.",
                },
            .options = {{.name = "--all", .text = "show counters that are zero as well"}},
            .examples = {{"stats", "what happened so far"},
                         {"stats --json", "counter names and values for a script"}},
        },
        {
            .verb = "probe",
            .group = Group::look,
            .summary = "what this kernel and these interfaces can do, and why not",
            .description =
                {
                    "Asks the kernel by doing (loading a few instructions, attaching them in a scratch network "
                    "namespace), never by comparing versions. Exit code 3 if something required is missing.",
                    "Of interfaces it tells whether their driver runs XDP programs, and whether the card does (offloaded), as drivers "
                    "say from Linux 6.3 on. No card can run mpsched's, which look for sockets.",
                },
            .examples = {{"probe", "before the first attach"}},
        },
        {
            .verb = "decode",
            .group = Group::look,
            .summary = "the MPTCP options in a capture file, a line for each packet that has some",
            .description =
                {
                    "Reads pcap and pcapng files, also those with interfaces of different link types: Ethernet with VLANs, "
                    "Linux 'cooked' (any), raw IP, BSD loopback. Needs no rights and asks the kernel nothing. Names are those of "
                    "RFC 8684; docs/options.md has every form of every option, with Wireshark's names beside them.",
                    "Each line has the packet's number, seconds since the first packet with such options, its connection "
                    "(#0 is the first one; the last lines tell their tokens), both ends, TCP's flags, and the options. What "
                    "cannot be read (a file that ends early, options that were not captured whole, fragments, other link types) is "
                    "told at the end, and the rest is shown.",
                    "With --json there is a document in a line for each packet, and a last one with the event 'summary'.",
                },
            .arguments = {{.name = "FILE",
                           .complete = Complete::capture,
                           .text = "a capture, or '-' for standard input"}},
            .options =
                {{.name = "--connection",
                  .value = "TOKEN",
                  .text =
                      "only packets of the connection with this token, either host's (of a pipe: from where it is known on)"},
                 {.name = "--option",
                  .value = "OPTION",
                  .repeats = true,
                  .text = "only packets with this option, such as MP_PRIO; repeat for several"},
                 {.name = "--host", .value = "ADDRESS", .text = "only packets from or to this address"},
                 {.name = "--port", .value = "PORT", .text = "only packets from or to this port"}},
            .examples = {{"decode session.pcapng", "all of it"},
                         {"decode session.pcapng --option MP_PRIO --option MP_JOIN",
                          "who asked for a backup, and when"},
                         {"decode - --json", "live: tcpdump -i any -U -w - tcp | mpsched decode - --json"}},
        },
        {
            .verb = "trace",
            .group = Group::look,
            .summary = "MPTCP options and decisions as they happen, a line each",
            .description =
                {
                    "Tells every packet with MPTCP options, in both directions, as it leaves mpsched's programs: with the interface, the "
                    "connection's token, the subflow's id, and whether mpsched has written or changed an MP_PRIO in it or made all of it (a "
                    "wake). And every verdict that differs from the last one of its connection or after which something was "
                    "done, with the policy's reasons. Options are told as by 'decode'.",
                    "Its programs stand behind those of 'attach' on the interfaces named, or on all that are attached, and only while it "
                    "runs; an interface that is attached later has its edits in front of nobody, so begin again then. Needs tcx "
                    "(kernel 6.6). Without anything attached, packets of named interfaces are told. In mode native and generic, several "
                    "decisions that come before TC sees a packet are told as one.",
                    "Ctrl-C ends it, and a last line tells how much there was, and what was lost because more came than could be "
                    "written. With --json there is a document in a line for each, and a last one with the event 'summary'.",
                },
            .arguments = {{.name = "IFACE",
                           .required = false,
                           .many = true,
                           .complete = Complete::interface,
                           .text = "network interface; none: all that are attached"}},
            .options =
                {{.name = "--connection",
                  .value = "TOKEN",
                  .text = "only this connection, by its token in 'conns'"},
                 {.name = "--option",
                  .value = "OPTION",
                  .repeats = true,
                  .text = "of packets only those with this option, such as MP_PRIO; repeat for several"},
                 {.name = "--host",
                  .value = "ADDRESS",
                  .text = "of packets only those from or to this address"},
                 {.name = "--port", .value = "PORT", .text = "of packets only those from or to this port"},
                 {.name = "--write",
                  .value = "FILE",
                  .text = "write the lines there; what it held before is gone"},
                 {.name = "--max-size",
                  .value = "SIZE",
                  .default_value = "64M",
                  .text = "FILE and FILE.1, where its older half goes, take no more than this"},
                 {.name = "--count", .value = "NUMBER", .text = "end after so many lines"},
                 {.name = "--seconds", .value = "NUMBER", .text = "end after so many seconds"}},
            .examples = {{"trace", "everything on the attached interfaces"},
                         {"trace --option MP_PRIO --option MP_JOIN",
                          "who changes which subflow, and the verdicts"},
                         {"trace wan0 lte0 --json --write trace.json --max-size 10M",
                          "for hours, into files that stay small"}},
        },
        {
            .verb = "attach",
            .group = Group::interfaces,
            .changes = true,
            .summary = "put the data path on interfaces",
            .description =
                {
                    "Attach every interface that carries subflows. A second attach adds interfaces. All or nothing: if "
                    "one interface fails, those done before in this call are undone.",
                    "Of stacked devices it is the one that sockets use: the bond or bridge and not its members, the VLAN, "
                    "but the members of a VRF. What would steer nothing is refused, with the device to name instead.",
                    "With --role gateway it is about connections of other hosts that pass here: name the uplinks, not the "
                    "side where the hosts are. 'conns' shows them as 'forwarded'. Interfaces of both roles can be in one "
                    "network namespace. docs/gateway.md tells more.",
                    "The first attach gives all connections the policy 'auto', or $MPS_POLICY; --policy chooses another "
                    "one ('default' leaves the scheduling to the kernel), 'use' does later.",
                    "What is remembered of a connection takes 4 KiB of the kernel's memory as long as it lives, and 24 "
                    "bytes of --max-connections each all the time. One that finds no room is not steered until another "
                    "one ends; 'status' counts them.",
                    "An interface whose XDP hook is taken by another program is refused; '--mode tc' works beside it, "
                    "--force replaces it.",
                    "With --follow the command stays until Ctrl-C or SIGTERM, which leave everything as it is: it tells, a "
                    "line each (with --json a document each), what becomes of the interfaces, and attaches those that "
                    "come back, in the mode asked for. Names that are not there yet are waited for. Without IFACE it "
                    "follows what is attached already. A device that is renamed stays attached under its new name. What "
                    "is parked in favour of a path that goes silent, is set down, or loses its carrier or its address is "
                    "opened at once; where no packet arrives that could carry that, it lends one.",
                },
            .arguments = {{.name = "IFACE",
                           .required = false,
                           .many = true,
                           .complete = Complete::interface,
                           .text = "network interface"}},
            .options =
                {{.name = "--mode",
                  .value = "MODE",
                  .allowed = {"auto", "native", "generic", "tc"},
                  .default_value = "auto",
                  .complete = Complete::one_of,
                  .text = "the hook (XDP in the driver, generic XDP, TC)"},
                 {.name = "--role",
                  .value = "ROLE",
                  .allowed = {"host", "gateway"},
                  .default_value = "host",
                  .complete = Complete::one_of,
                  .text = "whose connections: this host's, or other hosts' that pass here"},
                 {.name = "--policy",
                  .value = "POLICY",
                  .complete = Complete::policy_or_file,
                  .text = "policy of all connections that no rule names, as with 'use'"},
                 {.name = "--max-connections",
                  .value = "NUMBER",
                  .text =
                      "room for so many connections of several subflows; at the first attach, 16384 without "
                      "it"},
                 {.name = "--force", .text = "replace another program that holds the XDP hook"},
                 {.name = "--follow", .text = "stay, and attach interfaces again that come back"},
                 {.name = "--close-silent",
                  .text = "with --follow: close subflows of paths that are silent until they answer"},
                 {.name = "--probe-idle",
                  .value = "SECONDS",
                  .text = "with --follow: probe paths over which nothing went for so long, 1 to 3600; with a "
                          "cost or a quota every 10 s at most"},
                 {.name = "--persist",
                  .text =
                      "say it in a drop-in of mpsched.toml as well, so that it outlives a reload and a restart"}},
            .examples = {{"attach wan0 lte0", "both paths, the best mode for each"},
                         {"attach wan0 --mode tc", "beside another XDP program"},
                         {"attach wan0 lte0 --policy default", "only watch, for now"},
                         {"attach --role gateway wan0 lte0", "steer what others send through this router"},
                         {"attach wan0 wwan0 --follow", "also after the modem was plugged in again"}},
        },
        {
            .verb = "detach",
            .group = Group::interfaces,
            .changes = true,
            .summary = "take the data path off interfaces",
            .description =
                {
                    "First gives every subflow back what its peer asked for, then removes our programs. Connections "
                    "go on. With the last interface everything is gone, policies and path attributes included.",
                },
            .arguments = {{.name = "IFACE",
                           .required = false,
                           .many = true,
                           .complete = Complete::attached,
                           .text = "network interface"}},
            .options =
                {{.name = "--all", .text = "every attached interface of the network namespace"},
                 {.name = "--persist",
                  .text =
                      "say it in a drop-in of mpsched.toml as well, so that it outlives a reload and a restart"}},
            .examples = {{"detach lte0", "only this one"}, {"detach --all", "leave no trace"}},
        },
        {
            .verb = "repair",
            .group = Group::interfaces,
            .changes = true,
            .summary = "attach again what came back, and remove what killed commands have left",
            .description =
                {
                    "In this network namespace: attaches interfaces that are to be attached, are there, and have lost their "
                    "programs; opens subflows that are left as backups on interfaces which are not attached; takes off "
                    "programs of mpsched that run but whose pins are gone.",
                    "In all network namespaces of this machine: removes what killed commands and vanished namespaces have "
                    "left. Objects that are not ours are never touched; those of another version of mpsched only with "
                    "--force, unless their namespace is gone.",
                },
            .options =
                {{.name = "--force",
                  .text =
                      "also remove installations of other versions of mpsched, and those whose namespace cannot be looked for"}},
            .examples = {{"repair", "when 'status' reports a problem"}},
        },
        {
            .verb = "use",
            .group = Group::policies,
            .changes = true,
            .summary = "switch connections to a policy, all interfaces at once",
            .description =
                {
                    "Loads and verifies the policy, then switches with a single write to the kernel: running "
                    "connections follow at their next packet. A policy that fails to load changes nothing.",
                    "With --for only the connections that the selector names get the policy (a rule); without, it "
                    "becomes the default for all connections that no rule names. 'use default' gives them back to the "
                    "kernel.",
                    "A connection is matched when it is first seen with several subflows, and again when rules change; rules cost its other "
                    "packets nothing. A host's name is looked up now, and every 30 s while 'attach --follow' or mpschedd runs; an address "
                    "counts for an hour after it was last among the answers. A user is whose the socket is: that of the process that made "
                    "or accepted it. A unit is found by the name of its cgroup, also after it was started again. A command is what the process was "
                    "called when it made the socket, whatever its threads call themselves; for an accepted connection when it made the listener; for "
                    "sockets that there are already, what who holds them is called now.",
                    "A preset is a policy with certain parameters, in words of what is wanted: 'handover', 'interactive', 'aggregate'; 'policy "
                    "list' tells what each stands for, and parameters given with -s go before its own.",
                    "The first rule that matches decides. A new rule comes last, one that is there stays where it is, "
                    "unless --before or --position says otherwise.",
                    "What peers send is steered by telling them which subflows to avoid (MP_PRIO); they need nothing but "
                    "MPTCP for it. 'policy list --json' tells which policies have a rule for that (rx); with the others, peers send as "
                    "their kernels like.",
                    "A file takes the place of another object of that name wherever that is used; a name takes the "
                    "object as it was loaded. Names of built-in policies are not free for files.",
                },
            .arguments = {{.name = "POLICY",
                           .complete = Complete::policy_or_file,
                           .text = "name of a policy, or file of a policy object"}},
            .options =
                {{.name = "--set",
                  .short_name = "-s",
                  .value = "key=value",
                  .repeats = true,
                  .complete = Complete::parameter,
                  .text = "set a parameter of the policy; may be repeated"},
                 {.name = "--for",
                  .value = "SELECTOR",
                  .complete = Complete::selector,
                  .text = "only for these connections"},
                 {.name = "--before",
                  .value = "SELECTOR",
                  .complete = Complete::rule,
                  .text = "try this rule before that one"},
                 {.name = "--position",
                  .value = "NUMBER",
                  .text = "place of the rule among the rules; 1 is tried first"},
                 {.name = "--direction",
                  .value = "DIRECTION",
                  .allowed = {"tx", "rx", "both"},
                  .default_value = "both",
                  .complete = Complete::one_of,
                  .text =
                      "whose sending: tx, what this host sends; rx, what its peers send to it; both where the policy has a rule for what peers send, else tx"},
                 {.name = "--new-only", .text = "connections that exist keep their policy"},
                 {.name = "--persist",
                  .text =
                      "say it in a drop-in of mpsched.toml as well, so that it outlives a reload and a restart"}},
            .examples = {{"use weighted", "share by the weights of the paths"},
                         {"use handover", "one path, and the next one when it fails"},
                         {"use active-standby --for remote=203.0.113.0/24:443",
                          "one service on the good line only"},
                         {"use smallest-delay --for unit=voice.service", "what one service does"},
                         {"use ./ratio.bpf.o -s hold_ms=200", "a policy of your own"}},
        },
        {
            .verb = "unuse",
            .group = Group::policies,
            .changes = true,
            .summary = "remove rules that 'use --for' made",
            .arguments = {{.name = "SELECTOR",
                           .required = false,
                           .complete = Complete::rule,
                           .text = "as it was given to --for; 'status' shows it"}},
            .options =
                {{.name = "--all", .text = "every rule"},
                 {.name = "--persist",
                  .text =
                      "say it in a drop-in of mpsched.toml as well, so that it outlives a reload and a restart"}},
            .examples = {{"unuse remote=203.0.113.0/24:443", "these connections follow the default again"},
                         {"unuse --all", "all connections do"}},
        },
        {
            .verb = "set",
            .group = Group::policies,
            .changes = true,
            .summary = "change parameters of a policy while it runs",
            .description =
                {
                    "Those of the default policy, unless --policy, --for or --slot names another one. Either all values "
                    "are valid and set, or none is. 'policy show NAME' tells names, ranges and units.",
                    "dwell_us belongs to no policy but to the engine, and is the same for all connections.",
                },
            .arguments = {{.name = "key=value",
                           .many = true,
                           .complete = Complete::parameter,
                           .text = "parameter and its new value"}},
            .options =
                {{.name = "--policy",
                  .value = "NAME",
                  .complete = Complete::loaded,
                  .text = "of this policy, if it is loaded once"},
                 {.name = "--for",
                  .value = "SELECTOR",
                  .complete = Complete::rule,
                  .text = "of the policy of this rule"},
                 {.name = "--slot",
                  .value = "NUMBER",
                  .text = "of the policy in this slot, as 'status' shows it"},
                 {.name = "--persist",
                  .text =
                      "say it in a drop-in of mpsched.toml as well, so that it outlives a reload and a restart"}},
            .examples = {{"set dwell_us=2000", "edit a subflow at most every 2 ms"},
                         {"set lead_bytes=64k --for rport=443", "only for these connections"}},
        },
        {
            .verb = "policy",
            .sub_verb = "list",
            .group = Group::policies,
            .json_member = "policies",
            .summary = "the policies that can be used, and which are loaded",
            .options = {{.name = "--names", .text = "only the names, one a line"}},
            .examples = {{"policy list", ""}},
        },
        {
            .verb = "policy",
            .sub_verb = "show",
            .group = Group::policies,
            .json_member = "policies",
            .summary = "what a policy does, and its parameters",
            .arguments = {{.name = "POLICY",
                           .complete = Complete::policy_or_file,
                           .text = "name of a policy, or file of a policy object"}},
            .options = {{.name = "--names", .text = "only the names of its parameters, one a line"}},
            .examples = {{"policy show weighted", ""}},
        },
        {
            .verb = "policy",
            .sub_verb = "build",
            .group = Group::policies,
            .summary = "compile a policy of your own into an object",
            .description =
                {
                    "Calls clang with the headers of this mpsched, so it works in any folder and needs no source tree; the "
                    "packages clang-19, libbpf-dev and linux-libc-dev are needed. The object is for 'policy load' and 'use'.",
                },
            .arguments = {{.name = "FILE", .complete = Complete::file, .text = "source, NAME.bpf.c"}},
            .options = {{.name = "--output",
                         .short_name = "-o",
                         .value = "FILE",
                         .complete = Complete::file,
                         .text = "the object, instead of NAME.bpf.o in this folder"}},
            .examples = {{"policy build roomiest.bpf.c", "then: mpsched policy load ./roomiest.bpf.o"}},
        },
        {
            .verb = "policy",
            .sub_verb = "load",
            .group = Group::policies,
            .changes = true,
            .summary = "load a policy without using it, and keep it loaded",
            .description =
                {
                    "Shows whether the kernel's verifier accepts it. Nothing follows it until 'use'. The same object "
                    "again changes nothing; another one of that name is refused, or with --replace takes its place "
                    "wherever that is used: running connections follow, with the parameters that had been changed.",
                },
            .arguments = {{.name = "FILE",
                           .complete = Complete::policy_or_file,
                           .text = "policy object (my.bpf.o), or name of a policy"}},
            .options = {{.name = "--replace", .text = "in place of another object of that name"}},
            .examples = {{"policy load ./ratio.bpf.o", ""}},
        },
        {
            .verb = "policy",
            .sub_verb = "unload",
            .group = Group::policies,
            .changes = true,
            .summary = "remove a loaded policy",
            .description =
                {
                    "Refused while it is the default, a rule names it, or a connection still follows it.",
                },
            .arguments = {{.name = "NAME", .complete = Complete::loaded, .text = "a loaded policy"}},
            .examples = {{"policy unload ratio", ""}},
        },
        {
            .verb = "path",
            .group = Group::paths,
            .changes = true,
            .json_member = "paths",
            .json_list = true,
            .summary = "set or show what policies know of an interface: weight, priority, quota, …",
            .description =
                {
                    "Without settings shows them; without an interface those of all interfaces. They take effect at "
                    "once. They belong to the name: an interface that goes and comes back has them again, with what it "
                    "has carried of its quota, until --forget, or until the last interface is detached.",
                    "A path with use=never is a backup for every policy, 'default' too, in both directions: its subflows stay parked as long as "
                    "the connection has another usable subflow on attached interfaces that is no local backup, whatever its delay or loss. "
                    "Connections that begin there, or have nothing else, use it, and so does the kernel after three time-outs in a row on all "
                    "the others.",
                    "A quota is counted in the data path, over all MPTCP connections of this network namespace, in both "
                    "directions; the policy 'quota' keeps to it. With quota_then the path is not parked for good then, but used in bursts "
                    "that make this rate in the mean, in both directions; a connection that has nothing else is not held back. A restart of the machine forgets the count, "
                    "unless mpschedd keeps it; quota_used=BYTES sets it.",
                },
            .arguments = {{.name = "IFACE",
                           .required = false,
                           .complete = Complete::interface,
                           .text = "network interface; need not be attached, nor be there"},
                          {.name = "key=value",
                           .required = false,
                           .many = true,
                           .complete = Complete::path_attribute,
                           .text = "attribute and its new value"}},
            .options =
                {{.name = "--forget",
                  .text = "back to the default attributes; the quota and its count go as well"},
                 {.name = "--persist",
                  .text =
                      "say it in a drop-in of mpsched.toml as well, so that it outlives a reload and a restart"}},
            .examples = {{"path wan0 weight=3", "three times the share of a path of weight 1"},
                         {"path lte0 priority=1 cost=20 energy=lte", "standby, metered"},
                         {"path sat0 use=never", "only where nothing else is left"},
                         {"path lte0 quota=5G quota_then=256kbit", "throttled then, instead of parked"},
                         {"path lte0 quota=5G quota_period=30d", "at most 5 GB in 30 days, with 'use quota'"},
                         {"path", "show all"}},
        },
        {
            .verb = "rule",
            .sub_verb = "add",
            .group = Group::options,
            .changes = true,
            .summary = "let an MPTCP option on an interface pass, or change it",
            .description =
                {
                    "Of the rules for an interface and a direction the first that matches an option decides, and one that none "
                    "matches passes as it is. A new rule comes last, unless --position says otherwise; what it shares with another "
                    "one is told. Rules count from the next packet on, for connections that live as well; docs/option-rules.md tells "
                    "what each does to them.",
                    "An option that is changed keeps its length, and what the rest of the packet says still holds: rules cut no "
                    "connection off that they are not asked to. What cannot be changed passes, and is counted.",
                    "The interface need not be attached, nor be there. Rules stay until 'rule del', or until the interface is detached.",
                },
            .arguments = {{.name = "IFACE", .complete = Complete::interface, .text = "network interface"},
                          {.name = "DIRECTION",
                           .complete = Complete::one_of,
                           .text = "in, what arrives, or out, what leaves",
                           .allowed = words(option_rule_directions)},
                          {.name = "OPTION",
                           .complete = Complete::one_of,
                           .text = "the option, see below",
                           .allowed = words(option_rule_options)},
                          {.name = "ACTION",
                           .complete = Complete::one_of,
                           .text = "what becomes of it, see below",
                           .allowed = words(option_rule_actions)},
                          {.name = "key=value",
                           .required = false,
                           .many = true,
                           .complete = Complete::option_match,
                           .text = "only where this is so"}},
            .options = {{.name = "--position",
                         .value = "NUMBER",
                         .text = "place of the rule among the rules; 1 is tried first"}},
            .examples = {{"rule add lte0 out mp_join set-backup",
                          "peers are to use subflows over lte0 as backups"},
                         {"rule add wan0 in mp_capable refuse remote=203.0.113.0/24",
                          "plain TCP with these hosts"},
                         {"rule add wan0 in add_addr neutralise address=10.0.0.0/8",
                          "private addresses that peers announce are not tried"}},
        },
        {
            .verb = "rule",
            .sub_verb = "apply",
            .group = Group::options,
            .changes = true,
            .summary = "put the rules of a file in place of those that there are",
            .description =
                {
                    "All at once: no packet meets some of the old ones and some of the new. A file with a mistake changes nothing; it is told "
                    "with its line and what is allowed. The file is one of settings, mpsched.toml(5), of which only the [[option_rule]] "
                    "count here; mpschedd and 'config apply' bring them into force with all the rest.",
                },
            .arguments = {{.name = "FILE",
                           .required = false,
                           .complete = Complete::file,
                           .text = "as with config check"}},
            .examples = {{"rule apply options.toml", ""}},
        },
        {
            .verb = "rule",
            .sub_verb = "list",
            .group = Group::options,
            .json_member = "rules",
            .json_list = true,
            .summary = "the rules about MPTCP options, and which of them overlap",
            .examples = {{"rule list", ""}},
        },
        {
            .verb = "rule",
            .sub_verb = "del",
            .group = Group::options,
            .changes = true,
            .summary = "remove rules about MPTCP options",
            .arguments = {{.name = "NUMBER",
                           .required = false,
                           .many = true,
                           .text = "place of a rule among the rules, as 'rule list' shows it"}},
            .options = {{.name = "--all", .text = "every one"}},
            .examples = {{"rule del 2", ""}, {"rule del --all", "options pass as they are again"}},
        },
        {
            .verb = "rule",
            .sub_verb = "counters",
            .group = Group::options,
            .json_member = "rules",
            .json_list = true,
            .summary = "what each rule about MPTCP options has matched and changed",
            .description =
                {"Since the rule was made. The kernel counts; a rule that stays while others change goes on counting."},
            .examples = {{"rule counters", ""}},
        },
        {
            .verb = "cc",
            .sub_verb = "load",
            .group = Group::congestion,
            .changes = true,
            .summary = "load coupled congestion controls into the kernel",
            .description =
                {
                    "MPTCP of the kernel lets each subflow's window grow as if it was alone, so a connection with two subflows over one "
                    "bottleneck takes the share of two. A coupled one takes that of one, and moves to the paths that are free: mps_lia is RFC 6356, "
                    "mps_olia and mps_balia are its successors. docs/congestion.md tells what each was measured to do.",
                    "What is loaded is there for the whole machine, in all network namespaces, until 'cc unload' or a restart; nobody has it "
                    "until it is chosen: by 'cc use', by a program (setsockopt TCP_CONGESTION), or by net.ipv4.tcp_congestion_control.",
                },
            .arguments = {{.name = "NAME",
                           .many = true,
                           .complete = Complete::one_of,
                           .text = "mps_lia, mps_olia, mps_balia (mps_ may be left out), or all",
                           .allowed = {"mps_lia", "mps_olia", "mps_balia", "all"}}},
            .examples = {{"cc load all", ""}},
        },
        {
            .verb = "cc",
            .sub_verb = "list",
            .group = Group::congestion,
            .summary = "which congestion controls are loaded, who has them, and the rules that give them",
            .description =
                {
                    "The kernel counts the users of each: sockets of every network namespace, and namespaces that have it as their default. "
                    "Those sockets are shown that can be found: in namespaces that have a name or a process.",
                },
            .examples = {{"cc list", ""}},
        },
        {
            .verb = "cc",
            .sub_verb = "use",
            .group = Group::congestion,
            .changes = true,
            .summary = "give MPTCP subflows a congestion control",
            .description =
                {
                    "Subflows get it as soon as they are established, and those that there are get it now; in this network namespace, and "
                    "never plain TCP, unless --plain-tcp says so. It is loaded if it is one of ours and not loaded yet; any other that the "
                    "kernel has will do as well.",
                    "With --for only the connections that the selector names (all words but host=; dev= is the subflow's interface); the first "
                    "rule that matches counts, and that without --for comes last. It goes before what a program has chosen for its socket "
                    "when the connection was made; what a program chooses later stays.",
                    "No interface needs to be attached. Rules stay until 'cc unuse', or until the last interface is detached.",
                },
            .arguments = {{.name = "NAME",
                           .complete = Complete::one_of,
                           .text = "name of a congestion control",
                           .allowed = {"mps_lia", "mps_olia", "mps_balia", "cubic", "reno"}}},
            .options = {{.name = "--for",
                         .value = "SELECTOR",
                         .complete = Complete::selector,
                         .text = "only for these connections"},
                        {.name = "--plain-tcp", .text = "also for TCP without MPTCP"}},
            .examples = {{"cc use mps_lia", "all subflows of this network namespace"},
                         {"cc use balia --for cgroup=/backup.slice", "only what runs there"}},
        },
        {
            .verb = "cc",
            .sub_verb = "unuse",
            .group = Group::congestion,
            .changes = true,
            .summary = "remove a rule of 'cc use'",
            .description =
                {
                    "Sockets have back what they had before, unless somebody else has chosen something for them meanwhile. Without --for and "
                    "--all it is the rule without a selector that goes.",
                },
            .options = {{.name = "--for",
                         .value = "SELECTOR",
                         .complete = Complete::selector,
                         .text = "the rule with this selector"},
                        {.name = "--all", .text = "every rule"}},
            .examples = {{"cc unuse", ""}, {"cc unuse --all", ""}},
        },
        {
            .verb = "cc",
            .sub_verb = "unload",
            .group = Group::congestion,
            .changes = true,
            .summary = "take a congestion control out of the kernel",
            .description =
                {
                    "One that is in use is refused, with who uses it. With --drain nobody can choose it from now on, those that have it keep it, and "
                    "the command ends when the last of them is gone, or after that many seconds; the kernel removes it then, whenever that is.",
                },
            .arguments = {{.name = "NAME",
                           .many = true,
                           .complete = Complete::one_of,
                           .text = "as with cc load",
                           .allowed = {"mps_lia", "mps_olia", "mps_balia", "all"}}},
            .options = {{.name = "--drain",
                         .value = "SECONDS",
                         .implied = "60",
                         .text = "let users keep it, and wait for the last of them"}},
            .examples = {{"cc unload all", ""}, {"cc unload lia --drain=0", "gone when its last user is"}},
        },
        {
            .verb = "spread",
            .sub_verb = "on",
            .group = Group::paths,
            .changes = true,
            .summary = "place subflows on different paths of equal cost",
            .description =
                {
                    "Where a network has several paths of equal cost (ECMP: a data centre, parallel links of an operator), its routers choose "
                    "one by a hash of the packet's header, and several subflows of a connection may get the same one. Over IPv6 each subflow that "
                    "leaves by IFACE gets a flow label of its own. One that is slow gets another label while it lives: the slowest of its connection, "
                    "where the interface could carry more (by the rate of its token bucket or link), or, where that is not known, its siblings "
                    "have twice as much. docs/spread.md tells more.",
                    "A map tells which label or source port takes which path, 'spread probe' writes one: subflows then take different paths from the "
                    "beginning. IPv4 has no labels, so its subflows are placed by source ports and only with a map; a port is for a subflow's whole life.",
                    "What this host sends is placed; its peers do likewise for what they send. Plain TCP is left alone. Routers have to look at "
                    "labels or ports: 'spread probe' tells. No interface needs to be attached. It stays until 'spread off', or until the last "
                    "interface is detached.",
                },
            .arguments = {{.name = "IFACE",
                           .many = true,
                           .complete = Complete::interface,
                           .text = "interface that leads to several paths"}},
            .options = {{.name = "--map",
                         .value = "FILE",
                         .complete = Complete::file,
                         .text =
                             "which labels or ports take which path; without it the map that there is stays"},
                        {.name = "--no-map", .text = "forget the map that there is"},
                        {.name = "--no-move", .text = "subflows keep their label for life"}},
            .examples = {{"spread on eth0", ""}, {"spread on eth0 --map fabric.map", ""}},
        },
        {
            .verb = "spread",
            .sub_verb = "off",
            .group = Group::paths,
            .changes = true,
            .summary = "place subflows no more",
            .description =
                {"Subflows have the kernel's labels again at once, and keep the source ports that they have."},
            .arguments = {{.name = "IFACE",
                           .required = false,
                           .many = true,
                           .complete = Complete::interface,
                           .text = "interface on which nothing is placed any more"}},
            .options = {{.name = "--all", .text = "every interface; the map goes as well"}},
            .examples = {{"spread off --all", ""}},
        },
        {
            .verb = "spread",
            .sub_verb = "list",
            .group = Group::paths,
            .summary = "which subflow is placed where, and what is known of the paths",
            .examples = {{"spread list", ""}},
        },
        {
            .verb = "spread",
            .sub_verb = "probe",
            .group = Group::paths,
            .json_member = "pairs",
            .json_list = true,
            .summary = "find out which flow label or source port takes which path",
            .description =
                {
                    "TCP segments of no connection with labels, or source ports, that are drawn, and with hop limits as traceroute(8) has them: "
                    "the routers that answer are the path. The host itself answers with resets. From each address of the interface by "
                    "which it is reached; of a host with several addresses, all of them are best named in one command.",
                    "It tells where a map would not hold: the routers do not look at labels, or at ports as well, or do not answer. A router "
                    "that hashes ports looks at that of the peer, too: --port is the one that connections are to.",
                },
            .arguments = {{.name = "ADDRESS", .many = true, .text = "of a host behind several paths"}},
            .options = {{.name = "--from",
                         .value = "ADDRESS",
                         .repeats = true,
                         .text = "only from this address; may be repeated"},
                        {.name = "--by",
                         .value = "KIND",
                         .allowed = {"label", "port"},
                         .default_value = "label",
                         .text = "what is tried over IPv6; IPv4 has ports only"},
                        {.name = "--port", .value = "PORT", .default_value = "443", .text = "of the peer"},
                        {.name = "--values",
                         .value = "NUMBER",
                         .default_value = "32",
                         .text = "how many labels or ports are tried, 2..1024"},
                        {.name = "--hops",
                         .value = "NUMBER",
                         .default_value = "8",
                         .text = "how far at most, 1..30"},
                        {.name = "--save",
                         .value = "FILE",
                         .complete = Complete::file,
                         .text = "write a map for 'spread on --map'"}},
            .examples = {{"spread probe 2001:db8:3::1 --save fabric.map", ""},
                         {"spread probe 192.0.2.9 --port 5001", ""}},
        },
        {
            .verb = "app",
            .sub_verb = "attach",
            .group = Group::applications,
            .changes = true,
            .summary = "let the applications of a cgroup choose for their own MPTCP connections",
            .description =
                {
                    "By socket options (mps/socket_options.h, docs/application-interface.md): which of the allowed policies, which interfaces "
                    "not, at what cost at most; and what there is of subflows, quotas and reasons. An application can say it of its own sockets "
                    "only, with any rights, before and after connect(), and of a listener for what it accepts. What it says goes before "
                    "rules and the default.",
                    "For the processes whose sockets are made in the cgroup and below it. Every socket option call of theirs passes two "
                    "programs (docs tell what that costs), so the root of all cgroups is a bad choice. A cgroup that is removed takes it "
                    "along: of services, name a slice above them.",
                    "Said again of the same cgroup it replaces what was said before. Needs something attached, and stays until 'app detach' or "
                    "'detach --all'.",
                },
            .options =
                {{.name = "--cgroup",
                  .value = "PATH",
                  .text = "which cgroup (v2): its path, below the mount point or whole"},
                 {.name = "--allow-policy",
                  .value = "POLICY",
                  .repeats =
                      true,
                  .complete = Complete::policy,
                  .text = "a policy that may be chosen; may be repeated. Without, none"},
                 {.name = "--max-cost",
                  .value = "COST",
                  .text =
                      "connections whose application has chosen something use no interface that costs more (path IFACE "
                      "cost=)"}},
            .examples =
                {{"app attach --cgroup user.slice --allow-policy smallest-delay --allow-policy active-standby",
                  "users' programs may choose between two"},
                 {"app attach --cgroup system.slice --max-cost 10", "interfaces, but no policy"}},
        },
        {
            .verb = "app",
            .sub_verb = "list",
            .group = Group::applications,
            .json_member = "cgroups",
            .json_list = true,
            .summary = "the cgroups whose applications may choose, and what",
            .examples = {{"app list", ""}},
        },
        {
            .verb = "app",
            .sub_verb = "detach",
            .group = Group::applications,
            .changes = true,
            .summary = "applications of a cgroup can choose no more",
            .description = {"What they have chosen counts no more, for connections that live as well."},
            .options = {{.name = "--cgroup",
                         .value = "PATH",
                         .repeats = true,
                         .text = "which cgroup, as 'app list' shows it; may be repeated"},
                        {.name = "--all", .text = "every one"}},
            .examples = {{"app detach --cgroup user.slice", ""}},
        },
        {
            .verb = "run",
            .group = Group::applications,
            .summary = "start a command whose TCP connections are MPTCP's",
            .description =
                {
                    "For programs that know nothing of MPTCP: sockets that COMMAND and all that it starts ask for as TCP are made as "
                    "MPTCP's, for clients and servers, static programs and those in Go, 32-bit ones as well. Needs no rights, nothing "
                    "attached, and no change of the program. mpsched becomes COMMAND: its process number, exit status, signals and "
                    "terminal are the command's own.",
                    "As root, on Linux 6.6 and later, a BPF program in the kernel does it for a cgroup in which COMMAND runs then, for about a "
                    "microsecond; else a second process answers for each socket (seccomp user notification). --way chooses; 'probe' "
                    "tells whether the kernel can (fmod_ret), and --json which it was.",
                    "In both cases a process stays until the last one that came of COMMAND has ended. Another takes over if it is killed; if both "
                    "are, sockets that are made below COMMAND are TCP's again (seccomp: none can be made). Connections do not depend on them.",
                    "Stays TCP: what the kernel refuses (net.mptcp.enabled=0), what is in a network namespace that mpsched may not "
                    "enter, and a socket of which MPTCP lacks an option that it sets (TCP_MD5SIG, TCP_AO, TCP_REPAIR). At the end "
                    "a line on standard error tells how many sockets became MPTCP's, and of the others why not. As another user than root the "
                    "setuid bit of programs has no effect below COMMAND.",
                    "With --policy COMMAND runs in a cgroup of its own, for which there is a rule as 'use --for cgroup=…' makes it, until "
                    "the last process that came of it has ended. That needs root, cgroup v2 and something attached.",
                    "Exit code: that of COMMAND; 126 if it cannot be started, 127 if there is none.",
                },
            .arguments = {{.name = "COMMAND",
                           .required = false,
                           .many = true,
                           .complete = Complete::program,
                           .text = "a program and its arguments, behind '--'"}},
            .options = {{.name = "--policy",
                         .value = "POLICY",
                         .complete = Complete::policy,
                         .text = "for the connections of this command only"},
                        {.name = "--set",
                         .short_name = "-s",
                         .value = "key=value",
                         .repeats = true,
                         .complete = Complete::parameter,
                         .text = "set a parameter of the policy; may be repeated"},
                        {.name = "--way",
                         .value = "WAY",
                         .allowed = {"auto", "fmod_ret", "seccomp"},
                         .default_value = "auto",
                         .complete = Complete::one_of,
                         .text =
                             "who makes the sockets: a program in the kernel, or a process that is asked"},
                        {.name = "--unit",
                         .value = "NAME",
                         .text = "instead of COMMAND: have systemd start this service so, by a drop-in"},
                        {.name = "--undo", .text = "with --unit: remove the drop-in"},
                        {.name = "--quiet", .text = "do not tell at the end what became of the sockets"}},
            .examples = {{"run -- curl https://192.0.2.1/",
                          "a download over all paths that the server has, too"},
                         {"run --policy active-standby -- ssh 192.0.2.1",
                          "one command with a policy of its own"},
                         {"run --unit nginx", "a service, from its next start on"},
                         {"run -- python3 -m http.server",
                          "a server that MPTCP clients can use over all their paths"}},
        },
        {
            .verb = "proxy",
            .sub_verb = "start",
            .group = Group::applications,
            .changes = true,
            .summary = "give MPTCP to hosts, or to servers, that have none",
            .description =
                {
                    "Near end (--lan), on a gateway: TCP connections of the hosts behind these interfaces that would be passed on are taken, "
                    "and go on as MPTCP over all uplinks, to the server itself or to a far end (--via). What speaks MPTCP itself, what is for the "
                    "gateway and what goes back into a LAN passes as before; so does everything while no relay answers.",
                    "Far end (--listen): what comes as MPTCP goes on as TCP to a server (--to), or to where the client wanted to go, as a near "
                    "end that is named (--from) tells by the PROXY protocol, version 2.",
                    "A relay (haproxy) moves the data, as a user without rights. One that dies is started again; its connections are lost, others "
                    "are not touched. Everything ends with 'proxy stop', which leaves nothing behind. docs/proxy.md tells what is different "
                    "for clients and servers.",
                    "One near end and one far end for each port may run in a network namespace.",
                },
            .options =
                {{.name = "--lan",
                  .value = "IFACE",
                  .repeats =
                      true,
                  .complete = Complete::interface,
                  .text = "near end: where hosts without MPTCP are; may be repeated"},
                 {.name = "--port",
                  .value = "PORT",
                  .repeats =
                      true,
                  .text = "near end: only connections to this port; may be repeated"},
                 {.name = "--via",
                  .value = "ADDRESS:PORT",
                  .text = "near end: by this far end, for servers without MPTCP"},
                 {.name = "--keep-address",
                  .value = "IFACE",
                  .repeats =
                      true,
                  .complete = Complete::interface,
                  .text =
                      "near end: connect with the client's address, whose answers come over this interface; may be repeated"},
                 {.name = "--listen",
                  .value = "PORT",
                  .text = "far end: take connections here; ADDRESS:PORT for one address"},
                 {.name = "--to", .value = "ADDRESS:PORT", .text = "far end: the server"},
                 {.name = "--from",
                  .value = "PREFIX",
                  .repeats = true,
                  .text = "far end: only from near ends there, which tell of their clients; may be repeated"},
                 {.name = "--send-proxy",
                  .text = "far end: tell the server of the client by the PROXY protocol, version 2"},
                 {.name = "--relay",
                  .value = "PROGRAM",
                  .default_value = "haproxy",
                  .text = "another haproxy than the first in PATH"},
                 {.name = "--foreground", .text = "do not go into the background; for systemd"}},
            .examples = {{"proxy start --lan lan0",
                          "what is behind lan0 uses all uplinks, to servers with MPTCP"},
                         {"proxy start --lan lan0 --via 198.51.100.1:7000", "and to all others by a far end"},
                         {"proxy start --listen 7000 --from 192.0.2.0/24", "that far end"},
                         {"proxy start --listen 443 --to 127.0.0.1:8443", "a server that has no MPTCP"}},
        },
        {
            .verb = "proxy",
            .sub_verb = "status",
            .group = Group::applications,
            .json_member = "proxies",
            .json_list = true,
            .summary = "the proxies of this network namespace",
            .examples = {{"proxy status", ""}},
        },
        {
            .verb = "proxy",
            .sub_verb = "stop",
            .group = Group::applications,
            .changes = true,
            .summary = "end a proxy, and with it the connections that it relays",
            .description = {"Without NAME all of them. Removes what one that was killed has left, too."},
            .arguments = {{.name = "NAME",
                           .required = false,
                           .text = "as 'proxy status' shows it: near, far-443"}},
            .examples = {{"proxy stop", ""}, {"proxy stop near", ""}},
        },
        {
            .verb = "config",
            .sub_verb = "check",
            .group = Group::service,
            .summary = "is mpsched.toml right? Says where it is not, and what is allowed there",
            .description =
                {
                    "Without FILE /etc/mpsched/mpsched.toml with its drop-ins, /etc/mpsched/mpsched.d/*.toml. Needs no rights "
                    "and looks at nothing else; mpsched.toml(5) has every key.",
                },
            .arguments = {{.name = "FILE",
                           .required = false,
                           .complete = Complete::file,
                           .text = "a file of settings, and drop-ins in the folder of that name with .d"}},
            .examples = {{"config check", "before a reload"}},
        },
        {
            .verb = "config",
            .sub_verb = "diff",
            .group = Group::service,
            .summary = "in what the running state differs from mpsched.toml",
            .arguments =
                {{.name = "FILE", .required = false, .complete = Complete::file, .text = "as with check"}},
            .examples = {{"config diff", "what 'config apply' or 'reload' would change"}},
        },
        {
            .verb = "config",
            .sub_verb = "apply",
            .group = Group::service,
            .changes = true,
            .summary = "make what runs as mpsched.toml says, once and without mpschedd",
            .description =
                {
                    "Changes what differs and nothing else. Interfaces that no [[interface]] is for are detached, rules that "
                    "are not in the files removed; files that say nothing at all change nothing. Goes on behind what fails, "
                    "and ends with 1 then.",
                },
            .arguments =
                {{.name = "FILE", .required = false, .complete = Complete::file, .text = "as with check"}},
            .examples = {{"config apply", "by hand, or from a script at the start of the machine"},
                         {"config apply trial.toml",
                          "try it; with mpschedd a reload puts its own files back"}},
        },
        {
            .verb = "config",
            .sub_verb = "export",
            .group = Group::service,
            .summary = "what runs now, as a file of settings",
            .description = {"'config check' accepts it, and 'config apply' changes nothing by it."},
            .examples = {{"config export", "with '>mpsched.toml' behind it, to keep what was typed by hand"}},
        },
        {
            .verb = "config",
            .sub_verb = "edit",
            .group = Group::service,
            .summary = "edit mpsched.toml; only what is right takes its place",
            .description =
                {
                    "Starts $VISUAL, $EDITOR or 'editor' on a copy, checks that, and renames it into place. What is wrong is "
                    "kept beside it, and the next 'config edit' goes on with it. A file that is not there yet begins as an "
                    "example.",
                },
            .arguments =
                {{.name = "FILE", .required = false, .complete = Complete::file, .text = "as with check"}},
            .examples = {{"config edit", "then 'reload'"}},
        },
        {
            .verb = "reload",
            .group = Group::service,
            .changes = true,
            .summary = "have mpschedd read its files again, and tell what became of it",
            .description =
                {
                    "Files with a mistake are refused as a whole, and what was in force stays. What was changed by hand "
                    "is put back to what the files say. Exit code 1 where something of it could not be done; mpschedd tries "
                    "that again.",
                },
            .examples = {{"reload", "after a change of mpsched.toml"}},
        },
        {
            .verb = "web",
            .group = Group::service,
            .summary = "the address of mpschedd's page, with its token",
            .description =
                {
                    "The page is served where [web] in mpsched.toml says so. Whoever has the token may read what 'top' shows, "
                    "choose the default policy and set weights; it is a new one each time mpschedd starts.",
                },
            .examples = {{"web", "open this in a browser on this machine"}},
        },
        {
            .verb = "help",
            .summary = "help on a command",
            .arguments = {{.name = "COMMAND",
                           .required = false,
                           .many = true,
                           .complete = Complete::command,
                           .text = "one of the commands"}},
            .examples = {{"help policy show", ""}},
        },
        {
            .verb = "version",
            .json_member = "program",
            .summary = "version of mpsched and of its binary interface to policies and pins",
            .examples = {{"version --json", ""}},
        },
    };
    return all;
}

std::span<const Option> global_options() {
    static const std::vector<Option> all{
        {.name = "--json",
         .text =
             "exactly one JSON document on standard output, errors included; --json=2 for one that tells its "
             "version (docs/json.md)"},
        {.name = "--netns",
         .value = "NAME",
         .complete = Complete::netns,
         .text = "work in this network namespace (name, path or process id)"},
        {.name = "--wait",
         .value = "SECONDS",
         .text = "how long another mpsched may hold up a command that changes something (default 10)"},
        {.name = "--verbose",
         .short_name = "-v",
         .text = "complete verifier logs and libbpf's messages on standard error"},
        {.name = "--help", .short_name = "-h", .text = "this help; after a command, help on that command"},
        {.name = "--version", .text = "same as 'mpsched version'"},
    };
    return all;
}

std::span<const Example> examples() {
    static const std::vector<Example> all{
        {"probe", "can this machine do it?"},
        {"attach wan0 lte0", "put the data path on both paths"},
        {"path wan0 weight=3", "wan0 is to carry three quarters"},
        {"use weighted", "switch all connections to 'weighted'"},
        {"status", "see that it worked"},
        {"use active-standby --for rport=443", "HTTPS on the better line only"},
        {"detach --all", "back to the kernel's own scheduler, no trace left"},
    };
    return all;
}

std::span<const ExitCode> exit_codes() {
    static const std::vector<ExitCode> all{
        {0, "done"},
        {1, "failed"},
        {2, "usage: the request itself is wrong (unknown name, value out of range)"},
        {3, "not supported by this kernel, interface or version"},
        {4, "not permitted: a capability is missing"},
    };
    return all;
}

std::span<const Term> selector_terms() {
    static const std::vector<Term> all{
        {"remote=ADDR[/PREFIX][:PORT]",
         "the peer's address; IPv6 as 2001:db8::/32 or [2001:db8::/32]:443; *:443 is any address"},
        {"local=ADDR[/PREFIX][:PORT]", "this host's address"},
        {"rport=PORT", "the peer's port alone, 1..65535"},
        {"lport=PORT", "this host's port alone"},
        {"host=NAME", "the peer's address is one of this name's, which is looked up and followed"},
        {"mark=VALUE[/MASK]", "the socket's mark (SO_MARK), decimal or 0x…"},
        {"user=NAME", "who made the socket: a user's name or number"},
        {"command=NAME",
         "the command of the process that made the socket, at most 15 characters: 'ps -o comm'"},
        {"unit=NAME", "a unit of systemd, such as nginx.service, itself and all below it"},
        {"cgroup=PATH", "a cgroup v2, itself and all below it"},
        {"dev=IFACE", "the attached interface on which the connection's packet arrived"},
    };
    return all;
}

std::span<const Term> path_attributes() {
    static const auto range = [](const PathLimit &limit) {
        return fmt::format("{}={}..{}", limit.name, limit.least, limit.most);
    };
    static const std::string weight = range(path_weight);
    static const std::string priority = range(path_priority);
    static const std::string cost = range(path_cost);
    static const std::string energy = fmt::format("energy={}", fmt::join(energy_names, "|"));
    static const std::string use = fmt::format("use={}", fmt::join(use_names, "|"));
    static const std::vector<Term> all{
        {weight, "share of the bytes, relative to the other paths; default 1"},
        {priority, "lower is preferred; default 0"},
        {cost, "money per byte in a unit of your own; default 0"},
        {energy, "kind of radio; default none"},
        {use, "never: no policy uses it while a connection has anything else; default policy"},
        {"quota=none|BYTES", "what it may carry in a period: 10000000, 500k, 5GB, 5GiB; default none"},
        {"quota_period=none|TIME", "after which the count starts over: 3600 (s), 24h, 30d, 1w; default none"},
        {"quota_then=none|RATE",
         "what it may carry in the mean once the quota is used up: 256kbit, 1.5Mbit; default none"},
        {"quota_used=BYTES", "what it has carried in this period already"},
    };
    return all;
}

std::span<const Term> option_terms() {
    static const std::vector<Term> all = terms(option_rule_options);
    return all;
}

std::span<const Term> option_action_terms() {
    static const std::vector<Term> all = terms(option_rule_actions);
    return all;
}

std::span<const Term> option_match_terms() {
    static const std::vector<Term> all{
        {"state=syn|synack|established",
         "which packet of a connection (established: any other); several with commas"},
        {"local=ADDR[/PREFIX]", "this host's address"},
        {"remote=ADDR[/PREFIX]", "the peer's address"},
        {"lport=PORT", "this host's port"},
        {"rport=PORT", "the peer's port"},
        {"address=ADDR[/PREFIX]", "of add_addr: the address that is announced"},
    };
    return all;
}

std::span<const Term> environment() {
    static const std::vector<Term> all{
        {"NO_COLOR", "if set and not empty, no colours"},
        {"MPS_CONFIG", "file of settings, instead of /etc/mpsched/mpsched.toml"},
        {"MPS_RUN_DIR", "folder of mpschedd's sockets, instead of /run/mpsched"},
        {"VISUAL, EDITOR", "editor of 'config edit'"},
        {"MPS_BPFFS", "mount point of the bpf file system to keep pins in, instead of /sys/fs/bpf"},
        {"MPS_POLICY", "policy that the first attach chooses, instead of auto"},
        {"MPS_CLANG", "compiler of 'policy build', instead of clang-19 or the next best"},
        {"MPS_WITHOUT",
         "comma separated names of features (see 'probe') to treat as missing, to test fallbacks"},
    };
    return all;
}

std::span<const Term> absent_commands() {
    constexpr std::string_view no_daemon =
        "'attach' puts programs into the kernel, which go on by themselves; mpschedd is the service that keeps them as "
        "mpsched.toml says";
    constexpr std::string_view rules = "'status' shows the rules, 'use --for' makes one, 'unuse' removes it";
    constexpr std::string_view connections = "'conns' shows the connections and their subflows";
    static const std::vector<Term> all{
        {"monitor", "'top' shows what is going on, 'events' tells what happens"},
        {"why", "'explain TOKEN' tells why a connection uses the subflows that it uses"},
        {"log",
         "'trace' tells packets and decisions as they happen, 'stats' counts what was decided and why not"},
        {"daemon", no_daemon},
        {"start", no_daemon},
        {"stop", "'detach' takes the programs off again"},
        {"rules", rules},
        {"connections", connections},
        {"subflows", connections},
        {"ss", connections},
        {"ps", connections},
        {"policies", "'policy list' lists the policies"},
        {"schedulers", "'policy list' lists the policies"},
        {"interfaces", "'status' shows the interfaces, 'path' what policies know of them"},
        {"weight", "'path IFACE weight=3' sets it"},
        {"quota", "'path IFACE quota=5GB' sets it, 'use quota' keeps to it"},
        {"get", "'status' shows the values, 'policy show POLICY' what they mean"},
    };
    return all;
}

std::string_view group_title(Group group) {
    switch (group) {
    case Group::look:
        return "See";
    case Group::interfaces:
        return "Interfaces";
    case Group::policies:
        return "Policies";
    case Group::paths:
        return "Paths";
    case Group::options:
        return "Options";
    case Group::congestion:
        return "Congestion control";
    case Group::applications:
        return "Applications";
    case Group::service:
        return "Service";
    case Group::other:
        return "Other";
    }
    return "";
}

std::string Command::name() const {
    std::string text(verb);
    if (!sub_verb.empty()) {
        text += ' ';
        text += sub_verb;
    }
    return text;
}

std::string Command::synopsis() const {
    std::string text = name();
    for (const Argument &argument : arguments) {
        text += ' ';
        if (!argument.required)
            text += '[';
        text += argument.name;
        if (argument.many)
            text += "…";
        if (!argument.required)
            text += ']';
    }
    for (const Option &option : options) {
        text += " [";
        text += option.short_name.empty() ? option.name : option.short_name;
        if (!option.is_flag()) {
            text += ' ';
            if (option.allowed.empty()) {
                text += option.value_term();
            } else {
                for (std::size_t i = 0; i < option.allowed.size(); i++) {
                    text += i == 0 ? "" : "|";
                    text += option.allowed[i];
                }
            }
        }
        text += ']';
        if (option.repeats)
            text += "…";
    }
    return text;
}

std::string Option::value_term() const {
    return implied.empty() ? std::string(value) : fmt::format("[{}]", value);
}

const Command *find_command(std::string_view name) {
    const auto all = commands();
    const auto found = std::ranges::find_if(all, [&](const Command &one) { return one.name() == name; });
    return found == all.end() ? nullptr : &*found;
}

std::vector<std::string_view> verbs() {
    std::vector<std::string_view> all;
    for (const Command &command : commands())
        if (std::ranges::find(all, command.verb) == all.end())
            all.push_back(command.verb);
    return all;
}

std::vector<std::string_view> sub_verbs(std::string_view verb) {
    std::vector<std::string_view> all;
    for (const Command &command : commands())
        if (command.verb == verb && !command.sub_verb.empty())
            all.push_back(command.sub_verb);
    return all;
}

} // namespace mps::table
