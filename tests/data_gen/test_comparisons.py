"""Comparison data in every published layout, read into one; what is none of them is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_gpt4_data.comparisons import Comparison, read_comparisons, turns_of
from pyarrow import parquet

from llama_gpt4.errors import InputError
from llama_gpt4.prompt import INPUT, RESPONSE, render_chat, render_prompt

from .reward_runs import bench, scored, write

Read = Callable[..., list[Comparison]]
USER = [{"role": "user", "content": "Why?"}]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(*records: Any) -> list[Comparison]:
        path = tmp_path / "comparisons.json"
        path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
        return read_comparisons([str(path)])

    return read


def told(comparison: Comparison) -> list[tuple[str, str | None, float | None]]:
    return [(r.text, r.source, r.score) for r in comparison.responses]


def test_v2(read: Read) -> None:
    [comparison] = read(
        {
            "user_input": render_prompt("Add.", "1 1"),
            "responses_and_scores": [
                {"response": "2", "source": "gpt4", "score": 9},
                {"response": "", "source": "icm-1.3b", "score": 0.0},
            ],
        }
    )
    assert comparison.turns == [{"role": "user", "content": "Add.", "input": "1 1"}]
    assert told(comparison) == [("2", "gpt4", 9.0), ("", "icm-1.3b", 0.0)]
    assert [r.is_empty for r in comparison.responses] == [False, True]
    assert [r.is_out_of_range for r in comparison.responses] == [False, True]
    assert comparison.is_scored


def test_v1_is_ordered_and_has_no_scores(read: Read) -> None:
    [comparison] = read({"user_input": "Why?", "completion_a": "good", "completion_b": "bad"})
    assert comparison.turns == USER
    assert told(comparison) == [("good", None, None), ("bad", None, None)]
    assert not comparison.is_scored


BECAUSE, NO = ([{"role": "assistant", "content": text}] for text in ("Because.", "No."))


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Why?", "chosen": "Because.", "rejected": "No."},
        {"prompt": USER, "chosen": BECAUSE, "rejected": NO},
        {"prompt": "Why?", "chosen": [*USER, *BECAUSE], "rejected": [*USER, *NO]},
        {"chosen": [*USER, *BECAUSE], "rejected": [*USER, *NO]},
        {
            "conversations": [{"from": "human", "value": "Why?"}],
            "chosen": {"from": "gpt", "value": "Because."},
            "rejected": {"from": "gpt", "value": "No."},
        },
        {"instruction": "Why?", "input": "", "chosen": "Because.", "rejected": "No."},
        {"instruction": "Why?", "input": "<noinput>", "output": ["Because.", "No."]},
    ],
)
def test_chosen_and_rejected(read: Read, record: dict[str, Any]) -> None:
    [comparison] = read(record)
    assert comparison.turns == USER
    assert [response.text for response in comparison.responses] == ["Because.", "No."]
    assert not comparison.is_scored


def test_input_and_earlier_turns_belong_to_the_prompt(read: Read) -> None:
    turns = [*USER, *BECAUSE, {"role": "user", "content": "And then?"}]
    with_input, chat = read(
        {"instruction": "Add.", "input": "1 1", "chosen": "2", "rejected": "3"},
        {"prompt": turns, "chosen": "x", "rejected": "y"},
    )
    assert with_input.turns == [{"role": "user", "content": "Add.", "input": "1 1"}]
    assert chat.turns == turns


def test_scores_and_sources_of_a_preference(read: Read) -> None:
    pair = {"prompt": "Why?", "chosen": "a", "rejected": "b"}
    argilla, ours = read(
        pair | {"chosen-rating": 5, "rejected-rating": 4},
        pair | {"id": 7, "score_chosen": 9.0, "score_rejected": 2, "chosen_source": "gpt4"},
    )
    assert told(argilla) == [("a", None, 5.0), ("b", None, 4.0)]
    assert told(ours) == [("a", "gpt4", 9.0), ("b", None, 2.0)] and ours.id == "7"


def test_several_files_and_json_lines(tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.json"
    record = {"prompt": "Why?", "chosen": "a", "rejected": "b"}
    one.write_text(json.dumps(record) + "\n\n" + json.dumps(record) + "\n")
    two.write_text(json.dumps([record]))
    names = [c.name for c in read_comparisons([str(one), str(two)])]
    assert names == [f"{one} record 1", f"{one} record 3", f"{two} record 0"]


RENDERED = st.tuples(
    st.text(max_size=30) | st.just(f"Say{INPUT}and{RESPONSE}"), st.text(max_size=30)
)


@given(RENDERED)
def test_a_rendered_prompt_is_never_wrapped_twice(asked: tuple[str, str]) -> None:
    rendered = render_prompt(*asked)
    assert render_chat(turns_of(rendered), bos_token="") == rendered


@given(st.text(max_size=60))
def test_a_bare_prompt_is_wrapped_once(prompt: str) -> None:
    assert turns_of(prompt) == [{"role": "user", "content": prompt}]


def test_a_newline_after_the_prompt_changes_nothing() -> None:
    assert turns_of(render_prompt("Why?", "") + "\n") == USER


def test_lists_of_scores_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "cmp_data_scores.json"
    path.write_text(json.dumps({"gpt4": [9.0] * 5, "icm-1.3b": [4.0, 3.5]}))
    with pytest.raises(InputError) as caught:
        read_comparisons([str(path)])
    assert "(gpt4 5, icm-1.3b 2)" in str(caught.value)
    assert "one place means different prompts" in str(caught.value)


@pytest.mark.parametrize(
    "record, message",
    [
        ({"instruction": "Why?", "output": "So."}, r"record 0 is no comparison \(its keys: instr"),
        (["Why?", "So."], r"record 0 is a JSON array, not an object"),
        ({"chosen": "a", "rejected": "b"}, "record 0 has no prompt: none of the keys prompt"),
        ({"prompt": " ", "chosen": "a", "rejected": "b"}, "`prompt` is empty"),
        ({"prompt": [], "chosen": "a", "rejected": "b"}, "`prompt` is empty"),
        ({"prompt": "?", "chosen": [*USER], "rejected": "b"}, "`chosen` does not end with a mess"),
        ({"prompt": "?", "chosen": [], "rejected": "b"}, "`chosen` does not end with a mess"),
        (
            {"chosen": [*USER, *BECAUSE], "rejected": BECAUSE},
            "`chosen` and `rejected` answer different conversations",
        ),
        (
            {"prompt": "?", "chosen": "a", "rejected": "b", "score_chosen": 3},
            "only one of `chosen` and `rejected` has a score",
        ),
        ({"instruction": "?", "output": ["a"]}, "`output` has 1 entries"),
        ({"user_input": "?", "completion_a": "a"}, "`completion_b` is a JSON null"),
        ({"user_input": "?", "responses_and_scores": {"a": 1}}, "is not a list of objects"),
        (
            {"user_input": "?", "responses_and_scores": [{"response": "a", "score": None}]},
            "`responses_and_scores: score` is null, not a number: leave out",
        ),
        (
            {"user_input": "?", "responses_and_scores": [{"response": "a", "score": True}]},
            "`responses_and_scores: score` is true",
        ),
        (
            {"user_input": "?", "responses_and_scores": [{"response": "a", "score": float("nan")}]},
            "`responses_and_scores: score` is NaN",
        ),
    ],
)
def test_bad_records_are_named(read: Read, record: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(record)


def test_no_comparison_at_all(read: Read) -> None:
    with pytest.raises(InputError, match="hold no comparison"):
        read()


def test_rows_of_parquet_are_those_of_json(tmp_path: Path) -> None:
    """Also where another record has keys that this one lacks: they are null in a column."""
    records = [*bench({"hep-go": 2}), scored("Why?", ("So.", 9), ("No.", 4.5))]
    keys = {key: None for record in records for key in record}
    table = pyarrow.Table.from_pylist([keys | record for record in records])
    parquet.write_table(table, tmp_path / "cmp.parquet")
    found = read_comparisons([str(tmp_path / "cmp.parquet")])
    same = read_comparisons([write(tmp_path, records)])
    assert [replace(c, file="") for c in found] == [replace(c, file="") for c in same]
