"""Scores are read where a prompt wants them, and nowhere else."""

import json
import os
import re
from pathlib import Path

import pytest
from llama_gpt4_data.judge_answers import read_categories
from llama_gpt4_data.judge_prompts import prompt_for
from llama_gpt4_data.judge_scores import Scores, is_out_of_range, read_scores

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")
UNLIKE_ITS_TEXT = ("review_bard_vicuna-13b.jsonl", 70, (10.0, 4.0), [10, 2])
"""One of the scores that were put in by hand is not what the judge says."""


@pytest.mark.parametrize(
    "text, scores",
    [
        ("8 9\nBoth are good.", (8.0, 9.0)),
        ("\n 8.5, 7 \nBoth.", (8.5, 7.0)),
        ("Assistant 1: 8, Assistant 2: 7.5\nSince 1 is …", (8.0, 7.5)),
        ("8/10 9/10", (8.0, 9.0)),
        ("Scores: 8 out of 10, 6 out of 10.", (8.0, 6.0)),
        ("Assistant 1: 8\nAssistant 2: 7\nThe first is better.", (8.0, 7.0)),
        ("**Assistant 1's score: 8**\n**Assistant 2's score: 7**", (8.0, 7.0)),
        ("0 3\nNothing was said.", (0.0, 3.0)),
        ("助手1：8，助手2：7\n理由", (8.0, 7.0)),
        ("８ ９", (8.0, 9.0)),
        ("9\nThe other one: 8", None),
        ("8 9 10\nThree?", None),
        ("The 2 answers get 8 and 9.", None),
        ("85 90\nOf a hundred.", None),
        ("-1 -1", None),
        ("I cannot judge these answers.", None),
        ("", None),
    ],
)
def test_the_first_line_of_general_and_coding_prompts(text: str, scores: Scores | None) -> None:
    assert read_scores(text, "general") == read_scores(text, "coding") == scores


@pytest.mark.parametrize(
    "text, scores",
    [
        ("From (2, -2) to (10, 4) it is 10.\n\nOutput: (1, 10)", (1.0, 10.0)),
        ("The tuple is (1, 3). Assistant 2 performed better.", (1.0, 3.0)),
        ("To (10, 4).\nScores:\nAssistant 1: 10\nAssistant 2: 2\nSo it is.", (10.0, 2.0)),
        ("Assistant 1: 1/10 - wrong.\n\nAssistant 2: 2/10 - wrong.", (1.0, 2.0)),
        ("Assistant 1: 7 (no steps)\nAssistant 2: 3 (wrong)\n", (7.0, 3.0)),
        ("Assistant 1:\nf(2) = 26\n\nAssistant 2:\nf(2) = 1", None),
        ("Assistant 1: 5 * 8 = 40\nAssistant 2: 8 - 2 = 6", None),
        ("So: (8.5/10, 9/10)", (8.5, 9.0)),
        ("得分：（8，9）", (8.0, 9.0)),
        ("8 9\nBoth solved it.", None),
    ],
)
def test_the_end_of_a_mathematical_judgement(text: str, scores: Scores | None) -> None:
    assert read_scores(text, "math") == scores


def test_zeros_are_out_of_range_and_may_be_kept() -> None:
    assert is_out_of_range((0.0, 8.0)) and not is_out_of_range((1.0, 10.0))


def fastchats_own_reader_succeeds(text: str) -> bool:
    """Its rule: the first line is two numbers with a comma or a blank between them."""
    words = text.strip().split("\n")[0].replace(",", " ").split(" ")
    return len(words) == 2 and all(re.fullmatch(r"\d+(\.\d+)?", word) for word in words)


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_every_published_judgement_is_read_as_it_was_published() -> None:
    """Also the three of mathematics in each file, which FastChat's own reader loses."""
    assert REAL_DATA is not None
    folder = Path(REAL_DATA)
    categories = read_categories(str(folder / "vicuna_question_80.jsonl"))
    files = sorted((folder / "vicuna" / "reviews").iterdir())
    different, n_math = [], 0
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            review = json.loads(line)
            prompt = prompt_for(categories[str(review["question_id"])])
            n_math += prompt == "math"
            assert fastchats_own_reader_succeeds(review["text"]) == (prompt != "math")
            scores = read_scores(review["text"], prompt)
            assert scores is not None, (file, review["question_id"])
            if list(scores) != review["score"]:
                name = file.name.rpartition("__")[2]
                different.append((name, review["question_id"], scores, review["score"]))
    # The other five of the thirteen files are not among the real data.
    assert (len(files), n_math, different) == (8, 24, [UNLIKE_ITS_TEXT])
