"""Echocardiography: the generator of beating hearts, and the meter that tells their ejection fraction."""
