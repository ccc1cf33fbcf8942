"""Words that this project does not use: the field has a word for what they mean."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: What not to write, and what to write instead.
WORDS = {
    r"\b(?:an?|the|its|no|each|stored|whole) answers?\b": "a response (HTTP), a reply (Redis)",
    r"[Cc]rowded\b": "over_limit",
    r"\b[Ss]ettled?\b": "flush, wait_idle or resolve: what happens",
    r"\b[Uu]nheard\b": "before the request is read",
    r"\b[Aa]new\b": "again, or a new one",
    r"\bgive_kept\b": "serve_cached",
    r"\bkept answers?\b": "a stored response",
    r"PARTICULAR\b": "bypasses_cache",
    r"PATIENCE\b": "a name in _TIMEOUT",
    r"\bLAST_WORDS\b": "STACK_DUMP_TIMEOUT",
    r"\bWatcher\b": "RequestObserver",
    r"\bIntake\b": "RequestBodyReader",
    r"\bShelf\b": "Registry",
    r"\b(?:let_go|moved_at)\b": "detach, last_progress",
    r"\bmounting\b": "hosts",
}
SUFFIXES = {".py", ".pyx", ".pxi", ".pxd", ".h", ".md"}
#: Everything that a reader of the source or the documentation sees.
FILES = sorted(
    path
    for start in ("docs", "README.md", "CONTRIBUTING.md", "packages", "examples", "deploy")
    for path in ([ROOT / start] if (ROOT / start).is_file() else (ROOT / start).rglob("*"))
    if path.suffix in SUFFIXES
    and not {"tests", "build", "node_modules"} & set(path.relative_to(ROOT).parts)
)


@functools.cache
def texts() -> dict[str, str]:
    return {str(path.relative_to(ROOT)): path.read_text() for path in FILES}


@pytest.mark.once
@pytest.mark.parametrize("word", WORDS, ids=[cure.split(",")[0] for cure in WORDS.values()])
def test_a_word_of_our_own_is_not_written(word: str) -> None:
    assert len(FILES) > 300
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}: write {WORDS[word]}"
        for path, text in texts().items()
        for match in re.finditer(word, text)
    ]
    assert not found, "\n".join(found)


@pytest.mark.once
def test_the_words_are_found_where_they_are() -> None:
    text = "The answer is unheard; settle it anew, a kept answer, _Crowded, H1_PARTICULAR."
    found = [word for word in WORDS if re.search(word, text, re.IGNORECASE)]
    assert len(found) == 7
