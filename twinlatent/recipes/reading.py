"""Which recipe images get: that of their data set, one that is asked for, or one by rules for their shape."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from twinlatent.baselines.settings import BaselineSettings
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.learners import SubstituteName
from twinlatent.recipes.files import FOLDER, about, names, read, rule
from twinlatent.recipes.recipe import PURPOSES, EvaluationRecipe, Recipe, merged
from twinlatent.settings import check_names, checked, unknown

SMALL, NARROW, LARGE = 12, 27, 48
"""Images whose shorter side has up to 12 pixels are small, below 27 narrow, from 48 on large; see docs/recipes.md."""
GENERIC = "generic"
ALSO = {"robust": "certified"}
"""Another name of a purpose, that of the detectors that ship: `mnist-robust` is trained by `mnist-certified`."""


def recipe_of(split: Split, purpose: str | None = None, asked: str | Path | None = None) -> Recipe:
    """The recipe for the images of a split.

    Args:
        split: its name, shape, classes and number of training images decide.
        purpose: one of `PURPOSES` or of `ALSO`; None: that of the recipe asked for, or `standard`.
        asked: name of a shipped recipe, or file; None: that of the data set and purpose, else the generic one.

    Raises:
        TwinlatentError: unknown purpose, name or setting; or a recipe for images of another shape or other classes.
    """
    return recipe_for(split.name, split.image_shape, split.classes, len(split.train), purpose, asked)


def recipe_for(
    data: str,
    image_shape: tuple[int, int, int],
    classes: int,
    images: int,
    purpose: str | None = None,
    asked: str | Path | None = None,
) -> Recipe:
    """`recipe_of` images (channels, H, W) of so many classes, so many of them for training."""
    purpose = ALSO.get(purpose or "", purpose)
    if purpose is not None and purpose not in PURPOSES:
        raise TwinlatentError(f"preset {purpose!r} is unknown; choose from {', '.join((*PURPOSES, *ALSO))}")
    if classes < 2:
        raise TwinlatentError(f"{data} has {classes} classes; give images of at least 2 classes")
    room = {"image_shape": list(image_shape), "classes": classes}
    if asked is not None:
        path = _path(asked)
        found = _extended(path)
        for name, own in room.items():
            if found.get(name, own) != own:
                raise TwinlatentError(f"recipe {asked} is for {name} {found[name]}; {data} has {own}")
        own = found.get("purpose", purpose)
        own = ALSO.get(own or "", own)
        if purpose not in (None, own):
            raise TwinlatentError(f"recipe {asked} is for the purpose {own}, not {purpose}; leave the preset out")
        return _made({**found, "name": path.stem, "purpose": own or "standard", **room}, images)
    purpose = purpose or "standard"
    for name in names():
        found = about(name)
        if (found.get("data"), found["purpose"]) == (data, purpose) and room.items() <= found.items():
            return _made({"name": name, **found}, images)
    return _made({"name": GENERIC, "about": "by the rules for its shape", "purpose": purpose, **room}, images)


def kept_in(card: Mapping[str, Any]) -> EvaluationRecipe | None:
    """What a detector's card keeps of its recipe for evaluations; None in files of version 0.1.0, which keep none."""
    if "recipe" not in card:
        return None
    return checked(lambda: EvaluationRecipe(**card["recipe"]), "recipe.")


def shipped(name: str) -> Recipe:
    """A recipe that ships with the package, for the images it was written for.

    Raises:
        TwinlatentError: there is none of that name.
    """
    name = _known(name)
    return _made({"name": name, **about(name)}, None)


def _extended(path: Path) -> dict[str, Any]:
    """What a recipe says, over the shipped recipe that it `extends`, if any, whatever images that is for."""
    found = dict(read(path))
    if "name" in found:
        raise TwinlatentError(f"{path}: setting 'name': a recipe is called as its file is; leave it out")
    base = found.pop("extends", None)
    if base is None:
        return found
    base = _known(str(base))
    own = ("about", "data", "image_shape", "classes")
    return merged({name: value for name, value in about(base).items() if name not in own}, found)


def _path(asked: str | Path) -> Path:
    path = Path(asked)
    return path if str(asked) not in names() and path.is_file() else FOLDER / f"{_known(str(asked))}.toml"


def _known(name: str) -> str:
    """The shipped recipe of that name, which may be its other one; `TwinlatentError` if there is none."""
    data, _, purpose = name.rpartition("-")
    for known in (name, f"{data}-{ALSO.get(purpose)}"):
        if known in names():
            return known
    raise _unknown_name(name)


def _unknown_name(name: str) -> TwinlatentError:
    line = str(unknown(name, names())).removeprefix("setting ").rstrip("?")
    return TwinlatentError(f"recipe {line}, or give a file such as mine.toml")


def _made(found: Mapping[str, Any], images: int | None) -> Recipe:
    """The rules for the shape and purpose, what the recipe says over them, and what so many images allow."""
    shape, classes, purpose = found["image_shape"], found["classes"], found["purpose"]
    values: dict[str, Any] = {}
    size = _size(shape)
    narrow = ("narrow",) if min(shape[-2:]) < NARROW else ()
    for name in ("base", size, *narrow, purpose, f"{size}-{purpose}"):
        values = merged(values, rule(name))
    values = merged(values, found)
    check_names(Recipe, values)
    substitutes = values.get("substitutes", {})
    for name in substitutes:
        if name not in get_args(SubstituteName):
            raise unknown(f"substitutes.{name}", [f"substitutes.{known}" for known in get_args(SubstituteName)])
    filled = merged({"substitutes": {"f_p": {"layers": values["networks"]["classifier"]}}}, values)
    room = {"classes": classes, "values": shape[0] * shape[1] * shape[2]}
    recipe: Recipe = checked(lambda: Recipe(**_filled_in(_for_few(filled, images), room)))
    recipe.check()
    return recipe


def _size(image_shape: list[int]) -> str:
    side = min(image_shape[-2:])
    return "small" if side <= SMALL else "large" if side >= LARGE else "medium"


def _for_few(values: dict[str, Any], images: int | None) -> dict[str, Any]:
    """With no more images to attack beforehand than there are."""
    usual = BaselineSettings.model_fields["attacked_images"].default
    if images is None or values["baselines"]["gong"].get("attacked_images", usual) <= images:
        return values
    return merged(values, {"baselines": {"gong": {"attacked_images": images}}})


def _filled_in(value: Any, room: Mapping[str, int]) -> Any:
    """Every text with {classes} and {values} replaced."""
    if isinstance(value, Mapping):
        return {name: _filled_in(part, room) for name, part in value.items()}
    if isinstance(value, str):
        for name, number in room.items():
            value = value.replace(f"{{{name}}}", str(number))
    return value
