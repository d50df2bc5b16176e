"""The servers of others answer, so that tests with them can be trusted."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from llama_gpt4_data import cli

from .local_teacher import LocalTeacher
from .ports import free_port, wait_until_healthy
from .quota_server import QuotaServer, running_quota_server


@pytest.mark.e2e
def test_the_local_model_answers_the_same_each_time(local_teacher: LocalTeacher) -> None:
    with openai.OpenAI(base_url=local_teacher.base_url, api_key="none") as client:
        answers = {
            client.chat.completions.create(
                model=local_teacher.model,
                messages=[{"role": "user", "content": "Name a city."}],
                max_tokens=8,
                temperature=0,
            )
            .choices[0]
            .message.content
            for _ in range(2)
        }
    assert len(answers) == 1


def ask(server: QuotaServer, times: int) -> None:
    with openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client:
        for _ in range(times):
            with contextlib.suppress(openai.RateLimitError):
                client.chat.completions.create(
                    model="gpt-4", messages=[{"role": "user", "content": "Hello"}]
                )


@pytest.mark.e2e
def test_llmock_tells_a_client_that_keeps_the_quota_from_one_that_does_not(
    quota_server: QuotaServer,
) -> None:
    ask(quota_server, 2)
    is_well_behaved, words = quota_server.verdict()
    assert is_well_behaved, words
    with running_quota_server(5) as strict:
        ask(strict, 20)
        is_well_behaved, words = strict.verdict()
    assert not is_well_behaved, words


AIMOCK = os.environ.get("LLAMA_GPT4_AIMOCK")


@pytest.fixture
def aimock(tmp_path: Path) -> Iterator[str]:
    """npm's `@copilotkit/aimock`, an OpenAI service that others wrote: its address."""
    port = free_port()
    (tmp_path / "fixtures.json").write_text('{"fixtures": []}')
    command = ["node", str(AIMOCK), "--port", str(port), "--fixtures"]
    command += [str(tmp_path / "fixtures.json"), "--log-level", "silent"]
    process = subprocess.Popen(command)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.e2e
@pytest.mark.skipif(not AIMOCK, reason="LLAMA_GPT4_AIMOCK is no path of aimock's dist/cli.js")
def test_our_batches_are_understood_by_a_service_of_others(aimock: str, tmp_path: Path) -> None:
    """It has one answer for all questions, so that this is about the protocol alone."""
    arguments = [
        "answer",
        "files=[sample:en]",
        "limit=8",
        "run.mode=batch",
        "run.batch.most_requests=5",
        "run.batch.poll_seconds=1",
        f"run.output_dir={tmp_path}/output",
        f"run.journal_dir={tmp_path}/replies",
        f"teacher.base_url={aimock}",
    ]
    assert cli.main(arguments) == 0
    lines = (tmp_path / "output" / "data.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["output"] for line in lines] == ["Mock batch completion"] * 8
