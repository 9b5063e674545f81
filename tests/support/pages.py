"""Worked examples out of the pages of docs/formats: the pages are the fixtures."""

import re
from pathlib import Path
from typing import Any

FORMATS = Path(__file__).parents[2] / "docs" / "formats"


def block(page: str, title: str, language: str) -> str:
    """Return the first fenced block of a language below a heading."""
    text = (FORMATS / page).read_text(encoding="utf-8")
    section = re.split(rf"^#+ {re.escape(title)}$", text, maxsplit=1, flags=re.MULTILINE)
    assert len(section) == 2, f"{page} has no heading {title!r}"
    found = re.search(rf"^```{language}\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)
    assert found is not None, f"{page} has no {language} block below {title!r}"
    return found[1]


def hex_example(page: str, title: str) -> bytes:
    """Return the bytes of a dump: offset, up to 16 bytes in hex, and the text between bars."""
    content = b""
    for line in block(page, title, "hex").splitlines():
        offset, _, rest = line.partition("  ")
        assert int(offset, 16) == len(content), f"{page}: {line!r} is at {len(content):x}"
        content += bytes.fromhex(rest.partition("|")[0])
    return content


def json_example(page: str, title: str) -> bytes:
    """Return a JSON document as it is stored."""
    return block(page, title, "json").encode()


def dump(content: bytes) -> str:
    """Return what hex_example() reads; for writing new pages."""
    lines = []
    for at in range(0, len(content), 16):
        row = content[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:08x}  {row.hex(' '):<47}  |{text}|")
    return "\n".join(lines)


def table(page: str, title: str) -> list[tuple[int, int, str]]:
    """Return offset, size and name of each row of the first table below a heading."""
    text = (FORMATS / page).read_text(encoding="utf-8")
    section: Any = text.partition(f"# {title}\n")[2]
    rows = re.findall(
        r"^\| (\d+) \| (\d+) \| ([^|]+?) \|", section.partition("\n#")[0], re.MULTILINE
    )
    return [(int(offset), int(size), name) for offset, size, name in rows]
