"""Which endpoints are refused before anything is sent."""

from typing import Any

import pytest
from llama_gpt4_data.endpoint_config import api_key

from llama_gpt4.errors import InputError

from .endpoints import endpoint_config


@pytest.mark.parametrize(
    "values, words",
    [
        ({"kind": "anthropic"}, "kind=anthropic is not one of openai, azure"),
        ({"in_flight": 0}, "in_flight=0 must be positive"),
        ({"attempts": 0}, "attempts=0 must be positive"),
        ({"timeout_seconds": 0}, "timeout_seconds=0 must be positive"),
        ({"requests_per_minute": 0}, "requests_per_minute=0 must be positive"),
        ({"parameters": {"stream": True}}, r"parameters\.stream is set by the program"),
        ({"parameters": {"max_tokens": "many"}}, r"parameters\.max_tokens=many must be a positive"),
        ({"licence": " "}, "licence is empty"),
        ({"base_url": "127.0.0.1:80"}, "base_url=127.0.0.1:80 is no address"),
        ({"base_url": "https://me:sk-1@a.example/v1"}, "base_url holds a name, a password"),
        ({"base_url": "https://a.example/v1?key=sk-1"}, "base_url holds a name, a password"),
        ({"kind": "azure", "base_url": None}, "kind=azure needs base_url"),
    ],
)
def test_what_cannot_work_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        endpoint_config(**values)
    assert "\n" not in str(error.value)


def test_a_key_comes_from_the_environment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    far = endpoint_config(None, api_key_variable="SOME_KEY")
    with pytest.raises(InputError, match="the environment variable SOME_KEY holds no key"):
        api_key(far)
    assert api_key(endpoint_config("http://127.0.0.1:8/v1", api_key_variable="SOME_KEY")) == "none"
    monkeypatch.setenv("SOME_KEY", " sk-1\n")
    assert api_key(far) == "sk-1"


def test_the_address_is_openais_unless_another_is_given() -> None:
    assert endpoint_config(None).address == "https://api.openai.com/v1"
    assert endpoint_config("http://127.0.0.1:8/v1/").address == "http://127.0.0.1:8/v1"
