"""Counts of tokens and bytes, by part and language."""

from dataclasses import asdict

import pytest

from llama_gpt4.tokenizer import Tokenizer, train_tokenizer
from llama_gpt4.vocabulary import extended, learn, sentencepiece_model
from llama_gpt4.vocabulary_report import Report, report_lines

ENGLISH = "What is the capital of Portugal? It is Lisbon."
CHINESE = "请问葡萄牙的首都是哪里？葡萄牙的首都是里斯本。"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Tokenizer, Report]:
    folder = tmp_path_factory.mktemp("tokenizers")
    train_tokenizer([ENGLISH], 400, folder / "tokenizer.model")
    old = Tokenizer.load(folder)
    base = sentencepiece_model(old, "old")
    extension = learn(base, [CHINESE] * 2, 12)
    (folder / "tokenizer.model").write_bytes(extended(base, extension.pieces).SerializeToString())
    new = Tokenizer.load(folder)
    texts = {"training": [CHINESE, ENGLISH, "12 + 30", CHINESE], "held_out": [CHINESE]}
    return old, new, Report.of(old, new, extension, texts)


def test_rows_are_parts_and_languages_with_their_texts(
    pair: tuple[Tokenizer, Tokenizer, Report],
) -> None:
    report = pair[2]
    found = [(row.part, row.language, row.texts, row.characters) for row in report.costs]
    assert found == [
        ("training", "en", 1, len(ENGLISH)),
        ("training", "none", 1, len("12 + 30")),
        ("training", "zh", 2, 2 * len(CHINESE)),
        ("held_out", "zh", 1, len(CHINESE)),
    ]


def test_costs_are_tokens_as_they_stand_in_an_answer(
    pair: tuple[Tokenizer, Tokenizer, Report],
) -> None:
    _, new, report = pair
    (held_out,) = (row for row in report.costs if row.part == "held_out")
    assert held_out.before.tokens == held_out.before.byte_tokens == 3 * len(CHINESE)
    assert held_out.before.per_character == 3.0 and held_out.before.byte_share == 1.0
    ids = new.encode_answers([CHINESE])[0][:-1]
    assert held_out.after.tokens == len(ids) < 3 * len(CHINESE)
    n_bytes = sum(3 + 0x80 <= id < 3 + 256 for id in ids)
    assert held_out.after.byte_tokens == n_bytes > 0
    assert held_out.after.byte_share == n_bytes / len(ids)
    english = report.costs[0]
    assert english.before == english.after and english.before.byte_tokens == 0


def test_pieces_are_counted(pair: tuple[Tokenizer, Tokenizer, Report]) -> None:
    old, new, report = pair
    used = {id for id in new.encode_answers([CHINESE])[0] if id >= old.vocab_size}
    assert asdict(report) | {"costs": None} == {
        "pieces_before": old.vocab_size,
        "pieces_after": old.vocab_size + 12,
        "rows": 64 * -(-(old.vocab_size + 12) // 64),
        "added": 12,
        "duplicate": 0,
        "unreachable": 0,
        "unused": 12 - len(used),
        "costs": None,
    }


def test_the_table_says_it_in_a_line_each(pair: tuple[Tokenizer, Tokenizer, Report]) -> None:
    *_, last = report_lines(pair[2])
    after = pair[2].costs[-1].after
    assert last.split() == [
        "held", "out", "zh", "1", str(len(CHINESE)), "3.000", "->", f"{after.per_character:.3f}",
        "100.0%", "->", f"{after.byte_share:.1%}",
    ]  # fmt: skip
