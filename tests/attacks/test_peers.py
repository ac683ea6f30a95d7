"""Our attacks find what other people's find: foolbox, the adversarial robustness toolbox and AutoAttack on one CNN.

Each claim compares robust accuracy, the share of images that the CNN still reads rightly after the attack, under the
same radius, steps and step size. Random starts differ between libraries, hence the small tolerances.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import mean

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twinlatent import attacks
from twinlatent.attacks.balls import l2_norm
from twinlatent.attacks.objectives import CrossEntropy
from twinlatent.data import LabelledImages, load
from twinlatent.errors import TwinlatentError
from twinlatent.method.networks import build_classifier

pytestmark = pytest.mark.slow

STEPS, STEP = 40, 0.01
RADII = (0.1, 0.13)
"""L∞ radii at which about a half and a quarter of the images are still read rightly."""


@dataclass(frozen=True)
class Victim:
    """A CNN and the test images that are attacked."""

    network: nn.Module
    images: Tensor
    labels: Tensor

    def robust(self, attacked: Tensor, original: Tensor | None = None, *, linf: float = 1.0, l2: float = 1e9) -> float:
        """Share of the attacked images that are read rightly, once it is sure that they are within the radius."""
        original = self.images[: len(attacked)] if original is None else original
        change = attacked - original
        assert attacked.min() >= 0
        assert attacked.max() <= 1
        assert change.abs().max() <= linf + 1e-5
        assert l2_norm(change).max() <= l2 + 1e-4
        return (~self.misclassified(attacked)).float().mean().item()

    @torch.no_grad()
    def misclassified(self, attacked: Tensor) -> Tensor:
        return self.network(attacked).argmax(1) != self.labels[: len(attacked)]

    def norms(self, attacked: Tensor) -> Tensor:
        """L2 norm of each change; infinite where the attack failed."""
        change = l2_norm(attacked - self.images[: len(attacked)]).flatten()
        return torch.where(self.misclassified(attacked), change, torch.inf)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Networks this small do not gain by more, and sums come out the same everywhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def victim(_one_thread) -> Victim:
    try:
        split = load("mnist", fetch=False, progress=False)
    except TwinlatentError as error:
        pytest.skip(f"MNIST is not here: {error}")
    network = train(split.train)
    with torch.no_grad():
        accuracy = (network(split.test.images).argmax(1) == split.test.labels).float().mean().item()
    assert accuracy >= 0.97
    return Victim(network, split.test.images[:256].clone(), split.test.labels[:256].clone())


def train(data: LabelledImages) -> nn.Module:
    """A plain CNN, in some seconds."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_classifier("c(5,16) mp(2) c(5,32) mp(2) d(100) sm(10)", (1, 28, 28))
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(500):
        rows = torch.randint(len(data), (64,), generator=generator)
        optimiser.zero_grad()
        F.cross_entropy(network(data.images[rows]), data.labels[rows]).backward()
        optimiser.step()
    return network.eval().requires_grad_(False)


SEEDS = (0, 1, 2)
"""One random start more or less is an image or two, as much as the tolerance: random starts are averaged."""


def pgd_robust(victim: Victim, epsilon: float) -> float:
    """Mean robust accuracy under our PGD."""
    found = (
        attacks.pgd(victim.network, victim.images, victim.labels, epsilon=epsilon, step_size=STEP, steps=STEPS, seed=s)
        for s in SEEDS
    )
    return mean(victim.robust(result.images, linf=epsilon) for result in found)


# --- foolbox ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def foolbox():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*`scipy.ndimage.filters` namespace", category=DeprecationWarning)
        return pytest.importorskip("foolbox", reason="foolbox is not installed: make test-all installs it")


@pytest.fixture
def by_foolbox(foolbox, victim) -> Callable[..., Tensor]:
    """A function: the images as an attack of foolbox leaves them."""

    def attacked(attack, epsilon: float | None, seed: int = 0) -> Tensor:
        model = foolbox.PyTorchModel(victim.network, bounds=(0, 1))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return attack(model, victim.images, victim.labels, epsilons=epsilon)[1]

    return attacked


@pytest.mark.parametrize("epsilon", RADII)
def test_pgd_is_no_weaker_than_foolbox(foolbox, by_foolbox, victim, epsilon):
    peer = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=STEPS, random_start=True)
    theirs = mean(victim.robust(by_foolbox(peer, epsilon, seed), linf=epsilon) for seed in SEEDS)
    assert 0.1 < theirs < 0.9
    assert pgd_robust(victim, epsilon) <= theirs + 0.01


