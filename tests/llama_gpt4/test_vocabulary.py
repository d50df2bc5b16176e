"""New pieces are reached, and a text without any of them keeps its ids."""

import importlib.util
import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from llama_gpt4.errors import InputError
from llama_gpt4.records import read_records
from llama_gpt4.tokenizer import Tokenizer, train_tokenizer
from llama_gpt4.vocabulary import (
    ROW_MULTIPLE,
    Extension,
    cut,
    extended,
    learn,
    n_rows,
    require_same_ids,
    sentencepiece_model,
)

from .test_tokenizer import ADVERSARIAL, ENGLISH, texts_of_all_kinds

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")
ZH = [f"{r.instruction}\n{r.input}\n{r.output}" for r in read_records("sample:zh")]
EN = [f"{r.instruction}\n{r.input}\n{r.output}" for r in read_records("sample:en")]
KNOWN = "的一是不了人在有我他这中大来上国"
"""Chinese characters that the small base has, as LLaMA has some."""


def trained(folder: Path) -> Path:
    train_tokenizer([ENGLISH, *EN, (KNOWN + "\n") * 20], 700, folder / "tokenizer.model")
    return folder / "tokenizer.model"


def mistral() -> Path:
    spec = importlib.util.find_spec("mistral_common")  # imports nothing
    assert spec and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "data" / "tokenizer.model.v1"


class Extended:
    """A tokenizer, what was learned for it, and the tokenizer with that."""

    def __init__(self, old_file: Path, folder: Path, texts: list[str], n_pieces: int) -> None:
        self.old = Tokenizer.load(old_file)
        self.model = sentencepiece_model(self.old, str(old_file))
        self.learned = learn(self.model, texts, n_pieces)
        self.longer = extended(self.model, self.learned.pieces)
        (folder / "tokenizer.model").write_bytes(self.longer.SerializeToString())
        self.new = Tokenizer.load(folder)
        self.theirs = SentencePieceProcessor(model_proto=self.longer.SerializeToString())

    def ids_before_and_after(self, text: str) -> tuple[list[int], list[int]]:
        return self.old.encode(text), self.new.encode(text)


@pytest.fixture(scope="module", params=["trained", "mistral"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Extended:
    folder = tmp_path_factory.mktemp(request.param)
    old = mistral() if request.param == "mistral" else trained(tmp_path_factory.mktemp("old"))
    return Extended(old, folder, ZH, 300)


def test_new_pieces_stand_behind_the_old_ones_and_score_less(made: Extended) -> None:
    n = len(made.model.pieces)
    assert list(made.longer.pieces[:n]) == list(made.model.pieces)
    assert [piece.piece for piece in made.longer.pieces[n:]] == made.learned.pieces
    assert made.new.vocab_size == made.old.vocab_size + 300
    compete = [p for p in made.model.pieces if p.type == p.NORMAL and p.piece.strip("▁")]
    assert max(p.score for p in made.longer.pieces[n:]) < min(p.score for p in compete)
    assert made.longer.trainer_spec.vocab_size == n + 300


def test_every_new_piece_is_what_its_own_text_is_cut_into(made: Extended) -> None:
    for place, ids in enumerate(made.new.encode_answers(made.learned.pieces)):
        assert ids[:-1] == [made.old.vocab_size + place], made.learned.pieces[place]
    for place, piece in enumerate(made.learned.pieces):
        assert made.theirs.encode(piece)[-1] == made.old.vocab_size + place


def test_sentencepiece_and_the_backend_give_the_same_ids(made: Extended) -> None:
    for text in [*texts_of_all_kinds(500, seed=8), *ADVERSARIAL, *ZH, *EN]:
        assert made.new.encode(text) == made.theirs.encode(text), repr(text)
        assert made.new.decode(made.new.encode(text)) == made.theirs.decode(made.new.encode(text))


def test_chinese_takes_fewer_tokens_and_comes_back_whole(made: Extended) -> None:
    tokens = [sum(len(tokenizer.encode(text)) for text in ZH) for tokenizer in (made.old, made.new)]
    assert tokens[1] < tokens[0] / 1.3
    assert [made.new.decode(made.new.encode(text)) for text in ZH] == ZH


def test_english_keeps_its_ids(made: Extended) -> None:
    texts = [text for text in EN if not any(piece in text for piece in made.learned.pieces)]
    assert len(texts) > 0.95 * len(EN)  # a few ask for a translation from Chinese
    for text in [ENGLISH, *texts]:
        before, after = made.ids_before_and_after(text)
        assert before == after


CHARACTERS = sorted({c for text in ZH for c in text} | set("ab 1\n▁é龘😀\u0301"))


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet=st.sampled_from(CHARACTERS), max_size=40))
@example(text="我的中国  人，有一 2 人\n")
@example(text="  ".join(KNOWN))
def test_a_text_without_a_new_piece_keeps_its_ids(made: Extended, text: str) -> None:
    for piece in sorted(made.learned.pieces, key=len):
        text = text.replace(piece, "")
    if any(piece in text for piece in made.learned.pieces):
        return  # what stood around a piece has met and is one itself
    before, after = made.ids_before_and_after(text)
    assert before == after


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet=st.characters(max_codepoint=0x7F), max_size=60))
def test_ascii_keeps_its_ids(made: Extended, text: str) -> None:
    before, after = made.ids_before_and_after(text)
    assert before == after


