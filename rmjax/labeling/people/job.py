"""A labeling job for people: tasks in, the page, judgments out."""

import contextlib
import itertools
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from absl import logging

from rmjax.config import ConfigError, OnError
from rmjax.files import check_bucket, in_bucket, is_one_file
from rmjax.labeling.pairing import PairRule, Round, Sureness, choose_pairs
from rmjax.labeling.people.annotators import read_tokens
from rmjax.labeling.people.gold import read_gold
from rmjax.labeling.people.handing import Rules
from rmjax.labeling.people.judged import check_exported, export_judged, gold_path
from rmjax.labeling.people.questions import find_question
from rmjax.labeling.people.store import Store
from rmjax.labeling.replaced import check_store
from rmjax.listening import bound
from rmjax.preferences.files import find_files
from rmjax.preferences.tasks import Task, each_once
from rmjax.preferences.write import checked_output


@dataclass(frozen=True, kw_only=True, slots=True)
class PeopleJob:
    """What a labeling job for people is made of; the flags of ``rmjax.labeling.people.flags`` document the fields."""

    output: str
    store: str | None = None
    dimension: str | None = None
    on_error: OnError = OnError.DEFAULT
    question: str | None = None
    pairs: PairRule = PairRule.ALL
    pairs_per_task: int | None = None
    scorer: str | None = None
    annotators_per_pair: int = 1
    gold: str | None = None
    gold_rate: float = 0.1
    lease_minutes: float = 10.0
    strength: bool = False
    tokens: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000

    @property
    def store_path(self) -> str:
        """Of the SQLite file: beside the output unless the job says otherwise. ConfigError where that is a bucket."""
        path = self.store or f"{self.output}.sqlite"
        if in_bucket(path):
            raise ConfigError(f"the store would be {path}; give --store=FILE in a local folder, for SQLite needs one")
        return path


def export(job: PeopleJob) -> None:
    """Writes what has been judged so far; a page may be served from the store meanwhile."""
    with contextlib.closing(Store(job.store_path, create=False)) as store:
        export_judged(store, job.output)


def serve(job: PeopleJob, tasks: Callable[[], Sequence[Task]], sureness: Sureness | None = None) -> None:
    """Serves the page until it is told to stop, then writes what was judged; goes on where it ended before.

    Args:
      job: what is asked, and how.
      tasks: opens what is judged, once all else is known to fit.
      sureness: of the model that chooses pairs by ``PairRule.LEAST_SURE``; None for the tasks' own rewards.

    Raises:
      UserError: for tasks, gold pairs, tokens or a store that can't be used, or that don't fit each other.
      ConfigError: for flags that don't.
      AddressError: where nothing can listen at that host and port; then no store is made or changed.
    """
    from rmjax.labeling.people.page import (  # here, since all else is done in less time than it loads
        PageSettings,
        make_app,
    )
    from rmjax.labeling.people.page_process import allowed_hosts, serve_page

    if job.dimension is None:
        raise ConfigError("--dimension is missing; the page asks which response is better on one")
    check_bucket(checked_output(job.output))  # this and what would be replaced: now, not when people have worked for it
    question = find_question(job.dimension, job.question)
    hosts = allowed_hosts(job.host, by_token=job.tokens is not None)
    tokens = None if job.tokens is None else read_tokens(job.tokens)
    _check_not_lost(job)
    rules = Rules(
        annotators_per_pair=job.annotators_per_pair, gold_rate=job.gold_rate, lease_seconds=60 * job.lease_minutes
    )
    settings = PageSettings(question=question, rules=rules, strength=job.strength, tokens=tokens, hosts=hosts)
    with (
        bound(job.host, job.port) as listening,
        contextlib.closing(_filled(job, tasks(), job.dimension, sureness)) as store,
    ):
        serve_page(make_app(store, settings), listening=listening, ended=lambda: export_judged(store, job.output))


def _check_not_lost(job: PeopleJob) -> None:
    """ConfigError where the job would write over a file that it hasn't written."""
    files = (job.output, gold_path(job.output))
    check_store(files, job.store_path)
    known = [] if job.gold is None else find_files(job.gold)
    for file, output in itertools.product(known, files):
        if is_one_file(file, output):
            raise ConfigError(f"--gold: {file} is where the judgments are written; right would be another --output")
    if os.path.exists(job.store_path):
        with contextlib.closing(Store(job.store_path, create=False)) as store:
            check_exported(store, job.output)


def _filled(job: PeopleJob, opened: Sequence[Task], dimension: str, sureness: Sureness | None) -> Store:
    """The store with all tasks and gold pairs; nothing is written of tasks that can't be used."""
    tasks = each_once(opened, job.on_error)
    gold = () if job.gold is None else read_gold(job.gold, dimension)
    store = Store(job.store_path)
    new = store.new_tasks(tasks)
    wanted = Round(job.pairs, job.pairs_per_task, job.scorer)
    begins, held = store.begins(wanted), store.held()
    # Of a task that is there, the budget was spent when it came, unless a new model chooses.
    open_to = tasks if begins or job.pairs_per_task is None else new
    pairs = choose_pairs(open_to, job.pairs, per_task=job.pairs_per_task, sureness=sureness, held=held)
    store.settle({"dimension": dimension})
    # The name is in the page's cookies; by the secret nobody can tell when the next gold pair comes.
    store.keep({"store": secrets.token_hex(4), "secret": secrets.token_hex(16)})
    added = store.add(pairs, wanted, held)
    golden = store.add_gold(gold)
    how = " by a model that is new to this store" if begins else ""
    if job.scorer and not begins and len(open_to) < len(tasks):
        how = " (of the other tasks this model has chosen before)"
    logging.info("%s: %d tasks, %d of them new; %d pairs added%s; %d gold pairs", job.store_path, len(tasks), len(new),
                 added, how, golden)  # fmt: skip
    for name, (before, now) in store.serve_with(_changing(job)).items():
        logging.warning("%s: last served %s, now %s", job.store_path, _in_words(name, before), _in_words(name, now))
    return store


def _changing(job: PeopleJob) -> dict[str, str]:
    """The flags that may be others at each start, but change what annotators are asked, or how often."""
    return {
        "annotators_per_pair": str(job.annotators_per_pair), "strength": str(job.strength).lower(),
        "gold": job.gold or "", "gold_rate": str(job.gold_rate),
    }  # fmt: skip


def _in_words(name: str, value: str) -> str:
    return f"with --{name}={value}" if value else f"without --{name}"
