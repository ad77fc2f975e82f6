"""`python -m qvlm`, which `torchrun -m` needs."""

from qvlm.cli.main import run

if __name__ == "__main__":
    run()
