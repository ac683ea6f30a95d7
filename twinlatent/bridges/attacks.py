"""Attacks of other libraries as attacks of ours: they search, our criterion judges what they found.

Each function names an attack of one library and its settings, and returns what makes of a radius an attack for `run`,
`run_suite` and `tl.evaluate`. What the library says of its own success is not asked: its images are projected into the
ball and into [0, 1], and judged on the model itself.
"""

import inspect
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal, TypedDict, Unpack, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from twinlatent.attacks.attack import Attack, Found
from twinlatent.attacks.balls import Norm, ball_of
from twinlatent.bridges.views import Passing, level_of
from twinlatent.criteria import Aim, Criterion
from twinlatent.errors import TwinlatentError, brief, extra
from twinlatent.outputs import Model
from twinlatent.torch_state import own_random_state

Sees = Literal["passed", "logits"]
Settings = Mapping[str, Any]
Search = Callable[[Callable[..., Any], dict[str, Any], Passing, Tensor, Aim, float], Any]
"""(the library's attack, its settings, the classifier, images, their aim, radius) → images that it found."""
RADIUS = {"art": ("eps",), "torchattacks": ("eps",), "secml": ("epsilon",), "adv_lib": ("eps", "ε")}
"""What each library calls a radius."""
NONE: Settings = MappingProxyType({})


class How(TypedDict, total=False):
    """What every function of this file takes besides the library's own settings; see `Bridged`."""

    norm: Norm
    sees: Sees
    alone: bool


