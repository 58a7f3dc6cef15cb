"""How many samples each term of a derivative gets: from its measured variance and cost.

Terms are sampled independently, so with n_t times the samples the variance is Σ V_t / n_t at cost
Σ C_t n_t: least for n_t ∝ √(V_t / C_t).
"""

from __future__ import annotations

import math
import time

import drjit as dr
import mitsuba as mi
import numpy as np

from .experiment import Experiment, Schedule
from .loop import Problem, differentiate

TERMS = ("sppc", "sppp", "sppi")
PILOTS = 4  # gradients per term
LEAST, MOST = 1 / 32, 4.0


def allocate(experiment: Experiment, problem: Problem) -> Experiment:
    """The experiment with ``schedule.shares`` filled in and set on the integrator.

    Measured where neither the shares nor ``sppc``, ``sppp``, ``sppi`` are given. Rounded to powers
    of two, relative to the interior.
    """
    schedule = experiment.schedule
    own = any(term in experiment.integrator for term in TERMS)
    if not hasattr(problem.integrator, "shares"):
        return experiment
    if schedule.shares is None and not own:
        schedule = schedule.model_copy(update={"shares": tuple(measure(problem, schedule))})
        experiment = experiment.model_copy(update={"schedule": schedule})
    problem.integrator.shares = tuple(schedule.shares or (1.0, 1.0, 1.0))
    return experiment


def measure(problem: Problem, schedule: Schedule) -> list[float]:
    """Shares of the three terms, relative to ``schedule.spp``."""
    view = len(problem.sensors) // 2
    problem.light(view)
    plain = schedule.model_copy(update={"freeze": False})
    step = differentiate(problem, view, plain)
    variance, cost = np.zeros((4, len(problem.collection.items))), np.zeros(4)
    for t in range(4):  # the last without any term: what all share
        problem.integrator.shares = tuple(float(k == t) for k in range(3))
        gradients, seconds = [], []
        for k in range(PILOTS + 1):
            problem.collection.clear_grad()
            seed = mi.UInt32(1000 + k)
            dr.make_opaque(seed)
            dr.sync_thread()
            start = time.process_time()
            step(problem.params, problem.targets[view], seed)
            values = problem.collection.gradients()
            seconds.append(time.process_time() - start)
            gradients.append(values)
        for j, values in enumerate(zip(*gradients)):
            variance[t, j] = np.var(values, 0, ddof=1).sum()
        cost[t] = np.median(seconds[1:])
    problem.collection.clear_grad()
    variance, cost = variance[:3], np.maximum(cost[:3] - cost[3], 0.02 * cost[3])
    total = variance.sum(0)
    v = (variance / np.where(total > 0, total, 1)).sum(1)
    n = np.sqrt(v / cost)
    if not np.isfinite(n).all() or n.sum() == 0:
        return [1.0, 1.0, 1.0]
    n /= n[0] or n.max()
    return [float(2.0 ** round(math.log2(min(max(x, LEAST), MOST)))) for x in n]
