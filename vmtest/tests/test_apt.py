# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The machine's apt sources, choosing packages, and archives that cannot or must not be used."""

import gzip
import shutil
import tempfile
import unittest
from pathlib import Path

from mpsvm.apt import Apt, Archives, Package, archives
from mpsvm.status import VmError


class Folder(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)


class Sources(Folder):
    def found(self, name: str, text: str) -> Archives:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return archives(self.folder)

    def test_deb822(self) -> None:
        self.assertEqual(
            Archives("http://a.example/debian", "http://b.example/security"),
            self.found(
                "sources.list.d/debian.sources",
                "Types: deb\nURIs: http://a.example/debian\nSuites: trixie trixie-updates\nComponents: main\n\n"
                "# comment\nTypes: deb\nURIs: http://b.example/security\nSuites: trixie-security\n",
            ),
        )

    def test_one_line_style(self) -> None:
        self.assertEqual(
            Archives("http://a.example/debian", "http://b.example/security"),
            self.found(
                "sources.list",
                "# deb http://no.example/ bookworm main\ndeb [arch=amd64] http://a.example/debian bookworm main\n"
                "deb http://b.example/security bookworm-security main\n",
            ),
        )

    def test_other_archives_and_disabled_ones_do_not_count(self) -> None:
        self.assertEqual(
            Archives(),
            self.found(
                "sources.list.d/x.sources",
                "Types: deb\nURIs: http://a.example/\nSuites: nodistro\n\n"
                "Types: deb\nURIs: http://b.example/\nSuites: bookworm\nEnabled: no\n\n"
                "Types: deb-src\nURIs: http://c.example/\nSuites: bookworm\n",
            ),
        )


@unittest.skipUnless(shutil.which("apt-get") and shutil.which("dpkg-deb"), "not a Debian system")
class Fetching(Folder):
    def test_a_machine_without_debian_sources_is_told_so(self) -> None:
        with self.assertRaisesRegex(VmError, "name no Debian archive"):
            Apt(self.folder, "bookworm", Archives())

    def test_an_archive_that_is_not_there_is_an_error(self) -> None:
        apt = Apt(self.folder / "apt", "bookworm", Archives(f"file://{self.folder}/nowhere"))
        with self.assertRaisesRegex(VmError, "apt-get .*update failed for the suite bookworm"):
            apt.update()

    def test_an_archive_that_nobody_signed_is_refused(self) -> None:
        lists = self.folder / "debian" / "dists" / "bookworm" / "main" / "binary-amd64"
        lists.mkdir(parents=True)
        (lists / "Packages.gz").write_bytes(gzip.compress(b"Package: linux-image-6\nVersion: 1\nArchitecture: amd64\n"))
        (lists.parent.parent / "Release").write_text("Suite: bookworm\nCodename: bookworm\nComponents: main\n")
        apt = Apt(self.folder / "apt", "bookworm", Archives(f"file://{self.folder}/debian"))
        with self.assertRaises(VmError):
            apt.update()


class Choosing(unittest.TestCase):
    class Offering(Apt):
        def __init__(self, *offered: tuple[str, str]) -> None:
            self._suite = "test"
            self._offered = [Package(*one) for one in offered]

        def packages(self, prefix: str) -> list[Package]:
            return [one for one in self._offered if one.name.startswith(prefix)]

    @unittest.skipUnless(shutil.which("dpkg"), "not a Debian system")
    def test_the_newest_of_each_and_all_of_one_build(self) -> None:
        offering = self.Offering(
            ("linux-binary-7.2.9-cloud", "7.2.9-1"),
            ("linux-binary-7.2.13-cloud", "7.2.13-1"),
            ("linux-binary-7.2.14-cloud", "7.2.14-1"),  # its modules are not there yet
            ("linux-modules-7.2.9-cloud", "7.2.9-1"),
            ("linux-modules-7.2.13-cloud", "7.2.13-1"),
        )
        chosen = offering.select((r"linux-binary-(?P<abi>7\.2\.\d+)-cloud", r"linux-modules-(?P<abi>7\.2\.\d+)-cloud"))
        self.assertEqual(["linux-binary-7.2.13-cloud", "linux-modules-7.2.13-cloud"], [one.name for one in chosen])

    def test_nothing_that_matches_is_an_error_with_the_pattern(self) -> None:
        with self.assertRaisesRegex(VmError, r"offers no packages that match: linux-image-9"):
            self.Offering(("linux-image-6.1", "1")).select((r"linux-image-9\.9",))


if __name__ == "__main__":
    unittest.main()
