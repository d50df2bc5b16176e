"""A judge rates the answers of several models, each on its own; nothing is paid for twice."""

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from llama_gpt4_data import cli
from llama_gpt4_data.findings import ScorePolicies
from llama_gpt4_data.joined import read_answered
from llama_gpt4_data.rate import RateConfig, RatingItem, rating_items
from llama_gpt4_data.requests import Reply
from llama_gpt4_data.sources import Source

from llama_gpt4.errors import InputError
from llama_gpt4.prompt import render_prompt

from .endpoints import endpoint_config, prices_config, reply, run_config
from .teacher import Teacher
from .teacher_answers import hidden_score

SOURCE = Source(
    id="7", instruction="Add.", input="1 1", output="2", repeat=0, file="a.json", index=3, value={}
)


def config(**values: Any) -> RateConfig:
    given: dict[str, Any] = {
        "answers": {"a": "a.json"},
        "missing": "error",
        "limit": None,
        "language": "en",
        "repeats": 1,
        "policy": ScorePolicies(unreadable="retry", out_of_range="keep"),
        "run": run_config(),
        "judge": endpoint_config(parameters={"temperature": 0.2}),
        "prices": prices_config(),
    }
    return RateConfig(**(given | values))


def rated(*texts: str, **policy: str) -> tuple[RatingItem, list[Reply]]:
    """An item after the judge said `texts`, one after the other."""
    usual = {"unreadable": "retry", "out_of_range": "keep"}
    item = RatingItem(SOURCE, 0, config(policy=ScorePolicies(**(usual | policy))))
    replies: list[Reply] = []
    for text in texts:
        asked = item.request(replies)
        assert asked is not None
        replies.append(reply(asked, text))
    return item, replies


def test_the_judge_sees_instruction_and_input_and_one_answer() -> None:
    item, _ = rated()
    asked = item.request([])
    assert asked is not None and asked.body["temperature"] == 0.2
    [message] = asked.body["messages"]
    assert message["content"].startswith(
        "### Instruction\n\nAdd.\n\n1 1\n\n### Response\n\n2\n\n### End of Response\n\nWe would"
    )


def test_a_rating_has_its_score_and_reason() -> None:
    item, replies = rated("9\nRight.")
    assert item.request(replies) is None
    made = item.made(replies)
    assert made.record == {"score": 9.0, "reason": "Right."} and not made.findings


def test_an_unreadable_rating_is_asked_for_once_more_and_never_a_score() -> None:
    item, replies = rated("Great!", "8")
    assert item.made(replies).record == {"score": 8.0, "reason": ""}
    item, replies = rated("Great!", "Very good!")
    assert item.request(replies) is None, "never paid more than twice"
    made = item.made(replies)
    assert made.record is None and made.failure == "unreadable"
    item, replies = rated("Great!", unreadable="drop")
    assert item.request(replies) is None


def test_a_score_outside_the_scale_by_policy() -> None:
    item, replies = rated("0\nBad.")
    assert item.request(replies) is None
    made = item.made(replies)
    assert made.record == {"score": 0.0, "reason": "Bad."} and made.findings == ["out_of_range"]
    item, replies = rated("0", out_of_range="drop")
    assert item.made(replies).failure == "out_of_range"
    item, replies = rated("0", "11", out_of_range="retry")
    assert item.request(replies) is None and item.made(replies).record is not None


def test_a_cut_explanation_keeps_its_score() -> None:
    item, _ = rated()
    asked = item.request([])
    assert asked is not None
    replies = [reply(asked, "7\nIt is", finish_reason="length")]
    assert item.request(replies) is None
    assert item.made(replies).record is not None and item.made(replies).findings == ["truncated"]


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(InputError, match="repeats=0 must be positive"):
        config(repeats=0)
    with pytest.raises(InputError, match="missing=skip is not one of keep, drop, error"):
        config(missing="skip")


def write(path: Path, *records: tuple[str, str]) -> str:
    path.write_text(json.dumps([{"instruction": i, "output": o} for i, o in records]))
    return str(path)


