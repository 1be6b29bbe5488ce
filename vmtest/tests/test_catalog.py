# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""kernels.toml: the real one, and what is wrong with others."""

import datetime
import unittest

from mpsvm import catalog
from mpsvm.arch import AMD64, ARM64
from mpsvm.status import VmError

GOOD = """
modules = ["veth"]
[[kernel]]
name = "6.12"
suite = "bookworm-security"
packages = ['linux-image-(?P<abi>6)']
expect = ["tcx"]
[[allow]]
pattern = "x"
reason = "because"
expires = 2026-12-31
kernels = ["6.12"]
[[skip]]
test = "needs *"
reason = "no such thing"
"""


class Parsing(unittest.TestCase):
    def test_the_real_file_is_right(self) -> None:
        real = catalog.load()
        self.assertEqual(["6.1", "6.12", "7.2"], [kernel.name for kernel in real.of(AMD64)])
        self.assertEqual(["6.12-arm64"], [kernel.name for kernel in real.of(ARM64)])
        self.assertTrue(all(kernel.expect for kernel in real.kernels))

    def test_no_allowance_of_the_real_file_has_expired(self) -> None:
        for allowance in catalog.load().allow:
            self.assertGreaterEqual(allowance.expires, datetime.date.today(), allowance.pattern)

    def test_good(self) -> None:
        parsed = catalog.parse(GOOD, "f")
        self.assertEqual(("tcx",), parsed.kernel("6.12").expect)
        self.assertEqual(datetime.date(2026, 12, 31), parsed.allow[0].expires)
        self.assertTrue(parsed.skip[0].matches("6.12", "needs a moon"))
        self.assertFalse(parsed.skip[0].matches("6.12", "something else"))

    def test_an_unknown_kernel_is_told_which_there_are(self) -> None:
        with self.assertRaises(VmError) as caught:
            catalog.parse(GOOD, "f").kernel("5.10")
        self.assertIn("6.12", caught.exception.next)

    def test_what_is_wrong_is_named(self) -> None:
        for change, complaint in (
            (('name = "6.12"', 'name = "6.12"\narch = "vax"'), "'arch' is one of amd64, arm64, not 'vax'"),
            (("suite =", "siute ="), r"unknown key 'siute'; there are: name, suite"),
            (('suite = "bookworm-security"\n', ""), r"'suite' is missing"),
            (('name = "6.12"', 'name = "6.12"\ncolour = "red"'), r"\[\[kernel\]\] number 1: unknown key 'colour'"),
            (('reason = "because"\n', ""), r"\[\[allow\]\] number 1: 'reason' is missing"),
            (('reason = "because"', 'reason = " "'), "'reason' is empty"),
            (("2026-12-31", '"soon"'), "'expires' must be a date"),
            (("expires = 2026-12-31\n", ""), "'expires' is missing"),
            (('pattern = "x"', 'pattern = "("'), "no regular expression"),
            (('kernels = ["6.12"]', 'kernels = ["6.6"]'), "names the kernel 6.6"),
            (('["tcx"]', '["tcx"]\nexpect_missing = ["tcx"]'), "both in"),
            (('["veth"]', "[1]"), "list of texts"),
            (('["veth"]', "["), "f: "),
            (("packages = [", 'image = "x"\npackages = ['), "either"),
            (('name = "6.12"', 'name = "../6"'), "no usable name"),
        ):
            with self.assertRaisesRegex(VmError, complaint, msg=str(change)):
                catalog.parse(GOOD.replace(*change), "f")

    def test_a_kernel_is_listed_once(self) -> None:
        twice = GOOD + GOOD.split("[[allow]]")[0].partition("[[kernel]]")[2].join(("[[kernel]]", ""))
        with self.assertRaisesRegex(VmError, "twice"):
            catalog.parse(twice, "f")

    def test_no_kernels_is_an_error(self) -> None:
        with self.assertRaisesRegex(VmError, "no kernel"):
            catalog.parse("", "f")


if __name__ == "__main__":
    unittest.main()
