import pytest

# Their assertions compare what was sent with what arrived: a failure must show both.
pytest.register_assert_rewrite("tests.live.material", "tests.live.service")
