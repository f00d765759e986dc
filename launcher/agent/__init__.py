"""The agent: pop → prepare → request → submit → ack → poll → finish. `loop` is its one loop; `neighbours` takes over
what other agents left, `reports` keeps what the store has not heard yet; the command line runs it."""

from launcher.agent.loop import Agent
from launcher.agent.runs import AgentEvent

__all__ = ["Agent", "AgentEvent"]
