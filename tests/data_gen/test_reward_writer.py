"""Every layout becomes prompts, responses and pairs by score; what is left out is counted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_gpt4_data.comparisons import read_comparisons
from llama_gpt4_data.reward_data import prepare
from llama_gpt4_data.reward_examples import report_lines
from llama_gpt4_data.reward_writer import rendered

from llama_gpt4.errors import InputError
from llama_gpt4.prompt import render_prompt
from llama_gpt4.tokenizer import Tokenizer

from .reward_runs import reward_config, scored, write

TALK = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]


def rendered_from(folder: Path, record: dict[str, Any]) -> str:
    [comparison] = read_comparisons([write(folder, [record])])
    return rendered(comparison)


def test_a_prompt_is_wrapped_once(tmp_path: Path) -> None:
    once = render_prompt("Say yes.", "now")
    bare = {"instruction": "Say yes.", "input": "now", "output": ["yes", "no"]}
    assert rendered_from(tmp_path, bare) == once
    assert rendered_from(tmp_path, scored(once, ("yes", 9), ("no", 1))) == once


def test_a_conversation_is_its_turns(tmp_path: Path) -> None:
    last = {"from": "human", "value": "And now?"}
    record = {"conversations": [*TALK, last], "chosen": {"from": "gpt", "value": "Bye"},
              "rejected": {"from": "gpt", "value": "What"}}  # fmt: skip
    text = rendered_from(tmp_path, record)
    assert text.startswith(render_prompt("Hi", "") + "Hello") and text.endswith("### Response:")
    assert text.count("And now?") == 1 and "</s>" not in text and "<s>" not in text


def test_a_conversation_that_ends_with_an_answer_is_refused(tmp_path: Path) -> None:
    record = {"conversations": TALK, "chosen": "Bye", "rejected": "What"}
    with pytest.raises(InputError, match=r"record 0: the last turn .* not the user's"):
        rendered_from(tmp_path, record)


def test_pairs_are_by_score_and_what_makes_none_is_counted(tmp_path: Path) -> None:
    records = [
        scored("One?", ("good", 9), ("also good", 9), ("bad", 4)),  # 2 pairs and a tie
        scored("Two?", ("a", 9), ("b", 8), ("c", 4)),  # 3 pairs
        scored("Three?", ("a", 9), ("b", 9), ("c", 9)),  # nothing but ties
        scored("Four?", ("a", 9), ("", 1), ("b", 0)),  # a published zero
        {"user_input": "Five?", "completion_a": "better", "completion_b": "worse"},
        {"prompt": "Six?", "chosen": "x", "rejected": "y", "score_chosen": 2, "score_rejected": 7},
    ]
    prepared = prepare(reward_config(tmp_path, f"data.files=[{write(tmp_path, records)}]"))
    train, report = prepared.train, prepared.report["train"]
    assert [train.pairs_of(i).tolist() for i in range(train.n)] == [
        [[0, 2], [1, 2]], [[0, 1], [0, 2], [1, 2]], [[0, 1]], [[0, 1]], [[1, 0]],
    ]  # fmt: skip
    assert train.scores_of(2).tolist() == [9, 0]
    assert np.isnan(train.scores_of(3)).all(), "an order is no score"
    assert (report["read"], report["used"], report["pairs"]) == (6, 5, 8)
    assert (report["ties"], report["empty_responses"], report["scores_out_of_range"]) == (4, 1, 1)
    assert report["dropped"] == {"no_pair": 1, "too_long": 0} and report["unscored"] == 1
    lines = "\n".join(report_lines(prepared))
    assert "4 ties" in lines and "1 scores are not within 1 to 10" in lines
    apart = sum(len(ids) for i in range(train.n) for ids in train.tokens_of(i))
    assert report["tokens"] + train.shared_tokens == apart and train.shared_tokens > 0
    assert f"{100 * train.shared_tokens / apart:.0f} % fewer than with each" in lines


def test_scores_out_of_range_can_be_left_out(tmp_path: Path) -> None:
    file = write(tmp_path, [scored("Four?", ("a", 9), ("b", 8), ("c", 0))])
    prepared = prepare(reward_config(tmp_path, f"data.files=[{file}]", "data.out_of_range=drop"))
    assert prepared.train.pairs_of(0).tolist() == [[0, 1]]


def test_a_response_is_read_whole_after_its_prompt(tmp_path: Path) -> None:
    file = write(tmp_path, [scored("What?", ("苹果", 9), ("- no", 4), source="human")])
    prepared = prepare(reward_config(tmp_path, f"data.files=[{file}]"))
    tokenizer = Tokenizer.load(prepared.tokenizer_folder)
    first, second = prepared.train.tokens_of(0)
    assert first[0] == tokenizer.bos_id and first[-1] == second[-1] == tokenizer.eos_id
    assert tokenizer.decode(first.tolist()) == render_prompt("What?", "") + "苹果"
    assert tokenizer.decode(second.tolist()) == render_prompt("What?", "") + "- no"
    n_prompt = len(prepared.train.prompt_of(0))
    assert (prepared.train.answer_lengths_of(0) + n_prompt).tolist() == [len(first), len(second)]
    assert prepared.train.sources_of(0) == ["human", "human"]
    assert prepared.train.prompt_of(0).tolist() == first[:n_prompt].tolist()


def test_language_and_subset_are_those_of_the_prompt(tmp_path: Path) -> None:
    records = [
        {
            "prompt": "天空是什么颜色的?",
            "chosen": "Blue.",
            "rejected": "No idea.",
            "subset": "easy",
        },
        {"prompt": "What is the colour of the sky?", "chosen": "蓝色。", "rejected": "不知道。"},
        {"prompt": "17 * 3", "chosen": "51", "rejected": "53", "subset": "hard"},
    ]
    train = prepare(reward_config(tmp_path, f"data.files=[{write(tmp_path, records)}]")).train
    assert [train.language_of(i) for i in range(3)] == ["zh", "en", "no words"]
    assert [train.subset_of(i) for i in range(3)] == ["easy", None, "hard"]


def test_a_long_response_takes_its_pairs_along(tmp_path: Path) -> None:
    records = [
        scored("One?", ("good", 9), ("fair", 6), ("bad " * 300, 2)),
        scored("Two?", ("good", 9), ("bad " * 300, 2)),
    ]
    prepared = prepare(reward_config(tmp_path, f"data.files=[{write(tmp_path, records)}]"))
    report = prepared.report["train"]
    assert prepared.train.n == 1 and prepared.train.pairs_of(0).tolist() == [[0, 1]]
    assert report["dropped"]["too_long"] == 1 and report["too_long_responses"] == 2
    with pytest.raises(InputError, match=r"2 of 5 examples .* the first is .* record 0:"):
        prepare(
            reward_config(
                tmp_path, f"data.files=[{tmp_path}/comparisons.json]", "data.policy.too_long=error"
            )
        )
