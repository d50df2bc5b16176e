"""What ratings come to for an answer, a prompt and a model."""

from typing import Any

import pytest
from llama_gpt4_data.joined import Answered
from llama_gpt4_data.rated import RatedAnswer, RatedPrompt, count_rated, judgements
from llama_gpt4_data.requests import Request
from llama_gpt4_data.sources import Source
from llama_gpt4_data.task import Ended, Made

from llama_gpt4.prompt import render_prompt

from .endpoints import endpoint_config, reply, request


class Item:
    """One rating that was asked for."""

    source = Source(
        id="7", instruction="?", input="", output="x", repeat=0, file="a", index=0, value={"n": 1}
    )

    def request(self, replies: Any) -> Request | None:
        return None if replies else request()

    def made(self, replies: Any) -> Made:
        return Made()


def ended(score: float | str | None) -> Ended:
    """A rating with a score, without one, or `open`."""
    if score == "open":
        return Ended(Item(), [], None)
    if score is None:
        return Ended(Item(), [reply(request(), "Hm.")], Made(failure="unreadable"))
    made = Made(record={"score": score, "reason": "So."})
    return Ended(Item(), [reply(request(), f"{score}\nSo.")], made)


def answer(*scores: float | str | None, model: str = "m", text: str = "x") -> RatedAnswer:
    source = Source(
        id="7", instruction="?", input="i", output=text, repeat=0, file="a", index=0, value={"n": 1}
    )
    return RatedAnswer(model, source, [ended(score) for score in scores])


def prompt(*answers: RatedAnswer) -> RatedPrompt:
    return RatedPrompt(Answered("7", "?", "i"), list(answers))


@pytest.mark.parametrize(
    "scores, score",
    [((8.0,), 8), ((2.0, 9.0, 8.0), 8), ((8.0, 9.0), 8.5), ((None, 3.0, None), 3)],
)
def test_the_score_is_the_median_of_the_ratings_that_have_one(
    scores: tuple[float | None, ...], score: float
) -> None:
    assert answer(*scores).state == "rated" and answer(*scores).score == score


def test_the_states_of_an_answer() -> None:
    assert answer(None, None).state == "failed" and answer(None).failure == "unreadable"
    assert answer(8.0, "open").state == "open"
    assert answer(text=" ").state == "empty" and answer(text="").failure == "empty answer"


def test_prompts_add_up_and_keep_what_was_rated() -> None:
    whole = prompt(answer(9.0, model="a"), answer(4.0, model="b"))
    part = prompt(answer(None, model="a"), answer(4.0, model="b"), answer(model="c", text=""))
    none = prompt(answer(None, model="a"), answer(model="b", text=""))
    opened = prompt(answer("open", model="a"), answer(4.0, model="b"))
    prompts = [whole, part, none, opened]
    ratings = [e for p in prompts for a in p.answers for e in a.ratings]
    counted = count_rated(prompts, ratings, endpoint_config())
    assert (len(counted.records), len(counted.failed), counted.n_open) == (2, 1, 1)
    assert counted.records[0]["user_input"] == render_prompt("?", "i")
    assert counted.records[1]["responses_and_scores"] == [
        {"response": "x", "source": "b", "score": 4.0}
    ]
    assert counted.failed == [{"n": 1, "failure": "unreadable"}]
    ratings_told = counted.details["ratings"]
    assert (ratings_told["scored"], ratings_told["failed"], ratings_told["open"]) == (4, 2, 1)
    b = counted.details["answers"]["b"]
    assert (b["answers"], b["rated"], b["empty"], b["mean"]) == (4, 3, 1, 4.0)
    assert "b: 3 rated, 1 empty, mean 4.00, median 4" in counted.notes


def test_a_judgement_without_a_score_is_told_with_its_text() -> None:
    told = list(judgements([prompt(answer(None, 8.0), answer("open"))]))
    assert [(t["scores"], t["text"], t["failure"], t["sample"]) for t in told] == [
        ([None], "Hm.", "unreadable", 0),
        ([8.0], "8.0\nSo.", None, 1),
    ]
