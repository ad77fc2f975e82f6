"""The `qvlm` command: one file per verb, stages imported inside the verbs."""
