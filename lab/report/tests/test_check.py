# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Documented tables: reading them, running their commands again, and noticing what is not as documented."""

from __future__ import annotations

import json
import unittest

from mpslab import check, tables
from mpslab.plan import PlanError
from mpslab.tables import Column, Number
from mpsvm.guest import REPOSITORY
from tests import fake, test_cli
from tests.test_execute import came, keys_of

# Their tables are of measurements, or say that they are not.
PAGES = (
    "docs/architecture.md", "docs/auto.md", "docs/devices.md", "docs/policies-measured.md",
    "lab/report/README.md", "vmtest/README.md",
)  # fmt: skip

PAGE = """# A page

| scenario | `default` | `weighted` | target | |
|---|---|---|---|---|
| S4 100 KB / 1 MB, ms | 164 / 535 | 82.0 / 260 | 60 | a remark, 5 % better |
| S4 share of fast | 76 % | 76.2 % | | |
| S4 flips/s | 0 | 2 | | |
| S4 bits changed | | 5 | | |
| S17/one completion | | 100.5 | | |

    ./run lab S4 S17 --policy default,weighted --seeds 2   # within 2 %

## By hand

| a | b |
|---|---|
| 1 | 2 |

Not repeatable: it was a rule that
is not in the tree.

```
| an | example |
|---|---|
| in | code |
```

| a | b |
|---|---|
| 1 | 2 |

<!-- no measurements -->

| a | b |
|---|---|
| 1 | 2 |

Some text.

| a | b |
|---|---|
| 1 | 2 |

```
build/bin/tests/traffic_quota
```
"""


class Pages(unittest.TestCase):
    def test_each_table_tells_how_to_have_it_again_or_why_not(self) -> None:
        for name in PAGES:
            for table in tables.parse((REPOSITORY / name).read_text()):
                with self.subTest(f"{name}, line {table.line}"):
                    self.assertTrue(table.marked, table.state)

    def test_each_number_of_a_repeatable_table_can_be_read(self) -> None:
        known = [path.stem for path in (REPOSITORY / "lab" / "scenarios").glob("*.toml")]
        for name in PAGES:
            for table in tables.parse((REPOSITORY / name).read_text()):
                named = [cell.split(" ")[0] for row in [table.head, *table.rows] for cell in row if "/" in cell.split(" ")[0]]
                for words in table.lab:
                    with self.subTest(f"{name}, line {table.line}"):
                        self.assertIn("--seeds", words)
                        claims = table.claims([*known, *(one for one in named if one.partition("/")[0] in known)])
                        self.assertTrue(claims)
                        for claim in claims:
                            check.known(claim)

    def test_readers_are_told_of_all_marks(self) -> None:
        told = (REPOSITORY / "CONTRIBUTING.md").read_text()
        for words in (tables.NOT_REPEATABLE, tables.NO_MEASUREMENTS, "# within", "--check docs/auto.md"):
            self.assertIn(words, told)


class Reading(unittest.TestCase):
    def test_what_stands_beneath_a_table_is_its_mark(self) -> None:
        found = tables.parse(PAGE)
        self.assertEqual([table.line for table in found], [3, 15, 28, 34, 40])
        self.assertEqual(found[0].lab, [["S4", "S17", "--policy", "default,weighted", "--seeds", "2"]])
        self.assertEqual(found[0].tolerance_pct, 2.0)
        self.assertEqual(found[1].reason, "it was a rule that is not in the tree.")
        self.assertEqual((found[1].heading, found[1].lab), ("By hand", []))
        self.assertEqual([table.marked for table in found], [True, True, True, False, True])
        self.assertIn("UNMARKED", found[3].state)
        self.assertIn("traffic_quota", found[4].state)

    def test_numbers_under_policies_are_claims_and_the_rest_is_not(self) -> None:
        claims = tables.parse(PAGE)[0].claims(["S4", "S17/one"])
        self.assertEqual(
            [(one.scenario, one.quantity, str(one.column), one.number.value) for one in claims],
            [("S4", "100 KB", "default", 164), ("S4", "1 MB", "default", 535), ("S4", "100 KB", "weighted", 82),
             ("S4", "1 MB", "weighted", 260), ("S4", "share of fast", "default", 76), ("S4", "share of fast", "weighted", 76.2),
             ("S4", "flips/s", "default", 0), ("S4", "flips/s", "weighted", 2), ("S4", "bits changed", "weighted", 5), ("S17/one", "completion", "weighted", 100.5)],
        )  # fmt: skip

    def test_policies_may_be_the_rows(self) -> None:
        page = "| policy | S4 100 KB | of default, quick first | remark |\n|---|---|---|---|\n| `auto` | 53 | .78 | 9 |\n"
        (table,) = tables.parse(page)
        self.assertEqual([(one.scenario, one.quantity, one.number.value) for one in table.claims(["S4"])], [("S4", "100 KB", 53)])
        (table,) = tables.parse(page.replace("| of", "| grid of"))
        self.assertEqual(table.claims(["grid"])[0].quantity, "of default, quick first")

    def test_a_column_may_name_a_kernel(self) -> None:
        self.assertEqual(Column.parse("`auto` on 6.1"), Column("auto", "6.1"))
        self.assertEqual(Column.parse("`alone:fast`"), Column("alone:fast"))
        self.assertIsNone(Column.parse("target"))
        self.assertIsNone(Column.parse("`auto` without pacing"))

    def test_numbers_have_units_and_a_last_digit(self) -> None:
        for words, value, half in (("164", 164, 0.5), ("18.7", 18.7, 0.05), (".87", 0.87, 0.005), ("1.25 s", 1250, 5),
                                   ("94.3 KB", 94300, 50), ("9,630,132", 9630132, 0.5), ("76 %", 76, 0.5)):  # fmt: skip
            found = Number.parse(words)
            assert found is not None, words
            self.assertAlmostEqual(found.value, value)
            self.assertAlmostEqual(found.half_digit, half)
        for words in ("", "-", "5.4 (-29 %)", "about 5", "1 or 2", "6,95"):
            self.assertIsNone(Number.parse(words), words)

    def test_a_number_agrees_within_the_tolerance_or_when_it_is_rounded(self) -> None:
        small, large = Number.parse("2"), Number.parse("164")
        assert small is not None and large is not None
        self.assertTrue(small.agrees(2.49, 1) and not small.agrees(2.6, 1))
        self.assertTrue(large.agrees(170, 5) and not large.agrees(174, 5))

    def test_a_cell_that_cannot_be_read_is_an_error_with_its_line(self) -> None:
        for cell in ("about 5", "1 / 2 / 3", "5 (best)"):
            page = f"| scenario | `auto` |\n|---|---|\n| S4 1 KB / 20 KB | {cell} |\n"
            with self.assertRaises(PlanError) as caught:
                tables.parse(page)[0].claims(["S4"])
            self.assertIn("line 1", caught.exception.what)


