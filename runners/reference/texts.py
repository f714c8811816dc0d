"""What operations on text mean. Regular expressions are the kernel's (Rust's regex), of which Python's are made here."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

from dataflow.expr.rules.texts import MOST_REPEATED, TOO_LONG
from dataflow.expr.types import DType
from dataflow.expr.typing import ExprError
from runners.reference.times import zoned

__all__ = ["MEANINGS"]

# Unicode's White_Space; str.strip() alone would take U+001C to U+001F too
_SPACES = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
_GROUP = re.compile(r"\$(?:\$|\{(?P<braced>[^}]*)\}|(?P<plain>[0-9A-Za-z_]+))")


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    """Python's form of a pattern: `$` is only the very end, `(?<n>` is `(?P<n>`. What only one of the two knows is refused."""
    out, at, inside = [], 0, False
    while at < len(pattern):
        char, rest = pattern[at], pattern[at:]
        if char == "\\" and at + 1 < len(pattern):
            if pattern[at + 1] in "pPxuU123456789":
                raise NotImplementedError(f"the reference does not know {rest[:2]} in a regular expression")
            out.append({"\\z": r"\Z"}.get(rest[:2], rest[:2]))
            at += 2
            continue
        if rest.startswith(("(?=", "(?!", "(?<=", "(?<!")) and not inside:
            raise ValueError("look-around is not supported in regular expressions")
        if rest.startswith("[[:"):
            raise NotImplementedError("the reference does not know classes like [:alpha:]")
        if char == "$" and not inside and "(?m" not in pattern:
            out.append(r"\Z")
        elif rest.startswith("(?<") and not inside:
            out.append("(?P<")
            at += 2
        else:
            out.append(char)
        inside = char == "[" or (inside and char != "]")
        at += 1
    return re.compile("".join(out))


def _like(pattern: str, escape: str | None) -> re.Pattern[str]:
    out, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        if escape and char == escape and at + 1 < len(pattern):
            at += 1
            out += re.escape(pattern[at])
        else:
            out += {"%": ".*", "_": "."}.get(char, re.escape(char))
        at += 1
    return re.compile(out, re.DOTALL)


def _contains(site: Any, text: str) -> bool:
    pattern = site.options["pattern"]
    return pattern in text if site.options.get("literal") else _regex(pattern).search(text) is not None


def _replace(count: int | None) -> Callable[..., str]:
    def meaning(site: Any, text: str) -> str:
        pattern, value = site.options["pattern"], site.options["value"]
        if site.options.get("literal"):
            return text.replace(pattern, value, count if count is not None else -1)
        out, at, done = "", 0, -1
        for match in list(_regex(pattern).finditer(text))[:count]:
            if match.start() == match.end() == done:  # an empty match right behind another is none
                continue
            out += text[at : match.start()] + _expanded(value, match)
            at = done = match.end()
        return out + text[at:]

    return meaning


def _expanded(value: str, match: re.Match[str]) -> str:
    """$1, ${1}, $name and ${name} are groups (nothing, if there is none of that name), $$ is a dollar."""

    def group(found: re.Match[str]) -> str:
        name = found["braced"] if found["braced"] is not None else found["plain"]
        if name is None:
            return "$"
        try:
            return match[int(name) if name.isdigit() else name] or ""
        except IndexError:
            return ""

    return _GROUP.sub(group, value)


def _extract(site: Any, text: str) -> str | None:
    found, group = _regex(site.options["pattern"]).search(text), site.options.get("group", 1)
    return found[group] if found is not None and group <= found.re.groups else None


def _slice(site: Any, text: str) -> str:
    """Characters ``offset`` up to ``offset + length``; places before the text are there and empty."""
    offset, length = site.options["offset"], site.options.get("length")
    start = offset if offset >= 0 else len(text) + offset
    stop = len(text) if length is None else start + length
    return text[max(start, 0) : max(stop, 0)]


def _strip(method: Callable[[str, str], str]) -> Callable[..., str]:
    def meaning(site: Any, text: str) -> str:
        characters = site.options.get("characters")
        return method(text, _SPACES if characters is None else characters)

    return meaning


def _split(site: Any, text: str) -> list[str]:
    by = site.options["by"]
    return text.split(by) if by else list(text)


def _matches(pattern: str, text: str) -> list[re.Match[str]]:
    """All matches from left to right; an empty one right behind another is none."""
    found: list[re.Match[str]] = []
    for match in _regex(pattern).finditer(text):
        if not (found and match.start() == match.end() == found[-1].end()):
            found.append(match)
    return found


def _count_matches(site: Any, text: str) -> int:
    pattern = site.options["pattern"]
    return text.count(pattern) if site.options["literal"] else len(_matches(pattern, text))


def _find(site: Any, text: str, wanted: str) -> int | None:
    at = text.find(wanted)
    return at if at >= 0 else None


def _pad(text: str, length: int, fill: str, start: bool) -> str:
    filling = fill * max(0, length - len(text))
    return filling + text if start else text + filling


def _zfill(site: Any, text: str) -> str:
    return text.zfill(site.options["length"])


def _title(site: Any, text: str) -> str:
    """A letter behind none is made large, all others small; digits are no letters."""
    return "".join(c.lower() if at and text[at - 1].isalpha() else c.title() for at, c in enumerate(text))


def _reverse(site: Any, text: str) -> str:
    """Marks stay behind their letter."""
    parts: list[str] = []
    for char in text:
        if parts and unicodedata.combining(char):
            parts[-1] += char
        else:
            parts.append(char)
    return "".join(reversed(parts))


