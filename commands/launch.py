"""The ranks of a stage: by torchrun (CPU) or accelerate (GPU) on this machine, by a command on each of several.

torchrun and accelerate run in a thread of this process, so that a signal goes to the ranks and not to their launcher,
which would kill them 30 seconds later, however long they take to save.
"""

import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import psutil

from commands.rank import ORDER, claim, end_with_parent, error_once, forget_failure, reported
from settings.errors import BadParameter, Interrupted, TrainingFailed, WrongEnvironment
from settings.loader import load_yaml
from settings.machine import on_signals
from settings.places import ROOT, Local, cores, main_checkout
from stages import run

RANKS = "SCOPEFORMER_RANKS"


@dataclass(frozen=True)
class Plan:
    """How many ranks, on how many machines; `config`: an accelerate configuration, or none for torchrun alone."""

    ranks: int
    machines: int = 1
    config: str | None = None
    cpu: bool = True  # accelerate starts CPU ranks through MPI only, and without it one process: torchrun does it here
    address: str = "127.0.0.1"  # of machine 0
    port: int = 29500

    @property
    def is_launch(self) -> bool:
        """Whether anything but this process is needed."""
        return self.ranks > 1 or self.config is not None


def read_plan(local: Local) -> Plan:
    """What `local.yaml: launch` asks for; BadParameter or WrongEnvironment where it cannot be."""
    launch = local.launch
    if launch.config is None:
        return Plan(launch.processes)
    place = launch.config if launch.config.is_absolute() else main_checkout() / launch.config
    if not place.is_file():
        raise WrongEnvironment(f"launch.config: {place} does not exist; mend local.yaml")
    given = load_yaml(place)
    plan = Plan(
        ranks=int(given.get("num_processes", 1)),
        machines=int(given.get("num_machines", 1)),
        config=str(place),
        cpu=bool(given.get("use_cpu")) or given.get("distributed_type") == "MULTI_CPU",
        address=launch.address or str(given.get("main_process_ip") or "127.0.0.1"),
        port=int(given.get("main_process_port") or 29500),
    )
    if launch.processes not in (1, plan.ranks):
        raise BadParameter(
            f"launch.processes: {launch.processes}, but {place.name} says num_processes: {plan.ranks}; "
            "take launch.processes (SCOPEFORMER_PROCESSES) away"
        )
    if plan.ranks % plan.machines:
        raise BadParameter(
            f"{place.name}: num_processes ({plan.ranks}, of all machines) must be a multiple of num_machines"
        )
    if plan.machines > 1 and not launch.command:
        raise WrongEnvironment(
            f"launch.config: {place.name} is of {plan.machines} machines: say in launch.command what starts a command "
            "on each, such as `srun --ntasks-per-node=1` (docs/cluster.md)"
        )
    return plan


def launch(prepared: run.Prepared, local: Local, plan: Plan, one_each: bool) -> None:
    """Run the stage's work on the ranks of `plan`, or in one process on each machine, and wait for them.

    TrainingFailed where a rank ended otherwise than well; its error was shown. SIGTERM and SIGINT are passed on, so
    that trainings save; then Interrupted.
    """
    order = prepared.folder / "order.json"
    order.write_text(json.dumps({"stage": asdict(prepared), "plan": asdict(plan), "one_each": one_each}))
    forget_failure(prepared.folder)
    if plan.machines == 1:
        _start(order, prepared, plan, one_each)
        return
    environment = {**os.environ, ORDER: str(order)}
    command = [*shlex.split(local.launch.command), sys.executable, str(ROOT / "pipeline.py"), "stage", prepared.name]
    with _stop_signals() as stop:
        child = subprocess.Popen(command, env=environment, cwd=ROOT, preexec_fn=end_with_parent)
        while child.poll() is None:
            if number := stop.pop():
                child.send_signal(number)
            time.sleep(0.1)
    _raise_failure(prepared, stop.seen, bool(child.returncode))


def start_as_machine(order: Path) -> None:
    """One of several machines: its ranks of an order that `launch` wrote."""
    content = json.loads(order.read_text())
    prepared, plan = run.Prepared(**content["stage"]), Plan(**content["plan"])
    with error_once(prepared.folder):
        if RANKS in os.environ:  # set for ranks alone: it would launch itself without end
            name = Path(plan.config).name if plan.config else "the launch"
            raise WrongEnvironment(
                f"{name}: one process of {plan.ranks} ranks was started without a RANK; "
                "say distributed_type: MULTI_GPU for several"
            )
        _start(order, prepared, plan, content["one_each"])


