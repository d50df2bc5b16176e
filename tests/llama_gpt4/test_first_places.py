"""Against a dictionary."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llama_gpt4.first_places import FirstPlaces

batch = st.lists(st.integers(0, 40) | st.integers(2**64 - 9, 2**64 - 1), max_size=12, unique=True)


@given(st.lists(batch, max_size=12))
def test_places_are_those_of_a_dictionary(batches: list[list[int]]) -> None:
    known: dict[int, int] = {}
    places = FirstPlaces()
    for batch in batches:
        digests = np.array(batch, np.uint64)
        found = places.find(digests).tolist()
        assert found == [known.get(digest, -1) for digest in batch]
        new = [digest for digest in batch if digest not in known]
        numbers = range(len(known), len(known) + len(new))
        known.update(zip(new, numbers, strict=True))
        places.add(np.array(new, np.uint64), np.array(numbers, np.int64))


def test_many_are_few_runs() -> None:
    places, n = FirstPlaces(), 0
    for _ in range(300):
        places.add(np.arange(n, n + 10, dtype=np.uint64), np.arange(n, n + 10))
        n += 10
    assert len(places._runs) <= 10
    assert places.find(np.arange(n + 1, dtype=np.uint64)).tolist() == [*range(n), -1]
