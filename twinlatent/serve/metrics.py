"""Numbers for Prometheus, in a registry of the server's own."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twinlatent.serve.answers import ImageVerdict

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of requests, images and flags, times, sizes of batches, requests under way; memory of the process."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        from prometheus_client.process_collector import ProcessCollector

        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("twinlatent_requests_total", "Requests that were answered.", ["route", "status"],
                                registry=registry)  # fmt: skip
        self.seconds = Histogram("twinlatent_request_seconds", "From a request to its answer.", ["route"],
                                 buckets=SECONDS, registry=registry)  # fmt: skip
        self.images = Counter("twinlatent_images_total", "Images that got a verdict.", ["model"], registry=registry)
        self.flagged = Counter("twinlatent_flagged_total", "Images that were flagged.", ["model"], registry=registry)
        self.batches = Histogram("twinlatent_batch_images", "Images that were computed together.", ["model"],
                                 buckets=IMAGES, registry=registry)  # fmt: skip
        self.under_way = Gauge("twinlatent_under_way", "Requests with images that are worked on.", registry=registry)

    def count(self, model: str, verdicts: "Sequence[ImageVerdict]") -> None:
        """Count the images of an answer."""
        self.images.labels(model).inc(len(verdicts))
        self.flagged.labels(model).inc(sum(one.adversarial for one in verdicts))

    def page(self) -> tuple[bytes, str]:
        """All of them as Prometheus reads them, and the type of that."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST
