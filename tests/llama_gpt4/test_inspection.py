"""What a block becomes, told again from its records; the rest: test_audit.py, test_prepare.py."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llama_gpt4.blocks import Block
from llama_gpt4.config import TrainConfig
from llama_gpt4.holdout import Holdout
from llama_gpt4.inspection import Inspection, Task
from llama_gpt4.prompt import render_prompt
from llama_gpt4.tokenizer import Tokenizer, train_tokenizer

ConfigFor = Callable[..., TrainConfig]
VALUES = [
    {"instruction": "Add.", "input": "1, 2", "output": "It is three."},
    {"instruction": "Add.", "input": "1", "output": ""},
    {"output": "No instruction."},
    {
        "messages": [
            {"role": "user", "content": "Name a tree."},
            {"role": "assistant", "content": "An oak, 橡树."},
            {"role": "user", "content": "Another?"},
            {"role": "assistant", "content": "A birch."},
        ]
    },
    {"instruction": "Add.", "input": "1, 2", "output": "It is 3."},
]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    train_tokenizer(["Add one and two.", "A tree is an oak."], 300, tmp_path / "tokenizer.model")
    return tmp_path


def test_a_block(train_config: ConfigFor, tokenizer: Path) -> None:
    inspector = Inspection(train_config().data, "train", None, tokenizer, np.uint16).ready()
    lines = "\n".join(json.dumps(value) for value in VALUES).encode()
    found = inspector(Task(3, "en", Block("f", 1, lines)))
    assert (found.source, found.n_read) == (3, 5)
    assert [fault.place for fault in found.broken] == [3]
    assert found.faults == [(2, "empty_output", "")] and dict(found.n_dropped) == {
        "empty_output": 1
    }
    assert found.places.tolist() == [1, 4, 5] and found.n_exchanges.tolist() == [1, 2, 1]
    assert found.prompts[0] == found.prompts[2] != found.prompts[1]
    assert len(set(found.examples.tolist())) == 3
    assert found.characters.tolist() == [12, 11, 8, 8]
    known = Tokenizer.load(tokenizer)
    (asked,) = known.encode_prompts([render_prompt("Add.", "1, 2")])
    (answer,) = known.encode_answers(["It is three."])
    assert found.ids[: found.lengths[0]].tolist() == asked + answer
    assert (found.prompt_tokens[0], found.answer_tokens[0]) == (len(asked), len(answer))
    assert found.lengths.sum() == len(found.ids) and found.fallback_tokens.tolist() == [0, 6, 0, 0]


def test_each_part_has_its_own(train_config: ConfigFor, tokenizer: Path) -> None:
    """What is broken is nobody's prompt, and is counted once."""
    holdout = Holdout.of(["Add.\0" + "1, 2", "Name a tree.\0"], 0.5, seed=1)
    parts = {}
    for part in ("train", "validation"):
        inspector = Inspection(train_config().data, part, holdout, tokenizer, np.uint16).ready()
        parts[part] = inspector(Task(0, "en", Block("f", 0, list(VALUES))))
    n_read = {part: found.n_read for part, found in parts.items()}
    assert sum(n_read.values()) == 5 and len(parts["train"].broken) == 1
    places = [set(found.places.tolist()) for found in parts.values()]
    assert places[0] | places[1] == {0, 3, 4} and not places[0] & places[1]
    assert {0, 4} in places  # one prompt, one side