# What is learned


def model_of(*pieces: str) -> ModelProto:
    """A model with nothing but `pieces`, best score first."""
    model = ModelProto()
    for place, piece in enumerate(pieces):
        model.pieces.add(piece=piece, score=-place)
    return model


def test_a_character_counts_for_the_bytes_it_saves_and_a_merge_for_one_token() -> None:
    texts = ["甲乙 甲乙 甲乙 丙 丙"]  # 甲 and 乙 save 6 each, 丙 4, 甲乙 3
    for n, pieces in ((2, {"甲", "乙"}), (3, {"甲", "乙", "丙"}), (4, {"甲", "乙", "丙", "甲乙"})):
        assert set(learn(model_of("a"), texts, n).pieces) == pieces


def test_what_occurs_once_is_not_taken() -> None:
    learned = learn(model_of("a"), ["甲乙甲乙丁戊己"], 100)
    assert set(learned.pieces) == {"甲", "乙", "甲乙"}


def test_nothing_ascii_and_no_space_is_ever_in_a_new_piece() -> None:
    learned = learn(model_of("a"), ["用Python写 代码\n用Python写▁代码 the the the"] * 5, 100)
    assert set(learned.pieces) == set("用写代码") | {"代码"}


def test_a_piece_that_is_there_already_is_counted_as_such() -> None:
    learned = learn(model_of("甲", "乙", "甲乙"), ["甲乙丙丁 甲乙丙丁 甲乙"], 100)
    assert not {"甲", "乙", "甲乙"} & {*learned.pieces}
    assert learned.n_duplicate == 3
    assert "丙丁" in learned.pieces


def test_a_piece_that_an_old_one_cuts_through_is_left_out_and_counted() -> None:
    texts = ["甲乙 甲乙 甲乙 丙丁 丙丁 丙丁", "甲乙丙丁 甲乙丙丁"]
    characters = ("甲", "乙", "丙", "丁")
    whole = learn(model_of(*characters), texts, 100)
    assert "甲乙丙丁" in whole.pieces and whole.n_unreachable == 0
    crossed = learn(model_of("乙丙", *characters), texts, 100)
    assert {"甲乙", "丙丁"} <= set(crossed.pieces) and "甲乙丙丁" not in crossed.pieces
    assert crossed.n_unreachable == 1
    scores = {"乙丙": 0.0, "甲乙": -5.0, "丙丁": -6.0, "甲乙丙丁": -7.0}
    assert cut("甲乙丙丁", scores) == ["甲", "乙丙", "丁"]


def test_asking_for_all_that_there_is_gives_all() -> None:
    most = learn(model_of("a"), ZH, 10**5)
    assert 500 < len(most.pieces) < 10**5
    assert set(learn(model_of("a"), ZH, len(most.pieces)).pieces) == set(most.pieces)
    assert len(learn(model_of("a"), ZH, len(most.pieces) - 7).pieces) == len(most.pieces) - 7


@pytest.mark.parametrize("texts", [[], ["only English"], ["甲"], ["ab▁▁"]])
def test_texts_without_anything_to_learn(texts: list[str]) -> None:
    assert learn(model_of("a"), texts, 10) == Extension([], 0, 0)


def test_rows_are_whole_tiles() -> None:
    assert [n_rows(n) for n in (1, 64, 65, 32_000, 49_953)] == [64, 64, 128, 32_000, 49_984]
    assert ROW_MULTIPLE == 64


# Where the base comes from