@pytest.mark.parametrize("epsilon", [1.5, 2.0])
def test_pgd_in_l2_is_no_weaker_than_foolbox(foolbox, by_foolbox, victim, epsilon):
    peer = foolbox.attacks.L2PGD(abs_stepsize=0.1, steps=STEPS, random_start=True)
    theirs = victim.robust(by_foolbox(peer, epsilon), l2=epsilon)
    ours = attacks.pgd(victim.network, victim.images, victim.labels, epsilon=epsilon, step_size=0.1, steps=STEPS,
                       norm="l2")  # fmt: skip
    assert 0.1 < theirs < 0.9
    assert victim.robust(ours.images, l2=epsilon) <= theirs + 0.01


SMALL_CHANGE = 1.5
"""L2 radius within which CW-L2 finds something for about half of the images."""


def assert_no_worse(victim: Victim, ours: Tensor, theirs: Tensor) -> None:
    """Of two attacks that look for small changes the first succeeds as often, as near, as a peer's does."""
    mine, other = victim.norms(ours), victim.norms(theirs)
    assert mine.isfinite().float().mean() >= other.isfinite().float().mean() - 0.01
    assert 0.1 < (other > SMALL_CHANGE).float().mean() < 0.9
    assert (mine > SMALL_CHANGE).float().mean() <= (other > SMALL_CHANGE).float().mean() + 0.01
    assert mine.median() <= 1.05 * other.median()


@pytest.mark.parametrize(("confidence", "abort_early"), [(0.0, False), (2.0, False), (0.0, True)])
def test_carlini_wagner_is_no_worse_than_foolbox(foolbox, by_foolbox, victim, confidence, abort_early):
    peer = foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=3, steps=60, stepsize=0.2, confidence=confidence,
                                                 initial_const=1.0, abort_early=abort_early)  # fmt: skip
    ours = attacks.carlini_wagner(victim.network, victim.images, victim.labels, confidence=confidence, steps=60,
                                  learning_rate=0.2, initial_c=1.0, searches=3, abort_early=abort_early)  # fmt: skip
    assert_no_worse(victim, ours.images, by_foolbox(peer, None))


# --- adversarial robustness toolbox -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def art():
    """Its attacks; imported here, since the import takes seconds."""
    return pytest.importorskip("art.attacks.evasion", reason="ART is not installed: make test-all installs it")


@pytest.fixture
def by_art(art, victim) -> Callable[..., Tensor]:
    """A function: the images as an attack of the toolbox leaves them; the first `count` of them."""
    from art.estimators.classification import PyTorchClassifier

    model = PyTorchClassifier(victim.network, nn.CrossEntropyLoss(), (1, 28, 28), 10, clip_values=(0.0, 1.0),
                              device_type="cpu")  # fmt: skip

    def attacked(attack, count: int = 256, seed: int = 0, **settings) -> Tensor:
        before = np.random.get_state()
        np.random.seed(seed)
        try:
            made = attack(model, batch_size=256, verbose=False, **settings)
            found = made.generate(victim.images[:count].numpy(), victim.labels[:count].numpy())
        finally:
            np.random.set_state(before)
        return torch.from_numpy(found)

    return attacked


@pytest.mark.parametrize("epsilon", RADII)
def test_pgd_is_no_weaker_than_art(art, by_art, victim, epsilon):
    settings = {"eps": epsilon, "eps_step": STEP, "max_iter": STEPS, "num_random_init": 1}
    found = (by_art(art.ProjectedGradientDescent, seed=seed, **settings) for seed in SEEDS)
    theirs = mean(victim.robust(images, linf=epsilon) for images in found)
    assert 0.1 < theirs < 0.9
    assert pgd_robust(victim, epsilon) <= theirs + 0.01


