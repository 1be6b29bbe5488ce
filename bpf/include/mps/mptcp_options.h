/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The formats of MPTCP's options, RFC 8684 (and of its predecessor RFC 6824, "version 0", where they differ): the one description for the
 * data path, `mpsched decode`, the packets that tests build, and docs/options.md.
 *
 * An option is kind 30, its length, and then four bits of subtype; together with the twelve bits that follow they are its head. An
 * option comes in forms, which differ in length or in bits of the head. Of each form there is
 *	MPTCP_FORM_<form>	its number
 *	MPTCP_LEN_<form>	its length
 *	struct mptcp_<form>	its octets; no member needs alignment
 * and MPTCP_FIELDS_<form>(X), the fields behind the octet with the subtype, in their order.
 */
#ifndef MPS_MPTCP_OPTIONS_H
#define MPS_MPTCP_OPTIONS_H

/* Kinds of TCP options; as in <netinet/tcp.h>, where that has them. */
#define TCPOPT_EOL 0
#define TCPOPT_NOP 1
#define TCPOPT_SACK 5
#define TCPOPT_TIMESTAMP 8
#define TCPOPT_MPTCP 30
#define TCPOLEN_TIMESTAMP 10
#define TCP_OPTIONS_MAX 40

/* X(name, subtype, section of RFC 8684, what it is for) */
#define MPTCP_SUBTYPES(X)                                                                                    \
	X(MP_CAPABLE, 0, "3.1", "begins a connection: both hosts speak MPTCP, and these are their keys")     \
	X(MP_JOIN, 1, "3.2", "adds a subflow to a connection")                                               \
	X(DSS, 2, "3.3", "acknowledges data, maps a subflow's bytes to the connection's, ends the data")     \
	X(ADD_ADDR, 3, "3.4.1", "announces another address of the sender, or echoes such an announcement")   \
	X(REMOVE_ADDR, 4, "3.4.2", "takes announced addresses back")                                         \
	X(MP_PRIO, 5, "3.3.8", "the sender wishes this subflow to be used as a backup, or no longer")        \
	X(MP_FAIL, 6, "3.7", "a DSS checksum was wrong from this data sequence number on")                   \
	X(MP_FASTCLOSE, 7, "3.5", "ends the whole connection at once")                                       \
	X(MP_TCPRST, 8, "3.6", "why this subflow is reset")                                                  \
	X(MP_EXPERIMENTAL, 15, "8.2", "for private use")

enum mptcp_subtype {
#define MPTCP_SUBTYPE_ENUM(name, subtype, section, text) MPTCP_SUB_##name = (subtype),
	MPTCP_SUBTYPES(MPTCP_SUBTYPE_ENUM)
#undef MPTCP_SUBTYPE_ENUM
};

/*
 * X(field, octets, how it is shown, the RFC's name, Wireshark's field). Shown as: N number, H hexadecimal, 4 and 6 address, R reason
 * of a reset, F flags (see MPTCP_FLAGS), Z reserved.
 */
#define MPTCP_FIELDS(X)                                                                                      \
	X(flags, 1, 'F', "flags", "tcp.options.mptcp.flags")                                                 \
	X(reserved, 1, 'Z', "(reserved)", "tcp.options.mptcp.reserved")                                      \
	X(sender_key, 8, 'H', "Option Sender's Key", "tcp.options.mptcp.sendkey")                            \
	X(receiver_key, 8, 'H', "Option Receiver's Key", "tcp.options.mptcp.recvkey")                        \
	X(address_id, 1, 'N', "Address ID", "tcp.options.mptcp.addrid")                                      \
	X(token, 4, 'H', "Receiver's Token", "tcp.options.mptcp.recvtok")                                    \
	X(nonce, 4, 'H', "Sender's Random Number", "tcp.options.mptcp.sendrand")                             \
	X(truncated_hmac, 8, 'H', "Sender's Truncated HMAC", "tcp.options.mptcp.sendtrunchmac")              \
	X(hmac, 20, 'H', "Sender's HMAC", "tcp.options.mptcp.sendhmac")                                      \
	X(data_ack, 4, 'N', "Data ACK (4 octets)", "tcp.options.mptcp.rawdataack")                           \
	X(data_ack64, 8, 'N', "Data ACK (8 octets)", "tcp.options.mptcp.rawdataack")                         \
	X(dsn, 4, 'N', "Data Sequence Number (4 octets)", "tcp.options.mptcp.rawdataseqno")                  \
	X(dsn64, 8, 'N', "Data Sequence Number (8 octets)", "tcp.options.mptcp.rawdataseqno")                \
	X(subflow_seq, 4, 'N', "Subflow Sequence Number", "tcp.options.mptcp.subflowseqno")                  \
	X(data_length, 2, 'N', "Data-Level Length", "tcp.options.mptcp.datalvllen")                          \
	X(checksum, 2, 'H', "Checksum", "tcp.options.mptcp.checksum")                                        \
	X(ipv4, 4, '4', "Address (IPv4)", "tcp.options.mptcp.ipv4")                                          \
	X(ipv6, 16, '6', "Address (IPv6)", "tcp.options.mptcp.ipv6")                                         \
	X(port, 2, 'N', "Port", "tcp.options.mptcp.port")                                                    \
	X(address_hmac, 8, 'H', "Truncated HMAC", "tcp.options.mptcp.addaddrtrunchmac")                      \
	X(reason, 1, 'R', "Reason", "tcp.options.mptcp.rst_reason")

