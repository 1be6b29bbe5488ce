# SPDX-License-Identifier: MIT
# Copyright mpsched contributors

from __future__ import annotations

import datetime
import re
import unittest
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

from mpslab import charts, keep, markup, page, plan
from mpslab.document import grouped
from mpslab.markup import tag
from mpslab.result import Event, Series
from tests import fake

EVIL = "<script>alert(1)</script>&\"'\x00\x1b]]>"


def outcome(document: dict[str, Any], **more: Any) -> keep.Outcome:
    key = plan.Key("7.2", document["scenario"]["name"], document["policy"]["name"], document["seed"])
    return keep.Outcome(key, document=document, release=document["kernel"], **more)


def html(outcomes: Sequence[keep.Outcome], wanted: Sequence[plan.Key] = (), command: str = "./run lab S4") -> str:
    keys = [one.key for one in outcomes] + list(wanted)
    groups = grouped(keys, outcomes, {})
    return page.html(page.Facts(command, datetime.datetime(2026, 11, 24), len(keys), outcomes, groups))


def tree(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text.partition("\n")[2])


class Nesting(HTMLParser):
    """Browsers' rules: every element is closed, in order, except the void ones."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]
        if tag not in markup.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in markup.VOID, tag
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag


class Markup(unittest.TestCase):
    def test_text_and_attributes_are_escaped(self) -> None:
        made = tag("p", EVIL, title=EVIL)
        element = ElementTree.fromstring(made)
        self.assertEqual(element.text, EVIL.replace("\x00", "\ufffd").replace("\x1b", "\ufffd"))
        self.assertNotIn("<script>", made)

    def test_markup_is_not_escaped_twice(self) -> None:
        self.assertEqual(tag("p", tag("b", "a & b"), [None, ["c"]]), "<p><b>a &amp; b</b>c</p>")

    def test_only_void_elements_are_closed_at_once(self) -> None:
        self.assertEqual(tag("meta", charset="utf-8"), '<meta charset="utf-8"/>')
        self.assertEqual(tag("i", class_="x"), '<i class="x"></i>')

    def test_coordinates_are_short(self) -> None:
        self.assertEqual([markup.number(n) for n in (1.0, 1.256, -0.001, 0)], ["1", "1.26", "0", "0"])


class Checked(unittest.TestCase):
    """What holds for every page."""

    def check(self, text: str) -> ElementTree.Element:
        root = tree(text)
        nesting = Nesting()
        nesting.feed(text)
        nesting.close()
        self.assertEqual(nesting.open, [])
        self.assertNotIn("script", nesting.seen)
        for link in nesting.links:
            self.assertTrue(link.startswith("#") or link == keep.EVERYTHING, f"{link} leads outside")
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        self.assertEqual(len(ids), len(set(ids)))
        for link in nesting.links:
            self.assertIn(link[1:], [*ids, keep.EVERYTHING[1:]])
        # Whatever a browser would fetch.
        for pattern in (r"url\(", "@import", "srcset", "<img", "<link", "<iframe"):
            self.assertIsNone(re.search(pattern, text), pattern)
        self.assertNotIn("nan", re.sub(r">[^<]*<", "><", text).lower().replace("nano", ""))
        return root


class Page(Checked):
    def test_a_whole_report_is_well_formed_and_needs_nothing_else(self) -> None:
        root = self.check(html([outcome(one) for one in fake.everything()]))
        plots = [e.get("class", "") for e in root.iter("{http://www.w3.org/2000/svg}svg")]
        for kind in ("narrow", "wide", "heat"):
            self.assertTrue(any(kind in name for name in plots), kind)

    def test_it_tells_what_was_measured_and_what_came_out(self) -> None:
        policy = {"file": "elsewhere/mine.bpf.c", "sha256": "ab" * 32, "params": {"max_cost": "7"}}
        more: dict[str, Any] = {"commit": "0123456789abcdef", "dirty": True, "policy": policy}
        documents = [fake.document(policy=name, seed=seed, metrics={"completion_ms": time})
                     for name, time in (("default", 100.0), ("mine", 62.0)) for seed in (1, 2)]  # fmt: skip
        text = html([outcome(one, **more) for one in documents])
        self.check(text)
        for words in ("0123456789ab with changes that were not committed", "elsewhere/mine.bpf.c", "abababababab",
                      "max_cost=7", 'href="results.json"', "seeds 1, 2",
                      "In S4 completion is 100 ms with the kernel alone, 62 ms under mine (0.62 times that)."):  # fmt: skip
            self.assertIn(words, text)

    def test_an_axis_that_is_logarithmic_says_so(self) -> None:
        for values, said in (([1.0, 100.0], True), ([10.0, 11.0], False)):
            made = charts.distribution("t", [charts.Line("a", "p0", values)], None)
            self.assertEqual("logarithmic" in made, said)

    def test_a_report_of_nothing(self) -> None:
        self.check(html([]))

    def test_a_report_of_runs_that_have_not_run(self) -> None:
        text = html([], [plan.Key("7.2", "S4", "default", 1)])
        self.check(text)
        self.assertIn("1 not run", text)

    def test_a_report_of_only_failed_runs(self) -> None:
        key = plan.Key("7.2", "S4", "default", 1)
        text = html([keep.Outcome(key, what="the guest panicked", output="last words")])
        self.check(text)
        self.assertIn("the guest panicked", text)
        self.assertIn("last words", text)

    def test_a_policy_that_failed_beside_one_that_did_not(self) -> None:
        bad = keep.Outcome(plan.Key("7.2", "S4", "weighted", 1), what="it hung")
        self.check(html([outcome(fake.everything()[0]), bad]))

    def test_whatever_names_contain_is_text(self) -> None:
        document = fake.document(EVIL, EVIL, title=EVIL, paths=((EVIL, 20, 5), ("b", 5, 100)))
        document["requests"] = [{"bytes": 1000, "times_ms": [1.0, 2.0], "bound_ms": 1.0}]
        document["series"] = {"interval_s": 0.1, "at_s": [0], "paths": [{"name": EVIL, "tx_mbit": [3]}]}
        document["events"] = [{"at_s": 0, "kind": "rate", "path": EVIL, "text": EVIL}]
        document["metrics"]["completion_ms"] = 1.0
        text = html([outcome(document), keep.Outcome(plan.Key("7.2", EVIL, EVIL, 2), what=EVIL, hint=EVIL, output=EVIL)],
                    command=EVIL)  # fmt: skip
        self.check(text)
        self.assertNotIn("<script", text)

    def test_results_with_nothing_but_a_name(self) -> None:
        for workload in ("requests", "bulk", "stream", "video", "something new"):
            document = fake.document(workload=workload)
            for key in ("metrics", "ratios", "bounds", "requests", "paths", "series", "events"):
                document[key] = None
            with self.subTest(workload):
                self.check(html([outcome(document)]))

    def test_every_colour_of_a_plot_is_in_the_style_sheet(self) -> None:
        style = page.STYLE.read_text()
        wanted = [f"p{n}" for n in range(page.POLICY_COLOURS)] + [f"a{n}" for n in range(page.PATH_COLOURS)]
        wanted += [f"h{n}" for n in range(len(charts.DIVERGING) + 1)] + [f"s{n}" for n in range(len(charts.SEQUENTIAL) + 1)]
        for name in wanted:
            with self.subTest(name):
                self.assertEqual(len(re.findall(rf"--{name}:", style)), 2, "once for light, once for dark")
                self.assertIn(f".{name} {{ --c: var(--{name});", style)

    def test_many_policies_still_have_colours(self) -> None:
        documents = [fake.document(policy=f"policy-{n}", metrics={"completion_ms": n + 1.0}) for n in range(20)]
        self.check(html([outcome(one) for one in documents]))

    def test_a_grid_has_one_heat_map_for_each_policy(self) -> None:
        text = html([outcome(one) for one in fake.everything()])
        for policy in ("weighted", "smallest-delay"):
            self.assertEqual(text.count(f"<figcaption><b>{policy}</b> on G, ratio to default"), 1)
        self.assertNotIn("<b>default</b> on G, ratio to default", text)
        self.assertIn("<b>default</b> on G, ratio to the fluid bound", text)


class Charts(unittest.TestCase):
    def test_ticks_are_round_and_inside(self) -> None:
        self.assertEqual(charts.nice_ticks(0, 10, 5), [0, 2, 4, 6, 8, 10])
        self.assertEqual(charts.nice_ticks(3, 3), [3])
        self.assertEqual([round(n) for n in charts.log_ticks(9, 210)], [10, 20, 50, 100, 200])
        for low, high in ((0.001, 0.0013), (1, 1e6), (17, 18)):
            for tick in charts.nice_ticks(low, high):
                self.assertTrue(low - 1e-9 <= tick <= high * 1.001)

    def test_a_distribution_ends_at_all(self) -> None:
        self.assertEqual(charts._steps([3.0, 1.0, 1.0, 2.0]), [(1.0, 0.5), (2.0, 0.75), (3.0, 1.0)])
        many = charts._steps([float(n) for n in range(100_000)])
        self.assertLess(len(many), 2 * charts.MAX_BINS)
        self.assertEqual(many[-1], (99_999.0, 1.0))

    def test_thinning_keeps_the_mean_and_the_sum(self) -> None:
        values = [float(n % 7) for n in range(1000)]
        self.assertEqual(sum(charts.thin(values, 37, sum)), sum(values))
        self.assertEqual(charts.thin([1.0, 2.0], 10, sum), [1.0, 2.0])

    def test_equal_times_can_be_drawn(self) -> None:
        for values in ([5.0], [5.0] * 9, [0.0], [1e-9, 1e9]):
            made = charts.distribution("t", [charts.Line("a", "p0", values)], None)
            ElementTree.fromstring(made)
            self.assertNotIn("nan", made)

    def test_a_fault_lasts_until_it_is_restored(self) -> None:
        events = [Event(2, "blackhole", "a", "a blackhole"), Event(3, "link_down", "b", ""), Event(5, "restored", "a", "")]
        self.assertEqual(charts._bands(events, 9.0), [(2, 5, "a blackhole"), (3, 9.0, "b link_down")])

    def test_faults_and_flips_are_marked(self) -> None:
        series = Series(0.1, (0.0, 0.1, 0.2), {"a": (1.0, 2.0, 3.0)}, (1.0, 1.0, 1.0), (0.0, 4.0, 0.0))
        made = charts.timeline("t", "p0", series, [Event(0.1, "blackhole", "a", "a blackhole")], path_colours={},
                               top_mbit=3.0, end_s=0.3, capacity_mbit=None)  # fmt: skip
        root = ElementTree.fromstring(made)
        kinds = [element.get("class") for element in root.iter()]
        self.assertEqual((kinds.count("fault"), kinds.count("flip")), (1, 1))
        self.assertIn("4 flips from 0.1 to 0.2 s", made)

    def test_labels_do_not_overlap(self) -> None:
        made = charts._labels([(n * 10.0, "20 KB", "tick") for n in range(50)], 500, 10)
        starts = [float(ElementTree.fromstring(one).get("x", "")) for one in made]
        self.assertGreater(len(starts), 5)
        for one, two in zip(starts, starts[1:], strict=False):
            self.assertGreaterEqual(two - one, 9 * len("20 KB"))

    def test_colours_follow_goodness(self) -> None:
        self.assertEqual([charts.diverging(n) for n in (None, 0.5, 1.0, 2.0)], ["", "h0", "h4", "h8"])
        self.assertEqual([charts.sequential(n) for n in (None, 0.1, 0.95, 1.0)], ["", "s0", "s6", "s6"])

    def test_a_heat_map_has_a_cell_for_each_value(self) -> None:
        rows = [(f"row {n}", [charts.Cell("1.00", "h4", "hint")] * 9) for n in range(36)]
        root = ElementTree.fromstring(charts.heat_map(rows, [f"{n} KB" for n in range(9)], "grid"))
        cells = [e for e in root.iter() if (e.get("class") or "").split()[:1] == ["cell"]]
        self.assertEqual(len(cells), 36 * 9)
        ElementTree.fromstring(charts.heat_map([], [], "empty"))
