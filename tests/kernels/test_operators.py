from dataclasses import FrozenInstanceError, fields

import pytest
from llama_gpt4_kernels.operators import Operators
from llama_gpt4_kernels.reference import REFERENCE


def test_a_set_names_each_operator_and_stays_as_it_was_chosen() -> None:
    for field in fields(Operators):
        assert getattr(REFERENCE, field.name).__name__ == field.name
    with pytest.raises(FrozenInstanceError):
        REFERENCE.rope = REFERENCE.swiglu  # type: ignore[misc]
