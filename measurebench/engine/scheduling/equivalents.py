"""Reads what a measure costs, such as ``10(F+B)+F``, as a number of forward passes."""

import re

__all__ = ["forward_equivalents"]

BACKWARD = 2.0  # of a forward pass: one product for the gradient at the input, one for that in the weights
_CLASSES = 10.0  # K, the number of classes
_RESTARTS = 3.0
_UNKNOWN = 30.0  # an attack that does not say what it costs: about what PGD-10 does
_FIRST = re.compile(r"on the first (\d+) examples")
_HESSIAN = re.compile(r"(\d+) products with H \(about (\d+) \(F\+B\) each\)")
_SHARED = re.compile(r"shared(?: \(F\+B\))?")
_TOKEN = re.compile(r"\d+(?:\.\d+)?(?:\^\d+)?|[FBK]|n_restarts|[()+*]")


def forward_equivalents(cost: str, n: int) -> float:
    """Return how many forward passes per example a measure takes on ``n`` examples; text without a number is 0.

    >>> forward_equivalents("10(F+B)+F", 1000)
    31.0
    >>> forward_equivalents("about 4*10^3 F", 1000)
    4000.0
    >>> forward_equivalents("20(F+B)+F on the first 128 examples", 1280)
    6.1
    """
    if cost == "unknown":
        return _UNKNOWN
    share = 1.0
    if found := _FIRST.search(cost):
        share, cost = min(1.0, int(found.group(1)) / max(n, 1)), cost[: found.start()]
    cost = _HESSIAN.sub(lambda match: f"{match.group(1)}*{match.group(2)}*(F+B)", cost).replace(" x ", "*")
    cost = _SHARED.sub("0", cost)  # counted once for all measures
    if not re.search(r"[FB]", cost):
        return 0.0
    return round(share * _Sum(_TOKEN.findall(cost)).value(), 9)


class _Sum:
    """A sum of products; a factor before a bracket or a letter needs no sign."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def value(self) -> float:
        total = 0.0
        while self.tokens and self.tokens[0] != ")":
            total += self._product()
        return total

    def _product(self) -> float:
        product, empty = 1.0, True
        while self.tokens and self.tokens[0] not in ("+", ")"):
            if (token := self.tokens.pop(0)) != "*":
                product, empty = product * self._factor(token), False
        if self.tokens and self.tokens[0] == "+":
            self.tokens.pop(0)
        return 0.0 if empty else product

    def _factor(self, token: str) -> float:
        if token == "(":
            inner = self.value()
            if self.tokens:
                self.tokens.pop(0)
            return inner
        letters = {"F": 1.0, "B": BACKWARD, "K": _CLASSES, "n_restarts": _RESTARTS}
        base, _, power = token.partition("^")
        return letters[token] if token in letters else float(base) ** float(power or 1)
