"""Requests that are refused: a status of HTTP, and one line that says what to mend."""

from collections.abc import Mapping

from twinlatent.errors import TwinlatentError


class Refusal(TwinlatentError):
    """A request that is not answered.

    Attributes:
        status: of HTTP.
        headers: that go with it.
    """

    def __init__(self, status: int, line: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(line)
        self.status, self.headers = status, dict(headers or {})


def refusal_of(error: TwinlatentError) -> Refusal:
    """The refusal that an error of the library is: 413 for what is too large, 415 for what is no image, else 422."""
    from twinlatent.data.bodies import UnknownKindError
    from twinlatent.data.bombs import BombError
    from twinlatent.data.pictures import TooManyPixelsError

    if isinstance(error, Refusal):
        return error
    if isinstance(error, TooManyPixelsError | BombError):
        return Refusal(413, str(error))
    return Refusal(415 if isinstance(error, UnknownKindError) else 422, str(error))
