"""Gradient steps a second, and time to success, of our attacks against foolbox and the adversarial robustness toolbox.

All contestants attack the same images through the same CNN, in this one process, with one thread, taking turns; the
best of several rounds counts, in seconds of the processor, which other work on the machine disturbs least. Twice: with
the CNN as training leaves it, which is how attacks are called, and with its parameters asking for no gradient, so that
nobody computes theirs (ours never does).

    python benchmarks/attacks.py [--rounds 2] [--images 256] [--detector] [--out results/attacks.json]
"""

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import twinlatent as tl
from twinlatent.criteria import Misclassified, Undetected
from twinlatent.data import LabelledImages
from twinlatent.files import write_json
from twinlatent.method.networks import build_classifier
from twinlatent.provenance import provenance

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*`scipy.ndimage.filters` namespace", category=DeprecationWarning)
    import foolbox
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

CNN = "c(3,8) mp(2) c(3,16) mp(2) d(64) sm(10)"
STEPS, STEP, DECAY = 40, 0.01, 0.9
EPSILON = 0.3
"""The radius usual for MNIST; the time of a step does not depend on it."""
CW_STEPS, CW_SEARCHES, CW_RATE, CW_C = 50, 2, 0.2, 1.0
ART_CW_STEPS = 10
"""Where only the rate counts: its line search makes a step slow."""
DETECTOR_IMAGES, DETECTOR_STEPS, DETECTOR_FPR = 200, 100, 0.05

Attack = Callable[[], Tensor]
"""Attacks the images of its contest and returns what they became."""


@dataclass(frozen=True)
class Contest:
    """One network and the images that are attacked by everyone, in one batch."""

    network: nn.Module
    images: Tensor
    labels: Tensor

    def gradient_passes(self, attack: Attack) -> int:
        """Images that went through the network with their gradient being asked for, one count each time."""
        passed = 0

        def count(_: nn.Module, asked: tuple[Tensor, ...], answer: Tensor) -> None:
            nonlocal passed
            passed += len(answer) * asked[0].requires_grad

        hook = self.network.register_forward_hook(count)
        attack()
        hook.remove()
        return passed

    @torch.no_grad()
    def success(self, attacked: Tensor) -> float:
        """Share of the images that are misclassified."""
        return (self.network(attacked).argmax(1) != self.labels).float().mean().item()

    @torch.no_grad()
    def median_l2(self, attacked: Tensor) -> float:
        """Median L2 norm of the changes that succeeded."""
        change = (attacked - self.images).flatten(1).norm(dim=1)
        return change[self.network(attacked).argmax(1) != self.labels].median().item()

    # --- the contestants --------------------------------------------------------------------------------------

    def ours(self, attack: Callable[..., tl.attacks.AttackResult], **settings: Any) -> Attack:
        """One of our attack functions."""

        def run() -> Tensor:
            return attack(self.network, self.images, self.labels, batch_size=len(self.images), **settings).images

        return run

    def foolbox(self, attack: foolbox.attacks.base.Attack, epsilon: float | None = EPSILON) -> Attack:
        """One of foolbox's attacks."""
        model = foolbox.PyTorchModel(self.network, bounds=(0, 1))
        return lambda: attack(model, self.images, self.labels, epsilons=epsilon)[1]

    def art(self, attack: type, **settings: Any) -> Attack:
        """One of the toolbox's attacks."""
        model = PyTorchClassifier(self.network, nn.CrossEntropyLoss(), tuple(self.images.shape[1:]), 10,
                                  clip_values=(0.0, 1.0), device_type="cpu")  # fmt: skip
        made = attack(model, batch_size=len(self.images), verbose=False, **settings)
        images, labels = self.images.numpy(), self.labels.numpy()
        return lambda: torch.from_numpy(made.generate(images, labels))

    def pgd(self, early_stop: bool) -> dict[str, Attack]:
        """PGD in L∞ from a random start."""
        common = {"epsilon": EPSILON, "step_size": STEP, "steps": STEPS}
        theirs = {"eps": EPSILON, "eps_step": STEP, "max_iter": STEPS, "num_random_init": 1}
        return {
            "ours": self.ours(tl.attacks.pgd, early_stop=early_stop, **common),
            "foolbox": self.foolbox(foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=STEPS, random_start=True)),
            "art": self.art(evasion.ProjectedGradientDescent, **theirs),
        }

    def mim(self, early_stop: bool) -> dict[str, Attack]:
        """MIM in L∞; foolbox's sums up signs, which takes no longer."""
        common = {"epsilon": EPSILON, "step_size": STEP, "steps": STEPS, "decay": DECAY}
        momentum = foolbox.attacks.LinfMomentumIterativeFastGradientMethod(
            momentum=DECAY, abs_stepsize=STEP, steps=STEPS
        )
        theirs = {"eps": EPSILON, "eps_step": STEP, "max_iter": STEPS, "decay": DECAY}
        return {
            "ours": self.ours(tl.attacks.mim, early_stop=early_stop, **common),
            "foolbox": self.foolbox(momentum),
            "art": self.art(evasion.MomentumIterativeMethod, **theirs),
        }

    def carlini_wagner(self, early_stop: bool) -> dict[str, Attack]:
        """CW-L2; the toolbox's asks for two gradients a step, which are counted, and searches along lines."""
        common = {"steps": CW_STEPS, "searches": CW_SEARCHES, "learning_rate": CW_RATE, "initial_c": CW_C}
        adam = foolbox.attacks.L2CarliniWagnerAttack(
            steps=CW_STEPS, binary_search_steps=CW_SEARCHES, stepsize=CW_RATE, initial_const=CW_C,
            abort_early=early_stop,
        )  # fmt: skip
        theirs = {"max_iter": CW_STEPS if early_stop else ART_CW_STEPS, "initial_const": CW_C,
                  "binary_search_steps": CW_SEARCHES, "learning_rate": CW_RATE}  # fmt: skip
        return {
            "ours": self.ours(tl.attacks.carlini_wagner, abort_early=early_stop, **common),
            "foolbox": self.foolbox(adam, None),
            "art": self.art(evasion.CarliniL2Method, **theirs),
        }


