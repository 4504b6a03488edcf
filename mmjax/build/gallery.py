"""The gallery of encoders and fusions in README.md, made from the tables and the docstrings.

python -m mmjax.build.gallery README.md   (writes it between the two comments that say gallery)
"""

import inspect
import re
import sys
from pathlib import Path

from mmjax.build.encoders import ENCODERS
from mmjax.build.fusions import FUSIONS

BEGIN, END = "<!-- gallery -->", "<!-- end of gallery -->"
PAPER = re.compile(r"((?:[A-Z][\w'-]+ )?[A-Z][\w'-]+(?: et al\.| & [A-Z][\w'-]+)? \d{4})")
URL = re.compile(r"https?://[^\s)>]+[^\s)>.,;]")


def summary(constructor: type) -> str:
    """The first sentence of a docstring, on one line."""
    text = " ".join((inspect.getdoc(constructor) or "").split("\n\n")[0].split())
    text = re.sub(r" \([^()]*https?://[^()]*\)", "", text)  # the last column has the source
    return re.split(r"(?<=[.:]) (?=[A-Z])", text)[0].rstrip(":").replace("|", "\\|")


def papers(constructor: type) -> str:
    """The papers that a class and its module's docstring cite, or else the module, as links."""
    links: dict[str, str] = {}
    module = inspect.getmodule(constructor)
    for text in (inspect.getdoc(constructor), inspect.getdoc(module), inspect.getsource(module)):
        if links and text is not None and text.startswith('"""'):
            break  # the whole module speaks only for classes that cite nothing themselves
        flat = " ".join((text or "").split())
        for url in URL.finditer(flat):
            cited = PAPER.findall(flat[: url.start()])
            if cited:
                links.setdefault(url[0], cited[-1])
    return ", ".join(f"[{cited}]({url})" for url, cited in links.items())


def table(entries: dict[str, type], title: str) -> str:
    """A Markdown table of one table of constructors."""
    lines = [f"| {title} | what it computes | source |", "|---|---|---|"]
    for name in sorted(entries):
        constructor = entries[name]
        lines.append(f"| `{name}` | {summary(constructor)} | {papers(constructor)} |")
    return "\n".join(lines)


def gallery() -> str:
    """All tables."""
    tables = [table(entries, f"{kind} encoder") for kind, entries in ENCODERS.items()]
    return "\n\n".join([*tables, table(FUSIONS, "fusion")])


def replaced(readme: str) -> str:
    """The text of a README with the gallery as it should be now."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n{gallery()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(replaced(path.read_text()))
