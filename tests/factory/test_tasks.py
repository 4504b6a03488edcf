"""config.tasks: several tasks by name, what they may say, and what becomes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import factory
from mmjax.data.datasets.controlled import controlled
from mmjax.data.sources.targets import Target
from mmjax.errors import UserError
from mmjax.factory.config.asked import asked
from mmjax.factory.make_tasks import stored_vocabularies, with_targets
from mmjax.factory.make_weighting import task_weights
from tests.factory.test_factory import ROOT, module_of


def recipe(variant="tasks"):
    return module_of(ROOT / "configs" / "fusion.py").get_config(variant)


def test_one_task_is_the_table_of_one():
    config = factory.checked(recipe("tiny"))
    (name,) = asked(config)
    assert name == "label"
    own = recipe("tiny")
    own.tasks = {
        "label": {
            "name": "classification",
            "losses": own.losses,
            "metrics": own.metrics,
            "head": own.head,
        }
    }
    for key in ("task", "losses", "metrics", "head"):
        del own[key]
    same = factory.checked(own)
    inputs = factory.example_inputs(config)
    one, other = (
        factory.model(c, classes=2, vocabulary_size=0).init(jax.random.PRNGKey(0), inputs)
        for c in (config, same)
    )
    jax.tree.map(np.testing.assert_array_equal, one, other)
    assert factory.tasks(same).keys() == {"label"}


def test_targets_are_found_scaled_and_stored(tmp_path):
    config = factory.checked(recipe())
    splits = controlled(train=64, validation=32, test=32)
    made, questions = with_targets(config, tmp_path, splits)
    assert questions.names == {"label": "label", "total": "total"}
    assert questions.vocabularies["label"] == ["0", "1", "2", "3", "4"]
    mean, deviation = questions.vocabularies["total"]
    train = splits["train"].targets["total"].values
    assert (mean, deviation) == (pytest.approx(train.mean()), pytest.approx(train.std()))
    scaled = made["test"].targets["total"].values * deviation + mean
    np.testing.assert_allclose(scaled, splits["test"].targets["total"].values, atol=1e-5)
    assert stored_vocabularies(tmp_path, asked(config)) == questions.vocabularies
    assert questions.counts.keys() == {"label"}
    assert questions.counts["label"].examples == 64
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)  # a restart has what was stored
    other = controlled(train=32, validation=32, test=32)
    _, again = with_targets(config, tmp_path, other)
    assert again.vocabularies == questions.vocabularies
    assert again.counts["label"].examples == 64


def test_a_target_of_a_fitting_type_is_found_by_itself(tmp_path):
    config = recipe("tags")
    _, questions = with_targets(
        factory.checked(config), tmp_path, controlled(task="tags", train=8, validation=8, test=8)
    )
    assert questions.names == {"label": "tags"}


def test_weights_of_losses_and_of_tasks():
    config = recipe()
    config.tasks.total.weight = 3.0
    changed_label = {**config.tasks.label, "losses": {"cross_entropy": {"weight": 0.5}}}
    config.tasks = {"label": changed_label, "total": dict(config.tasks.total)}
    weights, among, *_ = task_weights(factory.checked(config))
    assert weights == {"label": {"cross_entropy": 0.5}, "total": {"l2": 1.0}}
    np.testing.assert_array_equal(among.update(np.zeros(2), None)[0], [1.0, 3.0])


def changed(**more):
    def change(config):
        with config.unlocked():
            config.tasks = {**config.tasks, "total": {**config.tasks.total, **more}}

    return change


def with_top(**more):
    def change(config):
        with config.unlocked():
            for key, value in more.items():
                if key in config:
                    del config[key]
                config[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed(name="regresion"), "config.tasks.total.name: unknown 'regresion'; did you mean"),
        (changed(wieght=2), "config.tasks.total.wieght: no such key; did you mean 'weight'"),
        (changed(weight=-1.0), "config.tasks.total.weight=-1.0: choose 0 or more"),
        (changed(losses=("l3",)), "config.tasks.total.losses: unknown 'l3'; did you mean"),
        (changed(losses=()), "config.tasks.total.losses is empty"),
        (changed(head={"hiden": (3,)}), "config.tasks.total.head.* unknown 'hiden'"),
        (changed(head="classification"), "config.tasks.total.head.name: unknown 'classification'"),
        (changed(modalities=("a", "d")), "config.tasks.total.modalities: unknown 'd'"),
        (
            with_top(tasks={"a": {"name": "regression", "losses": ("l2",), "modalities": ("a",)}}),
            "config.modalities: no task reads 'b'",
        ),
        (
            with_top(
                tasks={"t": {"name": "alignment", "losses": ("info_nce",), "modalities": ("a",)}},
                alignment={"embedding": 4},
                fusion={},
            ),
            "config.tasks.t.modalities: 'alignment' has no fusion",
        ),
        (with_top(losses=("l2",)), "config.losses is of a single task"),
        (with_top(task="regression"), "config.task is of a single task"),
        (with_top(decision="average"), "config.decision fuses the decisions of one task"),
        (with_top(alignment={"embedding": 8}), "is for config.task='alignment', not for"),
        (with_top(model={"name": "pretrained", "path": "x"}), "is for config.task='alignment'"),
        (with_top(tasks={"two words": {"name": "regression"}}), "a task's name is of letters"),
        (with_top(tasks={"a": {"name": "regression"}}), "config.tasks.a.losses is missing"),
        (with_top(tasks=3), "config.tasks=3: give a table"),
        (
            with_top(
                tasks={
                    "a": {"name": "regression", "losses": ("l2",)},
                    "b": {"name": "alignment", "losses": ("info_nce",)},
                },
                alignment={"embedding": 4},
            ),
            "a and b are answered by different models",
        ),
    ],
)
def test_what_cannot_be_is_one_line(change, words):
    config = recipe()
    change(config)
    with pytest.raises(UserError, match=words) as caught:
        factory.checked(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("label", "config.tasks.total.target='label' .controlled.: it is a class, and this task"),
        (
            "totals",
            "config.tasks.total.target .controlled.: unknown 'totals'; did you mean 'total'",
        ),
    ],
)
def test_a_target_of_another_type_or_name_is_one_line(tmp_path, target, words):
    config = recipe()
    config.tasks.total.target = target
    splits = controlled(train=8, validation=8, test=8)
    with pytest.raises(UserError, match=words):
        with_targets(factory.checked(config), tmp_path, splits)


def test_options_of_tasks_are_set_on_a_command_line():
    config = factory.overridden(
        recipe(),
        [
            ("tasks.total.weight", "2"),
            ("tasks.total.losses", "huber"),
            ("tasks.total.losses.huber.delta", "0.5"),
            ("tasks.label.head.hidden", "(8,)"),
        ],
    )
    assert config.tasks.total.weight == 2.0
    assert config.tasks.total.losses.huber.delta == 0.5
    assert config.tasks.label.head.hidden == (8,)
    factory.checked(config)
    for key in ("tasks.totl.weight", "tasks.total.wight", "tasks.total.losses.huber.dleta"):
        with pytest.raises(UserError, match="no such key; did you mean"):
            factory.overridden(config, [(key, "1")])


def test_examples_without_a_target_count_for_the_other_tasks_only():
    values = np.arange(4, dtype=np.float32)
    target = Target(values, mask=np.array([True, False, True, False]))
    rows, mask = target.rows(np.array([0, 1, 2, 0]), np.array([True, True, True, False]))
    np.testing.assert_array_equal(rows, [0, 0, 2, 0])
    np.testing.assert_array_equal(mask, [True, False, True, False])


def test_a_recipe_of_one_task_becomes_one_of_several_on_a_command_line():
    tasks = {"label": {"name": "classification", "losses": ("cross_entropy",)}}
    given = [(key, "None") for key in ("task", "losses", "metrics", "head")]
    config = factory.overridden(recipe("tiny"), [*given, ("tasks", repr(tasks))])
    assert asked(factory.checked(config)).keys() == {"label"}
    with pytest.raises(UserError, match="config.dtype: unknown 'None'"):
        factory.checked(factory.overridden(recipe("tiny"), [("dtype", "None")]))


def test_a_task_reads_its_modalities_through_a_trunk_of_its_own():
    config = recipe()
    config.tasks.label.modalities = ("c", "a")
    config.tasks.total.modalities = ("a", "b", "c")  # all, so through the fusion that is there
    config = factory.checked(config)
    assert factory.tasks(config)["label"].modalities == ("a", "c")
    assert factory.tasks(config)["total"].modalities == ("a", "b", "c")
    model = factory.model(config, classes={"label": 5, "total": 1}, vocabulary_size=0)
    assert model.reads == {"label": ("a", "c")}
    inputs = factory.example_inputs(config)
    made = jax.eval_shape(model.init, jax.random.PRNGKey(0), inputs)["params"]
    assert {"fusion", "trunks_a_c"} <= set(made)
    assert {"project_a", "project_c"} <= set(made["trunks_a_c"])
    assert "project_b" not in made["trunks_a_c"]


def of_slices():
    config = recipe("tiny")
    config.slice = "complete"
    return config


def test_a_task_is_asked_of_a_slice(tmp_path):
    splits = controlled(task="xor", classes=2, train=64, validation=32, test=32)
    test = splits["test"]  # all four slices, where training has one
    splits = dict.fromkeys(splits, test)
    config = factory.checked(of_slices())
    _, questions = with_targets(config, tmp_path, splits)
    assert questions.slices == {"label": test.slices.index("complete")}
    chosen = test.slice_ids == test.slices.index("complete")
    found = np.bincount(test.targets["label"].values[chosen], minlength=2)
    np.testing.assert_array_equal(questions.counts["label"].classes, found)
    (task,) = factory.tasks(config, questions).values()
    batch = {
        "_mask": jnp.ones(len(test), bool),
        "slice": jnp.asarray(test.slice_ids),
        "targets/label": jnp.asarray(test.targets["label"].values),
        "targets/label_mask": jnp.ones(len(test), bool),
    }
    outputs = {"label": jnp.zeros((len(test), 2))}
    (rows,) = task.losses(outputs, batch).values()
    np.testing.assert_array_equal(rows.mask, chosen)


def test_an_unknown_slice_is_one_line(tmp_path):
    config = of_slices()
    config.slice = "compleet"
    splits = controlled(task="xor", classes=2, train=64, validation=32, test=32)
    with pytest.raises(UserError, match=r"config.slice .controlled.: .*did you mean 'complete'"):
        with_targets(factory.checked(config), tmp_path, splits)


def test_kinds_of_question_are_tasks_of_their_own(tmp_path):
    config = module_of(ROOT / "configs" / "vqa.py").get_config("types")
    config.data.name, config.data.image_size = "shapes", 16
    config.data.options = {"train": 16, "validation": 4, "test": 8}
    config.data.images_per_batch, config.compilation_cache = 4, ""
    _, experiment = factory.experiment(factory.checked(config), str(tmp_path / "run"))
    (batch, *_) = experiment.eval_data("test")
    names = np.array(experiment.slices)[batch["slice"]]
    seen = jax.tree.map(jnp.asarray, dict(batch))
    outputs = {name: jnp.zeros((len(names), 13)) for name in experiment.tasks}
    masks = {
        name: np.asarray(next(iter(task.losses(outputs, seen).values())).mask)
        for name, task in experiment.tasks.items()
    }
    assert set(masks) == {"yes_no", "color", "shape"}
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, batch["_mask"] & (names == name))
    np.testing.assert_array_equal(sum(masks.values()), batch["_mask"])
