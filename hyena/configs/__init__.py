"""GROUND: every knob in the library as frozen dataclasses, presets as functions, and their files. No torch here."""