@pytest.mark.parametrize("epsilon", RADII)
@pytest.mark.parametrize("decay", [0.3, 0.9])
def test_mim_is_no_weaker_than_art(art, by_art, victim, epsilon, decay):
    # foolbox has a MIM too, but it sums up signs instead of gradients over their L1 norm (Dong et al. 2018)
    found = by_art(art.MomentumIterativeMethod, eps=epsilon, eps_step=STEP, max_iter=STEPS, decay=decay)
    theirs = victim.robust(found, linf=epsilon)
    ours = attacks.mim(victim.network, victim.images, victim.labels, epsilon=epsilon, step_size=STEP, steps=STEPS,
                       decay=decay)  # fmt: skip
    assert 0.1 < theirs < 0.9
    assert victim.robust(ours.images, linf=epsilon) <= theirs + 0.01


def test_mim_takes_the_steps_of_art(art, by_art, victim):
    # the same objective, and too few steps to be misclassified: then both keep the last iterate
    found = by_art(art.MomentumIterativeMethod, eps=0.05, eps_step=STEP, max_iter=3, decay=0.9)
    ours = attacks.mim(victim.network, victim.images, victim.labels, epsilon=0.05, step_size=STEP, steps=3,
                       decay=0.9, objective=CrossEntropy())  # fmt: skip
    same = (found - ours.images).abs() < 1e-6
    assert same[~ours.success].float().mean() > 0.99  # a gradient of nearly zero may have either sign


def test_carlini_wagner_is_no_worse_than_art(art, by_art, victim):
    # its steps are a line search's, not Adam's, so that each asks the model several times
    found = by_art(art.CarliniL2Method, count=128, max_iter=60, learning_rate=0.2, binary_search_steps=3,
                   initial_const=1.0)  # fmt: skip
    ours = attacks.carlini_wagner(victim.network, victim.images[:128], victim.labels[:128], steps=60,
                                  learning_rate=0.2, initial_c=1.0, searches=3, abort_early=False)  # fmt: skip
    assert_no_worse(victim, ours.images, found)


# --- AutoAttack ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def autopgd():
    return pytest.importorskip("pyautoattack.autopgd_base", reason="pyautoattack is not installed: make test-all does")


@pytest.mark.parametrize("epsilon", RADII)
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_every_target_is_no_weaker_than_autopgd(autopgd, victim, epsilon, loss):
    with torch.random.fork_rng():
        peer = autopgd.APGDAttack(victim.network, n_iter=100, eps=epsilon, loss=loss, seed=0)
        theirs = victim.robust(peer.perturb(victim.images, victim.labels), linf=epsilon)
    ours = attacks.multi_targeted(victim.network, victim.images, victim.labels, epsilon=epsilon, steps=100,
                                  step_size=epsilon / 5)  # fmt: skip
    assert 0.1 < theirs < 0.9
    assert victim.robust(ours.images, linf=epsilon) <= theirs + 0.02


@pytest.fixture(scope="module")
def restarted_autopgd(autopgd, victim) -> Callable[[float], float]:
    """A function: robust accuracy under APGD on the cross-entropy, started three times."""

    @cache
    def robust(epsilon: float) -> float:
        with torch.random.fork_rng():
            peer = autopgd.APGDAttack(victim.network, n_iter=100, n_restarts=3, eps=epsilon, loss="ce", seed=0)
            return victim.robust(peer.perturb(victim.images, victim.labels), linf=epsilon)

    return robust


@pytest.mark.parametrize("epsilon", RADII)
def test_pgd_with_shrinking_steps_is_no_weaker_than_autopgd(restarted_autopgd, victim, epsilon):
    # like APGD's, its first step crosses the ball and its last ones are small
    ours = attacks.pgd(victim.network, victim.images, victim.labels, epsilon=epsilon, steps=100, step_size=epsilon,
                       restarts=3, shrink=True, early_stop=True)  # fmt: skip
    assert victim.robust(ours.images, linf=epsilon) <= restarted_autopgd(epsilon) + 0.02


@pytest.mark.parametrize("epsilon", [0.1, 0.15])
def test_square_is_no_weaker_than_autoattack(victim, epsilon):
    squares = pytest.importorskip("pyautoattack.square", reason="pyautoattack is not installed: make test-all does")
    images, labels = victim.images[:128], victim.labels[:128]
    with torch.random.fork_rng():
        peer = squares.SquareAttack(victim.network, n_queries=1000, eps=epsilon, seed=0)
        theirs = victim.robust(peer.perturb(images, labels), linf=epsilon)
    ours = attacks.square(victim.network, images, labels, epsilon=epsilon, queries=1000)
    assert 0.1 < theirs < 0.9
    assert victim.robust(ours.images, linf=epsilon) <= theirs + 0.02
