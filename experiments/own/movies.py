"""A table of films, half empty in places: mmjax beside gradient boosting and a torch MLP.

npm pack vega-datasets && tar xzf vega-datasets-*.tgz package/data/movies.json
PYTHONPATH=. python experiments/own/movies.py package/data/movies.json OUT [--seeds=3]

Each seed has its own split (80 / 10 / 10 %), which all methods share. OUT/results.jsonl has a line
for each method, target and seed.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from absl import app, flags
from sklearn.compose import make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

SEEDS = flags.DEFINE_integer("seeds", 3, "Splits and seeds.")
TARGETS = {"Major Genre": "accuracy", "IMDB Rating": "rmse"}
TEXT, DATE = "Title", "Release Date"
SPLITS = ("train", "validation", "test")
MLP_STEPS, MLP_BATCH = 2000, 64


def films(path: str, target: str, seed: int) -> pd.DataFrame:
    """The films that have the target, each in a split."""
    table = pd.read_json(path)
    other = next(name for name in TARGETS if name != target)
    table = table[table[target].notna()].drop(columns=[other, "IMDB Votes"]).reset_index(drop=True)
    table[DATE] = pd.to_datetime(table[DATE], errors="coerce").dt.strftime("%Y-%m-%d")
    table[TEXT] = table[TEXT].astype("string")
    order = np.random.default_rng(seed).permutation(len(table))
    ends = [int(0.8 * len(table)), int(0.9 * len(table))]
    table["split"] = ""
    for name, rows in zip(SPLITS, np.split(order, ends), strict=True):
        table.loc[rows, "split"] = name
    return table


def columns(table: pd.DataFrame, target: str) -> tuple[list[str], list[str]]:
    """The numbers and the categories."""
    inputs = table.drop(columns=[target, TEXT, "split"])
    numbers = list(inputs.select_dtypes("number"))
    return numbers, [name for name in inputs if name not in numbers and name != DATE]


def features(table: pd.DataFrame, target: str, dense: bool) -> np.ndarray:
    """The year, numbers and categories, and 32 components of the words of the title.

    Args:
        dense: for linear models and networks (scaled, one-hot, with indicators of what is
            missing), not trees (numbers with NaN, categories as codes).
    """
    numbers, categories = columns(table, target)
    found = table.assign(year=pd.to_datetime(table[DATE]).dt.year.astype(float))
    numbers = [*numbers, "year"]
    found[categories] = found[categories].fillna("").astype(str)
    train = found[found["split"] == "train"]
    words = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
        TruncatedSVD(32, random_state=0),
    )
    words.fit(train[TEXT].fillna(""))
    texts = words.transform(found[TEXT].fillna(""))
    if not dense:
        known = {name: train[name].value_counts().index[:200] for name in categories}
        coded = [found[n].map({word: i for i, word in enumerate(known[n])}) for n in categories]
        codes = np.stack([column.to_numpy(float) for column in coded], axis=1)
        return np.concatenate([codes, found[numbers].to_numpy(), texts], axis=1)
    table_of = make_column_transformer(
        (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), numbers),
        (
            OneHotEncoder(handle_unknown="ignore", min_frequency=3, sparse_output=False),
            categories,
        ),
    )
    table_of.fit(train)
    scaled = StandardScaler().fit(texts[found["split"] == "train"])
    return np.concatenate([table_of.transform(found), scaled.transform(texts)], axis=1)


def mlp(x: dict, y: dict, classes: int, seed: int) -> np.ndarray:
    """A torch MLP of two hidden layers; the best step on the validation rows counts."""
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(1)  # with more, its threads wait for each other
    tensors = {name: torch.tensor(x[name], dtype=torch.float32) for name in SPLITS}
    kind = torch.long if classes else torch.float32
    wanted = {name: torch.tensor(y[name], dtype=kind) for name in SPLITS}
    layers = [torch.nn.Linear(x["train"].shape[1], 256), torch.nn.ReLU(), torch.nn.Dropout(0.3)]
    layers += [torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Dropout(0.3)]
    net = torch.nn.Sequential(*layers, torch.nn.Linear(256, classes or 1))
    loss_of = torch.nn.CrossEntropyLoss() if classes else torch.nn.MSELoss()
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.05)
    best, said = np.inf, np.zeros(0)
    for step in range(MLP_STEPS):
        net.train()
        rows = torch.randint(len(wanted["train"]), (MLP_BATCH,))
        out = net(tensors["train"][rows])
        loss = loss_of(out if classes else out[:, 0], wanted["train"][rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 49:
            net.eval()
            with torch.no_grad():
                out = net(tensors["validation"])
                now = score(_said(out, classes), y["validation"], classes)
                if (now := -now if classes else now) < best:
                    best, said = now, _said(net(tensors["test"]), classes)
    return said


def _said(out: Any, classes: int) -> np.ndarray:
    return (out.argmax(1) if classes else out[:, 0]).numpy()


def score(said: np.ndarray, wanted: np.ndarray, classes: int) -> float:
    """Accuracy, or the root mean squared error."""
    if classes:
        return float(np.mean(said == wanted))
    return float(np.sqrt(np.mean((said - wanted) ** 2)))


def peers(table: pd.DataFrame, target: str, seed: int) -> dict[str, tuple[float, float]]:
    """Score and seconds of each method that is not ours."""
    is_class = TARGETS[target] == "accuracy"
    values = table[target]
    if is_class:
        values, names = pd.factorize(values)
    classes = len(names) if is_class else 0
    split = {name: np.flatnonzero(table["split"] == name) for name in SPLITS}
    y = {name: np.asarray(values)[rows] for name, rows in split.items()}
    tree = HistGradientBoostingClassifier if is_class else HistGradientBoostingRegressor
    _, categories = columns(table, target)
    found = {}

    def fitted(name: str, make: Any, x: np.ndarray) -> None:
        began = time.time()
        model = make().fit(x[split["train"]], y["train"])
        said = model.predict(x[split["test"]])
        found[name] = score(said, y["test"], classes), time.time() - began

    x = features(table, target, dense=False)
    shown = np.arange(x.shape[1]) < len(categories)
    options = {"random_state": seed, "early_stopping": True}
    fitted("HistGradientBoosting", lambda: tree(categorical_features=shown, **options), x)
    without = x[:, :-32]
    made = {"categorical_features": shown[:-32], **options}
    fitted("HistGradientBoosting, no title", lambda: tree(**made), without)
    x = features(table, target, dense=True)
    linear = (lambda: LogisticRegression(C=0.1, max_iter=500)) if is_class else Ridge
    fitted("linear", linear, x)
    began = time.time()
    of_split = {name: x[rows] for name, rows in split.items()}
    found["torch MLP"] = (
        score(mlp(of_split, y, classes, seed), y["test"], classes),
        time.time() - began,
    )
    most = np.bincount(y["train"]).argmax() if is_class else y["train"].mean()
    found["majority" if is_class else "mean"] = score(most, y["test"], classes), 0.0
    return found


def ours(table: pd.DataFrame, target: str, seed: int, folder: Path) -> dict[str, Any]:
    """The same by `mmjax --config=own`, and what its baselines say."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "films.csv", index=False)
    began = time.time()
    subprocess.run(
        [
            *(sys.executable, "-m", "mmjax.main", "--config=own", "--quiet"),
            f"--config.data.files={folder / 'films.csv'}",
            f"--config.data.target={target}",
            f"--config.seed={seed}",
            f"--workdir={folder / 'run'}",
        ],
        check=True,
    )
    seconds = time.time() - began
    (found,) = json.loads((folder / "run" / "baselines.json").read_text()).values()
    (scores,) = found.values()
    return {f"mmjax: {name}": (value, seconds) for name, value in scores.items()}


def main(argv: list[str]) -> None:
    """Runs all seeds and writes OUT/results.jsonl."""
    out = Path(argv[2])
    out.mkdir(parents=True, exist_ok=True)
    with (out / "results.jsonl").open("w") as file:
        for target in TARGETS:
            for seed in range(SEEDS.value):
                table = films(argv[1], target, seed)
                found = peers(table, target, seed)
                found |= ours(table, target, seed, out / f"{target.replace(' ', '_')}-{seed}")
                for name, (value, seconds) in found.items():
                    line = {"target": target, "seed": seed, "method": name, "score": value}
                    file.write(json.dumps(line | {"seconds": seconds}) + "\n")
                    print(target, seed, name, f"{value:.4f} {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    app.run(main)
