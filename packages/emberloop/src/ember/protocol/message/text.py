"""Text to UTF-8, also text that has no UTF-8."""

from __future__ import annotations


def utf8(text: str) -> bytes:
    """`text` as UTF-8. A surrogate that has lost its other half, as half an emoji of a language
    model has, becomes U+FFFD, and a pair of them the character that it stands for."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
