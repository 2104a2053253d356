"""The prototypes: primitive cells whose sites have roles, and a table of them by name.

Lattices are in units of one length; :func:`materia.space.build_prototype` scales them. Internal parameters
and axial ratios are those of the compound named with each prototype (rounded), or the ideal ones where that
is the custom (wurtzite). Space groups are checked by the tests with spglib.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from materia.errors import SpaceError

Triple = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Prototype:
    """A structure type with named roles for its sites.

    Attributes:
        name: as written in campaign files.
        roles: one name per role, in the order :func:`materia.space.build_prototype` takes the species.
            ``A``, ``B`` are cations, ``X``, ``Y`` anions.
        lattice: (3, 3) primitive lattice vectors as rows, in units of a.
        site_roles: role of each site, as an index into ``roles``.
        frac_coords: (n_sites, 3).
        spacegroup: international number.
        example: the compound the parameters come from, in the order of the roles.
        same: groups of roles (indices) whose exchange gives the same crystal, at least once relaxed.
        larger: (i, j) pairs: the ion in role i must be larger than the one in role j.
        extra_charges: charges that are closed-shell in this coordination only (Mo4+ in a trigonal prism).
    """

    name: str
    roles: tuple[str, ...]
    lattice: NDArray[np.float64]
    site_roles: tuple[int, ...]
    frac_coords: NDArray[np.float64]
    spacegroup: int
    example: tuple[str, ...]
    same: tuple[tuple[int, ...], ...] = ()
    larger: tuple[tuple[int, int], ...] = ()
    extra_charges: tuple[tuple[str, int], ...] = ()

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Sites of each role in the primitive cell."""
        found = Counter(self.site_roles)
        return tuple(found[k] for k in range(len(self.roles)))

    @property
    def n_atoms(self) -> int:
        return len(self.site_roles)

    @cached_property
    def signs(self) -> tuple[int, ...]:
        """+1 for cation roles, -1 for anion roles (``X`` and ``Y``)."""
        return tuple(-1 if role in "XY" else 1 for role in self.roles)

    @cached_property
    def role_distances(self) -> NDArray[np.float64]:
        """(n_roles, n_roles) shortest distance between sites of two roles, in units of a."""
        shifts = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T @ self.lattice
        positions = (self.frac_coords % 1.0) @ self.lattice
        distances = np.linalg.norm(positions[None, :, None] - positions[:, None, None] + shifts, axis=-1)
        distances[distances < 1e-8] = np.inf
        nearest = distances.min(axis=-1)
        roles = np.array(self.site_roles)
        n = len(self.roles)
        result = np.full((n, n), np.inf)
        for i in range(n):
            for j in range(n):
                result[i, j] = nearest[np.ix_(roles == i, roles == j)].min()
        return result


