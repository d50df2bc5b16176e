"""What a user types as `key=value`, for Hydra's grammar; and what it says of it, for a user."""

import difflib
import re
from importlib import resources

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import MissingConfigException

from llama_gpt4.schema import keys_of, mappings, nearest


def quoted(text: str) -> str:
    """Any text as the value of an override."""
    return "'" + text.replace("'", "\\'") + "'"


def quoted_override(override: str) -> str:
    """Words with letters beyond A to Z in quotes: Hydra's grammar knows no others outside them."""
    key, equals, value = override.partition("=")
    words = re.compile(r"""("[^"]*"|'[^']*'|[^\s\[\]{}(),"']+)""")
    quoted = words.sub(
        lambda word: word[0] if word[0].isascii() or word[0][0] in "\"'" else f'"{word[0]}"', value
    )
    return key + equals + quoted


def open_to_new_keys(schema: type, override: str) -> str:
    """Hydra knows no key that is not in the YAML, but a mapping of any keys is there for such."""
    key = override.partition("=")[0]
    is_below = any(f"{key}.".startswith(f"{name}.") for name in mappings(schema))
    return f"++{override}" if is_below else override


def bad_override(schema: type, typed: dict[str, str], error: Exception) -> str:
    """What Hydra refused, as one line; `typed` gives for each override as Hydra got it what the
    user typed."""
    known = {key for key, _ in keys_of(schema)}
    message = str(error)
    for override in OverridesParser.create().parse_overrides(list(typed)):
        key = override.key_or_group.split("@")[0].replace("/", ".")
        strange = not _is_group(key) or f"override '{override.key_or_group}'" in message
        if key not in known and not override.is_add() and strange:
            return f"{key} is not a key of this program{nearest(schema, key)}"
    for quoted, override in typed.items():
        # From the sign on: Hydra shows some overrides without the + in front of them.
        message = message.replace(quoted[quoted.find("=") :], override[override.find("=") :])
    return " ".join(message.split())


def missing_group(error: MissingConfigException) -> str:
    """`group=name` where there is no such name: those that there are."""
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    if not group:
        return " ".join(str(error).split())
    options = ", ".join(error.options or [])
    near = difflib.get_close_matches(name, error.options or [], n=1)
    hint = f"; did you mean {group}={near[0]}?" if near else ""
    return f"{group}={name} does not exist: there are {options}{hint}"


def _is_group(key: str) -> bool:
    return resources.files("llama_gpt4_conf").joinpath(*key.split(".")).is_dir()