enum mptcp_field {
#define MPTCP_FIELD_ENUM(field, octets, shown, title, wireshark) MPTCP_FIELD_##field,
	MPTCP_FIELDS(MPTCP_FIELD_ENUM)
#undef MPTCP_FIELD_ENUM
		MPTCP_NR_FIELDS
};

enum mptcp_field_octets {
#define MPTCP_FIELD_OCTETS(field, octets, shown, title, wireshark) MPTCP_OCTETS_##field = (octets),
	MPTCP_FIELDS(MPTCP_FIELD_OCTETS)
#undef MPTCP_FIELD_OCTETS
};

/* X(subtype, letter of the RFC, bit of the head, name, meaning) */
#define MPTCP_FLAGS(X)                                                                                       \
	X(MP_CAPABLE, A, 0x0080, checksum_required, "DSS checksums are required")                            \
	X(MP_CAPABLE, B, 0x0040, extensibility, "reserved for extensions; must be 0")                        \
	X(MP_CAPABLE, C, 0x0020, no_more_subflows, "no subflows to this address and port are accepted")      \
	X(MP_CAPABLE, H, 0x0001, hmac, "keys are hashed by SHA-256 (version 0: SHA-1)")                      \
	X(MP_JOIN, B, 0x0100, backup, "the subflow is to be a backup")                                       \
	X(DSS, F, 0x0010, data_fin, "DATA_FIN: the end of the data")                                         \
	X(DSS, m, 0x0008, dsn_octets_8, "the data sequence number has 8 octets")                             \
	X(DSS, M, 0x0004, mapping, "there is a mapping")                                                     \
	X(DSS, a, 0x0002, data_ack_octets_8, "the data ACK has 8 octets")                                    \
	X(DSS, A, 0x0001, data_ack_present, "there is a data ACK")                                           \
	X(ADD_ADDR, E, 0x0100, echo, "an echo: the announcement has arrived")                                \
	X(MP_PRIO, B, 0x0100, backup, "the subflow is to be a backup")                                       \
	X(MP_TCPRST, U, 0x0800, reserved_u, "reserved")                                                      \
	X(MP_TCPRST, V, 0x0400, reserved_v, "reserved")                                                      \
	X(MP_TCPRST, W, 0x0200, reserved_w, "reserved")                                                      \
	X(MP_TCPRST, T, 0x0100, transient, "the condition is transient: another try may succeed")

enum mptcp_flag {
#define MPTCP_FLAG_ENUM(option, letter, bit, name, text) MPTCP_##option##_##letter = (bit),
	MPTCP_FLAGS(MPTCP_FLAG_ENUM)
#undef MPTCP_FLAG_ENUM
};

/* X(number, text): section 3.6 */
#define MPTCP_RST_REASONS(X)                                                                                 \
	X(0, "unspecified error")                                                                            \
	X(1, "MPTCP-specific error")                                                                         \
	X(2, "lack of resources")                                                                            \
	X(3, "administratively prohibited")                                                                  \
	X(4, "too much outstanding data")                                                                    \
	X(5, "unacceptable performance")                                                                     \
	X(6, "middlebox interference")

#define MPTCP_FIELDS_capable_syn(X) X(flags)
#define MPTCP_FIELDS_capable_synack(X) X(flags) X(sender_key)
#define MPTCP_FIELDS_capable_ack(X) X(flags) X(sender_key) X(receiver_key)
#define MPTCP_FIELDS_capable_data(X) X(flags) X(sender_key) X(receiver_key) X(data_length)
#define MPTCP_FIELDS_capable_data_csum(X) X(flags) X(sender_key) X(receiver_key) X(data_length) X(checksum)
#define MPTCP_FIELDS_capable_key_v0(X) X(flags) X(sender_key)
#define MPTCP_FIELDS_capable_ack_v0(X) X(flags) X(sender_key) X(receiver_key)

