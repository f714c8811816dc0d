"""``.str``: operations on text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflow.expr.parsing import Parsing

if TYPE_CHECKING:
    from dataflow.expr.expression import Expr

__all__ = ["Strings"]


class Strings(Parsing):
    """Operations on text, as ``col("x").str``. Lengths and places are counted in characters (code points)."""

    __slots__ = ()

    # -- searching

    def contains(self, pattern: str, *, literal: bool = False) -> Expr:
        """Whether the regular expression (or the text itself, if ``literal``) occurs.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "v1.2"}]).select(
        ...     any=col("s").str.contains("[0-9]"), text=col("s").str.contains(".2", literal=True)).collect()
        [{'any': True, 'text': True}]
        """
        return self._call("contains", pattern=pattern, literal=literal)

    def starts_with(self, prefix: Any) -> Expr:
        """Whether it begins with this text, or with that of another column.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "draft-7", "p": "dr"}]).select(
        ...     a=col("s").str.starts_with("draft-"), b=col("s").str.starts_with(col("p"))).collect()
        [{'a': True, 'b': True}]
        """
        return self._call("starts_with", prefix)

    def ends_with(self, suffix: Any) -> Expr:
        """Whether it ends with this text, or with that of another column.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "a.csv"}]).select(csv=col("s").str.ends_with(".csv")).collect()
        [{'csv': True}]
        """
        return self._call("ends_with", suffix)

    def like(self, pattern: str, escape: str | None = None) -> Expr:
        """SQL's LIKE: % is any text, _ any character.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "100%"}]).select(a=col("s").str.like("1_0%"), b=col("s").str.like("%!%", escape="!")).collect()
        [{'a': True, 'b': True}]
        """
        return self._call("like", pattern=pattern, escape=escape)

    def find(self, text: Any) -> Expr:
        """The place, from 0, at which a text occurs first; null if it does not.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "déjà vu"}, {"s": "vu"}]).select(at=col("s").str.find("à"), n=col("s").str.find("v")).collect()
        [{'at': 3, 'n': 5}, {'at': None, 'n': 0}]
        """
        return self._call("find", text)

    def count_matches(self, pattern: str, *, literal: bool = False) -> Expr:
        """How often the regular expression (or the text) occurs, without overlaps.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "a1b22"}]).select(n=col("s").str.count_matches("[0-9]+")).collect()
        [{'n': 2}]
        """
        return self._call("count_matches", pattern=pattern, literal=literal)

    def extract(self, pattern: str, group: int = 1) -> Expr:
        """A group of the regular expression's first match, null if there is none.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "v1.20"}]).select(minor=col("s").str.extract(r"v(\\d+)\\.(\\d+)", 2)).collect()
        [{'minor': '20'}]
        """
        return self._call("extract", pattern=pattern, group=group)

    def extract_all(self, pattern: str) -> Expr:
        """All matches of the regular expression, as a list.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "a1b22"}]).select(n=col("s").str.extract_all("[0-9]+")).collect()
        [{'n': ['1', '22']}]
        """
        return self._call("extract_all", pattern=pattern)

    # -- size and parts

    def len_chars(self) -> Expr:
        """How many characters.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "déjà"}]).select(n=col("s").str.len_chars()).collect()
        [{'n': 4}]
        """
        return self._call("len_chars")

    def len_bytes(self) -> Expr:
        """How many bytes in UTF-8.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "déjà"}]).select(n=col("s").str.len_bytes()).collect()
        [{'n': 6}]
        """
        return self._call("len_bytes")

    def slice(self, offset: int, length: int | None = None) -> Expr:
        """Characters from ``offset`` (counted from the end if negative).

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "abcdef"}]).select(a=col("s").str.slice(1, 3), b=col("s").str.slice(-2)).collect()
        [{'a': 'bcd', 'b': 'ef'}]
        """
        return self._call("slice", offset=offset, length=length)

    def head(self, n: int = 5) -> Expr:
        """The first ``n`` characters; all but the last ``-n`` if negative.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "abcdef"}]).select(a=col("s").str.head(2), b=col("s").str.head(-2)).collect()
        [{'a': 'ab', 'b': 'abcd'}]
        """
        return self._call("head", n=n)

    def tail(self, n: int = 5) -> Expr:
        """The last ``n`` characters; all but the first ``-n`` if negative.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "abcdef"}]).select(a=col("s").str.tail(2), b=col("s").str.tail(-2)).collect()
        [{'a': 'ef', 'b': 'cdef'}]
        """
        return self._call("tail", n=n)

    def split(self, by: str) -> Expr:
        """The parts between occurrences of ``by``, as a list.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "a,b,,c"}]).select(parts=col("s").str.split(",")).collect()
        [{'parts': ['a', 'b', '', 'c']}]
        """
        return self._call("split", by=by)

    # -- changing

    def to_lowercase(self) -> Expr:
        """In small letters.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "ÀB"}]).select(s=col("s").str.to_lowercase()).collect()
        [{'s': 'àb'}]
        """
        return self._call("to_lowercase")

    def to_uppercase(self) -> Expr:
        """In capitals.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "straße"}]).select(s=col("s").str.to_uppercase()).collect()
        [{'s': 'STRASSE'}]
        """
        return self._call("to_uppercase")

    def to_titlecase(self) -> Expr:
        """Words with a capital first; a word begins behind anything that is no letter.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "jean-luc o'neil"}]).select(s=col("s").str.to_titlecase()).collect()
        [{'s': "Jean-Luc O'Neil"}]
        """
        return self._call("to_titlecase")

    def strip_chars(self, characters: str | None = None) -> Expr:
        """Without these characters (white space by default) at both ends.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "  a b "}]).select(a=col("s").str.strip_chars(), b=col("s").str.strip_chars(" a")).collect()
        [{'a': 'a b', 'b': 'b'}]
        """
        return self._call("strip_chars", characters=characters)

    def strip_chars_start(self, characters: str | None = None) -> Expr:
        """Without these characters (white space by default) at the beginning.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "007"}]).select(s=col("s").str.strip_chars_start("0")).collect()
        [{'s': '7'}]
        """
        return self._call("strip_chars_start", characters=characters)

    def strip_chars_end(self, characters: str | None = None) -> Expr:
        """Without these characters (white space by default) at the end.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "what?!"}]).select(s=col("s").str.strip_chars_end("!?")).collect()
        [{'s': 'what'}]
        """
        return self._call("strip_chars_end", characters=characters)

    def strip_prefix(self, prefix: str) -> Expr:
        """Without this text at the beginning, once.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "www.wwf.org"}]).select(s=col("s").str.strip_prefix("www.")).collect()
        [{'s': 'wwf.org'}]
        """
        return self._call("strip_prefix", prefix=prefix)

    def strip_suffix(self, suffix: str) -> Expr:
        """Without this text at the end, once.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "data.csv"}]).select(s=col("s").str.strip_suffix(".csv")).collect()
        [{'s': 'data'}]
        """
        return self._call("strip_suffix", suffix=suffix)

    def replace(self, pattern: str, value: str, *, literal: bool = False) -> Expr:
        """The first match of the regular expression replaced; $1 in ``value`` is its first group.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "2024-03"}]).select(s=col("s").str.replace(r"(\\d+)-(\\d+)", "$2/$1")).collect()
        [{'s': '03/2024'}]
        """
        return self._call("replace", pattern=pattern, value=value, literal=literal)

    def replace_all(self, pattern: str, value: str, *, literal: bool = False) -> Expr:
        """Every match of the regular expression replaced.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "a b  c"}]).select(s=col("s").str.replace_all(" +", "_")).collect()
        [{'s': 'a_b_c'}]
        """
        return self._call("replace_all", pattern=pattern, value=value, literal=literal)

    def pad_start(self, length: int, fill: str = " ") -> Expr:
        """At least ``length`` characters long, filled at the beginning.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "7"}]).select(s=col("s").str.pad_start(3, ".")).collect()
        [{'s': '..7'}]
        """
        return self._call("pad_start", length=length, fill=fill)

    def pad_end(self, length: int, fill: str = " ") -> Expr:
        """At least ``length`` characters long, filled at the end.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "7"}]).select(s=col("s").str.pad_end(3, ".")).collect()
        [{'s': '7..'}]
        """
        return self._call("pad_end", length=length, fill=fill)

    def zfill(self, length: int) -> Expr:
        """At least ``length`` characters long, filled with zeros behind a sign.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "-7"}]).select(s=col("s").str.zfill(4)).collect()
        [{'s': '-007'}]
        """
        return self._call("zfill", length=length)

    def repeat(self, times: Any) -> Expr:
        """This many times behind each other; a text of more than 64 MiB is an error.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "ab", "n": 2}]).select(s=col("s").str.repeat(col("n"))).collect()
        [{'s': 'abab'}]
        """
        return self._call("repeat", times)

    def reverse(self) -> Expr:
        """From the end to the beginning; accents stay with their letters.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "abc"}]).select(s=col("s").str.reverse()).collect()
        [{'s': 'cba'}]
        """
        return self._call("reverse")

    def concat(self, *others: Any) -> Expr:
        """This and the others put together; null if one of them is.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"a": "x", "b": "y"}]).select(s=col("a").str.concat("-", col("b"))).collect()
        [{'s': 'x-y'}]
        """
        return self._call("concat", *others)

    def normalize(self, form: str = "NFC") -> Expr:
        """In a Unicode normal form: "NFC", "NFD", "NFKC", "NFKD". Texts that look equal then are.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "ﬁn ²"}]).select(s=col("s").str.normalize("NFKC")).collect()
        [{'s': 'fin 2'}]
        """
        return self._call("normalize", form=form)

    def escape_regex(self) -> Expr:
        """As a regular expression that matches just this text.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "1+1"}]).select(s=col("s").str.escape_regex()).collect()
        [{'s': '1\\\\+1'}]
        """
        return self._call("escape_regex")

    # -- of many rows

    def join(self, separator: str = "", order_by: Any = None) -> Expr:
        """An aggregate: the texts of all rows, those that are null left out, put together; "" of nothing.

        >>> from dataflow import Pipeline, col
        >>> Pipeline().create([{"s": "b"}, {"s": "a"}]).group_by().agg(s=col("s").str.join("-", order_by="s")).collect()
        [{'s': 'a-b'}]
        """
        return self._expr._ordered("join", order_by, separator=separator)
