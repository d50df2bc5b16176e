"""JSON text that is read value by value, while no more of it is in memory than has to be."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from llama_gpt4.errors import InputError

MAX_WORD = len("-Infinity")
"""Characters of the longest sign that a cut can divide, strings aside."""
_BLANK = re.compile(r"[ \t\r\n]*")
scan = json.JSONDecoder().raw_decode
"""The value that begins at a place of a text, and where it ends."""


class JsonWindow:
    """The part of a JSON text that is being read, with more behind it."""

    def __init__(self, pieces: Iterator[bytes], file: str) -> None:
        self._pieces, self._file = pieces, file
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._text, self._place = "", 0
        self._line, self._column = 1, 1
        """Of the first character of the text."""
        self._is_whole = False
        self.n_characters = 0
        """Of all values that were read."""

    def has(self, sign: str) -> bool:
        """Whether `sign` comes next; it is read."""
        if self._next() != sign:
            return False
        self._place += 1
        return True

    def take(self, sign: str, fault: str) -> None:
        """Read `sign`; if it does not come next, that is a `fault`."""
        if not self.has(sign):
            raise self._broken(fault, self._place)

    def value(self) -> Any:
        """Read the value that comes next."""
        self._next()
        while True:
            try:
                value, end = scan(self._text, self._place)
            except RecursionError:
                raise InputError(f"{self._file} is nested too deeply to hold records") from None
            except json.JSONDecodeError as error:
                if not self._may_go_on(error) or not self._more():
                    raise self._broken(error.msg, error.pos) from None
                continue
            except ValueError:
                raise long_number(self._file, self._position(self._place)[0]) from None
            # A number may go on in the next piece: 1 is what there is to read of 1e+.
            if end + len("e+") < len(self._text) or not self._more():
                self.n_characters += end - self._place
                self._place = end
                return value

    def end(self) -> None:
        """Nothing may come after this."""
        if self._next():
            raise self._broken("Extra data", self._place)

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Whether what comes may mend this. Else all of the file would be read, to no avail."""
        is_open = error.msg.startswith("Unterminated string")
        return is_open or len(self._text) - error.pos < MAX_WORD

    def _next(self) -> str:
        """The next sign, which is still to be read; empty at the end."""
        while True:
            blank = _BLANK.match(self._text, self._place)
            assert blank is not None
            self._place = blank.end()
            if self._place < len(self._text) or not self._more():
                return self._text[self._place : self._place + 1]

    def _more(self) -> bool:
        """Read on, and forget what lies behind; False: there is no more."""
        if self._is_whole:
            return False
        line, column = self._position(self._place)
        self._text, self._place = self._text[self._place :], 0
        self._line, self._column = line, column
        piece = next(self._pieces, b"")
        self._is_whole = not piece
        try:
            self._text += self._decode(piece, final=self._is_whole)
        except UnicodeDecodeError as error:
            line = self._position(len(self._text))[0] + error.object.count(b"\n", 0, error.start)
            raise not_utf8(self._file, line) from None
        return True

    def _position(self, place: int) -> tuple[int, int]:
        """Line and column of a character of the text."""
        n_lines = self._text.count("\n", 0, place)
        if not n_lines:
            return self._line, self._column + place
        return self._line + n_lines, place - self._text.rfind("\n", 0, place)

    def _broken(self, fault: str, place: int) -> InputError:
        line, column = self._position(place)
        return InputError(f"{self._file} is not JSON: {fault} (line {line}, column {column})")


def not_utf8(file: str, line: int) -> InputError:
    return InputError(f"{file} line {line} is not UTF-8: save the file as UTF-8")


def long_number(file: str, line: int) -> InputError:
    return InputError(f"{file} line {line} has a whole number of more digits than Python reads")
