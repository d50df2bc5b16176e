"""Text to token ids and back, with LLaMA's own vocabulary or one trained here.

There is one backend, the `tokenizers` library. LLaMA's tokenizer.model, a SentencePiece BPE, is
converted to its form and gives the same ids exactly. A text is data: "</s>" in a record is four
characters, never the end of an answer. So the tokenizers that encode know no special token by its
name; the one that is saved does.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, processors

from llama_gpt4.errors import InputError
from llama_gpt4.sentencepiece_training import TooFewPieces, train_sentencepiece
from llama_gpt4.words import BYTE_PIECES, MARK, Encoded, WordEncoder, joined

log = logging.getLogger(__name__)

Json = dict[str, Any]
NO_PREFIX: Json = {"prepend_scheme": "never", "add_prefix_space": False}
INSTEAD = "put a tokenizer.json in its place, or use LLaMA's own"


class Tokenizer:
    """Encodes prompts and answers apart, so that no token lies across the border of the two."""

    def __init__(self, full: Backend, special: dict[str, str], file: Path) -> None:
        """`special` names the bos, eos, unk and pad token of `full`, which was read from `file`."""
        ids = full.get_vocab(with_added_tokens=True)
        bos, eos, unk = special["bos"], special["eos"], special["unk"]
        if bos == eos or not {bos, eos} <= ids.keys():
            raise InputError(
                f"{file}: BOS {bos!r} and EOS {eos!r} must be two different tokens of it: name "
                "them as bos_token and eos_token in tokenizer_config.json beside it"
            )
        self.bos_id, self.eos_id, self.unk_id = ids[bos], ids[eos], ids.get(unk)
        self.vocab_size = max(ids.values()) + 1  # rows of embeddings: added tokens count
        self._full = full
        self.special = {role: name for role, name in special.items() if name in ids}
        self.model_file = None if file.suffix == ".json" else file.read_bytes()

        full.add_special_tokens([name for name in (bos, eos, unk) if name in ids])
        full.post_processor = processors.TemplateProcessing(
            single=[bos, "$A"], pair=[bos, "$A", bos, "$B"], special_tokens=[(bos, self.bos_id)]
        )
        hidden = {t.content for t in full.get_added_tokens_decoder().values() if t.special}
        self._hidden_ids = {ids[name] for name in hidden}
        plain = _without_special_tokens(json.loads(full.to_str()), hidden)
        self._facts = json.dumps(plain, sort_keys=True).encode()
        self._start = Backend.from_str(json.dumps(plain))
        edges = json.dumps({key: plain[key] for key in ("normalizer", "pre_tokenizer", "decoder")})
        bare = json.loads(edges, object_hook=_without_dummy_prefix)
        self._continuation = Backend.from_str(json.dumps(plain | bare))
        self._words = WordEncoder.of(plain, self._continuation, (self.bos_id, self.eos_id))
        has_bytes = plain["model"]["byte_fallback"] and ids.keys() >= set(BYTE_PIECES)
        self._mark_ids = [ids[BYTE_PIECES[byte]] for byte in MARK.encode() if has_bytes]
        # A newline is a byte piece in every text: it does not count as one that has no piece.
        self.fallback_ids = [ids[piece] for piece in BYTE_PIECES[0x80:] if has_bytes]
        """Of the pieces that spell characters which have none; empty: there is no such spelling."""

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """The tokenizer of a folder or file; a folder's tokenizer.model comes before its JSON."""
        names = ("", "tokenizer.model", "tokenizer.json")
        files = [path / name for name in names if (path / name).is_file()]
        if not files:
            raise InputError(
                f"{path} is no tokenizer, nor a folder with tokenizer.model or tokenizer.json: "
                "name one by the key `tokenizer` or `tokenizer.path`"
            )
        if files[0].suffix != ".json":
            try:
                return cls(*_from_sentencepiece(files[0]), files[0])
            except InputError as error:
                if len(files) == 1:
                    raise
                log.info("%s; tokenizer.json beside it is used", error)  # LLaMA-3: it is tiktoken's
        return cls(*_from_json(files[-1]), files[-1])

    def encode_prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """For each text BOS and its ids."""
        return [[self.bos_id, *ids] for ids in _encode(self._start, texts)]

    def encode_answers(self, texts: Sequence[str]) -> list[list[int]]:
        """For each text its ids where it continues another text, and EOS.

        U+2581 itself is spelled in bytes: its piece means a space and would come back as one.
        """
        split = [text.split(MARK) if self._mark_ids else [text] for text in texts]
        encoded = iter(_encode(self._continuation, [part for parts in split for part in parts]))
        answers = []
        for parts in split:
            ids = next(encoded)
            for _ in parts[1:]:
                ids = ids + self._mark_ids + next(encoded)
            answers.append([*ids, self.eos_id])
        return answers

    def encode_examples(self, prompts: Sequence[str], answers: Sequence[str]) -> Encoded:
        """The same of many prompts and their answers: quicker, where a text is made of words."""
        if self._words is None:
            return joined(self.encode_prompts(prompts), self.encode_answers(answers))
        return self._words.encode(prompts, answers)

    def encode(self, text: str) -> list[int]:
        """The ids of a text without BOS and EOS: those of SentencePiece, if it is SentencePiece."""
        return _encode(self._start, [text])[0]

    def decode(self, ids: Sequence[int], *, continuation: bool = False) -> str:
        """The text of `ids` without special tokens; `continuation` for ids of an answer."""
        backend = self._continuation if continuation else self._start
        kept = [id for id in ids if id not in self._hidden_ids]
        return str(backend.decode(kept, skip_special_tokens=False))

    def fingerprint(self) -> str:
        """A hash of everything that decides ids."""
        ids = [self.bos_id, self.eos_id, self.unk_id, self.vocab_size]
        return hashlib.sha256(self._facts + json.dumps(ids).encode()).hexdigest()

    def spec(self) -> Json:
        """What tokenizer.json holds."""
        return dict(json.loads(self._full.to_str()))

    def save(self, folder: Path, *, chat_template: str, max_tokens: int) -> None:
        """Write what `transformers` loads, and tokenizer.model if it came from one.

        The class is PreTrainedTokenizerFast, which takes tokenizer.json as it is. LlamaTokenizer of
        `transformers` 5 builds another one from the same vocabulary: spaces get other ids.
        """
        bos, eos, unk, pad = (self.special.get(role) for role in ("bos", "eos", "unk", "pad"))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": bos,
            "eos_token": eos,
            "unk_token": unk,
            "pad_token": unk or (pad if pad != eos else None),
            "add_bos_token": True,
            "add_eos_token": False,
            "model_max_length": max_tokens,
            "padding_side": "right",
            "clean_up_tokenization_spaces": False,
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(self._full.to_str(), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
        (folder / "chat_template.jinja").write_text(chat_template, encoding="utf-8")
        if self.model_file is not None:
            (folder / "tokenizer.model").write_bytes(self.model_file)


def train_tokenizer(texts: Iterable[str], vocab_size: int, model_path: Path) -> None:
    """Train a vocabulary of LLaMA's kind; little text may yield fewer than `vocab_size` pieces.

    As in LLaMA's, a newline is the byte piece <0x0A>, so lines can be trained on one by one; unk,
    bos and eos are 0, 1 and 2, and there is no pad.
    """
    lines = [line for text in texts for line in text.split("\n") if line.strip()]
    if not lines:
        raise InputError("data.files hold no text to train a tokenizer on: add some")
    try:
        model = train_sentencepiece(lines, vocab_size)
    except TooFewPieces as error:
        raise InputError(
            f"tokenizer.vocab_size={vocab_size} is too small: bytes, special tokens and the data's "
            f"characters make {error.needed} pieces already"
        ) from None
    partial = model_path.with_name(f"{model_path.name}.partial")
    partial.write_bytes(model)
    partial.replace(model_path)


def _from_sentencepiece(file: Path) -> tuple[Backend, dict[str, str]]:
    """A SentencePiece BPE as the backend, and its special tokens; an error if not exactly so."""
    from sentencepiece import SentencePieceProcessor
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    try:
        data = SentencePieceProcessor(model_proto=file.read_bytes()).serialized_model_proto()
    except RuntimeError:
        raise InputError(f"{file} is not a SentencePiece model: {INSTEAD}") from None
    model = ModelProto.FromString(data)
    Kind, training, normalization = model.SentencePiece, model.trainer_spec, model.normalizer_spec
    normal = {piece.piece: piece.score for piece in model.pieces if piece.type == Kind.NORMAL}
    # Where different pieces share a score, position decides, which the backend's ranks do not know.
    # LLaMA's runs of spaces do share one; `_merges` sees to them.
    long = [piece for piece in normal if len(piece) > 1 and piece.strip(MARK)]
    kinds = {piece.type for piece in model.pieces}
    faults = {
        "is not BPE": training.model_type != training.BPE,
        "has user-defined or unused pieces": kinds & {Kind.USER_DEFINED, Kind.UNUSED},
        "lacks byte pieces": [p.piece for p in model.pieces if p.type == Kind.BYTE] != BYTE_PIECES,
        "has pieces of equal score": len({normal[piece] for piece in long}) < len(long),
        "changes characters": normalization.precompiled_charsmap,
        "treats spaces unlike LLaMA's": normalization.remove_extra_whitespaces
        or not normalization.escape_whitespaces
        or training.treat_whitespace_as_suffix,
    }
    if found := [fault for fault, is_there in faults.items() if is_there]:
        raise InputError(f"{file} {found[0]}, so its ids cannot be given exactly: {INSTEAD}")

    vocab = {piece.piece: i for i, piece in enumerate(model.pieces)}
    unk = training.unk_piece
    bpe = models.BPE(vocab, _merges(normal), unk_token=unk, fuse_unk=True, byte_fallback=True)
    full = Backend(bpe)
    spaces: list[normalizers.Normalizer] = [normalizers.Replace(" ", MARK)]
    back = [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    if normalization.add_dummy_prefix:
        spaces.insert(0, normalizers.Prepend(MARK))
        back.append(decoders.Strip(" ", 1, 0))
    full.normalizer, full.decoder = normalizers.Sequence(spaces), decoders.Sequence(back)
    special = (Kind.UNKNOWN, Kind.CONTROL)
    full.add_special_tokens([piece.piece for piece in model.pieces if piece.type in special])
    beside = read_object(file.with_name("tokenizer.json")).get("added_tokens", [])
    added = {token["content"]: token["id"] for token in beside}
    added |= read_object(file.with_name("added_tokens.json"))
    for name in sorted(added, key=lambda name: int(added[name])):
        if added[name] >= len(vocab):  # such as [PAD], which Alpaca's recipe added
            full.add_special_tokens([name])
        if full.token_to_id(name) != added[name]:
            raise InputError(f"{file} and the files beside it differ on {name!r}: {INSTEAD}")
    return full, {"bos": training.bos_piece, "eos": training.eos_piece, "unk": unk}


def _merges(pieces: dict[str, float]) -> list[tuple[str, str]]:
    """Pairs of pieces that make a piece, best score first.

    SentencePiece merges equal scores from the left, so a run of spaces grows to its full length
    before the next one begins; with the longest run first the backend does the same.
    """
    makeable = sorted(pieces, key=lambda piece: (-pieces[piece], -len(piece)))
    cuts = [(piece[:k], piece[k:]) for piece in makeable for k in range(1, len(piece))]
    return [(left, right) for left, right in cuts if left in pieces and right in pieces]


def _from_json(file: Path) -> tuple[Backend, dict[str, str]]:
    """A tokenizer.json as the backend, and its special tokens by the files beside it."""
    try:
        full = Backend.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"{file} is not a tokenizer.json ({error}): {INSTEAD}") from None
    if not isinstance(full.model, models.BPE):
        raise InputError(f"{file} is not a BPE tokenizer: {INSTEAD}")
    full.no_truncation()
    full.no_padding()
    special = {"bos": "<s>", "eos": "</s>", "unk": full.model.unk_token or "<unk>"}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        for key, token in read_object(file.with_name(name)).items():
            text = token.get("content") if isinstance(token, dict) else token
            if key in ("bos_token", "eos_token", "unk_token", "pad_token") and text:
                special[key.removesuffix("_token")] = text
    return full, special


def _encode(backend: Backend, texts: Sequence[str]) -> list[list[int]]:
    return [e.ids for e in backend.encode_batch_fast(list(texts), add_special_tokens=False)]


def read_object(file: Path) -> Json:
    """The object in a JSON file; an empty one if there is no file."""
    try:
        return dict(json.loads(file.read_bytes())) if file.exists() else {}
    except (TypeError, ValueError) as error:
        raise InputError(f"{file} is no JSON object ({error}): download it again") from None


def _without_special_tokens(spec: Json, hidden: set[str]) -> Json:
    """`spec` with the `hidden` tokens under names that no text can spell."""
    model = spec["model"]
    unmade = hidden | (set(BYTE_PIECES) if model["byte_fallback"] else set())
    vocab = {f"{name} " if name in hidden else name: id for name, id in model["vocab"].items()}
    merges = [m for m in model["merges"] if "".join(m) not in unmade and not hidden.intersection(m)]
    unk = f"{model['unk_token']} " if model["unk_token"] in hidden else model["unk_token"]
    return spec | {
        "added_tokens": [token for token in spec["added_tokens"] if token["content"] not in hidden],
        "post_processor": None,
        "model": model | {"vocab": vocab, "merges": merges, "unk_token": unk, "dropout": None},
    }


def _without_dummy_prefix(part: Json) -> Json | None:
    """A JSON object of a tokenizer; None, or changed, if it adds or strips a text's first space."""
    if part.get("type") in ("Prepend", "Strip"):
        return None
    part = part | {key: NO_PREFIX[key] for key in NO_PREFIX.keys() & part.keys()}
    return {k: [p for p in v if p] if isinstance(v, list) else v for k, v in part.items()}
