"""README.md of the `hf` dialect: the dataset card, whose head in YAML says where the splits are and what labels mean."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ferbench.cards import Card
from ferbench.labels import LabelSet
from ferbench.manifest import Manifest

_TASKS = {"image": "image-classification", "video": "video-classification", "frames": "video-classification"}
_BUILDERS = {"image": "imagefolder", "video": "videofolder", "frames": "imagefolder"}


def card_text(
    manifest: Manifest,
    card: Card | None,
    media: str,
    features: Sequence[tuple[str, str, bool]],
    order: LabelSet,
    counts: Mapping[str, int],
) -> str:
    """The card. `features` are (name, type, whether a list); `counts` samples per folder, `train` or `fold_1`."""
    title = card.title if card else manifest.name
    configs = _configs(list(counts))
    head = [f"pretty_name: {_quoted(title)}", "task_categories:", f"- {_TASKS[media]}"]
    if card and card.licence:
        head += ["license: other"]
    head.append("configs:")
    for name, splits in configs.items():
        head += [f"- config_name: {name}", "  data_files:"]
        for split, folders in splits.items():
            head += [f"  - split: {split}", "    path:", *(f"    - {_quoted(f'{folder}/**')}" for folder in folders)]
    head.append("dataset_info:")
    for name in configs:
        head += [f"- config_name: {name}", "  features:", *_features(features, order)]
    return "\n".join(["---", *head, "---", "", *_body(card, title, media, order, counts)]) + "\n"


def _configs(folders: list[str]) -> dict[str, dict[str, list[str]]]:
    """Configuration -> split -> folders."""
    if not any(folder.startswith("fold_") for folder in folders):
        return {"default": {folder: [folder] for folder in folders}}
    configs = {}
    for folder in folders:
        others = [other for other in folders if other != folder]
        configs[folder] = {**({"train": others} if others else {}), "test": [folder]}
    return configs


def _features(features: Sequence[tuple[str, str, bool]], order: LabelSet) -> list[str]:
    lines = []
    for name, kind, is_list in features:
        lines.append(f"  - name: {_quoted(name)}")
        if kind == "class_label":
            lines += ["    dtype:", "      class_label:", "        names:"]
            lines += [f"          '{label}': {_quoted(class_name)}" for label, class_name in enumerate(order.names)]
        else:
            lines.append(f"    {'list' if is_list else 'dtype'}: {kind}")
    return lines


def _quoted(text: str) -> str:
    # A JSON string is a YAML string.
    return json.dumps(text, ensure_ascii=False)


def _body(card: Card | None, title: str, media: str, order: LabelSet, counts: Mapping[str, int]) -> list[str]:
    folds = any(folder.startswith("fold_") for folder in counts)
    lines = [f"# {title}", "", "| part | samples |", "|---|---|"]
    lines += [f"| {folder} | {count:,} |" for folder, count in counts.items()]
    lines += [
        "",
        f"Classes, from 0: {', '.join(order.names)}.",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
    ]
    if folds:
        lines += ['dataset = load_dataset("FOLDER", "fold_1")  # train: all other folds; test: fold 1']
    else:
        lines += [f'dataset = load_dataset("{_BUILDERS[media]}", data_dir="FOLDER")']
    lines += ["```"]
    if card:
        for heading, text in (("Licence", card.licence), ("Access", card.access)):
            if text:
                lines += ["", f"## {heading}", "", text]
        if card.licence:
            lines += ["", "Do not upload the media to any public place unless that licence lets you."]
        if card.bibtex:
            lines += ["", "## Citation", "", "```bibtex", card.bibtex, "```"]
    return lines
