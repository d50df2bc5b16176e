"""Instructions that a model must not be trained on, because it will be evaluated on them."""

from collections.abc import Sequence
from pathlib import Path

from llama_gpt4.questions import read_questions
from llama_gpt4.records import Record
from llama_gpt4.similarity import SimilarityIndex
from llama_gpt4.validators import shown


class EvaluationOverlap:
    """Finds instructions that equal a question of the evaluation, or resemble one."""

    def __init__(self, files: Sequence[str], rouge_l: float, key: str) -> None:
        """Of the questions in `files`, which the user gave as `key`. Similar is what has a ROUGE-L
        F above `rouge_l`, over words and single characters of Chinese."""
        self._index = SimilarityIndex(rouge_l)
        self._names: list[str] = []
        self._exact: dict[str, list[str]] = {}
        for file in files:
            for question in read_questions(file, key):
                name = f"{Path(file).name} {question.question_id}"
                self._index.add(question.instruction)
                self._names.append(name)
                self._exact.setdefault(question.instruction.strip(), []).append(name)

    def with_question(self, instruction: str) -> str | None:
        """Which questions, the most similar first, and how alike."""
        equal = self._exact.get(instruction.strip())
        if equal is not None:
            return f"equals {', '.join(equal)}: {shown(instruction)}"
        similar = [f"{m.f:.2f} {self._names[m.number]}" for m in self._index.similar(instruction)]
        return f"{', '.join(similar)}: {shown(instruction)}" if similar else None

    def with_record(self, record: Record) -> str | None:
        """The same of the first instruction of `record` that has something in common with one."""
        found = (self.with_question(exchange.instruction) for exchange in record.exchanges)
        return next((overlap for overlap in found if overlap is not None), None)
