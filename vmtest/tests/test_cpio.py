# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""cpio archives, read back by our own reader and by busybox."""

import io
import os
import shutil
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

from mpsvm import cpio


def read(archive: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """name -> (mode, data, device) of the first archive in some bytes."""
    found: dict[str, tuple[int, bytes, tuple[int, int]]] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701", f"no header at {at}"
        field = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = archive[at + 110 : at + 110 + field[11] - 1].decode("utf-8", "surrogateescape")
        start = (at + 110 + field[11] + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (field[1], archive[start : start + field[6]], (field[9], field[10]))
        at = (start + field[6] + 3) // 4 * 4


class Names(unittest.TestCase):
    def test_names_are_relative_and_below_usr(self) -> None:
        for name, wanted in (
            ("/bin/sh", "usr/bin/sh"),
            ("lib64/ld.so", "usr/lib64/ld.so"),
            ("/usr/bin/ip", "usr/bin/ip"),
            ("//tmp/./x", "tmp/x"),
            ("/binary", "binary"),
        ):
            self.assertEqual(wanted, cpio.normal(name))

    def test_a_name_cannot_leave_the_guest(self) -> None:
        with self.assertRaises(ValueError):
            cpio.normal("/a/../../etc/passwd")


class Archive(unittest.TestCase):
    def setUp(self) -> None:
        self.out = io.BytesIO()
        self.writer = cpio.Writer(self.out)

    def finished(self) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
        self.writer.finish()
        return read(self.out.getvalue())

    def test_parents_come_before_their_contents(self) -> None:
        self.writer.data("/a/b/c", b"x")
        self.assertEqual(["a", "a/b", "a/b/c"], list(self.finished()))

    def test_data_of_every_length_is_kept(self) -> None:
        for size in range(9):
            self.writer.data(f"f{size}", b"x" * size)
        entries = self.finished()
        for size in range(9):
            self.assertEqual(b"x" * size, entries[f"f{size}"][1])

    def test_kinds_and_permissions(self) -> None:
        self.writer.folder("tmp", 0o1777)
        self.writer.link("l", "/target")
        self.writer.device("dev/console", 5, 1)
        self.writer.data("s", b"", 0o755)
        entries = self.finished()
        self.assertEqual(stat.S_IFDIR | 0o1777, entries["tmp"][0])
        self.assertEqual((stat.S_IFLNK | 0o777, b"/target"), entries["l"][:2])
        self.assertEqual((stat.S_IFCHR | 0o600, b"", (5, 1)), entries["dev/console"])
        self.assertEqual(stat.S_IFREG | 0o755, entries["s"][0])

    def test_links_of_a_merged_usr_stay_in_the_root(self) -> None:
        self.writer.link("/bin", "usr/bin")
        self.writer.data("/bin/x", b"1")
        self.assertEqual(["bin", "usr", "usr/bin", "usr/bin/x"], list(self.finished()))

    def test_the_first_of_two_equal_names_counts(self) -> None:
        self.writer.data("/bin/x", b"1")
        self.writer.data("/usr/bin/x", b"2")
        self.assertEqual(b"1", self.finished()["usr/bin/x"][1])

    def test_the_archive_ends_at_a_block(self) -> None:
        self.writer.data("x", b"1")
        self.writer.finish()
        self.assertEqual(0, len(self.out.getvalue()) % 512)

    def test_links_to_files_are_followed(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "real").write_bytes(b"data")
            os.symlink("real", Path(folder) / "link")
            self.writer.file("copy", Path(folder) / "link", 0o600)
        self.assertEqual((stat.S_IFREG | 0o600, b"data"), self.finished()["copy"][:2])

    @unittest.skipUnless(shutil.which("busybox"), "busybox is missing")
    def test_another_program_reads_it(self) -> None:
        self.writer.data("folder/ä", b"hello\n")
        self.writer.link("folder/link", "ä")
        self.writer.finish()
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                ["busybox", "cpio", "-i"], cwd=folder, input=self.out.getvalue(), capture_output=True, check=False
            )
            self.assertEqual(0, done.returncode, done.stderr)
            self.assertEqual("hello\n", (Path(folder) / "folder" / "link").read_text())


if __name__ == "__main__":
    unittest.main()
