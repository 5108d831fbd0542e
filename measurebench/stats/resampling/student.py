"""Student's t distribution: its quantile, and the probability of its tails."""

__all__ = ["t_quantile", "t_tails"]


def t_quantile(freedom: float) -> float:
    """Return the 97.5 % quantile for so many degrees of freedom.

    >>> round(t_quantile(10), 3)
    2.228
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def t_tails(t: float, freedom: float) -> float:
    """Return the two-sided p-value of t.

    >>> round(t_tails(2.228, 10), 3)
    0.05
    """
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(t)))
