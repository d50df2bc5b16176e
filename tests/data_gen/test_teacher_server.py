"""The fault server does what tests rely on, seen by the official client."""

import asyncio
import time
from collections import Counter
from typing import Any

import openai
import pytest

from . import teacher_answers, teacher_judge
from .teacher import Teacher
from .teacher_faults import TeacherSettings, by_chance


def client(teacher: Teacher, **options: Any) -> openai.OpenAI:
    usual: dict[str, Any] = {"api_key": "sk-test", "max_retries": 0, "timeout": 2.0}
    return openai.OpenAI(base_url=teacher.base_url, **usual | options)


def ask(teacher: Teacher, question: str, **parameters: Any) -> Any:
    """The first choice of the answer to one user message."""
    messages: Any = [{"role": "user", "content": question}]
    with client(teacher) as official:
        answer = official.chat.completions.create(model="gpt-4", messages=messages, **parameters)
    return answer.choices[0]


def test_each_answer_belongs_to_its_question(teacher: Teacher) -> None:
    teacher.behaves(latency_seconds=0.05)
    questions = [f"What is {i} and {i}?" for i in range(60)]

    async def all_at_once() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=teacher.base_url, api_key="sk-test") as official:
            answers = await asyncio.gather(
                *(
                    official.chat.completions.create(
                        model="gpt-4", messages=[{"role": "user", "content": question}]
                    )
                    for question in questions
                )
            )
        return [answer.choices[0].message.content for answer in answers]

    assert asyncio.run(all_at_once()) == [teacher_answers.answer(q) for q in questions]
    assert len(set(map(teacher_answers.answer, questions))) == 60
    stats = teacher.stats()
    assert stats.kinds == {"ok": 60}
    assert stats.paid_twice == stats.sent_again == stats.concurrent == 0
    assert 1 < stats.max_concurrent <= 60
    assert len(stats.keys) == 1 and not {"sk-test", "none"} & stats.keys.keys()


@pytest.mark.parametrize(
    "kind, error, code",
    [
        ("400", openai.BadRequestError, None),
        ("400-context", openai.BadRequestError, "context_length_exceeded"),
        ("401", openai.AuthenticationError, "invalid_api_key"),
        ("403", openai.PermissionDeniedError, "unsupported_country"),
        ("404", openai.NotFoundError, "model_not_found"),
        ("429", openai.RateLimitError, "rate_limit_exceeded"),
        ("quota", openai.RateLimitError, "insufficient_quota"),
        ("500", openai.InternalServerError, None),
        ("503", openai.InternalServerError, None),
        ("drop", openai.APIConnectionError, None),
        ("half", openai.APIConnectionError, None),
        ("hang", openai.APITimeoutError, None),
    ],
)
def test_a_marked_fault_is_what_the_client_calls_it(
    teacher: Teacher, kind: str, error: type[openai.APIError], code: str | None
) -> None:
    with pytest.raises(error) as caught, client(teacher, timeout=0.5) as official:
        message: Any = {"role": "user", "content": f"Hello [[fault:{kind}]]"}
        official.chat.completions.create(model="gpt-4", messages=[message])
    assert getattr(caught.value, "code", None) == code
    if isinstance(caught.value, openai.APIStatusError):
        assert ("retry-after-ms" in caught.value.response.headers) == (kind == "429")
    kinds = teacher.stats().kinds
    assert kinds == ({"abandoned": 1} if kind == "hang" else {kind: 1})
    assert not teacher.stats().answers


def test_faults_by_chance_come_as_often_as_said_and_the_same_each_time() -> None:
    settings = TeacherSettings(faults={"500": 0.1, "hang": 0.02}, seed=3)
    faults = [by_chance(settings, f"body {i}", 1) for i in range(5000)]
    counts = Counter(faults)
    assert 430 < counts["500"] < 570 and 70 < counts["hang"] < 130  # 3.3 and 3 deviations
    assert faults == [by_chance(settings, f"body {i}", 1) for i in range(5000)]
    assert faults != [by_chance(settings, f"body {i}", 2) for i in range(5000)]


def test_the_first_attempts_of_each_request_can_be_made_to_fail(teacher: Teacher) -> None:
    teacher.behaves(fail_first=2, fail_with="503")
    for question in ("one", "two"):
        for _ in range(2):
            with pytest.raises(openai.InternalServerError):
                ask(teacher, question)
        assert ask(teacher, question).message.content == teacher_answers.answer(question)
    assert teacher.stats().kinds == {"503": 4, "ok": 2}
    assert teacher.stats().most_attempts == 3


