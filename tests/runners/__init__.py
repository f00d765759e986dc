import pytest

pytest.register_assert_rewrite("tests.runners.contract")
