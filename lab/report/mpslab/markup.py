# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Builds HTML and SVG that is well-formed XML as well. Whatever is no Markup is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable

# The only elements that HTML lets us close at once.
VOID = frozenset(("meta", "br", "hr"))
# XML has no way at all to write the others.
UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Markup(str):
    """Text that is markup already."""


Child = str | Iterable[str] | None


def escape(text: str) -> Markup:
    """Plain text as markup, for attributes in double quotes as well."""
    if isinstance(text, Markup):
        return text
    text = UNPRINTABLE.sub("\ufffd", text)
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return Markup(text)


def number(value: float) -> str:
    """A coordinate, as short as a hundredth of a pixel allows."""
    shown = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if shown in ("-0", "") else shown


def join(children: Iterable[Child]) -> Markup:
    """Puts children one after the other; lists may be nested."""
    return Markup(
        "".join(
            escape(child) if isinstance(child, str) else join(child) for child in children if child is not None
        )
    )


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """An element. class_ is class, stroke_width is stroke-width; an attribute that is None is left away."""
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            shown = value if isinstance(value, str) else number(value)
            words.append(f'{key.rstrip("_").replace("_", "-")}="{escape(shown)}"')
    if name in VOID:
        return Markup(f"<{' '.join(words)}/>")
    return Markup(f"<{' '.join(words)}>{join(children)}</{name}>")
