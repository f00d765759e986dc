"""Runs on Kubernetes: `runner` is what agents open; `request` and `pod` make what is asked, `submission` and `places`
bring it there; `watch`, `words` and `logs` tell what becomes of it; `cluster` is the connection, `policy` what is
refused."""
