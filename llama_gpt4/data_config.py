"""What becomes tokens, in what rows, and what becomes of records with a fault.

Values live in `conf/` only. Lengths are counted in tokens.
"""

from dataclasses import asdict, dataclass

from llama_gpt4.errors import require, require_one_of

ALWAYS_KEPT_OUT = ("broken_record", "too_long", "prompt_fills_row", "empty_output")
"""Findings in whose records there is nothing that could be learned: they have no policy `keep`."""

MOST_TIMES = 1000
"""That an epoch may have an example: a larger number is a mistyped one."""


@dataclass(kw_only=True)
class FilesPolicy:
    """What becomes of what cannot be used: `drop` it (counted), or stop with an `error`."""

    too_long: str
    """An example longer than `data.row_tokens`, whose answer would lose its end: `drop` and count
    it, or stop with an `error`."""

    def __post_init__(self) -> None:
        for finding, policy in asdict(self).items():
            can_stay = finding not in ALWAYS_KEPT_OUT
            allowed = ("keep", "drop", "error") if can_stay else ("drop", "error")
            require_one_of(f"data.policy.{finding}", policy, allowed)


@dataclass(kw_only=True)
class DataPolicy(FilesPolicy):
    """The same for each fault of a record; where there is something to learn also `keep`."""

    broken_record: str
    """What is no record: a key is missing or has the wrong type, or turns are out of order: `drop`
    or `error`."""
    prompt_fills_row: str
    """A prompt of `data.row_tokens` or more, which leaves no room for any answer: `drop` or
    `error`."""
    empty_output: str
    """No answer, or `<nooutput>` and the like: `drop` or `error`."""
    cut_output: str
    """The answer broke off at the teacher's limit, as its `finish_reason` says: as for all that
    follow, `drop`, `error`, or `keep` and only count."""
    cut_start: str
    """The first letters of the answer are missing: `e! Here is` for `Sure! Here is`."""
    placeholder_input: str
    """`<noinput>`, `N/A` and the like, which become empty in a record that is kept."""
    wrong_language: str
    """The answer is not in the language of nine tenths of its file's answers; where none has so
    many, not in that of its instruction."""
    evaluation_overlap: str
    """The instruction is one of `data.decontaminate`, or resembles one."""
    duplicate: str
    """An earlier record that is used has the same instruction, input and output."""
    same_prompt: str
    """An earlier record that is used has the same instruction and input, and another output."""


@dataclass(kw_only=True)
class ValidationConfig:
    """What the model is evaluated on while it trains; both empty: nothing."""

    files: list[str]
    share: float
    """Share of the training records held out, drawn by `seed`; 0 holds out none."""

    def __post_init__(self) -> None:
        require(0 <= self.share < 1, f"data.validation.share={self.share} is not within [0, 1)")
        require(
            not (self.files and self.share),
            "data.validation.files and data.validation.share are both given: keep one",
        )


@dataclass(kw_only=True)
class FilesConfig:
    """Which files become tokens, and where these are kept: what every program that trains has."""

    files: list[str]
    """JSON or JSONL of records, for `train` also of conversations (`messages`, or ShareGPT's
    `conversations`); the same as .gz, .zst or Parquet, a folder that `datasets` saved,
    `hub:owner/name` or `hub:owner/name:split`; `sample:<name>` are the shipped ones."""
    row_tokens: int
    """T: the longest example, and the length of a packed row."""
    policy: FilesPolicy
    cache_dir: str
    """Where tokenised data is kept; shared storage when several hosts train."""
    validation: ValidationConfig

    def __post_init__(self) -> None:
        require(bool(self.files), "data.files is empty: name at least one file")
        require(self.row_tokens >= 2, f"data.row_tokens={self.row_tokens} must be at least 2")

    @property
    def read_files(self) -> dict[str, str]:
        """All files that are read, by key."""
        lists = {"data.files": self.files, "data.validation.files": self.validation.files}
        return {f"{key}[{i}]": file for key, files in lists.items() for i, file in enumerate(files)}


@dataclass(kw_only=True)
class DataConfig(FilesConfig):
    """From files of records and conversations to rows of tokens."""

    weights: list[float]
    """How often an epoch has each example of a file, one number for each of `data.files`; empty:
    once. 2 is twice; 0.5 is one half of them, drawn by `seed` and the same in every epoch. No
    probabilities: each is about its own file only, and their sum is free."""
    policy: DataPolicy
    decontaminate: list[str]
    """Files of questions that must not be trained on, as `llama-gpt4 answer` reads them; empty:
    nothing is looked for."""
    decontaminate_rouge_l: float
    """Above this ROUGE-L F an instruction resembles one of those questions."""
    batching: str
    """`pack`: whole examples share a row of T tokens; `pad`: one example a row, as in the paper,
    and the longest of all in the first step, which shows whether there is memory for them."""
    last_window: str
    """The last, short batch of an epoch: `keep` it, or `drop` it as the paper's recipes do."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            len(self.weights) in (0, len(self.files)),
            f"data.weights={self.weights} for {len(self.files)} data.files: give one number for "
            "each, or none",
        )
        for i, weight in enumerate(self.weights):
            require(
                self.files.count(self.files[i]) == 1,
                f"data.files has {self.files[i]} twice: with data.weights name it once, and give "
                "it the sum",
            )
            key = f"data.weights[{i}]={weight:g}"
            require(
                weight != 0, f"{key} uses nothing of {self.files[i]}: leave it out of data.files"
            )
            require(
                0 < weight <= MOST_TIMES,
                f"{key} is not above 0 and at most {MOST_TIMES}: "
                "2 has each example twice in an epoch, 0.5 one half of them",
            )
        require_one_of("data.batching", self.batching, ("pack", "pad"))
        require_one_of("data.last_window", self.last_window, ("keep", "drop"))
        rouge_l = self.decontaminate_rouge_l
        require(0 < rouge_l < 1, f"data.decontaminate_rouge_l={rouge_l} is not within (0, 1)")

    @property
    def read_files(self) -> dict[str, str]:
        """The same, with the questions that nothing may overlap with."""
        asked = {f"data.decontaminate[{i}]": file for i, file in enumerate(self.decontaminate)}
        return super().read_files | asked
