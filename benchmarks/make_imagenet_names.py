"""Make the packaged names of ImageNet's thousand classes again.

    python benchmarks/make_imagenet_names.py [--wordnet /usr/share/wordnet/data.noun]

Which synsets ILSVRC 2012 has, and their order, is said by tensorflow-datasets; what they are called
by WordNet 3.0 (Debian's package wordnet-base). Writes kapps/models/weights/imagenet_names.txt.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib

import tensorflow_datasets
import tyro

from kapps.models.pretrained import backbone_table

SYNSETS = pathlib.Path(tensorflow_datasets.__file__).parent / "datasets/imagenet2012/labels.txt"


@dataclasses.dataclass(frozen=True)
class Config:
    """Where the names come from, and where they go."""

    wordnet: str = "/usr/share/wordnet/data.noun"
    """the nouns of WordNet 3.0"""
    output: str = str(backbone_table.PACKAGED / "imagenet_names.txt")
    """the file to write"""


def main(config: Config) -> list[str]:
    """Look up, tell apart, write; the names."""
    nouns = {}
    for line in pathlib.Path(config.wordnet).read_text(encoding="utf-8").splitlines():
        if not line.startswith(" "):  # the licence
            offset, _, _, _, word, *rest = line.split(" ")
            broader = rest[rest.index("@") + 1] if "@" in rest else None
            nouns[offset] = (word.replace("_", " "), broader)
    synsets = [wnid.removeprefix("n") for wnid in SYNSETS.read_text().split()]
    how_often = collections.Counter(nouns[s][0] for s in synsets)
    names = []
    for word, broader in (nouns[s] for s in synsets):
        names.append(word if how_often[word] == 1 else f"{word} ({nouns[broader][0]})")
    if len(set(names)) != 1000:
        raise ValueError(f"{len(set(names))} different names")
    pathlib.Path(config.output).write_text("\n".join(names) + "\n", encoding="utf-8")
    print(*(name for name in names if "(" in name), sep="\n")
    return names


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
