"""Plots of sweeps as Vega-Lite specifications: plain values, made of tables by pure functions, so that tests read them
and anything that draws Vega-Lite shows them. `render` alone needs a library (extra `plot`)."""
