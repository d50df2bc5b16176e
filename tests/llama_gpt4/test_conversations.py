"""Conversations from JSON to the loss: every answer is learned, after the ids it will be asked by.

What the audit finds in them: test_audit.py.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from llama_gpt4.batches import Batches
from llama_gpt4.chat_tokens import ChatTokens
from llama_gpt4.config import TrainConfig
from llama_gpt4.conversations import Exchange
from llama_gpt4.errors import InputError
from llama_gpt4.examples import Examples, Prepared
from llama_gpt4.model import Llama
from llama_gpt4.prepare import prepare
from llama_gpt4.records import Record, read_records
from llama_gpt4.tokenizer import Tokenizer

from ..tiny_llama import tiny_llama
from .test_model import build, hugging_face

Json = dict[str, Any]
Chat = list[dict[str, str]]
WriteJson = Callable[..., str]
ConfigFor = Callable[..., TrainConfig]

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")
IGNORE = -100


def chat(*texts: str) -> Chat:
    """The user's and the assistant's turns, one after the other."""
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]


def sharegpt(messages: Chat) -> Chat:
    speakers = {"user": "human", "assistant": "gpt", "system": "system"}
    return [{"from": speakers[m["role"]], "value": m["content"]} for m in messages]


CHATS = [
    chat("Name a tree.", "An oak."),
    chat("Name a tree.", "An oak.", "And a bush?", "A hazel, which bears nuts."),
    chat("你好！", "你好，有什么可以帮你？", "说出一种树。", "橡树。", "还有呢？", "白桦树，龘。"),
    chat("1", " leads", "</s>", "-1", "### Response:", "```x\n```", "四\n\n", "好 four <s> ▁ "),
    [
        {"role": "user", "content": "Add.", "input": "2, 2"},
        *chat("Add.", "4", "Thanks", "Gern geschehen, 不客气。")[1:],
    ],
]


# Reading.


@pytest.mark.parametrize("messages", CHATS[:4])
def test_both_forms_are_one(write_json: WriteJson, messages: Chat) -> None:
    texts = [message["content"] for message in messages]
    exchanges = tuple(map(Exchange, texts[::2], [""] * len(texts), texts[1::2]))
    values = [{"messages": messages}, {"id": "a_0", "conversations": sharegpt(messages)}]
    path = write_json(values)
    first = exchanges[0]
    assert read_records(path) == [
        Record(*first, file=path, index=index, later=exchanges[1:]) for index in (0, 1)
    ]
    assert read_records(path)[0].exchanges == exchanges


def test_a_conversation_may_stand_beside_a_record_and_alone_in_jsonl(tmp_path: Path) -> None:
    alone, mixed = tmp_path / "alone.jsonl", tmp_path / "mixed.jsonl"
    alone.write_text(json.dumps({"conversations": sharegpt(CHATS[1])}) + "\n")
    mixed.write_text(alone.read_text() + json.dumps({"instruction": "Add.", "output": "4"}))
    assert [len(record.exchanges) for record in read_records(str(alone))] == [2]
    assert [len(record.exchanges) for record in read_records(str(mixed))] == [2, 1]


def test_parquet_fills_what_is_not_there_with_nulls(tmp_path: Path) -> None:
    weighted = [turn | {"weight": 1} for turn in CHATS[0]]
    rows = [{"messages": weighted, "system": None}, {"messages": CHATS[4], "system": ""}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "chats.parquet")
    one, other = read_records(str(tmp_path / "chats.parquet"))
    assert one.exchanges == (("Name a tree.", "", "An oak."),)
    assert other.exchanges == (("Add.", "2, 2", "4"), ("Thanks", "", "Gern geschehen, 不客气。"))


def test_a_system_turn_that_says_nothing_is_none(write_json: WriteJson) -> None:
    path = write_json([{"messages": [{"role": "system", "content": " "}, *CHATS[1]]}])
    assert len(read_records(path)[0].exchanges) == 2


SYSTEM = {"role": "system", "content": "Be kind."}
FAULTS: list[tuple[Json, str]] = [
    ({"messages": "Hi."}, ": `messages` is a JSON string, not a list of turns"),
    ({"conversations": []}, ": `conversations` is empty"),
    ({"messages": [{"role": "system", "content": ""}]}, ": `messages` is empty"),
    ({"messages": ["Hi."]}, ": a message of `messages` is a JSON string, no object"),
    ({"messages": [{"content": "Hi."}]}, ": `messages: role` is a JSON null, not a string"),
    (
        {"messages": [*chat("Hi."), {"role": "assistant", "content": None}]},
        ": `messages: content` is a JSON null, not a string",
    ),
    (
        {"conversations": sharegpt(chat("Hi.", "Ho.", "Ha."))},
        ": `conversations` ends with a turn of the user, which nobody answers: leave it out",
    ),
    (
        {"conversations": sharegpt(chat("Hi.", "Ho.")[1:])},
        ": turn 1 of `conversations` is by assistant, not by user: the turns are user, assistant, "
        "user and so on",
    ),
    (
        {"messages": [{"role": "system", "content": ""}, *chat("Hi.", "Ho."), *chat("a", "b")[1:]]},
        ": turn 4 of `messages` is by assistant, not by user: the turns are user, assistant, user "
        "and so on",
    ),
    (
        {"messages": [*chat("Hi."), {"role": "tool", "content": "x"}]},
        ": turn 2 of `messages` is by tool, not by assistant: the turns are user, assistant, user "
        "and so on",
    ),
    ({"messages": chat("Hi.", "Ho.", " \n", "a")}, ": turn 3 of `messages` is empty"),
    (
        {"messages": [*chat("Hi."), {"role": "assistant", "content": "a", "weight": 0}]},
        ": turn 2 of `messages` has `weight` 0, and all answers are learned alike: leave the key "
        "out",
    ),
    *(
        (
            value,
            " has a system prompt, for which Alpaca's prompt has no place: leave it out, or put it "
            "into the first turn of the user",
        )
        for value in (
            {"messages": [SYSTEM, *chat("Hi.", "Ho.")]},
            {"conversations": sharegpt([SYSTEM, *chat("Hi.", "Ho.")])},
            {"system": "Be kind.", "conversations": sharegpt(chat("Hi.", "Ho."))},
        )
    ),
]


@pytest.mark.parametrize(("value", "fault"), FAULTS)
def test_what_cannot_be_learned_is_one_line(write_json: WriteJson, value: Json, fault: str) -> None:
    path = write_json([{"messages": CHATS[0]}, value])
    with pytest.raises(InputError) as refused:
        read_records(path)
    assert str(refused.value) == f"{path} record 1{fault}"


# Tokens.


def prepared_chats(config_for: ConfigFor, write_json: WriteJson, **changes: Any) -> Prepared:
    path = write_json([{"messages": messages} for messages in CHATS])
    policies = {f"data.policy.{rule}": "keep" for rule in ("cut_start", "wrong_language")}
    return prepare(config_for(**{"data.files": [path], **policies, **changes}))


def chat_tokens(prepared: Prepared) -> ChatTokens:
    """Of a model that was trained on `prepared`, without the model."""
    folder = prepared.tokenizer_folder
    return ChatTokens(Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder), set(), None)


def labels_by_asking(tokens: ChatTokens, ids: list[int], messages: Chat, eos_id: int) -> list[int]:
    """Labels as `transformers` takes them: each answer, from where the chat would be answered on,
    to its EOS."""
    labels = [IGNORE] * len(ids)
    for turn in range(1, len(messages), 2):
        asked = tokens.prompt(messages[:turn])
        assert ids[: len(asked)] == asked, "what is trained on is what is asked"
        end = ids.index(eos_id, len(asked)) + 1
        answer = tokens.answer(ids[len(asked) : end - 1])
        assert answer.text == messages[turn]["content"]
        labels[len(asked) : end] = ids[len(asked) : end]
    assert end == len(ids)
    return labels


def check_against_chat(prepared: Prepared) -> list[list[int]]:
    """The labels of all examples, made apart from `targets.npy`, which says the same."""
    train, tokens, found = prepared.train, chat_tokens(prepared), []
    assert train.n == len(CHATS)
    for i, messages in enumerate(CHATS):
        ids = train.tokens_of(i).tolist()
        found.append(labels_by_asking(tokens, ids, messages, prepared.eos_id))
        assert found[-1] == labels_of(train, i)
        assert ids.count(prepared.bos_id) == 1 and ids[0] == prepared.bos_id
        assert ids.count(prepared.eos_id) == len(messages) // 2
    return found


def labels_of(examples: Examples, i: int) -> list[int]:
    ids = examples.tokens_of(i).tolist()
    labels = [IGNORE] * len(ids)
    _, starts, sizes = examples.targets.answers_of(torch.tensor([i]).numpy())
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        labels[start : start + size] = ids[start : start + size]
    return labels


def test_training_sees_the_ids_that_the_chat_will_ask(
    config_for: ConfigFor, write_json: WriteJson
) -> None:
    prepared = prepared_chats(config_for, write_json)
    labels = check_against_chat(prepared)
    report = prepared.report["train"]
    n_targets = sum(label != IGNORE for each in labels for label in each)
    assert report["target_tokens"] == n_targets == prepared.train.targets.counts.sum()
    # The cost of answers is counted without what was asked between them, and without their EOS.
    languages = report["languages"].values()
    n_answers = sum(len(messages) // 2 for messages in CHATS)
    assert sum(each["answer_tokens"] for each in languages) == n_targets - n_answers
    assert sum(each["examples"] for each in languages) == len(CHATS)


@pytest.mark.slow  # loading that tokenizer, twice
@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_the_same_with_llamas_tokenizer(train_config: ConfigFor, write_json: WriteJson) -> None:
    path = f"{REAL_DATA}/llama_tokenizer"
    check_against_chat(prepared_chats(train_config, write_json, **{"tokenizer.path": path}))


def test_one_exchange_is_the_record_that_says_the_same(
    config_for: ConfigFor, write_json: WriteJson
) -> None:
    records = [record for record in read_records("sample:en") if not record.input][:20]
    plain = [{"instruction": r.instruction, "output": r.output} for r in records]
    chats = [{"messages": chat(r.instruction, r.output)} for r in records]
    one, other = (
        prepare(config_for(**{"data.files": [write_json(values, name)]}))
        for values, name in ((plain, "plain.json"), (chats, "chats.json"))
    )
    assert one.key != other.key and one.fingerprint == other.fingerprint


def test_where_answers_begin_is_part_of_the_fingerprint(
    config_for: ConfigFor, write_json: WriteJson
) -> None:
    """The same tokens with other targets are other data; a run does not go on with them."""
    long_answer = chat("a", "b", "c", "\nd\n\n### Response:\ne")
    long_question = chat("a", "b", "c\n\n### Response:\nd", "\ne")
    one, other = (
        prepare(config_for(**{"data.files": [write_json([{"messages": messages}], name)]}))
        for messages, name in ((long_answer, "answer.json"), (long_question, "question.json"))
    )
    assert one.train.tokens_of(0).tolist() == other.train.tokens_of(0).tolist()
    assert one.train.prompt_lengths == other.train.prompt_lengths
    assert one.fingerprint != other.fingerprint


def test_a_conversation_is_used_whole_or_not_at_all(
    config_for: ConfigFor, write_json: WriteJson
) -> None:
    turns = chat(*["word " * 8] * 8)
    path = write_json([{"messages": turns}, {"messages": turns[:2]}])
    prepared = prepare(config_for(**{"data.files": [path], "data.row_tokens": 128}))
    assert prepared.report["train"]["dropped"]["too_long"] == 1
    assert [prepared.train.record_name(i) for i in range(prepared.train.n)] == [f"{path} record 1"]


def test_who_is_asked_while_it_trains_is_asked_the_first_turn(
    config_for: ConfigFor, write_json: WriteJson
) -> None:
    prepared = prepared_chats(
        config_for,
        write_json,
        **{"data.validation.files": [write_json([{"messages": CHATS[2]}], "held_out.json")]},
    )
    [asked] = prepared.asked.prompts
    assert asked.ids == chat_tokens(prepared).prompt(CHATS[2][:1])
    assert asked.reference == CHATS[2][1]["content"]


# The loss.


def loss_by_transformers(theirs: LlamaForCausalLM, examples: Examples, labels: Any) -> torch.Tensor:
    """Its own mean over all labels, of examples padded to one length."""
    length = max(map(len, labels))
    rows = [examples.tokens_of(i).tolist() for i in range(examples.n)]
    return theirs(
        input_ids=torch.tensor([ids + [0] * (length - len(ids)) for ids in rows]),
        labels=torch.tensor([each + [IGNORE] * (length - len(each)) for each in labels]),
    ).loss


def our_loss(model: Llama, batches: Batches) -> torch.Tensor:
    batch_losses = [
        model(b.tokens, b.positions, b.document_lengths, b.target_rows, b.targets, b.weights)
        for b in batches.micro_batches(0)
    ]
    return torch.stack(batch_losses).sum()


@pytest.mark.parametrize("batching", ["pack", "pad"])
def test_the_loss_is_that_of_every_answer(
    config_for: ConfigFor, write_json: WriteJson, batching: str
) -> None:
    prepared = prepared_chats(config_for, write_json)
    train = prepared.train
    config = config_for(**{"data.batching": batching})
    batches = Batches(
        train,
        config.data,
        rows_per_step=len(CHATS),
        rows_per_micro_step=2,
        normalisation="global_tokens",
        seed=0,
        rank=0,
        world_size=1,
    )
    assert batches.steps_per_epoch == 1
    assert batches.target_tokens(0) == train.targets.counts.sum()
    model = build(tiny_llama(vocab_size=prepared.vocab_size, max_positions=512))
    theirs = hugging_face(model)
    true = loss_by_transformers(theirs, train, check_against_chat(prepared))
    assert our_loss(model, batches).item() == pytest.approx(true.item(), rel=1e-5)
