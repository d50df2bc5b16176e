"""What travels is listed, and secrets are never among what is written down."""

import pytest
from llama_gpt4_launch.environment import EnvironmentConfig, secret_values, travelling

from llama_gpt4.errors import InputError


def environment(variables: list[str], secrets: list[str]) -> EnvironmentConfig:
    return EnvironmentConfig(variables=variables, secrets=secrets)


def test_only_what_is_listed_and_set_travels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTED", "here")
    monkeypatch.setenv("UNLISTED", "stays")
    monkeypatch.delenv("UNSET", raising=False)
    config = environment(["LISTED", "UNSET", "GIVEN=a=b c"], [])
    assert travelling(config) == {"LISTED": "here", "GIVEN": "a=b c"}


@pytest.mark.parametrize("entry", ["WANDB_API_KEY", "HF_TOKEN=x", "my_secret", "DB_PASSWORD"])
def test_a_secret_among_the_variables_is_refused(entry: str) -> None:
    name = entry.partition("=")[0]
    with pytest.raises(InputError, match=rf"environment\.secrets=\[{name}\]") as error:
        environment([entry], [])
    assert "=x" not in str(error.value)


def test_a_secret_is_named_without_its_value() -> None:
    with pytest.raises(InputError, match="gives HF_TOKEN a value") as error:
        environment([], ["HF_TOKEN=hf_123"])
    assert "hf_123" not in str(error.value)


def test_a_secret_that_is_not_set_is_one_line() -> None:
    config = environment([], ["HF_TOKEN"])
    assert secret_values(config, {"HF_TOKEN": "hf_123"}) == {"HF_TOKEN": "hf_123"}
    for values in ({}, {"HF_TOKEN": ""}, {"HF_TOKEN": "two\nlines"}):
        with pytest.raises(InputError, match="HF_TOKEN, which is not set"):
            secret_values(config, values)


def test_what_is_no_name_or_no_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="'a b' is not the name of a variable"):
        environment(["a b"], [])
    monkeypatch.setenv("LISTED", "two\nlines")
    with pytest.raises(InputError, match="LISTED has more than one line"):
        travelling(environment(["LISTED"], []))
