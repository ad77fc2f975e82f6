"""Write a run as a compressed-tensors checkpoint, which Transformers and vLLM read."""
