"""--help=TOPIC lists what there is and says it as the tables do; --print_config is read back."""

import ast
import inspect
from pathlib import Path

import pytest

from mmjax import cli, convert, factory, main, predict
from mmjax.errors import UserError
from mmjax.factory.config import help as helps
from mmjax.factory.config import show
from mmjax.factory.config.keys import KEYS
from mmjax.factory.make_weighting import task_weights

ROOT = Path(__file__).parents[3]
RECIPES = [
    f"{path.stem}:{variant}"
    for path in sorted((ROOT / "configs").glob("*.py"))
    for variant in ast.literal_eval(path.read_text().partition("VARIANTS = ")[2].partition("\n")[0])
]


def lines(topic):
    return [line for line in helps.describe(topic).splitlines() if line]


def test_each_key_has_a_line_with_its_type_default_range_and_names():
    found = lines("")
    for key in KEYS:
        assert [line.split()[0] for line in found].count(f"config.{key}") == 1
    (line,) = (line for line in found if "optimizer.ema" in line)
    assert line.split()[1:3] == ["float", "0.0"]
    assert "0 or more, less than 1" in line
    (line,) = (line for line in found if line.startswith("config.task "))
    assert "optional" in line  # or there are config.tasks
    assert "one of alignment, classification" in line
    (line,) = (line for line in found if line.startswith("config.modalities "))
    assert "required" in line
    (line,) = (line for line in found if line.startswith("config.mixup "))
    assert "for classification, multilabel" in line


@pytest.mark.parametrize(
    ("topic", "names"),
    [
        ("fusion", factory.FUSIONS),
        ("losses", factory.LOSSES),
        ("metrics", factory.METRICS),
        ("data", factory.DATASETS),
        ("tuning", factory.TUNINGS),
        ("optimizer", factory.OPTIMIZERS),
        ("encoders.image", factory.ENCODERS["image"]),
        ("encoders", [f"{k}.{name}" for k in factory.ENCODERS for name in factory.ENCODERS[k]]),
        ("task", factory.TASKS),
        ("weighting", factory.WEIGHTINGS),
        ("losses.weight", factory.WEIGHTS),
    ],
)
def test_a_topic_has_a_line_with_a_text_for_each_name(topic, names):
    found = {line.split()[0]: line.split()[1:] for line in lines(topic)}
    for name in names:
        assert found[f"{topic}.{name}"]


def test_every_part_has_the_types_and_defaults_of_its_options():
    for topic, part in helps.topics().items():
        for name, found in part.table.items():
            if not callable(found):
                continue
            said = lines(f"{topic}.{name}" if name else topic)
            for option, parameter in factory.options_of(found).items():
                told = [line for line in said if line.split()[0] == option]
                if part.reads or option in part.given:
                    continue
                assert len(told) == 1, (topic, name, option)
                plain = isinstance(parameter.default, (bool, int, float, str))
                if plain and option not in helps.SUPPLIED:
                    assert f"default {parameter.default!r}" in told[0]


def test_what_a_loss_reads_is_no_option():
    head, *rest = lines("losses.cross_entropy")
    assert head.startswith("losses.cross_entropy  -w_label")
    assert rest[0] == "  reads logits, labels, [class_weights]"
    assert [line.split()[:4] for line in rest[1:]] == [
        ["label_smoothing", "float", "default", "0.0"],
        ["class_weights", "str", "default", "None"],
    ]


def test_a_name_alone_is_enough_and_a_wrong_one_is_explained():
    assert lines("film") == lines("fusion.film") == lines("config.fusion.film")
    with pytest.raises(UserError, match=r"no such topic; did you mean 'fusion\.film'"):
        helps.describe("fusion.flim")
    with pytest.raises(UserError, match="--help lists all keys"):
        helps.describe("qqqqqqq")


@pytest.mark.parametrize("module", [main, predict, convert])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_each_command_has_a_line_for_each_flag(module, flag, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["program", flag])
    monkeypatch.setattr("mmjax.train.host.processes.part", lambda _: None)
    module.run()
    found = capsys.readouterr().out.splitlines()
    for name in module.make_flags():
        assert [line.split()[0] for line in found if line].count(f"--{name}") >= 1
    assert (f"config.{next(iter(KEYS))}" in "\n".join(found)) == (module is main)


@pytest.mark.parametrize("arguments", [["--help=fusion"], ["--help", "fusion"]])
def test_a_topic_may_stand_after_either(arguments, capsys):
    cli.run(main.main, ["program", *arguments], describe=main.describe_topic)
    assert capsys.readouterr().out.splitlines() == helps.describe("fusion").splitlines()


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_whole_config_is_read_back_and_makes_the_same(recipe, tmp_path, capsys):
    files = {}
    if recipe == "own:default":
        table = cli.load_config("own:tiny").data.files.to_dict()
        files = {"data.files": repr(table), "data.target": "label"}
    flags = [f"--config.{key}={value}" for key, value in files.items()]
    main.main(["main", f"--config={recipe}", *flags, "--print_config", "--quiet"])
    (tmp_path / "whole.py").write_text(capsys.readouterr().out)
    given, whole = (cli.load_config(c) for c in (recipe, f"{tmp_path}/whole.py"))
    given, _ = factory.filled(factory.overridden(given, list(files.items())))
    given, whole = factory.checked(given), factory.checked(whole)
    for key in ("train", "mesh", "modalities", "augment", "seed", "width"):
        assert given[key] == whole[key]
    assert given.get("task") == whole.get("task")
    assert given.tasks.keys() == whole.tasks.keys()
    models = [factory.model(config, classes=3, vocabulary_size=9) for config in (given, whole)]
    assert models[0] == models[1]
    assert task_weights(given).of_losses == task_weights(whole).of_losses
    for name in given.encoders:
        table = factory.ENCODERS[factory.kind_of(given, name)]
        known = factory.options_of(table[given.encoders[name].name])
        for option, parameter in known.items():
            plain = isinstance(parameter.default, (bool, int, float, str))
            if plain and option not in helps.SUPPLIED:
                expected = given.encoders[name].get(option, parameter.default)
                assert whole.encoders[name][option] == expected
    main.main(["main", f"--config={tmp_path}/whole.py", "--print_config", "--quiet"])
    again = capsys.readouterr().out
    assert again.splitlines()[1:] == (tmp_path / "whole.py").read_text().splitlines()[1:]


def test_texts_of_any_kind_come_back():
    tree = {"a": 'say "\\d+"', "b": (1, (2.0, "x")), "c": {"d": None, "e": ()}, "name": "ü"}
    assert ast.literal_eval(show._text(tree, 0)) == tree


def test_printing_starts_nothing(tmp_path, capsys):
    main.main(["main", "--config=vqa:tiny", f"--workdir={tmp_path / 'run'}", "--print_config"])
    assert "def get_config" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    assert inspect.getdoc(show.as_python)
