"""`train`: a training job of SageMaker, which reads its input from the tree /opt/ml and writes its results there."""

import json
import sys
from pathlib import Path

import click

from fmcli.console import say
from fmcli.container.channels import channels
from fmcli.container.failure import failed
from fmcli.container.tree import Tree, root_option
from fmcli.exits import Terminated, handled
from fmcli.sagemaker_log import SageMakerLog
from fmcli.stop import Stop
from fmcore import api
from fmcore.errors import StoppedError
from fmcore.objectives import objective_of
from fmcore.system import publish
from fmcore.system.threads import default_threads


@click.command("train", context_settings={"help_option_names": ["-h", "--help"]})
@root_option
def command(root):
    """Train as a job of Amazon SageMaker, which calls this by `docker run IMAGE train`.

    \b
    input/config/   hyperparameters.json, inputdataconfig.json, resourceconfig.json
    input/data/     the channels train and, perhaps, test: folders, or named pipes train_0, train_1, ...
    model/          model.fm, the result
    output/         failure states why a job failed; data/metrics.jsonl has a line an epoch
    checkpoints/    where this folder exists, the same command resumes from it after it was killed

    Hyperparameters are those of SageMaker's Factorization Machines, with its defaults; those of `fm train` may be
    added, and "preset": "native" takes its defaults instead. SIGTERM ends training and publishes what it has reached.

    Exit codes: 0 done, 1 unexpected, 2 usage, 3 bad data, 4 bad checkpoint, 5 diverged, 6 out of memory or disk, 130
    and 143 stopped.
    """
    stop = Stop()
    stop.listen()
    sys.exit(job(Tree(Path(root)), stop))


def run():
    """Run the entry point and exit with its code."""
    command.main(prog_name="train")


def job(tree, stop):
    """Run the job and return its exit code."""
    try:
        tree.prepare()
        train(tree, stop)
    except (Terminated, KeyboardInterrupt, StoppedError):
        handled()
        say(f"stopped by {stop} before anything was trained: no model is published")
        return stop.exit_code
    except Exception as error:  # noqa: BLE001 - the last handler of all failures
        return failed(error, tree.failure)
    if not stop():
        return 0
    say(f"stopped by {stop}; the model trained so far is in {tree.model}")
    return stop.exit_code


def train(tree, stop):
    """Train and publish the model that the tree asks for."""
    host, threads = tree.host(), default_threads()
    hyperparameters, ignored = tree.hyperparameters()
    binary = objective_of(hyperparameters).binary
    data = {name: channel.data(threads, binary=binary) for name, channel in channels(tree).items()}
    log = JobLog([part.report for part in data.values()], host=host, stop=stop)
    if ignored:
        log.remark(f"warning: hyperparameters that begin with _ are ignored: {', '.join(ignored)}")
    with log.warned():
        try:
            model = api.train(
                data["train"],
                hyperparameters,
                tree.model,
                test=data.get("test"),
                observer=log,
                stop=stop,
                checkpoint=tree.checkpoint,
                resources=api.Resources(threads),
            )
        finally:
            log.close()
        with publish.whole(tree.metrics) as metrics:
            for record in model.info["epochs"]:
                metrics.write(json.dumps(record).encode() + b"\n")
        log.finish(model)


class JobLog(SageMakerLog):
    """SageMaker's log lines; it also informs a Stop once there is something to publish."""

    def __init__(self, reports, *, stop, **options):
        super().__init__(reports, **options)
        self._stop = stop

    def resumed(self, records, rows):
        """Take note that training resumes after these epochs."""
        self._stop.gently()
        super().resumed(records, rows)

    def block(self, epoch, block, order, scores):
        """Take note that a block is trained."""
        self._stop.gently()
        super().block(epoch, block, order, scores)


if __name__ == "__main__":
    run()
