# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Records from the guest."""

import unittest

from mpsvm.control import Reader, Record, parse_kmsg


class Records(unittest.TestCase):
    STREAM = b"\x01mpsvm begin 6.12\n" + b"\x01mpsvm file a.json 5\n1\n\x013\n" + b"\x01mpsvm status 0\n"
    WANTED = [Record(("begin", "6.12")), Record(("file", "a.json"), b"1\n\x013\n"), Record(("status", "0"))]

    def test_whole(self) -> None:
        self.assertEqual(self.WANTED, Reader().feed(self.STREAM))

    def test_cut_anywhere(self) -> None:
        for cut in range(len(self.STREAM)):
            reader = Reader()
            self.assertEqual(self.WANTED, reader.feed(self.STREAM[:cut]) + reader.feed(self.STREAM[cut:]), cut)

    def test_garbage_between_records_is_skipped(self) -> None:
        garbage = b"\xff\x00\x01mps hello\n"
        self.assertEqual(self.WANTED, Reader().feed(garbage + self.STREAM + garbage))

    def test_a_file_that_never_ends_is_no_record(self) -> None:
        self.assertEqual([], Reader().feed(b"\x01mpsvm file x 100\nabc"))

    def test_a_head_without_end_does_not_swallow_what_follows(self) -> None:
        reader = Reader()
        reader.feed(b"\x01mpsvm " + b"x" * 10000)
        self.assertEqual([Record(("status", "1"))], reader.feed(b"\n\x01mpsvm status 1\n"))


class KernelLog(unittest.TestCase):
    def test_entries(self) -> None:
        log = parse_kmsg(b"6,0,0,-;Linux version\n SUBSYSTEM=x\n4,1,1500000,-;tab\\x09here\n")
        self.assertEqual(["[    0.000000] Linux version", "[    1.500000] tab\there"], log.lines)
        self.assertTrue(log.whole)

    def test_a_lost_beginning_or_gap_is_noticed(self) -> None:
        for body in (b"", b"6,1,0,-;x\n", b"6,0,0,-;x\n6,2,0,-;y\n"):
            self.assertFalse(parse_kmsg(body).whole, body)


if __name__ == "__main__":
    unittest.main()
