"""Does a site profile fit the cluster? The scheduler itself is asked; nothing is submitted."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from materia._version import __version__
from materia.compute import _cluster_text
from materia.compute._backend import Task, Ticket, Verdict
from materia.compute._cluster_text import Allowance, Association
from materia.compute._driver_job import DriverJob
from materia.compute._site import Site
from materia.compute._site_limits import Finding, compare_limits
from materia.compute._slurm import SlurmBackend
from materia.compute._slurm_client import run_client
from materia.compute._slurm_script import sbatch_options
from materia.compute._slurm_text import read_submission
from materia.record import Resources

_ASSOCIATION: Final = (
    "cluster,account,user,partition,qos,defaultqos,maxsubmit,maxwall,maxtres,maxtrespernode,grptres,grpsubmit"
)
_QOS: Final = (
    "name,flags,maxwall,maxtres,maxtrespernode,maxtrespu,maxtrespa,grptres,mintres,maxsubmitpu,maxsubmitpa,grpsubmit"
)
_OURS: Final = ("array", "job-name", "time", "nodes", "ntasks", "mem", "output", "chdir", "parsable", "requeue")
_ASKED: Final = ("--cpus", "--mem", "--time", "--gres", "--constraint", "--licenses")
_SMALLEST: Final = Resources(cores=1, memory_mb=500, walltime_s=600)


class _UnansweredError(Exception):
    """A question without an answer; the words say why."""


def check_site(site: Site) -> list[Finding]:
    """Compare a profile with what ``sinfo``, ``sacctmgr`` and ``scontrol`` say, and let sbatch judge a request.

    Args:
        site: the profile, overrides included.

    Returns:
        one finding for each thing that decides whether a job starts: account, QoS, partition, limits, array size,
        accounting, the interpreter. ``sbatch --test-only`` is given the smallest and the largest job that the
        profile lets through; it submits nothing.
    """
    return list(_Check(site).findings())


class _Check:
    def __init__(self, site: Site) -> None:
        self.site = site
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.config: dict[str, str] = {}
        self.rules: list[Allowance] = []  # partition's QoS, the job's QoS, association: the first that says so counts
        self.partition: dict[str, str] = {}
        self.nodes: list[_cluster_text.Nodes] = []
        self.association: Association | None = None

    def findings(self) -> Iterator[Finding]:
        said = "said to have run there" if self.site.verified else "not verified on the site"
        yield Finding("profile", True if self.site.verified else None, f"{self.site.name}: {said}")
        yield self._options()
        yield self._python()
        if shutil.which("sbatch") is None:
            remedy = "run this on a login node of the site"
            yield Finding("scheduler", False, "there is no sbatch on this machine", remedy)
            return
        for name, question in (
            ("scheduler", self._scheduler),
            ("accounting", self._accounting),
            ("partition", self._partition),
            ("account", self._account),
            ("QoS", self._qos),
            ("limits", self._limits),
            ("request", self._request),
        ):
            found = list(self._asked(name, question))
            yield from found
            if not self.config:
                return  # it does not answer: each further question would wait as long
            if name in ("partition", "account", "QoS") and any(finding.ok is False for finding in found):
                return  # what follows from it would only say the same again

    @staticmethod
    def _asked(name: str, question: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
        try:
            yield from question()
        except _UnansweredError as error:
            yield Finding(name, None, f"not known: {error}", "ask again when the scheduler answers", answered=False)

    # ------------------------------------------------------------------ what the profile says by itself

    def _options(self) -> Finding:
        """Options of the profile come last on sbatch's line, so they would win over a job's own."""
        given = {option.lstrip("-").partition("=")[0].removeprefix("no-") for option in self.site.options}
        clash = sorted(given & set(_OURS))
        if clash:
            detail = f"options set {', '.join('--' + name for name in clash)}, which every job sets for itself"
            return Finding("options", False, detail, "take them out of the profile's options")
        return Finding("options", True, " ".join(self.site.options) or "none")

    def _python(self) -> Finding:
        """The interpreter of the jobs, started as a job would be, on this machine."""
        program = self.site.python or sys.executable
        lines = [*self.site.environment, 'exec "$0" -P -c "import materia; print(materia.__version__)"']
        try:
            answer = run_client(self.site, "bash", "-c", "\n".join(lines), program)
        except subprocess.TimeoutExpired:
            return Finding("python", None, f"{program} gave no answer", answered=False)
        said = answer.stdout.strip().rpartition("\n")[2]
        if answer.returncode != 0:
            why = answer.stderr.strip().rpartition("\n")[2]
            remedy = "correct python or environment in the profile: an interpreter (3.11 or later) with materia in it"
            return Finding("python", False, f"{program} cannot load materia here: {why}", remedy)
        if said != __version__:
            return Finding("python", None, f"{program} has materia {said}, this is {__version__}", "install the same")
        where = "" if Path(program).is_absolute() else " (found on PATH: it must be so on the nodes as well)"
        return Finding("python", True, f"{program}{where}")

    # ------------------------------------------------------------------ what the cluster says

    def _scheduler(self) -> Iterator[Finding]:
        self.config = _cluster_text.parse_config(self._ask("scontrol", "show", "config"))
        version, cluster = self.config.get("SLURM_VERSION", "?"), self.config.get("ClusterName", "?")
        yield Finding("scheduler", True, f"Slurm {version}, cluster {cluster}")
        largest = _cluster_text.parse_count(self.config.get("MaxArraySize", ""))
        size = self.site.array_size
        if largest is None:
            yield Finding("array size", None, f"{size}; MaxArraySize is not shown", answered=False)
        elif size > largest - 1:
            remedy = f"array_size: {max(1, largest - 1)} in the profile"
            yield Finding("array size", False, f"{size}, but MaxArraySize is {largest}", remedy)
        else:
            yield Finding("array size", True, f"{size} (MaxArraySize {largest})")

    @property
    def _has_accounting(self) -> bool:
        return "none" not in self.config.get("AccountingStorageType", "none")

    def _enforced(self, what: str) -> bool:
        enforced = self.config.get("AccountingStorageEnforce", "")
        return self._has_accounting and (what in enforced or "all" in enforced)

    def _accounting(self) -> Iterator[Finding]:
        if not self._has_accounting and self.site.accounting:
            detail = "the cluster keeps no accounting: sacct has no answer, and a job gone from the queue stays unknown"
            yield Finding("accounting", False, detail, "accounting: false in the profile")
        elif not self._has_accounting:
            yield Finding("accounting", None, "none: endings come from the job's folder and the queue only")
        elif not self.site.accounting:
            yield Finding("accounting", None, "there, but the profile does not use it", "accounting: true")
        else:
            self._ask("sacct", "-n", "-X", "-S", "now-1minute")
            yield Finding("accounting", True, self.config["AccountingStorageType"])

    def _partition(self) -> Iterator[Finding]:
        known = _cluster_text.parse_partitions(self._ask("scontrol", "-a", "-o", "show", "partition"))
        name = self.site.partition or next((p for p, f in known.items() if f.get("Default") == "YES"), "")
        if name not in known:
            detail = f"there is no partition {name!r}" if name else "none in the profile, and the site has no default"
            yield Finding("partition", False, detail, f"partition: one of {', '.join(sorted(known))}")
            return
        self.partition = known[name]
        nodes = _cluster_text.parse_sinfo(self._ask("sinfo", "-h", "-a", "-e", "-o", _cluster_text.SINFO_FORMAT))
        self.nodes = [found for found in nodes if found.partition == name]
        state = self.partition.get("State", "UP")
        kinds = ", ".join(f"{n.count} x {n.cores} cores, {n.memory_mb} MB" for n in self.nodes)
        if state in ("DRAIN", "INACTIVE"):
            yield Finding("partition", False, f"{name} takes no jobs: {state}", "choose another, or wait")
        elif state != "UP":
            yield Finding("partition", None, f"{name} starts no jobs at present: {state} ({kinds})")
        else:
            yield Finding("partition", True, f"{name}: {kinds}")

    def _account(self) -> Iterator[Finding]:
        if not self._has_accounting or not self._enforced("associations"):
            yield Finding("account", None, "the cluster does not check accounts")
            return
        where = [f"user={self.user}"]
        if "ClusterName" in self.config:
            where.append(f"cluster={self.config['ClusterName']}")
        rows = _cluster_text.parse_associations(
            self._ask("sacctmgr", "-P", "show", "assoc", "where", *where, f"format={_ASSOCIATION}")
        )
        wanted = (self.site.account or self._default_account()).lower()  # Slurm keeps names in lower case
        mine = sorted({row.account for row in rows})
        remedy = f"account: one of {', '.join(mine)}" if mine else "ask the site's support for an account"
        fitting = [row for row in rows if row.account == wanted]
        here = [row for row in fitting if row.partition in ("", self.partition.get("PartitionName", ""))]
        if not wanted:
            yield Finding("account", False, f"none in the profile, and {self.user} has no default", remedy)
        elif not fitting:
            yield Finding("account", False, f"{self.user} has no account {wanted!r}", remedy)
        elif not here:
            partitions = ", ".join(sorted(row.partition for row in fitting))
            yield Finding("account", False, f"{wanted} is for other partitions only", f"partition: one of {partitions}")
        elif refusal := self._kept_out("Accounts", wanted):
            yield Finding("account", False, refusal, remedy)
        else:
            self.association = max(here, key=lambda row: row.partition)
            yield Finding("account", True, f"{wanted}" + ("" if self.site.account else " (the default)"))

    def _default_account(self) -> str:
        rows = self._ask("sacctmgr", "-n", "-P", "show", "user", self.user, "format=defaultaccount")
        return rows.strip().split("\n")[0]

    def _kept_out(self, what: str, name: str) -> str:
        """Why the partition turns an account or QoS away; empty if it does not."""
        partition = self.partition.get("PartitionName", "")
        allowed = self.partition.get(f"Allow{what}", "ALL")
        denied = self.partition.get(f"Deny{what}", "")
        if allowed != "ALL" and name not in allowed.split(","):
            return f"partition {partition} takes only {allowed}, not {name}"
        return f"partition {partition} does not take {name}" if name in denied.split(",") else ""

    def _qos(self) -> Iterator[Finding]:
        if not self._enforced("qos"):
            yield Finding("QoS", None, "the cluster does not check the QoS")
            return
        known = _cluster_text.parse_qos(self._ask("sacctmgr", "-P", "show", "qos", f"format={_QOS}"))
        allowed = self.association.qos if self.association else frozenset(known)
        name = (self.site.qos or (self.association.default_qos if self.association else "")).lower()
        remedy = f"qos: one of {', '.join(sorted(allowed))}"
        if name and name not in known:
            yield Finding("QoS", False, f"there is no QoS {name!r}", remedy)
        elif name and name not in allowed:
            account = self.association.account if self.association else ""
            yield Finding("QoS", False, f"{self.user} may not use {name} with account {account}", remedy)
        elif refusal := self._kept_out("Qos", name):
            yield Finding("QoS", False, refusal, remedy)
        else:
            yield Finding("QoS", True, (name or "none") + ("" if self.site.qos else " (the default)"))
        rules = [known.get(self.partition.get("QoS", "")), known.get(name)]
        if rules[1] and "overpartqos" in rules[1].flags:
            rules.reverse()
        self.rules = [rule for rule in rules if rule]

    def _limits(self) -> Iterator[Finding]:
        if not self.partition:
            raise _UnansweredError("the partition is not known")
        rules = [*self.rules, self.association.allowance] if self.association else self.rules
        return compare_limits(self.site, self.partition, self.nodes, rules, self.config)

    # ------------------------------------------------------------------ sbatch's own word

    def _request(self) -> Iterator[Finding]:
        """sbatch judges each request by itself: partition, node, GRES, constraint, licences, options."""
        for name, options in self._requests().items():
            try:
                answer = run_client(self.site, "sbatch", "--test-only", *options, "--wrap", "true")
            except subprocess.TimeoutExpired as error:
                raise _UnansweredError("sbatch gave no answer") from error
            words = " ".join(answer.stderr.split())
            if answer.returncode == 0:
                yield Finding(name, True, words.removeprefix("sbatch: ") or "accepted")
            elif read_submission(answer.returncode, "", words, others_waiting=False).verdict is Verdict.UNKNOWN:
                yield Finding(name, None, f"not known: {words}", "ask again", answered=False)
            else:
                features = ", ".join(sorted({n.features for n in self.nodes if n.features})) or "none"
                gres = ", ".join(sorted({n.gres for n in self.nodes if n.gres})) or "none"
                asked = " ".join(o for o in options if o.startswith(_ASKED))
                remedy = f"correct limits, constraint (features: {features}) or options (GRES: {gres}) in the profile"
                yield Finding(name, False, f"{words} ({asked})", remedy)

    def _requests(self) -> dict[str, list[str]]:
        backend = SlurmBackend(self.site)
        most = backend.limits()
        largest = Resources(
            most.cores or _SMALLEST.cores,
            most.memory_mb or _SMALLEST.memory_mb,
            most.walltime_s or _SMALLEST.walltime_s,
        )
        requests = {}
        for name, resources in {"smallest job": _SMALLEST, "largest job": largest}.items():
            task = Task("materia-doctor", Path(), (Ticket("doctor", 1, Path(), resources, "materia-doctor"),))
            requests[name] = sbatch_options(backend.site, task)
        return requests | {"driver job": DriverJob(self.site, Path(), "doctor").options()}

    # ------------------------------------------------------------------ asking

    def _ask(self, program: str, *arguments: str) -> str:
        try:
            answer = run_client(self.site, program, *arguments)
        except FileNotFoundError as error:
            raise _UnansweredError(f"there is no {program} here") from error
        except subprocess.TimeoutExpired as error:
            raise _UnansweredError(f"{program} gave no answer in {self.site.command_timeout_s:.0f} s") from error
        if answer.returncode != 0:
            words = answer.stderr.strip() or f"ended with {answer.returncode}"
            raise _UnansweredError(f"{program}: {words}")
        return answer.stdout
