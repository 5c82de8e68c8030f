"""How several interacting causes share one effect: the Shapley value."""

from collections.abc import Mapping
from itertools import combinations
from math import factorial

import numpy as np

Setting = frozenset[str]


def settings(players: tuple[str, ...]) -> list[Setting]:
    """Return all ``2**k`` subsets of ``k`` players, from none to all."""
    return [
        frozenset(chosen)
        for size in range(len(players) + 1)
        for chosen in combinations(players, size)
    ]


def shapley_values(
    players: tuple[str, ...], values: Mapping[Setting, np.ndarray]
) -> dict[str, np.ndarray]:
    r"""Share ``v(all) - v(none)`` among the players.

    The share of player :math:`i` among the players :math:`N`, :math:`k = |N|`, is

    .. math:: \phi_i = \sum_{S \subseteq N \setminus \{i\}}
              \frac{|S|!\,(k - |S| - 1)!}{k!} \left(v(S \cup \{i\}) - v(S)\right)

    It is the only rule under which the shares sum to the whole, equal players get
    equal shares, a player without effect gets 0, and shares of a sum of effects are
    the sums of the shares.

    Args:
        players: Names of the ``k`` players.
        values: ``v(S)`` for every subset ``S``: arrays of one shape, whose elements
            are shared out independently (one element per batch, for instance).

    Returns:
        The share of each player, in the shape of the values. NaN where a value is.

    References:
        L. S. Shapley, "A value for n-person games", Contributions to the Theory of
        Games II, 1953.
    """
    k = len(players)
    shares = {}
    for player in players:
        others = tuple(name for name in players if name != player)
        shares[player] = sum(
            (
                factorial(len(s))
                * factorial(k - len(s) - 1)
                / factorial(k)
                * (values[s | {player}] - values[s])
                for s in settings(others)
            ),
            start=np.zeros_like(values[frozenset()]),
        )
    return shares
