"""The sample photographs, by their names."""

from devstack.samples import sample_photos

ASTRONAUT, COFFEE, CHELSEA, ROCKET, FLOWER = sample_photos()
