"""`judge.json` of judgements that can be added up by hand."""

import json

from llama_gpt4_data.judge_result import result

from .judging import judgement

JUDGED = [
    judgement("1", "ab", (9, 5), category="math", lengths=(10, 20)),
    judgement("1", "ba", (6, 7), category="math", lengths=(20, 10)),
    judgement("2", "ab", (4, 8), lengths=(30, 25)),
    judgement("2", "ba", (4, 2), lengths=(25, 30)),
    judgement("3", "ab", None, source={"judge": "gpt-4", "failure": "unreadable"}),
    judgement("3", "ba", (4, 2), source={"judge": "gpt-4", "findings": ["truncated"]}),
]


def test_all_numbers_of_a_pair() -> None:
    found = json.loads(json.dumps(result({"limit": None}, JUDGED, None, [])))
    [pair] = found["pairs"]
    assert (pair["models"], pair["questions"], pair["missing"]) == (["a", "b"], 2, ["3"])
    assert pair["points"] == [11, 11.5] and pair["mean_scores"] == [5.5, 5.75]
    assert pair["relative_score"]["value"] == 11 / 11.5 and pair["percent"] == "96"
    assert pair["win_tie_lose"] == [1, 0, 1] and pair["win_rate"]["value"] == 0.5
    assert (pair["conflicts"], pair["conflict_rate"]["value"]) == (0, 0)
    assert pair["by_order"][1] == {
        "order": ["b", "a"],
        "points": [9, 10],
        "relative_score": pair["by_order"][1]["relative_score"],
    }
    assert pair["by_category"]["math"]["points"] == [8, 5.5]
    assert pair["mean_characters"] == [20, 22.5]
    assert found["judgements"] == {
        "total": 6,
        "scored": 5,
        "missing": 1,
        "failures": {"unreadable": 1},
        "findings": {"truncated": 1},
        "judges": ["gpt-4"],
    }
    assert found["matrix"] == {"a": {"b": [1, 0, 1]}, "b": {"a": [1, 0, 1]}}
    assert found["ranking"] is None and found["settings"] == {"limit": None}
    assert "Dubois" in found["methods"]["length_controlled_win_rate"]


def test_the_opponent_comes_second() -> None:
    found = result({}, JUDGED, "a", [])
    [pair] = found["pairs"]
    assert pair["models"] == ["b", "a"] and pair["points"] == [11.5, 11]
    assert pair["by_order"][0]["order"] == ["b", "a"]
    assert list(found["models"]["scores"]) == ["b"]


def test_a_pair_without_a_common_score_has_no_numbers() -> None:
    found = result({}, [judgement("1", "ab", None), judgement("1", "ba", (3, 4))], None, [])
    [pair] = found["pairs"]
    assert pair["questions"] == 0 and pair["relative_score"] is None and pair["percent"] is None
    assert pair["mean_scores"] is None and pair["win_tie_lose"] == [0, 0, 0]
    assert found["models"]["scores"]["a"]["relative_score"] is None
