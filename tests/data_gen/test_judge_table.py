"""What a terminal shows of a result."""

from llama_gpt4_data.judge_result import result
from llama_gpt4_data.judge_table import table

from .judging import judgement

BOTH = [
    judgement(str(n), order, scores, lengths=(n + 5, 7))
    for n in range(4)
    for order, scores in (("ab", (8, 4)), ("ba", (9, 6)), ("ac", (7, 7)), ("bc", (5, 6)))
]


def test_against_an_opponent() -> None:
    judged = [j for j in BOTH if set(j.models) == {"a", "b"}]
    shown = table(result({}, judged, "b", []), "b").split("\n")
    assert shown[0] == "8 judgements by gpt-4: 8 scored, 0 missing"
    heads, row = shown[2:4]
    assert heads.split()[:2] == ["against", "b"] and row.startswith("a ")
    assert "28 : 26" in row and "107.7% (107.7% to 107.7%)" in row and row.endswith("4 of 4")
    assert len(shown) == 4


def test_all_against_all_with_a_ranking_and_what_is_missing() -> None:
    missing = judgement("9", "ab", None, source={"judge": "gpt-4", "failure": "unreadable"})
    shown = table(result({}, [*BOTH, missing], None, ["a", "c", "b"]), None)
    assert "missing: 1 unreadable" in shown
    assert "left out of a : b: 1 questions without a score (9)" in shown
    matrix = shown.partition("wins/ties/losses of the row against the column\n")[2].split("\n")
    assert matrix[1].split() == ["a", "4/0/0", "0/4/0"]
    assert "rank correlation with the order a, c, b: " in shown
