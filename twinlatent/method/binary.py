"""A binary detector beside the encoders: was this image attacked, whatever it was made to look like?

Encoders that hold classify most attacked images correctly and do not flag them, since nothing in the game asks for it.
Who wants to know that somebody tries needs another question, which a small network learns to answer (Gong et al. 2017;
Metzen et al. 2017): images attacked on a surrogate against benign ones, mildly changed ones among them.

Its answer is only ever added to the suspicion, and is never negative. So what gets past both gets past the encoders
alone at the same threshold, and what is proved of the encoders holds of both.

Letters: n images, C classes.
"""

from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent.attacks.models import as_model, frozen
from twinlatent.attacks.objectives import LogOdds
from twinlatent.criteria import Aim
from twinlatent.data import LabelledImages
from twinlatent.data.augmentation import Augmentation, augmented
from twinlatent.data.split import SEED_LIMIT, seeded
from twinlatent.errors import TwinlatentError
from twinlatent.method.batches import Epochs
from twinlatent.method.networks import PlainNetwork, build_classifier
from twinlatent.method.radii import ascend_within
from twinlatent.method.training import TOTAL, Keeping, TrainingState, train_rounds
from twinlatent.torch_state import CPU, own_random_state

OWN_SEED = 2_000_003
"""Added to the game's seed, so that weights are not those that an evaluation's attacker starts from."""
LAST = "sm(1)"
"""The last layer, which gives the logit."""
KINDS: tuple[dict[str, Any], ...] = (
    {"steps": 1, "stride": 1.0, "decay": 0.0, "random_start": False},
    {"decay": 0.0, "random_start": True},
    {"decay": 0.9, "random_start": False},
)
"""FGSM, PGD and MIM, by turns: how each differs from the settings."""


class BinarySettings(BaseModel):
    """The binary detector beside the encoders, and the attacked images that it learns from."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    layers: str = ""
    """Its network in the paper's notation, without the last, sm(1). Empty (the paper): there is none."""
    surrogate: str = "2(c(5,20) mp(2)) d(256)"
    """The plain classifier whose attacked images it learns from, without the last, sm(C); it learns along. Several are
    separated by ";", and attacked by turns."""
    rounds: int = Field(1000, ge=1)
    """Trained once the game is over."""
    batch: int = Field(64, ge=1)
    learning_rate: float = Field(2e-3, gt=0)
    """Of Adam, for all networks."""
    epsilon: float = Field(0.3, gt=0, le=1)
    """Largest L∞ radius of the attacks."""
    smallest: float = Field(0.5, gt=0, le=1)
    """Share of it that the smallest has: each image has one of its own, logarithms drawn evenly."""
    steps: int = Field(8, ge=1)
    """Of PGD and MIM; FGSM has one."""
    stride: float = Field(2.5, gt=0)
    """Their step is this × radius / steps."""
    margin: float = Field(4.0, ge=0)
    """Logits of benign images are pushed below minus this."""
    weight: float = Field(5.0, gt=0)
    """What a logit above 0 is multiplied by before it is added to log P_v."""
    augment: Augmentation = Augmentation(blur=0.75, noise=0.05, offset=0.1, contrast=0.4)
    """What is changed of half of the benign images, so that it is not for this that images are flagged."""


def train_binary(
    data: LabelledImages,
    classes: int,
    settings: BinarySettings,
    augment: Augmentation,
    *,
    seed: int,
    device: torch.device,
    progress: bool,
) -> PlainNetwork:
    """Train the binary detector; on the device, its last layer multiplied by `weight`.

    Args:
        data: benign training images.
        classes: C.
        settings: with layers.
        augment: of all images, as in the game.
        seed: of the game.
        device: where to compute.
        progress: whether to show a bar.

    Raises:
        TwinlatentError: layers that are none for these images, or a loss that is not finite any more.
    """
    own = (seed + OWN_SEED) % SEED_LIMIT
    shape = tuple(data.images.shape[1:])
    with own_random_state(CPU, own):
        binary = _network("layers", settings.layers, LAST, shape).to(device)
        surrogates = [_network("surrogate", layers.strip(), f"sm({classes})", shape).to(device)
                      for layers in settings.surrogate.split(";")]  # fmt: skip
    networks = nn.ModuleList([binary, *surrogates])
    optimiser = torch.optim.Adam(networks.parameters(), settings.learning_rate, fused=True)
    state = TrainingState(networks, optimiser, seeded(own))
    deal = Epochs(data, classes, settings.batch, augment, own, device)

    def turn() -> dict[str, Any]:
        images, labels = deal(state.round, state.generator)
        attacked = _attacked(surrogates[state.round // len(KINDS) % len(surrogates)], images, labels, settings, state)
        learnt = sum(F.cross_entropy(surrogate(images), labels) for surrogate in surrogates)
        loss = learnt + _loss(binary, images, attacked, settings, state)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return {"round": state.round + 1, TOTAL: loss.item()}

    train_rounds(state, turn, settings.rounds, Keeping(None, {}, progress=progress), title="binary detector")
    with torch.no_grad():
        for parameter in binary.layers[-1].parameters():
            parameter.mul_(settings.weight)
    return binary.requires_grad_(False).eval()


def _network(setting: str, layers: str, last: str, shape: tuple[int, ...]) -> PlainNetwork:
    try:
        return build_classifier(f"{layers} {last}", shape)
    except TwinlatentError as error:
        raise TwinlatentError(f"setting binary.{setting}, to which {last} is added: {error}") from error


def _attacked(
    surrogate: PlainNetwork, images: Tensor, labels: Tensor, settings: BinarySettings, state: TrainingState
) -> Tensor:
    """The images, attacked on the surrogate by the kind whose turn it is."""
    model, aim = as_model(surrogate), Aim(labels)
    kind = {"steps": settings.steps, "stride": settings.stride} | KINDS[state.round % len(KINDS)]
    with frozen(surrogate):
        return ascend_within(lambda x: LogOdds()(model(x), aim), images, settings.epsilon, smallest=settings.smallest,
                             step_size=None, generator=state.generator, **kind)  # fmt: skip


def _loss(
    binary: PlainNetwork, images: Tensor, attacked: Tensor, settings: BinarySettings, state: TrainingState
) -> Tensor:
    """Logistic losses: attacked images above 0, benign ones, half of them changed, below minus the margin."""
    changed = augmented(images, settings.augment, state.generator)
    said = binary(torch.cat([attacked, images, changed]))  # in one batch, or batch normalisation would tell them apart
    of_attacked, of_benign = said.split([len(attacked), 2 * len(images)])
    return F.softplus(-of_attacked).mean() + F.softplus(of_benign + settings.margin).mean()
