"""AsyncOpenAI as most would write it: a semaphore, a task for each prompt, the client's retries."""

import argparse
import asyncio
import json
from pathlib import Path

import openai


async def ask_all(arguments: argparse.Namespace) -> None:
    places = asyncio.Semaphore(arguments.in_flight)
    client = openai.AsyncOpenAI(
        base_url=arguments.base_url,
        api_key="sk-benchmark",
        timeout=arguments.timeout_seconds,
        max_retries=10,
    )
    with open(arguments.output, "w", encoding="utf-8") as output:

        async def ask(index: int, prompt: str) -> None:
            async with places:
                answer = await client.chat.completions.create(
                    model="gpt-4",
                    messages=[{"role": "user", "content": prompt}],
                    temperature=1.0,
                    top_p=1.0,
                    max_tokens=512,
                )
            line = {"index": index, "answer": answer.choices[0].message.content}
            output.write(json.dumps(line, ensure_ascii=False) + "\n")

        prompts = json.loads(arguments.prompts.read_bytes())
        await asyncio.gather(*(ask(index, prompt) for index, prompt in enumerate(prompts)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--timeout-seconds", type=float, required=True)
    asyncio.run(ask_all(parser.parse_args()))
