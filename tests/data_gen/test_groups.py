"""Where a prompt and its responses lie when the prompt comes once."""

from llama_gpt4_data.groups import Group, layout, predictions

GROUPS = (Group(3, (2, 1, 4)), Group(1, (1,)), Group(2, (1, 1)))


def test_further_responses_go_on_from_the_prompt() -> None:
    plan = layout(GROUPS)
    assert plan.positions.tolist() == [0, 1, 2, 3, 4, 3, 3, 4, 5, 6, 0, 1, 0, 1, 2, 2]
    assert plan.document_lengths == (5, 1, 4, 2, 3, 1)
    none = range(0)
    assert plan.prefixes == (none, range(3), range(3), none, none, range(12, 14))
    assert plan.ends.tolist() == [4, 5, 9, 11, 14, 15]


def test_every_token_of_a_response_is_predicted_once() -> None:
    whose, rows, predicting = predictions(GROUPS)
    assert whose.tolist() == [0, 0, 1, 2, 2, 2, 2, 3, 4, 5]
    assert rows.tolist() == [3, 4, 5, 6, 7, 8, 9, 11, 14, 15]
    assert predicting.tolist() == [2, 3, 2, 2, 6, 7, 8, 10, 13, 13]


def test_a_dummy_predicts_nothing() -> None:
    dummy = (Group(1, (0,)),)
    assert [x.tolist() for x in predictions(dummy)] == [[], [], []]
    assert layout(dummy).ends.tolist() == [0] and layout(dummy).document_lengths == (1,)