def test_equal_answers_share_a_rating_and_empty_ones_get_none(tmp_path: Path) -> None:
    files = {
        "a": write(tmp_path / "a.json", ("One?", "1"), ("Two?", "two"), ("Three?", "")),
        "b": write(tmp_path / "b.json", ("One?", "1"), ("Two?", "II"), ("Three?", " ")),
    }
    joined, _ = read_answered(files, "error", None)
    items = rating_items(joined, config(repeats=3))
    assert [(item.source.output, item.number) for item in items] == [
        (text, number) for text in ("1", "two", "II") for number in range(3)
    ]
    assert len({item.key for item in items}) == 9


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def rate(teacher: Teacher, tmp_path: Path) -> Any:
    """Rates two files of answers; the exit code and the folder with the results."""
    files = [
        write(
            tmp_path / "gpt4.json",
            ("One?", "It is one."),
            ("Two?", "It is two."),
            ("Three?", "Same."),
            ("Four? [[fault:empty]]", "Spoiled."),
            ("Five? [[fault:400]]", "Refused."),
            ("Six?", ""),
        ),
        write(
            tmp_path / "old.json",
            ("Six?", "6"),
            ("Five? [[fault:400]]", ""),
            ("Four? [[fault:empty]]", "Spoiled too."),
            ("Three?", "Same."),
            ("Two?", "2"),
            ("One?", "1"),
        ),
    ]

    def run(*more: str, answers: str | None = None) -> tuple[int, Path]:
        code = cli.main(
            [
                "rate",
                answers or f"answers={{gpt-4: {files[0]}, davinci-003: {files[1]}}}",
                f"run.output_dir={tmp_path / 'out'}",
                f"run.journal_dir={tmp_path / 'journal'}",
                f"judge.base_url={teacher.base_url}",
                *more,
            ]
        )
        return code, tmp_path / "out"

    return run


def test_every_rating_and_every_prompt_is_accounted_for(rate: Any, teacher: Teacher) -> None:
    code, out = rate()
    assert code == 0
    report = json.loads((out / "report.json").read_text())
    assert (report["items"], report["records"], report["failed"], report["open"]) == (6, 4, 2, 0)
    assert report["ratings"] == {
        "asked_for": 9,
        "scored": 6,
        "failed": 3,
        "open": 0,
        "failures": {"unreadable": 2, "400: Invalid value for 'temperature'.": 1},
    }
    gpt4 = report["answers"]["gpt-4"]
    assert (gpt4["answers"], gpt4["rated"], gpt4["failed"], gpt4["empty"]) == (6, 3, 2, 1)
    assert teacher.stats().paid_twice == 2, "the two that were asked once more"

    prompts = json.loads((out / "data.json").read_text())
    assert prompts[0] == {
        "user_input": render_prompt("One?", ""),
        "responses_and_scores": [
            {"response": r, "source": s, "score": hidden_score(r)}
            for r, s in (("It is one.", "gpt-4"), ("1", "davinci-003"))
        ],
    }
    assert [len(prompt["responses_and_scores"]) for prompt in prompts] == [2, 2, 2, 1]
    [rating] = lines(out / "data.jsonl")[0]["provenance"]["ratings"]["gpt-4"]
    assert rating["reason"] == "That is what these answers are worth."
    assert rating["parameters"] == {"max_tokens": 1024, "temperature": 0.2, "top_p": 1.0}
    assert {line["failure"] for line in lines(out / "failed.jsonl")} == {
        "unreadable",
        "400: Invalid value for 'temperature'.",
    }

    told = lines(out / "judgements.jsonl")
    assert len(told) == 10, "one a model where two share a rating"
    assert [line["scores"] for line in told if line["failure"] == "unreadable"] == [[None]] * 2
    assert next(line["text"] for line in told if line["failure"] is None).startswith(
        f"{hidden_score('It is one.'):g}\n"
    )


def test_the_same_line_pays_nothing_and_repeats_make_a_median(rate: Any, teacher: Teacher) -> None:
    first_code, out = rate()
    first = (out / "data.json").read_bytes()
    teacher.behaves()
    assert (first_code, rate()) == (0, (0, out))
    assert not teacher.stats().answers and (out / "data.json").read_bytes() == first
    teacher.behaves()
    code, _ = rate("repeats=3", "limit=2")
    assert code == 0
    assert teacher.stats().requests == 8, "two more of each of four answers"
    record = lines(out / "data.jsonl")[0]
    scores = [r["score"] for r in record["provenance"]["ratings"]["gpt-4"]]
    assert len(scores) == 3 and record["responses_and_scores"][0]["score"] == median(scores)


def test_files_that_do_not_match_are_refused_before_anything_is_sent(
    rate: Any, teacher: Teacher, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = write(tmp_path / "other.json", ("Seven?", "7"))
    code, out = rate(answers=f"answers={{a: {tmp_path / 'gpt4.json'}, b: {other}}}")
    assert code == 2 and not out.exists() and teacher.stats().requests == 0
    [line] = capfd.readouterr().err.splitlines()
    assert "answers.a: none of the 6 instructions" in line