def _parsed(kind: str) -> Callable[..., Any]:
    def meaning(site: Any, text: str) -> Any:
        try:
            found = dt.datetime.strptime(
                text, site.options["format"].replace("%.f", ".%f").replace("%F", "%Y-%m-%d").replace("%T", "%H:%M:%S")
            )
        except ValueError:
            return _no_form(site, text)
        return found.date() if kind == "date" else found.time() if kind == "time" else _zoned(site, found)

    return meaning


def _zoned(site: Any, found: dt.datetime) -> Any:
    zone = site.options["zone"]
    return found if zone is None or found.tzinfo is not None else zoned(found, zone, site.options["strict"])


def _no_form(site: Any, text: str) -> Any:
    if site.options["strict"]:
        raise ValueError(f"{text!r} has no form as {site.result}")
    return None


def _to_integer(site: Any, text: str) -> int | None:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"[: site.options["base"]]
    if not re.fullmatch(f"[+-]?[{digits}]+", text, re.IGNORECASE) or not -(2**63) <= int(text, site.options["base"]) < 2**63:
        return _no_form(site, text)
    return int(text, site.options["base"])


def _json_path(site: Any, text: str) -> str | None:
    """Only keys and indexes: $.a.b[0]."""
    steps = re.findall(r"\.(\w+)|\[(-?\d+)\]|\['([^']*)'\]", site.options["path"])
    try:
        value = json.loads(text)
        for key, index, quoted in steps:
            value = value[int(index)] if index and isinstance(value, list) else value[key or quoted] if isinstance(value, dict) else None
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return value if isinstance(value, str) or value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _from_json(value: Any, kind: DType) -> Any:
    match kind.name:
        case _ if value is None:
            return None
        case "struct":
            return {name: _from_json(value.get(name), inner) for name, inner in kind.args}
        case "list":
            return [_from_json(item, kind.args[0]) for item in value]
        case "string":
            return value if isinstance(value, str) else json.dumps(value)
        case _:
            return value


def _decode(site: Any, text: str) -> bytes | None:
    if site.options["encoding"] == "hex" and not re.fullmatch("([0-9a-fA-F]{2})*", text):
        return _no_form(site, text)
    try:
        return bytes.fromhex(text) if site.options["encoding"] == "hex" else base64.b64decode(text, validate=True)
    except ValueError:
        return _no_form(site, text)


def _encode(site: Any, value: bytes) -> str:
    return value.hex() if site.options["encoding"] == "hex" else base64.b64encode(value).decode()


def _repeat(site: Any, text: str, times: int) -> str:
    if len(text.encode()) * times > MOST_REPEATED:
        raise ExprError(TOO_LONG)
    return text * times


def _digest(site: Any, value: str | bytes) -> str:
    return hashlib.new(site.options["algorithm"], value.encode() if isinstance(value, str) else value).hexdigest()


_SPECIAL = frozenset("\\.+*?()|[]{}^$#&-~")

MEANINGS: dict[str, Callable[..., Any]] = {
    "str.contains": _contains, "str.starts_with": lambda site, a, b: a.startswith(b), "str.ends_with": lambda site, a, b: a.endswith(b),
    "str.like": lambda site, a: _like(site.options["pattern"], site.options.get("escape")).fullmatch(a) is not None,
    "str.len_chars": lambda site, a: len(a), "str.len_bytes": lambda site, a: len(a.encode()), "str.count_matches": _count_matches,
    "str.find": _find, "str.to_lowercase": lambda site, a: a.lower(), "str.to_uppercase": lambda site, a: a.upper(),
    "str.to_titlecase": _title,
    "str.strip_chars": _strip(str.strip), "str.strip_chars_start": _strip(str.lstrip), "str.strip_chars_end": _strip(str.rstrip),
    "str.strip_prefix": lambda site, a: a.removeprefix(site.options["prefix"]),
    "str.strip_suffix": lambda site, a: a.removesuffix(site.options["suffix"]),
    "str.slice": _slice, "str.head": lambda site, a: a[: site.options["n"]],
    "str.tail": lambda site, a: a[max(0, len(a) - site.options["n"]) :] if site.options["n"] >= 0 else a[-site.options["n"] :],
    "str.reverse": _reverse, "str.pad_start": lambda site, a: _pad(a, site.options["length"], site.options["fill"], start=True),
    "str.pad_end": lambda site, a: _pad(a, site.options["length"], site.options["fill"], start=False), "str.zfill": _zfill,
    "str.repeat": _repeat, "str.replace": _replace(1), "str.replace_all": _replace(None), "str.extract": _extract,
    "str.extract_all": lambda site, a: [match[0] for match in _matches(site.options["pattern"], a)], "str.split": _split,
    "str.concat": lambda site, *parts: "".join(parts), "str.escape_regex": lambda site, a: "".join("\\" * (c in _SPECIAL) + c for c in a),
    "str.normalize": lambda site, a: unicodedata.normalize(site.options["form"], a),
    "str.to_date": _parsed("date"), "str.to_time": _parsed("time"), "str.to_datetime": _parsed("datetime"), "str.to_integer": _to_integer,
    "str.json_path_match": _json_path, "str.json_decode": lambda site, a: _from_json(json.loads(a), site.result), "str.decode": _decode,
    "str.digest": _digest, "bin.digest": _digest,
    "bin.size": lambda site, a: len(a), "bin.contains": lambda site, a, b: b in a, "bin.starts_with": lambda site, a, b: a.startswith(b),
    "bin.ends_with": lambda site, a, b: a.endswith(b), "bin.encode": _encode,
}  # fmt: skip