def _start(order: Path, prepared: run.Prepared, plan: Plan, one_each: bool) -> None:
    node = _node(plan)
    if one_each:
        os.environ.update(RANK=str(node), WORLD_SIZE=str(plan.machines))
        run.work(prepared)
        return
    here = plan.ranks // plan.machines
    threads = max(1, cores() // here)
    os.environ.update({ORDER: str(order), RANKS: str(plan.ranks), "OMP_NUM_THREADS": str(threads)})
    if plan.ranks == 1:  # accelerate starts one process without a number
        os.environ.update(RANK="0", WORLD_SIZE="1")
    logging.disable(logging.ERROR)  # torchrun's own report of a failed rank, a page long
    try:
        failures, stopped = _run_ranks(_launcher(plan, node, prepared.name))
    finally:
        logging.disable(logging.NOTSET)
    # Asked to stop, a rank that had nothing to save dies of that, and one that is stuck of its launcher's patience.
    asked = {signal.SIGTERM, signal.SIGKILL} if stopped else {signal.SIGTERM}
    killed = [rank for rank, status in failures.items() if status < 0 and -status not in asked]
    if killed:  # it could not say so itself
        name = signal.Signals(-failures[killed[0]]).name
        memory = " (for want of memory, perhaps)" if name == "SIGKILL" else ""
        told = f"{prepared.name}: rank {killed[0]} was ended by {name}{memory}; run it again to resume"
        claim(prepared.folder, TrainingFailed(told))
    _raise_failure(prepared, stopped, bool(failures))


def _raise_failure(prepared: run.Prepared, stopped: bool, failed: bool) -> None:
    """What the first rank that failed said, also after a signal; without a word of one, Interrupted after a signal."""
    if not (failed or stopped):
        return
    if error := reported(prepared.name, prepared.folder):
        raise error
    if stopped:
        raise Interrupted(f"{prepared.name}: stopped by a signal; what was done is kept: run it again to go on")
    raise TrainingFailed(f"{prepared.name}: a rank ended without a word; run it again to resume")


def _launcher(plan: Plan, node: int, stage: str) -> Callable[[], None]:
    """A call that starts this machine's ranks and returns when they have ended."""
    script = [str(ROOT / "pipeline.py"), "stage", stage]
    several = [f"--machine_rank={node}", f"--main_process_ip={plan.address}"] if plan.machines > 1 else []
    if plan.config and not plan.cpu:
        from accelerate.commands.launch import launch_command, launch_command_parser

        arguments = launch_command_parser().parse_args([f"--config_file={plan.config}", *several, *script])
        return lambda: launch_command(arguments)
    from torch.distributed.run import main

    where = ["--standalone"]
    if plan.machines > 1:
        where = [f"--nnodes={plan.machines}", f"--node_rank={node}"]
        where += [f"--master_addr={plan.address}", f"--master_port={plan.port}"]
    return lambda: main([*where, f"--nproc_per_node={plan.ranks // plan.machines}", *script])


def _run_ranks(launcher: Callable[[], None]) -> tuple[dict[int, int], bool]:
    """(exit status of each rank that failed, whether a signal asked them to end)."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    others = {child.pid for child in psutil.Process().children()}
    with _stop_signals() as stop, ThreadPoolExecutor(1) as thread:
        running: Future[None] = thread.submit(launcher)
        while not running.done():
            if number := stop.pop():
                for rank in psutil.Process().children():
                    if rank.pid not in others:
                        with suppress(psutil.NoSuchProcess):
                            rank.send_signal(number)
            time.sleep(0.1)
    try:
        running.result()
    except ChildFailedError as error:
        return {rank: failure.exitcode for rank, failure in error.failures.items()}, stop.seen
    except subprocess.CalledProcessError as error:  # accelerate's one process
        return {0: error.returncode}, stop.seen
    return {}, stop.seen


def _node(plan: Plan) -> int:
    """The number of this machine among `plan.machines`, as a scheduler or the user's script says."""
    if plan.machines == 1:
        return 0
    for name in ("SCOPEFORMER_NODE", "SLURM_PROCID"):
        if (text := os.environ.get(name)) is not None:
            if not text.isdecimal() or int(text) >= plan.machines:
                raise BadParameter(f"{name}={text}: must be the number of this machine, 0 … {plan.machines - 1}")
            return int(text)
    raise WrongEnvironment("neither SLURM_PROCID nor SCOPEFORMER_NODE says which machine this is (docs/cluster.md)")


class _Stop:
    seen = False
    _number = 0

    def pop(self) -> int:
        """A signal that was not yet passed on; 0: none."""
        number, self._number = self._number, 0
        return number


@contextmanager
def _stop_signals() -> Iterator[_Stop]:
    stop = _Stop()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if not stop.seen:  # once: a scheduler's own goes to the ranks as well
            stop._number = number
        stop.seen = True

    with on_signals(signal.SIGTERM, signal.SIGINT, call=on_signal):
        yield stop
