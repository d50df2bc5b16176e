"""Mappings as one types them on a command line, such as `answers={mine: a.jsonl, r1: b.jsonl}`."""

import re

_PARTS = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{}\[\](),:]|[^\s{}\[\](),:"']+)""")


def repeated_name(text: str) -> str | None:
    """A name that a mapping in `text` has twice: of such, Hydra keeps the last and says nothing."""
    open_names: list[set[str] | None] = []  # of each bracket, None where it is no mapping's
    name = ""  # what stands since the last brace or comma of a mapping
    for part in _PARTS.findall(text):
        if part in "{[(":
            open_names.append(set() if part == "{" else None)
            name = ""
        elif part in "}])":
            open_names = open_names[:-1]
            name = ":"  # within a value, until the next comma
        elif part == ",":
            name = ""
        elif part != ":":
            name += part
        elif open_names and (names := open_names[-1]) is not None and ":" not in name:
            own = name.strip("\"'")
            if own in names:
                return own
            names.add(own)
            name = ":"
    return None
