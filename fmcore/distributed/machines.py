"""The door to distributed training: which engine, how many workers, and what each of them may use."""

import os
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace

from fmcore.distributed.lost import DiedError
from fmcore.distributed.reports import Parts, as_named
from fmcore.distributed.run import TeamRun
from fmcore.distributed.team import Team
from fmcore.distributed.worker import Orders
from fmcore.errors import DataError, UsageError
from fmcore.io.sources import dealing
from fmcore.io.tables.onehot import UNKNOWN
from fmcore.rows.blocks import generator
from fmcore.system.memory import LEAST, Budget, budget
from fmcore.training.fit import Resources, first_model, least_scale


@dataclass
class Machines(Resources):
    """What a team may use; threads (None: what is there for each) and memory_limit are those of one worker.

    engine: one of fmcore.distributed.ENGINES; local is all workers in this process, one after the other.
    workers: their number.
    dist_state: one of fmcore.distributed.STATES. address: of a Ray cluster.
    """

    threads: int | None = None
    engine: str = "local"
    workers: int = 1
    dist_state: str = "auto"
    address: str | None = None

    def trained(self, job, observer, control):
        """See fmcore.training.fit.Resources."""
        self._require_files(job)
        try:
            with closing(self._open()) as engine, job.data.named():
                return self._led(engine, job, observer, control)
        except DataError as error:
            files = [source for data in (job.data, job.test) if data for source in data.sources]
            error.source = as_named(files).get(error.source, error.source)
            raise
        except DiedError as error:
            if path := control.kept():
                raise error.resumable(path) from error
            raise

    def _open(self):
        if self.engine == "ray":
            from fmcore.distributed.on_ray import Ray

            return Ray(self.workers, self.threads, self.address)
        if self.engine == "mpi":
            from fmcore.distributed.on_mpi import leader

            return leader(self.threads)
        from fmcore.distributed.inprocess import InProcess

        return InProcess(self.workers, self.threads)

    def _led(self, engine, job, observer, control):
        data, hyperparameters, test, initial_model = job
        team = Team(engine, self._orders(engine, job), observer)
        team.load(data)
        if initial_model is not None:
            _require_known_values(data)
        known = initial_model.feature_dim if initial_model else 1
        feature_dim = hyperparameters.feature_dim or max(known, team.data.feature_dim)
        team.settle(feature_dim, test)
        model = first_model(replace(hyperparameters, feature_dim=feature_dim), team.data, initial_model)
        observer.loaded(team.data, model, team)
        return TeamRun(team, model, observer, control).train(team.test if test else None)

    def _require_files(self, job):
        data = job.data
        if data.pipe is not None:
            raise UsageError(
                "pipes are read by one process, and here each worker reads rows of its own; name files "
                "that all of them can read"
            )
        if data.encoder.is_new and job.initial_model is None:
            raise UsageError(
                f"the vocabulary {data.options.table.vocabulary} does not exist, and workers that read at "
                "the same time cannot build one; let fm convert build it from the same files"
            )

    def _orders(self, engine, job):
        data, h, test, initial_model = job
        order = generator(h.seed, "pieces") if h.shuffle else None
        dealt = dealing.deal(data.sources, data.options, engine.workers, order)
        for sentence in dealt.notes:
            data.report.note(sentence)
        tests = [[]] * engine.workers
        if test:
            tests = dealing.in_order(test.sources, test.options, engine.workers)
        data.encoder.freeze()
        parts = [
            Parts.of(
                [absolute(own) for own in sources],
                absolute(part.sources),
                replace(part.options, threads=engine.threads),
            )
            for sources, part in ((dealt.parts, data), (tests, test or data))
        ]
        return Orders(
            engine.workers,
            *parts,
            data.encoder,
            h,
            engine.threads,
            self._budget(engine),
            self.dist_state,
            initial_model.feature_dim if initial_model else None,
            least_scale(h, initial_model),
        )

    def _budget(self, engine):
        """The Budget of each worker: of what is told, else of its machine's free memory by the workers on it."""
        if self.memory_limit is not None:
            return budget(self.memory_limit)
        places = engine.all("where")
        on = Counter(host for host, *_ in places)
        least = max(LEAST, min(free // on[host] for host, free, _ in places))
        return Budget(least, least // 2, given=False)


def _require_known_values(data):
    """Raise UsageError where a vocabulary would take in new values, as it does where one process goes on."""
    new = sum(number for name, number in data.report.counts.items() if name.startswith(UNKNOWN))
    if new and data.encoder.is_new:
        raise UsageError(
            f"the vocabulary {data.options.table.vocabulary} does not list {new:,} of the values, and "
            "workers that read at the same time cannot add them; go on from this model without "
            "--distributed"
        )


def absolute(sources):
    """The same sources for workers, whose folder may be another."""
    return [replace(source, path=os.path.abspath(source.path)) for source in sources]  # noqa: PTH100 - no links followed
