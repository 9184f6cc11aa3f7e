"""What client and server of the monitor say to each other: a line of JSON each, the question and the answer.

A question is {"version": 1, "ask": "tasks"}, or "counters", "running", "process"; "limit" says how many tasks are wanted at most. An answer
has the version too, and "error", a sentence, where there is nothing else to say.
"""

from __future__ import annotations

import json
from typing import Any

VERSION = 1
MAX_QUESTION = 4096  # bytes
MAX_TASKS = 10_000


def other_version(theirs: object) -> str:
    return f"version {theirs!r} of the monitor's protocol is not the version {VERSION} of this process"


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def decode_question(line: bytes) -> dict[str, Any]:
    """Return the question; raises ValueError, with a sentence to answer, for anything else."""
    try:
        question = json.loads(line)
    except (ValueError, RecursionError):
        question = None
    if not isinstance(question, dict):
        raise ValueError("that is no question to the monitor of asyncio_c: a line of JSON is")
    if question.get("version") != VERSION:
        raise ValueError(other_version(question.get("version")))
    limit = question.setdefault("limit", MAX_TASKS)
    if type(limit) is not int or limit < 0:
        raise ValueError("the limit of tasks is a number from 0 on")
    return question
