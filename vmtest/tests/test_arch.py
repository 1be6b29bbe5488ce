# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Guests of another architecture: QEMU's command line, and which of their programs need libraries."""

import struct
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from mpsvm import guest, qemu
from mpsvm.arch import ALL, AMD64, ARM64
from mpsvm.status import VmError


def elf(*headers: int) -> bytes:
    """A 64-bit ELF file with program headers of these types."""
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", head, 0x20, 64)
    struct.pack_into("<HH", head, 0x36, 56, len(headers))
    return bytes(head) + b"".join(struct.pack("<I52x", kind) for kind in headers)


class Commands(unittest.TestCase):
    def line(self, machine: qemu.Machine) -> str:
        """What QEMU would be called with."""
        ports = qemu.Ports(Path("c"), Path("o"), Path("e"), Path("r"))
        with mock.patch.object(qemu.shutil, "which", lambda name: f"/bin/{name}"):
            return " ".join(qemu.command(machine, Path("kernel"), Path("initramfs"), ports))

    def test_each_has_its_own_board_and_console_and_both_have_virtual_time(self) -> None:
        for arch, mine, others in ((AMD64, "isa-debug-exit", "semihosting"), (ARM64, "semihosting", "isa-")):
            line = self.line(qemu.Machine(arch=arch))
            self.assertTrue(line.startswith(f"/bin/{arch.qemu} "), line)
            self.assertIn(f"console={arch.console} ", line)
            self.assertIn("-icount shift=0,sleep=off", line)
            self.assertIn(mine, line)
            self.assertNotIn(others, line)

    def test_each_cable_has_two_cards_whose_addresses_tell_it(self) -> None:
        line = self.line(qemu.Machine(virtual_time=False, cables=2))
        self.assertTrue(line.startswith("unshare --net "), line)
        self.assertIn(f"/bin/{AMD64.qemu} ", line)
        for address in ("00:00", "00:01", "01:00", "01:01"):
            self.assertEqual(1, line.count(f"mac=02:00:00:00:{address}"))
        self.assertNotIn("virtio-net", self.line(qemu.Machine(virtual_time=False)))

    def test_a_missing_program_is_told_with_its_package(self) -> None:
        for arch in ALL.values():
            with mock.patch.object(qemu.shutil, "which", return_value=None), self.assertRaises(VmError) as caught:
                qemu.find(arch)
            self.assertIn(arch.package, caught.exception.next)


class Programs(unittest.TestCase):
    def test_those_of_another_machine_are_told(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "program"
            for arch in ALL.values():
                file.write_bytes(elf(1)[:18] + struct.pack("<H", arch.elf_machine) + elf(1)[20:])
                self.assertEqual([arch.name], [one.name for one in ALL.values() if guest.is_for(file, one)])

    def test_a_static_one_has_neither_an_interpreter_nor_a_dynamic_section(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "program"
            for headers, static in (((1, 1), True), ((1, 3), False), ((2, 1), False), ((), True)):
                file.write_bytes(elf(*headers))
                self.assertEqual(static, guest.is_static(file), headers)


if __name__ == "__main__":
    unittest.main()