#define MPTCP_FIELDS_join_syn(X) X(address_id) X(token) X(nonce)
#define MPTCP_FIELDS_join_synack(X) X(address_id) X(truncated_hmac) X(nonce)
#define MPTCP_FIELDS_join_ack(X) X(reserved) X(hmac)

/* Of a DSS: octets of the data ACK, octets of the data sequence number, checksum. */
#define MPTCP_MAP_4(X) X(dsn) X(subflow_seq) X(data_length)
#define MPTCP_MAP_8(X) X(dsn64) X(subflow_seq) X(data_length)
#define MPTCP_FIELDS_dss(X) X(flags)
#define MPTCP_FIELDS_dss_a4(X) X(flags) X(data_ack)
#define MPTCP_FIELDS_dss_a8(X) X(flags) X(data_ack64)
#define MPTCP_FIELDS_dss_m4(X) X(flags) MPTCP_MAP_4(X)
#define MPTCP_FIELDS_dss_m8(X) X(flags) MPTCP_MAP_8(X)
#define MPTCP_FIELDS_dss_a4_m4(X) X(flags) X(data_ack) MPTCP_MAP_4(X)
#define MPTCP_FIELDS_dss_a4_m8(X) X(flags) X(data_ack) MPTCP_MAP_8(X)
#define MPTCP_FIELDS_dss_a8_m4(X) X(flags) X(data_ack64) MPTCP_MAP_4(X)
#define MPTCP_FIELDS_dss_a8_m8(X) X(flags) X(data_ack64) MPTCP_MAP_8(X)
#define MPTCP_FIELDS_dss_m4_csum(X) MPTCP_FIELDS_dss_m4(X) X(checksum)
#define MPTCP_FIELDS_dss_m8_csum(X) MPTCP_FIELDS_dss_m8(X) X(checksum)
#define MPTCP_FIELDS_dss_a4_m4_csum(X) MPTCP_FIELDS_dss_a4_m4(X) X(checksum)
#define MPTCP_FIELDS_dss_a4_m8_csum(X) MPTCP_FIELDS_dss_a4_m8(X) X(checksum)
#define MPTCP_FIELDS_dss_a8_m4_csum(X) MPTCP_FIELDS_dss_a8_m4(X) X(checksum)
#define MPTCP_FIELDS_dss_a8_m8_csum(X) MPTCP_FIELDS_dss_a8_m8(X) X(checksum)

#define MPTCP_FIELDS_add_addr4(X) X(address_id) X(ipv4) X(address_hmac)
#define MPTCP_FIELDS_add_addr4_port(X) X(address_id) X(ipv4) X(port) X(address_hmac)
#define MPTCP_FIELDS_add_addr4_echo(X) X(address_id) X(ipv4)
#define MPTCP_FIELDS_add_addr4_port_echo(X) X(address_id) X(ipv4) X(port)
#define MPTCP_FIELDS_add_addr6(X) X(address_id) X(ipv6) X(address_hmac)
#define MPTCP_FIELDS_add_addr6_port(X) X(address_id) X(ipv6) X(port) X(address_hmac)
#define MPTCP_FIELDS_add_addr6_echo(X) X(address_id) X(ipv6)
#define MPTCP_FIELDS_add_addr6_port_echo(X) X(address_id) X(ipv6) X(port)
#define MPTCP_FIELDS_add_addr4_v0(X) X(address_id) X(ipv4)
#define MPTCP_FIELDS_add_addr4_port_v0(X) X(address_id) X(ipv4) X(port)
#define MPTCP_FIELDS_add_addr6_v0(X) X(address_id) X(ipv6)
#define MPTCP_FIELDS_add_addr6_port_v0(X) X(address_id) X(ipv6) X(port)

#define MPTCP_FIELDS_remove_addr(X) X(address_id)
#define MPTCP_FIELDS_prio(X)
#define MPTCP_FIELDS_prio_v0(X) X(address_id)
#define MPTCP_FIELDS_fail(X) X(reserved) X(dsn64)
#define MPTCP_FIELDS_fastclose(X) X(reserved) X(receiver_key)
#define MPTCP_FIELDS_tcprst(X) X(reason)

