import pytest

pytest.register_assert_rewrite("tests.queues.store_contract")
