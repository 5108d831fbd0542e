"""Write the figures of the card (README.md) from verdicts.parquet: python data/published-networks/card.py."""

from pathlib import Path

from measurebench.core.files import write_atomically
from measurebench.studies.figures import ranked_in_pairs, told_apart
from measurebench.studies.markdown import fill

HERE = Path(__file__).parent
VERDICTS = HERE / "verdicts.parquet"
RADII = {"small": "2/255", "large": "8/255"}


def filled(text: str) -> str:
    """Return the text of the card with all its figures computed anew."""
    sentences = {
        f"told_{name}": lambda radius=radius: told_apart(VERDICTS, radius=radius) for name, radius in RADII.items()
    }
    tables = {
        f"ranked_{name}": lambda radius=radius: ranked_in_pairs(VERDICTS, radius=radius)
        for name, radius in RADII.items()
    }
    return fill(text, sentences | tables)


if __name__ == "__main__":
    card = HERE / "README.md"
    write_atomically(card, filled(card.read_text(encoding="utf-8")).encode())
