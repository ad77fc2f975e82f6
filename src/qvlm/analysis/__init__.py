"""Look into a model: what joint search gains, what tells it beforehand, where outliers are."""
