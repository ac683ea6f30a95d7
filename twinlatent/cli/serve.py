"""`twinlatent serve`."""

from pathlib import Path
from typing import Annotated

import typer

from twinlatent.cli.classifier import Guards
from twinlatent.cli.options import Device, Threads, classifier_named, say_aside, set_threads
from twinlatent.errors import TwinlatentError

TOKEN = "TWINLATENT_TOKEN"
SHORTEST = 16
Served = Annotated[
    list[str],
    typer.Argument(
        help="Names in the zoo, detector files or training folders; NAME=MODEL chooses the name.", metavar="MODEL..."
    ),
]

Pixels = Annotated[
    int | None, typer.Option(help="Most pixels of a picture, before it is decoded; default: 16.8 million.", min=1)
]
Requests = Annotated[int | None, typer.Option(help="Most requests under way; others get 503; default: 64.", min=1)]


def serve(
    models: Served,
    host: Annotated[str, typer.Option(help="Address to listen at; others than this machine's own need a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port to listen at; 0: a free one.", min=0, max=65535)] = 8000,
    fpr: Annotated[float, typer.Option(help="Share of benign images that may be flagged.")] = 0.05,
    token: Annotated[
        str | None, typer.Option(envvar=TOKEN, help="What requests must show: Authorization: Bearer TOKEN.")
    ] = None,
    log: Annotated[Path | None, typer.Option(help="Append a JSON line a verdict to this file; no images.")] = None,
    max_bytes: Annotated[int | None, typer.Option(help="Most bytes of a request; default: 16 MiB.", min=1)] = None,
    max_pixels: Pixels = None,
    max_images: Annotated[int | None, typer.Option(help="Most images of a request; default: 256.", min=1)] = None,
    max_requests: Requests = None,
    attacks: Annotated[bool, typer.Option(help="Let the page attack images.")] = True,
    examples: Annotated[
        str | None, typer.Option(help="Data set, of which the page shows benign images.", metavar="DATA")
    ] = None,
    watch: Annotated[
        Path | None, typer.Option(help="Folder of an evaluation (its --out) that /evaluation shows while it is made.")
    ] = None,
    classifier: Guards = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Serve detectors over HTTP until Ctrl-C or SIGTERM."""
    from twinlatent.serve.app import create_app, needs_extra
    from twinlatent.serve.looking.benign import examples_of
    from twinlatent.serve.models import load_models
    from twinlatent.serve.running import bound, is_loopback, listen, run
    from twinlatent.serve.settings import ServeSettings
    from twinlatent.settings import checked
    from twinlatent.torch_state import check_device

    needs_extra()
    if token is None and not is_loopback(host):
        raise TwinlatentError(f"--host {host} lets other machines ask; choose a token: --token, or ${TOKEN}")
    if token is not None and (len(token) < SHORTEST or not token.isascii() or not token.isprintable()):
        raise TwinlatentError(
            f"the token must have {SHORTEST} or more printable ASCII letters; make one: openssl rand -hex 32"
        )
    limits = {"most_bytes": max_bytes, "most_pixels": max_pixels, "most_images": max_images,
              "most_under_way": max_requests}  # fmt: skip
    given = {name: value for name, value in limits.items() if value is not None}
    hosts = (host, "localhost", "127.0.0.1", "[::1]") if is_loopback(host) else None
    settings = checked(lambda: ServeSettings(fpr=fpr, token=token, hosts=hosts, log=log, attacks=attacks,
                                             watch=watch, **given))  # fmt: skip
    set_threads(threads)
    check_device(device)
    with bound(host, port) as listening:
        detectors = load_models(models, classifier_named(classifier), device)
        shown = None if examples is None else examples_of(detectors, examples, say_aside)
        app = create_app(detectors, settings, shown)
        where = f"[{host}]" if ":" in host else host
        listen(listening)  # all is loaded: who can connect is answered
        say_aside(f"serving {', '.join(detectors)} at http://{where}:{listening.getsockname()[1]}")
        run(app, listening)
