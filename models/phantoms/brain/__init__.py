"""Brain phantoms: T1, T2, FLAIR with known tissues and lesions, bent out of an atlas. Never a real patient."""

from models.phantoms.brain.atlas import Atlas
from models.phantoms.brain.catalogue import FAMILIES, TRAINING, UNSEEN, lesions
from models.phantoms.brain.contrast import SEQUENCES
from models.phantoms.brain.families import multiple_sclerosis
from models.phantoms.brain.lesion import Lesion, pieces
from models.phantoms.brain.sheet import sample_sheet
from models.phantoms.brain.strip import stripped
from models.phantoms.brain.subject import Subject, Traits, subject
from models.phantoms.brain.volume import TISSUES, BrainSlices, BrainVolume, slices, volume

__all__ = [
    "FAMILIES",
    "SEQUENCES",
    "TISSUES",
    "TRAINING",
    "UNSEEN",
    "Atlas",
    "BrainSlices",
    "BrainVolume",
    "Lesion",
    "Subject",
    "Traits",
    "lesions",
    "multiple_sclerosis",
    "pieces",
    "sample_sheet",
    "slices",
    "stripped",
    "subject",
    "volume",
]
