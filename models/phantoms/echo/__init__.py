"""Echo phantoms: apical four-chamber clips with known volumes, labels and ejection fraction. Never a real patient."""

from models.phantoms.echo.anatomy import Patient, patient
from models.phantoms.echo.labels import LABELS
from models.phantoms.echo.phantom import EchoClip, clip

__all__ = ["LABELS", "EchoClip", "Patient", "clip", "patient"]
