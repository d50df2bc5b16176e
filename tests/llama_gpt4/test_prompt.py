"""The prompt: Alpaca's bytes, and one chat template that renders and tokenises to the same."""

import os
from pathlib import Path

import pytest
from jinja2.exceptions import TemplateError
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from llama_gpt4.errors import InputError
from llama_gpt4.prompt import CHAT_TEMPLATE, render_chat, render_prompt
from llama_gpt4.records import read_records
from llama_gpt4.tokenizer import Tokenizer, train_tokenizer

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")


def test_the_prompt_with_input_is_alpacas_byte_for_byte():
    assert render_prompt("Add the numbers.", "2, 2") == (
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd the numbers.\n\n### Input:\n2, 2\n\n### Response:"
    )


def test_the_prompt_without_input_is_alpacas_byte_for_byte():
    assert render_prompt("给出三个健康小贴士。", "") == (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\n给出三个健康小贴士。\n\n### Response:"
    )


def test_braces_and_markers_in_a_record_are_just_text():
    assert "\n{instruction} {0} {{ x }} ### Response:\n" in render_prompt(
        "{instruction} {0} {{ x }} ### Response:", "{input}"
    )


def user(content, **more):
    return {"role": "user", "content": content, **more}


def assistant(content):
    return {"role": "assistant", "content": content}


CHATS = [
    [user("Hi.")],
    [user("Add.", input="2, 2")],
    [user("Add.", input="")],
    [user("Add.", input=None)],
    [user("Hi."), assistant("Hello!")],
    [user("Hi."), assistant("Hello!"), user("Add.", input="2, 2")],
    [user("Add.", input="1\n"), assistant(" 1 "), user("More?"), assistant("")],
    [user(" \n'quoted' \"{{ x }}\" {% if %} \\n <b>&amp; 你好 😀\n")],
]


@pytest.mark.parametrize("messages", CHATS)
@pytest.mark.parametrize("generate", [True, False])
def test_the_template_and_python_agree(messages, generate):
    (rendered,), _ = render_jinja_template(
        [messages],
        chat_template=CHAT_TEMPLATE,
        add_generation_prompt=generate,
        bos_token="<s>",
        eos_token="</s>",
    )
    assert rendered == render_chat(messages)


def test_later_turns_repeat_instruction_and_response():
    assert render_chat(CHATS[5]) == (
        f"<s>{render_prompt('Hi.', '')}Hello!</s>\n\n### Instruction:\nAdd.\n\n### Input:\n2, 2"
        "\n\n### Response:"
    )


@pytest.mark.parametrize(
    "messages",
    [
        [assistant("Hi.")],
        [{"role": "system", "content": "Be kind."}, user("Hi.")],
        [user("Hi."), user("Ho.")],
        [user("Hi."), assistant("Ho."), assistant("Ha.")],
    ],
)
def test_turns_out_of_order_are_refused_in_one_sentence(messages):
    with pytest.raises(InputError, match=r"turn [123] is by (assistant|system|user)") as ours:
        render_chat(messages)
    with pytest.raises(TemplateError) as theirs:
        render_jinja_template(
            [messages], chat_template=CHAT_TEMPLATE, bos_token="<s>", eos_token="</s>"
        )
    assert str(ours.value) == str(theirs.value)


@pytest.fixture(scope="module")
def records():
    return read_records("sample:en") + read_records("sample:zh")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, records):
    """A folder with a tokenizer that was trained on the sample."""
    folder = tmp_path_factory.mktemp("tokenizer")
    texts = [render_prompt(r.instruction, r.input) for r in records]
    train_tokenizer(texts + [r.output for r in records], 1024, folder / "tokenizer.model")
    Tokenizer.load(folder / "tokenizer.model").save(
        folder, chat_template=CHAT_TEMPLATE, max_tokens=512
    )
    return folder


def assert_same_ids(ours, theirs, records):
    for record in records:
        messages = [user(record.instruction, input=record.input)]
        kwargs = {"add_generation_prompt": True, "return_dict": False}
        (expected,) = ours.encode_prompts([render_prompt(record.instruction, record.input)])
        ids = theirs.apply_chat_template(messages, tokenize=True, **kwargs)
        assert ids == expected
        assert ids.count(theirs.bos_token_id) == 1
        learned = [*messages, assistant(record.output)]
        ids = theirs.apply_chat_template(learned, tokenize=True, return_dict=False)
        # They tokenise prompt and answer as one text, so the answer may merge with the colon.
        assert ids[: len(expected) - 1] == expected[:-1] and ids[-1] == ours.eos_id
        assert ids.count(ours.bos_id) == ids.count(ours.eos_id) == 1


def test_transformers_tokenises_a_chat_as_we_train(trained, records):
    ours, theirs = Tokenizer.load(trained), AutoTokenizer.from_pretrained(trained)
    assert theirs.chat_template == CHAT_TEMPLATE
    assert_same_ids(ours, theirs, records)


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_transformers_tokenises_a_chat_as_we_train_with_llamas_tokenizer(tmp_path):
    ours = Tokenizer.load(Path(REAL_DATA) / "llama_tokenizer")
    ours.save(tmp_path, chat_template=CHAT_TEMPLATE, max_tokens=2048)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for language in ("en", "zh"):
        records = read_records(f"{REAL_DATA}/alpaca_gpt4_{language}.json")
        assert_same_ids(ours, theirs, records[:200])
