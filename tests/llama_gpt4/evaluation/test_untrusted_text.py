"""Answers as HTML: what is dangerous is shown as text."""

from html.parser import HTMLParser

import pytest

from llama_gpt4.evaluation.untrusted_text import as_html

PLAIN = {
    "p", "br", "em", "strong", "code", "pre", "blockquote", "ul", "ol", "li", "hr",
    "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
PAYLOADS = [
    "<script>window.pwned = 1</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><circle/></svg>",
    "[click](javascript:alert(1))",
    "[click](  JaVaScRiPt:alert(1))",
    "![picture](http://evil.example/p.png)",
    "[a]: javascript:alert(1)\n\n[a] ![a]",
    "<javascript:alert(1)> <http://evil.example>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "```<img/src=x onerror=alert(1)>\n</code></pre><script>alert(1)</script>\n```",
    '```"onmouseover="alert(1)\ncode\n```',
    "`</code><script>alert(1)</script>`",
    "|a|\n|-|\n|<iframe src=//evil.example>|",
    "<!-- --><style>*{background:url(//evil.example)}</style>",
    "\x00<scr\x00ipt>alert(1)</scr\x00ipt>",
]


class Seen(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("payload", PAYLOADS)
def test_only_plain_elements_come_out(payload: str) -> None:
    seen = Seen(as_html(payload))
    assert set(seen.tags) <= PLAIN
    assert {name for name, _ in seen.attributes} <= {"class", "start", "style"}
    # `style` is the alignment of a column.
    assert all(v and v.startswith("text-align:") for k, v in seen.attributes if k == "style")


def test_what_was_written_can_be_read() -> None:
    text = "<script>x</script> [go](javascript:y) ![p](http://evil.example/p.png) &lt;b&gt; 你好"
    assert Seen(as_html(text)).text.strip() == text


def test_markdown_is_shown() -> None:
    html = as_html("# Head\n\n1. *one*\n2. **two**\n\n|a|b|\n|-|-|\n|1|2|\n\n```python\na < b\n```")
    assert {"h1", "ol", "em", "strong", "table", "pre", "code"} <= set(Seen(html).tags)
    assert "a &lt; b" in html
