"""Pure tensor mathematics: quantizers, folding, accumulators, entropy, losses, packing.

Functions of tensors only: no modules, no hooks, no files, no choice of device.
"""
