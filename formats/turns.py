"""A window as the turns that every provider knows: system, user, and steps of the model, each with
the answers to its calls. Calls and results are paired here, once, for all formats."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from msgspec import Struct, field

from formats.parts import Reasoning, Summary, Text, ToolCall, ToolResult, Whose, type_of
from formats.parts import Step as StepMark
from formats.problems import NotExpressible
from formats.window import Piece, Said

ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")


class Turn(Struct, eq=False):
    """What the system or the user says. `seq`: None for what a compaction put there."""

    role: str
    message: int
    seq: int | None
    pieces: list[Piece]
    name: str | None = None


class Step(Struct, eq=False):
    """One answer of the model, and what its calls were answered. `message` to `last`: where it is.

    `whole`: nothing of it was left out. `ended`: a result came, so that what the model says next
    is another step.
    """

    message: int
    seq: int | None
    last: int
    name: str | None = None
    group: str | None = None
    pieces: list[Piece] = field(default_factory=list)
    whole: bool = True
    ended: bool = False

    @property
    def calls(self) -> list[Piece]:
        """The calls that somebody else has to answer."""
        return [p for p in self.pieces if isinstance(p.part, ToolCall) and p.part.by == "client"]


class Turns(Struct):
    """In order; `left_out`: how many parts are shown to nobody, by their types."""

    turns: list[Turn | Step]
    left_out: Counter[str]


class Teller(Protocol):
    """Says turns as one provider takes them."""

    def turn(self, turn: Turn) -> None:
        """What the system or the user says."""

    def step(self, step: Step) -> None:
        """What the model says."""


def tell(turns: Iterable[Turn | Step], teller: Teller) -> None:
    """One after the other. Raises `NotExpressible`."""
    for turn in turns:
        if isinstance(turn, Step):
            teller.step(turn)
        else:
            teller.turn(turn)


def turns_of(messages: Iterable[Said], *, keep_open: bool = False) -> Turns:
    """The turns of a window. A call without a result and a result without a call are left out;
    `keep_open`: calls of the last step stay, because it is the application that answers them.

    Raises `NotExpressible` where a role is of no provider.
    """
    builder = _Builder()
    for said in messages:
        builder.add(said)
    return builder.done(keep_open=keep_open)


class _Builder:
    def __init__(self) -> None:
        self._turns: list[Turn | Step] = []
        self._step: Step | None = None
        self._open: defaultdict[tuple[str, Whose], list[tuple[Step, deque[Piece]]]]
        self._open = defaultdict(list)
        self._left_out: Counter[str] = Counter()

    def add(self, said: Said) -> None:
        match said.role:
            case "assistant":
                self._add_answer(said)
            case "system" | "developer":
                self._add_turn(said, said.role, said.pieces)
            case "user" | "tool" | "function":
                self._add_told(said)
            case _:
                raise NotExpressible(
                    f"the role {said.role!r} is of no provider; it is one of {', '.join(ROLES)}",
                    said.seq,
                )

    def _add_told(self, said: Said) -> None:
        """Results go to their calls; what else is there, the user says."""
        others: list[Piece] = []
        for piece in said.pieces:
            if isinstance(piece.part, ToolResult):
                self._answer(piece)
            else:
                others.append(piece)
        self._add_turn(said, "user", others)

    def _add_turn(self, said: Said, role: str, pieces: Sequence[Piece]) -> None:
        if pieces:
            self._step = None
            self._turns.append(Turn(role, said.index, said.seq, list(pieces), said.name))

    def _add_answer(self, said: Said) -> None:
        step = self._step
        if step is None or not _goes_on(step, said):
            self._step = None
        for piece in said.pieces:
            match piece.part:
                case Summary():
                    self._add_turn(said, "user", [piece])
                case ToolResult(by="client"):
                    self._answer(piece)
                case _:
                    self._step_for(said, piece).pieces.append(piece)
                    if isinstance(piece.part, ToolCall):
                        self._await(piece, piece.part)
                    elif isinstance(piece.part, ToolResult):
                        self._answer(piece)

    def _step_for(self, said: Said, piece: Piece) -> Step:
        """Calls beside each other are of one step, even with their results in between."""
        step = self._step
        if (
            step is None
            or (isinstance(piece.part, StepMark) and step.pieces)
            or (step.ended and not (isinstance(piece.part, ToolCall) and step.last == said.index))
        ):
            step = Step(said.index, said.seq, said.index, said.name, said.group)
            self._step = step
            self._turns.append(step)
        step.last = said.index
        return step

    def _await(self, piece: Piece, call: ToolCall) -> None:
        """Ids may come again: in another step, and within one."""
        assert self._step is not None
        waiting = self._open[call.call_id, call.by]
        if waiting and waiting[-1][0] is self._step:
            waiting[-1][1].append(piece)
        else:
            waiting.append((self._step, deque([piece])))

    def _answer(self, result: Piece) -> None:
        """To the first call of that id that waits, in the newest step that has one."""
        assert isinstance(result.part, ToolResult)
        waiting = self._open[result.part.call_id, result.part.by]
        if not waiting:
            self._left_out[type_of(result.part)] += 1
            return
        step, calls = waiting[-1]
        calls.popleft().answer = result
        if not calls:
            waiting.pop()
        if result.part.by == "client":
            step.ended = True

    def done(self, *, keep_open: bool) -> Turns:
        """Without what is only half there."""
        last = self._turns[-1] if self._turns else None
        for turn in self._turns:
            if isinstance(turn, Step) and not (keep_open and turn is last):
                self._leave_out_halves(turn)
        turns = [turn for turn in self._turns if turn.pieces]
        _mark_stale(turns)
        return Turns(turns, self._left_out)

    def _leave_out_halves(self, step: Step) -> None:
        answers = {id(piece.answer) for piece in step.pieces if piece.answer is not None}
        kept = []
        for piece in step.pieces:
            match piece.part:
                case ToolCall() if piece.answer is None:
                    self._left_out[type_of(piece.part)] += 1
                    step.whole = False
                case ToolResult() if id(piece) not in answers:
                    # `_answer` has counted it.
                    step.whole = False
                case _:
                    kept.append(piece)
        step.pieces = kept


def _mark_stale(turns: Iterable[Turn | Step]) -> None:
    """A result that came late is shown where its call is: what was said in between did not stand
    behind it."""
    answered = 0
    for turn in turns:
        for piece in turn.pieces:
            piece.fresh = piece.fresh and piece.message >= answered
        if isinstance(turn, Step):
            answers = (piece.answer.message for piece in turn.calls if piece.answer is not None)
            answered = max(answered, *answers, 0)


def _goes_on(step: Step, said: Said) -> bool:
    """Whether a message of the model belongs to the step before it: a call waits beside it, what it
    thought leads to it, or they came in one answer."""
    if step.ended or any(piece.ui is not None for piece in said.pieces):
        return False
    if said.group is not None and step.group is not None:
        return said.group == step.group
    return bool(step.calls) or (bool(step.pieces) and isinstance(step.pieces[-1].part, Reasoning))


def texts_of(pieces: Iterable[Piece]) -> list[str]:
    """The texts among them."""
    return [piece.part.text for piece in pieces if isinstance(piece.part, Text | Summary)]
