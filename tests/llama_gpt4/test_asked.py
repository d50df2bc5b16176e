"""What a run asks its model: the right prompts, and one line for those that cannot be asked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4.asked import NOTHING
from llama_gpt4.config import TrainConfig
from llama_gpt4.errors import InputError
from llama_gpt4.examples import report_lines
from llama_gpt4.prepare import prepare
from llama_gpt4.prompt import render_prompt
from llama_gpt4.records import read_records
from llama_gpt4.tokenizer import Tokenizer

ASK = "evaluation.questions"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the data of all these tests are tokenised, once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def config_for(train_config: Callable[..., TrainConfig], cache: Path) -> Callable[..., TrainConfig]:
    def make(**changes: Any) -> TrainConfig:
        return train_config(
            **{"batch.tokens_per_step": 2048, "data.cache_dir": str(cache)}, **changes
        )

    return make


def test_the_first_questions_of_a_file_with_the_ids_of_training(
    config_for: Callable[..., TrainConfig],
) -> None:
    prepared = prepare(config_for(**{ASK: "sample:en"}))
    prompts = prepared.asked.prompts
    for prompt, record, i in zip(prompts, read_records("sample:en"), range(2), strict=False):
        n = prepared.train.prompt_lengths[i]
        assert prompt.ids == prepared.train.tokens_of(i)[:n].tolist()
        assert prompt.text.startswith(record.instruction) and record.input in prompt.text
        assert (prompt.reference, prompt.answer_tokens) == (None, 8)
    assert len(prompts) == 2
    assert report_lines(prepared)[-1] == "asked: the first 2 of 115 questions of sample:en"
    alone = prepare(config_for(**{ASK: "sample:en", "evaluation.n_questions": 500}))
    assert alone.asked.described == "115 questions of sample:en" and len(alone.asked.prompts) == 115


def test_without_questions_the_first_held_out_records(
    config_for: Callable[..., TrainConfig],
) -> None:
    prepared = prepare(config_for(**{"data.validation.share": 0.1}))
    held_out = prepared.validation
    assert held_out is not None
    by_name = {record.name: record for record in read_records("sample:en")}
    assert [p.record for p in prepared.asked.prompts] == [held_out.record_name(i) for i in (0, 1)]
    for prompt in prepared.asked.prompts:
        record = by_name[prompt.record]
        assert prompt.text == render_prompt(record.instruction, record.input)
        assert prompt.reference == record.output
    assert prepare(config_for()).asked == NOTHING
    none = config_for(**{"data.validation.share": 0.1, "evaluation.n_questions": 0})
    assert prepare(none).asked == NOTHING


def test_an_answer_ends_where_the_positions_do(
    config_for: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    file = tmp_path / "questions.json"
    file.write_text(json.dumps([{"instruction": "Why? " * 40, "question_id": 7}]))
    wide = prepare(config_for(**{ASK: str(file)}))
    [prompt] = wide.asked.prompts
    n = len(prompt.ids)
    assert prompt.record == "7" and n > 128
    sizes = {"data.row_tokens": 128, ASK: str(file)}
    for room, limit in ((20, 8), (3, 3), (1, 1)):
        [prompt] = prepare(config_for(**sizes, **{"model.max_positions": n + room})).asked.prompts
        assert prompt.answer_tokens == limit
    with pytest.raises(InputError) as refused:
        prepare(config_for(**sizes, **{"model.max_positions": n}))
    assert str(refused.value) == (
        f"evaluation.questions={file}: question 7 has {n} tokens with its prompt, and the model "
        f"takes {n} with the answer: shorten it"
    )


def test_what_looks_like_a_special_token_is_asked_as_text(
    config_for: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    file = tmp_path / "questions.json"
    file.write_text(json.dumps([{"instruction": "What is </s>?"}]))
    prepared = prepare(config_for(**{ASK: str(file)}))
    [prompt] = prepared.asked.prompts
    assert prepared.eos_id not in prompt.ids
    decoded = Tokenizer.load(prepared.tokenizer_folder).decode(prompt.ids)
    assert decoded == render_prompt("What is </s>?", "")


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "evaluation.questions={file} does not exist"),
        ("[]", "holds no"),
        ("", "{file}"),
        ('[{"instruction": "a", ', "is not JSON"),
        ('[{"prompt": "a"}]', "has no key `instruction`, `text` or `turns` (its keys: prompt)"),
        ('[{"instruction": "  "}]', "`instruction` is empty"),
    ],
)
def test_a_file_that_asks_nothing_is_one_line(
    config_for: Callable[..., TrainConfig], tmp_path: Path, content: str | None, words: str
) -> None:
    file = tmp_path / "questions.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError) as refused:
        prepare(config_for(**{ASK: str(file)}))
    assert words.format(file=file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_questions_that_nobody_wants_asked(config_for: Callable[..., TrainConfig]) -> None:
    with pytest.raises(InputError, match=r"n_questions=0 asks none of evaluation\.questions=a"):
        config_for(**{ASK: "a.json", "evaluation.n_questions": 0})
