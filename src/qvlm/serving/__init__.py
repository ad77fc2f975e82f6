"""Answer people and programs one after another: conversations, streamed; a local server.

`qvlm.serving.app` and `qvlm.serving.run` need the extra `serve`; the rest does not.
"""
