"""What a model was made from, files of data and the model that it began as, each with the licences
that its own papers state.

Papers are the provenance in the records, the card (README.md) in a file's folder or a base model's,
and for the paper's published files their content. What they do not say, the user has to.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llama_gpt4.cards import card_licences, card_terms
from llama_gpt4.config import RunConfig
from llama_gpt4.containers import HUB
from llama_gpt4.errors import InputError
from llama_gpt4.frozen_config import load_resolved
from llama_gpt4.hub import hub_card
from llama_gpt4.language import language_of
from llama_gpt4.licences import licence_of
from llama_gpt4.records import is_path, json_values, origins, read_bytes

log = logging.getLogger(__name__)

PUBLISHED = {
    "25508714b7879a1e5a6764ba7f979a980f549f1a": "alpaca_gpt4_data.json",
    "af092742e9bc3b83fa6feb13203b793aafc9dffc": "alpaca_gpt4_data_zh.json",
    "decb04ca4c911d821a67364dfe058c4d383f241e": "comparison_data_v2.json",
    "b2ff691552defddbbe5ca4a1be792c26f852d917": "unnatural_instruction_gpt4_data.json",
    "3779ddbc040543ab1834ef216c983d6fcc06cc9a": "alpaca_data.json",
}
"""The paper's files and Alpaca's, by the hash that git gives their content."""
PUBLISHED_LICENCE = "cc-by-nc-4.0"
PUBLISHED_TERMS = (
    "Made with OpenAI's models, whose terms of use forbid using their answers to develop models "
    "that compete with OpenAI's."
)
READ_FOR_LANGUAGE = 200
"""Records of a file, spread over it, that say which languages it is in."""
LANGUAGE_SHARE = 0.05
"""Of those records; what fewer are in is quoted, not taught."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """One thing that a model was made from."""

    name: str
    """A file's or folder's own name: where it lay on somebody's disk is nobody's business."""
    is_data: bool
    licences: tuple[str, ...]
    """Those that its papers and the user state, as they write them."""
    terms: str = ""
    """What else its card says that its users are bound by."""
    sha256: str | None = None
    """Of a file that is still there."""
    languages: tuple[str, ...] = ()

    @property
    def has_known_licence(self) -> bool:
        """Whether one of its licences is one that the gate can weigh."""
        return any(licence_of(name) for name in self.licences)


def materials_of(config: RunConfig) -> list[Material]:
    """What the run's model was made from, also by the run whose model it began as."""
    data = [_data(file) for file in config.data.files]
    return [*data, *_base(config)]


def with_stated(
    materials: Sequence[Material], data: Mapping[str, str], base: str | None
) -> list[Material]:
    """`materials` with the licences that the user states; they come beside what papers say, so
    that nobody can talk a licence away."""
    files = [material.name for material in materials if material.is_data]
    for name in data:
        if name not in files:
            raise InputError(f"data_licences names {name}; the model's data are {', '.join(files)}")
    if base is not None and len(files) == len(materials):
        raise InputError(f"base_licence={base}, but the model was not made from another: drop it")
    return [
        replace(material, licences=(*dict.fromkeys((*material.licences, stated)),))
        if (stated := data.get(material.name) if material.is_data else base)
        else material
        for material in materials
    ]


def _data(file: str) -> Material:
    name = file_name(file)
    try:
        content = read_bytes(file)
    except InputError as error:
        log.warning("%s: its papers cannot be looked at", error)
        return Material(name=name, is_data=True, licences=())
    try:
        values = json_values(content, file)
    except InputError:  # somebody has changed it since; the card may still say more
        values = []
    licences, terms = _papers(file, content, values)
    return Material(
        name=name,
        is_data=True,
        licences=(*dict.fromkeys(licences),),
        terms=terms,
        sha256=hashlib.sha256(content).hexdigest(),
        languages=_languages(values),
    )


def file_name(file: str) -> str:
    """A file's own name, with its folder's where it is what every data set of ours is called; of
    the hub, the repository's."""
    if file.startswith(HUB):
        return file.removeprefix(HUB).partition(":")[0]
    if not is_path(file):
        return file
    path = Path(file)
    return f"{path.parent.name}/{path.name}" if path.stem == "data" else path.name


def _papers(file: str, content: bytes, values: Sequence[tuple[int, Any]]) -> tuple[list[str], str]:
    """The licences of a file of data, and more terms."""
    if file.startswith("sample:"):
        return ["apache-2.0"], ""
    of_git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    if of_git.hexdigest() in PUBLISHED:
        return [PUBLISHED_LICENCE], PUBLISHED_TERMS
    in_records = [str(origin["licence"]) for origin in origins(values) if origin.get("licence")]
    if file.startswith(HUB):
        card = hub_card(file_name(file), "dataset")
    else:
        card = _card(Path(file) if Path(file).is_dir() else Path(file).parent)
    return [*in_records, *card_licences(card)], card_terms(card)


def _base(config: RunConfig) -> list[Material]:
    path = config.model.path
    if path is None:
        return []
    folder = Path(path)
    if folder.name == "model" and (folder.parent / "config.yaml").is_file():
        return materials_of(load_resolved(folder.parent / "config.yaml"))
    is_here = folder.is_absolute()  # the frozen configuration leaves names of the hub alone
    card = _card(folder) if is_here else hub_card(path, "model")
    return [
        Material(
            name=folder.name if is_here else path,
            is_data=False,
            licences=(*dict.fromkeys(card_licences(card)),),
            terms=card_terms(card),
        )
    ]


def _card(folder: Path) -> str:
    path = folder / "README.md"
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error


def _languages(values: Sequence[tuple[int, Any]]) -> tuple[str, ...]:
    """`en` and `zh`, as far as a good part of the records is in them."""
    spread = values[:: max(1, len(values) // READ_FOR_LANGUAGE)]
    found = [language_of(" ".join(_texts(value))) for _, value in spread]
    return tuple(name for name in ("en", "zh") if found.count(name) > LANGUAGE_SHARE * len(found))


def _texts(value: Any) -> list[str]:
    """The texts of a record, without its provenance."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        inner = [each for key, each in value.items() if key not in ("id", "provenance", "source")]
    else:
        inner = list(value) if isinstance(value, list) else []
    return [text for each in inner for text in _texts(each)]
