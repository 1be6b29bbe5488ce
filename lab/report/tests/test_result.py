# SPDX-License-Identifier: MIT
# Copyright mpsched contributors

from __future__ import annotations

import copy
import json
import unittest
from pathlib import Path

from mpslab import result
from tests import fake

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


class Reader(unittest.TestCase):
    def test_real_results_can_be_read(self) -> None:
        files = sorted(FIXTURES.glob("*.json"))
        if not files:
            self.skipTest("there are no fixtures in lab/fixtures yet")
        for file in files:
            with self.subTest(file.name):
                for line in file.read_text().splitlines():
                    document = json.loads(line)
                    if document.get("status") == "ok":
                        run = result.parse(document)
                        self.assertTrue(run.scenario and run.policy and run.paths and run.metrics)

    def test_an_error_document_tells_what_and_hint(self) -> None:
        self.assertEqual(result.failure(fake.failed("broke", "mend")), ("broke", "mend"))
        with self.assertRaisesRegex(ValueError, "broke"):
            result.parse(fake.failed("broke"))

    def test_what_is_no_result_is_a_failure(self) -> None:
        for document in (None, [], 3, {}, {"status": "failed"}, {"status": "ok"}, {"status": "ok", "schema_version": 2}):
            with self.subTest(document=document), self.assertRaises(ValueError):
                result.parse(document)

    def test_null_is_unknown_and_not_zero(self) -> None:
        run = result.parse(fake.document(metrics={"goodput_mbit": None, "completion_ms": 3}))
        self.assertNotIn("goodput_mbit", run.metrics)
        self.assertEqual(run.metrics["completion_ms"], 3.0)

    def test_numbers_that_are_none_are_left_out(self) -> None:
        run = result.parse(
            fake.document(metrics={"completion_ms": "soon", "wakes": True, "flips": float("nan"), "video_mbit": 1e400})
        )
        for key in ("completion_ms", "wakes", "flips", "video_mbit"):
            self.assertNotIn(key, run.metrics)

    def test_any_value_may_be_missing_or_of_another_type(self) -> None:
        whole = fake.everything()[0]
        for key in whole:
            for value in (None, 7, "x", [], {}, [3], [{}], {"a": 1}):
                if key in ("schema_version", "status", "scenario", "policy", "seed"):
                    continue
                broken = copy.deepcopy(whole)
                broken[key] = value
                with self.subTest(key=key, value=value):
                    result.parse(broken)

    def test_series_of_different_lengths_are_made_equal(self) -> None:
        series = {"interval_s": 0.1, "at_s": [0, 0.1], "paths": [{"name": "a", "tx_mbit": [1]}], "goodput_mbit": [1, 2]}
        run = result.parse(fake.document(series=series))
        assert run.series is not None
        self.assertEqual(run.series.mbit, {"a": (0.0, 0.0)})
        self.assertEqual(run.series.flips, (0.0, 0.0))

    def test_a_download_is_seen_from_what_comes_in(self) -> None:
        document = fake.document(
            series={"interval_s": 0.1, "at_s": [0], "paths": [{"name": "a", "tx_mbit": [1], "rx_mbit": [9]}]}
        )
        document["workload"]["direction"] = "download"
        run = result.parse(document)
        self.assertEqual(run.series.mbit if run.series else None, {"a": (9.0,)})
