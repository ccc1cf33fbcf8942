"""The text format of Prometheus (exposition format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


class Page:
    """Collects metric families. `encode` returns the page."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        #: The names of the families on the page.
        self.names: set[str] = set()

    def add(self, name: str, kind: str, text: str, samples: Iterable[tuple[Labels, float]]) -> None:
        """Add a family of `kind` counter or gauge, unless it has no samples."""
        lines = [f"{name}{_labels(labels)} {number(value)}" for labels, value in samples]
        if lines:
            self._head(name, kind, text)
            self._lines += lines

    def add_histogram(
        self,
        name: str,
        text: str,
        bounds: tuple[float, ...],
        samples: Iterable[tuple[Labels, tuple[int, ...], float]],
    ) -> None:
        """Add a histogram. Each sample has the counts for each bound and above, and the sum."""
        lines = []
        for labels, counts, total in samples:
            below = 0
            for bound, count in zip((*map(number, bounds), "+Inf"), counts, strict=True):
                below += count
                lines.append(f"{name}_bucket{_labels({**labels, 'le': bound})} {below}")
            lines.append(f"{name}_sum{_labels(labels)} {number(total)}")
            lines.append(f"{name}_count{_labels(labels)} {below}")
        if lines:
            self._head(name, "histogram", text)
            self._lines += lines

    def _head(self, name: str, kind: str, text: str) -> None:
        self.names.add(name)
        self._lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]

    def encode(self) -> bytes:
        """The page."""
        return ("\n".join(self._lines) + "\n").encode()


def number(value: float) -> str:
    """A number in the text format."""
    if isinstance(value, int) or value.is_integer():
        return str(int(value))
    return repr(value)


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items()) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
