import datetime

import numpy as np
import pytest

from mmjax.data.columns import dates

DAY = datetime.datetime(1969, 7, 20)


@pytest.mark.parametrize(
    ("text", "order"),
    [
        *((text, "") for text in ("1969-07-20", "1969/7/20", "1969.07.20", "19690720")),
        *((text, "") for text in ("20.07.1969", "20/07/1969", "07/20/1969", "20-7-1969")),
        *((text, "") for text in ("20 Jul 1969", "20. July 1969", "July 20, 1969", "Jul 20 1969")),
        ("20-Jul-1969", ""),
    ],
)
def test_a_day_in_all_its_forms(text, order):
    assert dates.parse(f" {text} ", order) == DAY


def test_times_and_zones():
    late = datetime.datetime(1969, 7, 20, 20, 17, 40)
    for text in ("1969-07-20T20:17:40", "20.07.1969 20:17:40", "July 20, 1969, 20:17:40"):
        assert dates.parse(text) == late
    parsed = dates.parse("1969-07-20 20:17:40.25+02:00")
    assert parsed.utcoffset() == datetime.timedelta(hours=2)
    assert dates.days(parsed) == pytest.approx(
        dates.days(late) + (0.25 - 7200) / 86400, rel=0, abs=1e-9
    )
    assert dates.parse("1969-07-20T20:17Z").utcoffset() == datetime.timedelta(0)
    assert dates.parse("1969-07-20T20:17-0330").utcoffset() == -datetime.timedelta(hours=3.5)


def test_the_order_of_a_column_settles_what_may_be_two_days():
    with pytest.raises(ValueError, match="may be two days"):
        dates.parse("03/04/2020")
    assert dates.parse("03/04/2020", "DMY") == datetime.datetime(2020, 4, 3)
    assert dates.parse("03/04/2020", "MDY") == datetime.datetime(2020, 3, 4)
    assert dates.parse("03.04.2020", "MDY") == datetime.datetime(2020, 4, 3)
    assert dates.parse("04/04/2020") == datetime.datetime(2020, 4, 4)
    assert dates.order_of(["03/04/2020", "13/04/2020"]) == "DMY"
    assert dates.order_of(["03/04/2020", "04/13/2020"]) == "MDY"
    assert dates.order_of(["03/04/2020"]) == "MDY"
    assert dates.order_of(["2020-03-04"]) == "YMD"


@pytest.mark.parametrize(
    "text",
    ["", "1969", "1969-13-01", "1969-02-29", "31.04.2020", "20 Xyz 1969", "1969-07-20x", "7"],
)
def test_what_is_no_day_is_an_error(text):
    with pytest.raises(ValueError, match=r"date|day|month|range"):
        dates.parse(text)


def test_days_and_cycles():
    assert dates.features(datetime.datetime(2000, 1, 1))[0] == 0
    assert dates.features(DAY)[0] == -11122
    assert dates.features(datetime.datetime(1, 1, 1))[0] < -700_000
    december, january = (datetime.datetime(2019, 12, 31, 23), datetime.datetime(2020, 1, 1, 1))
    one, two = dates.features(december), dates.features(january)
    assert np.linalg.norm(one[1:3] - two[1:3]) < 0.02
    monday = datetime.datetime(2024, 1, 1)
    np.testing.assert_allclose(dates.features(monday)[1:], [0, 1, 0, 1, 0, 1], rtol=0, atol=1e-12)
    noon = dates.features(datetime.datetime(2024, 7, 2, 12))
    np.testing.assert_allclose(noon[5:], [0, -1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(noon[1:3], [-0.0043, -1], rtol=0, atol=1e-2)  # half of a leap year
    assert len(dates.FEATURES) == len(noon)
