"""What a server is told when it starts."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

MEBIBYTE = 2**20


class ServeSettings(BaseModel):
    """Limits, rate, token and log of a server; the defaults suit small images on a small machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fpr: float = Field(0.05, gt=0, lt=1)
    """Share of benign images that may be flagged, where a request names none."""
    most_bytes: int = Field(16 * MEBIBYTE, ge=1)
    """Bytes of a request's body."""
    most_bodies: int = Field(8, ge=1)
    """How many bodies of that size may be held at a time, or smaller ones of as many bytes in all."""
    most_pixels: int = Field(2**24, ge=1)
    """Pixels of one picture before it is resized."""
    most_images: int = Field(256, ge=1)
    """Images of a request."""
    most_under_way: int = Field(64, ge=1)
    """Requests with images that are worked on at a time; one more is refused with 503. One whose body still arrives is
    none of them."""
    body_seconds: float = Field(30, gt=0)
    """How long a body may take to arrive."""
    read_seconds: float = Field(10, gt=0)
    """How long the pictures of a request may take to be decoded; no further one is begun then."""
    wait_seconds: float = Field(0.003, ge=0)
    """How long an image waits for others to be computed with."""
    token: SecretStr | None = None
    """What requests must show as `Authorization: Bearer TOKEN`; None: nothing."""
    hosts: tuple[str, ...] | None = None
    """Names under which the server may be asked, in the header `Host`; None: any. On loopback this keeps pages of
    others from asking it under a name of theirs."""
    log: Path | None = None
    """JSON Lines that get a row a verdict; None: none."""
    attacks: bool = True
    """Whether images can be attacked."""
    most_attacked: int = Field(4, ge=1)
    """Images of a request that are attacked."""
    most_steps: int = Field(100, ge=1)
    """Steps of an attack."""
    attack_seconds: float = Field(30, gt=0)
    """How long the attacks of a request may take."""
    watch: Path | None = None
    """Folder of an evaluation, which the page shows while it is made; None: none."""

    @property
    def most_held(self) -> int:
        """Bytes of all bodies that arrive or are worked on at a time."""
        return self.most_bodies * self.most_bytes
