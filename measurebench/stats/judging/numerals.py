"""Numbers as judgements print them: never as zero where their sign decides."""

__all__ = ["percent", "signed"]

_MORE = 2  # decimals that a number gets at most to show that it is not zero


def signed(value: float) -> str:
    """Return a correlation with its sign and two decimals, or up to four where two would show zero.

    >>> signed(0.5), signed(-0.0021), signed(0.0)
    ('+0.50', '-0.002', '+0.00')
    """
    return f"{value:+.{_decimals(value, 2)}f}"


def percent(share: float) -> str:
    """Return a share in percent with one decimal, or up to three where one would show zero; never a negative zero.

    >>> percent(0.5), percent(-0.0004), percent(-1e-9)
    ('50.0 %', '-0.04 %', '0.0 %')
    """
    decimals = _decimals(100 * share, 1)
    return f"{round(100 * share, decimals) + 0.0:.{decimals}f} %"


def _decimals(value: float, least: int) -> int:
    return next((n for n in range(least, least + _MORE + 1) if round(value, n)), least)
