# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Small parts of the HTML report that several sections have."""

from __future__ import annotations

from collections.abc import Sequence

from . import text
from .markup import Markup, tag


def chip(words: str, kind: str, shape: str) -> Markup:
    """A word with its colour."""
    return tag("span", tag("i", class_=f"{shape} {kind}"), words, class_="chip")


def pill(words: str, kind: str) -> Markup:
    """A value on a colour that tells how good it is."""
    return tag("span", words, class_=f"pill {kind}") if kind else Markup(words)


def table(titles: Sequence[str], rows: Sequence[Sequence[Markup | str]]) -> Markup:
    """A table with titles; the first cell of a row is its title."""
    head = tag("thead", tag("tr", [tag("th", title, scope="col") for title in titles]))
    body = [
        tag("tr", tag("th", row[0], scope="row"), [tag("td", cell, class_="no" if cell == text.NONE else None) for cell in row[1:]])
        for row in rows
    ]
    return tag("div", tag("table", head, tag("tbody", body)), class_="scroll")
