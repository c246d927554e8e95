"""Where appliances run. `runtime.py` says what that means; `container.py` is the embedded way."""
