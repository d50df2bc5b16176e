"""Shuffling: by seed, voter and question alone."""

from llama_gpt4.evaluation.ballot import is_swapped, shuffled

IDS = [str(n) for n in range(200)]


def test_an_order_is_the_same_again_and_another_for_each_voter_and_seed() -> None:
    order = shuffled(0, "anna", IDS)
    assert sorted(order) == sorted(IDS) and order == shuffled(0, "anna", reversed(IDS))
    assert len({tuple(order), tuple(shuffled(0, "bo", IDS)), tuple(shuffled(1, "anna", IDS))}) == 3


def test_a_new_question_moves_none_of_the_others() -> None:
    longer = shuffled(0, "anna", [*IDS, "new"])
    assert [id for id in longer if id != "new"] == shuffled(0, "anna", IDS)


def test_half_of_the_answers_change_sides_differently_for_each_voter() -> None:
    anna, bo = ([is_swapped(0, voter, id) for id in IDS] for voter in ("anna", "bo"))
    # Of 200 fair throws 99.99 % are within 100 +- 28.
    assert all(72 < sum(sides) < 128 for sides in (anna, bo))
    assert 72 < sum(a != b for a, b in zip(anna, bo, strict=True)) < 128
