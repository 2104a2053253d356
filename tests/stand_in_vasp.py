"""A program in place of VASP: returns a real vasprun.xml, with the settings of the INCAR and KPOINTS it finds.

    python stand_in_vasp.py VASPRUN

It checks that its input is whole, as VASP would, and computes nothing: energy, forces, stress and eigenvalues are those
of the file. STAND_IN_VASP says how to fail: ``nelm``, ``killed``, ``silent``, ``cut``, ``ranks``.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path


def tags() -> dict[str, str]:
    pairs = (line.split("=", 1) for line in Path("INCAR").read_text().splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def main() -> None:
    how = os.environ.get("STAND_IN_VASP", "")
    print(f" running on    {8 if how == 'ranks' else 1} total cores", flush=True)
    incar, kpoints = tags(), Path("KPOINTS").read_text().splitlines()
    symbols = Path("POSCAR").read_text().splitlines()[5].split()
    titles = re.findall(r"TITEL *= *PAW_PBE (\w+)", Path("POTCAR").read_text())
    assert [title.split("_")[0] for title in titles] == symbols, "POTCAR and POSCAR must agree"
    text = Path(sys.argv[1]).read_text()
    for name in ("ISMEAR", "SIGMA", "ENMAX", "ICHARG"):
        value = incar.get("ENCUT" if name == "ENMAX" else name)
        if value is not None:
            text = re.sub(rf'(name="{name}">) *[-\d.]+', rf"\g<1> {value}", text)
    if kpoints[2].lower().startswith("g"):
        text = re.sub(r'(name="divisions">) *\d+ +\d+ +\d+', rf"\g<1> {kpoints[3]}", text)
    else:
        assert incar["ICHARG"] == "11" and Path("CHGCAR").is_file(), "a band path needs the density"
    if how == "nelm" and incar["ALGO"] == "Normal":
        text = re.sub(r'(name="NELM">) *\d+', rf"\g<1> {text.count('<scstep>')}", text).replace(
            'name="LEPSILON"> T', 'name="LEPSILON"> F'
        )
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "silent":
        sys.exit("forrtl: severe (174): SIGSEGV, segmentation fault occurred")
    Path("vasprun.xml").write_text(text[: len(text) // 2] if how == "cut" else text)
    Path("CHGCAR").write_text("density")


if __name__ == "__main__":
    main()
