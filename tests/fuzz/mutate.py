"""Hostile cases, drawn by Hypothesis: a valid file that was changed here and there, or bytes that never were one."""

import copy
import datetime
import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

WORDS = (
    *(
        "",
        " ",
        "x",
        "..",
        "../../escaped",
        "/etc/passwd",
        "/escaped",
        "a/b",
        "\\..\\x",
        "~",
        "~root/x",
        "-rf",
        "--help",
        ".",
    ),
    *("a\0b", "a\nb", "a\r\nb", "a\tb", "\x1b[2J", "\u202egnp.exe", "\ufeff", "é" * 3, "日本", "\U0001f600", "\ud800"),
    *("$(touch canary)", "`touch canary`", "; touch canary", "| touch canary", "&& touch canary", "'; touch canary; '"),
    *(
        '"; touch canary; "',
        "a\ntouch canary",
        "a\n#SBATCH --uid=0",
        "%j%A",
        "$HOME",
        "${HOME}",
        "$UNSET_HERE",
        "%s%n",
        "{0}",
    ),
    *("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "]]>", "<!--", "&lt;b&gt;", "javascript:alert(1)"),
    *(
        "</title><script>x</script>",
        "</pre></code><b>",
        "[a](javascript:x)",
        "![a](http://x/y)",
        "```\n# x",
        "| a | b |",
    ),
    *(
        "# h",
        "> q",
        "- i",
        "1. i",
        "***b***",
        "a_b_c",
        "_a_",
        "<b>",
        "\\<b>",
        "http://x.y/z",
        "\\",
        "\\\\",
        "`a`",
        "``a",
        "a|b",
    ),
    *(
        '#read("/etc/passwd")',
        '#import "x.typ"',
        "$ x $",
        "@ref",
        "<label>",
        "= h",
        "#let x = 1",
        "*b*",
        "\\u{41}",
        "//c",
    ),
    *(
        "\\write18{touch canary}",
        "\\input{/etc/passwd}",
        "\\immediate",
        "}{",
        "%",
        "&",
        "#",
        "~^_{}$",
        "\\end{table*}",
        "--",
    ),
    *(
        "!!python/object/apply:os.system ['touch canary']",
        "!!python/name:os.system",
        "*a",
        "&a b",
        "<<",
        "? x",
        "{a: ",
        "- [",
    ),
    *(
        "nan",
        "inf",
        "-inf",
        "1e999",
        "0x10",
        "1_0",
        "1:30",
        "2001-99-99",
        "2001-01-01",
        "true",
        "null",
        "~",
        "１２",
        "²",
        "0" * 50,
    ),
    *("9" * 20, "9" * 400, "9" * 5000, "-1", "1.5", "x" * 300, "x" * 5000, "resnet50_1x64d", "resnext11_4x3d_form-a"),
    *(
        "resnet11_1x99999999999999999999d",
        "resnext50_32x4d_small-0",
        "2*resnet50",
        "0*resnet50",
        "resnet50@1",
        "a:b",
        "x.py:f",
    ),
    *(
        "/dev/zero",
        "/dev/full",
        "/proc/self/mem",
        "n01440764",
        "train/x/y.jpg",
        "test",
        "validation",
        "fashion",
        "imagenet",
    ),
)
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        3,
        7,
        10,
        63,
        64,
        65,
        255,
        1000,
        10**6,
        2**31,
        2**63 - 1,
        2**63,
        -(2**63),
        10**30,
    ),
    *(
        0.0,
        -0.0,
        0.5,
        1.5,
        -1.5,
        1e-320,
        1e308,
        1e22,
        float("inf"),
        float("-inf"),
        float("nan"),
        [],
        {},
        [[]],
        [{}],
        {"": ""},
    ),
    *(
        [1],
        [0, 1],
        ["a"],
        {"a": 1},
        [None],
        {"base": "fashion"},
        {"name": "folder"},
        [1, 2, 3] * 50,
        {"test": {}},
        {"x": []},
    ),
    *(datetime.date(2001, 1, 1), datetime.datetime(2001, 1, 1), b"\0\xff"),
)
DEEP = 3000
"""Levels: more than Python's recursion limit."""
BLOBS = (
    *(
        b"\0",
        b"\xff",
        b"\xff" * 8,
        b"\0" * 64,
        b"\n",
        b"\r",
        b"\n\n",
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"\\",
        b"'",
        b"-",
    ),
    *(
        b"[" * DEEP,
        b'{"a":' * DEEP,
        b"- " * DEEP,
        b"1e999",
        b"NaN",
        b"-Infinity",
        b"9" * 5000,
        b"\\ud800",
        b"\xed\xa0\x80",
        b"\xc0",
    ),
    *(
        b"null",
        b"true",
        b"0",
        b"-1",
        b"&a [*a]",
        b"*a",
        b"!!python/object/apply:os.system ['touch canary']",
        b"<<: *a",
        b"%YAML 9",
    ),
    *(
        b"cos\nsystem\n(S'touch canary'\ntR.",
        b"\x80\x04\x95",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"\x1f\x8b\x08",
        b"ustar\x0000",
        b"PAR1",
    ),
    *(
        b"\x7f\xff\xff\xff",
        b"\xff\xff\xff\x7f",
        b"\0\0\0\1",
        b"\1\0\0\0",
        b"../../escaped",
        b"/etc/passwd",
        b"$(touch canary)",
        b"\t",
        b" ",
    ),
    *(
        b"a,b",
        b'"a\nb',
        b";",
        b"\xef\xbb\xbf",
        b"\x1b[2J",
        b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03",
        b"nan",
        b"inf",
    ),
)
ALIASES = "a: &a [x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 8)}]\n" for n in range(9)
)
"""A billion laughs: 8^10 words."""


