"""Answers of models as HTML. They are untrusted input: whatever stands in them is shown, and does
nothing.

Markdown is read as CommonMark with tables. Raw HTML is shown as the text it is; links and pictures
too, with their addresses, so that nothing can be clicked and nothing is fetched.
"""

from markdown_it import MarkdownIt

LEFT_AS_TEXT = ("image", "link", "autolink", "reference", "html_block", "html_inline", "entity")
"""Rules of markdown-it. Of entities, text is shown as it was written."""


def as_html(markdown: str) -> str:
    """`markdown` as HTML that holds no element but those of plain Markdown."""
    reader = MarkdownIt("commonmark", {"html": False, "breaks": True})
    return reader.enable("table").disable(list(LEFT_AS_TEXT)).render(markdown)
