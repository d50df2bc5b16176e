"""What the trainer is told; test_tokenizer.py shows what comes of it."""

import pytest
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from llama_gpt4.sentencepiece_training import N_RESERVED, TooFewPieces, train_sentencepiece

LINES = ["我们的学校", "他们的学校", "我们的公园 很大", "our school"]


def pieces(model: bytes) -> list[str]:
    return [piece.piece for piece in ModelProto.FromString(model).pieces]


def test_the_reserved_pieces_come_first_and_bytes_are_among_them() -> None:
    first = pieces(train_sentencepiece(LINES, 320))[:N_RESERVED]
    assert first == ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]


def test_without_a_dummy_prefix_no_piece_begins_with_a_space_that_is_not_there() -> None:
    lines = ["我们的", "我们的"]
    assert any("▁" in piece for piece in pieces(train_sentencepiece(lines, 300)))
    model = train_sentencepiece(lines, 300, add_dummy_prefix=False)
    assert not any("▁" in piece for piece in pieces(model))


def test_the_error_says_how_many_pieces_there_must_be() -> None:
    with pytest.raises(TooFewPieces) as caught:
        train_sentencepiece(LINES, 260)
    needed = caught.value.needed
    assert needed > 260
    assert len(pieces(train_sentencepiece(LINES, needed))) == needed
