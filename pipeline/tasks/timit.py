"""What is known of TIMIT: its phones, how they are folded for scoring, its sets of speakers.

Lee & Hon 1989, "Speaker-independent phone recognition using hidden Markov models": 61 phones make
48 classes, and these 39 for scoring; the glottal stop q is in none of them. The core test set of 24
speakers is that of TIMIT's own documents; the development set of 50 other speakers of TEST is of
Halberstadt 1998, "Heterogeneous acoustic measurements and multiple classifiers for speech
recognition". Both, and the folding, as Kaldi's recipe for TIMIT has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.tasks.task import Origin

LEFT_OUT = ""
"""What a phone is folded to that is not scored."""
# Phone: its class of 48, its class of 39; those that are not here are themselves in both.
_FOLDED = {
    "ao": ("ao", "aa"), "ax": ("ax", "ah"), "ax-h": ("ax", "ah"), "axr": ("er", "er"),
    "bcl": ("vcl", "sil"), "dcl": ("vcl", "sil"), "gcl": ("vcl", "sil"),
    "pcl": ("cl", "sil"), "tcl": ("cl", "sil"), "kcl": ("cl", "sil"),
    "el": ("el", "l"), "em": ("m", "m"), "en": ("en", "n"), "eng": ("ng", "ng"), "nx": ("n", "n"),
    "epi": ("epi", "sil"), "h#": ("sil", "sil"), "pau": ("sil", "sil"),
    "hv": ("hh", "hh"), "ix": ("ix", "ih"), "ux": ("uw", "uw"), "zh": ("zh", "sh"),
    "q": (LEFT_OUT, LEFT_OUT),
}  # fmt: skip
_UNFOLDED = (
    "aa", "ae", "ah", "aw", "ay", "b", "ch", "d", "dh", "dx", "eh", "er", "ey", "f", "g", "hh",
    "ih", "iy", "jh", "k", "l", "m", "n", "ng", "ow", "oy", "p", "r", "s", "sh", "t", "th", "uh",
    "uw", "v", "w", "y", "z",
)  # fmt: skip
PHONES: tuple[str, ...] = tuple(sorted((*_UNFOLDED, *_FOLDED)))

FOLDS: Mapping[str, Mapping[str, str]] = {
    name: {phone: _FOLDED.get(phone, (phone, phone))[place] for phone in PHONES}
    for place, name in enumerate(("48 phones", "39 phones"))
}
"""By the number of its classes, the class of each phone."""

CORE_TEST: tuple[str, ...] = (
    "MDAB0", "MWBT0", "FELC0", "MTAS1", "MWEW0", "FPAS0", "MJMP0", "MLNT0", "FPKT0", "MLLL0",
    "MTLS0", "FJLM0", "MBPM0", "MKLT0", "FNLP0", "MCMJ0", "MJDH0", "FMGD0", "MGRT0", "MNJM0",
    "FDHC0", "MJLN0", "MPAM0", "FMLD0",
)  # fmt: skip
DEVELOPMENT: tuple[str, ...] = (
    "FAKS0", "FDAC1", "FJEM0", "MGWT0", "MJAR0", "MMDB1", "MMDM2", "MPDF0", "FCMH0", "FKMS0",
    "MBDG0", "MBWM0", "MCSH0", "FADG0", "FDMS0", "FEDW0", "MGJF0", "MGLB0", "MRTK0", "MTAA0",
    "MTDT0", "MTHC0", "MWJG0", "FNMR0", "FREW0", "FSEM0", "MBNS0", "MMJR0", "MDLS0", "MDLF0",
    "MDVC0", "MERS0", "FMAH0", "FDRW0", "MRCS0", "MRJM4", "FCAL1", "MMWH0", "FJSJ0", "MAJC0",
    "MJSW0", "MREB0", "FGJD0", "FJMG0", "MROA0", "MTEB0", "MJFC0", "MRJR0", "FMML0", "MRWS1",
)  # fmt: skip


def find_folds(origin: Origin) -> tuple[str, ...]:
    """The folds that sequences of this origin are also scored in."""
    return tuple(FOLDS) if origin.sequences.get("fold") == "timit" else ()


def place_folds(labels: Sequence[str], name: str) -> list[int]:
    """The place of each label's class among those of a fold of FOLDS; -1 for one left out."""
    class_of = FOLDS[name]
    classes = sorted(set(class_of.values()) - {LEFT_OUT})
    return [classes.index(c) if (c := class_of[label]) else -1 for label in labels]
