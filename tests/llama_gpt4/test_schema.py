"""Values against the dataclasses: what does not fit is told by its key."""

import pytest

from llama_gpt4.compose import compose_training
from llama_gpt4.errors import InputError


@pytest.mark.parametrize(
    "override, message",
    [
        ("+sed=1", "sed is not a key of this program; did you mean seed?"),
        ("optim.lr=abc", "optim.lr: value 'abc' of type 'str' could not be converted to Float"),
        ("model.n_layers=2.5", "model.n_layers: value '2.5' of type 'float' could not be"),
        ("train.epochs=null", "train.epochs: incompatible value 'None' for field of type 'float'"),
        ("data.files=x.json", "data.files is a list: write data.files=[…]"),
        ("data.weights=2", "data.weights is a list: write data.weights=[…]"),
        ("data.weights=[1,x]", "data.weights[1]: value 'x' of type 'str' could not be converted"),
        ("zero.deepspeed=x", "zero.deepspeed is a mapping: write zero.deepspeed={name: …}"),
        ("schedule=3", "schedule is a group of keys: write schedule.<key>=…, with one of kind, "),
        ("model=from_path", "model.path has no value"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(override: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        compose_training([override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
