"""Draws of a logistic regression's posterior by NumPyro's NUTS, alone: by the peers' own Python.

Takes settings as one JSON argument and prints what it measured as JSON. Chains go side by side in
one program (`chain_method="vectorized"`), in single precision.
"""

import json
import sys
import time

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.distributions import Bernoulli, Normal
from numpyro.infer import MCMC, NUTS
from regressions import posterior


def model(design: jnp.ndarray, response: jnp.ndarray) -> None:
    beta = numpyro.sample("beta", Normal(jnp.zeros(design.shape[1]), 1.0))
    numpyro.sample("y", Bernoulli(logits=design @ beta), obs=response)


def main() -> None:
    settings = json.loads(sys.argv[1])
    design, response = map(jnp.asarray, posterior(settings["rows"], settings["columns"]))
    sampler = MCMC(
        NUTS(model, dense_mass=settings["dense"]),
        num_warmup=settings["warm_up"],
        num_samples=settings["draws"],
        num_chains=settings["chains"],
        chain_method="vectorized",
        progress_bar=False,
    )
    seconds, sizes, worst = [], [], []
    for seed in range(1 + settings["runs"]):
        started = time.perf_counter()
        sampler.run(jax.random.PRNGKey(seed), design, response)
        jax.block_until_ready(sampler.get_samples())
        seconds.append(time.perf_counter() - started)
        beta = np.asarray(sampler.get_samples(group_by_chain=True)["beta"])
        kept = az.convert_to_dataset({"beta": beta})
        sizes.append(float(az.ess(kept)["beta"].min()))
        worst.append(float(az.rhat(kept)["beta"].max()))
    # The first run compiles.
    later = [size / time_ for size, time_ in zip(sizes[1:], seconds[1:], strict=True)]
    figures = {
        "ESS/s": max(later),
        "ESS/s with compiling": sizes[0] / seconds[0],
        "R-hat": max(worst),
        "ESS": max(sizes),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
