"""Some hundred pictures of every kind that a browser meets, sound and damaged, made bit by bit."""

from tests.support.pictures import gifs, jpegs, pngs, profiles, webps
from tests.support.pictures.specimen import Outcome, Specimen

__all__ = ["Outcome", "Specimen", "all_specimens"]


def all_specimens() -> list[Specimen]:
    """Return them; names are unique."""
    specimens = [
        *pngs.specimens(),
        *jpegs.specimens(),
        *gifs.specimens(),
        *webps.specimens(),
        *profiles.specimens(),
    ]
    assert len({specimen.name for specimen in specimens}) == len(specimens)
    return specimens
