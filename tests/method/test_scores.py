"""The log-odds against a class: right at every size of logits, with a gradient where probabilities have none."""

import pytest
import torch

from twinlatent.method.scores import log_odds_against


@pytest.mark.parametrize("classes", [2, 10])
def test_it_is_the_log_odds_of_the_softmax(classes: int, generator: torch.Generator) -> None:
    logits = torch.randn(50, classes, generator=generator, dtype=torch.float64)
    p = logits.softmax(1)
    torch.testing.assert_close(log_odds_against(logits), ((1 - p) / p).log())


def test_it_orders_images_and_has_a_gradient_where_the_softmax_is_one() -> None:
    logits = torch.tensor([[40.0, 0.0, 1.0], [80.0, 0.0, 1.0]], requires_grad=True)
    odds = log_odds_against(logits)[:, 0]
    assert (logits.softmax(1)[:, 0] == 1).all()
    assert odds[0] > odds[1]
    (gradient,) = torch.autograd.grad(odds.sum(), logits)
    torch.testing.assert_close(gradient[:, 0], torch.full((2,), -1.0))


def test_it_does_not_hang_on_what_is_added_to_all_logits(generator: torch.Generator) -> None:
    logits = torch.randn(5, 4, generator=generator)
    torch.testing.assert_close(log_odds_against(logits + 7), log_odds_against(logits), rtol=1e-4, atol=1e-5)
