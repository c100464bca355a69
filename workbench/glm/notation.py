"""A formula in Wilkinson's notation, taken apart: response, terms and what varies by group.

formulaic reads it, but for the terms `(1 + x | group)` of hierarchical models, which it has not.
It evaluates functions as Python; only those that are listed here may be called, so that a formula
from somebody else's run folder runs nothing else.
"""

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from formulaic import Formula, SimpleFormula
from formulaic.parser.types import Factor
from formulaic.transforms import ContrastsRegistry
from formulaic.utils.code import sanitize_variable_names

from workbench.core.config import ConfigError, nearest

# Functions of columns that need to see all rows before the first.
STATEFUL = ("center", "scale", "standardize", "poly", "bs", "cr", "cs", "cc")
CONTRASTS = ("Treatment", "Poly", "Sum", "Helmert", "Diff")
CATEGORIES = ("C", "hashed")
FUNCTIONS = ("log", "log2", "log10", "exp", "exp2", "I", *CATEGORIES, *STATEFUL, *CONTRASTS)
# What an expression may consist of, beside names and calls.
SYNTAX = (
    *(ast.Expression, ast.Call, ast.keyword, ast.Constant, ast.Name, ast.Attribute, ast.Load),
    *(ast.BinOp, ast.operator, ast.UnaryOp, ast.unaryop, ast.BoolOp, ast.boolop),
    *(ast.Compare, ast.cmpop, ast.List, ast.Tuple, ast.Dict),
)
QUOTED = re.compile(r"`[^`]*`|\"[^\"]*\"|'[^']*'")
CALL = re.compile(r"([A-Za-z_][\w.]*)\s*\(")
# Of text whose quoted parts are null characters: members and calls of values, and odd words.
OTHER_CODE = re.compile(
    r"[\])}\0]\s*[.(\[]|\w\0|\b__|\.\s*_|[\\\"'`@;]|\b(lambda|for|if|await|yield)\b"
)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Varying:
    """A term `(inside | factor)`.

    Attributes:
      inside: what varies.
      factor: by what, as in "school" or "school:year".
      columns: that the factor is made of.
    """

    inside: SimpleFormula
    factor: str
    columns: list[str]


@dataclass(frozen=True, eq=False)
class Notation:
    """A formula's parts.

    Attributes:
      text: the formula as it was written.
      left: the response, or successes and failures.
      right: the terms that are the same for all groups.
      varying: those that are not.
      columns: that are used, in order.
      categories: those of them that are used by C(), or as groups.
      functions: that are called.
    """

    text: str
    left: SimpleFormula
    right: SimpleFormula
    varying: list[Varying]
    columns: list[str]
    categories: set[str]
    functions: set[str]

    @property
    def response(self) -> str:
        """What is explained."""
        return " + ".join(str(term) for term in self.left)

    @classmethod
    def of(cls, text: str, available: Sequence[str], taken: Collection[str] = ()) -> "Notation":
        """Reads a formula.

        Args:
          text: as in "y ~ x + (1 | group)".
          available: a table's columns.
          taken: those that have another part already, and are not meant by ".".

        Raises:
          ConfigError: when it is no formula, or says what no column or function is called.
        """
        if text.count("~") != 1 or not all(side.strip() for side in text.split("~")):
            raise ConfigError(
                f"formula={text!r} does not say what is explained by what: write "
                'formula="y ~ x1 + x2"'
            )
        _refuse_code(text)
        fixed, bars = _cut(text)
        groups = [group for bar in bars for group in _groups(bar, text)]
        taken = {*taken, *(column for _, columns in groups for column in columns)}
        free = [column for column in available if column not in taken]
        parsed = _parsed(fixed, text, free)
        varying = [
            Varying(_parsed(inside, text, free), ":".join(columns), columns)
            for inside, columns in groups
        ]
        reader = Reader(text, available)
        for formula in (parsed.lhs, parsed.rhs, *(term.inside for term in varying)):
            reader.read(formula)
        for term in varying:
            for column in term.columns:
                reader.use(column, categorical=True)
        found = (reader.columns, reader.categories, reader.functions)
        return cls(text, parsed.lhs, parsed.rhs, varying, *found)


