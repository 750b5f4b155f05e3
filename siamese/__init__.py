"""Floor 3: the generators. The method of the paper is in method/: control.py, losses.py, loss_weights.py and step.py.

Words: the *mask branch* sees the mask as its hint, the *image branch* the image; both run the same ControlNet. *Noise
consistency* pulls the mask branch to the image branch (Eq. 9), *online augmentation* trains the mask branch on latents
that the image branch has denoised (Eq. 11-12), the *dense hint* encoder replaces ControlNet's own.

Other methods stand beside it: config/sections.py lists them all, fit.py and load.py are the two doors, and
method/registry.py has what differs between those on latents.
"""
