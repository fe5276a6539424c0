"""What chance brings about too seldom, played on purpose."""

from collections.abc import Callable, Iterator

import pytest

from schemas.events import LogEvent, MessageAppended
from streams.core.outcome import Appended
from streams.log_writer import partition_of
from streams.store import Moved, Unavailable
from tests.simulation.process import Process
from tests.simulation.seams import simulated
from tests.simulation.world import World
from tests.support.fold import message

PATIENCE_STEPS = 20_000


class Stage(World):
    """A world in which nothing goes wrong by itself, and nothing is mended."""

    def enter(self) -> None:
        """The nodes start, as they do once only."""
        while super().start_one():
            pass

    def start_one(self) -> bool:
        return False

    def until(self, holds: Callable[[], bool]) -> None:
        self.go_on(PATIENCE_STEPS, holds)
        assert holds()
        assert not self.checks.wrong

    def ready(self, partition: int) -> bool:
        """Whether the partition is served by its owner of this generation."""
        owner = self.owner_of(partition)
        if owner is None or owner.app.generation != self.group.generation:
            return False
        lane = owner.lane(partition)
        return lane is not None and lane.caught_up

    def durable(self, partition: int) -> bool:
        """Whether the owner has made all of the log durable."""
        lane = self.owner(partition).lane(partition)
        return lane is not None and lane.durable == self.broker.log(self.topics.log, partition).end

    def owner(self, partition: int) -> Process:
        owner = self.owner_of(partition)
        assert owner is not None
        return owner


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage(seed=1)
    stage.users.clear()
    stage.calm_down()
    with simulated(stage):
        stage.enter()
        yield stage
        stage.end()


def test_whoever_asked_before_another_node_had_the_partition_is_not_in_the_way(
    stage: Stage,
) -> None:
    """The event is folded elsewhere while the node sleeps, so that nobody will answer here. Were it
    still waited for, each retry would get the answer of the one before it, always too late."""
    event = LogEvent("key", "ada", "/tests", MessageAppended((message(),)))
    partition = partition_of("ada", stage.partitions)
    stage.until(lambda: stage.ready(partition))
    sleeper = stage.owner(partition)

    asked = sleeper.loop.create_task(sleeper.streams.contexts.ask(event))
    sleeper.turn()
    with stage.inside(sleeper, None):
        for producer in sleeper.producers:
            producer.poll()
    # Where the broker has it, the sleeper would fold it at once when it wakes up.
    reports = sleeper.streams._writer._reports
    reports.append(reports.pop()._replace(place=None))
    sleeper.paused = True
    stage.group.expel_the_silent()
    stage.until(lambda: stage.ready(partition) and stage.owner(partition) is not sleeper)
    stage.until(lambda: stage.durable(partition))

    for process in stage.free():
        process.alive = False
    sleeper.paused = False
    sleeper.app.heard_of_expulsion = False
    sleeper.app.fed.clear()
    sleeper.app.call()
    stage.group.expel_the_silent()
    stage.until(lambda: stage.ready(partition))
    assert stage.owner(partition) is sleeper
    stage.until(asked.done)
    assert isinstance(asked.exception(), Unavailable)
    retry = sleeper.loop.create_task(sleeper.streams.contexts.ask(event))
    stage.until(retry.done)
    answer = retry.result().outcome
    assert isinstance(answer, Appended)
    assert (answer.first_seq, answer.replayed) == (1, True)


def test_whoever_was_stopped_shows_nothing_old_when_it_wakes_up(stage: Stage) -> None:
    """Nor does it answer at all before the group has heard of it again."""
    partition = partition_of("ada", stage.partitions)
    stage.until(lambda: stage.ready(partition))
    sleeper = stage.owner(partition)
    read = sleeper.streams.contexts.head
    before = sleeper.loop.create_task(read("ada"))
    stage.until(before.done)
    assert before.result() is None

    sleeper.paused = True
    stage.group.expel_the_silent()
    stage.until(lambda: stage.ready(partition) and stage.owner(partition) is not sleeper)
    event = LogEvent("key", "ada", "/tests", MessageAppended((message(),)))
    owner = stage.owner(partition)
    said = owner.loop.create_task(owner.streams.contexts.ask(event))
    stage.until(said.done)
    sleeper.paused = False
    assert sleeper.lane(partition) is not None, "it knows of nothing"
    after = sleeper.loop.create_task(read("ada"))
    sleeper.turn()
    assert isinstance(after.exception(), Moved)