/*
 * X(form, subtype, version, mask, value, flags, repeats, title): the form of an option of that subtype whose head has `value` in the
 * bits of `mask` and whose length is the form's; with `repeats` the last field may stand there several times. `version` is 0 or 1
 * where the form is of one version of MPTCP only, else -1. `flags` are the bits of the head that mean something.
 */
#define MPTCP_FORMS(X)                                                                                       \
	X(capable_syn, MP_CAPABLE, 1, 0x0f00, 0x0100, 0x00e1, 0, "SYN")                                      \
	X(capable_synack, MP_CAPABLE, 1, 0x0f00, 0x0100, 0x00e1, 0, "SYN/ACK")                               \
	X(capable_ack, MP_CAPABLE, 1, 0x0f00, 0x0100, 0x00e1, 0, "ACK")                                      \
	X(capable_data, MP_CAPABLE, 1, 0x0f00, 0x0100, 0x00e1, 0, "ACK with data")                           \
	X(capable_data_csum, MP_CAPABLE, 1, 0x0f00, 0x0100, 0x00e1, 0, "ACK with data and checksum")         \
	X(capable_key_v0, MP_CAPABLE, 0, 0x0f00, 0x0000, 0x00c1, 0, "SYN or SYN/ACK, version 0")             \
	X(capable_ack_v0, MP_CAPABLE, 0, 0x0f00, 0x0000, 0x00c1, 0, "ACK, version 0")                        \
	X(join_syn, MP_JOIN, -1, 0, 0, 0x0100, 0, "SYN")                                                     \
	X(join_synack, MP_JOIN, -1, 0, 0, 0x0100, 0, "SYN/ACK")                                              \
	X(join_ack, MP_JOIN, -1, 0, 0, 0, 0, "ACK")                                                          \
	X(dss, DSS, -1, 0x0005, 0x0000, 0x001f, 0, "neither data ACK nor mapping")                           \
	X(dss_a4, DSS, -1, 0x0007, 0x0001, 0x001f, 0, "data ACK 4")                                          \
	X(dss_a8, DSS, -1, 0x0007, 0x0003, 0x001f, 0, "data ACK 8")                                          \
	X(dss_m4, DSS, -1, 0x000d, 0x0004, 0x001f, 0, "mapping 4")                                           \
	X(dss_m8, DSS, -1, 0x000d, 0x000c, 0x001f, 0, "mapping 8")                                           \
	X(dss_a4_m4, DSS, -1, 0x000f, 0x0005, 0x001f, 0, "data ACK 4, mapping 4")                            \
	X(dss_a4_m8, DSS, -1, 0x000f, 0x000d, 0x001f, 0, "data ACK 4, mapping 8")                            \
	X(dss_a8_m4, DSS, -1, 0x000f, 0x0007, 0x001f, 0, "data ACK 8, mapping 4")                            \
	X(dss_a8_m8, DSS, -1, 0x000f, 0x000f, 0x001f, 0, "data ACK 8, mapping 8")                            \
	X(dss_m4_csum, DSS, -1, 0x000d, 0x0004, 0x001f, 0, "mapping 4, checksum")                            \
	X(dss_m8_csum, DSS, -1, 0x000d, 0x000c, 0x001f, 0, "mapping 8, checksum")                            \
	X(dss_a4_m4_csum, DSS, -1, 0x000f, 0x0005, 0x001f, 0, "data ACK 4, mapping 4, checksum")             \
	X(dss_a4_m8_csum, DSS, -1, 0x000f, 0x000d, 0x001f, 0, "data ACK 4, mapping 8, checksum")             \
	X(dss_a8_m4_csum, DSS, -1, 0x000f, 0x0007, 0x001f, 0, "data ACK 8, mapping 4, checksum")             \
	X(dss_a8_m8_csum, DSS, -1, 0x000f, 0x000f, 0x001f, 0, "data ACK 8, mapping 8, checksum")             \
	X(add_addr4, ADD_ADDR, 1, 0x0100, 0x0000, 0x0100, 0, "IPv4")                                         \
	X(add_addr4_port, ADD_ADDR, 1, 0x0100, 0x0000, 0x0100, 0, "IPv4, port")                              \
	X(add_addr4_echo, ADD_ADDR, 1, 0x0100, 0x0100, 0x0100, 0, "IPv4, echo")                              \
	X(add_addr4_port_echo, ADD_ADDR, 1, 0x0100, 0x0100, 0x0100, 0, "IPv4, port, echo")                   \
	X(add_addr6, ADD_ADDR, 1, 0x0100, 0x0000, 0x0100, 0, "IPv6")                                         \
	X(add_addr6_port, ADD_ADDR, 1, 0x0100, 0x0000, 0x0100, 0, "IPv6, port")                              \
	X(add_addr6_echo, ADD_ADDR, 1, 0x0100, 0x0100, 0x0100, 0, "IPv6, echo")                              \
	X(add_addr6_port_echo, ADD_ADDR, 1, 0x0100, 0x0100, 0x0100, 0, "IPv6, port, echo")                   \
	X(add_addr4_v0, ADD_ADDR, 0, 0x0f00, 0x0400, 0, 0, "IPv4, version 0")                                \
	X(add_addr4_port_v0, ADD_ADDR, 0, 0x0f00, 0x0400, 0, 0, "IPv4, port, version 0")                     \
	X(add_addr6_v0, ADD_ADDR, 0, 0x0f00, 0x0600, 0, 0, "IPv6, version 0")                                \
	X(add_addr6_port_v0, ADD_ADDR, 0, 0x0f00, 0x0600, 0, 0, "IPv6, port, version 0")                     \
	X(remove_addr, REMOVE_ADDR, -1, 0, 0, 0, 1, "")                                                      \
	X(prio, MP_PRIO, -1, 0, 0, 0x0100, 0, "")                                                            \
	X(prio_v0, MP_PRIO, 0, 0, 0, 0x0100, 0, "of another address, version 0")                             \
	X(fail, MP_FAIL, -1, 0, 0, 0, 0, "")                                                                 \
	X(fastclose, MP_FASTCLOSE, -1, 0, 0, 0, 0, "")                                                       \
	X(tcprst, MP_TCPRST, 1, 0, 0, 0x0f00, 0, "")

