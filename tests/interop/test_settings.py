"""config.json as the architectures read it: sizes of one number or two, and nothing else."""

import pytest

from mmjax.errors import UserError
from mmjax.interop.architectures.settings import pair, settings


@pytest.mark.parametrize(("size", "sides"), [(3, (3, 3)), ([2, 5], (2, 5)), ((4, 4), (4, 4))])
def test_a_size_is_a_side_or_rows_and_columns(size, sides):
    assert pair(settings({"patch_size": size}, {"patch_size": 16}, "it").patch_size) == sides


@pytest.mark.parametrize(
    "size", [[], [4], [2, 4, 4], [4, 0], [4, -1], [4.0, 4.0], ["4", "4"], [True, 4], [[4], 4], "4"]
)
def test_any_other_list_is_refused_by_its_key_and_file_in_one_line(size):
    with pytest.raises(UserError, match=r"^it: config\.json has patch_size=") as error:
        settings({"patch_size": size}, {"patch_size": 16}, "it")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="^here: .*not a side, nor rows and columns") as error:
        pair(size, "here")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [[1, 2], (1, 2), "1", True, None])
def test_what_is_no_size_of_a_picture_is_one_number(value):
    with pytest.raises(UserError, match=r"^it: config\.json has hidden_size=.*768 would be usual"):
        settings({"hidden_size": value}, {"hidden_size": 768}, "it")
