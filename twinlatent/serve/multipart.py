"""The parts of a multipart/form-data body that is in memory; nothing is written to disk."""

import logging
from dataclasses import dataclass, field

from twinlatent.serve.refusals import Refusal

MALFORMED = "the body is no multipart/form-data; send it as `curl -F image=@digit.png` does"


QUIET = logging.Logger("multipart", logging.CRITICAL + 1)
"""Takes what the parser says of malformed bodies beside its errors: any client can make it say that."""


@dataclass
class _Parts:
    """What the parser hands over, piece by piece."""

    most: int
    found: list[bytearray] = field(default_factory=list)

    def begin(self) -> None:
        if len(self.found) >= self.most:
            raise Refusal(413, f"the body has more than {self.most:,} parts; send them in several requests")
        self.found.append(bytearray())

    def data(self, piece: bytes, start: int, end: int) -> None:
        self.found[-1] += piece[start:end]


def parts_of(body: bytes, content_type: str, most: int) -> list[bytes]:
    """The parts, in their order, whatever they are called.

    Raises:
        Refusal: the body is none, is cut short, or has more than `most` parts.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise Refusal(400, MALFORMED)
    parts, whole = _Parts(most), []
    calls = {"on_part_begin": parts.begin, "on_part_data": parts.data, "on_end": lambda: whole.append(True)}
    try:
        parser = MultipartParser(boundary, calls)  # type: ignore[arg-type]
        parser.logger = QUIET
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise Refusal(400, MALFORMED) from None
    if not whole or not parts.found:
        raise Refusal(400, MALFORMED)
    return [bytes(part) for part in parts.found]
