"""Pictures without a model: `picture.paint_layers` paints one scene, `picture.SceneView` shows any moment of it.

Nothing is imported here, so that a process that only sends films does not load Pillow and NumPy.
"""