@dataclass(frozen=True)
class Bridged(Attack):
    """An attack of another library at a radius; made by the functions of this file.

    The library gets images of one true label (and target) at a time, see `Passing`. Its random numbers, torch's,
    NumPy's and Python's, come from the seeds of these images and leave the global states alone.

    Attributes:
        library: its name.
        attack: the library's class or function.
        settings: of that, the radius left out.
        epsilon: radius of the ball.
        norm: of the ball.
        sees: what the library attacks. `passed`: logits that err where the image is misclassified and meets the level
            of suspicion in the criterion, if there is one. `logits`: those of the classifier; the detector is ignored.
        alone: whether the library gets one image at a time: slower, but then the answer for an image does not depend on
            the others, which libraries that draw for a whole batch, or stop when all of it is done, do not promise.
    """

    library: str
    attack: Callable[..., Any]
    settings: Settings
    epsilon: float
    norm: Norm = "linf"
    sees: Sees = "passed"
    alone: bool = False
    search: Search = field(repr=False, default=lambda *_: None)

    def __post_init__(self) -> None:
        ball_of(self.norm, self.epsilon)
        if self.sees not in get_args(Sees):
            raise TwinlatentError(f"sees is {self.sees!r}; choose {' or '.join(get_args(Sees))}")

    def __call__(self, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        """What the library finds; `TwinlatentError` if it fails."""
        found, level = Found.nothing(images), level_of(criterion) if self.sees == "passed" else None
        for rows in self._groups(aim):
            mine = aim[rows]
            target = None if mine.targets is None else int(mine.targets[0])
            view = Passing(model, images, int(mine.labels[0]), target, level, self.sees == "passed")
            found = found.merged(self._found(view, model, images[rows], mine, criterion), rows)
        return found

    def _groups(self, aim: Aim) -> Iterator[Tensor]:
        """Rows of the same label and target, or each row."""
        targets = aim.labels if aim.targets is None else aim.targets
        which = torch.stack([aim.labels, targets, torch.arange(len(aim), device=aim.labels.device) * self.alone], 1)
        number = which.unique(dim=0, return_inverse=True)[1]
        yield from ((number == group).nonzero()[:, 0] for group in range(int(number.max()) + 1))

    def _found(self, view: Passing, model: Model, images: Tensor, aim: Aim, criterion: Criterion) -> Found:
        @torch.no_grad()
        def judged(images: Tensor) -> Found:
            outputs = model(images)
            return Found.iterate(images, criterion(outputs, aim), view.lead(view.logits_of(outputs)))

        seed = 0 if aim.seeds is None else int(aim.seeds.remainder(2**32).sum()) % 2**32
        name = f"{self.library}: {getattr(self.attack, '__name__', self.attack)}"
        with _said(name), _own_numbers(seed), own_random_state(images.device, seed):
            made = self.search(self.attack, dict(self.settings), view, images.clone(), aim, self.epsilon)
            made = torch.as_tensor(made).detach().to(images)
        if made.shape != images.shape:
            raise TwinlatentError(f"{name} answers {tuple(images.shape)} images with {tuple(made.shape)}; bridge an "
                                  "attack that answers with images")  # fmt: skip
        made = ball_of(self.norm, self.epsilon).project(torch.where(made.isfinite(), made, images), images)
        found, n = judged(images).merged(judged(made), torch.arange(len(images), device=images.device)), len(images)
        asked = torch.full_like(found.steps, -(-(view.gradients or view.queries) // n))
        return replace(found, steps=asked, dead_steps=torch.full_like(asked, view.dead // n))


def foolbox(
    attack: str | Callable[..., Any], settings: Settings = NONE, **how: Unpack[How]
) -> Callable[[float], Bridged]:
    """An attack of foolbox (Rauber et al. 2017).

    Args:
        attack: name in `foolbox.attacks`, such as LinfPGD, or the class itself; without a model.
        settings: what the class is made with.
        how: `norm`, `sees` and `alone`, see `Bridged`.

    Returns:
        a function from a radius to the attack, as `tl.evaluate(..., attacks={"theirs": ...})` takes.

    Raises:
        TwinlatentError: the library is not installed, or has no such attack.
    """
    return _bridge("foolbox", attack, settings, _by_foolbox, how)


def art(attack: str | Callable[..., Any], settings: Settings = NONE, **how: Unpack[How]) -> Callable[[float], Bridged]:
    """An evasion attack of the Adversarial Robustness Toolbox (Nicolae et al. 2018).

    Args, result and errors are those of `foolbox`; `attack` is a name in `art.attacks.evasion`, such as
    ProjectedGradientDescent. It is made with a `PyTorchClassifier` with the cross-entropy as loss, and with `eps`, the
    radius, where it has one that `settings` leave out.
    """
    return _bridge("art", attack, settings, _by_art, how)


def torchattacks(
    attack: str | Callable[..., Any], settings: Settings = NONE, **how: Unpack[How]
) -> Callable[[float], Bridged]:
    """An attack of torchattacks (Kim 2020).

    Args, result and errors are those of `foolbox`; `attack` is a name in `torchattacks`, such as PGD. It is made with
    the model, and with `eps`, the radius, where it has one that `settings` leave out. Some of its attacks stop, or
    scale, by what the whole batch does: `alone` keeps images apart.
    """
    return _bridge("torchattacks", attack, settings, _by_torchattacks, how)


def secml(
    attack: str | Callable[..., Any], settings: Settings = NONE, **how: Unpack[How]
) -> Callable[[float], Bridged]:
    """An evasion attack of SecML-Torch.

    Args, result and errors are those of `foolbox`; `attack` is a module and name in `secmlt.adv.evasion`, such as
    pgd.PGD. It is made with `epsilon`, the radius, where it has one that `settings` leave out.
    """
    return _bridge("secml", attack, settings, _by_secml, how)


def adv_lib(
    attack: str | Callable[..., Any], settings: Settings = NONE, **how: Unpack[How]
) -> Callable[[float], Bridged]:
    """An attack of adv-lib (Rony & Ben Ayed).

    Args, result and errors are those of `foolbox`; `attack` is a name in `adv_lib.attacks`, such as fmn, or the
    function itself. It is called with the radius where it needs one that `settings` leave out.
    """
    return _bridge("adv_lib", attack, settings, _by_adv_lib, how)


HOMES = {
    "foolbox": "foolbox.attacks",
    "art": "art.attacks.evasion",
    "torchattacks": "torchattacks",
    "secml": "secmlt.adv.evasion",
    "adv_lib": "adv_lib.attacks",
}
"""Where each library has its attacks."""
INSTALLS = {
    "foolbox": extra("bridges"),
    "art": extra("bridges"),
    "torchattacks": "pip install 'torchattacks'",
    "secml": "pip install 'secml-torch'",
    "adv_lib": "pip install 'adv-lib'",
}
"""How to install each; those that require torchvision are in no extra of ours."""


def imported(library: str, module: str | None = None) -> Any:
    """A module of another library, by default that of its attacks; its warnings while it is imported are left out.

    Raises:
        TwinlatentError: it is not installed; the line says what to install.
    """
    home = module or HOMES[library]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(home)
    except ModuleNotFoundError as error:
        missing = (error.name or home).partition(".")[0]
        install = INSTALLS[library] if missing == home.partition(".")[0] else f"pip install '{missing}'"
        raise TwinlatentError(f"{library}: {missing} is not installed; {install}") from error


def _bridge(
    library: str, attack: str | Callable[..., Any], settings: Settings, search: Search, how: How
) -> Callable[[float], Bridged]:
    if not isinstance(settings, Mapping):
        raise TwinlatentError(f"settings of {library} are a {type(settings).__name__}; give a dict, such as "
                              '{"steps": 40}')  # fmt: skip
    made = partial(Bridged, library, _named(library, attack), dict(settings), search=search, **how)
    made(0.0)  # so that what is wrong with `how` is said now
    return made


def _named(library: str, attack: object) -> Callable[..., Any]:
    """The library's attack of that name, or what was given instead."""
    found, home = attack, HOMES[library]
    if isinstance(attack, str):
        part, _, name = attack.rpartition(".")
        module = imported(library)
        if part:
            try:
                module = import_module(f"{home}.{part}")
            except ModuleNotFoundError:
                module = None
        found = getattr(module, name, None)
    if not callable(found):
        raise TwinlatentError(f"{library} has no attack {attack!r}; give the name of one in {home}, or its class")
    return found


def _filled(
    library: str, attack: Callable[..., Any], settings: dict[str, Any], epsilon: float, **others: Any
) -> dict[str, Any]:
    """The settings, with the radius and others where the attack asks for them and the settings leave them out."""
    known = dict.fromkeys(RADIUS[library], epsilon) | others
    return {name: known[name] for name in inspect.signature(attack).parameters if name in known} | settings


def _by_foolbox(
    attack: Callable[..., Any], settings: dict[str, Any], view: Passing, images: Tensor, aim: Aim, epsilon: float
) -> Any:
    library = imported("foolbox", "foolbox")
    model = library.PyTorchModel(view, bounds=(0, 1), device=images.device)
    wanted = (library.criteria.Misclassification(aim.labels) if aim.targets is None
              else library.criteria.TargetedMisclassification(aim.targets))  # fmt: skip
    return attack(**settings)(model, images, wanted, epsilons=epsilon)[1]


def _by_art(
    attack: Callable[..., Any], settings: dict[str, Any], view: Passing, images: Tensor, aim: Aim, epsilon: float
) -> Any:
    with torch.no_grad():
        classes = view(images[:1]).shape[1]
    estimator = imported("art", "art.estimators.classification").PyTorchClassifier(
        view, torch.nn.CrossEntropyLoss(), tuple(images.shape[1:]), classes, clip_values=(0.0, 1.0),
        device_type="cpu" if images.device.type == "cpu" else "gpu")  # fmt: skip
    known = _filled("art", attack, settings, epsilon, verbose=False, targeted=aim.targets is not None)
    made = attack(estimator, **known)
    wanted = aim.labels if aim.targets is None else aim.targets
    return made.generate(images.cpu().numpy(), F.one_hot(wanted, classes).cpu().numpy())


def _by_torchattacks(
    attack: Callable[..., Any], settings: dict[str, Any], view: Passing, images: Tensor, aim: Aim, epsilon: float
) -> Any:
    made = attack(view, **_filled("torchattacks", attack, settings, epsilon))
    if aim.targets is None:
        return made(images, aim.labels)
    made.set_mode_targeted_by_label(quiet=True)
    return made(images, aim.targets)


def _by_secml(
    attack: Callable[..., Any], settings: dict[str, Any], view: Passing, images: Tensor, aim: Aim, epsilon: float
) -> Any:
    from torch.utils.data import DataLoader, TensorDataset

    model = imported("secml", "secmlt.models.pytorch.base_pytorch_nn").BasePyTorchClassifier(view)
    if aim.targets is not None:
        settings["y_target"] = int(aim.targets[0])
    loader = DataLoader(TensorDataset(images, aim.labels), batch_size=len(images))
    found = attack(**_filled("secml", attack, settings, epsilon))(model, loader)
    return torch.cat([made for made, _ in found])


def _by_adv_lib(
    attack: Callable[..., Any], settings: dict[str, Any], view: Passing, images: Tensor, aim: Aim, epsilon: float
) -> Any:
    wanted = aim.labels if aim.targets is None else aim.targets
    given = {
        name: part.default
        for name, part in inspect.signature(attack).parameters.items()
        if name in RADIUS["adv_lib"] and part.default is not part.empty
    }  # an `eps` with a default is no radius
    settings = _filled("adv_lib", attack, given | settings, epsilon)
    return attack(model=view, inputs=images, labels=wanted, targeted=aim.targets is not None, **settings)


@contextmanager
def _said(name: str) -> Iterator[None]:
    """What goes wrong in a library is said in a line that begins with its name."""
    try:
        yield
    except TwinlatentError:
        raise
    except Exception as error:
        said = brief(f"{type(error).__name__}: {error}", most=200)
        raise TwinlatentError(f"{name}: {said}; mend its settings") from error


@contextmanager
def _own_numbers(seed: int) -> Iterator[None]:
    """Within the block NumPy and Python draw from `seed`; afterwards their states are as they were."""
    before, plain = np.random.get_state(), random.getstate()
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
        random.setstate(plain)
