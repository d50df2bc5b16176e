"""The ids by which the harness asks a model are those that it was trained on."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4.errors import InputError
from llama_gpt4.prompt import render_prompt
from llama_gpt4.records import read_records
from llama_gpt4.tokenizer import Tokenizer

from .asked_models import asked_model

pytestmark = pytest.mark.slow  # the harness takes seconds to import


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("lm_eval")
    return asked_model(tmp_path_factory.mktemp("asked") / "model")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    from llama_gpt4.evaluation.harness_model import language_model

    return language_model(folder, "cpu", 2)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_record_is_asked_by_its_training_ids(folder: Path, model: Any, language: str) -> None:
    trained = Tokenizer.load(folder)
    records = [record for record in read_records(f"sample:{language}") if not record.input]
    assert len(records) > 50
    for record in records:
        [prompt] = trained.encode_prompts([render_prompt(record.instruction, "")])
        [answer] = trained.encode_answers([record.output])
        text = model.apply_chat_template([{"role": "user", "content": record.instruction}])
        assert model._encode_pair(text, record.output) == (prompt, answer[:-1])
        [asked], _ = model.tok_batch_encode([text])
        assert asked.tolist() == prompt and prompt.count(trained.bos_id) == 1


def test_left_to_itself_the_harness_would_lose_the_first_character(
    folder: Path, model: Any
) -> None:
    text, trained = (
        model.apply_chat_template([{"role": "user", "content": "Which?"}]),
        model._trained,
    )
    for answer in ("(a)", '"hello'):
        [ids] = trained.encode_answers([answer])
        assert model._encode_pair(text, answer)[1] == ids[:-1]
        assert super(type(model), model)._encode_pair(text, answer)[1] != ids[:-1]


def test_ends_and_padding_are_the_models(folder: Path, model: Any) -> None:
    trained = Tokenizer.load(folder)
    assert model.eot_token_id == trained.eos_id and model.prefix_token_id == trained.bos_id
    assert model.tokenizer.pad_token_id == trained.unk_id
    assert model.max_length == 1024


def test_a_space_goes_with_what_follows_it(folder: Path, model: Any) -> None:
    trained = Tokenizer.load(folder)
    context, answer = model._encode_pair("<s>Answer: ", "(a)")
    assert context == trained.encode_prompts(["Answer:"])[0]
    assert answer == trained.encode_answers([" (a)"])[0][:-1]


def test_another_template_is_left_to_the_harness(folder: Path, tmp_path: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    from llama_gpt4.evaluation.harness_model import language_model

    other = shutil.copytree(folder, tmp_path / "other")
    (other / "chat_template.jinja").write_text("{{ messages[0]['content'] }}:")
    model = language_model(other, "cpu", 1)
    assert model._encode_pair("Say:", "(a)") == HFLM._encode_pair(model, "Say:", "(a)")


def test_what_cannot_be_asked_is_refused(folder: Path, tmp_path: Path) -> None:
    from llama_gpt4.evaluation.harness_model import language_model

    with pytest.raises(InputError, match=r"has no config\.json"):
        language_model(tmp_path, "cpu", 1)
    silent = shutil.copytree(folder, tmp_path / "silent")
    (silent / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="has no chat template, so nobody knows how to ask it"):
        language_model(silent, "cpu", 1)
