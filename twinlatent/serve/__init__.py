"""Detectors over HTTP: `create_app` makes the application, `run` serves it. Needs the extra `serve`."""