def test_a_truncated_answer_is_continued_or_given_whole_to_who_asks_for_more(
    teacher: Teacher,
) -> None:
    question = "Tell me [[fault:length]]"
    whole = teacher_answers.answer(question)
    cut = ask(teacher, question, max_tokens=512)
    assert cut.finish_reason == "length" and whole.startswith(cut.message.content)
    assert ask(teacher, question, max_tokens=512).finish_reason == "length"
    assert ask(teacher, question, max_tokens=1024).message.content == whole
    with client(teacher) as official:
        messages: Any = [
            {"role": "user", "content": question},
            {"role": "assistant", "content": cut.message.content},
            {"role": "user", "content": "Continue exactly where you stopped."},
        ]
        rest = official.chat.completions.create(model="gpt-4", messages=messages).choices[0]
    assert cut.message.content + rest.message.content == whole and rest.finish_reason == "stop"


def test_an_answer_is_as_long_as_asked_for_and_cut_at_max_tokens(teacher: Teacher) -> None:
    question = "Write much [[tokens:700]]"
    assert abs(teacher_answers.n_tokens(ask(teacher, question).message.content) - 700) <= 1
    cut = ask(teacher, question, max_tokens=512)
    assert cut.finish_reason == "length"
    assert teacher_answers.n_tokens(cut.message.content) == 512


def test_the_quota_is_kept_and_told_truly(teacher: Teacher) -> None:
    teacher.behaves(requests_per_minute=600, burst_seconds=0.5)
    with client(teacher) as official:
        messages: Any = [{"role": "user", "content": "Hello"}]

        def remaining() -> str:
            create = official.chat.completions.with_raw_response.create
            headers = create(model="gpt-4", messages=messages).headers
            assert headers["x-ratelimit-limit-requests"] == "600"
            return str(headers["x-ratelimit-remaining-requests"])

        assert remaining() == "4"
        for _ in range(4):
            remaining()
        with pytest.raises(openai.RateLimitError) as refused:
            for _ in range(5):
                remaining()
        wait_ms = int(refused.value.response.headers["retry-after-ms"])
        assert 0 < wait_ms <= 100 and refused.value.response.headers["retry-after"] == "1"
        time.sleep(wait_ms / 1000)
        assert remaining() == "0"
    assert teacher.stats().kinds["limited"] == 1


def test_the_judge_scores_in_the_format_that_is_asked_for(teacher: Teacher) -> None:
    rating = "### Instruction\n\nSay yes.\n\n### Response\n\nyes\n\n### End of Response\n\nRate it."
    first_line, _, reason = ask(teacher, rating).message.content.partition("\n")
    assert float(first_line) == teacher_answers.hidden_score("yes") and reason


def test_a_judge_of_two_answers_has_the_weaknesses_that_it_is_told_to_have(
    teacher: Teacher,
) -> None:
    answers = [teacher_judge.answer_worth(score, n) for n, score in enumerate((6.0, 7.0))]

    def judged(*texts: str, **weaknesses: float) -> list[str]:
        teacher.behaves(**weaknesses)
        parts = "\n\n".join(
            f"[The Start of Assistant {n}'s Answer]\n{text}\n\n[The End of Assistant {n}'s Answer]"
            for n, text in enumerate(texts, 1)
        )
        content: str = ask(teacher, f"[Question]\nWhy?\n\n{parts}\n\nRate them.").message.content
        return content.partition("\n")[0].split()

    first, second = answers
    assert judged(first, second) == ["6", "7"] and judged(second, first) == ["7", "6"]
    assert judged(first, second, judge_first_place=1.5) == ["7.5", "7"]
    assert judged(first, second, judge_length=1.0) == ["6.4", "7.4"]


def test_a_translation_keeps_code_and_placeholders(teacher: Teacher) -> None:
    request = "Translate into Chinese.\n\n" + '{"instruction": "Run `ls` in {folder} 3 times"}'
    translated = ask(teacher, request).message.content
    assert "`ls`" in translated and "{folder}" in translated and "3" in translated
    assert "Run" not in translated and '"instruction"' in translated


def test_azure_names_the_model_in_the_path(teacher: Teacher) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=teacher.url, api_key="sk-azure", api_version="2024-10-21", max_retries=0
    ) as official:
        messages: Any = [{"role": "user", "content": "Hello"}]
        answer = official.chat.completions.create(model="my-gpt-4", messages=messages)
    assert answer.model == "my-gpt-4"
    assert "none" not in teacher.stats().keys


def test_a_wrong_key_and_an_unknown_model_are_refused(teacher: Teacher) -> None:
    teacher.behaves(api_key="sk-other")
    with pytest.raises(openai.AuthenticationError):
        ask(teacher, "Hello")
    teacher.behaves(models=["gpt-3.5-turbo"])
    with pytest.raises(openai.NotFoundError):
        ask(teacher, "Hello")
