"""Where work runs: takes job specs, gives outcomes, and knows nothing of what a job computes."""

from materia.compute._accounting import Cost, Energy, Node, cost_of, summary
from materia.compute._backend import (
    Backend,
    Phase,
    Status,
    Submission,
    Task,
    Ticket,
    Verdict,
)
from materia.compute._driver_job import DriverJob, driver_command, driver_trouble
from materia.compute._estimates import Ask, Estimates, EstimateSettings, Sample
from materia.compute._history import samples_in, samples_of
from materia.compute._ledger import Job, Ledger
from materia.compute._local import LocalBackend
from materia.compute._lock import DriverLock
from materia.compute._manager import JobManager
from materia.compute._mpi import LAUNCH
from materia.compute._retries import Limits, Retries
from materia.compute._settings import ComputeSettings, open_backend
from materia.compute._site import Site
from materia.compute._site_check import check_site
from materia.compute._site_limits import Finding
from materia.compute._slurm import SlurmBackend
from materia.compute._slurm_client import run_client
from materia.compute._states import LEGAL, IllegalTransitionError, JobState
from materia.compute._stores import Store

__all__ = [
    "LAUNCH",
    "LEGAL",
    "Ask",
    "Backend",
    "ComputeSettings",
    "Cost",
    "DriverJob",
    "DriverLock",
    "Energy",
    "EstimateSettings",
    "Estimates",
    "Finding",
    "IllegalTransitionError",
    "Job",
    "JobManager",
    "JobState",
    "Ledger",
    "Limits",
    "LocalBackend",
    "Node",
    "Phase",
    "Retries",
    "Sample",
    "Site",
    "SlurmBackend",
    "Status",
    "Store",
    "Submission",
    "Task",
    "Ticket",
    "Verdict",
    "check_site",
    "cost_of",
    "driver_command",
    "driver_trouble",
    "open_backend",
    "run_client",
    "samples_in",
    "samples_of",
    "summary",
]
