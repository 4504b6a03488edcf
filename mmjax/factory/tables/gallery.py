"""The tables in docs/: all that a config may name, made from tables and docstrings.

python -m mmjax.factory.tables.gallery docs/*.md   (writes between the comments that say gallery)
"""

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmjax.factory.tables.encoders import ENCODERS
from mmjax.factory.tables.fusions import FUSIONS
from mmjax.factory.tables.losses import LOSSES, PENALTIES
from mmjax.factory.tables.metrics import DATASET_METRICS, ROW_METRICS, TEXT_METRICS
from mmjax.factory.tables.weightings import (
    AGGREGATORS,
    FEATURE_LOSSES,
    LOSS_WEIGHTINGS,
    MODULATORS,
)
from mmjax.interop.architectures import ARCHITECTURES

BEGIN, END = "<!-- {} -->", "<!-- end of {} -->"
PAPER = re.compile(r"((?:[A-Z][\w'-]+ )?[A-Z][\w'-]+(?: et al\.| & [A-Z][\w'-]+)? \d{4})")
OPTIONS = ("self",)
EXTRAS = ("positives", "class_weights", "prior", "element_mask", "a_id", "b_id", "thresholds")
URL = re.compile(r"https?://[^\s)>]+[^\s)>.,;]")


def summary(constructor: Any) -> str:
    """The first sentence of a docstring, on one line."""
    text = " ".join((inspect.getdoc(constructor) or "").split("\n\n")[0].split())
    text = re.sub(r" \([^()]*https?://[^()]*\)", "", text)  # the last column has the source
    return re.split(r"(?<=[.:]) (?=[A-Z])", text)[0].rstrip(":").replace("|", "\\|")


def papers(constructor: Any) -> str:
    """The papers that a class and its module's docstring cite, or else the module, as links.

    For a function those that it cites itself.
    """
    links: dict[str, str] = {}
    texts = [inspect.getdoc(constructor)]
    if inspect.isclass(constructor):
        module = inspect.getmodule(constructor)
        texts += [inspect.getdoc(module), inspect.getsource(module)]
    for text in texts:
        if links and text is not None and text.startswith('"""'):
            break  # the whole module speaks only for classes that cite nothing themselves
        flat = " ".join((text or "").split())
        for url in URL.finditer(flat):
            cited = PAPER.findall(flat[: url.start()])
            if cited:
                links.setdefault(url[0], cited[-1])
    return ", ".join(f"[{cited}]({url})" for url, cited in links.items())


def table(entries: Mapping[str, Callable], title: str) -> str:
    """A Markdown table of one table of constructors."""
    lines = [f"| {title} | what it computes | source |", "|---|---|---|"]
    for name in sorted(entries):
        constructor = entries[name]
        lines.append(f"| `{name}` | {summary(constructor)} | {papers(constructor)} |")
    return "\n".join(lines)


def needs(function: Callable) -> str:
    """The arrays that a loss or metric reads, and in brackets those that it may read."""
    parameters = inspect.signature(function).parameters.values()
    arrays = [p.name for p in parameters if p.default is p.empty and p.name not in OPTIONS]
    extras = [p.name for p in parameters if p.default is not p.empty and p.name in EXTRAS]
    return ", ".join([*(f"`{name}`" for name in arrays), *(f"[`{name}`]" for name in extras)])


def judgements(entries: Mapping[str, Callable], title: str) -> str:
    """A Markdown table of losses or metrics."""
    lines = [f"| {title} | value | reads | source |", "|---|---|---|---|"]
    for name in sorted(entries):
        function = entries[name]
        row = (f"`{name}`", summary(function), needs(function), papers(function))
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def encoders() -> str:
    """The tables of encoders, by kind of input."""
    return "\n\n".join(table(entries, f"{kind} encoder") for kind, entries in ENCODERS.items())


def losses() -> str:
    """The tables of losses."""
    tables = judgements(LOSSES, "loss"), judgements(PENALTIES, "penalty, in Python")
    return "\n\n".join(tables)


def metrics() -> str:
    """The tables of metrics."""
    tables = (
        judgements(ROW_METRICS, "metric of each example"),
        judgements(DATASET_METRICS, "metric of a whole set"),
        judgements(TEXT_METRICS, "metric of texts, in Python"),
    )
    return "\n\n".join(tables)


def weightings() -> str:
    """The tables of weightings of tasks."""
    kinds = {
        "loss weighting": LOSS_WEIGHTINGS,
        "gradient aggregator": AGGREGATORS,
        "modulator of modalities": MODULATORS,
        "loss of features": FEATURE_LOSSES,
    }
    return "\n\n".join(table(entries, kind) for kind, entries in kinds.items())


def architectures() -> str:
    """The table of architectures of checkpoints."""
    lines = ["| architecture | what it is | which models | source |", "|---|---|---|---|"]
    for spec in sorted(ARCHITECTURES, key=lambda spec: spec.name):
        module = inspect.getmodule(spec.build)
        row = (f"`{spec.name}`", summary(module), summary(spec.build), papers(module))
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


GALLERIES = {
    "gallery of encoders": encoders,
    "gallery of architectures": architectures,
    "gallery of fusions": lambda: table(FUSIONS, "fusion"),
    "gallery of losses": losses,
    "gallery of metrics": metrics,
    "gallery of weightings": weightings,
}


def replaced(page: str) -> str:
    """The text of a page with its galleries as they should be now."""
    for name, make in GALLERIES.items():
        begin, end = BEGIN.format(name), END.format(name)
        if begin in page:
            before, rest = page.split(begin)
            page = f"{before}{begin}\n{make()}\n{end}{rest.split(end)[1]}"
    return page


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(replaced(path.read_text()))
