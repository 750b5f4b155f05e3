"""AnomalyDiffusion (Hu et al., AAAI 2024): a lesion is painted into an image without one, where the mask says.

What is learned are vectors in place of a word of the prompt: four that say what a lesion looks like (words.py), and a
network that says where the mask lies (spatial.py). Stable Diffusion stays frozen. train.py is the door of training,
sampler.py that of sampling, inversion.py makes masks by the same kind of learning.
"""
