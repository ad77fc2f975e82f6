"""The CPU kernels: C++ beside this file, built into `_native` when the package is installed."""
