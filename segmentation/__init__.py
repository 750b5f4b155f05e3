"""Floor 3: networks that find lesions, their training, and the conventions under which they are measured."""