def test_an_added_token_keeps_its_id_and_no_text_is_read_as_it(tmp_path: Path) -> None:
    old_file = trained(tmp_path)
    n = Tokenizer.load(old_file).vocab_size
    (tmp_path / "added_tokens.json").write_text(json.dumps({"[PAD]": n}))
    (tmp_path / "new").mkdir()
    made = Extended(tmp_path, tmp_path / "new", ZH, 100)
    made.new.save(tmp_path / "new", chat_template="{{ bos_token }}", max_tokens=64)
    saved = json.loads((tmp_path / "new" / "tokenizer.json").read_text(encoding="utf-8"))
    added = {token["content"]: token["id"] for token in saved["added_tokens"]}
    assert added == {"<unk>": 0, "<s>": 1, "</s>": 2, "[PAD]": n}
    assert made.new.vocab_size == n + 1 + 100
    before, after = made.ids_before_and_after("a [PAD] b")
    assert before == after and n not in after
    assert Tokenizer.load(tmp_path / "new").vocab_size == n + 101  # with tokenizer.json beside it


def test_a_tokenizer_json_alone_gives_the_model_that_it_was_made_of(tmp_path: Path) -> None:
    model = sentencepiece_model(Tokenizer.load(trained(tmp_path)), "x")
    Tokenizer.load(tmp_path).save(tmp_path / "json", chat_template="", max_tokens=64)
    (tmp_path / "json" / "tokenizer.model").unlink()
    alone = Tokenizer.load(tmp_path / "json")
    rebuilt = sentencepiece_model(alone, "x")
    assert [(p.piece, p.type) for p in rebuilt.pieces] == [(p.piece, p.type) for p in model.pieces]
    require_same_ids(alone, rebuilt, [*texts_of_all_kinds(500, seed=9), *ADVERSARIAL], "x")


def test_another_kind_of_tokenizer_is_refused(tmp_path: Path) -> None:
    Tokenizer.load(trained(tmp_path)).save(tmp_path / "json", chat_template="", max_tokens=64)
    file = tmp_path / "json" / "tokenizer.json"
    (tmp_path / "json" / "tokenizer.model").unlink()
    spec = json.loads(file.read_text(encoding="utf-8"))
    spec["model"]["byte_fallback"] = False
    file.write_text(json.dumps(spec))
    with pytest.raises(InputError, match="is not a SentencePiece BPE with bytes"):
        sentencepiece_model(Tokenizer.load(tmp_path / "json"), str(file))


def test_a_tokenizer_json_that_is_no_sentencepiece_is_found_by_its_ids(tmp_path: Path) -> None:
    Tokenizer.load(trained(tmp_path)).save(tmp_path / "json", chat_template="", max_tokens=64)
    file = tmp_path / "json" / "tokenizer.json"
    (tmp_path / "json" / "tokenizer.model").unlink()
    spec = json.loads(file.read_text(encoding="utf-8"))
    spec["normalizer"]["normalizers"].append({"type": "Lowercase"})
    file.write_text(json.dumps(spec))
    tokenizer = Tokenizer.load(tmp_path / "json")
    model = sentencepiece_model(tokenizer, "mine")
    with pytest.raises(InputError, match=r"mine does not encode '.*' as SentencePiece does"):
        require_same_ids(tokenizer, model, ["LOUD"], "mine")


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA is not set")
def test_llamas_own_tokenizer_with_the_papers_chinese(tmp_path: Path) -> None:
    folder = Path(str(REAL_DATA))
    texts = {
        language: [
            f"{r.instruction}\n{r.input}\n{r.output}"
            for r in read_records(str(folder / f"alpaca_gpt4_{language}.json"))
        ]
        for language in ("en", "zh")
    }
    made = Extended(folder / "llama_tokenizer", tmp_path, texts["zh"], 2000)
    assert made.learned.n_unreachable == 0 and made.new.vocab_size == 34_000
    assert made.old.encode("Hello world") == made.new.encode("Hello world") == [15043, 3186]
    for text in [*texts_of_all_kinds(300, seed=10), *ADVERSARIAL, *texts["zh"][:200]]:
        assert made.new.encode(text) == made.theirs.encode(text), repr(text)
    kept = [text for text in texts["en"] if not any(p in text for p in made.learned.pieces)]
    assert len(kept) > 0.95 * len(texts["en"])
    for text in kept:
        before, after = made.ids_before_and_after(text)
        assert before == after
