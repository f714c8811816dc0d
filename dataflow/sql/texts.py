"""Functions of text, lists and structs whose arguments SQL counts, orders or defaults otherwise than the operations do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from dataflow.expr.nodes import Call, Case, ExprNode, Literal
from dataflow.expr.types import INT64, STRING
from dataflow.sql.concatenation import lists_concatenated
from dataflow.sql.errors import refuse
from dataflow.sql.trees import if_any

if TYPE_CHECKING:
    from dataflow.sql.expressions import Expressions

__all__ = ["item", "on_text"]


# null of nothing, where ours are 0, true, false
_OF_SOME = {"list_sum": "list.sum", "list_bool_and": "list.all", "list_bool_or": "list.any"}


def on_text(of: Expressions, node: exp.Expr) -> ExprNode | None:  # one arm for every function
    """The expression of such a function; None for any other node."""
    match node:
        case exp.Substring():
            start, length = (
                of.constant(node.args.get("start"), "substring's start"),
                of.constant(node.args.get("length"), "substring's length"),
            )
            return _slice(of.expr(node.this), 1 if start is None else start, length, node)
        case exp.Left() | exp.Right():
            count = of.constant(node.expression, f"{node.key}'s length")
            if type(count) is not int:
                refuse(node, f"{node.key} takes a whole number")
            which = "str.head" if isinstance(node, exp.Left) else "str.tail"
            return Call(which, (of.expr(node.this),), (("n", count),))  # of a negative number all but as many
        case exp.Trim():
            position = str(node.args.get("position") or "BOTH").upper()
            which = {"LEADING": "str.strip_chars_start", "TRAILING": "str.strip_chars_end"}.get(position, "str.strip_chars")
            characters = of.constant(node.args.get("expression"), "the characters of trim")
            return Call(which, (of.expr(node.this),), (("characters", " " if characters is None else characters),))
        case exp.Pad():
            return _padded(of, node)
        case exp.StrPosition() if not (node.args.get("position") or node.args.get("occurrence")):
            return _place(of.expr(node.this), of.expr(node.args["substr"]))
        case exp.SplitPart():
            return _part(of, node)
        case exp.RegexpLike():
            return _matches(of, node, "{}")
        case exp.RegexpFullMatch() | exp.SimilarTo():
            return _matches(of, node, "^(?:{})$")
        case exp.RegexpExtract():
            pattern, group = of.constant(node.expression, "the pattern"), of.constant(node.args.get("group"), "the group")
            return Call("str.extract", (of.expr(node.this),), (("pattern", pattern), ("group", group or 0)))
        case exp.RegexpReplace():
            pattern, value = of.constant(node.expression, "the pattern"), of.constant(node.args.get("replacement"), "the replacement")
            options = of.constant(node.args.get("modifiers"), "the modifiers") or ""
            pattern = _with_options(node, pattern, options, "gcims", "regexp_replace(s, 'a+', '', 'gi')")
            if isinstance(value, str):
                value = re.sub(r"\\(\d)", r"${\1}", value.replace("$", "$$"))  # SQL's \1 is our ${1}
            which = "str.replace_all" if "g" in options else "str.replace"
            return Call(which, (of.expr(node.this),), (("pattern", pattern), ("value", value), ("literal", False)))
        case exp.SHA2():
            bits = of.constant(node.args.get("length"), "sha2's length")
            if bits not in (256, 512):
                refuse(node, f"sha2 of {bits} bits is not supported", "sha256(x), sha512(x)")
            return Call("str.digest", (of.expr(node.this),), (("algorithm", f"sha{bits}"),))
        case exp.JSONExtractScalar():
            path = node.expression
            if not isinstance(path, exp.JSONPath):
                refuse(node, "a path in JSON is a constant here", "s ->> '$.name'")
            return Call("str.json_path_match", (of.expr(node.this),), (("path", path.sql("duckdb").strip("'")),))
        case exp.ToBase64():
            return Call("bin.encode", (of.expr(node.this),), (("encoding", "base64"),))
        case exp.FromBase64():
            return Call("str.decode", (of.expr(node.this),), (("encoding", "base64"), ("strict", True)))
        case exp.Length():
            value = of.expr(node.this)
            return Call("list.len" if of.type(value).name in ("list", "array") else "str.len_chars", (value,))
        case exp.Array():
            items = [of.expr(one) for one in node.expressions]
            if not all(isinstance(one, Literal) for one in items):
                if any(of.type(one).name in ("list", "array") for one in items):
                    refuse(node, "a list of lists of columns is not supported", "a || b makes one list of two")
                return Call("concat_list", tuple(items))
            return Literal([one.value for one in items if isinstance(one, Literal)])
        case exp.Struct():
            return _struct(of, node)
        case exp.ArraySort():
            up, first = (of.constant(node.args.get(key), "the order of list_sort") for key in ("asc", "nulls_first"))
            return Call("list.sort", (of.expr(node.this),), (("descending", up is False), ("nulls_last", not first)))
        case exp.ArraySlice():
            return sliced(of, node.this, node.args.get("start"), node.args.get("end"), node)
        case exp.Anonymous() if str(node.this).lower() == "list_slice" and len(node.expressions) == 3:
            value, low, high = node.expressions
            return sliced(of, value, low, high, node)
        case exp.ArrayDistinct():
            return Call("list.unique", (Call("list.drop_nulls", (of.expr(node.this),)),))
        case exp.ArrayConcat():
            return lists_concatenated(of, node)
        case exp.Anonymous() if (operation := _OF_SOME.get(str(node.this).lower())) and len(node.expressions) == 1:
            value = of.expr(node.expressions[0])
            return if_any(Call("list.len", (Call("list.drop_nulls", (value,)),)), Call(operation, (value,)))
        case _:
            return None


def _slice(value: ExprNode, start: Any, length: Any, node: exp.Expr) -> ExprNode:
    """SUBSTRING counts from 1; what lies before the text is cut off its length."""
    if start is None or not isinstance(start, int) or (length is not None and (not isinstance(length, int) or length < 0)):
        refuse(node, "substring takes whole numbers, and a length that is not negative")
    if start < 0:
        return Call("str.slice", (value,), (("offset", start), ("length", length)))
    if start == 0 and length is not None:
        length = max(0, length - 1)
    return Call("str.slice", (value,), (("offset", max(0, start - 1)), ("length", length)))


def item(of: Expressions, node: exp.Bracket) -> ExprNode:
    """items[2], both of lists and of text; a field of a struct."""
    value = of.expr(node.this)
    index: Any = node.expressions[0] if len(node.expressions) == 1 else None
    if isinstance(index, exp.Slice):
        return sliced(of, node.this, index.this, index.expression, node)
    if index is None:
        refuse(node, "an item of a list has one number", "items[1]")
    kind = of.type(value)
    if kind.name == "struct":
        return Call("struct.field", (value,), (("name", of.constant(index, "a field's name")),))
    place = of.constant(index, "an item's number")
    if type(place) is int and (kind == STRING or kind.name in ("list", "array")):
        if place == 0:  # which there is not
            return Call("str.head", (value,), (("n", 0),)) if kind == STRING else Literal(None, kind.args[0])
        place -= place > 0  # SQL counts from 1, and from the end from -1
        if kind == STRING:
            return Call("str.slice", (value,), (("offset", place), ("length", 1)))
    return Call("list.get", (value,), (("index", place),))


def sliced(of: Expressions, value: exp.Expr, start: exp.Expr | None, end: exp.Expr | None, node: exp.Expr) -> ExprNode:
    """items[a:b], both counted from 1 and both within; of text its characters."""
    one, low, high = of.expr(value), of.constant(start, "the beginning of a slice"), of.constant(end, "the end of a slice")
    low = 1 if low is None else low
    if type(low) is not int or not (high is None or type(high) is int) or (high is not None and (low < 0) != (high < 0)):
        refuse(node, "a slice goes between two whole numbers, both counted from the same end", "items[2:3], items[-2:]")
    offset = max(low - 1, 0) if low >= 0 else low
    length = None if high is None or high == -1 else max(0, (high - offset) if low >= 0 else high - low + 1)
    which = "list.slice" if of.type(one).name in ("list", "array") else "str.slice"
    return Call(which, (one,), (("offset", offset), ("length", length)))


def _padded(of: Expressions, node: exp.Pad) -> ExprNode:
    """LPAD and RPAD also cut what is longer."""
    length, fill = of.constant(node.expression, "the length"), of.constant(node.args.get("fill_pattern"), "the filling")
    fill = " " if fill is None else fill
    if type(length) is not int or length < 0 or not isinstance(fill, str) or len(fill) != 1:
        refuse(node, "lpad and rpad take a length and one character here", "lpad(s, 8, '0')")
    which = "str.pad_start" if node.args.get("is_left") else "str.pad_end"
    return Call("str.head", (Call(which, (of.expr(node.this),), (("length", length), ("fill", fill))),), (("n", length),))


def _place(text: ExprNode, wanted: ExprNode) -> ExprNode:
    """Counted from 1, and 0 where there is none."""
    found = Call("coalesce", (Call("add", (Call("str.find", (text, wanted)), Literal(1))), Literal(0)))
    known = Call("and", (Call("is_not_null", (text,)), Call("is_not_null", (wanted,))))
    return Case(((known, found),), Literal(None, INT64))


def _part(of: Expressions, node: exp.SplitPart) -> ExprNode:
    """SPLIT_PART counts from 1, from the end if negative; a part that is not there is empty."""
    by, index = of.constant(node.args.get("delimiter"), "the delimiter"), of.constant(node.args.get("part_index"), "the part's number")
    if not isinstance(by, str) or not by or type(index) is not int or index == 0:
        refuse(node, "split_part takes a text to split by and a number, not 0", "split_part(s, '-', 1)")
    parts = Call("str.split", (of.expr(node.this),), (("by", by),))
    found = Call("list.get", (parts,), (("index", index - 1 if index > 0 else index),))
    return Case(((Call("is_not_null", (parts,)), Call("coalesce", (found, Literal("")))),), Literal(None))


def _matches(of: Expressions, node: exp.Expr, form: str) -> ExprNode:
    pattern, flags = of.constant(node.expression, "the pattern"), of.constant(node.args.get("flag"), "the options")
    text = form.format(pattern) if isinstance(pattern, str) else pattern
    found = _with_options(node, text, flags or "", "cims", "regexp_matches(s, 'a+', 'i')")
    return Call("str.contains", (of.expr(node.this),), (("pattern", found), ("literal", False)))


def _with_options(node: exp.Expr, pattern: Any, options: Any, known: str, example: str) -> str:
    """A pattern that says its options itself; ``g`` and ``c`` are none of a pattern: every match, and the case counts as it does anyway."""
    if not isinstance(pattern, str) or not set(str(options)) <= set(known):
        refuse(node, f"a regular expression is text, and its options are among {', '.join(known)}", example)
    flags = "".join(dict.fromkeys(one for one in options if one not in "gc"))
    return f"(?{flags}){pattern}" if flags else pattern


def _struct(of: Expressions, node: exp.Struct) -> ExprNode:
    if not node.expressions or not all(isinstance(one, exp.PropertyEQ) for one in node.expressions):
        refuse(node, "a struct names its fields", "{'a': x, 'b': y}")
    names = tuple(one.this.name for one in node.expressions)
    if len({name.lower() for name in names}) < len(names):
        refuse(node, "two fields of a struct have one name")
    return Call("struct", tuple(of.expr(one.expression) for one in node.expressions), (("names", names),))
