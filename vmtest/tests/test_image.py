# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Kernel images."""

import gzip
import lzma
import shutil
import struct
import subprocess
import unittest

from mpsvm.image import extract_elf
from mpsvm.status import VmError

ELF = b"\x7fELF" + bytes(range(256)) * 40


def boot_image(payload: bytes, *, sectors: int = 2) -> bytes:
    """A bzImage as far as we read it."""
    head = bytearray((sectors + 1) * 512)
    head[0x1F1] = sectors
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 16, len(payload))
    return bytes(head) + bytes(16) + payload + b"rest"


class Extraction(unittest.TestCase):
    def test_payloads_of_the_standard_library(self) -> None:
        size = struct.pack("<I", len(ELF))
        for payload in (gzip.compress(ELF), lzma.compress(ELF)):
            self.assertEqual(ELF, extract_elf(boot_image(payload + size), "image"))

    def test_payloads_of_tools(self) -> None:
        for tool, options in (("zstd", ["-q"]), ("lz4", ["-l"])):
            if not shutil.which(tool):
                self.skipTest(f"{tool} is missing")
            packed = subprocess.run([tool, *options, "-c"], input=ELF, capture_output=True, check=True).stdout
            image = boot_image(packed + struct.pack("<I", len(ELF)))
            self.assertEqual(ELF, extract_elf(image, "image"), tool)

    def test_an_elf_file_is_taken_as_it_is(self) -> None:
        self.assertEqual(ELF, extract_elf(ELF, "vmlinux"))

    def test_an_arm64_image_is_taken_as_it_is_and_unpacked_first_if_it_is_packed(self) -> None:
        image = b"MZ" + bytes(0x36) + b"ARM\x64" + ELF
        self.assertEqual(image, extract_elf(image, "vmlinuz"))
        self.assertEqual(image, extract_elf(gzip.compress(image), "vmlinuz"))

    def test_broken_images_are_refused_with_a_reason(self) -> None:
        good = boot_image(gzip.compress(ELF) + bytes(4))
        for broken, reason in (
            (b"", "boot header"),
            (b"no kernel at all" * 100, "boot header"),
            (good[: len(good) // 2], "payload"),
            (boot_image(b""), "payload"),
            (boot_image(b"????????"), "unknown way"),
            (boot_image(gzip.compress(b"no ELF") + bytes(4)), "no ELF file"),
            (boot_image(lzma.compress(ELF)[:60] + b"\xff" * 60), "ELF|damaged"),
        ):
            with self.assertRaisesRegex(VmError, reason):
                extract_elf(broken, "image")


if __name__ == "__main__":
    unittest.main()
