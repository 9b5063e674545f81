"""Files that grow, are closed and are read in any order: every byte is taken once."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from pgkeep.logical.capture.backlog import LARGEST, Backlog, CapturedFile, Part, Taken, Task
from pgkeep.logical.capture.chunking import cut

KIB = 1 << 10


class Simulation:
    """A pg_dump with some workers, whose steps come in any order."""

    def __init__(self, sizes: list[int], seed: int) -> None:
        self.chance = random.Random(seed)
        self.contents = {f"{number}.dat": self.content(size) for number, size in enumerate(sizes)}
        self.to_come = list(self.contents)
        self.written: dict[str, int] = {}  # open files
        self.tasks: list[Task] = []
        self.read = dict.fromkeys(self.contents, b"")
        self.backlog = Backlog(3)

    def content(self, size: int) -> bytes:
        return self.chance.randbytes(size // 2 + 1).hex("\n", 50).encode()[:size]

    def write(self) -> None:
        """Make a file, let one grow, or close one."""
        if self.to_come and len(self.written) < 3 and self.chance.random() < 0.5:
            name = self.to_come.pop(0)
            self.backlog.create(name)
            self.written[name] = 0
        elif self.written:
            name = self.chance.choice(list(self.written))
            size = len(self.contents[name])
            grown = min(size, self.written[name] + self.chance.choice([0, 1, 300_000, 4_000_000]))
            if grown == size and self.chance.random() < 0.5:
                del self.written[name]
                self.backlog.close(name, size)
            else:
                self.written[name] = grown
                self.backlog.grow(name, grown)

    def hand_out(self) -> None:
        task = self.backlog.next_task(anything=self.chance.random() < 0.2)
        if task:
            assert 0 < sum(part.end - part.begin for part in task) + 1 <= LARGEST + 1
            busy = {part.name for other in self.tasks for part in other}
            assert busy.isdisjoint(part.name for part in task)
            self.tasks.append(task)

    def answer(self) -> None:
        if self.tasks:
            task = self.tasks.pop(self.chance.randrange(len(self.tasks)))
            for part in task:
                self.backlog.take(part, self.taken(part))

    def taken(self, part: Part) -> Taken:
        content = self.contents[part.name]
        assert part.begin == len(self.read[part.name])
        assert not part.final or (part.end == len(content) and part.name not in self.written)
        found = cut(content[part.begin : part.end], final=part.final)
        end = part.begin + (found.ends[-1] if found.ends else 0)
        self.read[part.name] += content[part.begin : end]
        return Taken(end, found.lines, content[max(part.begin, end - 16) : end])

    def run(self) -> None:
        while self.to_come or self.written or self.backlog:
            self.chance.choice([self.write, self.hand_out, self.answer])()


@given(
    st.lists(st.sampled_from([0, 5, 30_000, 600 * KIB, 3000 * KIB, 9000 * KIB]), max_size=8),
    st.integers(0, 10_000),
)
@settings(max_examples=40, deadline=None)
def test_every_byte_is_read_once(sizes: list[int], seed: int) -> None:
    simulation = Simulation(sizes, seed)
    simulation.run()
    contents, backlog = simulation.contents, simulation.backlog
    assert simulation.read == contents
    assert list(backlog.files) == [
        CapturedFile(number, name, len(content), content.count(b"\n"), content[-16:])
        for number, (name, content) in enumerate(contents.items(), 3)
    ]
    assert (backlog.read, backlog.size) == (sum(map(len, contents.values())), 0)
