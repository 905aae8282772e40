"""The state of a long sequence that is read in cuts, carried from each to the next."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.recurrent.classifier import NetState


class CarriedState:
    """What a net remembers of the cuts that the rows of the batch before were.

    A row goes on where the same row of the batch before ended if its cut is the next one; else it
    begins anew. No gradient passes from a cut to the one before: truncated back-propagation.
    """

    def __init__(self) -> None:
        self._places: Tensor | None = None
        self._state: NetState | None = None

    def before(self, places: Tensor, initial: NetState) -> NetState:
        """The state before the cuts with these `places` (B,) in their text."""
        if self._places is None or self._state is None:
            return initial
        num = min(len(places), len(self._places))
        goes_on = torch.zeros(len(places), dtype=torch.bool, device=places.device)
        goes_on[:num] = places[:num] == self._places[:num] + 1
        if not bool(goes_on.any()):
            return initial
        return NetState(*(
            _choose(goes_on, carried, fresh)
            for carried, fresh in zip(self._state, initial, strict=True)
        ))  # fmt: skip

    def keep(self, places: Tensor, state: NetState) -> None:
        """Remember the state after the cuts with these places."""
        self._places = places
        self._state = NetState(*(part.detach() for part in state))


def _choose(goes_on: Tensor, carried: Tensor, fresh: Tensor) -> Tensor:
    if bool(goes_on.all()):
        return carried[: len(goes_on)]
    chosen = fresh.clone()
    rows = goes_on.nonzero()[:, 0]
    chosen[rows] = carried[rows].to(fresh.dtype)
    return chosen
