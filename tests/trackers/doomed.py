"""A training that is killed: puts records without end, and says how many of them are safe."""

import random
import sys
import time
from pathlib import Path

from tracking import Book, log, set_mood

from lossgap.trackers import outbox as outboxes

outboxes.PATIENCE = 0.02
outboxes.RETRY_SECONDS = outboxes.MOST_RETRY_SECONDS = 0.002

path, mood, seed = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
choose = random.Random(seed)
outbox = outboxes.Outbox(Book(path))
n_told, n_before = 0, choose.randrange(5)
for epoch in range(1_000_000):
    if epoch == n_before or (mood == "flickers" and choose.random() < 0.2):
        set_mood(path, choose.choice(["hangs", "fails", "works"]) if mood == "flickers" else mood)
    outbox.put(log(epoch))
    time.sleep(choose.random() * 0.004)
    # On disk or delivered, as the threads of the outbox have seen.
    with outbox._changed:
        n_safe = max(outbox._n_kept, outbox._waiting[0].number if outbox._waiting else epoch + 1)
    if n_safe > n_told:
        n_told = n_safe
        print(n_told, flush=True)  # noqa: T201 - to the test
