"""Small-loss selection: how many are kept, and which."""

import pytest
import torch

from labelsieve.core.exceptions import InputError
from labelsieve.selection.small_loss import forget_rate, keep_small_losses


def test_the_published_numbers():
    losses = torch.rand(64, generator=torch.Generator().manual_seed(0))
    keep = keep_small_losses(losses, 0.4)
    assert keep.sum() == 38
    assert losses[keep].max() <= losses[~keep].min()
    assert [forget_rate(e, 0.4, 1) for e in range(3)] == [0.0, 0.4, 0.4]
    assert [forget_rate(e, 0.4, 5) for e in range(6)] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.4])
    assert forget_rate(0, 0.4, 0) == 0.4


@pytest.mark.parametrize(
    ("n", "rate", "kept"),
    [(10, 0.9, 1), (5, 0.2, 4), (1, 0.5, 1), (3, 1.0, 0), (0, 0.4, 0), (7, 0.0, 7)],
)
def test_how_many_are_kept(n, rate, kept):
    assert keep_small_losses(torch.zeros(n), rate).sum() == kept


def test_ties_go_to_the_earlier_and_bad_rates_are_refused():
    assert keep_small_losses(torch.ones(4), 0.5).tolist() == [True, True, False, False]
    with pytest.raises(InputError, match=r"rate must be a number in 0\.\.1, not 1\.5"):
        keep_small_losses(torch.ones(4), 1.5)
