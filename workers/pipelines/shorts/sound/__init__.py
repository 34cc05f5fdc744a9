"""Sound without a model: `harmony.compose` writes the notes, `synth.synthesise` plays them, espeak speaks.

Nothing is imported here, so that a process that only sends films does not load NumPy and PyAV.
"""
