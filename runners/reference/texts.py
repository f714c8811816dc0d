"""What operations on text mean. Regular expressions are the kernel's (Rust's regex), of which Python's are made here."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

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


MEANINGS: dict[str, Callable[..., Any]] = {
    "str.contains": _contains, "str.starts_with": lambda site, a, b: a.startswith(b), "str.ends_with": lambda site, a, b: a.endswith(b),
    "str.like": lambda site, a: _like(site.options["pattern"], site.options.get("escape")).fullmatch(a) is not None,
    "str.len_chars": lambda site, a: len(a), "str.len_bytes": lambda site, a: len(a.encode()),
    "str.to_lowercase": lambda site, a: a.lower(), "str.to_uppercase": lambda site, a: a.upper(),
    "str.strip_chars": _strip(str.strip), "str.strip_chars_start": _strip(str.lstrip), "str.strip_chars_end": _strip(str.rstrip),
    "str.slice": _slice, "str.replace": _replace(1), "str.replace_all": _replace(None), "str.extract": _extract, "str.split": _split,
    "str.concat": lambda site, *parts: "".join(parts),
}  # fmt: skip
