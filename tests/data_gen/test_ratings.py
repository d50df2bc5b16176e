"""What a judge is asked, and the one number that is read from its first line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_gpt4_data.ratings import rating_prompt, read_rating


def test_the_papers_prompt_word_for_word() -> None:
    assert rating_prompt("Add {x}.", "It is {x}.", "en") == (
        "### Instruction\n\nAdd {x}.\n\n### Response\n\nIt is {x}.\n\n### End of Response\n\n"
        "We would like to request your feedback on the performance of AI assistant in response to "
        "the user question displayed above. Please rate the helpfulness, relevance, accuracy, "
        "level of details of their responses. Each assistant receives an overall score on a scale "
        "of 1 to 10, where a higher score indicates better overall performance. Please first "
        "output a single line containing value indicating the scores. In the subsequent line, "
        "please provide a comprehensive explanation of your evaluation, avoiding any potential "
        "bias."
    )


def test_the_prompt_in_chinese_has_the_same_frame() -> None:
    prompt = rating_prompt("加。", "二", "zh")
    assert prompt.startswith("### Instruction\n\n加。\n\n### Response\n\n二\n\n### End of Response")
    assert "1 到 10 分" in prompt and "We would like" not in prompt


@pytest.mark.parametrize(
    "text, score",
    [
        ("9", 9),
        ("\n\n 7 \nGood.", 7),
        ("Score: 8.5\nGood.", 8.5),
        ("**9**\nGood.", 9),
        ("9.", 9),
        ("8.50", 8.5),
        ("8/10", 8),
        ("10/10", 10),
        ("I would give it 6 out of 10.\nFor 3 reasons.", 6),
        ("Assistant 1: 4", 4),
        ("[[8]]", 8),
        ("得8分\n很好。", 8),
        ("评分：7.5", 7.5),
        ("9\r\n1 mistake, 2 omissions", 9),
    ],
)
def test_a_score(text: str, score: float) -> None:
    rating = read_rating(text)
    assert rating.score == score and not rating.is_out_of_range


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The answer is good.\n9",
        "8 9",
        "8-9",
        "8 to 9",
        "-1",
        "8.7",
        "8,5",
        "8/100",
        "1e1",
        "On a scale of 1 to 10: 8",
        "GPT-4 says: fine",
    ],
)
def test_what_is_no_single_number_is_no_score(text: str) -> None:
    assert read_rating(text).score is None


@pytest.mark.parametrize("text, score", [("0", 0), ("0.5", 0.5), ("10.5", 10.5), ("100", 100)])
def test_a_score_outside_the_scale_is_read_and_flagged(text: str, score: float) -> None:
    rating = read_rating(text)
    assert rating.score == score and rating.is_out_of_range


def test_the_reason_is_all_below_the_first_line() -> None:
    assert (
        read_rating("9\n\nIt is right.\n2 of 3 points.\n").reason == "It is right.\n2 of 3 points."
    )
    assert read_rating("9").reason == ""


@given(st.integers(0, 24).map(lambda n: n / 2), st.text(max_size=40))
def test_whatever_is_said_below_the_score_does_not_change_it(score: float, reason: str) -> None:
    assert read_rating(f"{score:g}\n{reason}").score == score


@given(st.text(max_size=60))
def test_no_text_is_too_strange(text: str) -> None:
    score = read_rating(text).score
    assert score is None or (score >= 0 and 2 * score == int(2 * score))
