"""Floor 4: the stages of dvc.yaml, thin: parameters to one call to files."""
