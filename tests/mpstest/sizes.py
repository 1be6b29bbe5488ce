# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""How long files and functions of the tree are.

A function goes from the first line of its declaration to its last brace; what is inside of it, as a lambda or a local class,
belongs to it. C and C++ are read by their braces, as clang-format leaves them: no compiler, so that the whole tree takes a
second.
"""

from __future__ import annotations

import ast
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

MOST_LINES_OF_A_FILE = 600
MOST_LINES_OF_A_FUNCTION = 60

C_LIKE = {".c", ".h", ".cpp", ".hpp", ".inc", ".def"}

# A comment, a literal, or a directive of the preprocessor: what may hold braces that open nothing.
_OPAQUE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|R"(?P<mark>[^(\s"]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'"""
    r"""|^[ \t]*\#(?:\\\n|//[^\n]*|/\*.*?\*/|[^\n])*""",
    re.DOTALL | re.MULTILINE,
)
_WORD = re.compile(r"[{};]")
_SCOPE = re.compile(r"\b(namespace|struct|class|union|enum|extern)\b")
_NAME = re.compile(r"([~\w:]+(?:<[^<>]*>)?|operator\s*\S+?)\s*\(")


@dataclass(frozen=True)
class Function:
    """A function and where it stands."""

    name: str
    line: int
    lines: int


def _blank(match: re.Match[str]) -> str:
    text = match.group()
    if text[0] == '"' and "\n" not in text:
        return text.translate({ord(brace): "." for brace in "{}();"})
    return "\n" * text.count("\n") + " "


def _name(head: str) -> str:
    """'Network::build', or the sentence of a TEST_CASE."""
    case = re.search(r'\b(?:TEST_CASE|SCENARIO|TEMPLATE_TEST_CASE)\w*\(\s*"((?:[^"\\]|\\.)*)"', head)
    if case:
        return case.group(1)
    program = re.search(r"\bBPF_(?:K?PROG|STRUCT_OPS)\w*\(\s*(\w+)", head)
    if program:
        return program.group(1)
    for found in _NAME.finditer(head):
        name = found.group(1)
        if not re.fullmatch(r"__\w+|[A-Z0-9_]+|SEC|alignas|decltype|noexcept|requires", name):
            return name
    found = _NAME.search(head)
    return found.group(1) if found else head.strip()


def c_functions(text: str) -> list[Function]:
    """The functions of a C or C++ source."""
    text = _OPAQUE.sub(_blank, text)
    functions: list[Function] = []
    scopes: list[tuple[str, str, int]] = []  # of each open brace: "scope", "function", "initialiser" or "inside"; head; where the head begins
    begin = 0
    for found in _WORD.finditer(text):
        word, at = found.group(), found.start()
        inside = bool(scopes) and scopes[-1][0] != "scope"
        if word == "{":
            head = text[begin:at]
            if inside:
                kind = "inside"
            elif head.count("(") > head.count(")") or ("(" in head and re.search(r"\w$", head)):
                kind = "initialiser"  # before the body: of a parameter, f(S s = {}) {, or of a member, S() : a_{1} {
            elif "(" in head and not re.search(r"=\s*$|=[^=()]*$", head):
                kind = "function"
            else:
                kind = "scope" if _SCOPE.search(head) else "inside"
            scopes.append((kind, head, begin + len(head) - len(head.lstrip())))
        elif word == "}" and scopes:
            kind, head, start = scopes.pop()
            if kind == "function":
                first = text.count("\n", 0, start) + 1
                functions.append(Function(_name(head), first, text.count("\n", start, at) + 1))
            if kind == "initialiser":
                continue
        if not scopes or scopes[-1][0] == "scope":
            begin = at + 1
    return functions


def python_functions(text: str) -> list[Function]:
    """The functions of a Python source."""
    return [
        Function(node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def shell_functions(text: str) -> list[Function]:
    """The functions of a shell script whose last brace stands where their name does."""
    functions = []
    for found in re.finditer(r"^([ \t]*)([\w-]+)\(\) *[{(]\n(?:.*\n)*?\1[})]", text, re.MULTILINE):
        functions.append(Function(found.group(2), text.count("\n", 0, found.start()) + 1, found.group().count("\n") + 1))
    return functions


def language(path: Path) -> str | None:
    """"c", "python" or "shell", by the name or else by the first line; nothing for what is no program."""
    if path.suffix in C_LIKE:
        return "c"
    if path.suffix == ".py":
        return "python"
    if path.suffix in {".sh", ".bash"}:
        return "shell"
    if path.suffix and path.suffix != ".in":
        return None
    with path.open("rb") as file:
        first = file.readline(80)
    if not first.startswith(b"#!"):
        return None
    return "python" if b"python" in first else "shell" if b"sh" in first else None


FUNCTIONS = {"c": c_functions, "python": python_functions, "shell": shell_functions}


def tracked(root: Path) -> list[Path]:
    """The programs of the tree, as git knows them."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
    paths = [Path(name) for name in listed.split("\0") if name]
    return [path for path in paths if (root / path).is_file() and not (root / path).is_symlink() and language(root / path)]


def long_ones(root: Path, path: Path) -> dict[str, int]:
    """What is longer than it should be in a file, as a reader names it ('FILE' or 'FILE: FUNCTION'), and its lines."""
    text = (root / path).read_text(encoding="utf-8")
    lines = text.count("\n")
    long = {str(path): lines} if lines > MOST_LINES_OF_A_FILE else {}
    kind = language(root / path)
    if lines <= MOST_LINES_OF_A_FUNCTION or kind is None:
        return long
    for function in FUNCTIONS[kind](text):
        if function.lines > MOST_LINES_OF_A_FUNCTION:
            name = f"{path}: {function.name}"
            long[name] = max(function.lines, long.get(name, 0))
    return long
