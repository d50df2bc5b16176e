"""Who answers: an OpenAI-compatible endpoint, one of its models, and how hard it may be worked."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from llama_gpt4.errors import InputError, require, require_one_of
from llama_gpt4_data.ledger import Price
from llama_gpt4_data.requests import LENGTH_KEYS, Message, Request

OPENAI_URL = "https://api.openai.com/v1"
RESERVED = ("model", "messages", "n", "stream")
"""Keys of a request that are not for `parameters` to set."""


@dataclass(kw_only=True)
class EndpointConfig:
    """A model behind an OpenAI-compatible address; as teacher, translator or judge."""

    kind: str
    """`openai`: that address or any that speaks like it; `azure`: Azure OpenAI."""
    base_url: str | None
    """Such as http://127.0.0.1:8000/v1; for Azure the resource's address; null: OpenAI's own."""
    api_version: str | None
    """Of Azure."""
    api_key_variable: str
    """Name of the environment variable that holds the key. The key itself is written nowhere."""
    model: str
    """Name of the model, or of Azure's deployment."""
    parameters: dict[str, Any]
    """Sent with each request as they are: temperature, top_p, max_tokens, seed and the like; one
    that is null is not sent."""
    in_flight: int
    """Requests under way at once."""
    requests_per_minute: int | None
    tokens_per_minute: int | None
    """Limits to keep; null: what the endpoint's responses state."""
    timeout_seconds: float
    """For one request, from sending it to its last byte."""
    attempts: int
    """Times that a request is sent before it counts as failed."""
    price: Price | None
    """`{input_usd: 2.5, output_usd: 10}`, US dollars for a million tokens; null: as in `prices`."""
    licence: str
    """Of the answers, as Hugging Face spells it; each record carries it."""
    terms: str
    """What else binds who uses the answers; stands in the data's card."""

    def __post_init__(self) -> None:
        require_one_of("kind", self.kind, ("openai", "azure"))
        for name in ("in_flight", "timeout_seconds", "attempts"):
            require(getattr(self, name) > 0, f"{name}={getattr(self, name)} must be positive")
        for name in ("requests_per_minute", "tokens_per_minute"):
            limit = getattr(self, name)
            require(limit is None or limit > 0, f"{name}={limit} must be positive")
        for key in RESERVED:
            require(key not in self.parameters, f"parameters.{key} is set by the program: drop it")
        for key in LENGTH_KEYS:
            length = self.parameters.get(key)
            require(
                length is None or (type(length) is int and length > 0),
                f"parameters.{key}={length} must be a positive whole number",
            )
        require(bool(self.licence.strip()), "licence is empty: say under which the answers are")
        url = self.base_url
        require(
            url is None or url.startswith(("http://", "https://")),
            f"base_url={url} is no address: it begins with http:// or https://",
        )
        require(
            url is None or not (urlsplit(url).username or urlsplit(url).query),
            "base_url holds a name, a password or a query, which would stand in every record: keep "
            "the key in the environment variable that api_key_variable names",
        )
        if self.kind == "azure":
            require(
                url is not None and self.api_version is not None,
                "kind=azure needs base_url, such as https://NAME.openai.azure.com, and "
                "api_version, such as 2024-10-21",
            )

    @property
    def address(self) -> str:
        return (self.base_url or OPENAI_URL).rstrip("/")


def chat_request(config: EndpointConfig, messages: Sequence[Message], sample: int = 0) -> Request:
    """`messages` for the endpoint's model, in the bytes that the official client would send."""
    body = {"model": config.model, "messages": list(messages)}
    sent = {key: value for key, value in sorted(config.parameters.items()) if value is not None}
    return Request(config.address, body | sent, sample)


def api_key(config: EndpointConfig) -> str:
    """The key from the environment; a server on this machine gets along without one."""
    key = os.environ.get(config.api_key_variable, "").strip()
    if key:
        return key
    if config.address.startswith(("http://127.0.0.1", "http://localhost", "http://[::1]")):
        return "none"
    raise InputError(
        f"the environment variable {config.api_key_variable} holds no key for {config.address}: "
        f"export {config.api_key_variable}=…, or name another by api_key_variable"
    )
