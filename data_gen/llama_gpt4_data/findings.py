"""What may be wrong with a teacher's answer, and what is done about it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from llama_gpt4.errors import require_one_of
from llama_gpt4.validators import answer_findings
from llama_gpt4_data.requests import LENGTH_KEYS, Reply, Request

CONTINUE = {
    "en": "Continue your answer exactly where it stopped. Repeat nothing and add no remark.",
    "zh": "请从刚才中断的地方继续写完你的回答，不要重复已写的内容，也不要添加任何说明。",
}
ALLOWED = {"truncated": ("keep", "drop", "retry", "continue"), "empty": ("drop", "retry")}
"""Policies of findings that have others than `keep`, `drop` and `retry`."""


@dataclass(kw_only=True)
class AnswerPolicies:
    """For each finding `keep` the answer and say so in its record, `drop` it, or `retry`: ask once
    more, and keep what comes then. No answer is paid more than twice."""

    truncated: str
    """Cut at the longest answer; also `continue`: let the teacher finish it. `retry` asks for an
    answer of up to twice the length."""
    filtered: str
    """Stopped by the endpoint's content filter."""
    empty: str
    """`drop`, or `retry`: an empty answer is never kept."""
    refusal: str
    """The teacher says that it cannot or will not."""
    asks_for_input: str
    """It only says what it was not given."""
    wrong_language: str
    """Not the language that the run asks for."""
    leakage: str
    """Parts of a prompt or of a chat's format stand in the answer."""
    cut_start: str
    """Its first letters are missing."""

    def __post_init__(self) -> None:
        for field in fields(self):
            allowed = ALLOWED.get(field.name, ("keep", "drop", "retry"))
            require_one_of(f"policy.{field.name}", getattr(self, field.name), allowed)

    @property
    def asks_again(self) -> bool:
        """Whether any finding leads to a second request."""
        return any(self.of(field.name) in ("retry", "continue") for field in fields(self))

    def of(self, finding: str) -> str:
        return str(getattr(self, finding))


@dataclass(kw_only=True)
class ScorePolicies:
    """What becomes of a judge's reply whose scores are not as they should be: `keep` it and say so,
    `drop` it, so that it counts as missing, or `retry`: ask once more, and take what comes then. No
    reply is paid more than twice."""

    unreadable: str
    """No score where the prompt wants one or, where two answers are compared, one above 10: `drop`
    or `retry`; never kept. Where a comparison was cut, `retry` asks for one of up to twice the
    length."""
    out_of_range: str
    """Any other score that is not within 1 to 10: `keep`, `drop` or `retry`. The paper kept those
    of its comparison data: 119 zeros among 154,056."""

    def __post_init__(self) -> None:
        require_one_of("policy.unreadable", self.unreadable, ("drop", "retry"))
        require_one_of("policy.out_of_range", self.out_of_range, ("keep", "drop", "retry"))

    def of(self, finding: str) -> str:
        """Whatever else is found is only reported: what a cut reply cost, `unreadable` tells."""
        return {"unreadable": self.unreadable, "out_of_range": self.out_of_range}.get(
            finding, "keep"
        )


def reply_findings(reply: Reply) -> list[str]:
    """What the endpoint itself says about its answer."""
    found = {"length": "truncated", "content_filter": "filtered"}.get(reply.finish_reason)
    return [found] if found else []


def text_findings(instruction: str, input: str, output: str, language: str) -> list[str]:
    """What is wrong with an answer's text; that it was cut, the endpoint knows better."""
    policies = {field.name for field in fields(AnswerPolicies)} - {"truncated"}
    found = answer_findings(instruction, input, output, language)
    return [finding.rule for finding in found if finding.rule in policies]


def asked_again(request: Request) -> Request:
    """The same request, for another answer."""
    return Request(request.endpoint, request.body, request.sample, request.again + 1)


def asked_longer(request: Request) -> Request:
    """The same request, for an answer of up to twice the length."""
    lengths = {key: 2 * request.body[key] for key in LENGTH_KEYS if request.body.get(key)}
    return Request(request.endpoint, {**request.body, **lengths}, request.sample, request.again + 1)


def continued(request: Request, replies: Sequence[Reply], language: str) -> Request:
    """What brings the rest of an answer that was cut."""
    messages = [
        *request.body["messages"],
        {"role": "assistant", "content": replies[0].text},
        {"role": "user", "content": CONTINUE[language]},
    ]
    return Request(
        request.endpoint, {**request.body, "messages": messages}, request.sample, request.again + 1
    )
