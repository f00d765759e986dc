import pytest

pytest.register_assert_rewrite("tests.queues.contract", "tests.queues.steps")
