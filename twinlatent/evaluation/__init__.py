"""Judging detectors, in rooms: results, protocol, judges, black box, white box, checks; `evaluate` goes through all."""
