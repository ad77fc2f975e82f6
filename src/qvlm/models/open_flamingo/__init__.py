"""OpenFlamingo: frozen CLIP, a perceiver resampler, MPT with gated cross-attention in between.

Written from the papers (Flamingo, arXiv 2204.14198; OpenFlamingo, arXiv 2308.01390) in the form
that Transformers' models have. `qvlm convert` writes such models.
"""
