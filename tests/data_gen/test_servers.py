"""The servers of others answer, so that tests with them can be trusted."""

import contextlib

import openai
import pytest

from .local_teacher import LocalTeacher
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
