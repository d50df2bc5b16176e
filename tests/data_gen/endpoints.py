"""Configurations for tests, as small as they can be."""

from pathlib import Path
from typing import Any

from llama_gpt4_data.endpoint_config import EndpointConfig
from llama_gpt4_data.findings import AnswerPolicies
from llama_gpt4_data.generation_config import BatchConfig, ModelPrice, PricesConfig, RunConfig
from llama_gpt4_data.requests import Reply, Request


def endpoint_config(
    base_url: str | None = "http://127.0.0.1:1/v1", **values: Any
) -> EndpointConfig:
    given: dict[str, Any] = {
        "kind": "openai",
        "base_url": base_url,
        "api_version": None,
        "api_key_variable": "OPENAI_API_KEY",
        "model": "gpt-4",
        "parameters": {"temperature": 1.0, "max_tokens": 512},
        "in_flight": 16,
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "timeout_seconds": 5.0,
        "attempts": 4,
        "price": None,
        "licence": "cc-by-nc-4.0",
        "terms": "",
    }
    return EndpointConfig(**(given | values))


def batch_config(**values: Any) -> BatchConfig:
    given: dict[str, Any] = {
        "most_requests": 50_000,
        "most_bytes": 200_000_000,
        "poll_seconds": 0.01,
        "longest_poll_seconds": 0.05,
    }
    return BatchConfig(**(given | values))


def run_config(folder: Path = Path("x"), **values: Any) -> RunConfig:
    given: dict[str, Any] = {
        "output_dir": str(folder / "out"),
        "journal_dir": str(folder / "journal"),
        "workers": 1,
        "budget_usd": None,
        "mode": "live",
        "batch": batch_config(),
        "source_licence": None,
        "arrow": False,
    }
    return RunConfig(**(given | values))


def prices_config(**models: ModelPrice) -> PricesConfig:
    """A table of prices; without `models` none is known."""
    return PricesConfig(as_of="2025-08-15", source="a test", batch_frac=0.5, models=models)


def policies(**values: str) -> AnswerPolicies:
    given = {
        "truncated": "keep",
        "filtered": "drop",
        "empty": "drop",
        "refusal": "keep",
        "asks_for_input": "keep",
        "wrong_language": "keep",
        "leakage": "keep",
        "cut_start": "keep",
    }
    return AnswerPolicies(**(given | values))


def request(
    question: str = "Why?", endpoint: str = "http://127.0.0.1:1/v1", **body: Any
) -> Request:
    messages = [{"role": "user", "content": question}]
    return Request(endpoint, {"model": "gpt-4", "messages": messages, "max_tokens": 512} | body)


def reply(to: Request, text: str = "Because.", **values: Any) -> Reply:
    given: dict[str, Any] = {
        "key": to.key,
        "text": text,
        "finish_reason": "stop",
        "model": "gpt-4-0613",
        "prompt_tokens": 10,
        "completion_tokens": 2,
        "time": "2026-01-02T03:04:05+00:00",
        "request_id": "req-1",
    }
    return Reply(**(given | values))
