import numpy as np
import pytest
from sklearn.datasets import load_digits

from mmjax.data.datasets.digit_halves import digit_halves
from mmjax.errors import UserError


def whole(split):
    return np.concatenate([split.values["upper"], split.values["lower"]], axis=1)


def test_halves_make_up_each_digit_once_in_one_split():
    splits = digit_halves(seed=3)
    images = np.concatenate([whole(split) for split in splits.values()])
    real, labels = load_digits(return_X_y=True)
    order = lambda x: x[np.lexsort(x.T)]  # noqa: E731
    np.testing.assert_array_equal(order(images * 16), order(real))
    assert [len(split) for split in splits.values()] == [1297, 200, 300]
    known = {image.tobytes(): label for image, label in zip(np.float32(real / 16), labels)}  # noqa: B905
    for split in splits.values():
        assert [known[image.tobytes()] for image in whole(split)] == split.targets[
            "label"
        ].values.tolist()
        assert split.ids["upper"].tolist() == list(range(1, len(split) + 1))


def test_another_seed_deals_otherwise_and_the_same_alike():
    one, again, other = (digit_halves(seed=seed)["test"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(whole(one), whole(again))
    assert not np.array_equal(whole(one), whole(other))


@pytest.mark.parametrize("options", [{"train": 1798}, {"test": 0}])
def test_impossible_sizes_are_one_line(options):
    with pytest.raises(UserError, match="1797 at most in all"):
        digit_halves(**options)