enum mptcp_form {
#define MPTCP_FORM_ENUM(form, subtype, version, mask, value, flags, repeats, title) MPTCP_FORM_##form,
	MPTCP_FORMS(MPTCP_FORM_ENUM)
#undef MPTCP_FORM_ENUM
		MPTCP_NR_FORMS,
	MPTCP_FORM_UNKNOWN = MPTCP_NR_FORMS /* a subtype, a length or bits that no form has */
};

#define MPTCP_OCTETS_OF(field) +MPTCP_OCTETS_##field
enum mptcp_form_len {
	MPTCP_HEAD_LEN = 3, /* kind, length, and the octet with the subtype */
#define MPTCP_FORM_LEN(form, subtype, version, mask, value, flags, repeats, title)                           \
	MPTCP_LEN_##form = MPTCP_HEAD_LEN MPTCP_FIELDS_##form(MPTCP_OCTETS_OF),
	MPTCP_FORMS(MPTCP_FORM_LEN)
#undef MPTCP_FORM_LEN
};
#undef MPTCP_OCTETS_OF

#define MPTCP_MEMBER_OF(field) unsigned char field[MPTCP_OCTETS_##field];
#define MPTCP_FORM_STRUCT(form, subtype, version, mask, value, flags, repeats, title)                        \
	struct mptcp_##form {                                                                                \
		unsigned char kind;                                                                          \
		unsigned char length;                                                                        \
		unsigned char head; /* subtype << 4, and the first four of its twelve bits */                \
		MPTCP_FIELDS_##form(MPTCP_MEMBER_OF)                                                         \
	};
MPTCP_FORMS(MPTCP_FORM_STRUCT)
#undef MPTCP_FORM_STRUCT
#undef MPTCP_MEMBER_OF

/*
 * The form of an option: its length, the octet with the subtype, and the one after it (anything, if the option ends before). Every field of the
 * form lies within the length.
 */
static inline enum mptcp_form mptcp_form_of(unsigned int length, unsigned char first, unsigned char second)
{
	unsigned int head = (unsigned int)first << 8 | second;

#define MPTCP_FORM_TEST(form, subtype, version, mask, value, flags, repeats, title)                          \
	if ((length == MPTCP_LEN_##form || ((repeats) && length > MPTCP_LEN_##form)) &&                      \
	    (head & (0xf000 | (mask))) == (MPTCP_SUB_##subtype << 12 | (value)))                             \
		return MPTCP_FORM_##form;
	MPTCP_FORMS(MPTCP_FORM_TEST)
#undef MPTCP_FORM_TEST
	return MPTCP_FORM_UNKNOWN;
}

#endif /* MPS_MPTCP_OPTIONS_H */
