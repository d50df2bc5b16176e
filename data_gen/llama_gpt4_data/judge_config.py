"""What is to be judged, and by whom."""

from dataclasses import dataclass

from llama_gpt4.errors import require, require_one_of
from llama_gpt4_data.endpoint_config import EndpointConfig
from llama_gpt4_data.findings import ScorePolicies
from llama_gpt4_data.generation_config import AskingConfig, PricesConfig


@dataclass(kw_only=True)
class JudgeConfig:
    """Whose answers a judge compares, in pairs and in both orders."""

    questions: str | None
    """The file of questions that was answered, English or Chinese. Its `category`, where it has
    one, chooses Vicuna's prompt: `coding`, `math`, else the general one."""
    answers: dict[str, str]
    """A file of answers a model, such as {alpaca: a.jsonl, gpt4: b.jsonl}: `answers.jsonl`,
    FastChat's, or records with an `output`, such as those of `data answer`."""
    opponent: str | None
    """The model that all others are compared with; null: all with all."""
    reviews: list[str]
    """Files of judgements that exist: `judgements.jsonl` or FastChat's reviews. Nothing is asked
    then. In reviews, the models are those of `answers` that have the answers' ids, else those of
    the file's name, review_<first>_<second>.jsonl."""
    missing: str
    """A question that not every model answers: refuse the files with an `error`, or `drop` it."""
    limit: int | None
    """Only the first so many questions, such as for a pilot; null: all."""
    repeats: int
    """Judgements of each pair of answers in each order; the median counts."""
    ranking: list[str]
    """Models from the one that should be best to the one that should be worst, such as the groups
    of `rank`: their scores' rank correlation with this order is reported."""
    policy: ScorePolicies
    run: AskingConfig
    judge: EndpointConfig
    prices: PricesConfig

    def __post_init__(self) -> None:
        require_one_of("missing", self.missing, ("error", "drop"))
        require(self.limit is None or self.limit > 0, f"limit={self.limit} must be positive")
        require(self.repeats > 0, f"repeats={self.repeats} must be positive")
        require(len(set(self.ranking)) == len(self.ranking), "ranking names a model twice")
        require(len(self.ranking) != 1, "ranking names one model: an order has two or more")
        require(
            self.opponent is None or self.opponent not in self.ranking,
            f"ranking={self.opponent} is the opponent, which has no score of its own: drop it",
        )
        if self.reviews:
            return
        require(
            len(self.answers) >= 2,
            "answers names fewer than two models: a judge compares two, as in "
            "'answers={mine: a.jsonl, gpt4: b.jsonl}', and reviews=[…] reads judgements",
        )
        require(self.questions is not None, "questions has no value: name the file of questions")
        for model in [self.opponent] if self.opponent is not None else []:
            require_one_of("opponent", model, tuple(self.answers))
        for model in self.ranking:
            require_one_of("ranking", model, tuple(self.answers))