class Command(test_cli.Fixture):
    TIMES = {"default": (164.0, 535.0), "weighted": (82.0, 260.0)}

    def boot(self, _executor, job, stop):  # type: ignore[no-untyped-def]
        (key,) = keys_of(job)
        self.boots.append(key)
        if key.policy in self.broken:
            return came([key], told=[1], out=[fake.failed("it broke", "mend it")])
        rows = [
            {"bytes": size, "times_ms": [time], "bound_ms": 1.0}
            for size, time in zip((100_000, 1_000_000), self.TIMES[key.policy], strict=True)
        ]
        metrics = {"completion_ms": 100.0, "flips": 3, "wakes": 2, "flips_per_s": 0.0 if key.policy == "default" else 2.2}
        return came([key], out=[fake.document(key.scenario, key.policy, key.seed, requests=rows, metrics=metrics)])

    def check(self, page: str, *words: str) -> tuple[int, str, str]:
        file = self.folder / "page.md"
        file.write_text(page)
        return self.lab("--check", str(file), "--out", str(self.folder / "out"), *words)

    def test_what_is_as_documented_passes(self) -> None:
        code, shown, err = self.check(PAGE)
        self.assertEqual(code, 0, err + shown)
        self.assertIn("10 numbers compared, 0 not as documented", shown)
        self.assertRegex(shown, r"S4 100 KB +weighted +82\.0 +82 +\+0\.0 %")
        self.assertEqual(len(self.boots), 8)
        self.assertEqual(len(json.loads((self.folder / "out" / "results.json").read_text())["runs"]), 8)

    def test_a_wrong_number_is_noticed(self) -> None:
        for right, wrong in (("82.0 / 260", "82.0 / 270"), ("| 164 /", "| 154 /"), ("76.2 %", "79 %"), ("| 0 |", "| 1 |")):
            code, shown, _ = self.check(PAGE.replace(right, wrong))
            self.assertEqual(code, 1, wrong)
            self.assertIn("10 numbers compared, 1 not as documented", shown)
            self.assertEqual(shown.count("<- not as documented"), 1)
        # Runs are had once.
        self.assertEqual(len(self.boots), 8)

    def test_what_could_not_be_measured_is_not_as_documented(self) -> None:
        self.broken = {"weighted"}
        code, shown, _ = self.check(PAGE)
        self.assertEqual(code, 1)
        self.assertRegex(shown, r"S4 100 KB +weighted +82\.0 +- +not measured +<-")
        self.assertIn("it broke", shown)

    def test_list_shows_the_tables_and_runs_nothing(self) -> None:
        code, shown, _ = self.check(PAGE, "--list")
        self.assertEqual((code, self.boots), (0, []))
        self.assertIn("./run lab S4 S17 --policy default,weighted --seeds 2  (within 2 %)", shown)
        self.assertIn("not repeatable: it was a rule", shown)

    def test_table_chooses(self) -> None:
        self.assertEqual(self.check(PAGE, "--table", "1")[0], 0)
        for number, words in (("2", "not repeatable"), ("9", "has tables 1 to 5"), ("4", "UNMARKED")):
            code, _, err = self.check(PAGE, "--table", number)
            self.assertEqual(code, 2)
            self.assertIn(words, err)

    def test_mistakes_of_a_page_are_told_before_anything_runs(self) -> None:
        for right, wrong, words in (
            ("S4 flips/s", "S4 flops", "no quantity"),
            ("--seeds 2", "--sedes 2", "is no command"),
            ("./run lab S4 S17", "./run lab S99", "no scenario"),
            ("./run lab", "./run dance", "has no table with a ./run lab command"),
        ):
            code, _, err = self.check(PAGE.replace(right, wrong))
            self.assertEqual((code, self.boots), (2, []), wrong)
            self.assertIn(words, err)
        code, _, err = self.lab("--check", str(self.folder / "nowhere.md"))
        self.assertEqual(code, 2)
        self.assertIn("nowhere.md", err)

    def test_what_the_page_decides_is_not_typed(self) -> None:
        for words in (["S4"], ["--policy", "auto"], ["--seeds", "9"]):
            code, _, err = self.check(PAGE, *words)
            self.assertEqual(code, 2)
            self.assertIn("from the page", err)
        self.assertEqual(self.lab("S4", "--table", "1")[0], 2)
