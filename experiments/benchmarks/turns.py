"""Sides of a comparison, each in a process of its own, that are measured in turns."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any


def mean_seconds(call: Callable[[], Any], turn: float) -> float:
    """Mean wall time of as many calls as fit into `turn` seconds, of one at least."""
    begun, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - begun < turn:
        call()
        calls += 1
    return (time.perf_counter() - begun) / calls


def answer(pipe: Connection, first: Any, measure: Callable[[], float]) -> None:
    """A side's part: sends `first`, then a measurement whenever it is asked for one."""
    pipe.send(first)
    while pipe.recv():
        pipe.send(measure())


def in_turns(
    serve: Callable, sides: Sequence[str], arguments: Sequence[Any], rounds: int
) -> tuple[list[Any], list[float], list[float]]:
    """What the sides sent first, their median times, and the first's ratio to each of the others.

    Args:
        serve: (pipe, side, *arguments), run in a process for each side; it calls `answer`.
        rounds: how often each side is measured; ratios are the medians of those within a round.
    """
    context, pipes = multiprocessing.get_context("spawn"), []
    for side in sides:
        pipe, end = context.Pipe()
        context.Process(target=serve, args=(end, side, *arguments), daemon=True).start()
        end.close()  # so that reading from a process that has failed fails too
        pipes.append(pipe)
    first = [pipe.recv() for pipe in pipes]
    turns = []
    for _ in range(rounds):
        turn = []
        for pipe in pipes:
            pipe.send(True)
            turn.append(pipe.recv())
        turns.append(turn)
    for pipe in pipes:
        pipe.send(False)
    times = [statistics.median(column) for column in zip(*turns, strict=True)]
    ratios = [statistics.median(t[0] / t[i] for t in turns) for i in range(1, len(sides))]
    return first, times, ratios
