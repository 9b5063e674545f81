"""The JSON of pgkeep's small documents, read and hashed without json where they are plain.

json takes 5 ms to import, with re behind it: an eighth of what a WAL command may cost, which reads
one document of five lines. What is not plain goes to json; a property test compares them.
"""

from collections.abc import Mapping

from pgkeep.light_typing import Any


def loads(content: bytes) -> Any:
    """json.loads()."""
    plain = read_plain(content)
    if plain is not None:
        return plain
    import json

    return json.loads(content)


def canonical(facts: Mapping[str, Any]) -> bytes:
    """Return the one spelling of some facts that is hashed: keys sorted, no white space, ASCII."""
    spelled = {key: _spell(value) for key, value in facts.items()}
    if all(spelled.values()) and all(map(_is_plain, facts)):
        fields = ",".join(f'"{key}":{spelled[key]}' for key in sorted(spelled))
        return f"{{{fields}}}".encode()
    import json

    return json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()


def read_plain(content: bytes) -> dict[str, str | int | None] | None:
    """Read an object of one `"key": value` a line, of plain text, digits and null; else None."""
    lines = content.decode("latin-1").split("\n")
    if len(lines) < 4 or (lines[0], lines[-2], lines[-1]) != ("{", "}", ""):
        return None
    facts: dict[str, str | int | None] = {}
    for line in lines[1:-3]:
        if line[-1:] != "," or not _read_line(line[:-1], facts):
            return None
    return facts if _read_line(lines[-3], facts) else None


def _read_line(line: str, facts: dict[str, str | int | None]) -> bool:
    key, colon, text = line.strip(" ").partition('": ')
    name = key[1:]
    if not colon or key[:1] != '"' or not _is_plain(name) or name in facts:
        return False
    if text[:1] == text[-1:] == '"' and len(text) > 1 and _is_plain(text[1:-1]):
        facts[name] = text[1:-1]
    elif text == "null":
        facts[name] = None
    elif text.isascii() and text.isdigit() and (text[0] != "0" or text == "0") and len(text) < 20:
        facts[name] = int(text)
    else:
        return False
    return True


def _spell(value: object) -> str:
    """Return a plain value as JSON; '' if it is none."""
    if value is None:
        return "null"
    if type(value) is int:
        return str(value)
    return f'"{value}"' if type(value) is str and _is_plain(value) else ""


def _is_plain(text: object) -> bool:
    """Tell whether JSON spells this as it is."""
    return (
        isinstance(text, str)
        and text.isascii()
        and text.isprintable()
        and '"' not in text
        and "\\" not in text
    )
