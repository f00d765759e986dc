import pytest

pytest.register_assert_rewrite(*(f"tests.queues.{name}" for name in ("contract", "model", "steps", "story")))