@dataclass(frozen=True)
class Case:
    """What Hypothesis drew: of which kind, and changes, each (what to do, where, by what)."""

    kind: int
    changes: tuple[tuple[int, int, int], ...]
    raw: bytes = b""

    def pick(self, choices: Any, number: int = 0) -> Any:
        """One of some choices, by the numbers that were drawn."""
        what, where, by = self.changes[number % len(self.changes)]
        return choices[(where + 257 * by + 31 * what + number) % len(choices)]

    def word(self, number: int = 0) -> str:
        """A hostile word, or two of them joined."""
        first, second = self.pick(WORDS, number), self.pick(WORDS, number + 1)
        return first if self.kind % 3 else first + second

    def data(self, valid: bytes) -> bytes:
        """The file, changed; or in one of eight cases bytes that have nothing to do with it."""
        if self.kind == 7:
            return self.raw
        for what, where, by in self.changes:
            valid = _change(valid, what, where, by)
        return valid

    def tree(self, valid: Any) -> Any:
        """Plain values, changed."""
        value = copy.deepcopy(valid)
        for what, where, by in self.changes:
            value = _graft(value, what, where, by)
        return value

    def json(self, valid: Any) -> bytes:
        """A JSON file of changed values, or with changed bytes."""
        if self.kind < 5:
            return json.dumps(self.tree(valid), default=str).encode("utf-8", "surrogatepass")
        return self.data(json.dumps(valid).encode())


CASES = st.builds(
    Case,
    st.integers(0, 7),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 65535), st.integers(0, 255)), min_size=1, max_size=3).map(
        tuple
    ),
    st.binary(max_size=80),
)


def _change(data: bytes, what: int, where: int, by: int) -> bytes:
    """One change of bytes."""
    at = where % (len(data) + 1)
    end = min(len(data), at + 1 + by % 16)
    blob = BLOBS[by % len(BLOBS)]
    changed = {
        0: lambda: data[:at] + bytes([by]) + data[at + 1 :],
        1: lambda: data[:at] + bytes(byte ^ 1 << by % 8 for byte in data[at : at + 1]) + data[at + 1 :],
        2: lambda: data[:at] + blob + data[at:],
        3: lambda: data[:at] + blob + data[end:],
        4: lambda: data[:at] + data[end:],
        5: lambda: data[:at],
        6: lambda: data[at:],
        7: lambda: data[:end] + data[at:end] * (1 + by) + data[end:],
        8: lambda: data[:at] + data[end:] + data[at:end],
        9: lambda: data + blob,
    }
    return changed[what]()


def _graft(tree: Any, what: int, where: int, by: int) -> Any:
    """One change of a value, wherever it lies in a tree."""
    nodes = list(_nodes(tree))
    if not nodes:
        return VALUES[by % len(VALUES)]
    holder, key = nodes[where % len(nodes)]
    if what < 4:
        holder[key] = copy.deepcopy(VALUES[(by + where) % len(VALUES)])
    elif what < 7:
        holder[key] = WORDS[(by + where) % len(WORDS)]
    elif what == 7:
        del holder[key]
    elif what == 8 and isinstance(holder, dict):
        holder[WORDS[by % len(WORDS)]] = holder.pop(key)
    else:
        holder[key] = [holder[key]] * (1 + by % 3)
    return tree


def _nodes(tree: Any) -> Any:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        yield tree, key
        yield from _nodes(value)