# --- measuring ----------------------------------------------------------------------------------------------------


def best_seconds(contestants: dict[str, Attack], rounds: int) -> dict[str, float]:
    """The least time of each, all taking turns."""
    best = dict.fromkeys(contestants, float("inf"))
    for _ in range(rounds):
        for name, attack in contestants.items():
            began = time.process_time()
            attack()
            best[name] = min(best[name], time.process_time() - began)
    return best


def throughput(title: str, contest: Contest, contestants: dict[str, Attack], rounds: int) -> dict[str, Any]:
    """Gradient passes of one image a second, and how many times ours is as fast as the best of the others."""
    passes = {name: contest.gradient_passes(attack) for name, attack in contestants.items()}  # warms up, too
    seconds = best_seconds(contestants, rounds)
    rates = {name: passes[name] / seconds[name] for name in contestants}
    ratio = rates["ours"] / max(rate for name, rate in rates.items() if name != "ours")
    shown = "   ".join(f"{name} {rate:7.0f}" for name, rate in rates.items())
    print(f"{title:8} {shown}   ours / fastest peer {ratio:.2f}", flush=True)
    return {"images_steps_per_second": {name: round(rate) for name, rate in rates.items()}, "ratio": round(ratio, 3)}


def to_success(title: str, contest: Contest, contestants: dict[str, Attack], rounds: int) -> dict[str, Any]:
    """Processor time of one call that may stop early, and what it achieved."""
    attacked: dict[str, Tensor] = {}
    keeping = {name: lambda n=name, a=attack: attacked.update({n: a()}) for name, attack in contestants.items()}
    seconds = best_seconds(keeping, rounds)
    success = {name: round(contest.success(images), 3) for name, images in attacked.items()}
    norms = {name: round(contest.median_l2(images), 3) if success[name] else None for name, images in attacked.items()}
    ratio = min(value for name, value in seconds.items() if name != "ours") / seconds["ours"]
    shown = "   ".join(
        f"{name} {value:6.2f} s, {success[name]:.1%}, median L2 {norms[name]}" for name, value in seconds.items()
    )
    print(f"{title:8} {shown}   fastest peer / ours {ratio:.2f}", flush=True)
    return {"seconds": {name: round(value, 3) for name, value in seconds.items()}, "success": success,
            "median_l2": norms, "ratio": round(ratio, 3)}  # fmt: skip


