"""A new kind of negatives is a new class and a field: the loop of the game knows none of them."""

import torch
from torch import Tensor

from twinlatent.data import LabelledImages
from twinlatent.method.class_vaes import ClassVAEs
from twinlatent.method.game import play
from twinlatent.method.game_state import GameSettings
from twinlatent.method.negatives import Negatives, NegativesSettings, Round, Setup
from twinlatent.method.negatives.others import AttackedSettings
from twinlatent.method.negatives.partway import PartwaySettings

NETWORKS = {"encoder": "c(3,4) z(4,4)", "decoder": "d(9) ct(3,4) d(64)"}


class Bound(Negatives):
    """No images: a loss that pushes the vulnerable means of benign images, of any ball, from the origin."""

    def __init__(self, share: float) -> None:
        self.share, self.radii = share, []

    def images(self, of_round: Round, attacked: Tensor, generator: torch.Generator) -> Tensor:
        return attacked[:, :0]

    def loss(self, vaes: ClassVAEs, of_round: Round, epsilon: float) -> Tensor:
        self.radii.append(epsilon)
        return -self.share * vaes.encode(of_round.benign).vulnerable.mean.square().mean((1, 2))


class BoundSettings(PartwaySettings):
    def made(self, setup: Setup) -> Negatives | None:
        return Bound(self.share) if self.share else None


class WithBound(NegativesSettings):
    bound: BoundSettings = BoundSettings()


def test_a_bound_instead_of_an_attack_is_a_class_and_a_field(three_digits: LabelledImages) -> None:
    def played(share: float) -> tuple[Tensor, list[float]]:
        negatives = WithBound(bound=BoundSettings(share=share))
        settings = GameSettings(**NETWORKS, negatives=negatives, rounds=6, batch=8, ramp=0.5, adversary={"steps": 1})
        state = play(three_digits, 3, settings, seed=1, progress=False)
        vulnerable = state.vaes.encode(three_digits.images[None, :50].expand(3, -1, -1, -1, -1)).vulnerable.mean
        bound = state.negatives.get("bound")
        return vulnerable.square().mean(), bound.radii if isinstance(bound, Bound) else []

    (without, none), (pushed, radii) = played(0.0), played(1.0)
    assert pushed > without
    assert (none, len(radii), radii[-1]) == ([], 6, 0.4)
    assert radii == sorted(radii)


def test_a_share_of_the_attacked_images_is_rounded_up() -> None:
    kind = AttackedSettings(share=0.3).made(Setup((1, 4, 4), 2, 0, torch.device("cpu")))
    assert kind is not None
    attacked = torch.arange(10.0).expand(2, 10)
    found = kind.images(Round(attacked, attacked), attacked, torch.Generator())
    assert found.tolist() == [[0, 1, 2]] * 2
    assert AttackedSettings(share=0).made(Setup((1, 4, 4), 2, 0, torch.device("cpu"))) is None
