import subprocess
import sys
import textwrap

import pytest

from mmjax.errors import UserError
from tests.data.fakes import assert_equal, make, take, training

WORKERS = """
    import functools
    import sys

    import numpy as np

    from mmjax.data.pipeline import tokenizer
    from mmjax.data.pipeline.examples import QuestionExamples
    from mmjax.data.pipeline.loader import Reading, eval_batches, train_iterator
    from mmjax.data.datasets.shapes import shapes
    from mmjax.data.sources.source import questions

    if __name__ == "__main__":
        source = shapes(train=50)["train"]
        words = tokenizer.train([text for texts in questions(source) for text in texts])
        encode = functools.partial(tokenizer.encode, words, length=10)
        examples = QuestionExamples(source, ("image", "text"), 3, {"text": encode})
        alone = train_iterator(examples, Reading(4), seed=0)
        working = train_iterator(examples, Reading(4, workers=2), seed=0)
        for step in range(9):
            one, two = next(alone), next(working)
            assert one.keys() == two.keys()
            assert all(np.array_equal(one[key], two[key]) for key in one), step
        restored = train_iterator(examples, Reading(4), seed=0)
        restored.set_state(working.get_state())
        for one, two in ((next(alone), next(restored)) for _ in range(3)):
            assert all(np.array_equal(one[key], two[key]) for key in one)
        working.close()
        asked = sum(batch["_mask"].sum() for batch in eval_batches(examples, Reading(4, workers=1)))
        assert asked == sum(map(len, questions(source)))
        assert "tensorflow" not in sys.modules
        print("done")
"""


def test_workers_give_the_same_batches_from_a_plain_script(tmp_path, environment):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(WORKERS))
    command = [sys.executable, str(script)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "done"


def test_workers_give_the_same_batches_from_pytest():
    working = training(workers=1)
    for one, two in zip(take(training(), 5), take(working, 5), strict=True):
        assert_equal(one, two)
    working.close()


def test_an_error_in_a_worker_is_still_the_users():
    broken = training(make(length=200, broken=range(50)), workers=1, epochs=1)
    with pytest.raises(UserError, match="fake/train"):
        list(broken)
    broken.close()