def against_detector(data: LabelledImages) -> dict[str, Any]:
    """Every target of every image, undetected, against the shipped MNIST detector."""
    detector = tl.load("mnist-mim")
    criterion = Misclassified() & Undetected(detector.bounds(DETECTOR_FPR), DETECTOR_FPR)
    data = data.subset(slice(0, DETECTOR_IMAGES))
    began = time.perf_counter()
    result = tl.attacks.multi_targeted(
        detector, data.images, data.labels, epsilon=EPSILON, steps=DETECTOR_STEPS, criterion=criterion
    )
    seconds, success = time.perf_counter() - began, result.success.float().mean().item()
    steps = result.steps.float().mean().item()
    print(f"mnist-mim, {len(data)} images, up to 9 targets of {DETECTOR_STEPS} steps: {seconds:.0f} s, "
          f"{success:.1%} misclassified and undetected, {steps:.0f} steps an image")  # fmt: skip
    return {"seconds": round(seconds, 1), "success": round(success, 4), "mean_steps": round(steps, 1),
            "images": len(data), "epsilon": EPSILON, "steps": DETECTOR_STEPS}  # fmt: skip


def train(data: LabelledImages) -> nn.Module:
    """The plain CNN that is attacked, in some seconds."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = build_classifier(CNN, tuple(data.images.shape[1:]))
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(500):
        rows = torch.randint(len(data), (64,), generator=generator)
        optimiser.zero_grad()
        F.cross_entropy(network(data.images[rows]), data.labels[rows]).backward()
        optimiser.step()
    return network.eval().requires_grad_(False)


def main() -> None:
    """Measure, print the ratios, and write them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--detector", action="store_true", help="attack the shipped detector, too: some minutes")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    origin, split = provenance(), tl.data.load("mnist")
    data = split.test.subset(slice(0, options.images))
    contest = Contest(train(split.train), data.images.contiguous(), data.labels)
    accuracy = 1 - contest.success(contest.images)
    print(f"{CNN}: {accuracy:.1%} of {len(data)} images; {STEPS} steps, CW {CW_STEPS} × {CW_SEARCHES}", flush=True)
    attacks = {"PGD": contest.pgd, "MIM": contest.mim, "CW-L2": contest.carlini_wagner}
    results: dict[str, Any] = {"threads": 1, "images": len(data), "accuracy": round(accuracy, 4), "steps": STEPS}
    for trainable, title in ((True, "as trained"), (False, "parameters frozen for all")):
        contest.network.requires_grad_(trainable)
        print(f"\nevery step made, {title}: images·steps a second")
        results[title] = {
            name: throughput(name, contest, make(False), options.rounds) for name, make in attacks.items()
        }
    print(f"\nto success, ours stopping early, parameters frozen for all; ε = {EPSILON} for PGD and MIM")
    results["to success"] = {
        name: to_success(name, contest, make(True), 1 if name == "CW-L2" else options.rounds)
        for name, make in attacks.items()
    }
    if options.detector:
        results["detector"] = against_detector(split.test)
    if options.out:
        write_json(options.out, results | {"provenance": origin.model_dump()})


if __name__ == "__main__":
    main()
