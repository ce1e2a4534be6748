"""Verdicts across the pipe between a worker process and the service. Never imports DuckDB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from conch_pipe.model import Problem, Verdict


def to_json(verdict: Verdict) -> dict[str, Any]:
    """As JSON values, with the fields of Verdict and Problem as keys."""
    return {**asdict(verdict), "problems": [asdict(problem) for problem in verdict.problems]}


def from_json(values: Mapping[str, Any]) -> Verdict:
    """The Verdict that :func:`to_json` was given."""
    problems = tuple(Problem(**problem) for problem in values["problems"])
    return Verdict(values["rows"], values["rejected"], values["accepted"], problems, values["problem_count"])
