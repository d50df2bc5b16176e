"""`llama-gpt4 vocab`: learn pieces from texts, put them behind those of LLaMA's tokenizer, give the
embeddings of a model rows for them, and say what it saves."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_gpt4.answer import PATHS, quote_values
from llama_gpt4.architecture import LlamaConfig, described, from_hugging_face
from llama_gpt4.blocks import decoded
from llama_gpt4.cache import digest
from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError, require
from llama_gpt4.export import publish
from llama_gpt4.fields import text_of
from llama_gpt4.files import write_json
from llama_gpt4.help import wants_help
from llama_gpt4.hub import TOKENIZER_FILES, local_snapshot
from llama_gpt4.program import ExitReport, run_program
from llama_gpt4.prompt import CHAT_TEMPLATE
from llama_gpt4.records import json_values, parse_records, read_bytes, record_name

if TYPE_CHECKING:
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    from llama_gpt4.tokenizer import Tokenizer
    from llama_gpt4.vocabulary import Extension

REPORT = "vocabulary.json"
MAX_TOKENS = 2048
"""What a tokenizer says of a model's length where neither it nor a model says it."""


@dataclass(kw_only=True)
class BaseModel:
    """The model whose embeddings get the new rows."""

    path: str | None
    """A Hugging Face folder or hub name of a LLaMA, `model=…` is short; null: only a tokenizer is
    made."""


@dataclass(kw_only=True)
class VocabConfig:
    """What pieces are learned from, and what they are added to."""

    files: list[str]
    """Texts: a `.txt` file, which may be compressed as `.gz` or `.zst`, has one in each line; any
    other is a file of records, `sample:zh` the shipped one, or of objects with a `text`. All
    between ASCII characters is learned from."""
    tokenizer: str | None
    """A tokenizer.model or tokenizer.json of LLaMA's kind, its folder, or a hub name; null: that of
    the model."""
    model: BaseModel
    pieces: int
    """New pieces; those that occur once are not taken."""
    held_out_share: float
    """Share of the texts that nothing is learned from and that the report shows apart."""
    output: str
    """The new folder: tokenizer.model, tokenizer.json, the report `vocabulary.json`, and the model
    where there is one."""

    def __post_init__(self) -> None:
        require(bool(self.files), "files=[] names no text: name a file, or sample:zh")
        require(self.pieces > 0, f"pieces={self.pieces} must be positive")
        share = self.held_out_share
        require(0 <= share < 1, f"held_out_share={share} is not within [0, 1)")
        require(
            self.tokenizer is not None or self.model.path is not None,
            "tokenizer and model are both null: name one that the pieces are added to",
        )