_FCC = ((0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
_CUBIC = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


def _tetragonal(c: float) -> tuple[Triple, ...]:
    return ((1, 0, 0), (0, 1, 0), (0, 0, c))


def _bct(c: float) -> tuple[Triple, ...]:
    return ((-0.5, 0.5, c / 2), (0.5, -0.5, c / 2), (0.5, 0.5, -c / 2))


def _hexagonal(c: float) -> tuple[Triple, ...]:
    return ((1, 0, 0), (-0.5, sqrt(3) / 2, 0), (0, 0, c))


def _rhombohedral(c: float) -> tuple[Triple, ...]:
    """Primitive vectors (obverse setting) of a rhombohedral lattice with hexagonal axes 1 and c.

    A site at (0, 0, z) of the hexagonal cell has all three fractional coordinates equal to z.
    """
    s = sqrt(3)
    return ((0.5, 1 / (2 * s), c / 3), (-0.5, 1 / (2 * s), c / 3), (0, -1 / s, c / 3))


def _orthorhombic(b: float, c: float) -> tuple[Triple, ...]:
    return ((1, 0, 0), (0, b, 0), (0, 0, c))


def _body_centred(*sites: Triple) -> list[Triple]:
    """Sites of a conventional body-centred cell, in the vectors of ``_bct``."""
    return [(y + z, x + z, x + y) for x, y, z in sites]


def _rhombohedral_sites(*sites: Triple) -> list[Triple]:
    """Sites given on hexagonal axes, in the vectors of ``_rhombohedral``."""
    return [(x + z, -x + y + z, -y + z) for x, y, z in sites]


def _make(
    name: str,
    example: str,
    spacegroup: int,
    lattice: tuple[Triple, ...],
    *,
    same: str = "",
    larger: str = "",
    extra_charges: tuple[tuple[str, int], ...] = (),
    **sites: list[Triple],
) -> Prototype:
    """``same="AB"``: A and B are interchangeable; ``larger="AB"``: A must be larger than B."""
    roles = tuple(sites)
    return Prototype(
        name=name,
        roles=roles,
        lattice=np.array(lattice, dtype=np.float64),
        site_roles=tuple(k for k, role in enumerate(roles) for _ in sites[role]),
        frac_coords=np.array([site for role in roles for site in sites[role]], dtype=np.float64),
        spacegroup=spacegroup,
        example=tuple(example.split()),
        same=(tuple(roles.index(r) for r in same),) if same else (),
        larger=((roles.index(larger[0]), roles.index(larger[1])),) if larger else (),
        extra_charges=extra_charges,
    )


_T, _U = 1 / 3, 2 / 3
_O: Triple = (0, 0, 0)
_Q: Triple = (0.25, 0.25, 0.25)
_H: Triple = (0.5, 0.5, 0.5)
_3Q: Triple = (0.75, 0.75, 0.75)
_FACES: list[Triple] = [(0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]


def _sulvanite_sites(x: float) -> list[Triple]:
    return [(x, x, x), (x, -x, -x), (-x, x, -x), (-x, -x, x)]


def _i4bar_8g(x: float, y: float, z: float) -> list[Triple]:
    return [(x, y, z), (-x, -y, z), (y, -x, -z), (-y, x, -z)]


def _r3bar_18f(x: float, y: float, z: float) -> list[Triple]:
    half = [(x, y, z), (-y, x - y, z), (y - x, -x, z)]
    return half + [(-a, -b, -c) for a, b, c in half]


def _pnma_4c(x: float, z: float) -> list[Triple]:
    return [(x, 0.25, z), (0.5 - x, 0.75, 0.5 + z), (-x, 0.75, -z), (0.5 + x, 0.25, 0.5 - z)]


_ALL = (
    # A and AX
    _make("diamond", "Si", 227, _FCC, A=[_O, _Q]),
    _make("rocksalt", "Mg O", 225, _FCC, A=[_O], X=[_H]),
    _make("zincblende", "Ga As", 216, _FCC, A=[_O], X=[_Q]),
    _make("cesium-chloride", "Cs Cl", 221, _CUBIC, A=[_O], X=[_H]),
    _make(
        "wurtzite", "Zn S", 186, _hexagonal(sqrt(8 / 3)),
        A=[(_T, _U, 0), (_U, _T, 0.5)], X=[(_T, _U, 0.375), (_U, _T, 0.875)],
    ),
    _make(
        "boron-nitride", "B N", 194, _hexagonal(2.66),
        A=[(_T, _U, 0.25), (_U, _T, 0.75)], X=[(_U, _T, 0.25), (_T, _U, 0.75)],
    ),
    _make(
        "litharge", "Sn O", 129, _tetragonal(1.27),
        A=[(0, 0.5, 0.237), (0.5, 0, 0.763)], X=[_O, (0.5, 0.5, 0)],
    ),
    _make(
        "ges", "Ge S", 62, _orthorhombic(3.64 / 10.47, 4.30 / 10.47),
        A=_pnma_4c(0.122, 0.107), X=_pnma_4c(0.852, 0.501),
    ),
    # A2X and A3X
    _make("antifluorite", "Mg Si", 225, _FCC, A=[_Q, _3Q], X=[_O]),
    _make("cuprite", "Cu O", 224, _CUBIC, A=[_Q, (0.75, 0.75, 0.25), (0.75, 0.25, 0.75), (0.25, 0.75, 0.75)],
          X=[_O, _H]),
    _make("bif3", "Li Bi", 225, _FCC, A=[_Q, _3Q, _H], X=[_O]),
    _make("li3n", "Li N", 191, _hexagonal(1.061), A=[(_T, _U, 0), (_U, _T, 0), (0, 0, 0.5)], X=[_O]),
    _make(
        "na3as", "Na As", 194, _hexagonal(1.765),
        A=[(0, 0, 0.25), (0, 0, 0.75), (_T, _U, 0.583), (_U, _T, 0.083), (_U, _T, 0.417), (_T, _U, 0.917)],
        X=[(_T, _U, 0.25), (_U, _T, 0.75)],
    ),
    # AX2, AX3, A2X3
    _make("fluorite", "Ca F", 225, _FCC, A=[_O], X=[_Q, _3Q]),
    _make(
        "rutile", "Ti O", 136, _tetragonal(0.644), A=[_O, _H],
        X=[(0.305, 0.305, 0), (-0.305, -0.305, 0), (0.805, 0.195, 0.5), (0.195, 0.805, 0.5)],
    ),
    _make(
        "anatase", "Ti O", 141, _bct(2.514), A=_body_centred(_O, (0, 0.5, 0.25)),
        X=_body_centred((0, 0, 0.208), (0, 0, -0.208), (0, 0.5, 0.458), (0, 0.5, 0.042)),
    ),
    _make("cdi2", "Zr S", 164, _hexagonal(1.60), A=[_O], X=[(_T, _U, 0.25), (_U, _T, -0.25)]),
    _make("cdcl2", "Mg Cl", 166, _rhombohedral(4.85), A=[_O],
          X=_rhombohedral_sites((0, 0, 0.258), (0, 0, -0.258))),
    _make(
        "molybdenite", "Mo S", 194, _hexagonal(3.90), extra_charges=(("Mo", 4), ("W", 4)),
        A=[(_T, _U, 0.25), (_U, _T, 0.75)],
        X=[(_T, _U, 0.621), (_U, _T, 0.121), (_U, _T, 0.379), (_T, _U, 0.879)],
    ),
    _make("cristobalite", "Si O", 227, _FCC, A=[(0.125,) * 3, (-0.125,) * 3],
          X=[_O, (0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)]),
    _make("reo3", "Al F", 221, _CUBIC, A=[_O], X=[(0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)]),
    _make("bii3", "Sc Cl", 148, _rhombohedral(2.79), A=_rhombohedral_sites((0, 0, _T), (0, 0, -_T)),
          X=_rhombohedral_sites(*_r3bar_18f(0.3333, 0.0, 0.079))),
    _make("la2o3", "La O", 164, _hexagonal(1.557), A=[(_T, _U, 0.247), (_U, _T, -0.247)],
          X=[(_T, _U, 0.645), (_U, _T, -0.645), _O]),
    _make("mg3sb2", "Mg Sb", 164, _hexagonal(1.585), A=[_O, (_T, _U, 0.634), (_U, _T, 0.366)],
          X=[(_T, _U, 0.228), (_U, _T, -0.228)]),
    _make("bi2te3", "Bi Te", 166, _rhombohedral(6.96), A=_rhombohedral_sites((0, 0, 0.400), (0, 0, -0.400)),
          X=_rhombohedral_sites(_O, (0, 0, 0.211), (0, 0, -0.211))),
    # ternary
    # Nowotny-Juza order: the anion sits where both cations surround it with tetrahedra
    _make("half-heusler", "Li Zn P", 216, _FCC, same="AB", A=[_H], B=[_O], X=[_Q]),
    _make("ordered-fluorite", "Y O F", 216, _FCC, same="XY", A=[_Q], X=[_O], Y=[_H]),
    _make("heusler", "Li Mg Si", 225, _FCC, A=[_Q, _3Q], B=[_H], X=[_O]),
    _make("zrbesi", "K Zn P", 194, _hexagonal(2.49), A=[_O, (0, 0, 0.5)],
          B=[(_T, _U, 0.25), (_U, _T, 0.75)], X=[(_T, _U, 0.75), (_U, _T, 0.25)]),
    _make("cu2sb", "Na Mg As", 129, _tetragonal(1.60), A=[(0, 0.5, 0.655), (0.5, 0, 0.345)],
          B=[_O, (0.5, 0.5, 0)], X=[(0, 0.5, 0.217), (0.5, 0, 0.783)]),
    _make("matlockite", "Ba F Cl", 129, _tetragonal(1.645), A=[(0, 0.5, 0.205), (0.5, 0, 0.795)],
          X=[_O, (0.5, 0.5, 0)], Y=[(0, 0.5, 0.647), (0.5, 0, 0.353)]),
    _make("perovskite", "Sr Ti O", 221, _CUBIC, larger="AB", A=[_O], B=[_H], X=_FACES),
    _make("antiperovskite", "Ca N Bi", 221, _CUBIC, A=_FACES, X=[_H], Y=[_O]),
    _make(
        "chalcopyrite", "Cu Ga S", 122, _bct(2.0), same="AB", A=_body_centred(_O, (0, 0.5, 0.25)),
        B=_body_centred((0, 0, 0.5), (0, 0.5, 0.75)),
        X=_body_centred((0.25, 0.25, 0.125), (0.75, 0.75, 0.125), (0.75, 0.25, 0.875), (0.25, 0.75, 0.875)),
    ),
    _make("cuau-chalcopyrite", "Cu Ga S", 115, _tetragonal(sqrt(2)), same="AB", A=[_O], B=[(0.5, 0.5, 0.5)],
          X=[(0, 0.5, 0.25), (0.5, 0, 0.75)]),
    _make("nafeo2", "Na In O", 166, _rhombohedral(5.05), same="AB", A=[_H], B=[_O],
          X=_rhombohedral_sites((0, 0, 0.26), (0, 0, -0.26))),
    _make("delafossite", "Cu Al O", 166, _rhombohedral(5.93), A=[_O], B=[_H],
          X=_rhombohedral_sites((0, 0, 0.110), (0, 0, -0.110))),
    _make("caal2si2", "Ca Zn P", 164, _hexagonal(1.69), A=[_O], B=[(_T, _U, 0.631), (_U, _T, 0.369)],
          X=[(_T, _U, 0.260), (_U, _T, -0.260)]),
    _make("ce2o2s", "La O S", 164, _hexagonal(1.715), A=[(_T, _U, 0.279), (_U, _T, -0.279)],
          X=[(_T, _U, 0.629), (_U, _T, 0.371)], Y=[_O]),
    _make("bi2o2se", "Bi O Se", 139, _bct(3.13), A=_body_centred((0, 0, 0.353), (0, 0, -0.353)),
          X=_body_centred((0, 0.5, 0.25), (0.5, 0, 0.25)), Y=_body_centred(_O)),
    _make("sulvanite", "Cu V S", 215, _CUBIC, A=[(0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)], B=[_O],
          X=_sulvanite_sites(0.237)),
    _make(
        "famatinite", "Cu Sb S", 121, _bct(2.0), A=_body_centred((0, 0, 0.5), (0, 0.5, 0.25), (0.5, 0, 0.25)),
        B=_body_centred(_O),
        X=_body_centred((0.245, 0.245, 0.13), (-0.245, -0.245, 0.13), (-0.245, 0.245, -0.13),
                         (0.245, -0.245, -0.13)),
    ),
    _make("k2nif4", "Sr Ti O", 139, _bct(3.24), larger="AB", A=_body_centred((0, 0, 0.354), (0, 0, -0.354)),
          B=_body_centred(_O),
          X=_body_centred((0, 0.5, 0), (0.5, 0, 0), (0, 0, 0.162), (0, 0, -0.162))),
    _make("k2ptcl6", "Cs Sn I", 225, _FCC, larger="AB", A=[_Q, _3Q], B=[_O],
          X=[(0.245, 0.245, -0.245), (-0.245, -0.245, 0.245), (0.245, -0.245, 0.245), (-0.245, 0.245, -0.245),
             (-0.245, 0.245, 0.245), (0.245, -0.245, -0.245)]),
    _make("gamma-lifeo2", "Li Sc O", 141, _bct(2.236), same="AB", A=_body_centred((0, 0, 0.5), (0, 0.5, 0.75)),
          B=_body_centred(_O, (0, 0.5, 0.25)),
          X=_body_centred((0, 0, 0.235), (0, 0, -0.235), (0, 0.5, 0.485), (0, 0.5, 0.015))),
    _make("defect-chalcopyrite", "Cd Ga Se", 82, _bct(1.88), A=_body_centred(_O),
          B=_body_centred((0, 0, 0.5), (0, 0.5, 0.25)), X=_body_centred(*_i4bar_8g(0.272, 0.260, 0.139))),
    # quaternary
    _make("kesterite", "Cu Zn Sn S", 82, _bct(2.0), A=_body_centred(_O, (0, 0.5, 0.25)),
          B=_body_centred((0, 0.5, 0.75)),
          C=_body_centred((0, 0, 0.5)), X=_body_centred(*_i4bar_8g(0.757, 0.757, 0.872))),
)  # fmt: skip

PROTOTYPES: dict[str, Prototype] = {p.name: p for p in _ALL}


def prototype(name: str) -> Prototype:
    """The prototype of that name.

    Raises:
        SpaceError: there is none; the nearest names are in the message.
    """
    try:
        return PROTOTYPES[name]
    except (KeyError, TypeError):
        near = get_close_matches(str(name), PROTOTYPES, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise SpaceError(f"unknown prototype {name!r}", remedy=f"{hint}known: {', '.join(PROTOTYPES)}") from None
