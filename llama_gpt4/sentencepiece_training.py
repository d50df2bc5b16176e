"""SentencePiece trains a BPE of LLaMA's kind on lines of text."""

import re
from collections import Counter
from collections.abc import Sequence
from io import BytesIO

N_RESERVED = 259
"""unk, bos, eos and the 256 bytes come before all else."""


class TooFewPieces(ValueError):
    """The characters alone make more pieces than were asked for."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed
        """Pieces that there must be at least."""


def train_sentencepiece(
    lines: Sequence[str], vocab_size: int, *, add_dummy_prefix: bool = True
) -> bytes:
    """The model as its file holds it; little text may yield fewer than `vocab_size` pieces."""
    from sentencepiece import SentencePieceTrainer

    model = BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=max(vocab_size, N_RESERVED),  # for less it does not say how many it needs
            hard_vocab_limit=False,
            character_coverage=_coverage(lines, (vocab_size - N_RESERVED) // 2),
            byte_fallback=True,
            split_digits=True,
            allow_whitespace_only_pieces=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=add_dummy_prefix,
            max_sentence_length=2**30,  # a longer line would be skipped in silence
            num_threads=1,  # ties between pairs are then broken the same way every time
            minloglevel=2,
        )
    except RuntimeError as error:
        needed = re.search(r"required_chars\. \d+ vs (\d+)", str(error))
        if needed is None:
            raise
        raise TooFewPieces(int(needed[1])) from None
    return model.getvalue()


def _coverage(lines: Sequence[str], most: int) -> float:
    """Share of the text whose characters become pieces, as few as `most`; bytes spell the rest.

    Words are to have room beside characters. SentencePiece takes from 0.98 to 1.
    """
    counts = sorted(Counter("".join(lines)).values(), reverse=True)
    return min(0.9995, max(0.98, sum(counts[: max(most, 0)]) / sum(counts)))
