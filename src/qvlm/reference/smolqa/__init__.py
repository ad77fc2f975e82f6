"""SmolQA: short questions in natural language about photographs of clothing and drawn pictures."""
