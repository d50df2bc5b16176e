"""What the writer counts in tokens; that its counts add up: test_audit.py."""

from pathlib import Path

import numpy as np
import pytest

from llama_gpt4.data_config import FilesConfig, FilesPolicy, ValidationConfig
from llama_gpt4.errors import InputError
from llama_gpt4.example_writer import ExampleWriter, require_some_fit, row_that_keeps
from llama_gpt4.prepare import prepare
from llama_gpt4.tokenizer import BYTE_PIECES, Tokenizer


def test_the_row_that_keeps_99_percent() -> None:
    for lengths, row in ((range(100, 0, -1), 99), ([5], 5), ([*[1] * 199, 7, 8], 1)):
        assert row_that_keeps(0.99, np.bincount(lengths)) == row
        assert row_that_keeps(1, np.bincount(lengths)) == max(lengths)


def test_examples_that_are_all_too_long_for_the_row() -> None:
    data = FilesConfig(
        files=["a.json"],
        row_tokens=8,
        policy=FilesPolicy(too_long="drop"),
        cache_dir="",
        validation=ValidationConfig(files=[], share=0.0),
    )
    require_some_fit(np.bincount([8, 20]), data, "train")
    with pytest.raises(InputError, match=r"all 2 examples for train are .*=8: raise it to 20"):
        require_some_fit(np.bincount([9, 20]), data, "train")


def test_what_an_answer_costs_by_its_language(train_config, write_json) -> None:
    """Counted again from the tokens that were written."""
    records = [
        {"instruction": "Name a tree.", "output": "An oak of the forest is a tree.\nIt is old."},
        {"instruction": "说出一种树。", "output": "橡树是一种树，龘字很少见。"},
        {"instruction": "Count.", "output": "1 2 3"},
    ]
    changes = {"data.files": [write_json(records)], "tokenizer.vocab_size": 300}
    prepared = prepare(train_config(**changes))
    tokenizer, train = Tokenizer.load(prepared.tokenizer_folder), prepared.train
    ids = tokenizer._full.get_vocab(with_added_tokens=True)
    in_bytes = [ids[piece] for piece in BYTE_PIECES if int(piece[3:5], 16) > 0x7F]
    languages = prepared.report["train"]["languages"]
    assert list(languages) == ["en", "zh", "no words"]
    for i, (language, record) in enumerate(zip(languages, records, strict=True)):
        answer = train.tokens_of(i)[train.prompt_lengths[i] : -1]
        its = languages[language]
        assert (its["examples"], its["answer_tokens"]) == (1, len(answer))
        assert its["tokens_per_character"] == len(answer) / len(record["output"])
        assert its["byte_fallback_share"] == np.isin(answer, in_bytes).mean()
    assert languages["en"]["byte_fallback_share"] == 0 < languages["zh"]["byte_fallback_share"]


def test_the_histogram_has_every_example(config_for, write_json) -> None:
    records = [{"instruction": "Count.", "output": "word " * n} for n in range(1, 90)]
    changes = {"data.files": [write_json(records)], "data.row_tokens": 96}
    report = prepare(config_for(**changes)).report["train"]
    width, counts = report["lengths"]["bin_tokens"], report["lengths"]["examples"]
    assert sum(counts) == 89 > report["used"]
    assert len(counts) == report["length_100_percent"] // width + 1


def test_what_went_wrong_is_not_hidden_by_unfinished_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="broken"), ExampleWriter(tmp_path) as writer:
        writer._examples._n = 1  # as if the disk had taken less than it was given
        raise InputError("broken")
