"""Ludwig or AutoGluon MultiModal on a table of films that `movies.py` wrote, in a venv of its own.

python experiments/own/automl.py ludwig|autogluon FILMS.csv TARGET [SEED]

Prints the score on the test rows (accuracy, or root mean squared error) and the seconds. Neither
can fetch a language model here: Ludwig learns its words from the table by a small network, and
AutoGluon is told to use its networks for numbers and categories alone.
"""

import sys
import time

import numpy as np
import pandas as pd

NUMBER = "IMDB Rating"
MINUTES = 2.0


def ludwig(table: pd.DataFrame, target: str, seed: int) -> np.ndarray:
    """Ludwig's defaults, one input feature for each column."""
    from ludwig.api import LudwigModel

    inputs = []
    for name in table.drop(columns=[target, "split"]):
        is_number = pd.api.types.is_numeric_dtype(table[name])
        kind = {"Title": "text", "Release Date": "date"}.get(name)
        feature = {"name": name, "type": kind or ("number" if is_number else "category")}
        if is_number:
            feature["preprocessing"] = {
                "missing_value_strategy": "fill_with_mean",
                "normalization": "zscore",
            }
        inputs.append(feature)
    kind = "number" if target == NUMBER else "category"
    config = {
        "input_features": inputs,
        "output_features": [{"name": target, "type": kind}],
        "trainer": {"train_steps": 3000, "batch_size": 64},
        "preprocessing": {"split": {"type": "fixed", "column": "split"}},
    }
    codes = {"train": 0, "validation": 1, "test": 2}
    table = table.assign(split=table["split"].map(codes))
    model = LudwigModel(config, logging_level=40)
    model.train(dataset=table, random_seed=seed, skip_save_processed_input=True)
    said, _ = model.predict(dataset=table[table["split"] == 2])
    return said[f"{target}_predictions"].to_numpy()


def autogluon(table: pd.DataFrame, target: str, seed: int) -> np.ndarray:
    """AutoGluon's MultiModalPredictor without a language model."""
    from autogluon.multimodal import MultiModalPredictor

    rows = {name: part.drop(columns="split") for name, part in table.groupby("split")}
    model = MultiModalPredictor(label=target, verbosity=1)
    names = ["numerical_mlp", "categorical_mlp", "fusion_mlp"]
    model.fit(
        rows["train"],
        tuning_data=rows["validation"],
        time_limit=60 * MINUTES,
        seed=seed,
        hyperparameters={"model.names": names, "env.num_gpus": 0},
    )
    return model.predict(rows["test"]).to_numpy()


def main() -> None:
    """Reads the command line, trains and prints."""
    tool, file, target = sys.argv[1:4]
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    table = pd.read_csv(file)
    began = time.time()
    said = {"ludwig": ludwig, "autogluon": autogluon}[tool](table, target, seed)
    wanted = table.loc[table["split"] == "test", target].to_numpy()
    if target == NUMBER:
        score = float(np.sqrt(np.mean((said.astype(float) - wanted) ** 2)))
    else:
        score = float(np.mean(said.astype(str) == wanted.astype(str)))
    print(f"{tool} {target} seed {seed}: {score:.4f} in {time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
