"""One line per figure: what was measured, what it must be, what it aims at."""

from __future__ import annotations


class Table:
    """Prints figures as they come, and remembers whether one was worse than it must be."""

    def __init__(self) -> None:
        self.kept = True
        """Whether every figure so far is what it must be."""

    def head(self, title: str) -> None:
        """Begin a group of figures."""
        print(f"\n{title}\n\n| Figure | Measured | Must | Aim | |\n| --- | ---: | ---: | ---: | --- |", flush=True)

    def row(
        self, figure: str, value: float, unit: str = "", *, must: float, aim: float | None = None, least: bool = False
    ) -> None:
        """Print a figure that has a bound: the smaller the better.

        :param least: the larger the better.
        """
        sign = -1 if least else 1
        bad, good = sign * value > sign * must, aim is not None and sign * value <= sign * aim
        self.kept = self.kept and not bad
        verdict = "MISSED" if bad else "aim met" if good else "pass"
        bounds = [f"{'≥' if least else '≤'} {bound:g}{unit}" if bound is not None else "" for bound in (must, aim)]
        self._print(figure, f"{value:.3g}{unit}", *bounds, verdict)

    def note(self, figure: str, text: str) -> None:
        """Print a figure that has none."""
        self._print(figure, text, "", "", "")

    def _print(self, *cells: str) -> None:
        print(f"| {' | '.join(cells)} |", flush=True)