class Reader:
    """Collects the columns and functions of formulas, and refuses what is neither.

    Args:
      text: the whole formula.
      available: the columns there are.

    Attributes:
      columns: that were found, in order.
      categories: those of them that are categories, whatever they hold.
      functions: that are called.
    """

    def __init__(self, text: str, available: Sequence[str]):
        self._text, self._available = text, available
        self.columns: list[str] = []
        self.categories: set[str] = set()
        self.functions: set[str] = set()

    def read(self, formula: SimpleFormula) -> None:
        """Collects what a formula uses.

        Raises:
          ConfigError: when there is no such column or function.
        """
        for term in formula:
            for factor in term.factors:
                if factor.eval_method is Factor.EvalMethod.LOOKUP:
                    self.use(factor.expr)
                elif factor.eval_method is Factor.EvalMethod.PYTHON:
                    self._read_expression(factor.expr)

    def use(self, column: str, categorical: bool = False) -> None:
        """Takes a column.

        Raises:
          ConfigError: when there is none of this name.
        """
        if column not in self._available:
            raise ConfigError(
                f"formula={self._text!r}: there is no column {column}"
                f"{nearest(column, self._available)}"
            )
        if column not in self.columns:
            self.columns.append(column)
        if categorical:
            self.categories.add(column)

    def _read_expression(self, expression: str) -> None:
        aliases: dict[str, str] = {}
        try:
            tree = ast.parse(sanitize_variable_names(expression, {}, aliases), mode="eval")
        except SyntaxError as error:
            raise ConfigError(
                f"formula={self._text!r}: {expression} is no expression ({error.msg})"
            ) from None
        self._walk(tree.body, expression, aliases, categorical=False)

    def _walk(
        self, node: ast.AST, expression: str, aliases: dict[str, str], categorical: bool
    ) -> None:
        if not isinstance(node, SYNTAX):
            raise self._refused(expression, f"{ast.unparse(node)} is not allowed in formulas")
        if isinstance(node, ast.Name):
            name = aliases.get(node.id, node.id)
            if name in CONTRASTS and name not in self._available:
                self._function(node)
            else:
                self.use(name, categorical)
        elif isinstance(node, ast.Attribute):
            if (name := ast.unparse(node)) in self._available:
                raise self._refused(expression, f"{name} needs backticks: `{name}`")
            self._function(node)
        elif isinstance(node, ast.Call):
            self._function(node.func)
            inside = categorical or ast.unparse(node.func) in CATEGORIES
            for inner in (*node.args, *node.keywords):
                self._walk(inner, expression, aliases, inside)
        else:
            for inner in ast.iter_child_nodes(node):
                self._walk(inner, expression, aliases, categorical)

    def _function(self, node: ast.AST) -> None:
        """Takes a name that is called, or stands for a contrast."""
        name = ast.unparse(node)
        _refuse_function(name, self._text)
        self.functions.add(name)

    def _refused(self, expression: str, reason: str) -> ConfigError:
        return ConfigError(f"formula={self._text!r}: in {expression}, {reason}")


def _refuse_function(name: str, text: str) -> None:
    module, _, member = name.rpartition(".")
    of_numpy = module == "np" and isinstance(getattr(np, member, None), np.ufunc)
    contrast = module == "contr" and hasattr(ContrastsRegistry, member)
    if not (of_numpy or contrast or name in FUNCTIONS):
        choices = [*FUNCTIONS, "np.sqrt"]
        raise ConfigError(f"formula={text!r}: {name} is no function{nearest(name, choices)}")


def _refuse_code(text: str) -> None:
    """Refuses what formulaic might run while it reads a formula: that happens before any check."""
    bare = QUOTED.sub("\0", text)
    for call in CALL.finditer(bare):
        _refuse_function(call[1], text)
    if OTHER_CODE.search(bare):
        raise ConfigError(
            f"formula={text!r}: only columns, numbers and functions of them can stand in a formula"
        )


def one_line(error: Exception) -> str:
    """What formulaic says of a fault, without the picture below it."""
    lines = COLOURS.sub("", str(error)).splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _parsed(formula: str, text: str, available: list[str]) -> Any:
    """What formulaic makes of a formula, or of a part of the whole text."""
    try:
        parsed = Formula(formula, _context={"__formulaic_variables_available__": available})
    except Exception as error:
        raise ConfigError(f"formula={text!r} cannot be read: {one_line(error)}") from None
    sides = [parsed.lhs, parsed.rhs] if "~" in formula else [parsed]
    if not all(isinstance(side, SimpleFormula) for side in sides):
        raise ConfigError(f"formula={text!r}: | stands in brackets, as in (1 + x | group)")
    return parsed


def _cut(text: str) -> tuple[str, list[str]]:
    """A formula without its terms in brackets with a bar, and what is inside of these."""
    opened, spans, quote = list[int](), list[tuple[int, int]](), ""
    barred: set[int] = set()
    for place, letter in enumerate(text):
        if quote or letter in "`'\"":
            quote = "" if letter == quote else quote or letter
        elif letter == "(":
            opened.append(place)
        elif letter == "|" and opened:
            barred.add(opened[-1])
        elif letter == ")" and opened and (start := opened.pop()) in barred:
            if opened:
                term = text[start : place + 1]
                raise ConfigError(f"formula={text!r}: {term} cannot stand inside of other brackets")
            spans.append((start, place + 1))
    fixed = text
    for start, end in reversed(spans):
        fixed = _without(fixed, start, end)
    return fixed, [text[start + 1 : end - 1] for start, end in spans]


def _without(text: str, start: int, end: int) -> str:
    """The formula without a term and the sign that adds it."""
    before, after = text[:start].rstrip(), text[end:].lstrip()
    if before.endswith("+"):
        return f"{before[:-1]} {after}"
    if before.endswith("~") and (not after or after.startswith("+")):
        return f"{before} {after[1:]}"
    raise ConfigError(f"formula={text!r}: {text[start:end]} has to be added by +")


def _groups(bar: str, text: str) -> Iterator[tuple[str, list[str]]]:
    """What varies, and the columns of groups by which it does; "a/b" is by a, and by b within a."""
    inside, *factors = bar.split("|")
    if len(factors) != 1:
        raise ConfigError(
            f"formula={text!r}: ({bar}) has more than one bar; independent terms are added one by "
            "one, as in (1 | group) + (0 + x | group)"
        )
    nested = [part.strip() for part in factors[0].split("/")]
    for depth in range(1, len(nested) + 1):
        whole = ":".join(nested[:depth])
        yield inside, [column.strip().strip("`") for column in whole.split(":")]
