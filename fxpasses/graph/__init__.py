"""Pure functions on `torch.fx.Graph` and what they pass around: no pass, no capture, no policy."""
