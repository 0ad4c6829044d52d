"""How the report shows figures: shares in percent and points, others as they are."""

from __future__ import annotations

import io

import pytest

from luthier.core.attachment import Attachment
from luthier.core.images import from_data_url
from luthier.core.ports import Judged
from luthier.core.types import Example
from luthier.stages.evaluate import report, side_by_side
from luthier.testing import made


@pytest.mark.parametrize(
    ("name", "shown", "ahead"), [("accuracy", "51.2 %", "+51.2"), ("cider_d", "0.512", "+0.512"), ("perplexity", "0.512", "+0.512")]
)
def test_a_share_is_shown_in_percent_and_another_score_as_it_is(name: str, shown: str, ahead: str) -> None:
    assert report.score(0.5123, name) == shown
    assert report.ahead(0.5123, name) == ahead
    assert ("points" in report.of_score(0.5123, name)) == (name == "accuracy")


def test_pictures_of_the_rows_that_are_shown_are_small_data_urls() -> None:
    from PIL import Image

    big = io.BytesIO()
    Image.new("RGB", (640, 400), (200, 30, 30)).save(big, "PNG")
    examples = [
        Example("a", {"image": Attachment("a.png", big.getvalue())}),
        Example("b", {"image": Attachment("b.png", from_data_url(made.picture(1, 0)))}),
        Example("c", {"text": "no picture"}),
    ]
    found = side_by_side.thumbnails(Judged(examples, [], {}, {}), [{"id": "a"}, {"id": "c"}])
    assert set(found) == {"a"}
    assert Image.open(io.BytesIO(from_data_url(found["a"]))).size == (160, 100)
