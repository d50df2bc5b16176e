"""More pieces for a SentencePiece BPE, such that a text without any of them keeps its ids.

SentencePiece joins the neighbours whose union has the best score, until no union is a piece. New
pieces stand behind the old ones and score less than all of them, so a text is first cut as ever,
and only what comes out is joined further. What is trained on is the text between ASCII characters:
no new piece holds one, and English and code keep their ids whatever was learned.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from llama_gpt4.errors import InputError
from llama_gpt4.sentencepiece_training import N_RESERVED, train_sentencepiece
from llama_gpt4.tokenizer import BYTE_PIECES, MARK, Tokenizer

if TYPE_CHECKING:
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

ROW_MULTIPLE = 64
"""What the number of embeddings is rounded up to: matrix products are fastest on whole tiles."""
LEAST_COUNT = 2
"""What occurs once is a quotation: its row would be trained once, if ever."""
LONGEST = 16
"""Characters of a piece: SentencePiece's own limit."""
SPACES_SCORE = -1e9
"""Of LLaMA's runs of spaces, which thereby join last."""
ONLY = "pieces can be added to a tokenizer of LLaMA-1's and 2's kind only"
PROBES = ("", " ", "  a", "a  b   c", " " * 40, "\n\n", "\t", "é龘", "👩\u200d👧", "<0x0A>", "2023")
N_COMPARED = 2000

_FOREIGN = re.compile(f"[^\\x00-\\x7f{MARK}]+")


@dataclass(frozen=True)
class Extension:
    """New pieces, and what became of those that were not taken."""

    pieces: list[str]
    """Best score first; characters last, whose scores decide nothing."""
    n_duplicate: int
    """Learned, but a piece already."""
    n_unreachable: int
    """Learned, but old pieces cut their text such that no joining of two neighbours makes them."""


