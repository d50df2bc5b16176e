from dataclasses import FrozenInstanceError, fields

import pytest
from llama_gpt4_kernels.fused import FUSED
from llama_gpt4_kernels.operators import Operators
from llama_gpt4_kernels.reference import REFERENCE


@pytest.mark.parametrize("chosen", [REFERENCE, FUSED], ids=["reference", "fused"])
def test_a_set_names_each_operator_and_stays_as_it_was_chosen(chosen: Operators) -> None:
    for field in fields(Operators):
        assert getattr(chosen, field.name).__name__ == field.name
    with pytest.raises(FrozenInstanceError):
        chosen.rope = chosen.swiglu  # type: ignore[misc]
