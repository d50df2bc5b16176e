"""How a judge is asked to rate one answer, and how the rating is read from what it says."""

import re
from dataclasses import dataclass

LOWEST, HIGHEST = 1, 10
"""The scale that the prompt speaks of."""

PAPER = (
    "We would like to request your feedback on the performance of AI assistant in response to the "
    "user question displayed above. Please rate the helpfulness, relevance, accuracy, level of "
    "details of their responses. Each assistant receives an overall score on a scale of 1 to 10, "
    "where a higher score indicates better overall performance. Please first output a single line "
    "containing value indicating the scores. In the subsequent line, please provide a "
    "comprehensive explanation of your evaluation, avoiding any potential bias."
)
"""The authors' own words (GPT-4-LLM issue 8), though there is one assistant in it."""
CHINESE = (
    "请对上面的人工智能助手针对用户问题所作的回答给出反馈。请评价该回答的有用性、相关性、准确性和详细程度，"
    "并给出一个 1 到 10 分的总分，分数越高表示总体表现越好。请先单独用一行只写出分数，"
    "再从下一行开始全面说明你的评价理由，并避免任何可能的偏见。"
)
REQUESTS = {"en": PAPER, "zh": CHINESE}

# "Assistant 1: 8" has one rating in it, and so have "8/10" and "8 out of 10".
_LABEL = re.compile(r"\bassistant\s*#?\d+\b|助手\s*\d+", re.IGNORECASE)
_SCALE = re.compile(r"(?:\s*/\s*|\s+out\s+of\s+)10(?:\.0)?(?![\d.]*\d)", re.IGNORECASE)
_WITH_DIGIT = re.compile(r"[A-Za-z\d.,+\-−]*\d[A-Za-z\d.,+\-−]*")
_HALVES = re.compile(r"\d+(?:\.[05]0*)?")


@dataclass(frozen=True, kw_only=True)
class Rating:
    """What a judge said of one answer."""

    score: float | None
    """Whole or half points; None where there is no single number in the first line."""
    reason: str
    """What follows the first line."""

    @property
    def is_out_of_range(self) -> bool:
        return self.score is not None and not LOWEST <= self.score <= HIGHEST


def rating_prompt(instruction: str, answer: str, language: str) -> str:
    """The paper's prompt, word for word, or the same in Chinese."""
    return (
        f"### Instruction\n\n{instruction}\n\n### Response\n\n{answer}\n\n### End of Response\n\n"
        f"{REQUESTS[language]}"
    )


def read_rating(text: str) -> Rating:
    """The score in the first line that is not empty, and the explanation below it."""
    line, _, reason = text.strip().partition("\n")
    bare = _SCALE.sub("", _LABEL.sub("", line))
    words = [word.rstrip(".,") for word in _WITH_DIGIT.findall(bare)]
    is_score = len(words) == 1 and _HALVES.fullmatch(words[0]) is not None
    return Rating(score=float(words[0]) if is_score else None, reason=reason.strip())
