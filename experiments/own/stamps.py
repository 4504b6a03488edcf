"""Writes a folder of stamps (Tux Paint) as a CSV of picture, caption, sound and category.

python experiments/own/stamps.py STAMPS OUT.csv

STAMPS is usr/share/tuxpaint/stamps of the Debian package tuxpaint-stamps-default, and paths in the
table begin there. The category is the first folder, and the sound a file of the stamp's name: an
effect, or of symbols mostly speech. What a stamp lacks is empty.
"""

import csv
import sys
from pathlib import Path


def caption(picture: Path) -> str:
    """The first line of the text beside a picture, which is English; "" without one."""
    text = picture.with_suffix(".txt")
    return text.read_text(errors="replace").splitlines()[0].strip() if text.exists() else ""


def main() -> None:
    """Reads the command line and writes the table."""
    root, out = Path(sys.argv[1]), Path(sys.argv[2])
    rows = []
    for picture in sorted(root.rglob("*.png")):
        name = picture.relative_to(root)
        if picture.stem.endswith(("_mirror", "_flip")):
            continue
        sound = picture.with_suffix(".ogg")
        rows.append(
            {
                "picture": str(name),
                "caption": caption(picture),
                "sound": str(sound.relative_to(root)) if sound.exists() else "",
                "category": name.parts[0],
            }
        )
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} stamps, {len({row['category'] for row in rows})} categories")


if __name__ == "__main__":
    main()