def n_rows(n_pieces: int) -> int:
    """Embeddings for a tokenizer of `n_pieces`."""
    return -(-n_pieces // ROW_MULTIPLE) * ROW_MULTIPLE


def learn(model: "ModelProto", texts: Iterable[str], n_pieces: int) -> Extension:
    """The `n_pieces` that save most tokens of `texts`; fewer where there are no more.

    What is learned does not depend on how many are asked for, so `n` pieces can be had wherever
    more than `n` can.
    """
    runs = [run for text in texts for run in _FOREIGN.findall(text)]
    if not runs:
        return Extension([], 0, 0)
    n_merges = 2 * n_pieces
    while True:
        merges, is_all = _merges(runs, n_merges)
        extension = _chosen(model, _counts(runs, merges), merges, n_pieces)
        if is_all or len(extension.pieces) == n_pieces:
            return extension
        n_merges *= 4


def extended(model: "ModelProto", pieces: Sequence[str]) -> "ModelProto":
    """`model` with `pieces` behind its own."""
    longer = type(model)()
    longer.CopyFrom(model)
    scores = _scores(model)
    # Spaces may score far less, -1e9, and a float there knows no steps of one. They are joined with
    # nothing but spaces: no new piece competes with them.
    lowest = min(score for piece, score in scores.items() if piece.strip(MARK))
    for place, piece in enumerate(pieces, 1):
        longer.pieces.add(piece=piece, score=lowest - place)
    longer.trainer_spec.vocab_size = len(longer.pieces)
    return longer


def cut(text: str, scores: Mapping[str, float]) -> list[str]:
    """The symbols that SentencePiece cuts `text` into: joins by best score, from the left."""
    symbols = list(text)
    while True:
        unions = [left + right for left, right in pairwise(symbols)]
        known = [place for place, union in enumerate(unions) if union in scores]
        if not known:
            return symbols
        best = max(known, key=lambda place: (scores[unions[place]], -place))
        symbols[best : best + 2] = [unions[best]]


def _merges(runs: Sequence[str], n_merges: int) -> tuple[list[str], bool]:
    """Pieces of two characters and more in the order in which they were learned, and whether the
    text yields no others."""
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    n_asked = N_RESERVED + len(set("".join(runs))) + n_merges
    trained = ModelProto.FromString(train_sentencepiece(runs, n_asked, add_dummy_prefix=False))
    pieces = [piece.piece for piece in trained.pieces if piece.type == piece.NORMAL]
    return [piece for piece in pieces if len(piece) > 1], len(trained.pieces) < n_asked


def _counts(runs: Sequence[str], merges: Collection[str]) -> Counter[str]:
    """How often each character and each of `merges` occurs."""
    wanted = set(merges)
    counts: Counter[str] = Counter()
    for run, n in Counter(runs).items():
        for start in range(len(run)):
            counts[run[start]] += n
            for stop in range(start + 2, min(start + LONGEST, len(run)) + 1):
                if run[start:stop] in wanted:
                    counts[run[start:stop]] += n
    return counts


def _chosen(
    model: "ModelProto", counts: Counter[str], merges: Sequence[str], n_pieces: int
) -> Extension:
    """Those of `merges` and of the characters that save most tokens and can be made.

    A character saves all of its bytes but one, a merge one token, each time that it occurs. What a
    merge is made of occurs as often as itself, so whatever is taken, its parts are taken too.
    """
    known = {piece.piece for piece in model.pieces}
    characters = sorted(piece for piece in counts if len(piece) == 1)
    gains = {piece: counts[piece] * (len(piece.encode()) - 1) for piece in characters}
    gains |= {merge: counts[merge] for merge in merges}
    ordered = sorted(gains, key=lambda piece: -gains[piece])  # stable: ties as they were learned
    candidates = [piece for piece in ordered if counts[piece] >= LEAST_COUNT and piece not in known]
    unreachable: set[str] = set()
    while True:
        taken = set([piece for piece in candidates if piece not in unreachable][:n_pieces])
        in_order = [piece for piece in [*merges, *characters] if piece in taken]
        lost = _unreachable(_scores(model), in_order)
        if not lost:
            return Extension(in_order, len(known & gains.keys()), len(unreachable))
        unreachable |= lost


def _unreachable(scores: dict[str, float], pieces: Sequence[str]) -> set[str]:
    """Those of `pieces`, best score first, that encoding their own text would not give."""
    lowest = min(scores.values())
    scores = scores | {piece: lowest for piece in pieces if len(piece) == 1}
    lost = set()
    for place, piece in enumerate(pieces, 1):
        if len(piece) == 1:
            continue
        parts = cut(piece, scores)
        if len(parts) == 2 and all(character in scores for character in piece):
            scores[piece] = lowest - place
        else:
            lost.add(piece)
    return lost


def _scores(model: "ModelProto") -> dict[str, float]:
    return {piece.piece: piece.score for piece in model.pieces if piece.type == piece.NORMAL}


# The tokenizer as SentencePiece


def require_same_ids(
    tokenizer: Tokenizer, model: "ModelProto", texts: Sequence[str], name: str
) -> None:
    """Refuse the tokenizer `name` if SentencePiece with `model` reads the first of `texts`, or what
    tokenizers get wrong, otherwise."""
    from sentencepiece import SentencePieceProcessor

    theirs = SentencePieceProcessor(model_proto=model.SerializeToString())
    for text in [*PROBES, *texts[:N_COMPARED]]:
        if tokenizer.encode(text) != theirs.encode(text):
            raise InputError(
                f"{name} does not encode {text[:40]!r} as SentencePiece does: put the model's "
                "tokenizer.model in its place"
            )


def sentencepiece_model(tokenizer: Tokenizer, name: str) -> "ModelProto":
    """The model of `tokenizer`, called `name` in messages, with its added tokens as control pieces:
    they keep their ids, and no text is ever read as one."""
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    spec = tokenizer.spec()
    ids = spec["model"]["vocab"] | {token["content"]: token["id"] for token in spec["added_tokens"]}
    names = sorted(ids, key=lambda piece: int(ids[piece]))
    if [ids[piece] for piece in names] != list(range(len(names))):
        raise InputError(f"{name} has ids that are no piece's: {ONLY}")
    if tokenizer.model_file is not None:
        model = ModelProto.FromString(tokenizer.model_file)
    else:
        model = _from_spec(tokenizer, spec["model"], name)
    for piece in names[len(model.pieces) :]:
        model.pieces.add(piece=piece, score=0.0, type=model.SentencePiece.CONTROL)
    return model


def _from_spec(tokenizer: Tokenizer, bpe: Mapping[str, Any], name: str) -> "ModelProto":
    """The SentencePiece model that a tokenizer.json was made of: merges in the order of scores."""
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    pieces = sorted(bpe["vocab"], key=lambda piece: int(bpe["vocab"][piece]))
    special = tokenizer.special
    named = {special.get(role) for role in ("unk", "bos", "eos")}
    if not bpe["byte_fallback"] or not {*BYTE_PIECES, *named} <= {*pieces}:
        raise InputError(f"{name} is not a SentencePiece BPE with bytes: {ONLY}")
    unions = [left + right for left, right in bpe["merges"]]
    ranks = {union: -place for place, union in reversed([*enumerate(unions, 1)])}
    # Runs of spaces of one score are joined from the left, whichever they are; in a list of merges
    # those of one run then lie between those of another.
    runs = [run for run in unions if not run.strip(MARK)]
    tied = set(runs) if len([*groupby(runs)]) > len(set(runs)) else set()
    model = ModelProto()
    Kind = model.SentencePiece
    kinds = {piece: Kind.BYTE for piece in BYTE_PIECES}
    kinds |= {special["bos"]: Kind.CONTROL, special["eos"]: Kind.CONTROL}
    kinds |= {special["unk"]: Kind.UNKNOWN}
    for place, piece in enumerate(pieces):
        kind = kinds.get(piece, Kind.NORMAL)
        score = 0.0
        if kind == Kind.NORMAL:
            score = SPACES_SCORE if piece in tied else ranks.get(piece, -len(unions) - place)
        model.pieces.add(piece=piece, score=score, type=kind)
    training, normalization = model.trainer_spec, model.normalizer_spec
    training.model_type, training.byte_fallback = training.BPE, True
    training.vocab_size, training.pad_id = len(pieces), -1
    for role in ("unk", "bos", "eos"):
        setattr(training, f"{role}_piece", special[role])
        setattr(training, f"{role}_id", pieces.index(special[role]))
    normalization.name, normalization.remove_extra_whitespaces = "identity", False
    normalization.add_dummy_prefix = (
        tokenizer.encode("a") != tokenizer.encode_answers(["a"])[0][:-1]
    )
    normalization.escape_whitespaces = True
    return model