def main(argv: Sequence[str] | None = None) -> int:
    paths = PATHS | {"tokenizer": "tokenizer", "output": "output"}
    arguments = quote_values(sys.argv[1:] if argv is None else argv, paths)
    if wants_help("vocab", VocabConfig, arguments):
        return 0
    return run_program("vocab", lambda report: run(arguments, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """Write the folder that the command line asks for, and print what came of it."""
    config = compose(VocabConfig, "vocab", arguments)
    from llama_gpt4.tokenizer import Tokenizer
    from llama_gpt4.vocabulary import extended, learn, require_same_ids, sentencepiece_model
    from llama_gpt4.vocabulary_report import Report, report_lines

    output = Path(config.output)
    require(not output.exists(), f"output={output} exists: name another, or delete it first")
    texts = read_texts(config)
    folder = None if config.model.path is None else local_snapshot(config.model.path)
    path = _tokenizer_path(config, folder)
    old = Tokenizer.load(path)
    architecture = None if folder is None else _fitting_architecture(folder, old.vocab_size)
    base = sentencepiece_model(old, str(path))
    require_same_ids(old, base, texts["training"], str(path))
    extension = learn(base, texts["training"], config.pieces)
    _require_enough(extension, config)

    partial = output.with_name(output.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        model = extended(base, extension.pieces)
        new = _save_tokenizer(model, path, architecture, partial)
        require_same_ids(new, model, texts["training"], str(output))
        if folder is not None and architecture is not None:
            _save_model(folder, architecture, old, extension, partial)
        found = Report.of(old, new, extension, texts)
        write_json(partial / REPORT, asdict(found))
        publish(partial, output)
    except OSError as error:
        raise InputError(f"{output} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(*report_lines(found), f"-> {output}", sep="\n")


def read_texts(config: VocabConfig) -> dict[str, list[str]]:
    """`training` and `held_out`; a text's content says which, so that one that occurs twice is on
    one side."""
    texts: dict[str, list[str]] = {"training": [], "held_out": []}
    for file in config.files:
        for text in _texts_of(file):
            draw = int(digest(text.encode())[:8], 16) / 16**8
            texts["held_out" if draw < config.held_out_share else "training"].append(text)
    return texts


def _texts_of(file: str) -> list[str]:
    if file.removesuffix(".gz").removesuffix(".zst").endswith(".txt"):
        return [line for line in decoded(read_bytes(file), file).split("\n") if line.strip()]
    content = read_bytes(file)
    values = json_values(content, file)
    if values and all(_is_text(value) for _, value in values):
        return [text_of(value["text"], "text", record_name(file, i)) for i, value in values]
    return ["\n".join(each) for r in parse_records(content, file) for each in r.exchanges]


def _is_text(value: Any) -> bool:
    """Whether `value` is a line of a corpus and no record."""
    return isinstance(value, dict) and "text" in value and "instruction" not in value


def _tokenizer_path(config: VocabConfig, model: Path | None) -> Path:
    if config.tokenizer is None:
        assert model is not None  # VocabConfig asks for one of the two
        return model
    if Path(config.tokenizer).is_file():
        return Path(config.tokenizer)
    return local_snapshot(config.tokenizer, key="tokenizer", wanted=TOKENIZER_FILES)


def _fitting_architecture(folder: Path, n_pieces: int) -> LlamaConfig:
    """Of the model in `folder`, whose rows must be those of a tokenizer of `n_pieces`."""
    from llama_gpt4.vocabulary import ROW_MULTIPLE

    architecture = from_hugging_face(described(folder))
    rows = architecture.vocab_size
    is_padded = rows > n_pieces and rows % ROW_MULTIPLE == 0
    require(
        rows == n_pieces or is_padded,
        f"{folder} has {rows:,} rows of embeddings, the tokenizer {n_pieces:,} pieces: name the "
        "model's own tokenizer, or none",
    )
    return architecture


def _require_enough(extension: "Extension", config: VocabConfig) -> None:
    found = len(extension.pieces)
    if found == 0:
        raise InputError(
            f"{', '.join(config.files)}: nothing to learn, since beyond ASCII no text occurs twice "
            "that is not a piece already"
        )
    require(
        found == config.pieces,
        f"pieces={config.pieces} are more than these texts yield: give more text, or set pieces to "
        f"{found} or less",
    )


def _save_tokenizer(
    model: "ModelProto", base: Path, architecture: LlamaConfig | None, folder: Path
) -> "Tokenizer":
    """Write `model` to `folder` in both formats, with what stands beside `base`."""
    from llama_gpt4.tokenizer import Tokenizer, read_object

    beside = base if base.is_dir() else base.parent
    said = read_object(beside / "tokenizer_config.json")
    template = said.get("chat_template")
    if (beside / "chat_template.jinja").is_file():
        template = (beside / "chat_template.jinja").read_text(encoding="utf-8")
    if not isinstance(template, str):  # none, or several of which each has a name
        template = CHAT_TEMPLATE
    max_tokens = said.get("model_max_length", MAX_TOKENS)
    if architecture is not None:
        max_tokens = architecture.max_positions
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    tokenizer = Tokenizer.load(folder)
    tokenizer.save(folder, chat_template=template, max_tokens=max_tokens)
    return tokenizer


def _save_model(
    source: Path, architecture: LlamaConfig, old: "Tokenizer", extension: "Extension", folder: Path
) -> None:
    from llama_gpt4.embeddings import write_extended
    from llama_gpt4.vocabulary import n_rows

    spellings = [ids[:-1] for ids in old.encode_answers(extension.pieces)]
    write_extended(source, architecture, old.vocab_size, spellings, folder)
    rows = n_rows(old.vocab_size + len(spellings))
    write_json(folder / "config.json", described(source) | {"vocab_size": rows})
    if (source / "generation_config.json").is_file():
        shutil.copyfile(source / "generation_config.json", folder / "generation_config.json")


if __name__ == "__main__":
    sys.exit(main())
