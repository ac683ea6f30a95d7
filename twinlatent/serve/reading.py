"""From the body of a request to images."""

import json
import time
from typing import TYPE_CHECKING, Any

from twinlatent.errors import brief
from twinlatent.serve.limits import most_lists, most_marks
from twinlatent.serve.multipart import parts_of
from twinlatent.serve.refusals import Refusal
from twinlatent.serve.settings import ServeSettings

if TYPE_CHECKING:
    from torch import Tensor

JSON, MULTIPART = "application/json", "multipart/form-data"


def check_json(body: bytes, image_shape: tuple[int, ...], settings: ServeSettings) -> None:
    """Refuse JSON of far more values or lists than the images of a request have.

    It is parsed in one go, which no other thread can interrupt, and each of its values takes up memory; so they are
    counted before, by the marks that stand between them.

    Raises:
        Refusal: it has more.
    """
    lists = body.count(b"[")
    marks = lists + body.count(b",") + body.count(b"{")
    if marks > most_marks(image_shape, settings) or lists > most_lists(image_shape, settings):
        raise Refusal(413, f"the JSON holds far more values than the {settings.most_images:,} images have that are "
                           "allowed; send fewer a request")  # fmt: skip


def json_of(body: bytes) -> Any:
    """What a JSON body says.

    Raises:
        Refusal: it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(body)
    except RecursionError:
        raise Refusal(400, "the JSON is nested too deeply; give images as lists of rows") from None
    except ValueError as error:  # bytes that are no UTF-8 and numbers of too many digits, too
        raise Refusal(400, f"the body is no JSON ({brief(error, most=80)}); mend that") from None


def images_of(body: bytes, content_type: str, image_shape: tuple[int, ...], settings: ServeSettings) -> "Tensor":
    """The images (n, channels, H, W) of a body of any kind that `detect` takes, n from 1 to the most that are allowed.

    Raises:
        TwinlatentError: it holds none, too many, or others; a `Refusal` where the status is not 422.
    """
    import torch

    from twinlatent.data.bodies import read_body, read_numbers

    if not body:
        raise Refusal(400, "the body is empty; send PNG, JPEG, .npy or JSON")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON:
        check_json(body, image_shape, settings)
        said = json_of(body)
        if isinstance(said, dict):
            if set(said) != {"images"}:
                raise Refusal(422, 'the JSON object has other names than "images"; give {"images": [...]}')
            said = said["images"]
        images = read_numbers(said, "images", image_shape)
    elif kind == MULTIPART:
        read, until = [], time.monotonic() + settings.read_seconds
        for number, part in enumerate(parts_of(body, content_type, settings.most_images)):
            if time.monotonic() > until:
                raise Refusal(413, f"{number} pictures took {settings.read_seconds:g} s to read; send fewer or smaller "
                                   "ones a request")  # fmt: skip
            read.append(read_body(part, f"part {number}", image_shape, settings.most_pixels))
        images = torch.cat(read)
    elif body.lstrip()[:1] in (b"[", b"{"):
        raise Refusal(415, f"the body may be JSON, and is sent as {kind[:64] or 'nothing'}; send it with the header "
                           f"Content-Type: {JSON}")  # fmt: skip
    else:
        images = read_body(body, "the body", image_shape, settings.most_pixels)
    return checked_count(images, settings)


def checked_count(images: "Tensor", settings: ServeSettings) -> "Tensor":
    """The images, unless they are too many for a request.

    Raises:
        Refusal: they are.
    """
    if len(images) > settings.most_images:
        raise Refusal(413, f"the request has {len(images):,} images, and {settings.most_images:,} are allowed; "
                           "send them in several requests")  # fmt: skip
    return images
