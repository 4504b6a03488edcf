"""The columns of a run: written and read again exactly, or one line."""

import copy
import dataclasses
import json

import numpy as np
import pytest

from mmjax.data.columns.vocabulary import Vocabulary
from mmjax.data.own import stored
from mmjax.data.own.own import own_data
from mmjax.data.own.stored import Known
from mmjax.errors import UserError

ROWS = [
    {"age": i / 3, "color": "rgb"[i % 3], "tags": ["a", "bc"[i % 2]], "box": [i, 2.5], "y": "no"}
    | ({"y": "yes\ud83d"} if i % 2 else {})
    for i in range(30)
]


@pytest.fixture(scope="module")
def known():
    own = own_data(ROWS, target=("y", "age"), types={"color": "category", "tags": "labels"})
    columns = {name: own.columns[name] for name in ("y", "age")}
    return Known(dict(own.inputs), columns)


def through_a_file(known):
    return stored.from_json(json.loads(json.dumps(stored.to_json(known))), "columns.json")


def test_what_is_read_again_is_what_was_written(known):
    found = through_a_file(known)
    assert found == known
    row = {"color": "r", "tags": ["c", "new"]}
    one, two = (x.inputs["table"].features.vector(row) for x in (found, known))
    np.testing.assert_array_equal(one, two)
    stored.check_same(found, known, "columns.json")


def damaged(tree):
    """The tree with one thing missing, renamed or of another type, each in turn."""
    for path in list(paths(tree)):
        for change in ("missing", "other"):
            copied = copy.deepcopy(tree)
            node = copied
            for key in path[:-1]:
                node = node[key]
            if change == "other":
                node[path[-1]] = {"x": 1.5}
            elif isinstance(node, dict):
                del node[path[-1]]
            else:
                continue
            yield path, copied
    yield (), None
    yield (), []


def paths(node, path=()):
    if path:
        yield path
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        if isinstance(value, (dict, list)):
            yield from paths(value, (*path, key))
        else:
            yield (*path, key)


def test_a_damaged_file_is_one_line_and_never_a_default(known):
    tree = json.loads(json.dumps(stored.to_json(known)))
    count = 0
    for path, broken in damaged(tree):
        # An input or target less is the table of another run.
        if len(path) != 2 or path[1] in broken[path[0]]:
            with pytest.raises(UserError, match=r"^columns.json is damaged"):
                stored.from_json(broken, "columns.json")
            count += 1
    assert count > 100


def changed(known, name, place, **fields):
    wanted = known.inputs[name]
    columns = list(wanted.columns)
    columns[place] = dataclasses.replace(columns[place], **fields)
    return known._replace(
        inputs=known.inputs | {name: dataclasses.replace(wanted, columns=tuple(columns))}
    )


def test_the_column_that_changed_is_named(known):
    wanted = known.inputs["table"]
    words = dict(wanted.features.vocabularies, color=Vocabulary(("r",)))
    features = dataclasses.replace(wanted.features, vocabularies=words)
    fewer = known._replace(inputs={"table": wanted})
    other = dict(known.inputs, table=dataclasses.replace(wanted, features=features))
    target = dataclasses.replace(known.targets["y"], form="x")
    for now, said in (
        (changed(known, "table", 0, type="text"), "'color': type was 'category' and is 'text'"),
        (changed(known, "table", 1, form=";"), "column 'tags': form was '' and is ';'"),
        (changed(known, "box", 0, inside=True), "column 'box': inside was False and is True"),
        (fewer, "the inputs were .*box.* and are table"),
        (known._replace(inputs=other), "column 'color' has other words"),
        (known._replace(targets=known.targets | {"y": target}), "column 'y': form was '' and"),
        (known._replace(targets={}), "the targets were y, age and are "),
    ):
        with pytest.raises(UserError, match=said):
            stored.check_same(known, now, "columns.json")
    stored.check_same(known, changed(known, "box", 0, note="moved"), "columns.json")
