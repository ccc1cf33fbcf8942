"""Chooses the content coding for a client (RFC 9110 section 12.5.3)."""

from __future__ import annotations

from collections.abc import Iterable

from ember.protocol.message.codings import find
from ember.response import Response


def negotiate(accept: str | None, offered: Iterable[str]) -> str | None:
    """The coding of `offered` with the highest weight in `Accept-Encoding`; None: no coding.

    For equal weights it is the first of `offered`. Without the field there is no coding.
    """
    if not accept:
        return None
    weights = parse_accept(accept)
    other = weights.get("*", 0.0)
    best, most = None, 0.0
    for coding in offered:
        weight = weights.get(coding)
        if weight is None:
            weight = _by_alias(coding, weights, other)
        if weight > most:
            best, most = coding, weight
    # "gzip;q=0.1, identity": the client prefers no coding.
    return None if weights.get("identity", 0.0) > most else best


def _by_alias(name: str, weights: dict[str, float], other: float) -> float:
    """The weight of a coding that is not listed by its name; `other` if by no alias either."""
    coding = find(name)
    if coding is not None:
        for alias in coding.aliases:
            if alias in weights:
                return weights[alias]
    return other


def parse_accept(accept: str) -> dict[str, float]:
    """The weights by coding, 0 to 1; a malformed weight is 0."""
    weights: dict[str, float] = {}
    for item in accept.split(","):
        coding, *parameters = item.split(";")
        coding = coding.strip(" \t").lower()
        if not coding:
            continue
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip(" \t").lower() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
                if not 0.0 <= weight <= 1.0:
                    weight = 0.0
        weights.setdefault(coding, weight)
    return weights


def add_vary(response: Response, name: str = "Accept-Encoding") -> None:
    """Tell caches that the response depends on the request header field `name`."""
    present = response.headers.get_all("vary")
    known = {part.strip().lower() for value in present for part in value.split(",")}
    if name.lower() not in known and "*" not in known:
        response.headers["Vary"] = ", ".join([*present, name])
