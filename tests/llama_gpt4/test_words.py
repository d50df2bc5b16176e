"""Words have the ids that their texts have, in whatever order they come."""

import os
import random
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_gpt4 import words
from llama_gpt4.prompt import render_prompt
from llama_gpt4.records import read_records
from llama_gpt4.tokenizer import Tokenizer
from llama_gpt4.words import joined

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")
PARTS = [
    *(" ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", " \n ", "\N{NBSP}", "\u3000", "\u200b", "\x00"),
    *("▁", "▁▁a", "<s>", "</s>", "<unk>", "<0x0A>", "[INST]", "```", '"', "'", "(", "://", "，。"),
    *(
        "The",
        "the",
        "ing",
        "e\u0301",
        "ñ",
        "中文",
        "国",
        "龘",
        "😀",
        "👩\u200d👧",
        "1969",
        "0.5",
        "]^-\\",
    ),
    *("bos", "eos", "bos_id", "mark"),
]
TEXTS = st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=12).map("".join)


def trained(**options: Any) -> bytes:
    model = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts_of_samples()[:200]),
        model_writer=model,
        model_type="bpe",
        vocab_size=1500,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


def texts_of_samples() -> list[str]:
    records = [r for language in ("en", "zh") for r in read_records(f"sample:{language}")]
    return [line for r in records for line in (r.instruction + "\n" + r.output).split("\n") if line]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("words") / "tokenizer.model"
    path.write_bytes(trained())
    return Tokenizer.load(path)


def check(tokenizer: Tokenizer, prompts: list[str], answers: list[str]) -> None:
    """The ids are those of whole texts."""
    whole = joined(tokenizer.encode_prompts(prompts), tokenizer.encode_answers(answers))
    encoded = tokenizer.encode_examples(prompts, answers)
    assert encoded.lengths.tolist() == whole.lengths.tolist()
    assert encoded.prompt_lengths.tolist() == whole.prompt_lengths.tolist()
    assert encoded.ids.tolist() == whole.ids.tolist()


def test_examples_lie_end_to_end() -> None:
    encoded = joined([[1, 5], [1, 6, 7]], [[8, 9, 2], [2]])
    assert encoded.ids.tolist() == [1, 5, 8, 9, 2, 1, 6, 7, 2]
    assert encoded.lengths.tolist() == [5, 4]
    assert encoded.prompt_lengths.tolist() == [2, 3]


@settings(max_examples=60, deadline=None)
@given(prompts=st.lists(TEXTS, min_size=1, max_size=4), data=st.data())
def test_any_text(tokenizer: Tokenizer, prompts: list[str], data: st.DataObject) -> None:
    n = len(prompts)
    check(tokenizer, prompts, data.draw(st.lists(TEXTS, min_size=n, max_size=n)))


def test_samples(tokenizer: Tokenizer) -> None:
    records = [r for language in ("en", "zh") for r in read_records(f"sample:{language}")]
    prompts = [render_prompt(r.instruction, r.input) for r in records]
    check(tokenizer, prompts, [r.output for r in records])


def test_a_word_is_encoded_once(tokenizer: Tokenizer) -> None:
    encoder = tokenizer._words
    assert encoder is not None
    encoder._forget()
    n_empty = len(encoder._numbers)
    tokenizer.encode_examples(["First line\none two three"], ["two  two\n中two"])
    new = [" First line", "one", " two", " three", "two", "  two", "中"]
    assert list(encoder._numbers)[n_empty:] == new
    tokenizer.encode_examples(["First line\none three two"], [" three"])
    assert list(encoder._numbers)[n_empty:] == new


def test_what_is_remembered_is_bounded(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "MAX_WORDS", 20)
    draw = random.Random(0)
    for _ in range(10):
        texts = [" ".join(str(draw.randrange(10**6)) for _ in range(12)) for _ in range(4)]
        check(tokenizer, texts[:2], texts[2:])
        assert tokenizer._words is not None
        assert len(tokenizer._words._counts) < 20 + 12 * 4 * 7 + 3


def test_what_is_remembered_of_long_words_is_bounded(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "MAX_IDS", 300)
    draw = random.Random(0)
    for _ in range(10):
        texts = ["".join(draw.choices("acgt", k=100)) for _ in range(4)]
        check(tokenizer, texts[:2], texts[2:])
        assert tokenizer._words is not None
        assert len(tokenizer._words._ids) < 300 + 4 * 100 + 10


def test_pieces_over_spaces_have_no_words(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(trained(split_by_whitespace=False))
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer._words is None
    check(tokenizer, ["What are the", "中文 of the"], ["of the \n in the", ""])


def test_no_dummy_prefix(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(trained(add_dummy_prefix=False))
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer._words is not None
    check(tokenizer, ["What are", " What", "▁x"], ["the", " the", "▁x"])


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_real_records_and_llamas_vocabulary() -> None:
    llama = Tokenizer.load(Path(REAL_DATA or "") / "llama_tokenizer")
    assert llama._words is not None
    for language in ("en", "zh"):
        records = read_records(f"{REAL_DATA}/alpaca_gpt4_{language}.json")[::3]
        prompts = [render_prompt(r.instruction, r.input) for r in records]
        check(llama, prompts, [r.output for r in records])
    check(llama, [*PARTS, "".join(PARTS)], ["".join(PARTS), *PARTS])
