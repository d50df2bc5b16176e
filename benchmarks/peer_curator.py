"""bespokelabs-curator as its manual has it, with its limits set out of the way and no network.

It counts tokens with tiktoken, which would download its table; litellm, which curator needs anyway,
has one in its package. Its telemetry is on unless told otherwise.
"""

import argparse
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

parser = argparse.ArgumentParser()
parser.add_argument("--base-url", required=True)
parser.add_argument("--prompts", type=Path, required=True)
parser.add_argument("--output", type=Path, required=True)
parser.add_argument("--in-flight", type=int, required=True)
parser.add_argument("--timeout-seconds", type=float, required=True)
arguments = parser.parse_args()

litellm = importlib.util.find_spec("litellm")
assert litellm and litellm.submodule_search_locations
tables = Path(litellm.submodule_search_locations[0]) / "litellm_core_utils" / "tokenizers"
os.environ |= {
    "TIKTOKEN_CACHE_DIR": str(tables),
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "TELEMETRY_ENABLED": "false",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "CURATOR_CACHE_DIR": str(arguments.output.parent / "curator"),
    "HF_DATASETS_CACHE": str(arguments.output.parent / "datasets"),
    "HF_HUB_OFFLINE": "1",
    "OPENAI_API_KEY": "sk-benchmark",
}

from bespokelabs import curator  # noqa: E402


class Answers(curator.LLM):  # type: ignore[misc]
    def prompt(self, row: dict[str, Any]) -> str:
        return str(row["prompt"])

    def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
        return {"index": row["index"], "answer": response}


def main() -> None:
    prompts = json.loads(arguments.prompts.read_bytes())
    llm = Answers(
        model_name="gpt-4",
        backend="openai",
        generation_params={"temperature": 1.0, "top_p": 1.0, "max_tokens": 512},
        backend_params={
            "base_url": arguments.base_url,
            "request_timeout": round(arguments.timeout_seconds),
            "max_retries": 10,
            "max_concurrent_requests": arguments.in_flight,
            "max_requests_per_minute": 10**7,
            "max_tokens_per_minute": 10**11,
        },
    )
    answers = llm([{"index": index, "prompt": prompt} for index, prompt in enumerate(prompts)])
    with open(arguments.output, "w", encoding="utf-8") as output:
        for row in getattr(answers, "dataset", answers):
            line = {"index": row["index"], "answer": row["answer"]}
            output.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
