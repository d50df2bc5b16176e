"""Chats as ids, of a model whose weights are not there."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from llama_gpt4.chat_tokens import Answer, ChatTokens
from llama_gpt4.errors import InputError
from llama_gpt4.prompt import render_prompt
from llama_gpt4.tokenizer import Tokenizer
from tests.llama_gpt4.test_generation import KNOWN, MAX_POSITIONS, trained_folder, user


@pytest.fixture
def folder(tmp_path_factory, tmp_path) -> Path:
    """A copy without weights, which a test may change."""
    copy = tmp_path / "copy"
    trained = trained_folder(tmp_path_factory.getbasetemp())
    shutil.copytree(trained, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    return copy


@pytest.fixture
def tokens(folder) -> ChatTokens:
    return ChatTokens.load(folder)


def test_a_prompt_is_what_the_chat_template_makes_of_it(tokens, folder):
    chat = AutoTokenizer.from_pretrained(folder)
    for question, input, _ in KNOWN:
        messages = [user(question, input)]
        theirs = chat.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert tokens.prompt(messages) == theirs
    turns = [user("Hi."), {"role": "assistant", "content": "Hello!"}, user("Bye.", "x")]
    rendered = chat.apply_chat_template(turns, tokenize=False)
    # Before a text that does not continue one, LLaMA's tokenizers put a space.
    ours = chat.decode(tokens.prompt(turns))
    assert ours.replace("<s> ", "<s>").replace("</s> ", "</s>") == rendered


def test_a_special_token_in_a_question_is_text(tokens, folder):
    ids = Tokenizer.load(folder)
    prompt = tokens.prompt([user("What does <s>old</s> mean in HTML?")])
    assert prompt.count(ids.bos_id) == 1 and ids.eos_id not in prompt
    assert (
        prompt == ids.encode_prompts([render_prompt("What does <s>old</s> mean in HTML?", "")])[0]
    )


def test_a_foreign_template_gets_the_input_below_the_instruction(folder):
    template = (
        "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    )
    (folder / "chat_template.jinja").write_text(template)
    prompt = ChatTokens.load(folder).prompt([user("Add.", "2, 2")])
    assert Tokenizer.load(folder).decode(prompt) == "[user] Add.\n2, 2\n"


def test_an_answer_ends_at_the_first_of_the_models_end_tokens(folder):
    ids = Tokenizer.load(folder)
    (answer,) = ids.encode_answers(["Paris."])
    assert ChatTokens.load(folder).answer([*answer, 300, 301]) == Answer("Paris.", "stop")
    assert ChatTokens.load(folder).answer(answer[:-1]) == Answer("Paris.", "length")
    own = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(own | {"eos_token_id": [300, 301]}))
    assert ChatTokens.load(folder).answer([*answer[:-1], 301]) == Answer("Paris.", "stop")
    (folder / "generation_config.json").unlink()
    assert ChatTokens.load(folder).end_ids == {ids.eos_id}


def test_a_prompt_that_leaves_no_room_is_refused(tokens):
    tokens.require_room([300] * (MAX_POSITIONS - 1), "question 7")
    with pytest.raises(
        InputError, match=f"question 7 has {MAX_POSITIONS} tokens .* {MAX_POSITIONS}"
    ):
        tokens.require_room([300] * MAX_POSITIONS, "question 7")


def test_a_model_that_answers_nobody_is_refused(folder):
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(
        InputError, match=r"copy has no chat template.*add the chat_template\.jinja"
    ):
        ChatTokens.load(folder)


def test_a_folder_without_a_model_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match=r"has no config\.json: name the folder of a model"):
        ChatTokens.load(tmp_path)
    shutil.copytree(folder, tmp_path / "run" / "model")
    with pytest.raises(InputError, match=r"has no config\.json: name .*run/model$"):
        ChatTokens.load(tmp_path / "run")


def test_a_damaged_description_is_one_line(folder):
    (folder / "generation_config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        ChatTokens.load(folder)
    assert "\n" not in str(caught.value)
