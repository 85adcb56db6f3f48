"""Measure our BiRefNet against a plain one: `python -m bench network [--config] [--size]`.

Each lives in a process of its own, so that processor time and peak memory are its own too. They get
the same generated weights and run in turn, so that a change in the machine's load meets both.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor

from bench.machine import describe_machine, peak_rss_bytes
from tests.support.parity import weights
from tests.support.parity.compare import published_tensors
from webhook.segmentation.birefnet import CONFIGS, BiRefNet

OURS, PLAIN = "ours", "plain"


@dataclass(frozen=True)
class Run:
    """One forward pass."""

    cpu_s: float
    wall_s: float
    peak_rss_mb: float  # of the process so far, weights included
    alpha: Tensor


def serve_runs(kind: str, config: str, size: int, checkpoint: Path, pipe: Connection) -> None:
    """Run a forward pass for each number of threads that arrives, until None does."""
    with torch.device("meta"):
        network = _network(kind, config)
    state = torch.load(checkpoint, mmap=True, weights_only=True)
    network.load_state_dict(state, strict=True, assign=True)
    pixel_values = torch.from_numpy(weights.normalise(weights.picture(size, size)))

    while (threads := pipe.recv()) is not None:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            cpu, wall = time.process_time(), time.perf_counter()
            logits = network(pixel_values)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        peak = peak_rss_bytes() / 2**20
        # As a NumPy array: a tensor would travel through shared memory.
        pipe.send((cpu, wall, peak, logits.sigmoid().numpy()))


def _network(kind: str, config: str) -> torch.nn.Module:
    if kind == OURS:
        return BiRefNet(CONFIGS[config], patch_order="columns")
    from bench.reference_birefnet import ReferenceBiRefNet  # only here is torchvision needed

    return ReferenceBiRefNet(CONFIGS[config], patch_order="columns")


class Worker:
    """A process that holds one of the networks."""

    def __init__(self, kind: str, config: str, size: int, checkpoint: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=serve_runs, args=(kind, config, size, checkpoint, theirs), daemon=True
        )
        self._process.start()
        theirs.close()  # so that a worker's death ends our wait

    def run(self, threads: int) -> Run:
        """Run one forward pass."""
        self._pipe.send(threads)
        cpu, wall, peak, alpha = self._pipe.recv()
        return Run(cpu, wall, peak, torch.from_numpy(alpha))

    def stop(self) -> None:
        """End the process."""
        self._pipe.send(None)
        self._process.join()


def measure(workers: dict[str, Worker], threads: int, rounds: int) -> dict[str, list[Run]]:
    """Run all networks in turn, the first time without counting it."""
    runs: dict[str, list[Run]] = {kind: [] for kind in workers}
    for _ in range(1 + rounds):
        for kind, worker in workers.items():
            runs[kind].append(worker.run(threads))
    return {kind: done[1:] for kind, done in runs.items()}


def median(runs: list[Run], field: str) -> float:
    """Return the median of one field."""
    return float(statistics.median(getattr(run, field) for run in runs))


def main() -> None:
    """Measure with one thread and with two, and print both and one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench network", description=__doc__)
    parser.add_argument("--config", choices=CONFIGS, default="swin_l")
    parser.add_argument("--size", type=int, default=512, help="side of the picture, in pixels")
    parser.add_argument("--rounds", type=int, default=3, help="counted runs of each network")
    options = parser.parse_args()

    where = f"{describe_machine()}, torch {torch.__version__}"
    print(f"{options.config}, {options.size} x {options.size}, on {where}")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "weights.pt"
        filled = weights.fill_state_dict(published_tensors(options.config))
        torch.save({name: torch.from_numpy(value) for name, value in filled.items()}, checkpoint)
        del filled
        workers = {
            kind: Worker(kind, options.config, options.size, checkpoint) for kind in (OURS, PLAIN)
        }
        results = {threads: measure(workers, threads, options.rounds) for threads in (1, 2)}
        for worker in workers.values():
            worker.stop()

    for threads, runs in results.items():
        for kind in (OURS, PLAIN):
            cpu, wall = median(runs[kind], "cpu_s"), median(runs[kind], "wall_s")
            peak = max(run.peak_rss_mb for run in runs[kind])
            print(
                f"{threads} thread{'s' * (threads > 1)}, {kind:5}: "
                f"{cpu:6.2f} s CPU, {wall:6.2f} s wall, peak {peak:5.0f} MB"
            )
    ratios = {
        (threads, field): median(runs[PLAIN], field) / median(runs[OURS], field)
        for threads, runs in results.items()
        for field in ("cpu_s", "wall_s")
    }
    difference = max(
        float((ours.alpha - plain.alpha).abs().max())
        for runs in results.values()
        for ours, plain in zip(runs[OURS], runs[PLAIN], strict=True)
    )
    peak_of_ours = max(run.peak_rss_mb for runs in results.values() for run in runs[OURS])
    print("plain / ours: " + ", ".join(f"{t} × {f} {r:.2f}" for (t, f), r in ratios.items()))
    print(
        json.dumps(
            {
                "bench": "network",
                "config": options.config,
                "size": options.size,
                "ratio": round(ratios[1, "cpu_s"], 3),
                "ratio_two_threads": round(ratios[2, "wall_s"], 3),  # of wall time
                "max_alpha_difference": difference,
                "wall_s": {
                    kind: {str(n): round(median(results[n][kind], "wall_s"), 2) for n in results}
                    for kind in (OURS, PLAIN)
                },
                "peak_rss_mb": round(peak_of_ours),
                "machine": where,
            }
        )
    )


if __name__ == "__main__":
    main()
