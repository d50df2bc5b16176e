"""Which records are held out; that each part is made of its own: test_prepare.py."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from llama_gpt4.holdout import Holdout, asked, split
from llama_gpt4.records import Record


def test_records_with_one_prompt_stay_on_one_side() -> None:
    records = [Record(f"Q{i % 10}", "", f"A{i}", "f", i) for i in range(100)]
    for seed in range(5):
        train, held_out = split(records, 0.25, seed, asked)
        assert not {r.instruction for r in train} & {r.instruction for r in held_out}
        assert 25 <= len(held_out) <= 34 and len(train) + len(held_out) == 100


@given(st.lists(st.text(max_size=3), min_size=8, max_size=40, unique=True), st.integers(0, 9))
def test_the_lowest_digests_are_held_out(prompts: list[str], seed: int) -> None:
    """As runs that began before have them."""
    holdout = Holdout.of(prompts, 0.25, seed)
    digests = {p: hashlib.sha256(f"{seed}\0{p}".encode()).hexdigest() for p in prompts}
    last = sorted(digests.values())[round(0.25 * len(prompts)) - 1]
    assert [holdout.has(p) for p in prompts] == [digests[p] <= last for p in prompts]
